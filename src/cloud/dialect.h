/* SPDX-License-Identifier: MIT */
/* What differs between providers: a path, a few headers, a body, the meaning of an event. */
#ifndef ULM_CLOUD_DIALECT_H
#define ULM_CLOUD_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

#include <ulmd/cloud.h>

struct cJSON;
struct ulm_buf;
struct ulm_stream;

/* What goes into a request body. Texts are valid UTF-8. */
struct ulm_body {
    const char *model;
    const char *system; /* "" = none */
    const struct ulm_turn *history;
    size_t n_history;
    const char *user;             /* last user turn */
    const char *opener;           /* prefill: the open assistant turn; NULL = instruct */
    unsigned max_tokens;
    const char *reasoning_effort; /* or NULL */
};

/* Writes JSON behind buf; the first failure sticks in `error`. */
struct ulm_writer {
    struct ulm_buf *buf;
    int error;
};

struct ulm_dialect_table {
    const char *name;
    const char *path;          /* appended to the base URL */
    const char *key_header;    /* NULL = "Authorization: Bearer " */
    const char *fixed_header;  /* "Name: value", or NULL */
    bool ndjson;               /* the stream is NDJSON; else server-sent events */
    bool needs_marker;         /* an end without its marker is a cut, whatever was said before */
    bool has_prefill;          /* there is a way to leave the assistant turn open */
    void (*write)(struct ulm_writer *writer, const struct ulm_body *body);
    /* Reads one event; event is its name or "". Reports through ulm_stream_*(). */
    void (*decode)(struct ulm_stream *stream, const char *event, const struct cJSON *json);
};

const struct ulm_dialect_table *ulm_dialect_table(enum ulm_dialect dialect);

/* Writes the body of a request. 0, -ENOBUFS, -ENOMEM. */
int ulm_dialect_write(const struct ulm_dialect_table *table, const struct ulm_body *body,
                      struct ulm_buf *buf);

/* Our own static word for an error object, or an error text, of a provider: its `type` or `code`
 * where that is a known one, else "provider". Never its message. */
const char *ulm_dialect_error_word(const struct cJSON *error);

/* The configuration asks for reasoning: an effort is set, and it is not "none". */
bool ulm_body_thinks(const struct ulm_body *body);

/* For the dialects' writers. put: raw JSON text. */
void ulm_put(struct ulm_writer *writer, const char *raw);
void ulm_put_string(struct ulm_writer *writer, const char *text);
void ulm_put_number(struct ulm_writer *writer, unsigned number);
/* {"role":..,"content":.. and `tail` (raw, "" = nothing) and the closing brace. */
void ulm_put_turn(struct ulm_writer *writer, const char *role, const char *content,
                  const char *tail);
/* History without its empty turns, then the user turn, with commas between; `first` = nothing
 * stands before them. */
void ulm_put_turns(struct ulm_writer *writer, const struct ulm_body *body, bool first);

void ulm_chat_decode(struct ulm_stream *stream, const char *event, const struct cJSON *json);
void ulm_openai_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_mistral_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_deepseek_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_vllm_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_sglang_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_llama_server_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_openrouter_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_responses_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_responses_decode(struct ulm_stream *stream, const char *event, const struct cJSON *json);
void ulm_anthropic_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_anthropic_decode(struct ulm_stream *stream, const char *event, const struct cJSON *json);
void ulm_ollama_write(struct ulm_writer *writer, const struct ulm_body *body);
void ulm_ollama_decode(struct ulm_stream *stream, const char *event, const struct cJSON *json);

#endif
