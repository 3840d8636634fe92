/* SPDX-License-Identifier: MIT */
/*
 * The story of one ask. The engine writes the opener; when it is frozen the cloud is asked to go on
 * from it; the verdict at the head of the cloud's text says whether the opener stands, and the text
 * behind it is joined on, after a correction where one is due. Where the cloud cannot be had, the
 * device ends its own sentence. Handlers are short: check the state, ask one of the pure modules,
 * speak (voice.c), perhaps enter the next state.
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/continuation.h"
#include "core/core.h"
#include "core/prompt.h"
#include "util/log.h"
#include "util/text.h"

enum { HOLD_US = 300000 }; /* what is held of the text's beginning is let out after this time */

#define NO_CONFIDENCE (-100.0) /* of an opener that the engine broke off */

/* Every deadline of an ask; due() says when each is armed. */
enum timer {
    TIMER_TOTAL,
    TIMER_OPENER_WAIT,
    TIMER_FIRST_BYTE,
    TIMER_FIRST_TEXT,
    TIMER_THINKING,
    TIMER_HOLD,
    TIMER_STALLED,
    TIMER_IDLE,
    TIMER_N,
};

static const struct ulm_transfer_handlers cloud_handlers;

static void ask_cloud(struct ulm_session *s);
static void go_local(struct ulm_session *s);

/* The one writer of the state. */
static void session_enter(struct ulm_session *s, enum ulm_state state)
{
    static const char *const names[] = {"queued",    "opening",   "opened", "awaiting",
                                        "streaming", "finishing", "ended"};
    assert(state > s->state);
    ulm_log_request(ULM_LOG_DEBUG, s->ticket, "%s -> %s", names[s->state], names[state]);
    s->state = state;
    if (state == ULM_STATE_ENDED)
        s->core->n_open--;
}

/* The one guard against what comes after the end. */
static bool is_late(const struct ulm_session *s)
{
    return s->state == ULM_STATE_ENDED;
}

static void give_up_cloud(struct ulm_session *s)
{
    /* Inside on_end it ends by itself. */
    if (!s->transfer_ended)
        ulm_transfer_cancel(s->transfer);
    s->transfer = NULL;
}

static void give_up_engine(struct ulm_session *s)
{
    if (s->engine_open)
        ulm_engine_cancel(s->core->engine, s->ticket);
    s->engine_open = false;
}

static void session_end(struct ulm_session *s, enum ulm_reason reason)
{
    if (is_late(s))
        return;
    give_up_engine(s);
    give_up_cloud(s);
    bool kept = reason != ULM_REASON_CANCELLED && reason != ULM_REASON_SUPERSEDED;
    /* Out of memory: the turn is forgotten, which harms nothing. */
    if (kept && *s->name && !s->forgotten && s->answer.len > 0)
        (void)ulm_history_add(&s->core->history, s->uid, s->name, s->prompt, s->answer.data);
    ulm_voice_spent(s);
    ulm_voice_done(s, reason);
    session_enter(s, ULM_STATE_ENDED);
}

static void session_fail(struct ulm_session *s)
{
    if (is_late(s))
        return;
    give_up_engine(s);
    give_up_cloud(s);
    s->core->counters.errors++;
    ulm_voice_spent(s);
    if (s->sink)
        ulm_voice_error(s->sink, s->id, ULM_ERROR_INTERNAL, "out of memory", NULL);
    session_enter(s, ULM_STATE_ENDED);
}

/* ---- the opener ---- */

static int submit(struct ulm_session *s, enum ulm_job_kind kind, const char *opener)
{
    if (!s->core->engine)
        return -ENOENT;
    int r = ulm_engine_submit(s->core->engine, &(struct ulm_job){.kind = kind,
                                                                 .ticket = s->ticket,
                                                                 .prompt = *s->prompt,
                                                                 .opener = opener,
                                                                 .options = s->opener_options});
    s->engine_open = r == 0;
    return r;
}

void ulm_session_begin(struct ulm_session *s)
{
    int r = submit(s, ULM_JOB_OPENER, /* opener */ NULL);
    if (s->core->cloud)
        ulm_cloud_warm(s->core->cloud);
    if (r < 0)
        ask_cloud(s);
}

