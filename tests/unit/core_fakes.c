/* SPDX-License-Identifier: MIT */
#include "tests/unit/core_fakes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

struct fake_state fake;

void fake_demand(bool holds, const char *file, int line, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}

/* ---- the log ---- */

void fake_must(int r)
{
    DEMAND(r == 0);
}

static void log_text(const char *text)
{
    fake_must(ulm_buf_add_str(&fake.world->log, " \""));
    for (; *text; text++) {
        if (*text == '\n')
            fake_must(ulm_buf_add_str(&fake.world->log, "\\n"));
        else if (*text == '"' || *text == '\\')
            fake_must(ulm_buf_add_fmt(&fake.world->log, "\\%c", *text));
        else
            fake_must(ulm_buf_add(&fake.world->log, text, 1));
    }
    fake_must(ulm_buf_add_str(&fake.world->log, "\""));
}

void fake_flush_delta(void)
{
    if (fake.delta.len == 0)
        return;
    fake_must(ulm_buf_add_fmt(&fake.world->log, "%sdelta", fake.delta_id));
    log_text(fake.delta.data);
    fake_must(ulm_buf_add_str(&fake.world->log, "\n"));
    ulm_buf_clear(&fake.delta);
}

static void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void log_line(const char *format, ...)
{
    fake_flush_delta();
    va_list args;
    va_start(args, format);
    fake_must(ulm_buf_add_vfmt(&fake.world->log, format, args));
    va_end(args);
    fake_must(ulm_buf_add_str(&fake.world->log, "\n"));
}

/* ---- the sink: a client that puts the answer together ---- */

struct client *fake_client_of(struct test_sink *sink, const char *id)
{
    for (int i = sink->n_clients - 1; i >= 0; i--) {
        if (strcmp(sink->clients[i].id, id) == 0)
            return &sink->clients[i];
    }
    return NULL;
}

static void append(struct client *client, const char *text)
{
    DEMAND(*text && "an empty text was emitted");
    DEMAND(ulm_utf8_valid(text, strlen(text)) && "an event splits a character");
    fake_must(ulm_buf_add_str(&client->shown, text));
}

static void log_text_line(const char *prefix, const char *name, const char *text)
{
    fake_flush_delta();
    fake_must(ulm_buf_add_fmt(&fake.world->log, "%s%s", prefix, name));
    log_text(text);
    fake_must(ulm_buf_add_str(&fake.world->log, "\n"));
}

static void take_retraction(struct client *client, size_t chars)
{
    for (size_t i = 0; i < chars; i++) {
        DEMAND(client->shown.len > 0);
        ulm_buf_truncate(&client->shown, ulm_utf8_last(client->shown.data, client->shown.len));
    }
}

static void take_done(struct client *client, const char *prefix, const struct ulm_event *event)
{
    DEMAND(strcmp(event->done.text, ulm_buf_str(&client->shown)) == 0);
    fake_flush_delta();
    const char *verdict = ulm_verdict_name(event->done.verdict);
    fake_must(ulm_buf_add_fmt(&fake.world->log, "%sdone %s %s %s", prefix,
                              ulm_reason_name(event->done.reason),
                              ulm_source_name(event->done.source), verdict ? verdict : "null"));
    log_text(event->done.text);
    if (event->done.input_tokens >= 0)
        fake_must(ulm_buf_add_fmt(&fake.world->log, " %d+%d", (int)event->done.input_tokens,
                                  (int)event->done.output_tokens));
    fake_must(ulm_buf_add_str(&fake.world->log, "\n"));
    fake.timing = event->done.timing;
    fake.verdict = verdict ? verdict : "null";
    ulm_buf_clear(&fake.answer);
    fake_must(ulm_buf_add_str(&fake.answer, event->done.text));
}

