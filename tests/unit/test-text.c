/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "util/text.h"

START_TEST(test_every_scalar_value_round_trips)
{
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF)
            continue;
        char bytes[4];
        size_t n = ulm_utf8_encode(code, bytes);
        uint32_t back = 0;
        /* A million assertions through check would take seconds: only a failure goes there. */
        if (ulm_utf8_decode(bytes, n, &back) != (int)n || back != code)
            ck_abort_msg("U+%04X does not round-trip", code);
        for (size_t cut = 1; cut < n; cut++) {
            if (ulm_utf8_decode(bytes, cut, &back) != 0)
                ck_abort_msg("U+%04X cut to %zu bytes", code, cut);
        }
    }
}
END_TEST

START_TEST(test_invalid_forms_are_refused)
{
    static const char *const bad[] = {
        "\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF0\x80\x80\xAF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x28\xA1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t code;
        ck_assert_int_eq(ulm_utf8_decode(bad[i], strlen(bad[i]), &code), -EILSEQ);
        ck_assert(!ulm_utf8_valid(bad[i], strlen(bad[i])));
    }
}
END_TEST

START_TEST(test_counts)
{
    const char *text = "na\xC3\xAFve \xF0\x9F\x98\x80";
    ck_assert_uint_eq(ulm_utf8_count(text, strlen(text)), 7);
    ck_assert_uint_eq(ulm_utf8_whole(text, strlen(text) - 1), strlen(text) - 4);
    ck_assert_uint_eq(ulm_utf8_last(text, strlen(text)), strlen(text) - 4);
    ck_assert_uint_eq(ulm_utf8_last("", 0), 0);
    ck_assert_uint_eq(ulm_count_words(""), 0);
    ck_assert_uint_eq(ulm_count_words(" The capital\tof  Peru is "), 5);
}
END_TEST

START_TEST(test_what_a_terminal_would_act_on_is_tamed)
{
    char text[] = "a\x1B[31mb\r\n\tc\x7F \xC2\x9B" "2J \xC3\x9B \xC2\xA0 na\xC3\xAFve";
    ulm_tame(text);
    ck_assert_str_eq(text, "a?[31mb???c? ??2J \xC3\x9B \xC2\xA0 na\xC3\xAFve");
}
END_TEST

UNIT_MAIN("text", test_every_scalar_value_round_trips, test_invalid_forms_are_refused, test_counts,
          test_what_a_terminal_would_act_on_is_tamed)
