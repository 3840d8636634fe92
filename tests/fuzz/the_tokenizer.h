/* SPDX-License-Identifier: MIT */
#ifndef ULM_TESTS_FUZZ_THE_TOKENIZER_H
#define ULM_TESTS_FUZZ_THE_TOKENIZER_H

#include <stdlib.h>

#include "engine/tokenizer.h"

/* The small model's, loaded once. */
static inline const struct ulm_tokenizer *the_tokenizer(void)
{
    static struct ulm_tokenizer *tokenizer;
    struct ulm_gguf *gguf;
    char err[256];
    if (tokenizer)
        return tokenizer;
    if (ulm_gguf_open(MODEL, &gguf, err, sizeof err) < 0 ||
        ulm_tokenizer_new(gguf, &tokenizer, err, sizeof err) < 0)
        abort();
    ulm_gguf_free(gguf);
    return tokenizer;
}

#endif
