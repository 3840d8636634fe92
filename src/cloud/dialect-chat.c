/* SPDX-License-Identifier: MIT */
/* The Chat Completions family: OpenAI, Mistral, DeepSeek, vLLM, SGLang, llama-server, OpenRouter.
 * One decoder; the bodies differ in a handful of members. */
#include <string.h>

#include "cloud/dialect.h"
#include "cloud/stream.h"
#include "util/cjson.h"

/* model, stream and messages, without the closing brace. turn_tail: raw members of the open
 * assistant turn. */
static void put_head(struct ulm_writer *writer, const struct ulm_body *body, const char *turn_tail)
{
    ulm_put(writer, "{\"model\":");
    ulm_put_string(writer, body->model);
    ulm_put(writer, ",\"stream\":true,\"messages\":[");
    if (body->system[0] != '\0')
        ulm_put_turn(writer, "system", body->system, "");
    ulm_put_turns(writer, body, body->system[0] == '\0');
    if (body->opener) {
        ulm_put(writer, ",");
        ulm_put_turn(writer, "assistant", body->opener, turn_tail);
    }
    ulm_put(writer, "]");
}

static void put_limit(struct ulm_writer *writer, const char *name, const struct ulm_body *body)
{
    ulm_put(writer, ",\"");
    ulm_put(writer, name);
    ulm_put(writer, "\":");
    ulm_put_number(writer, body->max_tokens);
}

static void put_effort(struct ulm_writer *writer, const struct ulm_body *body)
{
    if (body->reasoning_effort) {
        ulm_put(writer, ",\"reasoning_effort\":");
        ulm_put_string(writer, body->reasoning_effort);
    }
}

static const char usage_option[] = ",\"stream_options\":{\"include_usage\":true}";

/* For servers that render a model's own chat template: which of the two names turns its thinking
 * off depends on the template, which ignores the other. */
static void put_template_effort(struct ulm_writer *writer, const struct ulm_body *body)
{
    if (ulm_body_thinks(body))
        put_effort(writer, body);
    else
        ulm_put(writer, ",\"chat_template_kwargs\":{\"enable_thinking\":false,"
                        "\"thinking\":false}");
}

void ulm_openai_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, "");
    put_limit(writer, "max_completion_tokens", body);
    ulm_put(writer, usage_option);
    put_effort(writer, body);
    ulm_put(writer, "}");
}

/* Refuses members it does not know, stream_options among them; it tells usage unasked. */
void ulm_mistral_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, ",\"prefix\":true");
    put_limit(writer, "max_tokens", body);
    put_effort(writer, body);
    ulm_put(writer, "}");
}

/* Thinks, and at length, unless it is told not to. Prefill is had at its /beta base URL alone. */
void ulm_deepseek_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, ",\"prefix\":true");
    put_limit(writer, "max_tokens", body);
    ulm_put(writer, usage_option);
    if (ulm_body_thinks(body)) {
        ulm_put(writer, ",\"thinking\":{\"type\":\"enabled\"}");
        put_effort(writer, body);
    } else {
        ulm_put(writer, ",\"thinking\":{\"type\":\"disabled\"}");
    }
    ulm_put(writer, "}");
}

void ulm_vllm_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, "");
    put_limit(writer, "max_tokens", body);
    ulm_put(writer, usage_option);
    put_template_effort(writer, body);
    if (body->opener)
        ulm_put(writer, ",\"continue_final_message\":true,\"add_generation_prompt\":false,"
                        "\"echo\":false");
    ulm_put(writer, "}");
}

void ulm_sglang_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, "");
    put_limit(writer, "max_tokens", body);
    ulm_put(writer, usage_option);
    put_template_effort(writer, body);
    if (body->opener)
        ulm_put(writer, ",\"continue_final_message\":true");
    ulm_put(writer, "}");
}

