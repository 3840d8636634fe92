/* SPDX-License-Identifier: MIT */
#include "front/wire.h"

#include <math.h>
#include <stddef.h>

#include "util/json.h"

/* Runs the appenders in order until one fails. */
static int add_member(struct ulm_buf *out, const char *name, const char *text)
{
    int r = ulm_buf_add_fmt(out, ",\"%s\":", name);
    if (r < 0)
        return r;
    return text ? ulm_json_add_string(out, text) : ulm_buf_add_str(out, "null");
}

int ulm_wire_add_number(struct ulm_buf *out, double value)
{
    if (!isfinite(value))
        return ulm_buf_add_str(out, "null");
    return ulm_buf_add_fmt(out, "%.3f", value);
}

static int add_ms(struct ulm_buf *out, const char *before, int64_t us)
{
    int r = ulm_buf_add_str(out, before);
    if (r < 0)
        return r;
    return ulm_wire_add_number(out, us < 0 ? NAN : (double)us / 1000);
}

static int add_timing(struct ulm_buf *out, const struct ulm_timing *t)
{
    int r;
    if ((r = add_ms(out, ",\"timing\":{\"first_word\":", t->first_word_us)) < 0 ||
        (r = add_ms(out, ",\"opener\":", t->opener_us)) < 0 ||
        (r = add_ms(out, ",\"cloud_sent\":", t->cloud_sent_us)) < 0 ||
        (r = add_ms(out, ",\"cloud_first_byte\":", t->cloud_first_byte_us)) < 0 ||
        (r = add_ms(out, ",\"cloud_first_text\":", t->cloud_first_text_us)) < 0 ||
        (r = add_ms(out, ",\"total\":", t->total_us)) < 0 ||
        (r = add_ms(out, ",\"gap\":", t->gap_us)) < 0)
        return r;
    return ulm_buf_add_str(out, "}");
}

static int add_tokens(struct ulm_buf *out, const char *before, int64_t tokens, const char *after)
{
    if (tokens < 0)
        return ulm_buf_add_fmt(out, "%snull%s", before, after);
    return ulm_buf_add_fmt(out, "%s%lld%s", before, (long long)tokens, after);
}

static int add_usage(struct ulm_buf *out, int64_t input, int64_t output)
{
    if (input < 0 && output < 0)
        return ulm_buf_add_str(out, ",\"usage\":null");
    int r = add_tokens(out, ",\"usage\":{\"input_tokens\":", input, "");
    return r < 0 ? r : add_tokens(out, ",\"output_tokens\":", output, "}");
}

static int add_done(struct ulm_buf *out, const struct ulm_event *event)
{
    int r;
    if ((r = add_member(out, "reason", ulm_reason_name(event->done.reason))) < 0 ||
        (r = add_member(out, "source", ulm_source_name(event->done.source))) < 0 ||
        (r = add_member(out, "verdict", ulm_verdict_name(event->done.verdict))) < 0 ||
        (r = add_member(out, "text", event->done.text)) < 0 ||
        (r = add_timing(out, &event->done.timing)) < 0)
        return r;
    return add_usage(out, event->done.input_tokens, event->done.output_tokens);
}

static int add_members(struct ulm_buf *out, const struct ulm_event *event)
{
    int r;
    switch (event->type) {
    case ULM_EVENT_OPENER:
        return add_member(out, "text", event->opener.text);
    case ULM_EVENT_DELTA:
        return add_member(out, "text", event->delta.text);
    case ULM_EVENT_OPENED:
        if ((r = add_member(out, "opener", event->opened.opener)) < 0 ||
            (r = ulm_buf_add_fmt(out, ",\"words\":%u,\"confidence\":", event->opened.words)) < 0)
            return r;
        return ulm_wire_add_number(out, event->opened.confidence);
    case ULM_EVENT_REPAIR:
        if ((r = add_member(out, "strategy", ulm_verdict_name(event->repair.strategy))) < 0)
            return r;
        return ulm_buf_add_fmt(out, ",\"span\":[%zu,%zu]", event->repair.from, event->repair.to);
    case ULM_EVENT_RETRACT:
        return ulm_buf_add_fmt(out, ",\"chars\":%zu", event->retract.chars);
    case ULM_EVENT_NOTICE:
        return add_member(out, "code", ulm_notice_name(event->notice.code));
    case ULM_EVENT_DONE:
        return add_done(out, event);
    case ULM_EVENT_ERROR:
        if ((r = add_member(out, "code", ulm_error_name(event->error.code))) < 0 ||
            (r = add_member(out, "message", event->error.message)) < 0)
            return r;
        return event->error.ref ? add_member(out, "ref", event->error.ref) : 0;
    }
    return 0;
}

static int add_head(struct ulm_buf *out, const char *event, const char *id)
{
    int r = ulm_buf_add_fmt(out, "{\"event\":\"%s\"", event);
    return r < 0 || !id ? r : add_member(out, "id", id);
}

/* Ends the line that began at `before`, or takes it back. */
static int end_line(struct ulm_buf *out, size_t before, int r)
{
    if (r >= 0)
        r = ulm_buf_add(out, "}\n", 2);
    if (r < 0 && out->data)
        ulm_buf_truncate(out, before);
    return r;
}

int ulm_wire_add_event(struct ulm_buf *out, const char *id, const struct ulm_event *event)
{
    size_t before = out->len;
    int r = add_head(out, ulm_event_name(event->type), id);
    if (r >= 0)
        r = add_members(out, event);
    return end_line(out, before, r);
}

int ulm_wire_add_fault(struct ulm_buf *out, const struct ulm_fault *fault)
{
    const struct ulm_event event = {
        .type = ULM_EVENT_ERROR,
        .error = {fault->code, fault->message, fault->has_ref ? fault->ref : NULL},
    };
    return ulm_wire_add_event(out, /* id */ NULL, &event);
}

int ulm_wire_add_ok(struct ulm_buf *out, const char *id, const char *op)
{
    size_t before = out->len;
    int r = add_head(out, "ok", id);
    if (r >= 0)
        r = add_member(out, "op", op);
    return end_line(out, before, r);
}

int ulm_wire_add_answer(struct ulm_buf *out, const char *event, const char *id, const char *body)
{
    size_t before = out->len;
    int r = add_head(out, event, id);
    if (r >= 0)
        r = ulm_buf_add_str(out, body);
    return end_line(out, before, r);
}
