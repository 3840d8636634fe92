/* SPDX-License-Identifier: MIT */
/* Anthropic Messages: typed events, ended by message_stop. */
#include <string.h>

#include "cloud/dialect.h"
#include "cloud/stream.h"
#include "util/cjson.h"

void ulm_anthropic_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    ulm_put(writer, "{\"model\":");
    ulm_put_string(writer, body->model);
    ulm_put(writer, ",\"max_tokens\":");
    ulm_put_number(writer, body->max_tokens);
    ulm_put(writer, ",\"stream\":true");
    if (body->system[0] != '\0') {
        ulm_put(writer, ",\"system\":");
        ulm_put_string(writer, body->system);
    }
    if (ulm_body_thinks(body)) {
        ulm_put(writer, ",\"output_config\":{\"effort\":");
        ulm_put_string(writer, body->reasoning_effort);
        ulm_put(writer, "}");
    } else if (body->reasoning_effort) { /* unset: models differ in what they take */
        ulm_put(writer, ",\"thinking\":{\"type\":\"disabled\"}");
    }
    ulm_put(writer, ",\"messages\":[");
    ulm_put_turns(writer, body, true);
    if (body->opener) {
        ulm_put(writer, ",");
        ulm_put_turn(writer, "assistant", body->opener, "");
    }
    ulm_put(writer, "]}");
}

/* Compatible gateways tell 0 first and the true count at the end: 0 never replaces a count. */
static void read_usage(struct ulm_stream *stream, const cJSON *usage)
{
    if (ulm_json_number(usage, "input_tokens", 0) > 0)
        ulm_stream_count(&stream->input_tokens, ulm_json_member(usage, "input_tokens"));
    ulm_stream_count(&stream->output_tokens, ulm_json_member(usage, "output_tokens"));
}

static void read_stop_reason(struct ulm_stream *stream, const char *reason)
{
    if (strcmp(reason, "max_tokens") == 0 ||
        strcmp(reason, "model_context_window_exceeded") == 0)
        ulm_stream_closing(stream, ULM_CLOUD_LENGTH);
    else if (strcmp(reason, "refusal") == 0)
        ulm_stream_closing(stream, ULM_CLOUD_REFUSED);
    else
        ulm_stream_closing(stream, ULM_CLOUD_COMPLETE);
}

static void read_block(struct ulm_stream *stream, const cJSON *block, const char *type)
{
    const char *kind = ulm_json_text(block, "type");
    const char *text = ulm_json_text(block, "text");
    if (kind && text && strcmp(kind, type) == 0)
        ulm_stream_text(stream, text);
}

void ulm_anthropic_decode(struct ulm_stream *stream, const char *event, const cJSON *json)
{
    const char *type = ulm_json_text(json, "type");
    if (!type)
        type = event;

    if (strcmp(type, "message_start") == 0) {
        read_usage(stream, ulm_json_member(ulm_json_member(json, "message"), "usage"));
    } else if (strcmp(type, "content_block_start") == 0) {
        read_block(stream, ulm_json_member(json, "content_block"), "text");
    } else if (strcmp(type, "content_block_delta") == 0) {
        read_block(stream, ulm_json_member(json, "delta"), "text_delta");
    } else if (strcmp(type, "message_delta") == 0) {
        const char *reason = ulm_json_text(ulm_json_member(json, "delta"), "stop_reason");
        read_usage(stream, ulm_json_member(json, "usage"));
        if (reason)
            read_stop_reason(stream, reason);
    } else if (strcmp(type, "message_stop") == 0) {
        ulm_stream_end(stream);
    } else if (strcmp(type, "error") == 0) {
        ulm_stream_fail(stream, ulm_dialect_error_word(ulm_json_member(json, "error")));
    }
}
