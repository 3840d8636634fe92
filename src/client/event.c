/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "client/client.h"
#include "client/pull.h"
#include "util/json.h"
#include "util/text.h"

static const struct {
    const char *name;
    enum ulm_client_event_type type;
} event_names[] = {
    {"opener", ULM_CLIENT_OPENER},   {"opened", ULM_CLIENT_OPENED}, {"repair", ULM_CLIENT_REPAIR},
    {"retract", ULM_CLIENT_RETRACT}, {"delta", ULM_CLIENT_DELTA},   {"notice", ULM_CLIENT_NOTICE},
    {"done", ULM_CLIENT_DONE},       {"error", ULM_CLIENT_ERROR},   {"hello", ULM_CLIENT_HELLO},
    {"status", ULM_CLIENT_STATUS},   {"ok", ULM_CLIENT_OK},
};

/* Members that are text, and where they go. `opened` calls its text `opener`. */
static const struct {
    const char *name;
    size_t offset;
} text_members[] = {
    {"event", offsetof(struct ulm_client_event, name)},
    {"id", offsetof(struct ulm_client_event, id)},
    {"ref", offsetof(struct ulm_client_event, ref)},
    {"text", offsetof(struct ulm_client_event, text)},
    {"opener", offsetof(struct ulm_client_event, text)},
    {"code", offsetof(struct ulm_client_event, code)},
    {"message", offsetof(struct ulm_client_event, message)},
    {"op", offsetof(struct ulm_client_event, op)},
    {"strategy", offsetof(struct ulm_client_event, strategy)},
    {"reason", offsetof(struct ulm_client_event, reason)},
    {"source", offsetof(struct ulm_client_event, source)},
    {"verdict", offsetof(struct ulm_client_event, verdict)},
};

static size_t read_count(struct ulm_pull value, size_t max)
{
    double number = ulm_pull_number(value, 0);
    return number <= 0 ? 0 : number >= (double)max ? max : (size_t)number;
}

static void read_timing(struct ulm_pull value, struct ulm_client_timing *timing)
{
    timing->first_word = ulm_pull_number(ulm_pull_member(value, "first_word"), -1);
    timing->opener = ulm_pull_number(ulm_pull_member(value, "opener"), -1);
    timing->cloud_sent = ulm_pull_number(ulm_pull_member(value, "cloud_sent"), -1);
    timing->cloud_first_byte = ulm_pull_number(ulm_pull_member(value, "cloud_first_byte"), -1);
    timing->cloud_first_text = ulm_pull_number(ulm_pull_member(value, "cloud_first_text"), -1);
    timing->total = ulm_pull_number(ulm_pull_member(value, "total"), -1);
    timing->gap = ulm_pull_number(ulm_pull_member(value, "gap"), -1);
}

static void read_span(struct ulm_pull value, struct ulm_client_event *event)
{
    struct ulm_pull_walk walk = ulm_pull_walk(value);
    struct ulm_pull key, at;
    if (ulm_pull_next(&walk, &key, &at))
        event->from = read_count(at, ULM_ANSWER_MAX);
    if (ulm_pull_next(&walk, &key, &at))
        event->to = read_count(at, ULM_ANSWER_MAX);
}

static int64_t read_tokens(struct ulm_pull usage, const char *name)
{
    double number = ulm_pull_number(ulm_pull_member(usage, name), -1);
    return number >= 0 && number < 1e15 ? (int64_t)number : -1;
}

static void read_usage(struct ulm_pull value, struct ulm_client_event *event)
{
    event->input_tokens = read_tokens(value, "input_tokens");
    event->output_tokens = read_tokens(value, "output_tokens");
}

static void read_other_member(struct ulm_pull key, struct ulm_pull value,
                              struct ulm_client_event *event)
{
    if (ulm_pull_is(key, "confidence"))
        event->confidence = ulm_pull_number(value, 0);
    else if (ulm_pull_is(key, "words"))
        event->words = (unsigned)read_count(value, UINT_MAX);
    else if (ulm_pull_is(key, "chars"))
        event->chars = read_count(value, ULM_OUTPUT_QUEUE_MAX);
    else if (ulm_pull_is(key, "span"))
        read_span(value, event);
    else if (ulm_pull_is(key, "timing"))
        read_timing(value, &event->timing);
    else if (ulm_pull_is(key, "usage"))
        read_usage(value, event);
}

