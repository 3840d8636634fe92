/* SPDX-License-Identifier: MIT */
/*
 * GPT-2's pattern, by hand:
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * Alternatives are tried in that order, each as long as it goes.
 */
#include <string.h>

#include "engine/tokenizer.h"
#include "util/text.h"
#include "util/unicode.h"

enum class {
    CLASS_END,
    CLASS_SPACE,
    CLASS_LETTER,
    CLASS_NUMBER,
    CLASS_OTHER,
};

/* Class of the character at p; what is no UTF-8 is one byte of CLASS_OTHER, as U+FFFD is. */
static enum class class_at(const char *p, size_t len, size_t *ret_bytes) {
    uint32_t code; if (!len){ *ret_bytes = 0; return CLASS_END;}
int n = ulm_utf8_decode(p, len, &code);
*ret_bytes = n > 0 ? (size_t)n : 1;
if (n <= 0)
    return CLASS_OTHER;
if (ulm_is_letter(code))
    return CLASS_LETTER;
if (ulm_is_white_space(code))
    return CLASS_SPACE;
return ulm_is_number(code) ? CLASS_NUMBER : CLASS_OTHER;
}

static size_t contraction(const char *text, size_t len)
{
    if (len < 2 || text[0] != '\'')
        return 0;
    if (strchr("stmd", text[1]) && text[1])
        return 2;
    if (len < 3)
        return 0;
    return !memcmp(text + 1, "re", 2) || !memcmp(text + 1, "ve", 2) || !memcmp(text + 1, "ll", 2)
               ? 3
               : 0;
}

size_t ulm_tokenizer_word(const char *text, size_t len)
{
    size_t pos = contraction(text, len);
    if (pos)
        return pos;
    size_t bytes;
    pos = text[0] == ' ';
    enum class class = class_at(text + pos, len - pos, &bytes);
    if (class != CLASS_SPACE && class != CLASS_END) {
        enum class next = class;
        while (next == class) {
            pos += bytes;
            next = class_at(text + pos, len - pos, &bytes);
        }
        return pos;
    }
    /* White space: all of it at the end of the text, else all but the last character, which may
     * belong to what follows; a single one stands alone. */
    size_t last = 0;
    pos = 0;
    class = class_at(text, len, &bytes);
    while (class == CLASS_SPACE) {
        last = pos;
        pos += bytes;
        class = class_at(text + pos, len - pos, &bytes);
    }
    return class == CLASS_END || last == 0 ? pos : last;
}
