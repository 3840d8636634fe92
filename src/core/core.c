/* SPDX-License-Identifier: MIT */
/* The table of open asks and drafts, and every entry from outside. */
#include "core/core.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/prompt.h"
#include "util/log.h"

enum { DRAFT_US = 30000000, MS = 1000 };

int ulm_core_new(const struct ulm_core_config *config, struct ulm_engine *engine,
                 struct ulm_cloud *cloud, struct ulm_core **ret_core)
{
    struct ulm_core *core = calloc(1, sizeof *core);
    if (!core)
        return -ENOMEM;
    core->config = *config;
    core->engine = engine;
    core->cloud = cloud;
    ulm_history_init(&core->history, config->max_sessions, config->session_turns);
    *ret_core = core;
    return 0;
}

/* ---- sessions and drafts as things ---- */

static struct ulm_session *session_free(struct ulm_session *s)
{
    ulm_prompt_free(s->prompt);
    ulm_buf_wipe(&s->opener);
    ulm_buf_wipe(&s->phrase);
    ulm_buf_wipe(&s->answer);
    explicit_bzero(s, sizeof *s);
    free(s);
    return NULL;
}

static struct ulm_opener_options opener_options(const struct ulm_core *core,
                                                const struct ulm_ask *ask)
{
    struct ulm_opener_options options = core->config.opener;
    if (core->config.words_auto && core->cloud)
        options.max_words = ulm_pace_words(ulm_cloud_first_text_ms(core->cloud), options.min_words,
                                           options.max_words);
    if (ask->min_words > 0)
        options.min_words = ask->min_words;
    if (ask->max_words > 0)
        options.max_words = ask->max_words;
    else if (options.max_words < options.min_words)
        options.max_words = options.min_words;
    if (options.max_words > ULM_WORDS_MAX)
        options.max_words = ULM_WORDS_MAX;
    if (options.min_words > options.max_words)
        options.min_words = options.max_words;
    options.min_confidence = core->config.min_confidence;
    options.hold = options.beam > 1 || options.min_confidence > -INFINITY;
    /* A second look may take nine times as long as the first. */
    options.second_look_ms = core->config.opener_wait_ms / 10;
    return options;
}

/* The turns that come before the question: given with it, or those of its session. */
static void find_history(struct ulm_core *core, const struct ulm_sink *sink,
                         const struct ulm_ask *ask, const struct ulm_turn **ret_turns,
                         size_t *ret_n)
{
    *ret_turns = ask->prompt.history;
    *ret_n = ask->prompt.n_history;
    if (ask->session && !ask->has_history) {
        *ret_n = 0;
        (void)ulm_history_find(&core->history, sink->uid, ask->session, ret_turns, ret_n);
    }
}

static struct ulm_session *session_new(struct ulm_core *core, struct ulm_sink *sink,
                                       const struct ulm_ask *ask, uint64_t ticket)
{
    const struct ulm_core_config *config = &core->config;
    unsigned total_ms = config->total_ms;
    if (ask->deadline_ms > 0 && ask->deadline_ms < total_ms)
        total_ms = ask->deadline_ms;

    struct ulm_session *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    *s = (struct ulm_session){
        .core = core,
        .state = ULM_STATE_QUEUED,
        .sink = sink,
        .uid = sink->uid,
        .retractable =
            ask->retractable < 0 ? ask->medium == ULM_MEDIUM_DISPLAY : ask->retractable > 0,
        .opener_options = opener_options(core, ask),
        .asked_us = core->now_us,
        .opener_wait_us = (int64_t)config->opener_wait_ms * MS,
        .first_byte_us = (int64_t)config->first_byte_ms * MS,
        .first_text_us = (int64_t)config->first_text_ms * MS,
        .thinking_us = (int64_t)config->thinking_ms * MS,
        .stalled_us = (int64_t)config->stalled_ms * MS,
        .idle_us = (int64_t)config->idle_ms * MS,
        .total_us = (int64_t)total_ms * MS,
        .ticket = ticket,
        .opener = ULM_BUF_INIT(ULM_OPENER_MAX),
        .phrase = ULM_BUF_INIT(ULM_CONFIG_LINE_MAX),
        .sent_us = -1,
        .held_us = -1,
        .last_text_us = -1,
        .answer = ULM_BUF_INIT(ULM_ANSWER_MAX),
        .timing = {-1, -1, -1, -1, -1, -1, -1},
        .engine_us = -1,
        .input_tokens = -1,
        .output_tokens = -1,
    };
    strncpy(s->id, ask->id, ULM_ID_MAX);
    if (ask->session)
        strncpy(s->name, ask->session, ULM_SESSION_NAME_MAX);
    ulm_verdict_init(&s->verdict);

    const struct ulm_turn *turns;
    size_t n_turns;
    find_history(core, sink, ask, &turns, &n_turns);
    s->prompt = ulm_prompt_copy(&ask->prompt, turns, n_turns);
    return s->prompt ? s : session_free(s);
}

