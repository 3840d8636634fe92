/* SPDX-License-Identifier: MIT */
#include "core/chars.h"

#include "util/text.h"
#include "util/unicode.h"

size_t ulm_char_at(const char *p, size_t len, uint32_t *ret_code)
{
    int n = ulm_utf8_decode(p, len, ret_code);
    if (n > 0)
        return (size_t)n;
    *ret_code = ULM_REPLACEMENT;
    return 1;
}

uint32_t ulm_char_last(const char *text, size_t len)
{
    uint32_t code = 0;
    if (len > 0) {
        size_t at = ulm_utf8_last(text, len);
        (void)ulm_char_at(text + at, len - at, &code);
    }
    return code;
}

uint32_t ulm_char_fold(uint32_t code)
{
    if (code == 0x2018 || code == 0x2019 || code == 0x201B || code == 0x2032)
        return '\'';
    if (code >= 0x201C && code <= 0x201F)
        return '"';
    return ulm_to_lower(code);
}

/* Combining marks, roughly: those of the scripts that are written with them. */
static bool is_mark(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } marks[] = {
        {0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x05BF, 0x05C7}, {0x0610, 0x061A},
        {0x064B, 0x065F}, {0x0670, 0x0670}, {0x06D6, 0x06ED}, {0x0900, 0x0963}, {0x0966, 0x0DFF},
        {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x20D0, 0x20FF}, {0xFE20, 0xFE2F},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (code >= marks[i].first && code <= marks[i].last)
            return true;
    }
    return false;
}

bool ulm_char_is_word(uint32_t code)
{
    return ulm_is_letter(code) || ulm_is_number(code) || is_mark(code);
}
