/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/model.h"
#include "engine/tokenizer.h"
#include "tests/fuzz/fuzz.h"

/* A file as hostile as it can be: what opens can be walked, tokenised with and loaded. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], err[256];
    struct ulm_gguf *gguf;
    struct ulm_tokenizer *tokenizer;
    struct ulm_model *model;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ulm_gguf_open(path, &gguf, err, sizeof err) == 0) {
        unsigned sum = 0;
        for (size_t i = 0; i < ulm_gguf_tensor_count(gguf); i++) {
            const struct ulm_tensor *tensor = ulm_gguf_tensor_at(gguf, i);
            for (size_t k = 0; k < tensor->bytes; k++)
                sum += ((const uint8_t *)tensor->data)[k];
        }
        if (ulm_tokenizer_new(gguf, &tokenizer, err, sizeof err) == 0) {
            int32_t ids[64];
            size_t n = 0;
            if (ulm_tokenizer_encode(tokenizer, "what's the way?<|im_end|>", 25, true, ids, 64,
                                     &n) < 0)
                abort();
            for (size_t i = 0; i < n; i++) {
                size_t len;
                ulm_tokenizer_piece(tokenizer, ids[i], &len);
                sum += (unsigned)len;
            }
            ulm_tokenizer_free(tokenizer);
        }
        if (ulm_model_new(gguf, "scalar", &model, err, sizeof err) == 0)
            ulm_model_free(model);
        ulm_gguf_free(gguf);
        if (sum == 1)
            putchar('.');
    }
    close(fd);
    return 0;
}
