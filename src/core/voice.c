/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/core.h"
#include "util/log.h"
#include "util/text.h"

void ulm_voice_emit(const struct ulm_session *s, const struct ulm_event *event)
{
    if (s->sink)
        s->sink->emit(s->sink, s->id, event);
}

int ulm_voice_word(struct ulm_session *s, const char *text)
{
    size_t from = s->answer.len;
    int r = ulm_buf_add_str(&s->opener, text);
    if (r == 0)
        r = ulm_buf_add_str(&s->answer, text);
    if (r < 0)
        return r;
    if (s->timing.first_word_us < 0)
        s->timing.first_word_us = s->core->now_us - s->asked_us;
    ulm_pace_say(&s->pace, text, s->core->now_us);
    ulm_voice_emit(
        s, &(struct ulm_event){.type = ULM_EVENT_OPENER, .opener.text = s->answer.data + from});
    return 0;
}

void ulm_voice_opened(struct ulm_session *s, double confidence)
{
    s->opener_words = (unsigned)ulm_count_words(ulm_buf_str(&s->opener));
    s->timing.opener_us = s->core->now_us - s->asked_us;
    ulm_voice_emit(s, &(struct ulm_event){.type = ULM_EVENT_OPENED,
                                          .opened = {.opener = ulm_buf_str(&s->opener),
                                                     .words = s->opener_words,
                                                     .confidence = confidence}});
}

void ulm_voice_notice(struct ulm_session *s, enum ulm_notice code)
{
    ulm_voice_emit(s, &(struct ulm_event){.type = ULM_EVENT_NOTICE, .notice.code = code});
}

/* The span is the opener: whatever is corrected, it is what stands there so far. */
void ulm_voice_repair(struct ulm_session *s, enum ulm_verdict strategy)
{
    size_t chars = ulm_utf8_count(ulm_buf_str(&s->answer), s->answer.len);
    s->applied = strategy;
    ulm_voice_emit(s,
                   &(struct ulm_event){.type = ULM_EVENT_REPAIR,
                                       .repair = {.strategy = strategy, .from = 0, .to = chars}});
}

void ulm_voice_retract(struct ulm_session *s)
{
    size_t chars = ulm_utf8_count(ulm_buf_str(&s->answer), s->answer.len);
    ulm_buf_clear(&s->answer);
    s->retracted = true;
    ulm_pace_retract(&s->pace, s->core->now_us);
    ulm_voice_emit(s, &(struct ulm_event){.type = ULM_EVENT_RETRACT, .retract.chars = chars});
}

void ulm_voice_delta(struct ulm_session *s, size_t from)
{
    if (s->answer.len == from)
        return;
    if (s->timing.first_word_us < 0)
        s->timing.first_word_us = s->core->now_us - s->asked_us;
    ulm_pace_say(&s->pace, s->answer.data + from, s->core->now_us);
    ulm_voice_emit(
        s, &(struct ulm_event){.type = ULM_EVENT_DELTA, .delta.text = s->answer.data + from});
}

int ulm_voice_close(struct ulm_session *s, const char *text)
{
    size_t from = s->answer.len;
    struct ulm_buf ULM_CLEANUP_BUF close = ULM_BUF_INIT(ULM_ANSWER_MAX);
    int r = ulm_stitch_phrase(ulm_buf_str(&s->answer), text, &close);
    while (close.len > 0 && ulm_is_space(close.data[close.len - 1]))
        ulm_buf_truncate(&close, close.len - 1);
    if (r == 0)
        r = ulm_buf_add(&s->answer, ulm_buf_str(&close), close.len);
    if (r == -ENOBUFS)
        return ULM_STITCH_FULL;
    if (r < 0)
        return r;
    ulm_voice_delta(s, from);
    return 0;
}

static enum ulm_source source_of(const struct ulm_session *s)
{
    if (!ulm_session_has_cloud_text(s))
        return ULM_SOURCE_LOCAL;
    return s->opener.len > 0 && !s->retracted ? ULM_SOURCE_MIXED : ULM_SOURCE_CLOUD;
}

