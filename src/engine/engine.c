/* SPDX-License-Identifier: MIT */
/*
 * The worker. Jobs wait in two queues under one mutex: openers and endings first, then drafts. The
 * worker sleeps on a condition variable, takes one job, runs it without the mutex, and queues its
 * results; the caller's thread fetches them after `wake`. A running job looks between tokens
 * whether it is still wanted; a draft also gives way to an opener and is taken up again later.
 * The caller is told of an opener's first word and of the end at once, of what comes between within
 * TELL_NS and a token: to wake it for each word of a small model costs more than the word is worth.
 * A draft with `ahead` goes on to write its opener, whose results are kept: an opener job that asks
 * for exactly that is answered by `submit` itself, and no thread need wake.
 */
#include <ulmd/engine.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/cores.h"
#include "engine/decoder.h"
#include "engine/job.h"
#include "engine/kernels.h"

struct queue {
    struct ulm_queued_job *first, **end;
};

#define AHEAD 4u /* drafts whose opener is kept */
#define TELL_NS 8000000 /* half the time that a display shows one picture */

struct ulm_engine {
    struct ulm_decoder *decoder;
    void (*wake)(void *data);
    void *wake_data;
    pthread_t thread;
    bool started;

    /* Of the job that runs; the worker's alone. */
    int64_t began_ns;
    bool untold;        /* words are queued that the caller was not woken for */
    int64_t told_ns;    /* when it was last woken; INT64_MIN = not yet */
    int64_t handing_ns; /* time that went into queueing results and waking */

    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t work;
    bool stopping;
    struct queue urgent, drafts;
    size_t waiting; /* jobs in both queues */
    struct ulm_queued_job *running;
    struct ulm_queued_result *results, **results_end;
    struct ulm_queued_job *ahead[AHEAD]; /* drafts with all results of their opener, or NULL */
    unsigned next_ahead;

    atomic_bool give_way; /* an opener waits, or the engine stops: a draft ends */
    atomic_bool busy;
};

/* --- queues; the mutex is held --- */