void ulm_core_reap(struct ulm_core *core)
{
    struct ulm_session **link = &core->sessions;
    while (*link) {
        struct ulm_session *s = *link;
        if (s->state != ULM_STATE_ENDED) {
            link = &s->next;
            continue;
        }
        *link = s->next;
        session_free(s);
    }
}

static struct ulm_session *find_session(const struct ulm_core *core, const struct ulm_sink *sink,
                                        const char *id)
{
    for (struct ulm_session *s = core->sessions; s; s = s->next) {
        if (s->state != ULM_STATE_ENDED && s->sink == sink && strcmp(s->id, id) == 0)
            return s;
    }
    return NULL;
}

static struct ulm_draft **find_draft(struct ulm_core *core, const struct ulm_sink *sink,
                                     const char *id)
{
    struct ulm_draft **link = &core->drafts;
    while (*link && !((*link)->sink == sink && strcmp((*link)->id, id) == 0))
        link = &(*link)->next;
    return link;
}

/* Takes the draft off the list and frees it; its prefill stays with the engine, under the ticket
 * that is returned. */
static uint64_t take_draft(struct ulm_core *core, struct ulm_draft **link)
{
    struct ulm_draft *draft = *link;
    uint64_t ticket = draft->ticket;
    *link = draft->next;
    core->n_drafts--;
    free(draft);
    return ticket;
}

static void drop_draft(struct ulm_core *core, struct ulm_draft **link)
{
    uint64_t ticket = take_draft(core, link);
    if (core->engine)
        ulm_engine_cancel(core->engine, ticket);
}

static void drop_drafts_of(struct ulm_core *core, const struct ulm_sink *sink)
{
    for (struct ulm_draft **link = &core->drafts; *link;) {
        if ((*link)->sink == sink)
            drop_draft(core, link);
        else
            link = &(*link)->next;
    }
}

struct ulm_core *ulm_core_free(struct ulm_core *core)
{
    if (!core)
        return NULL;
    for (struct ulm_session *s = core->sessions; s; s = s->next) {
        s->sink = NULL;
        ulm_session_stop(s, ULM_REASON_CANCELLED);
    }
    ulm_core_reap(core);
    while (core->drafts)
        drop_draft(core, &core->drafts);
    ulm_history_deinit(&core->history);
    free(core);
    return NULL;
}

void ulm_core_configure(struct ulm_core *core, const struct ulm_core_config *config,
                        struct ulm_cloud *cloud)
{
    core->config = *config;
    core->cloud = cloud;
    ulm_history_limit(&core->history, config->max_sessions, config->session_turns);
}

/* ---- entries ---- */

static void count_error(struct ulm_core *core, enum ulm_error code)
{
    if (code == ULM_ERROR_BUSY)
        core->counters.busy++;
    else
        core->counters.errors++;
}

static void refuse(struct ulm_core *core, struct ulm_sink *sink, const char *id,
                   enum ulm_error code, const char *message)
{
    count_error(core, code);
    ulm_voice_error(sink, id, code, message, /* ref */ NULL);
}

/* An error about an id that may belong to a healthy request. */
static void complain(struct ulm_core *core, struct ulm_sink *sink, const char *ref,
                     enum ulm_error code, const char *message)
{
    count_error(core, code);
    ulm_voice_error(sink, /* id */ NULL, code, message, ref);
}

static bool history_clashes(struct ulm_core *core, const struct ulm_sink *sink,
                            const struct ulm_ask *ask)
{
    const struct ulm_turn *turns;
    size_t n;
    return ask->session && ask->has_history &&
           ulm_history_find(&core->history, sink->uid, ask->session, &turns, &n) > 0;
}

