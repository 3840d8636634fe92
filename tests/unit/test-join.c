/* SPDX-License-Identifier: MIT */
/*
 * Ten thousand hand-offs made by chance from classes whose joint is known by construction: the
 * expected answer is put together from the pieces, not computed from the text. Each is played
 * whole, byte by byte and in pieces, through core itself, and compared with the whole-string
 * oracle too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/core_world.h"
#include "tests/unit/join_oracle.h"
#include "tests/unit/unit.h"

enum { PAIRS = 10000, TEXT = 2048 };

/* SEED in the environment plays other pairs. */
static unsigned seed;

static unsigned chance(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

#define PICK(array_) ((array_)[chance(sizeof(array_) / sizeof *(array_))])

static const char *const openers[] = {
    "The capital of Peru is",
    "It looks like you could",
    "One good way to start,",
    "For a bowline you first",
    "That \xE2\x80\x9Cquick\xE2\x80\x9D recipe needs",
    "Don't worry about the rust",
    "In the evening it will be;",
    "Well, the nearest station has:",
    "Sure, basil likes its",
    "\xD9\x8A\xD9\x85\xD9\x83\xD9\x86\xD9\x83 \xD8\xA3\xD9\x86 \xD8\xAA\xD8\xA8\xD8\xAF\xD8\xA3 "
    "\xD8\xA8",
    "\xE6\x9D\xB1\xE4\xBA\xAC\xE3\x81\xAE\xE5\xA4\xA9\xE6\xB0\x97\xE3\x81\xAF",
    "\xE0\xB8\xA7\xE0\xB8\xB1\xE0\xB8\x99\xE0\xB8\x99\xE0\xB8\xB5\xE0\xB9\x89",
    "Here is a smile \xF0\x9F\x98\x80",
    "Man kann die Kette zuerst",
    "\xD0\x9C\xD0\xBE\xD0\xB6\xD0\xBD\xD0\xBE \xD0\xBD\xD0\xB0\xD1\x87\xD0\xB0\xD1\x82\xD1\x8C "
    "\xD1\x81",
    "Tu peux commencer par",
    "It is \"very good\" and",
    "You're going to want a well",
};

/* How a continuation begins, and what stands between it and an opener that ends in a letter. */
struct begin {
    const char *text;  /* as the cloud writes it */
    const char *joint; /* between opener and `shown` */
    const char *shown;
    bool clause; /* begins with , ; or : */
};

static const struct begin begins[] = {
    {"zest", " ", "zest", false},
    {"Zest", " ", "Zest", false},
    {" zest", " ", "zest", false},
    {"  \t zest", " ", "zest", false},
    {"\nzest", "\n", "zest", false},
    {"\n\n- zest", "\n", "- zest", false},
    {"\r\n1. zest", "\n", "1. zest", false},
    {", zest", "", ", zest", true},
    {"; zest", "", "; zest", true},
    {": zest", "", ": zest", true},
    {".", "", ".", false},
    {"!", "", "!", false},
    {"? Zest", "", "? Zest", false},
    {") zest", "", ") zest", false},
    {"% of it", "", "% of it", false},
    {"\xE2\x80\xA6 zest", "", "\xE2\x80\xA6 zest", false},
    {"\xE2\x80\x9D zest", "", "\xE2\x80\x9D zest", false},
    {"\xE2\x80\x99s zest", "", "\xE2\x80\x99s zest", false},
    {"'s zest", "", "'s zest", false},
    {"'ll zest", "", "'ll zest", false},
    {"'round zest", " ", "'round zest", false},
    {"'zest'", " ", "'zest'", false},
    {"\"zest\" it", " ", "\"zest\" it", false},
    {"\xE2\x80\x9Czest\xE2\x80\x9D", " ", "\xE2\x80\x9Czest\xE2\x80\x9D", false},
    {"(zest)", " ", "(zest)", false},
    {"42 zests", " ", "42 zests", false},
    {"\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD zest", " ", "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD zest", false},
    {"\xE6\x99\xB4\xE3\x82\x8C\xE3\x81\xA7\xE3\x81\x99", "",
     "\xE6\x99\xB4\xE3\x82\x8C\xE3\x81\xA7\xE3\x81\x99", false},
    {"\xE3\x80\x81 zest", "", "\xE3\x80\x81 zest", false},
    {"\xE0\xB8\xAD\xE0\xB8\xB2\xE0\xB8\x81\xE0\xB8\xB2\xE0\xB8\xA8", "",
     "\xE0\xB8\xAD\xE0\xB8\xB2\xE0\xB8\x81\xE0\xB8\xB2\xE0\xB8\xA8", false},
    {"\xD8\xA7\xD9\x84\xD9\x85\xD8\xA7\xD8\xA1", " ", "\xD8\xA7\xD9\x84\xD9\x85\xD8\xA7\xD8\xA1",
     false},
    {"\xD8\x8C \xD8\xAB\xD9\x85", "", "\xD8\x8C \xD8\xAB\xD9\x85", false},
    {"\xC3\x89t\xC3\xA9", " ", "\xC3\x89t\xC3\xA9", false},
    {"- zest", " ", "- zest", false},
};

static const char *const rests[] = {
    " and more of it.",
    " then [[redo]] is only text.",
    "  two  spaces stay.\n\n- and lists\n",
    " \xF0\x9F\x98\x80\xEF\xB8\x8F, \xE2\x80\x94 yes.",
    "",
    " <|im_end|> stays [[ok]]",
    " \xE4\xBD\xA0\xE5\xA5\xBD\xE3\x80\x82",
    " 3.5 kg; 20 % off \"now\".",
};

struct tag {
    const char *text;
    const char *verdict;
};

static const struct tag tags[] = {
    {"[[ok]] ", "ok"},
    {"[[OK]]\n", "ok"},
    {"[[Ok]]", "ok"},
    {"\n[[ok]] ", "ok"},
    {" [[oK]]\r\n", "ok"},
    {"```\n[[ok]] ", "ok"},
    {"```text [[ok]] ", "ok"},
    {"[[pivot]] ", "pivot"},
    {"[[PIVOT]]\n", "pivot"},
    {"[[fix]] ", "fix"},
    {"[[Fix]]", "fix"},
    {"[[bridge]] ", "pivot"},
    {"[[x]]", "pivot"},
    {"[[abcdefghijkl]] ", "pivot"},
    {"", "null"},
    {"", "null"},
};

enum echo { ECHO_NONE, ECHO_FULL, ECHO_PARTIAL, ECHO_KINDS };

static void append(char *text, const char *more)
{
    size_t len = strlen(text);
    ck_assert_uint_lt(len + strlen(more), TEXT);
    memcpy(text + len, more, strlen(more) + 1);
}

static bool ends_in_clause_mark(const char *text)
{
    return *text && strchr(",;:", text[strlen(text) - 1]);
}

static bool is_unspaced_opener(const char *text)
{
    return (unsigned char)*text == 0xE6 || (unsigned char)*text == 0xE0;
}

/* The opener again in other letters: ASCII case, white space and quotes vary. */
static void append_varied(char *text, const char *said)
{
    size_t at = strlen(text);
    for (; *said; said++) {
        ck_assert_uint_lt(at + 4, TEXT);
        if (*said == ' ') {
            for (unsigned i = 0; i < 1 + chance(2); i++)
                text[at++] = chance(8) > 0 ? ' ' : '\n';
        } else if (*said == '"') {
            memcpy(text + at, "\xE2\x80\x9C", 3);
            at += 3;
        } else if (*said == '\'') {
            memcpy(text + at, "\xE2\x80\x99", 3);
            at += 3;
        } else if ((*said | 32) >= 'a' && (*said | 32) <= 'z' && chance(4) == 0) {
            text[at++] = (char)(*said ^ 32);
        } else {
            text[at++] = *said;
        }
    }
    text[at] = '\0';
}

/* The last words of the opener, two at least; "" where it has not so many. */
static const char *some_last_words(const char *opener)
{
    const char *starts[32];
    size_t n = 0;
    for (const char *at = opener; *at; at++) {
        if (at == opener || at[-1] == ' ')
            starts[n++] = at;
    }
    return n < 3 ? "" : starts[1 + chance((unsigned)n - 2)];
}

struct pair {
    const char *opener, *verdict;
    char text[TEXT], answer[TEXT];
};

static void make_pair(struct pair *pair)
{
    const struct tag *tag = &PICK(tags);
    const struct begin *begin = &PICK(begins);
    pair->opener = PICK(openers);
    pair->verdict = tag->verdict;
    snprintf(pair->text, TEXT, "%s", tag->text);
    snprintf(pair->answer, TEXT, "%s", pair->opener);

    /* A tag without its space takes one from the text: then the text must not begin with one. */
    size_t tag_len = strlen(tag->text);
    bool bare = tag_len > 0 && tag->text[tag_len - 1] == ']';
    while (bare && strchr(" \r\n", *begin->text))
        begin = &PICK(begins);

    enum echo echo = chance(2) ? ECHO_NONE : (enum echo)chance(ECHO_KINDS);
    const char *again = echo == ECHO_FULL      ? pair->opener
                        : echo == ECHO_PARTIAL ? some_last_words(pair->opener)
                                               : "";
    if (*again) {
        append_varied(pair->text, again);
        /* Behind a whole word only what ends the word shows that it was one. */
        while (!is_unspaced_opener(pair->opener) && !*begin->joint && !begin->clause &&
               strcmp(begin->text, ".") != 0)
            begin = &PICK(begins);
        if (strcmp(begin->joint, " ") == 0 && *begin->text != ' ' &&
            !is_unspaced_opener(pair->opener))
            append(pair->text, " ");
    }
    append(pair->text, begin->text);

    if (begin->clause && ends_in_clause_mark(pair->opener)) {
        append(pair->answer, begin->shown + 1); /* its own comma goes, its space joins */
    } else {
        bool space = *begin->text == ' ' || *begin->text == '\n' || *begin->text == '\r';
        append(pair->answer, is_unspaced_opener(pair->opener) && !space ? "" : begin->joint);
        append(pair->answer, begin->shown);
    }
    const char *rest = PICK(rests);
    append(pair->text, rest);
    append(pair->answer, rest);
}

static void check(const struct pair *pair, const char *how, const struct hand_off *got)
{
    if (strcmp(got->answer, pair->answer) != 0 || strcmp(got->verdict, pair->verdict) != 0)
        ck_abort_msg("%s\nopener <%s>\ntext   <%s>\nwanted %s <%s>\ngot    %s <%s>", how,
                     pair->opener, pair->text, pair->verdict, pair->answer, got->verdict,
                     got->answer);
}

static void start_chance(void)
{
    const char *given = getenv("SEED");
    seed = given ? (unsigned)atoi(given) : 20260422;
}

START_TEST(test_pairs_made_of_known_pieces)
{
    start_chance();
    static struct pair pair;
    static struct oracle oracle;
    for (int i = 0; i < PAIRS; i++) {
        make_pair(&pair);
        for (unsigned cut = 0; cut < 5; cut++) {
            struct hand_off got = world_hand_off(pair.opener, pair.text, true, cut);
            check(&pair, cut == 0 ? "whole" : cut == 1 ? "by bytes" : "in pieces", &got);
        }
        oracle_join(pair.opener, pair.text, true, &oracle);
        check(&pair, "oracle", &(struct hand_off){oracle.verdict, oracle.answer});
    }
}
END_TEST

/* Texts from pieces that are near echoes, cut tags, marks: only the oracle knows the answer. */
static void make_wild_text(char *text, const char *opener)
{
    static const char *const pieces[] = {
        "[[",
        "]]",
        "[[fix",
        "[[redo]]",
        "[[ok]]",
        "```",
        " ",
        "\n",
        ",",
        "'",
        "'s",
        "the ",
        "very ",
        "\xE2\x80\x99",
        "\xE2\x80\xA6",
        ".",
        "-",
        "\xE6\x9D\xB1",
        "\xE0\xB8\xA7",
        "x",
        "ll ",
        ";",
    };
    *text = '\0';
    for (unsigned n = chance(8); n > 0; n--) {
        if (chance(3) > 0) {
            append(text, PICK(pieces));
            continue;
        }
        size_t len = strlen(opener), from = chance((unsigned)len),
               to = from + chance((unsigned)len);
        while (from > 0 && ((unsigned char)opener[from] & 0xC0) == 0x80)
            from--;
        while (to < len && ((unsigned char)opener[to] & 0xC0) == 0x80)
            to++;
        char piece[TEXT];
        snprintf(piece, TEXT, "%.*s", (int)((to < len ? to : len) - from), opener + from);
        append(text, piece);
    }
}

START_TEST(test_wild_texts_agree_with_the_oracle)
{
    start_chance();
    static char text[TEXT];
    static struct oracle oracle;
    for (int i = 0; i < PAIRS; i++) {
        const char *opener = PICK(openers);
        bool retractable = chance(2);
        make_wild_text(text, opener);
        oracle_join(opener, text, retractable, &oracle);
        for (unsigned cut = 0; cut < 3; cut++) {
            struct hand_off got = world_hand_off(opener, text, retractable, cut);
            bool same = oracle.empty ? strncmp(got.answer, opener, strlen(opener)) == 0
                                     : strcmp(got.answer, oracle.answer) == 0;
            if (!same || strcmp(got.verdict, oracle.verdict) != 0)
                ck_abort_msg("%s, cut %u\nopener <%s>\ntext   <%s>\nwanted %s <%s>\ngot    %s <%s>",
                             retractable ? "display" : "speech", cut, opener, text, oracle.verdict,
                             oracle.empty ? "(nothing)" : oracle.answer, got.verdict, got.answer);
        }
    }
}
END_TEST

/* Hand-offs in plain language, that a reader can judge. */
START_TEST(test_hand_offs_to_read)
{
    char path[4096], line[4096];
    snprintf(path, sizeof path, "%s/hand-offs.tsv", getenv("DATA"));
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    int rows = 0;
    while (fgets(line, sizeof line, file)) {
        enum { MEDIUM, REQUEST, OPENER, CLOUD, VERDICT, ANSWER, COLUMNS };
        char *column[COLUMNS] = {line}, *rest = line;
        if (*line == '#')
            continue;
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < COLUMNS; i++)
            column[i] = strsep(&rest, "\t");
        ck_assert_ptr_nonnull(column[ANSWER]);
        for (unsigned cut = 0; cut < 3; cut++) {
            bool retractable = strcmp(column[MEDIUM], "display") == 0;
            struct hand_off got = world_hand_off(column[OPENER], column[CLOUD], retractable, cut);
            ck_assert_str_eq(got.answer, column[ANSWER]);
            ck_assert_str_eq(got.verdict, column[VERDICT]);
        }
        rows++;
    }
    fclose(file);
    ck_assert_int_ge(rows, 50);
}
END_TEST

UNIT_MAIN("join", test_hand_offs_to_read, test_pairs_made_of_known_pieces,
          test_wild_texts_agree_with_the_oracle)
