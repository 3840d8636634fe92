/* SPDX-License-Identifier: MIT */
/* The worker: order, cancelling, drafts that give way, bounds. The fake model's forward pass can be
 * held at a gate, so that each case knows what runs. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/engine_fake.h"
#include "tests/unit/unit.h"

static struct ulm_engine *engine;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool closed;      /* the gate */
static unsigned at_gate; /* forward passes that wait or have waited there */
static unsigned wakes;
static char story[4096]; /* results as they came */

static void gate(void)
{
    pthread_mutex_lock(&mutex);
    at_gate += closed;
    pthread_cond_broadcast(&changed);
    while (closed)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void set_gate(bool shut)
{
    pthread_mutex_lock(&mutex);
    closed = shut;
    at_gate = shut ? 0 : at_gate;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void wait_at_gate(void)
{
    pthread_mutex_lock(&mutex);
    while (!at_gate)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void wake(void *data)
{
    pthread_mutex_lock(&mutex);
    wakes++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static unsigned terminals;

static void take(void *data, const struct ulm_result *result)
{
    static const char *const names[] = {"word", "opened", "finished", "failed"};
    size_t n = strlen(story);
    snprintf(story + n, sizeof story - n, "%llu %s [%s]\n", (unsigned long long)result->ticket,
             names[result->kind], result->text);
    terminals += result->kind != ULM_RESULT_WORD;
}

/* Waits until so many jobs have ended. */
static void await_ends(unsigned n)
{
    unsigned seen = 0;
    while (terminals < n) {
        ulm_engine_dispatch(engine, take, NULL);
        if (terminals >= n)
            break;
        pthread_mutex_lock(&mutex);
        while (wakes == seen)
            pthread_cond_wait(&changed, &mutex);
        seen = wakes;
        pthread_mutex_unlock(&mutex);
    }
}

static void await_idle(void)
{
    while (ulm_engine_busy(engine))
        sched_yield();
}

static void open_engine(void)
{
    static const struct fake_reply replies[] = {{"The way to say it", 10, false},
                                                {"The way to say it.", 5, false}};
    char err[256] = "";
    struct ulm_engine_config config = {.path = fake_path(), .context = 512, .wake = wake};
    fake_reset(replies, 2);
    closed = false;
    terminals = wakes = at_gate = 0;
    story[0] = '\0';
    ck_assert_msg(ulm_engine_new(&config, &engine, err, sizeof err) == 0, "%s", err);
    fake.hook = gate;
}

static bool write_ahead;

static int submit(enum ulm_job_kind kind, uint64_t ticket, const char *text)
{
    const struct ulm_job job = {
        .kind = kind,
        .ahead = kind == ULM_JOB_DRAFT && write_ahead,
        .ticket = ticket,
        .prompt = {.text = text},
        .opener = kind == ULM_JOB_FINISH ? "The way" : NULL,
        .options = {.min_words = 4, .max_words = 8, .guard = true, .beam = 1, .top_p = 1},
    };
    return ulm_engine_submit(engine, &job);
}

START_TEST(test_words_then_opened)
{
    open_engine();
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 5, "say it"), 0);
    await_ends(1);
    ck_assert_str_eq(story, "5 word [The]\n5 word [ way]\n5 word [ to]\n5 word [ say]\n"
                            "5 word [ it]\n5 opened [The way to say it]\n");
    await_idle();
    ck_assert_uint_gt(ulm_engine_progress(engine), 5);
    ck_assert_str_eq(ulm_engine_info(engine)->name, "tiny reference");
    ck_assert_str_eq(ulm_engine_info(engine)->system, "");
    engine = ulm_engine_free(engine);
}
END_TEST

/* What waits is run openers first, and a draft that runs gives way and is taken up again. */
START_TEST(test_order)
{
    open_engine();
    set_gate(true);
    ck_assert_int_eq(submit(ULM_JOB_DRAFT, 1,
                            "a draft that is long enough for two chunks of "
                            "tokens, which takes some writing to get to"),
                     0);
    wait_at_gate();
    ck_assert_int_eq(submit(ULM_JOB_DRAFT, 2, "draft"), 0);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 3, "ask"), 0);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 4, "ask"), 0);
    ck_assert(ulm_engine_busy(engine));
    set_gate(false);
    await_ends(2);
    ck_assert_ptr_nonnull(strstr(story, "3 opened"));
    ck_assert_ptr_nonnull(strstr(strstr(story, "3 opened"), "4 opened"));
    await_idle();
    /* Draft 1 was finished later: of its ask's prompt, longer than this, nearly nothing is run. */
    atomic_store(&fake.calls, 0);
    atomic_store(&fake.forwards, 0);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 1,
                            "a draft that is long enough for two chunks of "
                            "tokens, which takes some writing to get to"),
                     0);
    await_ends(3);
    await_idle();
    ck_assert_uint_lt(atomic_load(&fake.forwards), 32);
    engine = ulm_engine_free(engine);
}
END_TEST

