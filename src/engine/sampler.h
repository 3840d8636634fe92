/* SPDX-License-Identifier: MIT */
/* From logits to a token: ranking, drawing. */
#ifndef ULM_ENGINE_SAMPLER_H
#define ULM_ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

/* The k most likely tokens by falling logit, of equals the lowest id first. ids is [k]; returns
 * how many there are (n where k is larger). */
size_t ulm_rank(const float *logits, size_t n, int32_t *ids, size_t k);

struct ulm_sampler {
    double temperature; /* 0 = greedy */
    double top_p;       /* (0, 1] */
    uint64_t state;
};

void ulm_sampler_init(struct ulm_sampler *sampler, double temperature, double top_p, uint64_t seed);

/* Draws from n tokens ranked as by ulm_rank: an index into ids; 0 when greedy. n > 0. */
size_t ulm_sampler_draw(struct ulm_sampler *sampler, const float *logits, const int32_t *ids,
                        size_t n);

#endif
