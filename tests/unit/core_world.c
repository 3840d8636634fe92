/* SPDX-License-Identifier: MIT */
#include "tests/unit/core_world.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "util/text.h"

/* Not check's assertions: the fuzz targets have no test runner. */
#define DEMAND(...) demand((__VA_ARGS__), __LINE__, #__VA_ARGS__)

static void demand(bool holds, int line, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "core_world.c:%d: %s\n", line, what);
    abort();
}

enum { SINKS = 4, ASKS = 64, JOBS = 256, TRANSFERS = 256, ARGS = 12, TEXT_MAX = 200000 };

/* What one ask's client has put together. */
struct client {
    char id[ULM_ID_MAX + 1];
    bool open, ended;
    struct ulm_buf shown; /* the answer */
};

struct test_sink {
    struct ulm_sink sink;
    int number;
    bool gone;
    struct client clients[ASKS];
    int n_clients;
};

struct job {
    uint64_t ticket;
    enum ulm_job_kind kind;
    bool open;
};

struct ulm_transfer {
    const struct ulm_transfer_handlers *handlers;
    void *data;
    bool open, in_end;
};

static struct {
    struct world *world;
    struct test_sink sinks[SINKS];
    struct job jobs[JOBS];
    int n_jobs;
    struct ulm_transfer transfers[TRANSFERS];
    int n_transfers;
    char clouds[4]; /* addresses to tell one cloud from another */
    int n_clouds;
    int back; /* results and text are for this one of the jobs and transfers, from the last */
    bool refuse_jobs, refuse_transfers, in_start;
    struct ulm_timing timing;
    const char *verdict;
    struct ulm_buf answer;
    struct ulm_buf delta; /* deltas not yet written to the log */
    char delta_id[ULM_ID_MAX + 8];
} fake;

/* ---- the log ---- */

static void must(int r)
{
    DEMAND(r == 0);
}

static void log_text(const char *text)
{
    must(ulm_buf_add_str(&fake.world->log, " \""));
    for (; *text; text++) {
        if (*text == '\n')
            must(ulm_buf_add_str(&fake.world->log, "\\n"));
        else if (*text == '"' || *text == '\\')
            must(ulm_buf_add_fmt(&fake.world->log, "\\%c", *text));
        else
            must(ulm_buf_add(&fake.world->log, text, 1));
    }
    must(ulm_buf_add_str(&fake.world->log, "\""));
}

static void flush_delta(void)
{
    if (fake.delta.len == 0)
        return;
    must(ulm_buf_add_fmt(&fake.world->log, "%sdelta", fake.delta_id));
    log_text(fake.delta.data);
    must(ulm_buf_add_str(&fake.world->log, "\n"));
    ulm_buf_clear(&fake.delta);
}

static void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void log_line(const char *format, ...)
{
    flush_delta();
    va_list args;
    va_start(args, format);
    must(ulm_buf_add_vfmt(&fake.world->log, format, args));
    va_end(args);
    must(ulm_buf_add_str(&fake.world->log, "\n"));
}

/* ---- the sink: a client that puts the answer together ---- */

static struct client *client_of(struct test_sink *sink, const char *id)
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
    must(ulm_buf_add_str(&client->shown, text));
}

static void log_text_line(const char *prefix, const char *name, const char *text)
{
    flush_delta();
    must(ulm_buf_add_fmt(&fake.world->log, "%s%s", prefix, name));
    log_text(text);
    must(ulm_buf_add_str(&fake.world->log, "\n"));
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
    flush_delta();
    const char *verdict = ulm_verdict_name(event->done.verdict);
    must(ulm_buf_add_fmt(&fake.world->log, "%sdone %s %s %s", prefix,
                         ulm_reason_name(event->done.reason), ulm_source_name(event->done.source),
                         verdict ? verdict : "null"));
    log_text(event->done.text);
    if (event->done.input_tokens >= 0)
        must(ulm_buf_add_fmt(&fake.world->log, " %d+%d", (int)event->done.input_tokens,
                             (int)event->done.output_tokens));
    must(ulm_buf_add_str(&fake.world->log, "\n"));
    fake.timing = event->done.timing;
    fake.verdict = verdict ? verdict : "null";
    ulm_buf_clear(&fake.answer);
    must(ulm_buf_add_str(&fake.answer, event->done.text));
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
            flush_delta();
        memcpy(fake.delta_id, prefix, strlen(prefix) + 1);
        must(ulm_buf_add_str(&fake.delta, event->delta.text));
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

static void emit(struct ulm_sink *base, const char *id, const struct ulm_event *event)
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
    struct client *client = client_of(sink, id);
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

static void engine_result(enum ulm_result_kind kind, const char *text, double confidence)
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
                                      .confidence = confidence};
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

