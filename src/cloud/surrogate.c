/* SPDX-License-Identifier: MIT */
#include "cloud/surrogate.h"

#include <string.h>

#include "util/text.h"

#define MARK 0x0800u /* U+D800..U+DFFF is written as U+E000..U+E7FF */

/* "uXXXX" at p, of which len bytes are there -> the surrogate it names, or 0. */
static unsigned surrogate_at(const char *p, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    unsigned code = 0;
    if (len < 5 || p[0] != 'u')
        return 0;
    for (size_t i = 1; i < 5; i++) {
        char lower = p[i] >= 'A' && p[i] <= 'F' ? (char)(p[i] + 32) : p[i];
        const char *digit = lower ? strchr(digits, lower) : NULL;
        if (!digit)
            return 0;
        code = code << 4 | (unsigned)(digit - digits);
    }
    return code >= 0xD800 && code <= 0xDFFF ? code : 0;
}

static bool is_high(uint32_t code)
{
    return code >= 0xD800 && code <= 0xDBFF;
}

size_t ulm_surrogates_mark(char *json, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < len; i++) {
        if (json[i] != '\\')
            continue;
        i++; /* what follows is escaped, a backslash too */
        unsigned code = surrogate_at(json + i, len - i);
        if (code == 0)
            continue;
        unsigned next = len - i > 6 && json[i + 5] == '\\'
                            ? surrogate_at(json + i + 6, len - i - 6)
                            : 0;
        if (is_high(code) && next != 0 && !is_high(next)) {
            i += 10; /* a pair */
            continue;
        }
        json[i + 1] = 'e';
        json[i + 2] = (char)('0' + (code + MARK - 0xE000) / 0x100);
        n++;
    }
    return n;
}

static int add_code(uint32_t code, struct ulm_buf *out)
{
    char bytes[4];
    return ulm_buf_add(out, bytes, ulm_utf8_encode(code, bytes));
}

int ulm_surrogates_join(const char *text, bool marked, uint32_t *half, struct ulm_buf *out)
{
    int r = 0;
    for (size_t len = strlen(text); len > 0 && r == 0;) {
        uint32_t code;
        int n = ulm_utf8_decode(text, len, &code);
        if (n <= 0)
            break; /* cannot be: the text was checked */
        text += n;
        len -= (size_t)n;
        uint32_t surrogate = marked && code >= 0xE000 && code <= 0xE7FF ? code - MARK : 0;
        if (*half && surrogate && !is_high(surrogate)) {
            r = add_code(0x10000 + ((*half - 0xD800) << 10) + (surrogate - 0xDC00), out);
            *half = 0;
            continue;
        }
        if (*half)
            r = add_code(ULM_REPLACEMENT, out);
        *half = is_high(surrogate) ? surrogate : 0;
        if (r == 0 && !*half)
            r = add_code(surrogate ? ULM_REPLACEMENT : code, out);
    }
    return r;
}
