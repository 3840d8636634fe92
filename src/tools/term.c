/* SPDX-License-Identifier: MIT */
#include "tools/term.h"

#include <langinfo.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include <ulmd/limits.h>

#include "util/text.h"

#define TAB_STOP 8u

static const char *const style_codes[ULM_STYLE_N] = {
    [ULM_STYLE_PLAIN] = "\033[0m",     [ULM_STYLE_OPENER] = "\033[0;36m",
    [ULM_STYLE_REPAIR] = "\033[0;33m", [ULM_STYLE_STRUCK] = "\033[0;2;9;31m",
    [ULM_STYLE_DIM] = "\033[0;2m",     [ULM_STYLE_GOOD] = "\033[0;32m",
    [ULM_STYLE_BAD] = "\033[0;31m",
};

void ulm_term_measure(struct ulm_term *term)
{
    struct winsize size;
    term->columns = 80;
    term->rows = 24;
    if (ioctl(fileno(term->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        term->columns = size.ws_col;
        term->rows = size.ws_row;
    }
}

struct ulm_term ulm_term_of(FILE *out)
{
    const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    struct ulm_term term = {.out = out};
    term.live = isatty(fileno(out)) && kind && *kind && strcmp(kind, "dumb") != 0;
    term.colour = term.live && !(no_colour && *no_colour);
    term.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    ulm_term_measure(&term);
    return term;
}

const char *ulm_term_style(const struct ulm_term *term, enum ulm_style style)
{
    return term->colour ? style_codes[style] : "";
}

static bool is_unsafe(uint32_t c)
{
    if (c < 0x20)
        return c != '\n' && c != '\t';
    return (c >= 0x7F && c <= 0x9F) || c == 0x061C || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

int ulm_safe_add(struct ulm_buf *buf, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t code = ULM_REPLACEMENT;
        int n = ulm_utf8_decode(text + at, len - at, &code);
        if (n <= 0 || is_unsafe(code))
            code = ULM_REPLACEMENT;
        char bytes[4];
        int r = ulm_buf_add(buf, bytes, ulm_utf8_encode(code, bytes));
        if (r < 0)
            return r;
        at += n > 0 ? (size_t)n : 1;
    }
    return 0;
}

static unsigned width_of(uint32_t code)
{
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (unsigned)width;
}

/* A terminal wraps before the character that no longer fits, not behind the one that just did. */
unsigned ulm_paint_rows(const char *text, size_t len, unsigned columns)
{
    unsigned row = 0, column = 0;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        int n = ulm_utf8_decode(text + at, len - at, &code);
        if (n <= 0)
            break;
        at += (size_t)n;
        if (code == '\n') {
            row++;
            column = 0;
        } else if (code == '\t') {
            column = (column / TAB_STOP + 1) * TAB_STOP;
            if (column >= columns)
                column = columns - 1;
        } else {
            unsigned width = width_of(code);
            if (column + width > columns) {
                row++;
                column = 0;
            }
            column += width;
        }
    }
    return row;
}

void ulm_paint_init(struct ulm_paint *paint, struct ulm_term *term)
{
    *paint = (struct ulm_paint){term, ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX),
                                ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX), 0};
}

void ulm_paint_deinit(struct ulm_paint *paint)
{
    ulm_buf_deinit(&paint->text);
    ulm_buf_deinit(&paint->styles);
}

static void write_from(const struct ulm_paint *paint, size_t at)
{
    const struct ulm_term *term = paint->term;
    const char *text = ulm_buf_str(&paint->text), *styles = ulm_buf_str(&paint->styles);
    while (at < paint->text.len) {
        size_t end = at;
        while (end < paint->text.len && styles[end] == styles[at])
            end++;
        (void)fputs(ulm_term_style(term, (enum ulm_style)styles[at]), term->out);
        (void)fwrite(text + at, 1, end - at, term->out);
        at = end;
    }
    (void)fputs(ulm_term_style(term, ULM_STYLE_PLAIN), term->out);
    (void)fflush(term->out);
}

/* Takes the cursor back to the first row and clears from there; rows that have left the screen
 * cannot be taken back: then the answer is begun anew below. */
static void erase(const struct ulm_paint *paint)
{
    struct ulm_term *term = paint->term;
    ulm_term_measure(term);
    unsigned rows = ulm_paint_rows(ulm_buf_str(&paint->text), paint->text.len, term->columns);
    if (rows >= term->rows)
        (void)fputc('\n', term->out);
    else if (rows > 0)
        (void)fprintf(term->out, "\033[%uA", rows);
    (void)fputs("\r\033[J", term->out);
}

void ulm_paint_add(struct ulm_paint *paint, const char *text, enum ulm_style style)
{
    size_t before = paint->text.len;
    int r = ulm_safe_add(&paint->text, text, strlen(text));
    if (r == 0)
        r = ulm_buf_reserve(&paint->styles, paint->text.len - before);
    if (r < 0) {
        ulm_buf_truncate(&paint->text, before);
        paint->error = r;
        return;
    }
    memset(paint->styles.data + before, (int)style, paint->text.len - before);
    paint->styles.len = paint->text.len;
    write_from(paint, before);
}

/* Byte offset of the character `chars`, at most the text's length. */
static size_t offset_of(const struct ulm_paint *paint, size_t chars)
{
    size_t at = 0;
    for (; chars > 0 && at < paint->text.len; chars--) {
        do {
            at++;
        } while (at < paint->text.len && ((unsigned char)paint->text.data[at] & 0xC0) == 0x80);
    }
    return at;
}

void ulm_paint_restyle(struct ulm_paint *paint, size_t from, size_t to, enum ulm_style style)
{
    size_t begin = offset_of(paint, from), end = offset_of(paint, to);
    if (begin >= end)
        return;
    memset(paint->styles.data + begin, (int)style, end - begin);
    erase(paint);
    write_from(paint, 0);
}

void ulm_paint_retract(struct ulm_paint *paint, size_t chars)
{
    size_t have = ulm_utf8_count(ulm_buf_str(&paint->text), paint->text.len);
    size_t keep = offset_of(paint, have > chars ? have - chars : 0);
    erase(paint);
    ulm_buf_truncate(&paint->text, keep);
    ulm_buf_truncate(&paint->styles, keep);
    write_from(paint, 0);
}
