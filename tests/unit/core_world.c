/* SPDX-License-Identifier: MIT */
#include "tests/unit/core_world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/core_fakes.h"
#include "util/log.h"
#include "util/text.h"

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
    struct client *client = fake_client_of(sink, args[1]);
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
        ulm_core_sink_gone(world->core, &sink->sink, world->now_us);
        sink->gone = true;
        for (int i = 0; i < sink->n_clients; i++)
            sink->clients[i].ended = true;
    } else if (strcmp(command, "shutdown") == 0)
        ulm_core_shutdown(world->core, world->now_us);
    else if (strcmp(command, "cloud") == 0)
        ulm_core_configure(world->core, &world->config,
                           n > 1 ? (void *)&fake.clouds[fake.n_clouds++ % sizeof fake.clouds]
                                 : NULL);
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
        fake_engine_result(ULM_RESULT_WORD, args[1], 0);
    else if (strcmp(command, "opened") == 0)
        fake_engine_result(ULM_RESULT_OPENED, args[1], confidence);
    else if (strcmp(command, "neutral") == 0)
        fake.neutral = true;
    else if (strcmp(command, "finished") == 0)
        fake_engine_result(ULM_RESULT_FINISHED, args[1], confidence);
    else if (strcmp(command, "failed") == 0)
        fake_engine_result(ULM_RESULT_FAILED, "broken", 0);
    else if (strcmp(command, "open") == 0)
        fake_cloud_open(args[1]);
    else if (strcmp(command, "retry") == 0)
        fake_cloud_retry(world);
    else if (strcmp(command, "refusal") == 0)
        fake_cloud_refusal(world);
    else if (strcmp(command, "text") == 0)
        fake_cloud_text(args[1]);
    else if (strcmp(command, "end") == 0)
        fake_cloud_end(args[1], n > 3 ? atoi(args[2]) : -1, n > 3 ? atoi(args[3]) : -1);
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
        fake_engine_result(ULM_RESULT_WORD, at, 0);
        at[n] = after;
        at += n;
    }
    fake_engine_result(ULM_RESULT_OPENED, text, -0.5);
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
    fake_flush_delta();
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
                .local_close = "I'll need a connection for that.",
                .failed_close = "I can't answer that right now.",
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
        fake.sinks[i] = (struct test_sink){
            .sink = {.emit = fake_emit, .spent = fake_spent, .uid = 1000}, .number = i};
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
    fake_must(ulm_buf_reserve(&world->log, SOME));
    fake_must(ulm_buf_reserve(&fake.delta, SOME));
    fake_must(ulm_buf_reserve(&fake.answer, SOME));
    for (int i = 0; i < SINKS; i++) {
        for (int j = 0; j < ASKS; j++) {
            fake.sinks[i].clients[j].shown.cap = TEXT_MAX;
            fake_must(ulm_buf_reserve(&fake.sinks[i].clients[j].shown, SOME / 8));
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
    fake_engine_result(ULM_RESULT_OPENED, opener, -0.5);
    fake_cloud_open("tagged");
    for (size_t len = strlen(text); len > 0 && fake_last_transfer();) {
        size_t n = seed == 0 ? len : seed == 1 ? 1 : 1 + (size_t)rand_r(&seed) % 7;
        n = n < len ? n : len;
        fake_last_transfer()->handlers->on_text(fake_last_transfer()->data, text, n, world.now_us);
        text += n;
        len -= n;
    }
    fake_cloud_end("complete", -1, -1);
    fake_engine_result(ULM_RESULT_FINISHED, "", -1); /* where nothing came: the close */
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