static struct ulm_transfer *last_transfer(void)
{
    struct ulm_transfer *transfer =
        fake.back < fake.n_transfers ? &fake.transfers[fake.n_transfers - 1 - fake.back] : NULL;
    return transfer && transfer->open ? transfer : NULL;
}

static void cloud_open(const char *how)
{
    static const struct {
        const char *name;
        enum ulm_cloud_mode mode;
        enum ulm_prompt_text prompt;
    } ways[] = {{"tagged", ULM_CLOUD_INSTRUCT, ULM_PROMPT_TAGGED},
                {"plain", ULM_CLOUD_INSTRUCT, ULM_PROMPT_PLAIN},
                {"answer", ULM_CLOUD_INSTRUCT, ULM_PROMPT_ANSWER},
                {"prefill", ULM_CLOUD_PREFILL, ULM_PROMPT_PLAIN}};
    struct ulm_transfer *transfer = last_transfer();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(how, ways[i].name) == 0 && transfer) {
            transfer->handlers->on_open(transfer->data, ways[i].mode, ways[i].prompt,
                                        fake.world->now_us);
            return;
        }
    }
    DEMAND(!transfer && "open: a name nobody knows");
}

static void cloud_retry(const struct world *world)
{
    struct ulm_transfer *transfer = last_transfer();
    if (transfer)
        transfer->handlers->on_retry(transfer->data, world->now_us);
}

static void cloud_refusal(const struct world *world)
{
    struct ulm_transfer *transfer = last_transfer();
    if (transfer)
        transfer->handlers->on_refusal(transfer->data, world->now_us);
}

static void cloud_text(const char *text)
{
    struct world *world = fake.world;
    size_t len = strlen(text);
    size_t first = world->n_texts++ == world->split_at && world->split < len ? world->split : 0;
    if (len > world->longest_text)
        world->longest_text = len;
    while (len > 0 && last_transfer()) {
        size_t n = first > 0 ? first : world->chunk > 0 && world->chunk < len ? world->chunk : len;
        struct ulm_transfer *transfer = last_transfer();
        transfer->handlers->on_text(transfer->data, text, n, world->now_us);
        first = 0;
        text += n;
        len -= n;
    }
}

static void cloud_end(const char *how, int64_t in, int64_t out)
{
    static const char *const ways[] = {"complete", "length", "refused", "truncated", "failed"};
    struct ulm_transfer *transfer = last_transfer();
    for (size_t i = 0; i < sizeof ways / sizeof *ways && transfer; i++) {
        if (strcmp(how, ways[i]) != 0)
            continue;
        const struct ulm_cloud_end end = {(enum ulm_cloud_outcome)i, 200, "", in, out};
        transfer->in_end = true;
        transfer->handlers->on_end(transfer->data, &end, fake.world->now_us);
        transfer->open = false;
        return;
    }
    DEMAND(!transfer && "end: a name nobody knows");
}

/* ---- the script ---- */

/* Cuts a line into arguments, in place; quotes are taken off, key="a b" is one argument. */
static int cut_line(char *line, char *args[ARGS])
{
    int n = 0;
    char *at = line;
    for (;;) {
        while (*at == ' ')
            at++;
        if (!*at || n == ARGS)
            return n;
        args[n++] = at;
        char *out = at;
        bool quoted = false;
        for (; *at && (quoted || *at != ' '); at++) {
            if (*at == '"') {
                quoted = !quoted;
            } else if (*at == '\\' && at[1]) {
                at++;
                if (*at == 'x') {
                    char hex[3] = {at[1], at[2], 0};
                    *out++ = (char)strtol(hex, NULL, 16);
                    at += 2;
                } else {
                    *out++ = *at == 'n' ? '\n' : *at == 't' ? '\t' : *at == 'r' ? '\r' : *at;
                }
            } else {
                *out++ = *at;
            }
        }
        bool last = !*at;
        *out = '\0';
        if (last)
            return n;
        at++;
    }
}

static const char *option(char *args[], int n, const char *key)
{
    size_t len = strlen(key);
    for (int i = 0; i < n; i++) {
        if (strncmp(args[i], key, len) == 0 && (args[i][len] == '=' || !args[i][len]))
            return args[i][len] ? args[i] + len + 1 : "";
    }
    return NULL;
}