static void supersede(struct ulm_core *core, const struct ulm_sink *sink, const char *name)
{
    for (struct ulm_session *s = core->sessions; s; s = s->next) {
        if (s->state != ULM_STATE_ENDED && s->uid == sink->uid && strcmp(s->name, name) == 0)
            ulm_session_stop(s, ULM_REASON_SUPERSEDED);
    }
}

/* The ticket of the ask: its draft's, so that the engine finds the prefill. */
static uint64_t claim_ticket(struct ulm_core *core, const struct ulm_sink *sink, const char *id)
{
    struct ulm_draft **draft = find_draft(core, sink, id);
    if (*draft)
        return take_draft(core, draft);
    /* A question goes before a guess: the oldest draft makes room. */
    if (core->drafts && core->n_open + core->n_drafts >= core->config.max_requests)
        drop_draft(core, &core->drafts);
    return ++core->last_ticket;
}

static void ask(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *ask)
{
    core->counters.asks++;
    if (find_session(core, sink, ask->id)) {
        complain(core, sink, ask->id, ULM_ERROR_BAD_REQUEST, "a request with this id is open");
        return;
    }
    if (history_clashes(core, sink, ask)) {
        refuse(core, sink, ask->id, ULM_ERROR_BAD_REQUEST,
               "history cannot be given for a session that has turns");
        return;
    }
    if (!core->engine && !core->cloud) {
        refuse(core, sink, ask->id, ULM_ERROR_NO_MODEL,
               "neither a model nor a cloud is configured");
        return;
    }
    if (ask->session && *ask->session)
        supersede(core, sink, ask->session);
    if (core->n_open >= core->config.max_requests) {
        refuse(core, sink, ask->id, ULM_ERROR_BUSY, "too many requests are open");
        return;
    }
    struct ulm_session *s = session_new(core, sink, ask, claim_ticket(core, sink, ask->id));
    if (!s) {
        refuse(core, sink, ask->id, ULM_ERROR_INTERNAL, "out of memory");
        return;
    }
    struct ulm_session **last = &core->sessions;
    while (*last)
        last = &(*last)->next;
    *last = s;
    core->n_open++;
    ulm_log_text(s->ticket, "asked", ask->prompt.text);
    ulm_session_begin(s);
}

void ulm_core_ask(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *question,
                  int64_t now_us)
{
    core->now_us = now_us;
    ask(core, sink, question);
    ulm_core_reap(core);
}

/* The draft of this id, made where there is none, in place of another that the sink has: who speaks
 * has one question. NULL where none can be had. */
static struct ulm_draft *provide_draft(struct ulm_core *core, struct ulm_sink *sink, const char *id)
{
    struct ulm_draft **link = find_draft(core, sink, id);
    if (*link)
        return *link;
    drop_drafts_of(core, sink);
    link = find_draft(core, sink, id);
    if (core->n_open + core->n_drafts >= core->config.max_requests) {
        complain(core, sink, id, ULM_ERROR_BUSY, "too many requests are open");
        return NULL;
    }
    /* Out of memory: its ask does without it. */
    struct ulm_draft *draft = calloc(1, sizeof *draft);
    if (!draft)
        return NULL;
    draft->sink = sink;
    strncpy(draft->id, id, ULM_ID_MAX);
    draft->ticket = ++core->last_ticket;
    core->n_drafts++;
    *link = draft; /* find_draft ended at the list's end */
    return draft;
}

void ulm_core_draft(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *ask,
                    int64_t now_us)
{
    core->now_us = now_us;
    core->counters.drafts++;
    if (find_session(core, sink, ask->id)) {
        complain(core, sink, ask->id, ULM_ERROR_BAD_REQUEST, "a request with this id is open");
        return;
    }
    if (history_clashes(core, sink, ask)) {
        complain(core, sink, ask->id, ULM_ERROR_BAD_REQUEST,
                 "history cannot be given for a session that has turns");
        return;
    }
    struct ulm_draft *draft = provide_draft(core, sink, ask->id);
    if (!draft)
        return;
    draft->lapses_us = now_us + DRAFT_US;
    if (core->cloud)
        ulm_cloud_warm(core->cloud);
    if (core->engine) {
        struct ulm_job job = {.kind = ULM_JOB_DRAFT,
                              .ticket = draft->ticket,
                              .prompt = ask->prompt,
                              .options = opener_options(core, ask),
                              .ahead = core->config.ahead};
        find_history(core, sink, ask, &job.prompt.history, &job.prompt.n_history);
        (void)ulm_engine_submit(core->engine, &job); /* a draft that fails is none */
    }
}

