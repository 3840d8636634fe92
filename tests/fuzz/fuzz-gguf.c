/* SPDX-License-Identifier: MIT */
#include "engine/model.h"
#include "engine/neutral.h"
#include "tests/fuzz/file.h"
#include "tests/fuzz/fuzz.h"

static void tokenise(const struct ulm_gguf *gguf, struct ulm_tokenizer *tokenizer)
{
    char err[256];
    int32_t ids[64];
    struct ulm_neutral neutral;
    size_t n = 0;
    if (ulm_tokenizer_encode(tokenizer, "what's the way?<|im_end|>", 25, true, ids, 64, &n) < 0)
        abort();
    (void)ulm_neutral_load(&neutral, gguf, tokenizer, err, sizeof err);
    ulm_neutral_deinit(&neutral);
    ulm_tokenizer_free(tokenizer);
}

/* A file as hostile as it can be: what opens can be walked, tokenised with and loaded. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char err[256];
    struct ulm_gguf *gguf;
    struct ulm_tokenizer *tokenizer;
    struct ulm_model *model;
    if (ulm_gguf_open(file_of(data, size), &gguf, err, sizeof err) < 0)
        return 0;
    for (size_t i = 0; i < ulm_gguf_tensor_count(gguf); i++) {
        const struct ulm_tensor *t = ulm_gguf_tensor_at(gguf, i);
        for (size_t k = 0; k < t->bytes; k += 4096) /* no finer does a mapping tell */
            *(volatile uint8_t *)err = ((const uint8_t *)t->data)[k];
    }
    if (ulm_tokenizer_new(gguf, &tokenizer, err, sizeof err) == 0)
        tokenise(gguf, tokenizer);
    if (ulm_model_new(gguf, "scalar", &model, err, sizeof err) == 0)
        ulm_model_free(model);
    ulm_gguf_free(gguf);
    return 0;
}
