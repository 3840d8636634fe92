/* SPDX-License-Identifier: MIT */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef float vec4 __attribute__((vector_size(16)));
typedef int32_t ivec4 __attribute__((vector_size(16)));

/* a stands behind b in the ranking. */
static bool worse(const float *logits, int32_t a, int32_t b)
{
    return logits[a] != logits[b] ? logits[a] < logits[b] : a > b;
}

/* A heap with the worst on top. */
static void sift(const float *logits, int32_t *heap, size_t n, size_t i)
{
    int32_t item = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && worse(logits, heap[child + 1], heap[child]))
            child++;
        if (!worse(logits, heap[child], item))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = item;
}

#define FEW 16u

/* Most logits are small: they are passed by in vectors. */
static bool none_above(const float *logits, float bar)
{
    ivec4 above = {0};
    for (size_t i = 0; i < FEW; i += 4) {
        vec4 four;
        memcpy(&four, logits + i, sizeof four);
        above |= four > (vec4){bar, bar, bar, bar};
    }
    return (above[0] | above[1] | above[2] | above[3]) == 0;
}

size_t ulm_rank(const float *logits, size_t n, int32_t *ids, size_t k)
{
    if (k > n)
        k = n;
    for (size_t i = 0; i < k; i++)
        ids[i] = (int32_t)i;
    for (size_t i = k / 2; i-- > 0;)
        sift(logits, ids, k, i);
    for (size_t i = k; i < n; i++) {
        while (n - i > FEW && none_above(logits + i, logits[ids[0]]))
            i += FEW;
        if (worse(logits, ids[0], (int32_t)i)) {
            ids[0] = (int32_t)i;
            sift(logits, ids, k, 0);
        }
    }
    /* Taking the worst off again and again sorts it. */
    for (size_t left = k; left > 1; left--) {
        int32_t last = ids[left - 1];
        ids[left - 1] = ids[0];
        ids[0] = last;
        sift(logits, ids, left - 1, 0);
    }
    return k;
}

void ulm_sampler_init(struct ulm_sampler *sampler, double temperature, double top_p, uint64_t seed)
{
    *sampler = (struct ulm_sampler){temperature, top_p, seed};
}

/* SplitMix64: a number in [0, 1). */
static double draw_unit(struct ulm_sampler *sampler)
{
    uint64_t z = sampler->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

size_t ulm_sampler_draw(struct ulm_sampler *sampler, const float *logits, const int32_t *ids,
                        size_t n)
{
    if (sampler->temperature <= 0 || n < 2)
        return 0;
    double total = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
        total += exp(((double)logits[ids[i]] - (double)logits[ids[0]]) / sampler->temperature);
    /* As many of the most likely as it takes to hold top_p of what there is. */
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        kept += exp(((double)logits[ids[i]] - (double)logits[ids[0]]) / sampler->temperature);
        last = i;
        if (kept >= sampler->top_p * total)
            break;
    }
    double at = draw_unit(sampler) * kept;
    for (size_t i = 0; i < last; i++) {
        at -= exp(((double)logits[ids[i]] - (double)logits[ids[0]]) / sampler->temperature);
        if (at < 0)
            return i;
    }
    return last;
}
