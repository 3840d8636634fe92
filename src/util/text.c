/* SPDX-License-Identifier: MIT */
#include "util/text.h"

#include <errno.h>

int ulm_utf8_decode(const char *p, size_t len, uint32_t *ret_code)
{
    const unsigned char *s = (const unsigned char *)p;
    if (s[0] < 0x80) {
        *ret_code = s[0];
        return 1;
    }

    int size;
    uint32_t code;
    unsigned char low = 0x80, high = 0xBF; /* bounds of the second byte: Unicode table 3-7 */
    if (s[0] >= 0xC2 && s[0] <= 0xDF) {
        size = 2;
        code = s[0] & 0x1Fu;
    } else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        size = 3;
        code = s[0] & 0x0Fu;
        if (s[0] == 0xE0)
            low = 0xA0;
        if (s[0] == 0xED)
            high = 0x9F;
    } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        size = 4;
        code = s[0] & 0x07u;
        if (s[0] == 0xF0)
            low = 0x90;
        if (s[0] == 0xF4)
            high = 0x8F;
    } else {
        return -EILSEQ;
    }

    for (int i = 1; i < size; i++) {
        if ((size_t)i >= len)
            return 0;
        if (s[i] < low || s[i] > high)
            return -EILSEQ;
        low = 0x80;
        high = 0xBF;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    *ret_code = code;
    return size;
}

size_t ulm_utf8_encode(uint32_t code, char ret_bytes[static 4])
{
    if (code < 0x80) {
        ret_bytes[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        ret_bytes[0] = (char)(0xC0 | code >> 6);
        ret_bytes[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        ret_bytes[0] = (char)(0xE0 | code >> 12);
        ret_bytes[1] = (char)(0x80 | (code >> 6 & 0x3F));
        ret_bytes[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    ret_bytes[0] = (char)(0xF0 | code >> 18);
    ret_bytes[1] = (char)(0x80 | (code >> 12 & 0x3F));
    ret_bytes[2] = (char)(0x80 | (code >> 6 & 0x3F));
    ret_bytes[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t ulm_utf8_whole(const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint32_t code;
        int n = ulm_utf8_decode(text + at, len - at, &code);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    return at;
}

bool ulm_utf8_valid(const char *text, size_t len)
{
    return ulm_utf8_whole(text, len) == len;
}

size_t ulm_utf8_count(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

size_t ulm_utf8_last(const char *text, size_t len)
{
    size_t at = len > 0 ? len - 1 : 0;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
        at--;
    return at;
}

bool ulm_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

size_t ulm_count_words(const char *text)
{
    size_t words = 0;
    for (bool inside = false; *text; text++) {
        bool space = ulm_is_space(*text);
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

void ulm_tame(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < ' ' || *p == 0x7F)
            *p = '?';
        else if (*p == 0xC2 && p[1] >= 0x80 && p[1] <= 0x9F)
            p[0] = p[1] = '?';
    }
}
