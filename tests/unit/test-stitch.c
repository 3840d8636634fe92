/* SPDX-License-Identifier: MIT */
/* What joins is proven in test-join.c; here are the caps, the clock's part and the phrases. */
#include <string.h>

#include "core/echo.h"
#include "core/stitch.h"
#include "tests/unit/unit.h"
#include "util/buf.h"

START_TEST(test_no_event_splits_a_character)
{
    struct ulm_stitch s;
    struct ulm_buf ULM_CLEANUP_BUF out = ULM_BUF_INIT(100);
    const char *text = " na\xC3\xAFve \xF0\x9F\x98\x80!";
    ulm_stitch_init(&s, "So", true, true);
    for (const char *at = text; *at; at++) {
        ck_assert_int_eq(ulm_stitch_feed(&s, at, 1, &out), 0);
        ck_assert((unsigned char)*at < 0x80 || out.len == 0 || out.data[out.len - 1] != *at ||
                  ((unsigned char)at[1] & 0xC0) != 0x80);
    }
    ck_assert_str_eq(out.data, text);
}
END_TEST

START_TEST(test_full_in_whole_characters)
{
    for (size_t cap = 0; cap < 12; cap++) {
        for (size_t chunk = 1; chunk <= 12; chunk++) {
            struct ulm_stitch s;
            struct ulm_buf ULM_CLEANUP_BUF out = ULM_BUF_INIT(cap);
            const char *text = " \xC3\xAF\xF0\x9F\x98\x80\xE2\x82\xACxyz";
            size_t len = strlen(text);
            int r = 0;
            ulm_stitch_init(&s, "So", false, false);
            for (size_t at = 0; at < len && r == 0; at += chunk)
                r = ulm_stitch_feed(&s, text + at, chunk < len - at ? chunk : len - at, &out);
            static const size_t fits[] = {0, 1, 1, 3, 3, 3, 3, 7, 7, 7, 10, 11};
            ck_assert_int_eq(r, ULM_STITCH_FULL);
            ck_assert_uint_eq(out.len, fits[cap]);
        }
    }
}
END_TEST

START_TEST(test_more_than_can_be_held_is_let_out)
{
    for (size_t chunk = 1; chunk < 700; chunk += 97) {
        struct ulm_stitch s;
        struct ulm_buf ULM_CLEANUP_BUF out = ULM_BUF_INIT(4096);
        char text[2000];
        memset(text, 'y', sizeof text);
        memset(text, ' ', 1300); /* an echo cannot be told within this white space */
        memcpy(text, "very", 4);
        ulm_stitch_init(&s, "very good", true, true);
        for (size_t at = 0; at < sizeof text; at += chunk) {
            size_t n = chunk < sizeof text - at ? chunk : sizeof text - at;
            ck_assert_int_eq(ulm_stitch_feed(&s, text + at, n, &out), 0);
        }
        ck_assert_int_eq(ulm_stitch_end(&s, &out), 0);
        ck_assert_uint_eq(out.len, 1 + sizeof text);
        ck_assert_mem_eq(out.data + 1, text, sizeof text);
    }
}
END_TEST

START_TEST(test_time_lets_out_all_but_an_echo)
{
    struct ulm_stitch s;
    struct ulm_buf ULM_CLEANUP_BUF out = ULM_BUF_INIT(100);
    ulm_stitch_init(&s, "The capital of Peru is", true, true);
    ck_assert_int_eq(ulm_stitch_feed(&s, "  ", 2, &out), 0);
    ck_assert(!ulm_stitch_holds(&s));
    ck_assert_int_eq(ulm_stitch_feed(&s, "The capital", 11, &out), 0);
    ck_assert(ulm_stitch_holds(&s));
    ck_assert_int_eq(ulm_stitch_late(&s, &out), 0);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_int_eq(ulm_stitch_feed(&s, " city", 5, &out), 0);
    ck_assert_uint_eq(out.len, 0); /* it may be a reworded restart */
    ck_assert_int_eq(ulm_stitch_late(&s, &out), 0);
    ck_assert_str_eq(out.data, " The capital city");
    ck_assert(s.open && !s.restart);
}
END_TEST

