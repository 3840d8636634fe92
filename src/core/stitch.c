/* SPDX-License-Identifier: MIT */
/*
 * Until the first visible character is let out, the text is held and looked at again with each
 * character: does it say the opener again, and what joins it to the opener? The questions are put
 * to the whole text so far, and once they are answered more text does not change the answer; so
 * the result cannot depend on how the text was cut up. From then on bytes pass through.
 */
#include "core/stitch.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "core/chars.h"
#include "core/echo.h"
#include "util/buf.h"
#include "util/text.h"
#include "util/unicode.h"

enum when {
    WHEN_MORE, /* more text may come */
    WHEN_LATE, /* more may come, but only an echo is worth waiting for */
    WHEN_FULL, /* no more can be held */
    WHEN_END,  /* no more comes */
};

struct joint {
    const char *joint; /* "", " " or "\n" */
    size_t drop;       /* bytes of the text to leave out */
};

void ulm_stitch_init(struct ulm_stitch *s, const char *before, bool strip, bool watch)
{
    *s = (struct ulm_stitch){.before = before, .strip = strip, .watch = watch};
}

/* Adds what fits, in whole characters. */
static int add_fitting(struct ulm_buf *out, const char *text, size_t len)
{
    size_t room = out->cap - out->len;
    if (len <= room)
        return ulm_buf_add(out, text, len);
    while (room > 0 && ((unsigned char)text[room] & 0xC0) == 0x80)
        room--;
    int r = ulm_buf_add(out, text, room);
    return r < 0 ? r : ULM_STITCH_FULL;
}

static bool is_clause_mark(uint32_t code)
{
    return code == ',' || code == ';' || code == ':';
}

/* Characters that belong to the word before them. */
static bool joins_left(uint32_t code)
{
    switch (code) {
    case ',':
    case '.':
    case ';':
    case ':':
    case '!':
    case '?':
    case ')':
    case ']':
    case '}':
    case '%':
    case 0x2019:
    case 0x201D: /* closing quotes */
    case 0x2026: /* ellipsis */
    case 0x060C:
    case 0x061B:
    case 0x061F:
    case 0x066A:
    case 0x06D4: /* Arabic , ; ? % . */
    case 0x0964:
    case 0x0965: /* danda */
        return true;
    default:
        return false;
    }
}

/* text begins with an apostrophe: is it 's, 't, 're, 've, 'll, 'd or 'm? */
static enum ulm_echo is_contraction(const char *text, size_t len, enum when when)
{
    static const char *const endings[] = {"s", "t", "re", "ve", "ll", "d", "m"};
    size_t n = 0;
    while (1 + n < len && n < 3 && ulm_char_is_word((unsigned char)text[1 + n]) &&
           (unsigned char)text[1 + n] < 0x80)
        n++;
    if (1 + n == len && n < 3 && when == WHEN_MORE)
        return ULM_ECHO_MAYBE;
    if (1 + n < len) {
        uint32_t next;
        (void)ulm_char_at(text + 1 + n, len - 1 - n, &next);
        if (ulm_char_is_word(next))
            return ULM_ECHO_NO;
    }
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (strlen(endings[i]) == n && strncasecmp(text + 1, endings[i], n) == 0)
            return ULM_ECHO_YES;
    }
    return ULM_ECHO_NO;
}

/* What stands between before and text[0..len), which white space may have preceded. False where
 * more text is needed to tell, or where there is nothing to see. */
static bool find_joint(const char *before, const char *text, size_t len, bool space, bool newline,
                       enum when when, struct joint *ret)
{
    uint32_t last = ulm_char_last(before, strlen(before));
    uint32_t first;
    size_t at = 0;

    bool dropped = false;
    for (;;) {
        for (; at < len && ulm_is_space(text[at]); at++) {
            space = true;
            newline = newline || text[at] == '\n' || text[at] == '\r';
        }
        if (at == len)
            return false;
        size_t n = ulm_char_at(text + at, len - at, &first);
        if (dropped || !is_clause_mark(first) || !is_clause_mark(last))
            break;
        at += n;
        space = newline = false;
        dropped = true;
    }

    ret->drop = at;
    ret->joint = "";
    if (last == 0 || (last < 0x80 && ulm_is_space((char)last)))
        return true;
    if (space) {
        ret->joint = newline ? "\n" : " ";
        return true;
    }
    if (ulm_is_unspaced(last) || ulm_is_unspaced(first) || joins_left(first))
        return true;
    enum ulm_echo joins = ULM_ECHO_NO;
    if (first == '\'')
        joins = is_contraction(text + at, len - at, when);
    if (joins == ULM_ECHO_NO)
        ret->joint = " ";
    return joins != ULM_ECHO_MAYBE;
}

