/* SPDX-License-Identifier: MIT */
/*
 * A model by linking: it stands in for model.h and says what a test wrote down. Given the ids of
 * its sequence it looks for the assistant's turn; each reply that begins like what was said so far
 * lends its weight to its next token. The tokenizer is that of tests/data/reference.
 */
#ifndef ULM_TESTS_ENGINE_FAKE_H
#define ULM_TESTS_ENGINE_FAKE_H

#include <stdatomic.h>

#include <ulmd/engine.h>

#define FAKE_MODEL "reference/tiny-f32.gguf"

struct fake_reply {
    const char *text;
    float weight; /* a logit; the rest of the vocabulary has -20 */
    bool goes_on; /* does not end with <|im_end|>: nothing follows with a weight of its own */
};

struct fake {
    struct fake_reply replies[8]; /* up to the first without text */
    atomic_uint forwards;         /* tokens run */
    atomic_uint calls;
    void (*hook)(void); /* called in each ulm_forward, or NULL */
    bool broken;        /* gives numbers that are not finite */
};

extern struct fake fake;

/* All of it as it was, with these replies. */
void fake_reset(const struct fake_reply *replies, size_t n);
/* Path of FAKE_MODEL; borrowed. */
const char *fake_path(void);

#endif