static void append(struct queue *queue, struct ulm_queued_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct ulm_queued_job *take_first(struct queue *queue)
{
    struct ulm_queued_job *job = queue->first;
    if (!job)
        return NULL;
    queue->first = job->next;
    if (!queue->first)
        queue->end = &queue->first;
    return job;
}

/* Drops the waiting jobs of a ticket; returns how many. */
static size_t drop_ticket(struct queue *queue, uint64_t ticket)
{
    size_t n = 0;
    struct ulm_queued_job **at = &queue->first;
    while (*at) {
        struct ulm_queued_job *job = *at;
        if (job->job.ticket == ticket) {
            *at = job->next;
            ulm_queued_job_unref(job);
            n++;
        } else {
            at = &job->next;
        }
    }
    queue->end = at;
    return n;
}

static void note_state(struct ulm_engine *engine)
{
    atomic_store(&engine->busy, engine->running || engine->waiting);
    atomic_store(&engine->give_way, engine->stopping || engine->urgent.first);
}

/* --- running one job --- */

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool time_to_tell(const struct ulm_engine *engine, int64_t now)
{
    return engine->told_ns == INT64_MIN || now - engine->told_ns >= TELL_NS;
}

static void tell(struct ulm_engine *engine)
{
    if (engine->wake)
        engine->wake(engine->wake_data);
    engine->untold = false;
    engine->told_ns = now_ns();
}

/* Asked between tokens. */
static bool should_stop(void *data)
{
    struct ulm_engine *engine = data;
    struct ulm_queued_job *job = engine->running;
    int64_t now = engine->untold ? now_ns() : 0;
    if (engine->untold && time_to_tell(engine, now)) {
        tell(engine);
        engine->handing_ns += engine->told_ns - now;
    }
    return atomic_load(&job->cancelled) ||
           (job->job.kind == ULM_JOB_DRAFT && atomic_load(&engine->give_way));
}

/* Asked before a second look at an opener. */
static bool is_late(void *data)
{
    const struct ulm_engine *engine = data;
    unsigned ms = engine->running->job.options.second_look_ms;
    return ms && now_ns() - engine->began_ns > ms * INT64_C(1000000);
}

/* Copies what `numbers` holds into a result. */
static void number(struct ulm_result *result, const struct ulm_outcome *numbers)
{
    result->words = numbers->words;
    result->confidence = numbers->confidence;
    result->neutral = numbers->neutral;
    result->guard_hits = numbers->guard_hits;
    result->prompt_shortened = numbers->prompt_shortened;
    result->prompt_tokens = numbers->prompt_tokens;
    result->reused_tokens = numbers->reused_tokens;
    result->generated_tokens = numbers->generated_tokens;
}

/* The mutex is held. */
static void publish(struct ulm_engine *engine, struct ulm_queued_result *queued)
{
    queued->next = NULL;
    *engine->results_end = queued;
    engine->results_end = &queued->next;
}

/* Queues a result of the running job unless nobody wants it; those of a draft stay with it. */
static void report(struct ulm_engine *engine, enum ulm_result_kind kind, const char *text,
                   size_t len, const struct ulm_outcome *numbers)
{
    struct ulm_queued_job *job = engine->running;
    bool draft = job->job.kind == ULM_JOB_DRAFT;
    int64_t start = now_ns();
    pthread_mutex_lock(&engine->mutex);
    struct ulm_queued_result *queued =
        atomic_load(&job->cancelled) ? NULL : ulm_queued_job_result(job, kind, text, len);
    if (queued && numbers) {
        number(&queued->result, numbers);
        queued->result.engine_us = (start - engine->began_ns - engine->handing_ns) / 1000;
    }
    if (queued && !draft)
        publish(engine, queued);
    pthread_mutex_unlock(&engine->mutex);
    if (queued && !draft) {
        engine->untold = true;
        if (kind != ULM_RESULT_WORD || time_to_tell(engine, start))
            tell(engine);
    }
    engine->handing_ns += now_ns() - start;
}

static void say_word(void *data, const char *text, size_t len)
{
    report(data, ULM_RESULT_WORD, text, len, NULL);
}

static const char *failure(int error)
{
    switch (error) {
    case -EDOM:
        return "the model computes no finite numbers";
    case -E2BIG:
        return "the request is larger than its limits";
    default:
        return strerror(-error);
    }
}

/* Runs without the mutex. Whatever the job ends with is queued. */
static void run(struct ulm_engine *engine, struct ulm_queued_job *queued)
{
    const struct ulm_watch watch = {
        .stop = should_stop, .word = say_word, .late = is_late, .data = engine};
    const struct ulm_job *job = &queued->job;
    struct ulm_outcome outcome = {0};
    enum ulm_result_kind kind = ULM_RESULT_OPENED;
    int r = 0;
    engine->began_ns = now_ns();
    engine->untold = false;
    engine->told_ns = INT64_MIN;
    engine->handing_ns = 0;
    switch (job->kind) {
    case ULM_JOB_DRAFT:
        r = ulm_decoder_draft(engine->decoder, job->ticket, &job->prompt, &watch);
        if (r == 0 && job->ahead)
            r = ulm_decoder_opener(engine->decoder, job->ticket, &job->prompt, &job->options,
                                   &watch, &outcome);
        queued->again = r == ULM_STOPPED;
        if (r == 0 && job->ahead)
            report(engine, kind, outcome.text, strlen(outcome.text), &outcome);
        return;
    case ULM_JOB_OPENER:
        r = ulm_decoder_opener(engine->decoder, job->ticket, &job->prompt, &job->options, &watch,
                               &outcome);
        break;
    case ULM_JOB_FINISH:
        kind = ULM_RESULT_FINISHED;
        r = ulm_decoder_finish(engine->decoder, job->ticket, &job->prompt, job->opener,
                               &job->options, &watch, &outcome);
        break;
    }
    if (r == 0)
        report(engine, kind, outcome.text, strlen(outcome.text), &outcome);
    else if (r < 0)
        report(engine, ULM_RESULT_FAILED, failure(r), strlen(failure(r)), NULL);
}

/* --- openers written ahead; the mutex is held --- */

static void drop_ahead(struct ulm_engine *engine, uint64_t ticket)
{
    for (size_t i = 0; i < AHEAD; i++) {
        if (engine->ahead[i] && engine->ahead[i]->job.ticket == ticket) {
            ulm_queued_job_unref(engine->ahead[i]);
            engine->ahead[i] = NULL;
        }
    }
}

static void keep_ahead(struct ulm_engine *engine, struct ulm_queued_job *job)
{
    struct ulm_queued_job **place = &engine->ahead[engine->next_ahead++ % AHEAD];
    if (*place)
        ulm_queued_job_unref(*place);
    *place = job;
}

/* Whether the opener of the job was written ahead; its results are out then. */
static bool serve_ahead(struct ulm_engine *engine, const struct ulm_job *job)
{
    for (size_t i = 0; i < AHEAD; i++) {
        struct ulm_queued_job *ahead = engine->ahead[i];
        if (!ahead || ahead->job.ticket != job->ticket || !ulm_job_same(&ahead->job, job))
            continue;
        engine->ahead[i] = NULL;
        for (unsigned k = 0; k < ahead->n_results; k++) {
            ahead->refs++;
            publish(engine, &ahead->results[k]);
        }
        ulm_queued_job_unref(ahead);
        return true;
    }
    return false;
}

/* --- the worker's thread --- */

/* Done with: taken up again later, kept for its opener, or let go. The mutex is held. */
static void put_away(struct ulm_engine *engine, struct ulm_queued_job *job)
{
    bool wanted = !atomic_load(&job->cancelled);
    if (wanted && job->again) {
        job->again = false;
        ulm_queued_job_clear(job);
        append(&engine->drafts, job);
        engine->waiting++;
    } else if (wanted && job->job.kind == ULM_JOB_DRAFT && job->n_results) {
        keep_ahead(engine, job);
    } else {
        ulm_queued_job_unref(job);
    }
}

static void *work(void *data)
{
    struct ulm_engine *engine = data;
    ulm_decoder_bind(engine->decoder);
    pthread_mutex_lock(&engine->mutex);
    for (;;) {
        while (!engine->stopping && !engine->waiting)
            pthread_cond_wait(&engine->work, &engine->mutex);
        if (engine->stopping)
            break;
        struct ulm_queued_job *job = take_first(&engine->urgent);
        if (!job)
            job = take_first(&engine->drafts);
        engine->waiting--;
        engine->running = job;
        note_state(engine);
        pthread_mutex_unlock(&engine->mutex);
        run(engine, job);
        ulm_decoder_forget(engine->decoder);
        pthread_mutex_lock(&engine->mutex);
        engine->running = NULL;
        put_away(engine, job);
        note_state(engine);
    }
    pthread_mutex_unlock(&engine->mutex);
    return NULL;
}

/* --- the caller's thread --- */

/* Signals are the caller's business: the worker takes none. */
static int start(struct ulm_engine *engine)
{
    sigset_t all, kept;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int r = pthread_create(&engine->thread, NULL, work, engine);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (r)
        return -r;
    engine->started = true;
    pthread_setname_np(engine->thread, "ulm-engine");
    return 0;
}

/* What needs no file. */
static int check_machine(const struct ulm_engine_config *config, char *reason, size_t size)
{
    const struct ulm_kernels *kernels;
    struct ulm_cores cores;
    if (ulm_kernels_pick(config->kernels ? config->kernels : "auto", &kernels) < 0) {
        snprintf(reason, size, "the wanted kernels are unknown or not for this machine");
        return ULM_ENGINE_KERNELS;
    }
    if (ulm_cores_read(config->cores, &cores) < 0) {
        snprintf(reason, size, "names no core that may be used here; \"4-7\" is a list of four");
        return ULM_ENGINE_CORES;
    }
    return 0;
}

int ulm_engine_new(const struct ulm_engine_config *config, struct ulm_engine **ret_engine,
                   char *reterr, size_t reterr_size)
{
    char reason[256];
    struct ulm_engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        snprintf(reterr, reterr_size, "%s: %s", config->path, strerror(ENOMEM));
        return -ENOMEM;
    }
    engine->wake = config->wake;
    engine->wake_data = config->wake_data;
    engine->urgent.end = &engine->urgent.first;
    engine->drafts.end = &engine->drafts.first;
    engine->results_end = &engine->results;
    pthread_mutex_init(&engine->mutex, NULL);
    pthread_cond_init(&engine->work, NULL);
    int r = check_machine(config, reason, sizeof reason);
    if (r == 0)
        r = ulm_decoder_new(config, &engine->decoder, reason, sizeof reason);
    if (r == 0) {
        r = start(engine);
        if (r < 0)
            snprintf(reason, sizeof reason, "cannot start a thread: %s", strerror(-r));
    }
    if (r != 0) {
        snprintf(reterr, reterr_size, "%s%s%s", r < 0 ? config->path : "", r < 0 ? ": " : "",
                 reason);
        ulm_engine_free(engine);
        return r;
    }
    *ret_engine = engine;
    return 0;
}