static void take_event(struct client *client, const char *prefix, const struct ulm_event *event)
{
    DEMAND(!client->ended && "something follows the terminal event");
    switch (event->type) {
    case ULM_EVENT_OPENER:
        append(client, event->opener.text);
        log_text_line(prefix, "opener", event->opener.text);
        break;
    case ULM_EVENT_OPENED:
        DEMAND(strcmp(event->opened.opener, ulm_buf_str(&client->shown)) == 0);
        DEMAND(event->opened.words == ulm_count_words(event->opened.opener));
        log_line("%sopened %u %.2f", prefix, event->opened.words, event->opened.confidence);
        break;
    case ULM_EVENT_REPAIR:
        DEMAND(event->repair.to == ulm_utf8_count(ulm_buf_str(&client->shown), client->shown.len));
        log_line("%srepair %s %zu %zu", prefix, ulm_verdict_name(event->repair.strategy),
                 event->repair.from, event->repair.to);
        break;
    case ULM_EVENT_RETRACT:
        take_retraction(client, event->retract.chars);
        log_line("%sretract %zu", prefix, event->retract.chars);
        break;
    case ULM_EVENT_DELTA:
        append(client, event->delta.text);
        if (strcmp(fake.delta_id, prefix) != 0)
            fake_flush_delta();
        memcpy(fake.delta_id, prefix, strlen(prefix) + 1);
        fake_must(ulm_buf_add_str(&fake.delta, event->delta.text));
        break;
    case ULM_EVENT_NOTICE:
        log_line("%snotice %s", prefix, ulm_notice_name(event->notice.code));
        break;
    case ULM_EVENT_DONE:
        take_done(client, prefix, event);
        break;
    case ULM_EVENT_ERROR:
        log_line("%serror %s", prefix, ulm_error_name(event->error.code));
        break;
    }
    client->ended = ulm_event_is_terminal(event->type);
}

void fake_spent(struct ulm_sink *sink, int64_t tokens)
{
    DEMAND(tokens >= 0);
    fake.world->spent += tokens;
}

void fake_emit(struct ulm_sink *base, const char *id, const struct ulm_event *event)
{
    struct test_sink *sink = (struct test_sink *)base;
    DEMAND(!sink->gone && "an event for a client that is gone");
    if (!id) {
        DEMAND(event->type == ULM_EVENT_ERROR);
        log_line("error %s ref=%s", ulm_error_name(event->error.code),
                 event->error.ref ? event->error.ref : "");
        return;
    }
    char prefix[ULM_ID_MAX + 8];
    snprintf(prefix, sizeof prefix, "%s: ", id);
    struct client *client = fake_client_of(sink, id);
    DEMAND(client && client->open && "an event for an ask nobody made");
    take_event(client, prefix, event);
}

/* ---- the engine ---- */

int ulm_engine_submit(struct ulm_engine *engine, const struct ulm_job *job)
{
    static const char *const kinds[] = {"draft", "opener", "finish"};
    if (fake.refuse_jobs) {
        fake.refuse_jobs = false;
        log_line("engine: %s refused", kinds[job->kind]);
        return -EAGAIN;
    }
    DEMAND(fake.n_jobs < JOBS);
    if (job->kind == ULM_JOB_OPENER)
        log_line("engine: opener %u..%u%s, %zu turns", job->options.min_words,
                 job->options.max_words, job->options.hold ? " held" : "", job->prompt.n_history);
    else
        log_text_line("engine: ", kinds[job->kind],
                      job->kind == ULM_JOB_FINISH ? job->opener : job->prompt.text);
    fake.jobs[fake.n_jobs++] = (struct job){job->ticket, job->kind, true};
    return 0;
}

void ulm_engine_cancel(struct ulm_engine *engine, uint64_t ticket)
{
    for (int i = 0; i < fake.n_jobs; i++) {
        if (fake.jobs[i].ticket == ticket)
            fake.jobs[i].open = false;
    }
    log_line("engine: cancel");
}

void fake_engine_result(enum ulm_result_kind kind, const char *text, double confidence)
{
    if (fake.back >= fake.n_jobs)
        return;
    struct job *job = &fake.jobs[fake.n_jobs - 1 - fake.back];
    if (!job->open || job->kind == ULM_JOB_DRAFT)
        return; /* the engine gives no result of a cancelled ticket, nor of a draft */
    if (kind != ULM_RESULT_WORD)
        job->open = false;
    const struct ulm_result result = {.kind = kind,
                                      .ticket = job->ticket,
                                      .text = text,
                                      .words = (unsigned)ulm_count_words(text),
                                      .confidence = confidence,
                                      .neutral = fake.neutral};
    fake.neutral = false;
    ulm_core_engine_result(fake.world->core, &result, fake.world->now_us);
}

/* ---- the cloud ---- */

void ulm_cloud_warm(struct ulm_cloud *cloud)
{
    log_line("cloud: warm");
}

double ulm_cloud_first_text_ms(const struct ulm_cloud *cloud)
{
    return fake.world->first_text_ms;
}