static void freeze_opener(struct ulm_session *s, double confidence)
{
    give_up_engine(s);
    session_enter(s, ULM_STATE_OPENED);
    if (s->opener.len > 0)
        ulm_voice_opened(s, confidence);
    ask_cloud(s);
}

static void on_word(struct ulm_session *s, const char *text)
{
    if (s->state > ULM_STATE_OPENING || s->opener_options.hold)
        return;
    if (s->state == ULM_STATE_QUEUED)
        session_enter(s, ULM_STATE_OPENING);
    int r = ulm_voice_word(s, text);
    if (r == -ENOBUFS)
        freeze_opener(s, NO_CONFIDENCE);
    else if (r < 0)
        session_fail(s);
}

/* A text that is known whole: one event a word, as if it had been written now. */
static int say_words(struct ulm_session *s, const char *text)
{
    int r = 0;
    while (r == 0) {
        char word[ULM_OPENER_MAX + 2] = " ";
        text += strspn(text, " \t\n\v\f\r");
        size_t n = strcspn(text, " \t\n\v\f\r");
        if (n == 0 || n > ULM_OPENER_MAX)
            break;
        memcpy(word + 1, text, n);
        text += n;
        r = ulm_voice_word(s, s->opener.len > 0 ? word : word + 1);
    }
    return r == -ENOBUFS ? 0 : r;
}

/* The opener, or what is taken in place of one that the model is not sure of: a configured text,
 * else one of the model file, else none. */
static const char *choose_opener(struct ulm_session *s, const struct ulm_result *result)
{
    const struct ulm_core_config *config = &s->core->config;
    if (!s->opener_options.hold || !(result->confidence < s->opener_options.min_confidence))
        return result->text;
    if (config->n_neutral == 0 && !result->neutral)
        return "";
    s->neutral = true;
    s->core->counters.opener_neutral++;
    return config->n_neutral ? config->neutral[s->ticket % config->n_neutral] : result->text;
}

static void on_opened(struct ulm_session *s, const struct ulm_result *result)
{
    if (s->state > ULM_STATE_OPENING)
        return;
    s->engine_open = false;
    s->core->counters.guard_hits += result->guard_hits;
    s->core->counters.prompt_shortened += result->prompt_shortened;
    s->engine_us = result->engine_us;
    if (s->opener.len == 0) {
        if (say_words(s, choose_opener(s, result)) < 0) {
            session_fail(s);
            return;
        }
    }
    freeze_opener(s, result->confidence);
}

/* ---- the ending on the device ---- */

/* Where the device cannot end its sentence. A cloud that responded is no missing connection. */
static int close_unanswered(struct ulm_session *s)
{
    const struct ulm_core_config *config = &s->core->config;
    return ulm_voice_close(s, s->began ? config->failed_close : config->local_close);
}

static void close_locally(struct ulm_session *s)
{
    /* Without any cloud to wait for, a whole sentence is the answer. */
    bool enough =
        !s->core->cloud && s->sent_us < 0 && ulm_stitch_sentence_ends(ulm_buf_str(&s->answer));
    if (!enough && close_unanswered(s) < 0)
        session_fail(s);
    else
        session_end(s, ULM_REASON_LOCAL);
}

static void go_local(struct ulm_session *s)
{
    give_up_cloud(s);
    if (s->core->cloud || s->sent_us >= 0)
        ulm_voice_notice(s, ULM_NOTICE_OFFLINE);
    session_enter(s, ULM_STATE_FINISHING);
    bool open = s->opener.len > 0 && !s->neutral && !ulm_stitch_sentence_ends(s->opener.data);
    if (!open || submit(s, ULM_JOB_FINISH, s->opener.data) < 0)
        close_locally(s);
}

static void on_finished(struct ulm_session *s, const struct ulm_result *result)
{
    if (s->state != ULM_STATE_FINISHING)
        return;
    s->engine_open = false;
    size_t from = s->answer.len;
    struct ulm_stitch joint;
    ulm_stitch_init(&joint, s->opener.data, /* strip */ false, /* watch */ false);
    int r = ulm_stitch_feed(&joint, result->text, strlen(result->text), &s->answer);
    if (r == 0)
        r = ulm_stitch_end(&joint, &s->answer);
    if (r < 0) {
        session_fail(s);
        return;
    }
    if (s->answer.len == from) {
        close_locally(s);
        return;
    }
    ulm_voice_delta(s, from);
    session_end(s, ULM_REASON_LOCAL);
}

