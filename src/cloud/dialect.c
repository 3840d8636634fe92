/* SPDX-License-Identifier: MIT */
#include "cloud/dialect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/buf.h"
#include "util/cjson.h"
#include "util/json.h"

static const struct ulm_dialect_table tables[ULM_DIALECT_N] = {
    [ULM_DIALECT_OPENAI_CHAT] = {
        .name = "openai-chat",
        .path = "/chat/completions",
        .write = ulm_openai_write,
        .decode = ulm_chat_decode,
    },
    [ULM_DIALECT_OPENAI_RESPONSES] = {
        .name = "openai-responses",
        .path = "/responses",
        .write = ulm_responses_write,
        .decode = ulm_responses_decode,
    },
    [ULM_DIALECT_ANTHROPIC] = {
        .name = "anthropic",
        .path = "/messages",
        .key_header = "x-api-key: ",
        .fixed_header = "anthropic-version: 2023-06-01",
        .needs_marker = true,
        .has_prefill = true,
        .write = ulm_anthropic_write,
        .decode = ulm_anthropic_decode,
    },
    [ULM_DIALECT_MISTRAL] = {
        .name = "mistral",
        .path = "/chat/completions",
        .has_prefill = true,
        .write = ulm_mistral_write,
        .decode = ulm_chat_decode,
    },
    [ULM_DIALECT_DEEPSEEK] = {
        .name = "deepseek",
        .path = "/chat/completions",
        .has_prefill = true,
        .write = ulm_deepseek_write,
        .decode = ulm_chat_decode,
    },
    [ULM_DIALECT_VLLM] = {
        .name = "vllm",
        .path = "/chat/completions",
        .has_prefill = true,
        .write = ulm_vllm_write,
        .decode = ulm_chat_decode,
    },
    [ULM_DIALECT_SGLANG] = {
        .name = "sglang",
        .path = "/chat/completions",
        .has_prefill = true,
        .write = ulm_sglang_write,
        .decode = ulm_chat_decode,
    },
    [ULM_DIALECT_LLAMA_SERVER] = {
        .name = "llama-server",
        .path = "/chat/completions",
        .has_prefill = true,
        .write = ulm_llama_server_write,
        .decode = ulm_chat_decode,
    },
    [ULM_DIALECT_OLLAMA] = {
        .name = "ollama",
        .path = "/api/chat",
        .ndjson = true,
        .has_prefill = true,
        .write = ulm_ollama_write,
        .decode = ulm_ollama_decode,
    },
    [ULM_DIALECT_OPENROUTER] = {
        .name = "openrouter",
        .path = "/chat/completions",
        .has_prefill = true,
        .write = ulm_openrouter_write,
        .decode = ulm_chat_decode,
    },
};

const struct ulm_dialect_table *ulm_dialect_table(enum ulm_dialect dialect)
{
    return &tables[dialect];
}

const char *ulm_dialect_name(enum ulm_dialect dialect)
{
    return tables[dialect].name;
}

const char *ulm_dialect_path(enum ulm_dialect dialect)
{
    return tables[dialect].path;
}

int ulm_dialect_from_name(const char *name, enum ulm_dialect *ret_dialect)
{
    for (size_t i = 0; i < ULM_DIALECT_N; i++) {
        if (strcmp(name, tables[i].name) == 0) {
            *ret_dialect = (enum ulm_dialect)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *ulm_dialect_error_word(const cJSON *error)
{
    /* Words that providers document as the type or code of an error: safe to show, for they are
     * these strings and not the provider's bytes. */
    static const char *const known[] = {
        "api_error",
        "authentication_error",
        "billing_error",
        "content_filter",
        "context_length_exceeded",
        "insufficient_quota",
        "internal_error",
        "invalid_api_key",
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "rate_limit_exceeded",
        "request_too_large",
        "server_error",
        "timeout_error",
        "unavailable_error",
    };
    const char *names[] = {ulm_json_text(error, "code"), ulm_json_text(error, "type")};

    for (size_t n = 0; n < 2; n++) {
        for (size_t i = 0; names[n] && i < sizeof known / sizeof *known; i++) {
            if (strcmp(names[n], known[i]) == 0)
                return known[i];
        }
    }
    return "provider";
}

void ulm_put(struct ulm_writer *writer, const char *raw)
{
    if (writer->error == 0)
        writer->error = ulm_buf_add_str(writer->buf, raw);
}

void ulm_put_string(struct ulm_writer *writer, const char *text)
{
    if (writer->error == 0)
        writer->error = ulm_json_add_string(writer->buf, text);
}

void ulm_put_number(struct ulm_writer *writer, unsigned number)
{
    if (writer->error == 0)
        writer->error = ulm_buf_add_fmt(writer->buf, "%u", number);
}

void ulm_put_turn(struct ulm_writer *writer, const char *role, const char *content,
                  const char *tail)
{
    ulm_put(writer, "{\"role\":\"");
    ulm_put(writer, role);
    ulm_put(writer, "\",\"content\":");
    ulm_put_string(writer, content);
    ulm_put(writer, tail);
    ulm_put(writer, "}");
}

void ulm_put_turns(struct ulm_writer *writer, const struct ulm_body *body, bool first)
{
    for (size_t i = 0; i < body->n_history; i++) {
        const struct ulm_turn *turn = &body->history[i];
        if (turn->content[0] == '\0') /* refused by several providers */
            continue;
        ulm_put(writer, first ? "" : ",");
        ulm_put_turn(writer, turn->role == ULM_ROLE_USER ? "user" : "assistant", turn->content, "");
        first = false;
    }
    ulm_put(writer, first ? "" : ",");
    ulm_put_turn(writer, "user", body->user, "");
}

bool ulm_body_thinks(const struct ulm_body *body)
{
    return body->reasoning_effort && strcmp(body->reasoning_effort, "none") != 0;
}

int ulm_dialect_write(const struct ulm_dialect_table *table, const struct ulm_body *body,
                      struct ulm_buf *buf)
{
    struct ulm_writer writer = {.buf = buf};
    table->write(&writer, body);
    return writer.error;
}
