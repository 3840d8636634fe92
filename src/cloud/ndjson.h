/* SPDX-License-Identifier: MIT */
/* One JSON value a line (Ollama's own stream), read as it arrives. Used as ulm_sse is. */
#ifndef ULM_CLOUD_NDJSON_H
#define ULM_CLOUD_NDJSON_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"

struct ulm_ndjson {
    struct ulm_buf line; /* cap ULM_SSE_EVENT_MAX */
    bool ready;
    int error; /* sticky */
};

void ulm_ndjson_init(struct ulm_ndjson *nd);
void ulm_ndjson_deinit(struct ulm_ndjson *nd);

/* 1: line holds a line that is not blank, without its LF, until the next call. 0: more is needed.
 * <0, sticky: -EMSGSIZE (the cap was passed), -ENOMEM. *ret_used is always set. */
int ulm_ndjson_feed(struct ulm_ndjson *nd, const char *bytes, size_t len, size_t *ret_used);

/* The input ended: 1 when a last line without LF is there, else 0 or the sticky error. */
int ulm_ndjson_finish(struct ulm_ndjson *nd);

#endif
