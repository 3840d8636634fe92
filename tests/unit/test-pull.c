/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "client/pull.h"
#include "tests/unit/unit.h"
#include "util/buf.h"
#include "util/json.h"

static struct ulm_pull checked(char *text)
{
    ck_assert_int_eq(ulm_json_check(text, strlen(text), 32), 0);
    return ulm_pull_text(text, strlen(text));
}

START_TEST(test_members)
{
    char text[] = " {\"a\" : 1 , \"b\":{\"a\":[2,\"}\\\"]\"]} ,\"\\u0063\":\"x\",\"a\":-2.5e1}";
    struct ulm_pull object = checked(text);
    ck_assert_int_eq(ulm_pull_kind(object), '{');
    ck_assert(ulm_pull_number(ulm_pull_member(object, "a"), 0) == -25.0); /* the last counts */
    ck_assert(ulm_pull_is(ulm_pull_member(object, "c"), "x"));
    ck_assert_int_eq(ulm_pull_kind(ulm_pull_member(object, "d")), 0);
    struct ulm_pull inner = ulm_pull_member(object, "b");
    ck_assert_int_eq(ulm_pull_kind(inner), '{');
    struct ulm_pull_walk walk = ulm_pull_walk(ulm_pull_member(inner, "a"));
    struct ulm_pull key, value;
    ck_assert(ulm_pull_next(&walk, &key, &value));
    ck_assert(ulm_pull_number(value, 0) == 2.0);
    ck_assert(ulm_pull_next(&walk, &key, &value));
    ck_assert(ulm_pull_is(value, "}\"]"));
    ck_assert(!ulm_pull_next(&walk, &key, &value));
}
END_TEST

START_TEST(test_strings)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"\"\"", ""},
        {"\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", "a\n\t\"\\/\b\f\r"},
        {"\"\\u00e9\\u20AC\\uD83D\\uDE00\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\"\\ud800x\"", "\xEF\xBF\xBDx"},
        {"\"\xC3\xA9\"", "\xC3\xA9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64], copy[64];
        (void)snprintf(text, sizeof text, "%s", cases[i].json);
        struct ulm_pull string = checked(text);
        ck_assert_uint_eq(ulm_pull_copy(string, copy), strlen(cases[i].text));
        ck_assert_str_eq(copy, cases[i].text);
        ck_assert(ulm_pull_is(string, cases[i].text));
        ck_assert(!ulm_pull_is(string, "other"));
        ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(64);
        ck_assert_int_eq(ulm_pull_add(string, &buf), 0);
        ck_assert_str_eq(ulm_buf_str(&buf), cases[i].text);
    }
}
END_TEST

START_TEST(test_numbers)
{
    static const struct {
        const char *json;
        double value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"12", 12},
        {"31.25", 31.25},
        {"-0.5", -0.5},
        {"1e3", 1000},
        {"25E-1", 2.5},
        {"123456789012345", 123456789012345.0},
        {"0e999999999", 0},
        {"100000000000000000000", 1e20},
        {"0.00000000000000000000000001", 1e-26},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s", cases[i].json);
        double value = ulm_pull_number(checked(text), 7);
        ck_assert_msg(value >= cases[i].value -
                                   1e-9 * (cases[i].value < 0 ? -cases[i].value : cases[i].value) &&
                          value <= cases[i].value * (cases[i].value < 0 ? 1 : 1 + 1e-9) + 1e-30,
                      "%s is read as %.17g", cases[i].json, value);
    }
    char word[] = "null", huge[] = "1e999999999";
    ck_assert(ulm_pull_number(checked(word), 7) == 7.0);
    ck_assert(ulm_pull_number(checked(huge), 7) >= 1e300);
}
END_TEST

START_TEST(test_empty_containers)
{
    char text[] = "[{},[ ],\"\",1]";
    struct ulm_pull_walk walk = ulm_pull_walk(checked(text));
    struct ulm_pull key, value;
    static const char kinds[] = "{[\"0";
    for (size_t i = 0; i < 4; i++) {
        ck_assert(ulm_pull_next(&walk, &key, &value));
        ck_assert_int_eq(ulm_pull_kind(value), kinds[i]);
        struct ulm_pull_walk inner = ulm_pull_walk(value);
        struct ulm_pull k, v;
        ck_assert(!ulm_pull_next(&inner, &k, &v));
    }
    ck_assert(!ulm_pull_next(&walk, &key, &value));
}
END_TEST

UNIT_MAIN("pull", test_members, test_strings, test_numbers, test_empty_containers)