START_TEST(test_bytes_that_are_no_utf8)
{
    struct ulm_stitch s;
    struct ulm_buf ULM_CLEANUP_BUF out = ULM_BUF_INIT(100);
    ulm_stitch_init(&s, "", false, false);
    ck_assert_int_eq(ulm_stitch_feed(&s,
                                     "a\xFF"
                                     "b\xC3",
                                     4, &out),
                     0);
    ck_assert_int_eq(ulm_stitch_end(&s, &out), 0);
    ck_assert_str_eq(out.data, "a\xEF\xBF\xBD"
                               "b");
}
END_TEST

START_TEST(test_phrases)
{
    static const struct {
        const char *before, *phrase, *joined;
    } rows[] = {
        {"The spiden is a", ", sorry, let me start again. ", ", sorry, let me start again. "},
        {"Well,", ", sorry, let me start again. ", " sorry, let me start again. "},
        {"Well,", "sorry, again.", " sorry, again."},
        {"Done.", ", sorry, let me start again. ", " Sorry, let me start again. "},
        {"", ", sorry, I can't.", "Sorry, I can't."},
        {"You can", "I'll need a connection.", "\xE2\x80\xA6 I'll need a connection."},
        {"Wait\xE2\x80\xA6", "I'll see.", " I'll see."},
        {"Wait...", "I'll see.", " I'll see."},
        {"You can", "\xE2\x80\xA6", "\xE2\x80\xA6"},
        {"\xE6\x9D\xB1\xE4\xBA\xAC\xE3\x80\x82", "\xE3\x81\x99", "\xE3\x81\x99"},
        {"You can", "", ""},
        {"You can", "  ", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ulm_buf ULM_CLEANUP_BUF out = ULM_BUF_INIT(100);
        ck_assert_int_eq(ulm_stitch_phrase(rows[i].before, rows[i].phrase, &out), 0);
        ck_assert_str_eq(ulm_buf_str(&out), rows[i].joined);
    }
}
END_TEST

START_TEST(test_sentence_ends)
{
    static const char *const whole[] = {"Yes.",
                                        "Who?",
                                        "He said \"stop!\"",
                                        "(Yes.) ",
                                        "\xE6\x99\xB4\xE3\x82\x8C\xE3\x80\x82",
                                        "\xE2\x80\x9CNo.\xE2\x80\x9D"};
    static const char *const open[] = {
        "", "Well,", "Wait...", "Wait\xE2\x80\xA6", "The capital is", "\"", "a;"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        ck_assert_msg(ulm_stitch_sentence_ends(whole[i]), "%s", whole[i]);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        ck_assert_msg(!ulm_stitch_sentence_ends(open[i]), "%s", open[i]);
}
END_TEST

/* Once the answer is yes or no, more text does not change it: what makes chunks not matter. */
START_TEST(test_echo_answers_stay)
{
    static const char *const texts[] = {
        "the capital of peru is Lima", "of Peru is Lima",       "The capitals",
        "The capital of Peru isn't",   "Peru is, well",         "is is is",
        "The capital of Peru is-ish",  "capital of Peru is it", "of Perus",
    };
    const char *opener = "The capital of Peru is";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t all = strlen(texts[i]), len = 0, want_len = 0;
        enum ulm_echo want = ulm_echo_find(opener, texts[i], all, false, &want_len);
        for (size_t n = 1; n < all; n++) {
            enum ulm_echo r = ulm_echo_find(opener, texts[i], n, false, &len);
            ck_assert(r == ULM_ECHO_MAYBE || (r == want && (r == ULM_ECHO_NO || len == want_len)));
        }
        for (size_t n = 1; n < all; n++) {
            enum ulm_echo r = ulm_echo_restart(opener, texts[i], n, false);
            ck_assert(r == ULM_ECHO_MAYBE || r == ulm_echo_restart(opener, texts[i], all, false));
        }
    }
}
END_TEST

UNIT_MAIN("stitch", test_no_event_splits_a_character, test_full_in_whole_characters,
          test_more_than_can_be_held_is_let_out, test_time_lets_out_all_but_an_echo,
          test_bytes_that_are_no_utf8, test_phrases, test_sentence_ends, test_echo_answers_stay)