/* Strings go to client->strings, which has room for the whole line: with their quotes they cannot
 * be longer, and so no pointer moves. */
static int decode(struct ulm_client *client, const char *line, size_t len,
                  struct ulm_client_event *ret_event)
{
    struct ulm_buf *strings = &client->strings;
    ulm_buf_clear(strings);
    int r = ulm_buf_reserve(strings, len);
    if (r < 0)
        return r;

    struct ulm_client_event event = {
        .line = line, .line_len = len, .input_tokens = -1, .output_tokens = -1};
    read_timing((struct ulm_pull){0}, &event.timing);

    struct ulm_pull_walk walk = ulm_pull_walk(ulm_pull_text(line, len));
    struct ulm_pull key = {0}, value;
    if (!walk.object)
        return -EPROTO;
    while (ulm_pull_next(&walk, &key, &value)) {
        size_t i = 0, n = sizeof text_members / sizeof *text_members;
        while (i < n && !ulm_pull_is(key, text_members[i].name))
            i++;
        if (i == n) {
            read_other_member(key, value, &event);
            continue;
        }
        char *text = NULL;
        if (ulm_pull_kind(value) == '"') {
            text = strings->data + strings->len;
            strings->len += ulm_pull_copy(value, text) + 1;
        }
        memcpy((char *)&event + text_members[i].offset, &text, sizeof text);
    }
    if (!event.name)
        return -EPROTO;
    for (size_t i = 0; i < sizeof event_names / sizeof *event_names; i++) {
        if (strcmp(event.name, event_names[i].name) == 0)
            event.type = event_names[i].type;
    }
    *ret_event = event;
    return 0;
}

/* Brings the answer of the event's request up to the event. */
static int assemble(struct ulm_buf *answer, const struct ulm_client_event *event)
{
    if ((event->type == ULM_CLIENT_OPENER || event->type == ULM_CLIENT_DELTA) && event->text)
        return ulm_buf_add_str(answer, event->text);
    if (event->type == ULM_CLIENT_RETRACT) {
        for (size_t i = 0; i < event->chars; i++) {
            if (answer->len == 0)
                return -EPROTO;
            ulm_buf_truncate(answer, ulm_utf8_last(answer->data, answer->len));
        }
    }
    return 0;
}

int ulm_client_receive(struct ulm_client *client, char *line, size_t len)
{
    struct ulm_client_event event;
    if (ulm_json_check(line, len, ULM_JSON_DEPTH_MAX) < 0)
        return -EPROTO;
    int r = decode(client, line, len, &event);
    if (r < 0)
        return r == -ENOBUFS ? -EPROTO : r;

    /* An ask that was refused before it became a request is named by `ref` alone. */
    bool refused = event.type == ULM_CLIENT_ERROR && !event.id && event.ref;
    const char *about = refused ? event.ref : event.id;
    struct ulm_client_request *request = about ? ulm_client_find(client, about) : NULL;
    if (refused && request && request->answered)
        request = NULL; /* it runs: something else named it wrongly */
    if (request) {
        request->answered = true;
        r = assemble(&request->answer, &event);
        if (r < 0)
            return r == -ENOBUFS ? -EPROTO : r;
        event.answer = ulm_buf_str(&request->answer);
    }
    /* The id may be used again from inside the handler, so the request leaves the list first. */
    bool ended = request && (event.type == ULM_CLIENT_DONE || event.type == ULM_CLIENT_ERROR);
    struct ulm_buf answer = {0};
    if (ended) {
        answer = request->answer;
        request->answer = ULM_BUF_INIT(0);
        ulm_client_forget(client, request);
    }
    if (client->handler) {
        client->in_handler = true;
        client->handler(client->handler_data, &event);
        client->in_handler = false;
    }
    ulm_buf_deinit(&answer);
    return 0;
}
