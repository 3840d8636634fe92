/* SPDX-License-Identifier: MIT */
/*
 * As much of libcheck as the engine's tests use, for machines where there is only a cross compiler:
 * it stands in for <check.h> when tests/arm/run builds them. A failure ends the program.
 */
#ifndef ULM_TESTS_ARM_CHECK_H
#define ULM_TESTS_ARM_CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct TTest {
    void (*run)(void);
} TTest;

#define START_TEST(name_)                                                                          \
    static void name_##_run(void);                                                                 \
    static const TTest name_##_case = {name_##_run};                                               \
    static const TTest *const name_ = &name_##_case;                                               \
    static void name_##_run(void)
#define END_TEST

static inline void check_that(bool right, const char *file, int line, const char *text)
{
    if (right)
        return;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, text);
    exit(1);
}

#define CHECK_THAT(condition_) check_that((condition_), __FILE__, __LINE__, #condition_)
#define ck_assert(condition_) CHECK_THAT(condition_)
#define ck_assert_msg(condition_, ...) CHECK_THAT(condition_)
#define ck_assert_int_eq(a_, b_) CHECK_THAT((intmax_t)(a_) == (intmax_t)(b_))
#define ck_assert_int_ne(a_, b_) CHECK_THAT((intmax_t)(a_) != (intmax_t)(b_))
#define ck_assert_int_lt(a_, b_) CHECK_THAT((intmax_t)(a_) < (intmax_t)(b_))
#define ck_assert_int_le(a_, b_) CHECK_THAT((intmax_t)(a_) <= (intmax_t)(b_))
#define ck_assert_int_gt(a_, b_) CHECK_THAT((intmax_t)(a_) > (intmax_t)(b_))
#define ck_assert_int_ge(a_, b_) CHECK_THAT((intmax_t)(a_) >= (intmax_t)(b_))
#define ck_assert_uint_eq(a_, b_) CHECK_THAT((uintmax_t)(a_) == (uintmax_t)(b_))
#define ck_assert_uint_ne(a_, b_) CHECK_THAT((uintmax_t)(a_) != (uintmax_t)(b_))
#define ck_assert_uint_lt(a_, b_) CHECK_THAT((uintmax_t)(a_) < (uintmax_t)(b_))
#define ck_assert_uint_le(a_, b_) CHECK_THAT((uintmax_t)(a_) <= (uintmax_t)(b_))
#define ck_assert_uint_gt(a_, b_) CHECK_THAT((uintmax_t)(a_) > (uintmax_t)(b_))
#define ck_assert_uint_ge(a_, b_) CHECK_THAT((uintmax_t)(a_) >= (uintmax_t)(b_))
#define ck_assert_double_eq(a_, b_) CHECK_THAT((double)(a_) == (double)(b_))
#define ck_assert_double_lt(a_, b_) CHECK_THAT((double)(a_) < (double)(b_))
#define ck_assert_double_le(a_, b_) CHECK_THAT((double)(a_) <= (double)(b_))
#define ck_assert_double_gt(a_, b_) CHECK_THAT((double)(a_) > (double)(b_))
#define ck_assert_ptr_eq(a_, b_) CHECK_THAT((const void *)(a_) == (const void *)(b_))
#define ck_assert_ptr_ne(a_, b_) CHECK_THAT((const void *)(a_) != (const void *)(b_))
#define ck_assert_ptr_null(a_) CHECK_THAT((a_) == NULL)
#define ck_assert_ptr_nonnull(a_) CHECK_THAT((a_) != NULL)
#define ck_assert_str_eq(a_, b_) CHECK_THAT(strcmp((a_), (b_)) == 0)
#define ck_assert_str_ne(a_, b_) CHECK_THAT(strcmp((a_), (b_)) != 0)
#define ck_assert_mem_eq(a_, b_, n_) CHECK_THAT(memcmp((a_), (b_), (n_)) == 0)

#define ck_abort_msg(...) check_that(false, __FILE__, __LINE__, "ck_abort_msg")

/* What unit.h's main calls: adding a case runs it. */
typedef struct TCase TCase;
typedef struct Suite Suite;
typedef struct SRunner SRunner;
enum { CK_NORMAL };

static inline TCase *tcase_create(const char *name) { return NULL; }
static inline void tcase_set_timeout(TCase *tcase, double seconds) {}
static inline void tcase_add_test(TCase *tcase, const TTest *test) { test->run(); }
static inline Suite *suite_create(const char *name) { return NULL; }
static inline void suite_add_tcase(Suite *suite, TCase *tcase) {}
static inline SRunner *srunner_create(Suite *suite) { return NULL; }
static inline void srunner_run_all(SRunner *runner, int mode) {}
static inline int srunner_ntests_failed(SRunner *runner) { return 0; }
static inline void srunner_free(SRunner *runner) {}

#endif
