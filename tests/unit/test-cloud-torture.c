/* SPDX-License-Identifier: MIT */
/* Fails each allocation of the cloud in turn, in a few scenarios: a request that could be started
 * ends exactly once, and nothing leaks. libcurl's own are counted but never failed: 7.88 divides by
 * zero where it has no memory for a hash of sockets. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/cloud-fixture.h"
#include "tests/unit/unit.h"
#include "util/log.h"

static struct {
    bool armed, failed;
    long until; /* allocations that still succeed */
    long live;  /* blocks made and not freed yet */
} torture;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);

static bool must_fail(const void *caller)
{
    Dl_info info;
    if (!torture.armed || !dladdr(caller, &info) || strstr(info.dli_fname, "libcurl"))
        return false;
    if (torture.until-- != 0)
        return false;
    torture.failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    void *block = must_fail(__builtin_return_address(0)) ? NULL : __real_malloc(size);
    torture.live += block != NULL;
    return block;
}

void *__wrap_calloc(size_t n, size_t size)
{
    void *block = must_fail(__builtin_return_address(0)) ? NULL : __real_calloc(n, size);
    torture.live += block != NULL;
    return block;
}

void *__wrap_realloc(void *old, size_t size)
{
    void *block = must_fail(__builtin_return_address(0)) ? NULL : __real_realloc(old, size);
    torture.live += !old && block;
    return block;
}

char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = must_fail(__builtin_return_address(0)) ? NULL : __real_malloc(size);
    torture.live += copy != NULL;
    return copy ? memcpy(copy, text, size) : NULL;
}

void __wrap_free(void *block)
{
    torture.live -= block != NULL;
    __real_free(block);
}

static void on_open(void *data, enum ulm_cloud_mode mode, enum ulm_prompt_text prompt,
                    int64_t now_us)
{
}

static void on_retry(void *data, int64_t now_us)
{
}

static void on_text(void *data, const char *text, size_t len, int64_t now_us)
{
}

static void on_end(void *data, const struct ulm_cloud_end *end, int64_t now_us)
{
    ++*(unsigned *)data;
}

static void ask(uv_loop_t *loop, struct ulm_cloud *cloud)
{
    static const struct ulm_transfer_handlers handlers = {
        .on_open = on_open, .on_retry = on_retry, .on_text = on_text, .on_end = on_end};
    const struct ulm_turn history = {ULM_ROLE_USER, "before"};
    struct ulm_cloud_request request = {
        .has_opener = true,
        .user = "{}",
        .question = "why",
        .opener = "That is",
        .history = &history,
        .n_history = 1,
        .first_byte_by_us = (int64_t)(uv_hrtime() / 1000) + 300000,
    };
    struct ulm_transfer *transfer;
    unsigned ended = 0;
    ulm_cloud_warm(cloud);
    if (ulm_cloud_start(cloud, &request, &handlers, &ended, &transfer) < 0)
        return;
    while (ended == 0)
        uv_run(loop, UV_RUN_ONCE);
    if (ended != 1)
        abort(); /* an assertion would allocate */
}

enum scenario {
    SCENARIO_WHOLE,    /* an answer, and a second over the kept connection */
    SCENARIO_FAILOVER, /* the first endpoint refuses */
    SCENARIO_PREFILL,  /* refused as prefill, learned and written down */
    SCENARIO_N,
};

static void play(struct fixture *f, enum scenario scenario, const char *dir)
{
    static const char refusal[] =
        ERROR("400", "", "{\"error\":{\"type\":\"x\",\"message\":\"no prefill\"}}");
    char err[256];

    fixture_init(f);
    if (scenario == SCENARIO_FAILOVER)
        fixture_reply(f, 0, ERROR("401", "", "{}"), AFTER_CLOSE);
    if (scenario == SCENARIO_PREFILL)
        fixture_reply(f, 0, refusal, AFTER_CLOSE);
    fixture_reply(f, scenario == SCENARIO_FAILOVER, GOOD, AFTER_CLOSE);
    f->config.n_endpoints = scenario == SCENARIO_FAILOVER ? 2 : 1;
    f->config.state_dir = dir;
    f->endpoints[0].key = "k-123";
    f->endpoints[0].dialect = ULM_DIALECT_ANTHROPIC;
    if (scenario != SCENARIO_PREFILL)
        f->endpoints[0].dialect = ULM_DIALECT_OPENAI_CHAT;
    else
        f->endpoints[0].mode = ULM_CLOUD_PREFILL;

    torture.armed = true;
    if (ulm_cloud_new(&f->loop, &f->config, &f->cloud, err, sizeof err) == 0) {
        ask(&f->loop, f->cloud);
        ask(&f->loop, f->cloud);
    }
    torture.armed = false;
    fixture_deinit(f);
}

/* Plays the scenario with allocation number `at` failing. Returns whether there was one. */
static bool run(enum scenario scenario, long at)
{
    static struct fixture fixture;
    char dir[64], path[128];
    long before = torture.live;

    fixture_dir(dir);
    torture.until = at;
    torture.failed = false;
    play(&fixture, scenario, dir);
    snprintf(path, sizeof path, "%s/capabilities.json", dir);
    unlink(path);
    ck_assert_msg(rmdir(dir) == 0 && torture.live == before,
                  "scenario %d: allocation %ld failed: %ld blocks lost, or a file", (int)scenario,
                  at, torture.live - before);
    return torture.failed;
}

START_TEST(test_each_allocation_fails_once)
{
    ulm_log_set_level(ULM_LOG_ERROR);
    for (unsigned i = 0; i < SCENARIO_N; i++) {
        (void)run((enum scenario)i, -1); /* what libraries keep for ever is made here */
        long at = 0;
        while (run((enum scenario)i, at))
            at++;
        printf("scenario %u: %ld allocations\n", i, at);
        ck_assert_int_gt(at, 40);
    }
}
END_TEST

UNIT_MAIN("cloud-torture", test_each_allocation_fails_once)
