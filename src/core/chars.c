/* SPDX-License-Identifier: MIT */
#include "core/chars.h"

#include "util/text.h"

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
    if (code >= 'A' && code <= 'Z')
        return code + 32;
    if (code < 0x80)
        return code;
    if (code == 0x2018 || code == 0x2019 || code == 0x201B || code == 0x2032)
        return '\'';
    if (code >= 0x201C && code <= 0x201F)
        return '"';
    if ((code >= 0xC0 && code <= 0xDE && code != 0xD7) || (code >= 0x391 && code <= 0x3A9) ||
        (code >= 0x410 && code <= 0x42F))
        return code + 32;
    if (code >= 0x400 && code <= 0x40F)
        return code + 80;
    return code;
}

bool ulm_char_is_unspaced(uint32_t code)
{
    return (code >= 0x0E00 && code <= 0x0EFF) ||   /* Thai, Lao */
           (code >= 0x0F00 && code <= 0x109F) ||   /* Tibetan, Myanmar */
           (code >= 0x1780 && code <= 0x17FF) ||   /* Khmer */
           (code >= 0x3000 && code <= 0x312F) ||   /* CJK punctuation, kana, bopomofo */
           (code >= 0x31A0 && code <= 0x9FFF) ||   /* Han */
           (code >= 0xF900 && code <= 0xFAFF) || (code >= 0xFF00 && code <= 0xFF9F) ||
           (code >= 0x20000 && code <= 0x3FFFF);
}

bool ulm_char_is_word(uint32_t code)
{
    if (code < 0x80)
        return (code >= '0' && code <= '9') || ((code | 32) >= 'a' && (code | 32) <= 'z');
    return code >= 0xC0 && code != 0xD7 && code != 0xF7 && !(code >= 0x2000 && code <= 0x2BFF) &&
           !(code >= 0x3000 && code <= 0x303F) && code != 0x60C && code != 0x61B && code != 0x61F &&
           !(code >= 0xFF00 && code <= 0xFF0F) && !(code >= 0xFF1A && code <= 0xFF20) &&
           !(code >= 0xFE00 && code <= 0xFE0F) && code < 0x1F000;
}