void ulm_session_engine_result(struct ulm_session *s, const struct ulm_result *result)
{
    if (is_late(s) || !s->engine_open)
        return;
    switch (result->kind) {
    case ULM_RESULT_WORD:
        on_word(s, result->text);
        break;
    case ULM_RESULT_OPENED:
        on_opened(s, result);
        break;
    case ULM_RESULT_FINISHED:
        on_finished(s, result);
        break;
    case ULM_RESULT_FAILED:
        /* Its text is for the log of whoever dispatches the results. */
        s->engine_open = false;
        if (s->state == ULM_STATE_FINISHING)
            close_locally(s);
        else
            freeze_opener(s, NO_CONFIDENCE);
        break;
    }
}

/* ---- the cloud is asked ---- */

static int start_transfer(struct ulm_session *s)
{
    /* Every byte of the input may take six in JSON. */
    struct ulm_buf ULM_CLEANUP_BUF user = ULM_BUF_INIT(6 * (ULM_INPUT_MAX + ULM_OPENER_MAX) + 4096);
    struct ulm_buf ULM_CLEANUP_BUF question = ULM_BUF_INIT(user.cap);
    struct ulm_repair_rules rules = ulm_handoff_rules(s);
    const char *opener = s->opener.len > 0 ? s->opener.data : NULL;

    int r = ulm_continuation_json(&user, s->prompt, opener, rules.can_retract && rules.allow_redo);
    if (r == 0)
        r = ulm_continuation_question(&question, s->prompt);
    if (r < 0)
        return r;
    const struct ulm_cloud_request request = {
        .has_opener = opener != NULL,
        .user = user.data,
        .question = question.data,
        .opener = opener ? opener : "",
        .history = s->prompt->history,
        .n_history = s->prompt->n_history,
        .first_byte_by_us = s->core->now_us + s->first_byte_us,
    };
    return ulm_cloud_start(s->core->cloud, &request, &cloud_handlers, s, &s->transfer);
}

static void ask_cloud(struct ulm_session *s)
{
    if (!s->core->cloud || start_transfer(s) < 0) {
        go_local(s);
        return;
    }
    s->sent_us = s->core->now_us;
    s->timing.cloud_sent_us = s->sent_us - s->asked_us;
    session_enter(s, ULM_STATE_AWAITING);
}

static void on_open(void *data, enum ulm_cloud_mode mode, enum ulm_prompt_text prompt,
                    int64_t now_us)
{
    struct ulm_session *s = data;
    if (is_late(s))
        return;
    s->core->now_us = now_us;
    s->began = true;
    s->tagged = mode == ULM_CLOUD_INSTRUCT && prompt == ULM_PROMPT_TAGGED && s->opener.len > 0;
    s->prefilled = mode == ULM_CLOUD_PREFILL;
    if (s->timing.cloud_first_byte_us < 0)
        s->timing.cloud_first_byte_us = now_us - s->asked_us;
}

static void on_retry(void *data, int64_t now_us)
{
    struct ulm_session *s = data;
    if (is_late(s))
        return;
    s->core->now_us = now_us;
    s->began = false;
    ulm_voice_notice(s, ULM_NOTICE_RETRYING);
}

static void on_refusal(void *data, int64_t now_us)
{
    struct ulm_session *s = data;
    if (!is_late(s))
        s->refusal = s->state == ULM_STATE_AWAITING;
}

/* ---- its text ---- */

/* Acts on what became of text: 0, ULM_STITCH_FULL or <0. */
static void check_text(struct ulm_session *s, int r)
{
    if (r < 0)
        session_fail(s);
    else if (r == ULM_STITCH_FULL)
        session_end(s, ULM_REASON_TRUNCATED);
    else if (s->state == ULM_STATE_AWAITING && s->judged)
        session_enter(s, ULM_STATE_STREAMING);
}