static struct test_sink *sink_of(char *args[], int n)
{
    const char *number = option(args, n, "sink");
    struct test_sink *sink = &fake.sinks[number ? atoi(number) : 0];
    sink->gone = false; /* who comes after one that went */
    const char *uid = option(args, n, "uid");
    if (uid)
        sink->sink.uid = (uid_t)atoi(uid);
    return sink;
}

static unsigned number_of(char *args[], int n, const char *key)
{
    const char *value = option(args, n, key);
    return value ? (unsigned)atoi(value) : 0;
}

static void run_ask(char *args[], int n, bool draft)
{
    DEMAND(n >= 3);
    struct test_sink *sink = sink_of(args, n);
    const char *fact = option(args, n, "fact"), *retractable = option(args, n, "retractable");
    const char *history = option(args, n, "history");
    const struct ulm_turn turns[] = {{ULM_ROLE_USER, history}, {ULM_ROLE_ASSISTANT, "So be it."}};
    const struct ulm_ask ask = {
        .id = args[1],
        .session = option(args, n, "session"),
        .prompt = {.text = args[2],
                   .facts = &fact,
                   .n_facts = fact != NULL,
                   .history = turns,
                   .n_history = history ? 2 : 0},
        .has_history = history != NULL,
        .medium = option(args, n, "speech") ? ULM_MEDIUM_SPEECH : ULM_MEDIUM_DISPLAY,
        .retractable = retractable ? atoi(retractable) : -1,
        .min_words = number_of(args, n, "min"),
        .max_words = number_of(args, n, "max"),
        .deadline_ms = number_of(args, n, "deadline"),
    };
    struct client *client = client_of(sink, args[1]);
    if (!draft && (!client || client->ended)) {
        DEMAND(sink->n_clients < ASKS);
        client = &sink->clients[sink->n_clients++];
        *client = (struct client){.shown = client->shown};
        strncpy(client->id, args[1], ULM_ID_MAX);
        client->shown.cap = TEXT_MAX;
        ulm_buf_clear(&client->shown);
        client->open = true;
    }
    if (draft)
        ulm_core_draft(fake.world->core, &sink->sink, &ask, fake.world->now_us);
    else
        ulm_core_ask(fake.world->core, &sink->sink, &ask, fake.world->now_us);
}

/* Time passes: every deadline on the way is met to the microsecond. */
static void run_wait(struct world *world, int64_t ms)
{
    int64_t until = world->now_us + ms * 1000;
    for (int turns = 0;; turns++) {
        int64_t next = ulm_core_next_deadline(world->core);
        if (next > until)
            break;
        DEMAND((next >= world->now_us || turns < 100) && "a deadline does not go away");
        world->now_us = next > world->now_us ? next : world->now_us;
        ulm_core_tick(world->core, world->now_us);
    }
    world->now_us = until;
}

static void run_config(struct world *world, char *args[], int n)
{
    struct ulm_core_config *config = &world->config;
    static char texts[4][256];
    static const char *neutral[2] = {texts[0], texts[1]};
    const char *value;
    world->no_engine = world->no_engine || option(args, n, "no_engine");
    world->no_cloud = world->no_cloud || option(args, n, "no_cloud");
    if ((value = option(args, n, "allow"))) {
        config->allow_pivot = strstr(value, "pivot") != NULL;
        config->allow_fix = strstr(value, "fix") != NULL;
        config->allow_redo = strstr(value, "redo") != NULL;
    }
    if ((value = option(args, n, "neutral"))) {
        for (; config->n_neutral < 2 && *value; config->n_neutral++) {
            size_t len = strcspn(value, "|");
            memcpy(texts[config->n_neutral], value, len);
            texts[config->n_neutral][len] = '\0';
            value += len + (value[len] == '|');
        }
        config->neutral = neutral;
    }
    if ((value = option(args, n, "redo_phrase")))
        config->redo_phrase = strncpy(texts[2], value, 255);
    if ((value = option(args, n, "length_close")))
        config->length_close = strncpy(texts[3], value, 255);
    if ((value = option(args, n, "min_confidence")))
        config->min_confidence = atof(value);
    if ((value = option(args, n, "max_requests")))
        config->max_requests = (unsigned)atoi(value);
    if ((value = option(args, n, "first_text"))) {
        config->words_auto = true;
        world->first_text_ms = atof(value);
    }
}

