/* SPDX-License-Identifier: MIT */
/* The main of a unit test: one suite, its cases listed once.
 *
 *     START_TEST(test_x) {...} END_TEST
 *     UNIT_MAIN("buf", test_x, test_y)
 */
#ifndef ULM_TESTS_UNIT_H
#define ULM_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#define UNIT_MAIN(name_, ...)                                                                      \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const cases[] = {__VA_ARGS__};                                                \
        TCase *tcase = tcase_create(name_);                                                        \
        tcase_set_timeout(tcase, 120);                                                             \
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)                                  \
            tcase_add_test(tcase, cases[i]);                                                       \
        Suite *suite = suite_create(name_);                                                        \
        suite_add_tcase(suite, tcase);                                                             \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_NORMAL);                                                        \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                          \
    }

#endif
