/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "util/buf.h"

START_TEST(test_grows_to_its_cap_and_no_further)
{
    struct ulm_buf buf;
    ulm_buf_init(&buf, 200);
    ck_assert_str_eq(ulm_buf_str(&buf), "");
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(ulm_buf_add(&buf, "ab", 2), 0);
    ck_assert_uint_eq(buf.len, 200);
    ck_assert_int_eq(ulm_buf_add(&buf, "c", 1), -ENOBUFS);
    ck_assert_uint_eq(buf.len, 200);
    ck_assert_int_eq(ulm_buf_add(&buf, "", 0), 0);
    ck_assert_uint_eq(strlen(ulm_buf_str(&buf)), 200);
    ulm_buf_deinit(&buf);
    ulm_buf_deinit(&buf);
}
END_TEST

START_TEST(test_formats_consumes_and_takes)
{
    struct ulm_buf buf = ULM_BUF_INIT(64);
    ck_assert_int_eq(ulm_buf_add_fmt(&buf, "%d-%s", 42, "x"), 0);
    ulm_buf_consume(&buf, 3);
    ck_assert_str_eq(ulm_buf_str(&buf), "x");
    ck_assert_int_eq(ulm_buf_add_fmt(&buf, "%100s", "y"), -ENOBUFS);
    ck_assert_str_eq(ulm_buf_str(&buf), "x");
    char *text = ulm_buf_take(&buf);
    ck_assert_str_eq(text, "x");
    free(text);
    text = ulm_buf_take(&buf);
    ck_assert_str_eq(text, "");
    free(text);
    ulm_buf_wipe(&buf);
}
END_TEST

UNIT_MAIN("buf", test_grows_to_its_cap_and_no_further, test_formats_consumes_and_takes)
