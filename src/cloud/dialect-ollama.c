/* SPDX-License-Identifier: MIT */
/* Ollama's own API: one JSON object a line, ended by "done":true. */
#include <string.h>

#include "cloud/dialect.h"
#include "cloud/stream.h"
#include "util/cjson.h"

void ulm_ollama_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    ulm_put(writer, "{\"model\":");
    ulm_put_string(writer, body->model);
    ulm_put(writer, ",\"stream\":true,\"think\":");
    if (ulm_body_thinks(body))
        ulm_put_string(writer, body->reasoning_effort);
    else
        ulm_put(writer, "false");
    ulm_put(writer, ",\"keep_alive\":\"30m\",\"options\":{\"num_predict\":");
    ulm_put_number(writer, body->max_tokens);
    ulm_put(writer, "},\"messages\":[");
    if (body->system[0] != '\0')
        ulm_put_turn(writer, "system", body->system, "");
    ulm_put_turns(writer, body, body->system[0] == '\0');
    if (body->opener) {
        ulm_put(writer, ",");
        ulm_put_turn(writer, "assistant", body->opener, "");
    }
    ulm_put(writer, "]}");
}

void ulm_ollama_decode(struct ulm_stream *stream, const char *event, const cJSON *json)
{
    const cJSON *error = ulm_json_member(json, "error");
    if (error && !cJSON_IsNull(error)) {
        ulm_stream_fail(stream, ulm_dialect_error_word(error));
        return;
    }
    const char *content = ulm_json_text(ulm_json_member(json, "message"), "content");
    if (content)
        ulm_stream_text(stream, content);
    if (!cJSON_IsTrue(ulm_json_member(json, "done")))
        return;

    const char *reason = ulm_json_text(json, "done_reason");
    ulm_stream_count(&stream->input_tokens, ulm_json_member(json, "prompt_eval_count"));
    ulm_stream_count(&stream->output_tokens, ulm_json_member(json, "eval_count"));
    ulm_stream_closing(stream, reason && strcmp(reason, "length") == 0 ? ULM_CLOUD_LENGTH
                                                                        : ULM_CLOUD_COMPLETE);
    ulm_stream_end(stream);
}