int ulm_cloud_start(struct ulm_cloud *cloud, const struct ulm_cloud_request *request,
                    const struct ulm_transfer_handlers *handlers, void *data,
                    struct ulm_transfer **ret_transfer)
{
    if (fake.refuse_transfers) {
        fake.refuse_transfers = false;
        return -ENOMEM;
    }
    DEMAND(fake.n_transfers < TRANSFERS);
    DEMAND(request->has_opener == (*request->opener != '\0'));
    log_line("cloud: ask %s, %zu turns", request->user, request->n_history);
    struct ulm_transfer *transfer = &fake.transfers[fake.n_transfers++];
    *transfer = (struct ulm_transfer){handlers, data, true, false};
    *ret_transfer = transfer;
    return 0;
}

struct ulm_transfer *ulm_transfer_cancel(struct ulm_transfer *transfer)
{
    if (transfer) {
        DEMAND(transfer->open && !transfer->in_end && "a transfer is cancelled that has ended");
        transfer->open = false;
        log_line("cloud: cancel");
    }
    return NULL;
}

void ulm_transfer_report_tag(struct ulm_transfer *transfer, bool seen, unsigned peer)
{
    DEMAND(transfer->open);
    log_line("cloud: tag %s", seen ? "seen" : "missed");
}

void ulm_transfer_report_failure(struct ulm_transfer *transfer, const char *word)
{
    DEMAND(transfer->open);
    log_line("cloud: failure %s", word);
}

struct ulm_transfer *fake_last_transfer(void)
{
    struct ulm_transfer *transfer =
        fake.back < fake.n_transfers ? &fake.transfers[fake.n_transfers - 1 - fake.back] : NULL;
    return transfer && transfer->open ? transfer : NULL;
}

void fake_cloud_open(const char *how)
{
    static const struct {
        const char *name;
        enum ulm_cloud_mode mode;
        enum ulm_prompt_text prompt;
    } ways[] = {{"tagged", ULM_CLOUD_INSTRUCT, ULM_PROMPT_TAGGED},
                {"plain", ULM_CLOUD_INSTRUCT, ULM_PROMPT_PLAIN},
                {"answer", ULM_CLOUD_INSTRUCT, ULM_PROMPT_ANSWER},
                {"prefill", ULM_CLOUD_PREFILL, ULM_PROMPT_PLAIN}};
    struct ulm_transfer *transfer = fake_last_transfer();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(how, ways[i].name) == 0 && transfer) {
            transfer->handlers->on_open(transfer->data, ways[i].mode, ways[i].prompt,
                                        fake.world->now_us);
            return;
        }
    }
    DEMAND(!transfer && "open: a name nobody knows");
}

void fake_cloud_retry(const struct world *world)
{
    struct ulm_transfer *transfer = fake_last_transfer();
    if (transfer)
        transfer->handlers->on_retry(transfer->data, world->now_us);
}

void fake_cloud_refusal(const struct world *world)
{
    struct ulm_transfer *transfer = fake_last_transfer();
    if (transfer)
        transfer->handlers->on_refusal(transfer->data, world->now_us);
}

void fake_cloud_text(const char *text)
{
    struct world *world = fake.world;
    size_t len = strlen(text);
    size_t first = world->n_texts++ == world->split_at && world->split < len ? world->split : 0;
    if (len > world->longest_text)
        world->longest_text = len;
    while (len > 0 && fake_last_transfer()) {
        size_t n = first > 0 ? first : world->chunk > 0 && world->chunk < len ? world->chunk : len;
        struct ulm_transfer *transfer = fake_last_transfer();
        transfer->handlers->on_text(transfer->data, text, n, world->now_us);
        first = 0;
        text += n;
        len -= n;
    }
}

void fake_cloud_end(const char *how, int64_t in, int64_t out)
{
    static const char *const ways[] = {"complete", "length", "refused", "truncated", "failed"};
    bool http = strcmp(how, "http") == 0; /* it failed with a status */
    how = http ? "failed" : how;
    struct ulm_transfer *transfer = fake_last_transfer();
    for (size_t i = 0; i < sizeof ways / sizeof *ways && transfer; i++) {
        if (strcmp(how, ways[i]) != 0)
            continue;
        unsigned status = http ? 500 : i == ULM_CLOUD_FAILED ? 0 : 200;
        const struct ulm_cloud_end end = {(enum ulm_cloud_outcome)i, status, "", in, out};
        transfer->in_end = true;
        transfer->handlers->on_end(transfer->data, &end, fake.world->now_us);
        transfer->open = false;
        return;
    }
    DEMAND(!transfer && "end: a name nobody knows");
}
