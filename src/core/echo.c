/* SPDX-License-Identifier: MIT */
#include "core/echo.h"

#include <stdint.h>
#include <string.h>

#include <ulmd/limits.h>

#include "core/chars.h"
#include "util/text.h"
#include "util/unicode.h"

enum { RESTART_WORDS_MIN = 3, RESTART_WORDS_MAX = 32, RESTART_PERCENT = 60 };

/* Half words: a word weighs two, a character of a script without spaces one. */
enum { ECHO_WEIGHT_MIN = 4 };

struct cursor {
    const char *p, *end;
};

static bool is_space(uint32_t code)
{
    return code < 0x80 && ulm_is_space((char)code);
}

static bool at_end_of(const struct cursor *c)
{
    return c->p == c->end;
}

/* The next character as it is compared; a run of white space is one space. */
static uint32_t next_unit(struct cursor *c)
{
    if (ulm_is_space(*c->p)) {
        while (c->p < c->end && ulm_is_space(*c->p))
            c->p++;
        return ' ';
    }
    uint32_t code;
    c->p += ulm_char_at(c->p, (size_t)(c->end - c->p), &code);
    return ulm_char_fold(code);
}

/* May a word end before `next`, where `last` is its last character? */
static bool word_ends(uint32_t last, uint32_t next)
{
    return ulm_is_unspaced(last) || ulm_is_unspaced(next) ||
           !(ulm_char_is_word(next) || next == '-' || next == '_');
}

static const char *without_end_punctuation(const char *begin, const char *end)
{
    while (end > begin) {
        size_t last = ulm_utf8_last(begin, (size_t)(end - begin));
        uint32_t code = ulm_char_last(begin, (size_t)(end - begin));
        if (ulm_char_is_word(code) || ulm_is_unspaced(code))
            break;
        end = begin + last;
    }
    return end;
}

/* Compares all of said with the beginning of text. */
static enum ulm_echo compare(struct cursor said, struct cursor text, const char **ret_end)
{
    const char *core_end = without_end_punctuation(said.p, said.end);
    uint32_t last = 0;

    for (;;) {
        bool core_said = said.p >= core_end;
        if (at_end_of(&text))
            return ULM_ECHO_MAYBE;
        struct cursor text_before = text;
        uint32_t heard = next_unit(&text);
        if (at_end_of(&said)) {
            *ret_end = text_before.p;
            return word_ends(last, heard) ? ULM_ECHO_YES : ULM_ECHO_NO;
        }
        uint32_t want = next_unit(&said);
        if (heard != want) {
            *ret_end = text_before.p;
            return core_said && last && word_ends(last, heard) ? ULM_ECHO_YES : ULM_ECHO_NO;
        }
        last = heard;
    }
}

/* Half words from p to the end of the opener. */
static unsigned weight(const char *p, const char *end)
{
    unsigned halves = 0;
    bool inside = false;
    while (p < end) {
        uint32_t code;
        p += ulm_char_at(p, (size_t)(end - p), &code);
        if (ulm_is_unspaced(code)) {
            halves += ulm_char_is_word(code);
            inside = false;
        } else if (is_space(code)) {
            inside = false;
        } else if (!inside) {
            halves += 2;
            inside = true;
        }
    }
    return halves;
}

/* Where the next, shorter suffix that is whole words begins; end where there is none. */
static const char *next_suffix(const char *p, const char *end)
{
    uint32_t code, next;
    bool first = true;
    while (p < end) {
        size_t n = ulm_char_at(p, (size_t)(end - p), &code);
        if (!first && ulm_is_unspaced(code))
            return p;
        p += n;
        first = false;
        if (p == end)
            break;
        (void)ulm_char_at(p, (size_t)(end - p), &next);
        if (!is_space(next) && (is_space(code) || ulm_is_unspaced(code)))
            return p;
    }
    return end;
}

enum ulm_echo ulm_echo_find(const char *opener, const char *text, size_t len, bool at_end,
                            size_t *ret_len)
{
    const char *end = opener + strlen(opener);
    while (end > opener && ulm_is_space(end[-1]))
        end--;
    const char *begin = opener;
    while (begin < end && ulm_is_space(*begin))
        begin++;

    for (const char *p = begin; p < end; p = next_suffix(p, end)) {
        bool whole = p == begin;
        if (!whole && weight(p, end) < ECHO_WEIGHT_MIN)
            break;
        const char *echo_end = text;
        struct cursor said = {p, end}, heard = {text, text + len};
        enum ulm_echo r = compare(said, heard, &echo_end);
        if (r == ULM_ECHO_MAYBE && at_end) {
            /* All of the text was heard before. It is an echo when it says it all, or was cut. */
            const char *core = without_end_punctuation(p, end);
            bool all = weight(text, text + len) >= weight(p, core);
            if (!all && !(whole && weight(text, text + len) >= ECHO_WEIGHT_MIN))
                continue;
            echo_end = text + len;
            r = ULM_ECHO_YES;
        }
        if (r == ULM_ECHO_MAYBE)
            return r;
        if (r == ULM_ECHO_YES) {
            *ret_len = (size_t)(echo_end - text);
            return r;
        }
    }
    return ULM_ECHO_NO;
}

/* Next word of letters and numbers, as a slice; false where none begins before the end. A word
 * that runs up to the end is told by *ret_end == c->end. */
static bool next_word(struct cursor *c, const char **ret_begin, const char **ret_end)
{
    const char *begin = NULL;
    while (c->p < c->end) {
        uint32_t code;
        const char *at = c->p;
        size_t n = ulm_char_at(at, (size_t)(c->end - at), &code);
        bool word = ulm_char_is_word(code);
        if (!begin && word)
            begin = at;
        if (begin && !word && ulm_char_fold(code) != '\'') {
            *ret_begin = begin;
            *ret_end = at;
            return true;
        }
        c->p += n;
    }
    *ret_begin = begin;
    *ret_end = c->end;
    return begin != NULL;
}

static bool same_word(const char *a, const char *a_end, const char *b, const char *b_end)
{
    struct cursor x = {a, a_end}, y = {b, b_end};
    while (!at_end_of(&x) && !at_end_of(&y)) {
        if (next_unit(&x) != next_unit(&y))
            return false;
    }
    return at_end_of(&x) && at_end_of(&y);
}

enum ulm_echo ulm_echo_restart(const char *opener, const char *text, size_t len, bool at_end)
{
    const char *begins[RESTART_WORDS_MAX], *ends[RESTART_WORDS_MAX];
    struct cursor said = {opener, opener + strlen(opener)};
    unsigned n = 0;
    while (n < RESTART_WORDS_MAX && next_word(&said, &begins[n], &ends[n]))
        n++;
    if (n < RESTART_WORDS_MIN)
        return ULM_ECHO_NO;

    unsigned need = (n * RESTART_PERCENT + 99) / 100, hits = 0;
    struct cursor heard = {text, text + len};
    for (unsigned i = 0; i < n; i++) {
        if (hits + (n - i) < need)
            return ULM_ECHO_NO;
        const char *begin, *end;
        bool word = next_word(&heard, &begin, &end);
        if (!word || end == heard.end) {
            if (!at_end)
                return ULM_ECHO_MAYBE;
            if (!word)
                return ULM_ECHO_NO;
        }
        for (unsigned j = 0; j < n; j++) {
            if (begins[j] && same_word(begin, end, begins[j], ends[j])) {
                begins[j] = NULL; /* each word of the opener counts once */
                hits++;
                break;
            }
        }
        if (hits >= need)
            return ULM_ECHO_YES;
    }
    return ULM_ECHO_NO;
}
