/* SPDX-License-Identifier: MIT */
/* A question as every part sees it: the text, what came before it, what the device knows. */
#ifndef ULMD_REQUEST_H
#define ULMD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum ulm_role {
    ULM_ROLE_USER,
    ULM_ROLE_ASSISTANT,
};

/* One earlier turn, oldest first in an array. */
struct ulm_turn {
    enum ulm_role role;
    const char *content;
};

/* What is asked, without who asks. Pointers are borrowed for the call it is passed to; whoever
 * keeps it copies it. All texts are valid UTF-8 without U+0000; sizes are within limits.h. */
struct ulm_prompt {
    const char *text;
    const char *const *facts; /* [n_facts] short facts from the device */
    size_t n_facts;
    const struct ulm_turn *history; /* [n_history], oldest first */
    size_t n_history;
};

enum ulm_medium {
    ULM_MEDIUM_DISPLAY,
    ULM_MEDIUM_SPEECH,
};

/* An `ask` or a `draft`. Zero in a number means: not given, the configuration decides. */
struct ulm_ask {
    const char *id;          /* 1..ULM_ID_MAX bytes */
    const char *session;     /* or NULL: no history, nothing superseded */
    struct ulm_prompt prompt;
    bool has_history;        /* `history` was given, even when empty */
    enum ulm_medium medium;
    int retractable;         /* 1, 0, or -1 = by medium: display yes, speech no */
    unsigned min_words, max_words;
    unsigned deadline_ms;
};

#endif
