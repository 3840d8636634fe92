/* SPDX-License-Identifier: MIT */
#include "engine/pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/cores.h"
#include "tests/unit/unit.h"

#define PARTS 37u

struct tally {
    unsigned done[PARTS]; /* each written by the one thread that claimed the part */
    atomic_uint calls;
};

static void count(void *arg, unsigned part)
{
    struct tally *tally = arg;
    tally->done[part]++;
    atomic_fetch_add(&tally->calls, 1);
}

START_TEST(test_each_part_runs_once)
{
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct ulm_pool *pool;
        ck_assert_int_eq(ulm_pool_new(threads, "auto", &pool), 0);
        ck_assert_uint_ge(ulm_pool_threads(pool), 1);
        ck_assert_uint_le(ulm_pool_threads(pool), threads);
        unsigned wrong = 0;
        for (unsigned run = 0; run < 2000; run++) {
            struct tally tally = {0};
            unsigned parts = run % (PARTS + 1);
            ulm_pool_run(pool, count, &tally, parts);
            wrong += atomic_load(&tally.calls) != parts;
            for (unsigned p = 0; p < PARTS; p++)
                wrong += tally.done[p] != (p < parts ? 1 : 0);
        }
        ck_assert_uint_eq(wrong, 0);
        ulm_pool_free(pool);
    }
    ulm_pool_free(NULL);
}
END_TEST

START_TEST(test_cores_lists)
{
    static const char *const bad[] = {"", "x", "1-", "-1", "3-1", "0,", "0,,1", "0 1", "99999",
                                      "0x1"};
    struct ulm_cores cores;
    struct ulm_pool *pool;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(ulm_cores_read(bad[i], &cores), -EINVAL);
        ck_assert_int_eq(ulm_pool_new(1, bad[i], &pool), -EINVAL);
    }
    ck_assert_int_eq(ulm_cores_read("auto", &cores), 0);
    ck_assert_uint_ge(cores.count, 1);
    ck_assert_int_eq(ulm_cores_read("0-1023", &cores), 0);
    ck_assert(cores.bound);
    ck_assert_uint_ge(cores.count, 1);
}
END_TEST

UNIT_MAIN("pool", test_each_part_runs_once, test_cores_lists)
