/* SPDX-License-Identifier: MIT */
/* OpenAI Responses: typed events, no end marker. */
#include <string.h>

#include "cloud/dialect.h"
#include "cloud/stream.h"
#include "util/cjson.h"

void ulm_responses_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    ulm_put(writer, "{\"model\":");
    ulm_put_string(writer, body->model);
    ulm_put(writer, ",\"stream\":true,\"store\":false");
    if (body->system[0] != '\0') {
        ulm_put(writer, ",\"instructions\":");
        ulm_put_string(writer, body->system);
    }
    ulm_put(writer, ",\"input\":[");
    ulm_put_turns(writer, body, true);
    ulm_put(writer, "],\"max_output_tokens\":");
    ulm_put_number(writer, body->max_tokens);
    if (body->reasoning_effort) {
        ulm_put(writer, ",\"reasoning\":{\"effort\":");
        ulm_put_string(writer, body->reasoning_effort);
        ulm_put(writer, "}");
    }
    ulm_put(writer, "}");
}

static void read_terminal(struct ulm_stream *stream, const cJSON *response)
{
    const char *reason =
        ulm_json_text(ulm_json_member(response, "incomplete_details"), "reason");
    const cJSON *usage = ulm_json_member(response, "usage");
    enum ulm_cloud_outcome outcome = ULM_CLOUD_COMPLETE;

    ulm_stream_count(&stream->input_tokens, ulm_json_member(usage, "input_tokens"));
    ulm_stream_count(&stream->output_tokens, ulm_json_member(usage, "output_tokens"));
    if (reason)
        outcome = strcmp(reason, "content_filter") == 0 ? ULM_CLOUD_REFUSED : ULM_CLOUD_LENGTH;
    ulm_stream_closing(stream, outcome);
    ulm_stream_end(stream);
}

void ulm_responses_decode(struct ulm_stream *stream, const char *event, const cJSON *json)
{
    const char *type = ulm_json_text(json, "type");
    const char *delta = ulm_json_text(json, "delta");
    if (!type)
        type = event;

    if (strcmp(type, "response.output_text.delta") == 0) {
        if (delta)
            ulm_stream_text(stream, delta);
    } else if (strcmp(type, "response.refusal.delta") == 0) {
        if (delta)
            ulm_stream_refusal(stream, delta);
    } else if (strcmp(type, "response.completed") == 0 ||
               strcmp(type, "response.incomplete") == 0) {
        read_terminal(stream, ulm_json_member(json, "response"));
    } else if (strcmp(type, "response.failed") == 0) {
        const cJSON *response = ulm_json_member(json, "response");
        ulm_stream_fail(stream, ulm_dialect_error_word(ulm_json_member(response, "error")));
    } else if (strcmp(type, "response.cancelled") == 0) {
        ulm_stream_fail(stream, "provider");
    } else if (strcmp(type, "error") == 0) {
        const cJSON *error = ulm_json_member(json, "error"); /* nested by some gateways */
        ulm_stream_fail(stream, ulm_dialect_error_word(cJSON_IsObject(error) ? error : json));
    }
}
