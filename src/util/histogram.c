/* SPDX-License-Identifier: MIT */
#include "util/histogram.h"

#include <assert.h>

/* Values below 8 have a bucket each; above, the octave's number and the next three bits. */
static size_t bucket_of(uint64_t value)
{
    if (value < 8)
        return (size_t)value;
    unsigned octave = 63u - (unsigned)__builtin_clzll(value);
    size_t i = (size_t)(octave - 2) * 8 + ((value >> (octave - 3)) & 7);
    return i < ULM_HISTOGRAM_BUCKETS ? i : ULM_HISTOGRAM_BUCKETS - 1;
}

int64_t ulm_histogram_edge_us(size_t i)
{
    assert(i < ULM_HISTOGRAM_BUCKETS);
    if (i < 8)
        return (int64_t)i;
    unsigned octave = (unsigned)(i / 8) + 2;
    return (int64_t)(((8ull + i % 8 + 1) << (octave - 3)) - 1);
}

void ulm_histogram_add(struct ulm_histogram *h, int64_t value_us)
{
    if (value_us < 0)
        return;
    h->counts[bucket_of((uint64_t)value_us)]++;
    h->n++;
    h->sum_us += (uint64_t)value_us;
    if (value_us > h->max_us)
        h->max_us = value_us;
}

int64_t ulm_histogram_quantile_us(const struct ulm_histogram *h, double q)
{
    uint64_t rank = (uint64_t)(q * (double)h->n);
    uint64_t seen = 0;
    for (size_t i = 0; i < ULM_HISTOGRAM_BUCKETS && h->n > 0; i++) {
        seen += h->counts[i];
        if (seen > rank || seen == h->n) {
            int64_t edge = ulm_histogram_edge_us(i);
            return edge < h->max_us ? edge : h->max_us;
        }
    }
    return 0;
}
