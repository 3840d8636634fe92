/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/verdict.h"
#include "tests/unit/unit.h"

struct row {
    const char *text;
    enum ulm_tag tag;
    const char *rest;
};

static const struct row rows[] = {
    {"[[ok]] Lima", ULM_TAG_OK, "Lima"},
    {"[[OK]]\nLima", ULM_TAG_OK, "Lima"},
    {"[[pIVot]]\r\nLima", ULM_TAG_PIVOT, "Lima"},
    {"[[pivot]]\rLima", ULM_TAG_PIVOT, "Lima"},
    {"[[fix]]  , no", ULM_TAG_FIX, " , no"},
    {"[[fix]], no", ULM_TAG_FIX, ", no"},
    {"[[redo]]", ULM_TAG_REDO, ""},
    {"\n [[redo]] x", ULM_TAG_REDO, "x"},
    {"```[[ok]] x", ULM_TAG_OK, "x"},
    {"```md\n[[ok]]\nx", ULM_TAG_OK, "x"},
    {"[[bridge]] x", ULM_TAG_UNKNOWN, "x"},
    {"[[abcdefghijkl]]x", ULM_TAG_UNKNOWN, "x"},
    {"[[abcdefghijklm]]x", ULM_TAG_MISSING, "[[abcdefghijklm]]x"},
    {"[[]] x", ULM_TAG_MISSING, "[[]] x"},
    {"[[ok] ] x", ULM_TAG_MISSING, "[[ok] ] x"},
    {"[[o k]] x", ULM_TAG_MISSING, "[[o k]] x"},
    {"[[ok2]] x", ULM_TAG_MISSING, "[[ok2]] x"},
    {"[ok] x", ULM_TAG_MISSING, "[ok] x"},
    {"``[[ok]] x", ULM_TAG_MISSING, "``[[ok]] x"},
    {"````[[ok]] x", ULM_TAG_MISSING, "````[[ok]] x"},
    {"x [[ok]] y", ULM_TAG_MISSING, "x [[ok]] y"},
    {"                [[ok]] x", ULM_TAG_OK, "x"},
    {"                 [[ok]] x", ULM_TAG_MISSING, "                 [[ok]] x"},
    {"```abcdefghijklmnop[[ok]] x", ULM_TAG_MISSING, "```abcdefghijklmnop[[ok]] x"},
    {"[[fix", ULM_TAG_MISSING, ""}, /* cut off by the end */
    {"[[fix]", ULM_TAG_MISSING, ""},
    {"[", ULM_TAG_MISSING, "["},
    {"", ULM_TAG_MISSING, ""},
};

static void play(const struct row *row, size_t first, size_t chunk)
{
    struct ulm_verdict_matcher m;
    char rest[128] = "";
    ulm_verdict_init(&m);
    size_t len = strlen(row->text);
    for (size_t at = 0; at < len;) {
        size_t n = at == 0 ? first : chunk;
        n = n < len - at ? n : len - at;
        /* A block of its own, so that reading beyond the piece is seen. */
        char *piece = malloc(n);
        memcpy(piece, row->text + at, n);
        bool before = ulm_verdict_decided(&m);
        size_t used = ulm_verdict_feed(&m, piece, n);
        ck_assert(!before || used == 0);
        if (ulm_verdict_decided(&m)) {
            if (!before)
                strncat(rest, m.held, m.n_held);
            strncat(rest, piece + used, n - used);
        } else {
            ck_assert_uint_eq(used, n);
        }
        free(piece);
        at += n;
    }
    if (!ulm_verdict_decided(&m)) {
        ulm_verdict_end(&m);
        strncat(rest, m.held, m.n_held);
    }
    ck_assert_msg(m.tag == row->tag, "<%s>: tag %d", row->text, m.tag);
    ck_assert_msg(strcmp(rest, row->rest) == 0, "<%s>: rest <%s>", row->text, rest);
}

START_TEST(test_every_split_of_every_row)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].text);
        play(&rows[i], len, len);
        play(&rows[i], 1, 1);
        for (size_t split = 1; split < len; split++)
            play(&rows[i], split, len);
    }
}
END_TEST

START_TEST(test_released_bytes_are_text)
{
    struct ulm_verdict_matcher m;
    ulm_verdict_init(&m);
    ck_assert_uint_eq(ulm_verdict_feed(&m, "```\n", 4), 4);
    ck_assert(ulm_verdict_holds_fence(&m) && !ulm_verdict_holds_tag(&m));
    ck_assert_uint_eq(ulm_verdict_feed(&m, "[[re", 4), 4);
    ck_assert(ulm_verdict_holds_tag(&m) && !ulm_verdict_holds_fence(&m));
    ulm_verdict_release(&m);
    ck_assert_int_eq(m.tag, ULM_TAG_MISSING);
    ck_assert_uint_eq(m.n_held, 8);
    ck_assert_mem_eq(m.held, "```\n[[re", 8);
    ck_assert_uint_eq(ulm_verdict_feed(&m, "do]]", 4), 0);
}
END_TEST

/* Where no tag was asked for. */
START_TEST(test_only_known_tags)
{
    static const struct {
        const char *text;
        enum ulm_tag tag;
        const char *rest;
    } only[] = {
        {"[[ok]] so", ULM_TAG_OK, "so"},
        {" ```\n[[Redo]]\nso", ULM_TAG_REDO, "so"},
        {"[[note]] so", ULM_TAG_MISSING, "[[note]] so"},
        {"`[[note]] so", ULM_TAG_MISSING, "`[[note]] so"},
        {"[[note", ULM_TAG_MISSING, "[[note"},
        {"[[note]", ULM_TAG_MISSING, "[[note]"},
    };
    for (size_t i = 0; i < sizeof only / sizeof *only; i++) {
        for (size_t split = 1; split <= strlen(only[i].text); split++) {
            struct ulm_verdict_matcher m;
            char rest[64] = "";
            size_t used = 0;
            ulm_verdict_init(&m);
            m.known_only = true;
            for (size_t end = split; used < end && !ulm_verdict_decided(&m);
                 end = strlen(only[i].text))
                used += ulm_verdict_feed(&m, only[i].text + used, end - used);
            ulm_verdict_end(&m);
            strncat(strncat(rest, m.held, m.n_held), only[i].text + used, 40);
            ck_assert_int_eq(m.tag, only[i].tag);
            ck_assert_str_eq(rest, only[i].rest);
        }
    }
}
END_TEST

UNIT_MAIN("verdict", test_every_split_of_every_row, test_released_bytes_are_text,
          test_only_known_tags)
