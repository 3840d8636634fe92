/* SPDX-License-Identifier: MIT */
#include "util/json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <ulmd/limits.h>

#include "util/buf.h"
#include "util/text.h"

/* A recursive-descent reader without recursion: containers are a stack of bits. */
struct reader {
    char *p, *end;
};

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool is_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

/* Four hex digits at p -> value, or -1. */
static int hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* p stands behind "\u". Lone surrogates are rewritten as FFFD. */
static int read_unicode_escape(struct reader *r)
{
    int code = hex4(r->p, r->end);
    if (code <= 0) /* U+0000 included: C strings end there */
        return -EINVAL;

    bool high = code >= 0xD800 && code <= 0xDBFF;
    if (high && r->end - r->p >= 10 && r->p[4] == '\\' && r->p[5] == 'u') {
        int low = hex4(r->p + 6, r->end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            r->p += 10;
            return 0;
        }
    }
    if (code >= 0xD800 && code <= 0xDFFF)
        memcpy(r->p, "FFFD", 4);
    r->p += 4;
    return 0;
}

/* p stands behind the opening quote. The whole text is known to be UTF-8. */
static int read_string(struct reader *r)
{
    while (r->p < r->end) {
        unsigned char c = (unsigned char)*r->p;
        if (c == '"') {
            r->p++;
            return 0;
        }
        if (c < 0x20)
            return -EINVAL;
        if (c == '\\') {
            if (r->end - r->p < 2)
                return -EINVAL;
            char kind = r->p[1];
            r->p += 2;
            if (kind == 'u') {
                int err = read_unicode_escape(r);
                if (err < 0)
                    return err;
            } else if (kind == '\0' || !strchr("\"\\/bfnrt", kind)) {
                return -EINVAL;
            }
            continue;
        }
        r->p++;
    }
    return -EINVAL;
}

static int read_digits(struct reader *r)
{
    if (!is_digit(r))
        return -EINVAL;
    while (is_digit(r))
        r->p++;
    return 0;
}

static int read_number(struct reader *r)
{
    const char *from = r->p;
    if (*r->p == '-')
        r->p++;
    if (r->p < r->end && *r->p == '0')
        r->p++;
    else if (read_digits(r) < 0)
        return -EINVAL;
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (read_digits(r) < 0)
            return -EINVAL;
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        if (read_digits(r) < 0)
            return -EINVAL;
    }
    return r->p - from <= (ptrdiff_t)ULM_JSON_NUMBER_MAX ? 0 : -EINVAL;
}

static int read_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len) != 0)
        return -EINVAL;
    r->p += len;
    return 0;
}

static int read_scalar(struct reader *r)
{
    switch (*r->p) {
    case '"':
        r->p++;
        return read_string(r);
    case 't':
        return read_word(r, "true");
    case 'f':
        return read_word(r, "false");
    case 'n':
        return read_word(r, "null");
    default:
        return read_number(r);
    }
}

/* `"name" :` of an object's member. */
static int read_name(struct reader *r)
{
    skip_space(r);
    if (r->p == r->end || *r->p != '"')
        return -EINVAL;
    r->p++;
    int err = read_string(r);
    if (err < 0)
        return err;
    skip_space(r);
    if (r->p == r->end || *r->p != ':')
        return -EINVAL;
    r->p++;
    return 0;
}

int ulm_json_check(char *text, size_t len, unsigned max_depth)
{
    struct reader r = {text, text + len};
    char closers[256]; /* the open containers' closing characters */
    unsigned depth = 0, values = 0;

    if (max_depth > sizeof closers)
        max_depth = sizeof closers;
    if (!ulm_utf8_valid(text, len))
        return -EILSEQ;

    for (;;) { /* each turn reads one value, then closes what ends behind it */
        int err;
        skip_space(&r);
        if (r.p == r.end)
            return -EINVAL;
        if (++values > ULM_JSON_VALUES_MAX)
            return -E2BIG;
        if (*r.p == '{' || *r.p == '[') {
            bool object = *r.p == '{';
            if (depth == max_depth)
                return -E2BIG;
            closers[depth++] = object ? '}' : ']';
            r.p++;
            skip_space(&r);
            if (r.p == r.end || *r.p != closers[depth - 1]) {
                err = object ? read_name(&r) : 0;
                if (err < 0)
                    return err;
                continue; /* its first value */
            }
        } else {
            err = read_scalar(&r);
            if (err < 0)
                return err;
        }

        for (;;) {
            skip_space(&r);
            if (depth == 0)
                return r.p == r.end ? 0 : -EINVAL;
            if (r.p == r.end)
                return -EINVAL;
            if (*r.p == ',') {
                r.p++;
                err = closers[depth - 1] == '}' ? read_name(&r) : 0;
                if (err < 0)
                    return err;
                break; /* the next value */
            }
            if (*r.p != closers[depth - 1])
                return -EINVAL;
            r.p++;
            depth--;
        }
    }
}

int ulm_json_add_string(struct ulm_buf *buf, const char *text)
{
    return ulm_json_add_string_n(buf, text, strlen(text));
}

/* The character that is escaped at text[0], and its length; 0 = none is. Those of U+0080 to U+009F
 * are control characters as well, which a terminal may act on. */
static size_t escaped(const char *text, size_t len, unsigned *ret_code)
{
    const unsigned char *s = (const unsigned char *)text;
    *ret_code = s[0];
    if (s[0] < 0x20 || s[0] == '"' || s[0] == '\\' || s[0] == 0x7F)
        return 1;
    *ret_code = len > 1 ? s[1] : 0;
    return s[0] == 0xC2 && len > 1 && s[1] <= 0x9F ? 2 : 0;
}

int ulm_json_add_string_n(struct ulm_buf *buf, const char *text, size_t len)
{
    size_t before = buf->len;
    int r = ulm_buf_add(buf, "\"", 1);
    size_t from = 0; /* of what is not in buf yet */
    for (size_t i = 0, n; r >= 0 && i < len; i += n ? n : 1) {
        unsigned c;
        n = escaped(text + i, len - i, &c);
        if (n == 0)
            continue;
        r = ulm_buf_add(buf, text + from, i - from);
        from = i + n;
        if (r < 0)
            break;
        if (c == '"' || c == '\\')
            r = ulm_buf_add_fmt(buf, "\\%c", c);
        else if (c == '\n')
            r = ulm_buf_add(buf, "\\n", 2);
        else
            r = ulm_buf_add_fmt(buf, "\\u%04x", c);
    }
    if (r >= 0 && from < len)
        r = ulm_buf_add(buf, text + from, len - from);
    if (r >= 0)
        r = ulm_buf_add(buf, "\"", 1);
    if (r < 0 && buf->data)
        ulm_buf_truncate(buf, before);
    return r;
}
