/* SPDX-License-Identifier: MIT */
/* Keeps `<think>...</think>` at the start of an answer from being seen. Pure and resumable. */
#ifndef ULM_CLOUD_THINK_H
#define ULM_CLOUD_THINK_H

#include <stddef.h>

#include "util/buf.h"

enum ulm_think_state {
    ULM_THINK_LEAD,   /* white space, held: a block may follow it */
    ULM_THINK_OPENS,  /* inside what may become "<think>", held */
    ULM_THINK_INSIDE, /* dropped until "</think>" */
    ULM_THINK_AFTER,  /* white space behind the block, dropped */
    ULM_THINK_PASS,   /* everything is visible */
};

struct ulm_think {
    enum ulm_think_state state;
    size_t matched; /* bytes of the tag that is being matched */
    char held[32];
    size_t n_held;
};

#define ULM_THINK_INIT ((struct ulm_think){.state = ULM_THINK_LEAD})

/* Appends to out what is visible of the text. 0, -ENOBUFS, -ENOMEM. */
int ulm_think_feed(struct ulm_think *think, const char *text, size_t len, struct ulm_buf *out);

/* The text ended: what was held in doubt becomes visible. */
int ulm_think_finish(struct ulm_think *think, struct ulm_buf *out);

#endif
