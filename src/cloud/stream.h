/* SPDX-License-Identifier: MIT */
/*
 * The body of one streamed answer: bytes in, visible text and how it ended out. Pure and
 * resumable. Framing, JSON and the dialect's events are read here; the transport only feeds it.
 */
#ifndef ULM_CLOUD_STREAM_H
#define ULM_CLOUD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/cloud.h>

#include "cloud/ndjson.h"
#include "cloud/sse.h"
#include "cloud/think.h"
#include "util/buf.h"

struct ulm_dialect_table;

/* In the order they are reached. */
enum ulm_stream_phase {
    ULM_STREAM_OPEN,
    ULM_STREAM_CLOSING, /* the reason of the end is known; the count of tokens may follow */
    ULM_STREAM_ENDED,
    ULM_STREAM_FAILED, /* an error event, bad JSON, a cap: `error` says which */
};

struct ulm_stream {
    const struct ulm_dialect_table *dialect;
    struct ulm_sse sse; /* the one of the two that the dialect uses */
    struct ulm_ndjson ndjson;
    bool marked;   /* the event at hand had half characters */
    uint32_t half; /* one that waits for the next text; 0 = none */
    struct ulm_think think;
    struct ulm_buf text;             /* visible, whole characters; the reader clears it */
    size_t text_total;               /* bytes of it since the start, <= ULM_ANSWER_MAX */
    uint64_t bytes;                  /* fed so far */
    enum ulm_stream_phase phase;
    enum ulm_cloud_outcome outcome;  /* CLOSING and ENDED: COMPLETE, LENGTH or REFUSED */
    bool refusal;                    /* refusal text came */
    const char *error;               /* FAILED: our own word, static */
    int64_t input_tokens, output_tokens; /* -1 = not told */
};

void ulm_stream_init(struct ulm_stream *stream, const struct ulm_dialect_table *dialect);
void ulm_stream_deinit(struct ulm_stream *stream);

/* Reads what it can; nothing more once it ended or failed. */
void ulm_stream_feed(struct ulm_stream *stream, const char *bytes, size_t len);

/* The body ended. Afterwards ENDED, or FAILED with "cut" where the end was missing. */
void ulm_stream_finish(struct ulm_stream *stream);

/* For the dialects' decoders. Errors make the phase FAILED and need not be looked at. */
struct cJSON;
void ulm_stream_text(struct ulm_stream *stream, const char *text);
void ulm_stream_refusal(struct ulm_stream *stream, const char *text);
void ulm_stream_closing(struct ulm_stream *stream, enum ulm_cloud_outcome outcome);
void ulm_stream_end(struct ulm_stream *stream);
void ulm_stream_fail(struct ulm_stream *stream, const char *word);
/* `tokens` is a number or it is passed over. */
void ulm_stream_count(int64_t *ret_tokens, const struct cJSON *tokens);

#endif
