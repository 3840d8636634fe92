/* SPDX-License-Identifier: MIT */
/*
 * Texts that a model file carries for where its opener is not to be trusted. They name nothing, so
 * nothing in them can be wrong, but each suits one kind of request only; the model was taught
 * which. Each begins with a token of its own, so that one step of the model tells them apart.
 */
#ifndef ULM_ENGINE_NEUTRAL_H
#define ULM_ENGINE_NEUTRAL_H

#include <stddef.h>
#include <stdint.h>

#include <ulmd/limits.h>

#include "engine/gguf.h"
#include "engine/tokenizer.h"

struct ulm_neutral {
    struct ulm_neutral_text {
        char *text; /* owned */
        int32_t first;
        unsigned words;
    } texts[ULM_NEUTRAL_MAX];
    unsigned n;
    double below; /* `ulm.min_confidence`: the mean log-probability that asks for one; -INFINITY */
};

/* Reads `ulm.min_confidence` and `ulm.neutral`; a file may lack them. 0, or <0 errno with a reason.
 * To be freed in either case. */
int ulm_neutral_load(struct ulm_neutral *neutral, const struct ulm_gguf *gguf,
                     const struct ulm_tokenizer *tokenizer, char *reterr, size_t reterr_size);
void ulm_neutral_deinit(struct ulm_neutral *neutral);

/* The text of min_words to max_words words whose first token is likeliest by the logits of an
 * opener's first token; NULL where there is none. */
const char *ulm_neutral_pick(const struct ulm_neutral *neutral, const float *logits,
                             unsigned min_words, unsigned max_words);

#endif