static void count_done(struct ulm_session *s, enum ulm_reason reason)
{
    struct ulm_core_counters *counters = &s->core->counters;
    switch (reason) {
    case ULM_REASON_COMPLETE:
        counters->completed++;
        break;
    case ULM_REASON_TRUNCATED:
        counters->truncated++;
        break;
    case ULM_REASON_REFUSED:
        counters->refused++;
        break;
    case ULM_REASON_LOCAL:
        counters->local++;
        break;
    case ULM_REASON_CANCELLED:
        counters->cancelled++;
        break;
    case ULM_REASON_SUPERSEDED:
        counters->superseded++;
        break;
    }
    switch (s->applied) {
    case ULM_VERDICT_NONE:
        break;
    case ULM_VERDICT_OK:
        counters->verdict_ok++;
        break;
    case ULM_VERDICT_PIVOT:
        counters->verdict_pivot++;
        break;
    case ULM_VERDICT_FIX:
        counters->verdict_fix++;
        break;
    case ULM_VERDICT_REDO:
        counters->verdict_redo++;
        break;
    }

    const struct ulm_timing *timing = &s->timing;
    struct ulm_histogram *latency = s->core->latency;
    ulm_histogram_add(&latency[ULM_LATENCY_FIRST_WORD], timing->first_word_us);
    ulm_histogram_add(&latency[ULM_LATENCY_OPENER], timing->opener_us);
    ulm_histogram_add(&latency[ULM_LATENCY_CLOUD_FIRST_BYTE], timing->cloud_first_byte_us);
    ulm_histogram_add(&latency[ULM_LATENCY_CLOUD_FIRST_TEXT], timing->cloud_first_text_us);
    ulm_histogram_add(&latency[ULM_LATENCY_TOTAL], timing->total_us);
    ulm_histogram_add(&latency[ULM_LATENCY_GAP], timing->gap_us);
    ulm_histogram_add(&latency[ULM_LATENCY_ENGINE], s->engine_us);
}

static long long to_ms(int64_t us)
{
    return us < 0 ? -1 : (long long)(us / 1000);
}

void ulm_voice_done(struct ulm_session *s, enum ulm_reason reason)
{
    s->timing.total_us = s->core->now_us - s->asked_us;
    s->timing.gap_us = s->pace.begun ? s->pace.gap_us : -1;
    count_done(s, reason);
    char failure[64] = "";
    if (s->failure && s->failure_status > 0)
        snprintf(failure, sizeof failure, " (%s, HTTP status %u)", s->failure, s->failure_status);
    else if (s->failure)
        snprintf(failure, sizeof failure, " (%s)", s->failure);
    /* The one line of a request; -1 = it did not happen. Neither its text nor its id. */
    ulm_log_request(ULM_LOG_INFO, s->ticket,
                    "request %llu: %s, %s, verdict %s, %u opener words, first word %lld ms, "
                    "opener %lld ms, cloud text %lld ms%s, total %lld ms",
                    (unsigned long long)s->ticket, ulm_reason_name(reason),
                    ulm_source_name(source_of(s)),
                    s->applied != ULM_VERDICT_NONE ? ulm_verdict_name(s->applied) : "none",
                    s->opener_words, to_ms(s->timing.first_word_us), to_ms(s->timing.opener_us),
                    to_ms(s->timing.cloud_first_text_us), failure, to_ms(s->timing.total_us));
    ulm_log_text(s->ticket, "answered", ulm_buf_str(&s->answer));
    ulm_voice_emit(s, &(struct ulm_event){.type = ULM_EVENT_DONE,
                                          .done = {.reason = reason,
                                                   .source = source_of(s),
                                                   .verdict = s->applied,
                                                   .text = ulm_buf_str(&s->answer),
                                                   .timing = s->timing,
                                                   .input_tokens = s->input_tokens,
                                                   .output_tokens = s->output_tokens}});
}

/* About four bytes a token. */
static int64_t estimate_input(const struct ulm_prompt *prompt)
{
    size_t bytes = strlen(prompt->text);
    for (size_t i = 0; i < prompt->n_facts; i++)
        bytes += strlen(prompt->facts[i]);
    for (size_t i = 0; i < prompt->n_history; i++)
        bytes += strlen(prompt->history[i].content);
    return (int64_t)(bytes / 4);
}

void ulm_voice_spent(const struct ulm_session *s)
{
    if (!s->sink || !s->sink->spent || s->sent_us < 0)
        return;
    int64_t in = s->input_tokens >= 0 ? s->input_tokens : estimate_input(s->prompt);
    int64_t out = s->output_tokens >= 0 ? s->output_tokens : (int64_t)(s->answer.len / 4);
    s->sink->spent(s->sink, in + out);
}

void ulm_voice_error(struct ulm_sink *sink, const char *id, enum ulm_error code,
                     const char *message, const char *ref)
{
    sink->emit(sink, id,
               &(struct ulm_event){.type = ULM_EVENT_ERROR,
                                   .error = {.code = code, .message = message, .ref = ref}});
}
