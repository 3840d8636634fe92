/* SPDX-License-Identifier: MIT */
#include "tests/unit/join_oracle.h"

#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/text.h"
#include "util/unicode.h"

enum { CHARS = 8192 };

/* A text as code points, each with the byte it begins at; at[n] is the length in bytes. */
struct chars {
    uint32_t code[CHARS];
    size_t at[CHARS + 1];
    size_t n;
};

static void decode(const char *text, struct chars *ret)
{
    size_t len = strlen(text), at = 0;
    ret->n = 0;
    while (at < len && ret->n < CHARS) {
        ret->at[ret->n] = at;
        at += (size_t)ulm_utf8_decode(text + at, len - at, &ret->code[ret->n]);
        ret->n++;
    }
    ret->at[ret->n] = at;
}

static bool space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13);
}

static bool mark(uint32_t c)
{
    return (c >= 0x300 && c <= 0x36F) || (c >= 0x483 && c <= 0x489) ||
           (c >= 0x591 && c <= 0x5C7 && c != 0x5BE) || (c >= 0x610 && c <= 0x61A) ||
           (c >= 0x64B && c <= 0x65F) || c == 0x670 || (c >= 0x6D6 && c <= 0x6ED) ||
           (c >= 0x900 && c <= 0xDFF && c != 0x964 && c != 0x965) || (c >= 0x1AB0 && c <= 0x1AFF) ||
           (c >= 0x1DC0 && c <= 0x1DFF) || (c >= 0x20D0 && c <= 0x20FF) ||
           (c >= 0xFE20 && c <= 0xFE2F);
}

static bool wordy(uint32_t c)
{
    return ulm_is_letter(c) || ulm_is_number(c) || mark(c);
}

static uint32_t fold(uint32_t c)
{
    if (c == 0x2018 || c == 0x2019 || c == 0x201B || c == 0x2032)
        return '\'';
    if (c >= 0x201C && c <= 0x201F)
        return '"';
    return ulm_to_lower(c);
}

/* ---- the tag ---- */

static size_t match(const char *pattern, const char *text, char *ret_name)
{
    regex_t re;
    regmatch_t groups[8];
    if (regcomp(&re, pattern, REG_EXTENDED) != 0)
        abort();
    size_t len = 0;
    if (regexec(&re, text, 8, groups, 0) == 0) {
        len = (size_t)groups[0].rm_eo;
        /* Group 1 is what stands in front, group 3 the name. */
        if (groups[1].rm_eo - groups[1].rm_so > 16)
            len = 0;
        if (ret_name)
            snprintf(ret_name, 16, "%.*s", (int)(groups[3].rm_eo - groups[3].rm_so),
                     text + groups[3].rm_so);
    }
    regfree(&re);
    return len;
}

#define WS   "[ \t\n\v\f\r]"
#define LEAD "^(" WS "*(```[A-Za-z]*" WS "*)?)"

/* The tag's name, "" for none, and where the text behind it begins. */
static const char *cut_tag(const char *text, char name[static 16])
{
    size_t len = match(LEAD "\\[\\[([A-Za-z]{1,12})\\]\\](\r\n|" WS ")?", text, name);
    if (len > 0)
        return text + len;
    *name = '\0';
    /* A tag that the end cut off is no text. */
    if (match(LEAD "\\[\\[([A-Za-z]{0,12}\\]?)$", text, NULL) &&
        !match(LEAD "\\[\\[(\\])$", text, NULL))
        return text + strlen(text);
    return text;
}

/* ---- the echo ---- */

/* Texts as they are compared: folded, runs of white space one space; from[] is the index of the
 * next character behind each. */
struct folded {
    uint32_t code[CHARS];
    size_t next[CHARS];
    size_t n;
};

static void fold_all(const struct chars *c, size_t from, struct folded *ret)
{
    ret->n = 0;
    for (size_t i = from; i < c->n;) {
        uint32_t code = space(c->code[i]) ? ' ' : fold(c->code[i]);
        i++;
        while (code == ' ' && i < c->n && space(c->code[i]))
            i++;
        ret->code[ret->n] = code;
        ret->next[ret->n++] = i;
    }
}