static void run_client_line(struct world *world, char *args[], int n)
{
    struct test_sink *sink = sink_of(args, n);
    const char *command = args[0];
    if (strcmp(command, "ask") == 0)
        run_ask(args, n, false);
    else if (strcmp(command, "draft") == 0)
        run_ask(args, n, true);
    else if (strcmp(command, "played") == 0)
        ulm_core_played(world->core, &sink->sink, args[1], (unsigned)atoi(args[2]), world->now_us);
    else if (strcmp(command, "cancel") == 0)
        ulm_core_cancel(world->core, &sink->sink, args[1], world->now_us);
    else if (strcmp(command, "reset") == 0)
        ulm_core_reset(world->core, &sink->sink, args[1]);
    else if (strcmp(command, "gone") == 0) {
        ulm_core_sink_gone(world->core, &sink->sink);
        sink->gone = true;
        for (int i = 0; i < sink->n_clients; i++)
            sink->clients[i].ended = true;
    } else if (strcmp(command, "shutdown") == 0)
        ulm_core_shutdown(world->core, world->now_us);
    else if (strcmp(command, "cloud") == 0)
        ulm_core_configure(world->core, &world->config,
                           n > 1 ? (void *)&fake.clouds[fake.n_clouds++ % sizeof fake.clouds] : NULL);
    else
        DEMAND(!"a command nobody knows");
}

static void run_line(struct world *world, char *line)
{
    char *args[ARGS] = {0};
    int n = cut_line(line, args);
    const char *command = args[0];
    double confidence = n > 2 ? atof(args[2]) : -0.5;
    if (strcmp(command, "word") == 0)
        engine_result(ULM_RESULT_WORD, args[1], 0);
    else if (strcmp(command, "opened") == 0)
        engine_result(ULM_RESULT_OPENED, args[1], confidence);
    else if (strcmp(command, "finished") == 0)
        engine_result(ULM_RESULT_FINISHED, args[1], confidence);
    else if (strcmp(command, "failed") == 0)
        engine_result(ULM_RESULT_FAILED, "broken", 0);
    else if (strcmp(command, "open") == 0)
        cloud_open(args[1]);
    else if (strcmp(command, "retry") == 0)
        cloud_retry(world);
    else if (strcmp(command, "refusal") == 0)
        cloud_refusal(world);
    else if (strcmp(command, "text") == 0)
        cloud_text(args[1]);
    else if (strcmp(command, "end") == 0)
        cloud_end(args[1], n > 3 ? atoi(args[2]) : -1, n > 3 ? atoi(args[3]) : -1);
    else if (strcmp(command, "back") == 0)
        fake.back = atoi(args[1]);
    else if (strcmp(command, "wait") == 0)
        run_wait(world, atoll(args[1]));
    else if (strcmp(command, "refuse") == 0)
        *(strcmp(args[1], "jobs") == 0 ? &fake.refuse_jobs : &fake.refuse_transfers) = true;
    else
        run_client_line(world, args, n);
}

/* `opener TEXT` stands for its words and the end of the opener. */
static void run_opener(struct world *world, char *text)
{
    char words[ULM_OPENER_MAX * 2];
    size_t len = strlen(text);
    DEMAND(len < sizeof words);
    memcpy(words, text, len + 1);
    for (char *at = words; *at;) {
        size_t n = (*at == ' ') + strcspn(at + (*at == ' '), " ");
        char after = at[n];
        at[n] = '\0';
        engine_result(ULM_RESULT_WORD, at, 0);
        at[n] = after;
        at += n;
    }
    engine_result(ULM_RESULT_OPENED, text, -0.5);
}

static void start_core(struct world *world)
{
    static int engine, cloud;
    int r = ulm_core_new(&world->config, world->no_engine ? NULL : (void *)&engine,
                         world->no_cloud ? NULL : (void *)&cloud, &world->core);
    if (r < 0 && !world->tolerant)
        DEMAND(!"no memory for core");
}

void world_run(struct world *world, const char *script)
{
    fake.world = world;
    while (*script) {
        char line[4096];
        size_t len = strcspn(script, "\n");
        DEMAND(len < sizeof line);
        memcpy(line, script, len);
        line[len] = '\0';
        script += len + (script[len] == '\n');
        if (!*line || *line == '#')
            continue;
        if (strncmp(line, "config ", 7) == 0) {
            char *args[ARGS] = {0};
            run_config(world, args, cut_line(line, args));
            continue;
        }
        if (!world->core)
            start_core(world);
        if (!world->core)
            return;
        if (strncmp(line, "opener ", 7) == 0) {
            char *args[ARGS] = {0};
            (void)cut_line(line, args);
            run_opener(world, args[1]);
        } else {
            run_line(world, line);
        }
    }
    flush_delta();
}

