/* SPDX-License-Identifier: MIT */
/*
 * The forward passes of some openers, 25 new prompt tokens and 11 generated ones each, and nothing
 * else: to be run under a counter of instructions.
 *
 *     opener-work MODEL.gguf OPENERS
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/model.h"

int main(int argc, char **argv)
{
    char err[256];
    struct ulm_gguf *gguf;
    struct ulm_model *model;
    struct ulm_runner *runner;
    struct ulm_kv *kv;
    if (argc != 3)
        return 2;
    if (ulm_gguf_open(argv[1], &gguf, err, sizeof err) < 0 ||
        ulm_model_new(gguf, "auto", &model, err, sizeof err) < 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    ulm_gguf_free(gguf);
    unsigned vocabulary = ulm_model_shape(model)->vocabulary;
    float *logits = calloc(vocabulary, sizeof *logits);
    if (logits == NULL || ulm_kv_new(model, 64, &kv) < 0 ||
        ulm_runner_new(model, 1, "auto", &runner) < 0)
        return 1;
    for (int n = atoi(argv[2]); n > 0; n--) {
        struct ulm_row rows[25];
        ulm_kv_truncate(kv, 0);
        for (unsigned i = 0; i < 25; i++)
            rows[i] = (struct ulm_row){kv, (int32_t)(i * 7919 % vocabulary), i == 24};
        ulm_forward(runner, rows, 25, logits);
        for (unsigned i = 0; i < 11; i++) {
            rows[0] = (struct ulm_row){kv, (int32_t)(i * 31 % vocabulary), true};
            ulm_forward(runner, rows, 1, logits);
        }
    }
    printf("%s\n", ulm_model_kernels(model));
    ulm_runner_free(runner);
    ulm_kv_free(kv);
    ulm_model_free(model);
    free(logits);
    return 0;
}
