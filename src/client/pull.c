/* SPDX-License-Identifier: MIT */
#include "client/pull.h"

#include <stdint.h>
#include <string.h>

#include "util/buf.h"
#include "util/text.h"

static bool is_json_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_json_space(*p))
        p++;
    return p;
}

/* p stands on the opening quote. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\')
            p++;
    }
    return p < end ? p + 1 : end;
}

static const char *skip_value(const char *p, const char *end)
{
    unsigned depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
            continue;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0)
                return p;
            depth--;
            p++;
        } else if (*p == ',' || *p == ':' || is_json_space(*p)) {
            if (depth == 0)
                return p;
            p++;
            continue;
        } else {
            p++;
            continue; /* inside a number or a word */
        }
        if (depth == 0)
            return p;
    }
    return end;
}

static struct ulm_pull value_at(const char *p, const char *end)
{
    return (struct ulm_pull){p, (size_t)(skip_value(p, end) - p)};
}

struct ulm_pull ulm_pull_text(const char *text, size_t len)
{
    const char *end = text + len;
    return value_at(skip_space(text, end), end);
}

char ulm_pull_kind(struct ulm_pull value)
{
    if (value.len == 0)
        return 0;
    return *value.at == '-' || (*value.at >= '0' && *value.at <= '9') ? '0' : *value.at;
}

struct ulm_pull_walk ulm_pull_walk(struct ulm_pull container)
{
    char kind = ulm_pull_kind(container);
    if (kind != '{' && kind != '[')
        return (struct ulm_pull_walk){container.at, container.at, false};
    return (struct ulm_pull_walk){container.at + 1, container.at + container.len - 1, kind == '{'};
}

bool ulm_pull_next(struct ulm_pull_walk *walk, struct ulm_pull *ret_name,
                   struct ulm_pull *ret_value)
{
    const char *p = skip_space(walk->at, walk->end);
    if (p < walk->end && *p == ',')
        p = skip_space(p + 1, walk->end);
    if (p >= walk->end)
        return false;
    if (walk->object) {
        *ret_name = value_at(p, walk->end);
        p = skip_space(p + ret_name->len, walk->end);
        p = skip_space(p + 1, walk->end); /* the colon */
    }
    *ret_value = value_at(p, walk->end);
    walk->at = p + ret_value->len;
    return true;
}

struct ulm_pull ulm_pull_member(struct ulm_pull object, const char *name)
{
    struct ulm_pull found = {0}, key = {0}, value;
    struct ulm_pull_walk walk = ulm_pull_walk(object);
    while (walk.object && ulm_pull_next(&walk, &key, &value)) {
        if (ulm_pull_is(key, name))
            found = value;
    }
    return found;
}

static unsigned hex4(const char *p)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        value = value << 4 | (c <= '9' ? c - (unsigned)'0' : (c | 0x20u) - 'a' + 10);
    }
    return value;
}

/* One character, escaped or not, of a checked string -> its bytes; returns where the next begins.
 */
static const char *read_char(const char *p, char ret_bytes[static 4], size_t *ret_len)
{
    *ret_len = 1;
    if (*p != '\\') {
        ret_bytes[0] = *p;
        return p + 1;
    }
    static const char names[] = "bfnrt", codes[] = "\b\f\n\r\t";
    const char *name = strchr(names, p[1]);
    if (p[1] != 'u') {
        ret_bytes[0] = name ? codes[name - names] : p[1];
        return p + 2;
    }
    uint32_t code = hex4(p + 2);
    p += 6;
    if (code >= 0xD800 && code <= 0xDBFF) { /* checked: its other half follows */
        code = 0x10000 + ((code - 0xD800) << 10) + (hex4(p + 2) - 0xDC00);
        p += 6;
    }
    *ret_len = ulm_utf8_encode(code, ret_bytes);
    return p;
}

size_t ulm_pull_copy(struct ulm_pull string, char *dest)
{
    size_t len = 0, n = 0;
    char bytes[4];
    if (ulm_pull_kind(string) == '"') {
        const char *end = string.at + string.len - 1;
        for (const char *p = string.at + 1; p < end; len += n) {
            p = read_char(p, bytes, &n);
            memcpy(dest + len, bytes, n);
        }
    }
    dest[len] = '\0';
    return len;
}

bool ulm_pull_is(struct ulm_pull string, const char *text)
{
    if (ulm_pull_kind(string) != '"')
        return false;
    const char *end = string.at + string.len - 1;
    char bytes[4];
    for (const char *p = string.at + 1; p < end;) {
        size_t n;
        p = read_char(p, bytes, &n);
        if (strncmp(text, bytes, n) != 0)
            return false;
        text += n;
    }
    return *text == '\0';
}

/* Not strtod: in some locales it wants a comma. Exact to some 15 digits, which is what is asked of
 * milliseconds and counts; absurd exponents saturate. */
double ulm_pull_number(struct ulm_pull value, double otherwise)
{
    if (ulm_pull_kind(value) != '0')
        return otherwise;
    const char *p = value.at, *end = value.at + value.len;
    bool negative = *p == '-';
    p += negative;

    double number = 0;
    int exponent = 0;
    bool fraction = false;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            fraction = true;
        } else if (number < 1e17) {
            number = number * 10 + (*p - '0');
            exponent -= fraction;
        } else if (!fraction && exponent < 400) {
            exponent++;
        }
    }
    if (p < end) {
        int given = 0;
        bool down = *++p == '-';
        for (p += *p == '-' || *p == '+'; p < end && given < 1000; p++)
            given = given * 10 + (*p - '0');
        exponent += down ? -given : given;
    }
    for (; exponent > 0 && number > 0 && number < 1e300; exponent--)
        number *= 10;
    double scale = 1;
    for (; exponent < 0 && scale < 1e300; exponent++)
        scale *= 10;
    number /= scale;
    return negative ? -number : number;
}

int ulm_pull_add(struct ulm_pull string, struct ulm_buf *buf)
{
    if (ulm_pull_kind(string) != '"')
        return 0;
    int r = ulm_buf_reserve(buf, string.len);
    if (r < 0)
        return r;
    buf->len += ulm_pull_copy(string, buf->data + buf->len);
    return 0;
}