/* A draft may write its opener too: the ask that equals it has all results without a token run. */
START_TEST(test_written_ahead)
{
    open_engine();
    write_ahead = true;
    ck_assert_int_eq(submit(ULM_JOB_DRAFT, 5, "say it"), 0);
    await_idle();
    ulm_engine_dispatch(engine, take, NULL);
    ck_assert_str_eq(story, "");
    atomic_store(&fake.calls, 0);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 5, "say it"), 0);
    await_ends(1);
    ck_assert_str_eq(story, "5 word [The]\n5 word [ way]\n5 word [ to]\n5 word [ say]\n"
                            "5 word [ it]\n5 opened [The way to say it]\n");
    ck_assert_uint_eq(atomic_load(&fake.calls), 0);
    /* It is used once. */
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 5, "say it"), 0);
    await_ends(2);
    await_idle();
    ck_assert_uint_gt(atomic_load(&fake.calls), 0);
    /* Another text, a newer draft that is not done, another ticket, a cancelled one: not used. */
    static const char *const asked[] = {"say all", "say it", "say it", "say it"};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(submit(ULM_JOB_DRAFT, 10 + i, "say it"), 0);
        await_idle();
        if (i == 1) {
            set_gate(true);
            ck_assert_int_eq(submit(ULM_JOB_DRAFT, 10 + i, "say all of it"), 0);
            wait_at_gate();
        }
        if (i == 3)
            ulm_engine_cancel(engine, 10 + i);
        atomic_store(&fake.calls, 0);
        ck_assert_int_eq(submit(ULM_JOB_OPENER, i == 2 ? 20 : 10 + i, asked[i]), 0);
        set_gate(false);
        await_ends((int)(3 + i));
        await_idle();
        ck_assert_uint_gt(atomic_load(&fake.calls), 0);
    }
    write_ahead = false;
    engine = ulm_engine_free(engine);
}
END_TEST

START_TEST(test_cancel)
{
    open_engine();
    set_gate(true);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 1, "ask"), 0);
    wait_at_gate();
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 2, "ask"), 0);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 3, "ask"), 0);
    ulm_engine_cancel(engine, 1);
    ulm_engine_cancel(engine, 2);
    ulm_engine_cancel(engine, 99);
    set_gate(false);
    await_ends(1);
    ck_assert_ptr_null(strstr(story, "1 "));
    ck_assert_ptr_null(strstr(story, "2 "));
    ck_assert_ptr_nonnull(strstr(story, "3 opened"));
    /* Results that wait are dropped as well. */
    await_idle();
    story[0] = '\0';
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 4, "ask"), 0);
    await_idle();
    ulm_engine_cancel(engine, 4);
    ulm_engine_dispatch(engine, take, NULL);
    ck_assert_str_eq(story, "");
    engine = ulm_engine_free(engine);
}
END_TEST

static void cancel_at_first(void *data, const struct ulm_result *result)
{
    take(data, result);
    ulm_engine_cancel(engine, result->ticket);
}

START_TEST(test_cancel_inside_dispatch)
{
    open_engine();
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 6, "ask"), 0);
    await_idle();
    ulm_engine_dispatch(engine, cancel_at_first, NULL);
    ck_assert_str_eq(story, "6 word [The]\n");
    engine = ulm_engine_free(engine);
}
END_TEST

START_TEST(test_bounds)
{
    open_engine();
    set_gate(true);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 1, "ask"), 0);
    wait_at_gate();
    for (unsigned i = 0; i < ULM_REQUESTS_MAX; i++)
        ck_assert_int_eq(submit(ULM_JOB_OPENER, 100 + i, "ask"), 0);
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 5000, "ask"), -EAGAIN);
    ulm_engine_cancel(engine, 100);
    /* A draft replaces that of its ticket: it never piles up. */
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(submit(ULM_JOB_DRAFT, 6000, "draft"), 0);
    ck_assert_int_eq(submit(ULM_JOB_DRAFT, 6001, "draft"), -EAGAIN);
    /* Freed in the middle of it all. */
    ulm_engine_cancel(engine, 1);
    set_gate(false);
    engine = ulm_engine_free(engine);
}
END_TEST

START_TEST(test_finish_and_failure)
{
    open_engine();
    ck_assert_int_eq(submit(ULM_JOB_FINISH, 1, "ask"), 0);
    await_ends(1);
    ck_assert_ptr_nonnull(strstr(story, "1 finished ["));
    fake.broken = true;
    ck_assert_int_eq(submit(ULM_JOB_OPENER, 2, "ask"), 0);
    await_ends(2);
    ck_assert_ptr_nonnull(strstr(story, "2 failed ["));
    engine = ulm_engine_free(engine);
}
END_TEST

START_TEST(test_bad_file)
{
    char err[256] = "";
    struct ulm_engine_config config = {.path = "/nonexistent/model.gguf"};
    ck_assert_int_lt(ulm_engine_new(&config, &engine, err, sizeof err), 0);
    ck_assert_str_eq(err, "/nonexistent/model.gguf: No such file or directory");
    ck_assert_ptr_null(ulm_engine_free(NULL));
}
END_TEST

UNIT_MAIN("engine", test_words_then_opened, test_order, test_written_ahead, test_cancel,
          test_cancel_inside_dispatch, test_bounds, test_finish_and_failure, test_bad_file)
