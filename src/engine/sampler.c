/* SPDX-License-Identifier: MIT */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Four lanes that every CPU has: the same sum everywhere, whichever kernels run. */
typedef float vec4 __attribute__((vector_size(16)));
typedef int32_t ivec4 __attribute__((vector_size(16)));

static vec4 load4(const float *x)
{
    vec4 v;
    memcpy(&v, x, sizeof v);
    return v;
}

static vec4 larger4(vec4 a, vec4 b)
{
    ivec4 mask = a > b;
    return (vec4)(((ivec4)a & mask) | ((ivec4)b & ~mask));
}

/* e^x for x <= 0, within 3e-7; as kernels_float.h has it. */
static vec4 exp4(vec4 x)
{
    const vec4 magic = {12582912.0f, 12582912.0f, 12582912.0f, 12582912.0f}; /* 1.5 * 2^23 */
    const vec4 least = {-87.0f, -87.0f, -87.0f, -87.0f};
    ivec4 below = x < least; /* not for a NaN, which has to come out again */
    x = (vec4)(((ivec4)least & below) | ((ivec4)x & ~below));
    vec4 n = x * 1.44269504f + magic - magic; /* to the nearest whole number */
    vec4 r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec4 p = (((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r +
                4.1665795894e-2f) *
                   r +
               1.6666665459e-1f) *
                  r +
              5.0000001201e-1f) *
                 r * r +
             r + 1.0f;
    ivec4 power = (__builtin_convertvector(n, ivec4) + 127) << 23;
    return p * (vec4)power;
}

float ulm_log_sum(const float *logits, size_t n)
{
    size_t whole = n / 4 * 4;
    float top = logits[0];
    if (whole > 0) {
        vec4 most = load4(logits);
        for (size_t i = 4; i < whole; i += 4)
            most = larger4(load4(logits + i), most);
        for (size_t k = 0; k < 4; k++)
            top = most[k] > top ? most[k] : top;
    }
    for (size_t i = whole; i < n; i++)
        top = logits[i] > top ? logits[i] : top;
    /* Short sums are added up in doubles, so that a large vocabulary loses nothing. */
    double sum = 0;
    for (size_t i = 0; i < whole;) {
        vec4 part = {0};
        for (size_t end = whole - i < 256 ? whole : i + 256; i < end; i += 4)
            part += exp4(load4(logits + i) - top);
        sum += (double)part[0] + (double)part[1] + (double)part[2] + (double)part[3];
    }
    for (size_t i = whole; i < n; i++)
        sum += (double)expf(logits[i] - top);
    return top + (float)log(sum);
}

int32_t ulm_argmax(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (logits[i] > logits[best])
            best = i;
    }
    return (int32_t)best;
}

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

size_t ulm_rank(const float *logits, size_t n, int32_t *ids, size_t k)
{
    if (k > n)
        k = n;
    for (size_t i = 0; i < k; i++)
        ids[i] = (int32_t)i;
    for (size_t i = k / 2; i-- > 0;)
        sift(logits, ids, k, i);
    for (size_t i = k; i < n; i++) {
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
