/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"
#include "util/histogram.h"

START_TEST(test_quantiles_are_within_a_bucket)
{
    static struct ulm_histogram h;
    ck_assert_int_eq(ulm_histogram_quantile_us(&h, 0.5), 0);
    for (int64_t v = 1; v <= 100000; v++)
        ulm_histogram_add(&h, v);
    ulm_histogram_add(&h, -1);
    ck_assert_uint_eq(h.n, 100000);
    int64_t p50 = ulm_histogram_quantile_us(&h, 0.5);
    ck_assert_int_ge(p50, 50000);
    ck_assert_int_le(p50, 56250);
    ck_assert_int_eq(ulm_histogram_quantile_us(&h, 1.0), 100000);
}
END_TEST

START_TEST(test_edges_grow_and_hold_their_values)
{
    for (size_t i = 1; i < ULM_HISTOGRAM_BUCKETS; i++)
        ck_assert_int_gt(ulm_histogram_edge_us(i), ulm_histogram_edge_us(i - 1));
    for (size_t i = 0; i + 1 < ULM_HISTOGRAM_BUCKETS; i++) {
        struct ulm_histogram h = {0};
        ulm_histogram_add(&h, ulm_histogram_edge_us(i));
        ck_assert_uint_eq(h.counts[i], 1);
    }
}
END_TEST

UNIT_MAIN("histogram", test_quantiles_are_within_a_bucket, test_edges_grow_and_hold_their_values)