void world_init(struct world *world)
{
    ulm_log_set_level(ULM_LOG_ERROR);
    memset(&fake, 0, sizeof fake);
    *world = (struct world){
        .now_us = 1000000,
        .split_at = -1,
        .log = ULM_BUF_INIT(4 * TEXT_MAX),
        .config =
            {
                .max_requests = 8,
                .opener = {.min_words = 4, .max_words = 8, .guard = true, .beam = 1, .top_p = 1},
                .min_confidence = -INFINITY,
                .opener_wait_ms = 300,
                .first_byte_ms = 4500,
                .first_text_ms = 12000,
                .thinking_ms = 2000,
                .stalled_ms = 4000,
                .idle_ms = 10000,
                .total_ms = 30000,
                .allow_pivot = true,
                .allow_fix = true,
                .allow_redo = true,
                .redo_phrase = ", sorry, let me start again. ",
                .local_close = "I'll need a connection to finish that.",
                .refused_close = ", sorry, I can't help with that.",
                .length_close = "",
                .max_sessions = 3,
                .session_turns = 2,
            },
    };
    fake.world = world;
    fake.delta = ULM_BUF_INIT(TEXT_MAX);
    fake.answer = ULM_BUF_INIT(TEXT_MAX);
    for (int i = 0; i < SINKS; i++)
        fake.sinks[i] = (struct test_sink){.sink = {.emit = emit, .uid = 1000}, .number = i};
}

void world_deinit(struct world *world)
{
    ulm_core_free(world->core);
    for (int i = 0; i < SINKS; i++) {
        for (int j = 0; j < ASKS; j++)
            ulm_buf_deinit(&fake.sinks[i].clients[j].shown);
    }
    ulm_buf_deinit(&fake.delta);
    ulm_buf_deinit(&fake.answer);
    ulm_buf_deinit(&world->log);
}

void world_reserve(struct world *world)
{
    enum { SOME = 16 * 1024 };
    world->tolerant = true;
    must(ulm_buf_reserve(&world->log, SOME));
    must(ulm_buf_reserve(&fake.delta, SOME));
    must(ulm_buf_reserve(&fake.answer, SOME));
    for (int i = 0; i < SINKS; i++) {
        for (int j = 0; j < ASKS; j++) {
            fake.sinks[i].clients[j].shown.cap = TEXT_MAX;
            must(ulm_buf_reserve(&fake.sinks[i].clients[j].shown, SOME / 8));
        }
    }
}

struct hand_off world_hand_off(const char *opener, const char *text, bool retractable,
                               unsigned seed)
{
    static struct world world;
    if (!world.core) {
        world_init(&world);
        world.config.max_sessions = 0;
        start_core(&world);
    }
    fake.sinks[0].n_clients = fake.n_jobs = fake.n_transfers = 0;
    ulm_buf_clear(&world.log);

    char *args[] = {(char[]){"ask"}, (char[]){"a"}, (char[]){"x"}, (char[]){"retractable=0"}};
    run_ask(args, retractable ? 3 : 4, /* draft */ false);
    engine_result(ULM_RESULT_OPENED, opener, -0.5);
    cloud_open("tagged");
    for (size_t len = strlen(text); len > 0 && last_transfer();) {
        size_t n = seed == 0 ? len : seed == 1 ? 1 : 1 + (size_t)rand_r(&seed) % 7;
        n = n < len ? n : len;
        last_transfer()->handlers->on_text(last_transfer()->data, text, n, world.now_us);
        text += n;
        len -= n;
    }
    cloud_end("complete", -1, -1);
    return (struct hand_off){fake.verdict, ulm_buf_str(&fake.answer)};
}

struct ulm_timing world_timing(void)
{
    return fake.timing;
}

size_t world_leaks(void)
{
    size_t n = 0;
    for (int i = 0; i < fake.n_transfers; i++)
        n += fake.transfers[i].open;
    for (int i = 0; i < SINKS; i++) {
        for (int j = 0; j < fake.sinks[i].n_clients; j++)
            n += !fake.sinks[i].clients[j].ended;
    }
    return n;
}
