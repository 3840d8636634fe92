/* SPDX-License-Identifier: MIT */
/* Latencies in fixed memory: log-linear buckets, 8 to the octave (at most 12.5 % wide). */
#ifndef ULM_UTIL_HISTOGRAM_H
#define ULM_UTIL_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define ULM_HISTOGRAM_BUCKETS 256 /* 1 us .. 2^32 us */

struct ulm_histogram {
    uint64_t counts[ULM_HISTOGRAM_BUCKETS];
    uint64_t n;
    uint64_t sum_us;
    int64_t max_us;
};

void ulm_histogram_add(struct ulm_histogram *h, int64_t value_us); /* negative = ignored */

/* Upper edge of the bucket that holds the quantile, capped at max_us; 0 when nothing was added. */
int64_t ulm_histogram_quantile_us(const struct ulm_histogram *h, double q);

/* Upper edge of bucket i in microseconds. */
int64_t ulm_histogram_edge_us(size_t i);

#endif