/* Lets out what is held, if it can be told how. */
static int decide(struct ulm_stitch *s, enum when when, struct ulm_buf *out)
{
    size_t skip = 0;
    bool space = s->space, newline = s->newline;
    bool stripped = false;

    if (s->strip && s->n_held > 0) {
        switch (ulm_echo_find(s->before, s->held, s->n_held, when == WHEN_END, &skip)) {
        case ULM_ECHO_MAYBE:
            if (when != WHEN_FULL)
                return 0;
            break;
        case ULM_ECHO_YES:
            stripped = true;
            space = newline = false;
            break;
        case ULM_ECHO_NO:
            break;
        }
    }

    bool restart = false;
    if (s->watch && !stripped && s->n_held > 0) {
        enum ulm_echo r = ulm_echo_restart(s->before, s->held, s->n_held, when == WHEN_END);
        if (r == ULM_ECHO_MAYBE && when == WHEN_MORE)
            return 0;
        restart = r == ULM_ECHO_YES;
    }

    struct joint joint = {"", 0};
    if (!find_joint(s->before, s->held + skip, s->n_held - skip, space, newline, when, &joint)) {
        /* An echo and white space that fill the buffer: forget them, keep what joins. */
        if (when == WHEN_END || when == WHEN_FULL) {
            s->echo_stripped = s->echo_stripped || stripped;
            s->strip = s->strip && !stripped;
            s->space = true;
            s->n_held = 0;
        }
        return 0;
    }
    s->open = true;
    s->echo_stripped = s->echo_stripped || stripped;
    s->restart = restart;
    int r = ulm_buf_add_str(out, joint.joint);
    if (r == -ENOBUFS)
        return ULM_STITCH_FULL;
    if (r < 0)
        return r;
    skip += joint.drop;
    return add_fitting(out, s->held + skip, s->n_held - skip);
}

/* One whole character. */
static int take(struct ulm_stitch *s, const char *p, size_t n, struct ulm_buf *out)
{
    if (s->open)
        return add_fitting(out, p, n);
    if (s->n_held == 0 && ulm_is_space(*p)) {
        s->space = true;
        s->newline = s->newline || *p == '\n' || *p == '\r';
        return 0;
    }
    if (n > sizeof s->held - s->n_held) {
        int r = decide(s, WHEN_FULL, out);
        return r != 0 ? r : take(s, p, n, out);
    }
    memcpy(s->held + s->n_held, p, n);
    s->n_held += n;
    return decide(s, WHEN_MORE, out);
}

int ulm_stitch_feed(struct ulm_stitch *s, const char *text, size_t len, struct ulm_buf *out)
{
    int r = 0;
    while (len > 0 && r == 0) {
        if (s->open && s->n_cut == 0) {
            size_t whole = ulm_utf8_whole(text, len);
            if (whole > 0) {
                r = add_fitting(out, text, whole);
                text += whole;
                len -= whole;
                continue;
            }
        }
        s->cut[s->n_cut++] = *text++;
        len--;
        uint32_t code;
        int n = ulm_utf8_decode(s->cut, s->n_cut, &code);
        if (n == 0)
            continue;
        if (n < 0) {
            /* Not UTF-8, which the cloud promised: one mark for the bytes so far. */
            static const char mark[] = "\xEF\xBF\xBD";
            s->n_cut = 0;
            r = take(s, mark, sizeof mark - 1, out);
            continue;
        }
        size_t whole = s->n_cut;
        s->n_cut = 0;
        r = take(s, s->cut, whole, out);
    }
    return r;
}

int ulm_stitch_late(struct ulm_stitch *s, struct ulm_buf *out)
{
    return ulm_stitch_holds(s) ? decide(s, WHEN_LATE, out) : 0;
}

int ulm_stitch_end(struct ulm_stitch *s, struct ulm_buf *out)
{
    s->n_cut = 0;
    return ulm_stitch_holds(s) ? decide(s, WHEN_END, out) : 0;
}

bool ulm_stitch_sentence_ends(const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        uint32_t code = ulm_char_last(text, len);
        bool closing = code == '"' || code == '\'' || code == ')' || code == ']' ||
                       code == 0x2019 || code == 0x201D || code == 0x300D || code == 0x300F;
        if (!closing && !(code < 0x80 && ulm_is_space((char)code))) {
            if (code == '.')
                return len < 2 || text[len - 2] != '.';
            return code == '!' || code == '?' || code == 0x3002 || code == 0xFF01 ||
                   code == 0xFF1F || code == 0x061F || code == 0x06D4 || code == 0x0964;
        }
        len = ulm_utf8_last(text, len);
    }
    return false;
}

bool ulm_stitch_is_open(const char *text)
{
    uint32_t last = ulm_char_last(text, strlen(text));
    return *text && !ulm_stitch_sentence_ends(text) && !is_clause_mark(last) && last != 0x2026 &&
           last != '.';
}

int ulm_stitch_phrase(const char *before, const char *phrase, struct ulm_buf *out)
{
    size_t start = out->len;
    bool fresh = !*before || ulm_stitch_sentence_ends(before);
    if (fresh) {
        while (ulm_is_space(*phrase) || is_clause_mark((unsigned char)*phrase))
            phrase++;
    }
    struct joint joint;
    size_t len = strlen(phrase);
    if (!find_joint(before, phrase, len, false, false, WHEN_END, &joint))
        return 0;
    phrase += joint.drop;

    uint32_t first;
    (void)ulm_char_at(phrase, strlen(phrase), &first);
    bool breaks = ulm_char_is_word(first) && ulm_stitch_is_open(before);
    int r = ulm_buf_add_fmt(out, "%s%s%s", breaks ? "\xE2\x80\xA6" : "", joint.joint, phrase);
    if (r < 0)
        return r;
    char *begin = out->data + start + strlen(joint.joint);
    if (fresh && *begin >= 'a' && *begin <= 'z')
        *begin = (char)(*begin - 32);
    return 0;
}
