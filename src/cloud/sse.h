/* SPDX-License-Identifier: MIT */
/*
 * Server-sent events, read as they arrive. Pure and resumable: bytes in, one event out at a time.
 *
 *     while (len > 0) {
 *         size_t used;
 *         int r = ulm_sse_feed(&sse, bytes, len, &used);
 *         bytes += used, len -= used;
 *         if (r == 1) use(sse.event, sse.data);
 *     }
 *
 * Lines end in LF, CRLF or CR; several `data` lines join with LF; comments, `id`, `retry` and
 * unknown fields are passed over; one byte order mark at the start is ignored.
 */
#ifndef ULM_CLOUD_SSE_H
#define ULM_CLOUD_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"

struct ulm_sse {
    struct ulm_buf line;  /* the line so far; cap ULM_SSE_LINE_MAX */
    struct ulm_buf data;  /* of the event; cap ULM_SSE_EVENT_MAX */
    struct ulm_buf event; /* its name, "" = none */
    bool has_data;
    bool begun;   /* the first line is behind us, and with it a byte order mark */
    bool skip_lf; /* the last byte was CR: an LF right behind it belongs to it */
    bool ready;   /* an event was handed out; the next call begins a new one */
    int error;    /* sticky */
};

void ulm_sse_init(struct ulm_sse *sse);
void ulm_sse_deinit(struct ulm_sse *sse);

/* 1: data and event hold a complete event until the next call. 0: all was read, more is needed.
 * <0, sticky: -EMSGSIZE (a cap was passed), -ENOMEM. *ret_used is always set. */
int ulm_sse_feed(struct ulm_sse *sse, const char *bytes, size_t len, size_t *ret_used);

/* The input ended. An event without its blank line is dropped, unless its data is exactly
 * "[DONE]": then 1. Else 0 or the sticky error. */
int ulm_sse_finish(struct ulm_sse *sse);

#endif