static bool word_may_end(uint32_t last, const struct folded *text, size_t at)
{
    if (at == text->n)
        return true;
    uint32_t next = text->code[at];
    return ulm_is_unspaced(last) || ulm_is_unspaced(next) ||
           (!wordy(next) && next != '-' && next != '_');
}

static unsigned halves(const uint32_t *code, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (ulm_is_unspaced(code[i]))
            sum += wordy(code[i]);
        else if (!space(code[i])) {
            sum += 2;
            while (i + 1 < n && !space(code[i + 1]) && !ulm_is_unspaced(code[i + 1]))
                i++;
        }
    }
    return sum;
}

/* Characters of text (from its first visible one) that echo all of `said`; 0 for none. */
static size_t echo_of(const struct folded *said, const struct folded *text, bool whole)
{
    size_t core = said->n;
    while (core > 0 && !wordy(said->code[core - 1]) && !ulm_is_unspaced(said->code[core - 1]))
        core--;
    size_t same = 0;
    while (same < said->n && same < text->n && said->code[same] == text->code[same])
        same++;
    if (same == text->n) {
        /* The text says nothing else. */
        bool all = halves(text->code, text->n) >= halves(said->code, core);
        return all || (whole && halves(text->code, text->n) >= 4) ? text->n : 0;
    }
    if (same < core || same == 0)
        return 0;
    return word_may_end(text->code[same - 1], text, same) ? same : 0;
}

/* Returns the characters of text to strip, of those from `from` on. */
static size_t find_echo(const struct chars *opener, const struct chars *text, size_t from)
{
    static struct folded heard, said;
    fold_all(text, from, &heard);
    if (heard.n == 0)
        return 0;
    for (size_t start = 0; start < opener->n; start++) {
        uint32_t c = opener->code[start];
        if (space(c))
            continue;
        bool begins = start == 0 || space(opener->code[start - 1]) || ulm_is_unspaced(c) ||
                      ulm_is_unspaced(opener->code[start - 1]);
        if (!begins)
            continue;
        fold_all(opener, start, &said);
        if (start > 0 && halves(said.code, said.n) < 4)
            break;
        size_t n = echo_of(&said, &heard, start == 0);
        if (n > 0)
            return heard.next[n - 1];
    }
    return 0;
}

/* ---- the joint ---- */

static bool clause(uint32_t c)
{
    return c == ',' || c == ';' || c == ':';
}

static bool closes(uint32_t c)
{
    static const uint32_t all[] = {',',   '.',   ';',   ':',    '!',    '?',    ')',
                                   ']',   '}',   '%',   0x2019, 0x201D, 0x2026, 0x60C,
                                   0x61B, 0x61F, 0x66A, 0x6D4,  0x964,  0x965};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (c == all[i])
            return true;
    }
    return false;
}

static bool short_form(const char *text)
{
    static const char *const forms[] = {"'s", "'t", "'re", "'ve", "'ll", "'d", "'m"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = strlen(forms[i]);
        static struct chars rest;
        if (strncasecmp(text, forms[i], n) != 0)
            continue;
        decode(text + n, &rest);
        if (rest.n == 0 || !wordy(rest.code[0]))
            return true;
    }
    return false;
}

static void append_joined(struct oracle *ret, const struct chars *opener, const char *bytes,
                          const struct chars *text, size_t at)
{
    uint32_t last = opener->n > 0 ? opener->code[opener->n - 1] : 0;
    bool any = false, line = false, dropped = false;
    for (; at < text->n; at++) {
        uint32_t c = text->code[at];
        if (space(c)) {
            any = true;
            line = line || c == '\n' || c == '\r';
        } else if (!dropped && clause(c) && clause(last)) {
            dropped = true;
            any = line = false;
        } else {
            break;
        }
    }
    ret->empty = at == text->n;
    if (ret->empty)
        return;
    uint32_t c = text->code[at];
    const char *joint = " ";
    if (last == 0)
        joint = "";
    else if (line)
        joint = "\n";
    else if (any)
        joint = " ";
    else if (closes(c) || ulm_is_unspaced(c) || ulm_is_unspaced(last) ||
             (c == '\'' && short_form(bytes + text->at[at])))
        joint = "";
    size_t len = strlen(ret->answer);
    snprintf(ret->answer + len, sizeof ret->answer - len, "%s%s", joint, bytes + text->at[at]);
}

