/* SPDX-License-Identifier: MIT */
#include "tests/unit/cloud-fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"

static void note(struct record *record, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(struct record *record, const char *format, ...)
{
    va_list args;
    size_t len = strlen(record->log);
    va_start(args, format);
    vsnprintf(record->log + len, sizeof record->log - len, format, args);
    va_end(args);
}

static void on_open(void *data, enum ulm_cloud_mode mode, enum ulm_prompt_text prompt,
                    int64_t now_us)
{
    static const char *const prompts[] = {"tagged", "plain", "answer"};
    struct record *record = data;
    note(record, "open %s %s; ", mode == ULM_CLOUD_PREFILL ? "prefill" : "instruct",
         prompts[prompt]);
    if (record->cancel_at_open)
        record->transfer = ulm_transfer_cancel(record->transfer);
}

static void on_retry(void *data, int64_t now_us)
{
    note(data, "retry; ");
}

static void on_refusal(void *data, int64_t now_us)
{
    note(data, "refusal; ");
}

static void on_text(void *data, const char *text, size_t len, int64_t now_us)
{
    struct record *record = data;
    record->texts++;
    if (record->texts == record->cancel_at_text)
        record->transfer = ulm_transfer_cancel(record->transfer);
    if (record->len + len >= sizeof record->text)
        abort();
    memcpy(record->text + record->len, text, len);
    record->len += len;
}

static void on_end(void *data, const struct ulm_cloud_end *end, int64_t now_us)
{
    static const char *const outcomes[] = {"complete", "length", "refused", "truncated", "failed"};
    struct record *record = data;
    if (record->len > 0 && record->len < 200)
        note(record, "text %s; ", record->text);
    note(record, "end %s %u%s%s", outcomes[end->outcome], end->http_status,
         end->detail[0] ? " " : "", end->detail);
    ck_assert(!record->ended);
    record->end = *end;
    record->ended = true;
    record->transfer = NULL;
}

static const struct ulm_transfer_handlers handlers = {
    .on_open = on_open,
    .on_retry = on_retry,
    .on_refusal = on_refusal,
    .on_text = on_text,
    .on_end = on_end,
};

static void on_tick(uv_timer_t *tick)
{
}

void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    uv_timer_init(&f->loop, &f->tick);
    uv_timer_start(&f->tick, on_tick, 5, 5);
    uv_unref((uv_handle_t *)&f->tick);
    for (size_t i = 0; i < 2; i++) {
        http_server_start(&f->servers[i], &f->loop, NULL);
        f->endpoints[i] = (struct ulm_endpoint_config){
            .name = i == 0 ? "" : "second",
            .url = f->servers[i].url,
            .model = "m",
            .prompts = {"tagged text", "plain text", "answer text"},
            .max_tokens = 100,
        };
    }
    f->config = (struct ulm_cloud_config){.endpoints = f->endpoints, .n_endpoints = 1};
}

void fixture_cloud(struct fixture *f)
{
    char err[256];
    ck_assert_msg(ulm_cloud_new(&f->loop, &f->config, &f->cloud, err, sizeof err) == 0, "%s", err);
}

void fixture_deinit(struct fixture *f)
{
    f->cloud = ulm_cloud_free(f->cloud);
    for (size_t i = 0; i < 2; i++)
        http_server_stop(&f->servers[i]);
    uv_close((uv_handle_t *)&f->tick, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

void fixture_ask(struct fixture *f, struct record *record)
{
    const struct ulm_turn history[] = {{ULM_ROLE_USER, "before"}, {ULM_ROLE_ASSISTANT, "then"}};
    struct ulm_cloud_request request = {
        .has_opener = true,
        .user = "{\"request\":\"why\",\"opener\":\"That is because\"}",
        .question = "why",
        .opener = "That is because",
        .history = history,
        .n_history = 2,
        .first_byte_by_us = (int64_t)(uv_hrtime() / 1000) + 5000000,
    };
    ck_assert_int_eq(ulm_cloud_start(f->cloud, &request, &handlers, record, &record->transfer), 0);
    ck_assert_str_eq(record->log, ""); /* never from inside start */
}

void fixture_wait(struct fixture *f, struct record *record)
{
    while (!record->ended)
        ck_assert(uv_run(&f->loop, UV_RUN_ONCE) != 0 || record->ended);
}

const char *fixture_run(struct fixture *f, struct record *record)
{
    memset(record, 0, sizeof *record);
    fixture_ask(f, record);
    fixture_wait(f, record);
    return record->log;
}

static void count_armed(uv_handle_t *handle, void *data)
{
    unsigned *n = data;
    bool ours = handle->type == UV_TIMER || handle->type == UV_POLL;
    if (ours && uv_has_ref(handle) && uv_is_active(handle))
        (*n)++;
}

unsigned fixture_armed(struct fixture *f)
{
    unsigned n = 0;
    uv_walk(&f->loop, count_armed, &n);
    return n;
}

void fixture_settle(struct fixture *f)
{
    while (fixture_armed(f) > 0)
        uv_run(&f->loop, UV_RUN_ONCE);
}

void fixture_reply(struct fixture *f, size_t server, const char *bytes, enum reply_after after)
{
    struct http_server *s = &f->servers[server];
    s->replies[s->n_replies++] = (struct reply){.bytes = bytes, .after = after};
}

const char *fixture_play(const char *bytes, enum reply_after after, size_t chunk)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    fixture_reply(&f, 0, bytes, after);
    f.servers[0].replies[0].chunk = chunk;
    fixture_cloud(&f);
    fixture_run(&f, &record);
    fixture_settle(&f);
    fixture_deinit(&f);
    return record.log;
}

void fixture_dir(char path[static 64])
{
    snprintf(path, 64, "/tmp/ulm-cloud-XXXXXX");
    ck_assert(mkdtemp(path) != NULL);
}
