/* SPDX-License-Identifier: MIT */
/* The words of a request, in every form in which an opener may take them up. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/guard.h"
#include "util/text.h"
#include "util/unicode.h"

#define WORD_MAX 96 /* bytes of a word that is worth taking up */

static const char *const small_numbers[] = {
    "zero",     "one",     "two",     "three",     "four",     "five",     "six",
    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
};
static const char *const tens[] = {"twenty", "thirty",  "forty",  "fifty",
                                   "sixty",  "seventy", "eighty", "ninety"};
static const struct {
    const char *word;
    int value;
} large_numbers[] = {{"hundred", 100},        {"thousand", 1000},       {"million", 1000000},
                     {"billion", 1000000000}, {"trillion", 2000000000}, {"dozen", 12},
                     {"hundreds", 100},       {"thousands", 1000},      {"millions", 1000000}};

static bool same(const char *name, const char *word, size_t len)
{
    return strlen(name) == len && !memcmp(name, word, len);
}

int ulm_number_word(const char *word, size_t len)
{
    for (int i = 0; i < (int)(sizeof small_numbers / sizeof *small_numbers); i++) {
        if (same(small_numbers[i], word, len))
            return i;
    }
    for (int i = 0; i < 8; i++) {
        if (same(tens[i], word, len))
            return 20 + 10 * i;
    }
    for (size_t i = 0; i < sizeof large_numbers / sizeof *large_numbers; i++) {
        if (same(large_numbers[i].word, word, len))
            return large_numbers[i].value;
    }
    return -1;
}

enum form {
    FORM_LOWER,
    FORM_TITLE,
    FORM_UPPER,
};

static int add_form(struct ulm_words *said, const char *word, size_t len, enum form form)
{
    char out[4 * WORD_MAX];
    size_t n = 0;
    bool first = true;
    if (len > WORD_MAX)
        return 0;
    for (size_t i = 0; i < len;) {
        uint32_t code;
        int used = ulm_utf8_decode(word + i, len - i, &code);
        if (used <= 0)
            return 0;
        i += (size_t)used;
        code = form == FORM_UPPER || (form == FORM_TITLE && first) ? ulm_to_upper(code)
                                                                   : ulm_to_lower(code);
        if (ulm_is_letter(code))
            first = false;
        n += ulm_utf8_encode(code, out + n);
    }
    return ulm_words_add(said, out, n);
}

/* Common words that are as often a language, a country, a month or a person. */
static bool is_also_name(const char *word, size_t len)
{
    static const char *const names[] = {"polish", "turkey", "china", "march", "may",  "august",
                                        "mark",   "rose",   "grace", "jack",  "bill", "frank"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (same(names[i], word, len))
            return true;
    }
    return false;
}

/* A common word keeps its small letters inside a sentence; of another, that may be a name, the
 * capital is likely what is wanted. */
static int add_forms(struct ulm_guard *guard, const char *word, size_t len)
{
    struct ulm_words *said = &guard->said;
    if (!len || len > WORD_MAX)
        return 0;
    int r = ulm_words_add(said, word, len);
    if (r == 0)
        r = add_form(said, word, len, FORM_LOWER);
    const struct ulm_words_entry *lower = &said->entries[said->n - 1];
    bool common = ulm_words_has(&guard->lexicon, said->bytes + lower->at, lower->len) &&
                  !is_also_name(said->bytes + lower->at, lower->len);
    if (r == 0 && !common)
        r = add_form(said, word, len, FORM_TITLE);
    return r < 0 || common || len > 4 ? r : add_form(said, word, len, FORM_UPPER);
}

static int add_number(struct ulm_guard *guard, int value)
{
    char digits[16];
    int r = 0;
    snprintf(digits, sizeof digits, "%d", value);
    if (value < 20)
        r = add_forms(guard, small_numbers[value], strlen(small_numbers[value]));
    else if (value < 100 && value % 10 == 0)
        r = add_forms(guard, tens[value / 10 - 2], strlen(tens[value / 10 - 2]));
    return r < 0 || value > 100 ? r : add_forms(guard, digits, strlen(digits));
}

/* "ten" may come back as "10", and "10" as "ten". */
static int add_equal_number(struct ulm_guard *guard, const char *word, size_t len)
{
    char lower[WORD_MAX];
    if (!len || len >= sizeof lower)
        return 0;
    for (size_t i = 0; i < len; i++)
        lower[i] = (char)((unsigned char)word[i] < 0x80 ? ulm_to_lower((unsigned char)word[i])
                                                        : (unsigned char)word[i]);
    lower[len] = '\0';
    int value = ulm_number_word(lower, len);
    if (value < 0 && len <= 3) {
        char *end;
        long number = strtol(lower, &end, 10);
        if (!*end && lower[0] >= '0' && lower[0] <= '9' && number <= 100)
            value = (int)number;
    }
    return value < 0 ? 0 : add_number(guard, value);
}