static void on_text(void *data, const char *text, size_t len, int64_t now_us)
{
    struct ulm_session *s = data;
    struct ulm_core *core = s->core;
    if (is_late(s) || len == 0)
        return;
    core->now_us = now_us;
    s->last_text_us = now_us;
    s->stalled_told = false;
    if (s->held_us < 0)
        s->held_us = now_us;
    if (s->timing.cloud_first_text_us < 0)
        s->timing.cloud_first_text_us = now_us - s->asked_us;

    check_text(s, ulm_handoff_text(s, text, len));
    ulm_core_reap(core);
}

/* ---- its end ---- */

static void blame(struct ulm_session *s, const char *word)
{
    s->failure = word;
    if (s->transfer)
        ulm_transfer_report_failure(s->transfer, word);
}

/* The cloud had nothing to say: may the opener stand as the answer? */
static bool is_enough(struct ulm_session *s)
{
    s->core->counters.empty_continuation++;
    if (s->opener.len > 0 && ulm_stitch_sentence_ends(s->opener.data))
        return true;
    blame(s, "empty");
    return false;
}

static int close_refused(struct ulm_session *s)
{
    struct ulm_repair_rules rules = ulm_handoff_rules(s);
    enum ulm_verdict verdict = ulm_repair_allowed(ULM_VERDICT_FIX, &rules);
    if (s->opener.len > 0 && verdict != ULM_VERDICT_OK)
        ulm_voice_repair(s, verdict);
    return ulm_voice_close(s, s->core->config.refused_close);
}

static int close_length(struct ulm_session *s)
{
    if (!ulm_session_has_cloud_text(s))
        return is_enough(s) ? 0 : close_unanswered(s);
    if (ulm_stitch_sentence_ends(ulm_buf_str(&s->answer)))
        return 0;
    return ulm_voice_close(s, s->core->config.length_close);
}

static void close_and_end(struct ulm_session *s, int r, enum ulm_reason reason)
{
    if (r < 0)
        session_fail(s);
    else
        session_end(s, reason);
}

static void finish(struct ulm_session *s, enum ulm_cloud_outcome outcome)
{
    bool text = ulm_session_has_cloud_text(s);
    switch (outcome) {
    case ULM_CLOUD_COMPLETE:
        if (text || is_enough(s))
            session_end(s, ULM_REASON_COMPLETE);
        else
            go_local(s);
        break;
    case ULM_CLOUD_LENGTH:
        close_and_end(s, close_length(s), ULM_REASON_TRUNCATED);
        break;
    case ULM_CLOUD_REFUSED:
        close_and_end(s, text ? 0 : close_refused(s), ULM_REASON_REFUSED);
        break;
    case ULM_CLOUD_TRUNCATED:
    case ULM_CLOUD_FAILED:
        if (text)
            session_end(s, ULM_REASON_TRUNCATED);
        else
            go_local(s);
        break;
    }
}

static void on_end(void *data, const struct ulm_cloud_end *end, int64_t now_us)
{
    struct ulm_session *s = data;
    struct ulm_core *core = s->core;
    if (is_late(s))
        return;
    core->now_us = now_us;
    s->input_tokens = end->input_tokens;
    s->output_tokens = end->output_tokens;
    s->transfer_ended = true;
    s->began = s->began || end->http_status > 0;
    if (end->outcome == ULM_CLOUD_TRUNCATED || end->outcome == ULM_CLOUD_FAILED) {
        s->failure = end->detail;
        s->failure_status = end->http_status;
    }
    check_text(s, ulm_handoff_end(s));
    if (!is_late(s))
        finish(s, end->outcome);
    s->transfer = NULL;
    ulm_core_reap(core);
}

static const struct ulm_transfer_handlers cloud_handlers = {
    .on_open = on_open,
    .on_retry = on_retry,
    .on_text = on_text,
    .on_end = on_end,
    .on_refusal = on_refusal,
};

/* ---- deadlines, and what comes from outside ---- */