void ulm_core_played(struct ulm_core *core, struct ulm_sink *sink, const char *id, unsigned words,
                     int64_t now_us)
{
    core->now_us = now_us;
    struct ulm_session *s = find_session(core, sink, id);
    if (s)
        ulm_session_played(s, words);
    else
        complain(core, sink, id, ULM_ERROR_NOT_FOUND, "no request with this id is open");
    ulm_core_reap(core);
}

void ulm_core_cancel(struct ulm_core *core, struct ulm_sink *sink, const char *id, int64_t now_us)
{
    core->now_us = now_us;
    struct ulm_session *s = find_session(core, sink, id);
    struct ulm_draft **draft = find_draft(core, sink, id);
    if (s)
        ulm_session_stop(s, ULM_REASON_CANCELLED);
    else if (*draft)
        drop_draft(core, draft);
    else
        complain(core, sink, id, ULM_ERROR_NOT_FOUND, "no request with this id is open");
    ulm_core_reap(core);
}

void ulm_core_reset(struct ulm_core *core, struct ulm_sink *sink, const char *session)
{
    ulm_history_forget(&core->history, sink->uid, session);
    for (struct ulm_session *s = core->sessions; s; s = s->next)
        s->forgotten = s->forgotten || (s->uid == sink->uid && strcmp(s->name, session) == 0);
}

void ulm_core_sink_gone(struct ulm_core *core, struct ulm_sink *sink, int64_t now_us)
{
    core->now_us = now_us;
    for (struct ulm_session *s = core->sessions; s; s = s->next) {
        if (s->sink != sink)
            continue;
        if (s->state != ULM_STATE_ENDED)
            ulm_voice_spent(s);
        s->sink = NULL;
        ulm_session_stop(s, ULM_REASON_CANCELLED);
    }
    ulm_core_reap(core);
    drop_drafts_of(core, sink);
}

size_t ulm_core_open_requests(const struct ulm_core *core, const struct ulm_sink *sink)
{
    size_t n = 0;
    for (const struct ulm_session *s = core->sessions; s; s = s->next)
        n += s->sink == sink && s->state != ULM_STATE_ENDED;
    return n;
}

bool ulm_core_is_open(const struct ulm_core *core, const struct ulm_sink *sink, const char *id)
{
    return find_session(core, sink, id) != NULL;
}

void ulm_core_engine_result(struct ulm_core *core, const struct ulm_result *result, int64_t now_us)
{
    core->now_us = now_us;
    struct ulm_session *s = core->sessions;
    while (s && s->ticket != result->ticket)
        s = s->next;
    if (s)
        ulm_session_engine_result(s, result);
    ulm_core_reap(core);
}

int64_t ulm_core_next_deadline(const struct ulm_core *core)
{
    int64_t first = INT64_MAX;
    for (const struct ulm_session *s = core->sessions; s; s = s->next) {
        int64_t at = ulm_session_deadline(s);
        first = at < first ? at : first;
    }
    for (const struct ulm_draft *draft = core->drafts; draft; draft = draft->next)
        first = draft->lapses_us < first ? draft->lapses_us : first;
    return first;
}

void ulm_core_tick(struct ulm_core *core, int64_t now_us)
{
    core->now_us = now_us;
    for (struct ulm_session *s = core->sessions; s; s = s->next)
        ulm_session_tick(s);
    ulm_core_reap(core);
    for (struct ulm_draft **link = &core->drafts; *link;) {
        if ((*link)->lapses_us <= now_us)
            drop_draft(core, link);
        else
            link = &(*link)->next;
    }
}

void ulm_core_shutdown(struct ulm_core *core, int64_t now_us)
{
    core->now_us = now_us;
    for (struct ulm_session *s = core->sessions; s; s = s->next)
        ulm_session_stop(s, ULM_REASON_CANCELLED);
    ulm_core_reap(core);
}

const struct ulm_core_counters *ulm_core_counters(const struct ulm_core *core)
{
    return &core->counters;
}

const struct ulm_histogram *ulm_core_latency(const struct ulm_core *core,
                                             enum ulm_latency_kind kind)
{
    return &core->latency[kind];
}

size_t ulm_core_running(const struct ulm_core *core)
{
    return core->n_open;
}