/* ---- the restart ---- */

#define ORACLE_WORD 1024 /* longer than any word that it is given */

static size_t words_of(const struct chars *text, char words[32][ORACLE_WORD], size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < text->n && n < max;) {
        if (!wordy(text->code[i])) {
            i++;
            continue;
        }
        size_t len = 0;
        for (; i < text->n && (wordy(text->code[i]) || fold(text->code[i]) == '\''); i++) {
            char bytes[4];
            size_t size = ulm_utf8_encode(fold(text->code[i]), bytes);
            for (size_t j = 0; j < size && len < ORACLE_WORD - 1; j++)
                words[n][len++] = bytes[j];
        }
        words[n++][len] = '\0';
    }
    return n;
}

static bool restarts(const struct chars *opener, const char *body)
{
    static char said[32][ORACLE_WORD], heard[32][ORACLE_WORD];
    static struct chars text;
    decode(body, &text);
    size_t n = words_of(opener, said, 32);
    size_t m = words_of(&text, heard, n);
    unsigned hits = 0;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            if (*said[j] && strcmp(said[j], heard[i]) == 0) {
                *said[j] = '\0';
                hits++;
                break;
            }
        }
    }
    return n >= 3 && hits * 100 >= n * 60;
}

static bool whole_sentence(const struct chars *text)
{
    static const uint32_t ends[] = {'!', '?', 0x3002, 0xFF01, 0xFF1F, 0x61F, 0x6D4, 0x964};
    static const uint32_t closing[] = {' ', '"', '\'', ')', ']', 0x2019, 0x201D, 0x300D, 0x300F};
    size_t n = text->n;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < sizeof closing / sizeof *closing; i++)
            more = more || (n > 0 && text->code[n - 1] == closing[i]);
        n -= more;
    }
    if (n > 0 && text->code[n - 1] == '.')
        return n < 2 || text->code[n - 2] != '.';
    for (size_t i = 0; i < sizeof ends / sizeof *ends && n > 0; i++) {
        if (text->code[n - 1] == ends[i])
            return true;
    }
    return false;
}

static void append_phrase(struct oracle *ret, const struct chars *opener)
{
    size_t len = strlen(ret->answer);
    uint32_t last = opener->n > 0 ? opener->code[opener->n - 1] : 0;
    const char *phrase = ", sorry, let me start again. ";
    if (whole_sentence(opener))
        phrase =
            ulm_is_unspaced(last) ? "Sorry, let me start again. " : " Sorry, let me start again. ";
    else if (clause(last))
        phrase++;
    snprintf(ret->answer + len, sizeof ret->answer - len, "%s", phrase);
}

void oracle_join(const char *opener, const char *text, bool retractable, struct oracle *ret)
{
    static struct chars said, body;
    char tag[16];
    const char *rest = cut_tag(text, tag);
    decode(opener, &said);
    bool redo = strcasecmp(tag, "redo") == 0;
    bool ok = strcasecmp(tag, "ok") == 0;
    ret->verdict = ok ? "ok" : !*tag ? "null" : strcasecmp(tag, "fix") == 0 ? "fix" : "pivot";
    if (redo)
        ret->verdict = retractable ? "redo" : "fix";
    snprintf(ret->answer, sizeof ret->answer, "%s", redo && retractable ? "" : opener);

    decode(rest, &body);
    size_t at = 0;
    while (at < body.n && space(body.code[at]))
        at++;
    if (redo) {
        /* Written afresh: nothing is joined. */
        if (!retractable)
            append_phrase(ret, &said);
        size_t len = strlen(ret->answer);
        snprintf(ret->answer + len, sizeof ret->answer - len, "%s", rest + body.at[at]);
        ret->empty = at == body.n;
    } else {
        size_t echo = find_echo(&said, &body, at);
        append_joined(ret, &said, rest, &body, echo > 0 ? echo : 0);
        if (echo == 0 && (ok || !*tag) && restarts(&said, rest))
            ret->verdict = "pivot";
    }
    if (ret->empty)
        ret->verdict = "null";
}