struct ulm_engine *ulm_engine_free(struct ulm_engine *engine)
{
    if (!engine)
        return NULL;
    pthread_mutex_lock(&engine->mutex);
    engine->stopping = true;
    if (engine->running)
        atomic_store(&engine->running->cancelled, true);
    note_state(engine);
    pthread_cond_signal(&engine->work);
    pthread_mutex_unlock(&engine->mutex);
    if (engine->started)
        pthread_join(engine->thread, NULL);
    for (struct ulm_queued_job *job; (job = take_first(&engine->urgent));)
        ulm_queued_job_unref(job);
    for (struct ulm_queued_job *job; (job = take_first(&engine->drafts));)
        ulm_queued_job_unref(job);
    while (engine->results) {
        struct ulm_queued_result *result = engine->results;
        engine->results = result->next;
        ulm_queued_job_unref(result->job);
    }
    for (size_t i = 0; i < AHEAD; i++) {
        if (engine->ahead[i])
            ulm_queued_job_unref(engine->ahead[i]);
    }
    ulm_decoder_free(engine->decoder);
    pthread_cond_destroy(&engine->work);
    pthread_mutex_destroy(&engine->mutex);
    free(engine);
    return NULL;
}

/* A newer draft, or the opener itself, makes a waiting or running draft of the ticket needless, and
 * what was written ahead for it; what it has computed stays in the cache. */