enum kind {
    KIND_OTHER,
    KIND_LETTER,
    KIND_NUMBER,
};

static enum kind kind_at(const char *p, size_t len, size_t *ret_used)
{
    uint32_t code;
    int used = ulm_utf8_decode(p, len, &code);
    *ret_used = used > 0 ? (size_t)used : 1;
    if (used <= 0)
        return KIND_OTHER;
    if (ulm_is_letter(code) || (code >= 0x300 && code < 0x370) || code == '\'' || code == 0x2019)
        return KIND_LETTER;
    return ulm_is_number(code) ? KIND_NUMBER : KIND_OTHER;
}

/* Bytes of the run of one kind at the start of p. A sign between two digits belongs to the
 * figure: half of "7:30" or "2.5" would be another figure. */
static size_t run_of(const char *p, size_t len, enum kind kind)
{
    size_t n = 0, used, next;
    while (n < len) {
        enum kind here = kind_at(p + n, len - n, &used);
        if (here != kind) {
            if (kind != KIND_NUMBER || here != KIND_OTHER || n + used >= len ||
                kind_at(p + n + used, len - n - used, &next) != KIND_NUMBER)
                break;
        }
        n += used;
    }
    return n;
}

/* Parts of one chunk between spaces: "7:30am" gives "7:30" and "am", "well-known" both its words.
 */
static int add_parts(struct ulm_guard *guard, const char *chunk, size_t len)
{
    int r = 0;
    size_t used;
    while (r == 0 && len) {
        enum kind kind = kind_at(chunk, len, &used);
        const char *part = chunk;
        size_t run = run_of(chunk, len, kind), n = run;
        chunk += run;
        len -= run;
        if (kind == KIND_OTHER)
            continue;
        /* Quotation marks are no part of the word; the apostrophe inside is. */
        while (n && *part == '\'') {
            part++;
            n--;
        }
        while (n && part[n - 1] == '\'')
            n--;
        r = add_forms(guard, part, n);
        if (r == 0 && kind == KIND_LETTER)
            r = add_form(&guard->twice, part, n, FORM_LOWER);
        if (r == 0)
            r = add_equal_number(guard, part, n);
        if (r == 0 && n > 2 && !memcmp(part + n - 2, "'s", 2))
            r = add_forms(guard, part, n - 2);
    }
    return r;
}

static bool is_outer(char c)
{
    return c && strchr(",;:.!?()[]{}<>\"'`*_~|", c);
}

static int add_text(struct ulm_guard *guard, const char *text)
{
    int r = 0;
    while (r == 0 && *text) {
        size_t n = strcspn(text, " \t\r\n\v\f");
        const char *chunk = text;
        size_t len = n;
        text += n + (text[n] != '\0');
        /* "e.g." and "Inc." may keep their stop. */
        if (len > 2 && chunk[len - 1] == '.' && memchr(chunk, '.', len - 1))
            r = add_forms(guard, chunk, len);
        while (len && is_outer(*chunk)) {
            chunk++;
            len--;
        }
        while (len && is_outer(chunk[len - 1]))
            len--;
        if (r == 0)
            r = add_forms(guard, chunk, len);
        if (r == 0)
            r = add_parts(guard, chunk, len);
    }
    return r;
}

int ulm_guard_prepare(struct ulm_guard *guard, bool on, const struct ulm_prompt *prompt,
                      const char *opener)
{
    ulm_guard_forget(guard);
    guard->on = on;
    if (!on)
        return 0;
    int r = add_text(guard, prompt->text);
    for (size_t i = 0; r == 0 && i < prompt->n_facts; i++)
        r = add_text(guard, prompt->facts[i]);
    for (size_t i = 0; r == 0 && i < prompt->n_history; i++)
        r = add_text(guard, prompt->history[i].content);
    if (r == 0 && opener)
        r = add_text(guard, opener);
    ulm_words_seal(&guard->said);
    ulm_words_seal_doubles(&guard->twice);
    return r;
}

void ulm_guard_forget(struct ulm_guard *guard)
{
    ulm_words_clear(&guard->said);
    ulm_words_clear(&guard->twice);
}

void ulm_guard_deinit(struct ulm_guard *guard)
{
    ulm_words_deinit(&guard->lexicon);
    ulm_words_deinit(&guard->said);
    ulm_words_deinit(&guard->twice);
}
