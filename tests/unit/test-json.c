/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <ulmd/limits.h>

#include "tests/unit/unit.h"
#include "util/buf.h"
#include "util/json.h"

static int check(const char *text)
{
    char *copy = strdup(text);
    int r = ulm_json_check(copy, strlen(copy), 4);
    free(copy);
    return r;
}

START_TEST(test_accepts_json)
{
    static const char *const good[] = {
        "{}", "[]", " [ ] ", "null", "true", "-0.5e+10", "0", "\"\"", "[1,2,[3,{\"a\":[]}]]",
        "{\"a\":1,\"a\":{\"b\":\"c\\n\\u00e9\\ud83d\\ude00\"}}\t\r\n", "\"na\xC3\xAFve\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(check(good[i]) == 0, "%s", good[i]);
}
END_TEST

START_TEST(test_refuses_the_rest)
{
    static const struct {
        const char *text;
        int result;
    } bad[] = {
        {"", -EINVAL},           {"{", -EINVAL},         {"{}x", -EINVAL},    {"{} {}", -EINVAL},
        {"[1,]", -EINVAL},       {"[,1]", -EINVAL},      {"{\"a\"}", -EINVAL}, {"{\"a\":}", -EINVAL},
        {"{\"a\":1,}", -EINVAL}, {"{a:1}", -EINVAL},     {"01", -EINVAL},     {"1.", -EINVAL},
        {"-", -EINVAL},          {"1e", -EINVAL},        {"tru", -EINVAL},    {"nul", -EINVAL},
        {"\"", -EINVAL},         {"\"\\\"", -EINVAL},    {"\"\\x\"", -EINVAL}, {"\"\\u12\"", -EINVAL},
        {"\"\\u0000\"", -EINVAL}, {"\"\n\"", -EINVAL},   {"[}", -EINVAL},     {"{]", -EINVAL},
        {"\"\x80\"", -EILSEQ},   {"[[[[[]]]]]", -E2BIG}, {"NaN", -EINVAL},    {"'a'", -EINVAL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(check(bad[i].text) == bad[i].result, "%s", bad[i].text);
}
END_TEST

/* cJSON reads 63 characters of a number and stumbles over the rest. */
START_TEST(test_a_number_is_at_most_63_characters)
{
    char text[128] = "[-1.";
    memset(text + 4, '5', 60);
    strcpy(text + 64, "]");
    ck_assert_int_eq(check(text), 0);
    strcpy(text + 64, "5]");
    ck_assert_int_eq(check(text), -EINVAL);
}
END_TEST

START_TEST(test_values_are_counted)
{
    size_t max = ULM_JSON_VALUES_MAX - 1; /* the array is one too */
    char *text = calloc(1, 2 * max + 8);
    for (size_t i = 0; i < max; i++)
        memcpy(text + 2 * i, i > 0 ? ",0" : "[0", 2);
    memcpy(text + 2 * max, "]", 2);
    ck_assert_int_eq(check(text), 0);
    memcpy(text + 2 * max, ",0]", 4);
    ck_assert_int_eq(check(text), -E2BIG);
    free(text);
}
END_TEST

START_TEST(test_lone_surrogates_become_the_replacement_character)
{
    char text[] = "[\"\\ud800\",\"\\udc00x\",\"\\ud800\\ud801\\udc01\"]";
    ck_assert_int_eq(ulm_json_check(text, strlen(text), 4), 0);
    ck_assert_str_eq(text, "[\"\\uFFFD\",\"\\uFFFDx\",\"\\uFFFD\\ud801\\udc01\"]");
}
END_TEST

START_TEST(test_escapes_strings)
{
    struct ulm_buf buf = ULM_BUF_INIT(64);
    ck_assert_int_eq(ulm_json_add_string(&buf, "a\"b\\c\nd\x01\x7F\xC3\xA9\xC2\x9B\xC2\xA0"), 0);
    ck_assert_str_eq(ulm_buf_str(&buf), "\"a\\\"b\\\\c\\nd\\u0001\\u007f\xC3\xA9\\u009b\xC2\xA0\"");
    size_t before = buf.len;
    ck_assert_int_eq(ulm_json_add_string(&buf, "0123456789012345678901234567890123456789"), -ENOBUFS);
    ck_assert_uint_eq(buf.len, before);
    ulm_buf_deinit(&buf);
}
END_TEST

UNIT_MAIN("json", test_accepts_json, test_refuses_the_rest,
          test_lone_surrogates_become_the_replacement_character, test_escapes_strings,
          test_a_number_is_at_most_63_characters, test_values_are_counted)