/* When a timer is due; INT64_MAX while it is not armed. Firing it must disarm it. */
static int64_t due(const struct ulm_session *s, enum timer timer)
{
    bool asked = s->state == ULM_STATE_AWAITING || s->state == ULM_STATE_STREAMING;
    bool no_text = asked && s->last_text_us < 0;
    bool text = asked && s->last_text_us >= 0;
    switch (timer) {
    case TIMER_TOTAL:
        return s->asked_us + s->total_us;
    case TIMER_OPENER_WAIT:
        return s->state == ULM_STATE_QUEUED && s->core->cloud ? s->asked_us + s->opener_wait_us
                                                              : INT64_MAX;
    case TIMER_FIRST_BYTE:
        return no_text && !s->began ? s->sent_us + s->first_byte_us : INT64_MAX;
    case TIMER_FIRST_TEXT:
        return no_text ? s->sent_us + s->first_text_us : INT64_MAX;
    case TIMER_THINKING:
        return no_text && !s->thinking_told ? s->sent_us + s->thinking_us : INT64_MAX;
    case TIMER_HOLD:
        return text && s->held_us >= 0 && ulm_handoff_holds(s) ? s->held_us + HOLD_US : INT64_MAX;
    case TIMER_STALLED:
        return text && !s->stalled_told ? s->last_text_us + s->stalled_us : INT64_MAX;
    case TIMER_IDLE:
        return text ? s->last_text_us + s->idle_us : INT64_MAX;
    case TIMER_N:
        break;
    }
    return INT64_MAX;
}

int64_t ulm_session_deadline(const struct ulm_session *s)
{
    int64_t first = INT64_MAX;
    for (enum timer timer = 0; timer < TIMER_N && !is_late(s); timer++) {
        int64_t at = due(s, timer);
        first = at < first ? at : first;
    }
    return first;
}

/* Time is up: what was held is decided on, and what was said is the answer. */
static void expire(struct ulm_session *s, bool total)
{
    give_up_cloud(s);
    check_text(s, ulm_handoff_end(s));
    if (is_late(s))
        return;
    if (ulm_session_has_cloud_text(s)) {
        session_end(s, ULM_REASON_TRUNCATED);
    } else if (!total) {
        go_local(s);
    } else {
        /* No time is left to finish the sentence in. */
        give_up_engine(s);
        if (s->state == ULM_STATE_AWAITING || s->state == ULM_STATE_STREAMING)
            ulm_voice_notice(s, ULM_NOTICE_OFFLINE);
        close_locally(s);
    }
}

static void fire(struct ulm_session *s, enum timer timer)
{
    switch (timer) {
    case TIMER_TOTAL:
        expire(s, /* total */ true);
        break;
    case TIMER_OPENER_WAIT:
        give_up_engine(s);
        s->core->counters.opener_late++;
        ask_cloud(s);
        break;
    case TIMER_FIRST_BYTE:
    case TIMER_FIRST_TEXT:
        blame(s, "timeout");
        go_local(s);
        break;
    case TIMER_THINKING:
        s->thinking_told = true;
        ulm_voice_notice(s, ULM_NOTICE_THINKING);
        break;
    case TIMER_HOLD:
        s->held_us = -1;
        check_text(s, ulm_handoff_late(s, /* tag */ false));
        break;
    case TIMER_STALLED:
        s->stalled_told = true;
        ulm_voice_notice(s, ULM_NOTICE_STALLED);
        check_text(s, ulm_handoff_late(s, /* tag */ true));
        break;
    case TIMER_IDLE:
        blame(s, "timeout");
        expire(s, /* total */ false);
        break;
    case TIMER_N:
        break;
    }
}

void ulm_session_tick(struct ulm_session *s)
{
    for (enum timer timer = 0; timer < TIMER_N && !is_late(s); timer++) {
        if (s->core->now_us >= due(s, timer))
            fire(s, timer);
    }
}

void ulm_session_played(struct ulm_session *s, unsigned words)
{
    if (is_late(s) || words <= s->played)
        return;
    s->played = words;
    /* A redo that was planned before the opener was heard is none any more. */
    if (s->state == ULM_STATE_STREAMING && !s->stitch.open && ulm_handoff_plan(s) < 0)
        session_fail(s);
}

void ulm_session_stop(struct ulm_session *s, enum ulm_reason reason)
{
    session_end(s, reason);
}