/* Takes the effort as a variable of the chat template. */
void ulm_llama_server_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, "");
    put_limit(writer, "max_tokens", body);
    ulm_put(writer, usage_option);
    ulm_put(writer, ",\"chat_template_kwargs\":{");
    if (ulm_body_thinks(body)) {
        ulm_put(writer, "\"reasoning_effort\":");
        ulm_put_string(writer, body->reasoning_effort);
    } else {
        ulm_put(writer, "\"enable_thinking\":false");
    }
    ulm_put(writer, "},\"cache_prompt\":true,\"sse_ping_interval\":5}");
}

void ulm_openrouter_write(struct ulm_writer *writer, const struct ulm_body *body)
{
    put_head(writer, body, "");
    put_limit(writer, "max_completion_tokens", body);
    ulm_put(writer, usage_option);
    ulm_put(writer, ",\"reasoning\":{\"exclude\":true");
    if (body->reasoning_effort) {
        ulm_put(writer, ",\"effort\":");
        ulm_put_string(writer, body->reasoning_effort);
    }
    ulm_put(writer, "}}");
}

/* A string, or parts of which those of type "text" are visible (Mistral's reasoning models). */
static void read_content(struct ulm_stream *stream, const cJSON *content)
{
    if (cJSON_IsString(content)) {
        ulm_stream_text(stream, content->valuestring);
    } else if (cJSON_IsArray(content)) {
        for (const cJSON *part = content->child; part; part = part->next) {
            const char *type = ulm_json_text(part, "type");
            const char *text = ulm_json_text(part, "text");
            if (type && text && strcmp(type, "text") == 0)
                ulm_stream_text(stream, text);
        }
    }
}

static void read_finish_reason(struct ulm_stream *stream, const char *reason)
{
    static const struct {
        const char *reason;
        enum ulm_cloud_outcome outcome;
    } reasons[] = {
        {"length", ULM_CLOUD_LENGTH},
        {"max_tokens", ULM_CLOUD_LENGTH},
        {"model_length", ULM_CLOUD_LENGTH},
        {"content_filter", ULM_CLOUD_REFUSED},
        {"error", ULM_CLOUD_FAILED},
        {"abort", ULM_CLOUD_FAILED},
        {"insufficient_system_resource", ULM_CLOUD_FAILED},
    };
    enum ulm_cloud_outcome outcome = ULM_CLOUD_COMPLETE;

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(reason, reasons[i].reason) == 0)
            outcome = reasons[i].outcome;
    }
    if (outcome == ULM_CLOUD_FAILED)
        ulm_stream_fail(stream, "provider");
    else
        ulm_stream_closing(stream, outcome);
}

void ulm_chat_decode(struct ulm_stream *stream, const char *event, const cJSON *json)
{
    const cJSON *error = ulm_json_member(json, "error");
    const char *object = ulm_json_text(json, "object");
    if (error && !cJSON_IsNull(error)) {
        ulm_stream_fail(stream, ulm_dialect_error_word(error));
        return;
    }
    if (strcmp(event, "error") == 0 || (object && strcmp(object, "error") == 0)) {
        ulm_stream_fail(stream, ulm_dialect_error_word(json));
        return;
    }

    const cJSON *usage = ulm_json_member(json, "usage");
    ulm_stream_count(&stream->input_tokens, ulm_json_member(usage, "prompt_tokens"));
    ulm_stream_count(&stream->output_tokens, ulm_json_member(usage, "completion_tokens"));

    const cJSON *choices = ulm_json_member(json, "choices");
    const cJSON *choice = cJSON_IsArray(choices) ? choices->child : NULL;
    const cJSON *delta = ulm_json_member(choice, "delta");
    if (stream->phase == ULM_STREAM_OPEN) {
        read_content(stream, ulm_json_member(delta, "content"));
        const char *refusal = ulm_json_text(delta, "refusal");
        if (refusal && refusal[0] != '\0')
            ulm_stream_refusal(stream, refusal);
    }
    const char *reason = ulm_json_text(choice, "finish_reason");
    if (reason && reason[0] != '\0')
        read_finish_reason(stream, reason);
}