static void retire_drafts(struct ulm_engine *engine, uint64_t ticket)
{
    drop_ahead(engine, ticket);
    engine->waiting -= drop_ticket(&engine->drafts, ticket);
    if (engine->running && engine->running->job.kind == ULM_JOB_DRAFT &&
        engine->running->job.ticket == ticket)
        atomic_store(&engine->running->cancelled, true);
}

int ulm_engine_submit(struct ulm_engine *engine, const struct ulm_job *job)
{
    pthread_mutex_lock(&engine->mutex);
    bool served = job->kind == ULM_JOB_OPENER && serve_ahead(engine, job);
    pthread_mutex_unlock(&engine->mutex);
    if (served) {
        if (engine->wake)
            engine->wake(engine->wake_data);
        return 0;
    }
    struct ulm_queued_job *queued;
    int r = ulm_queued_job_new(job, &queued);
    if (r < 0)
        return r;
    pthread_mutex_lock(&engine->mutex);
    retire_drafts(engine, job->ticket);
    if (engine->waiting >= ULM_REQUESTS_MAX) {
        ulm_queued_job_unref(queued);
        r = -EAGAIN;
    } else {
        append(job->kind == ULM_JOB_DRAFT ? &engine->drafts : &engine->urgent, queued);
        engine->waiting++;
        note_state(engine);
    }
    pthread_mutex_unlock(&engine->mutex);
    if (r == 0)
        pthread_cond_signal(&engine->work); /* now that the worker can take the mutex */
    return r;
}

void ulm_engine_cancel(struct ulm_engine *engine, uint64_t ticket)
{
    pthread_mutex_lock(&engine->mutex);
    drop_ahead(engine, ticket);
    engine->waiting -= drop_ticket(&engine->urgent, ticket);
    engine->waiting -= drop_ticket(&engine->drafts, ticket);
    if (engine->running && engine->running->job.ticket == ticket)
        atomic_store(&engine->running->cancelled, true);
    struct ulm_queued_result **at = &engine->results;
    while (*at) {
        struct ulm_queued_result *result = *at;
        if (result->result.ticket == ticket) {
            *at = result->next;
            ulm_queued_job_unref(result->job);
        } else {
            at = &result->next;
        }
    }
    engine->results_end = at;
    note_state(engine);
    pthread_mutex_unlock(&engine->mutex);
}

/* One by one, so that what fn cancels is not handed out any more. */
void ulm_engine_dispatch(struct ulm_engine *engine, ulm_result_fn *fn, void *data)
{
    for (;;) {
        pthread_mutex_lock(&engine->mutex);
        struct ulm_queued_result *result = engine->results;
        if (result) {
            engine->results = result->next;
            if (!engine->results)
                engine->results_end = &engine->results;
        }
        pthread_mutex_unlock(&engine->mutex);
        if (!result)
            return;
        fn(data, &result->result);
        pthread_mutex_lock(&engine->mutex);
        ulm_queued_job_unref(result->job);
        pthread_mutex_unlock(&engine->mutex);
    }
}

uint64_t ulm_engine_progress(const struct ulm_engine *engine)
{
    return ulm_decoder_progress(engine->decoder);
}

bool ulm_engine_busy(const struct ulm_engine *engine)
{
    return atomic_load(&engine->busy);
}

const struct ulm_model_info *ulm_engine_info(const struct ulm_engine *engine)
{
    return ulm_decoder_info(engine->decoder);
}
