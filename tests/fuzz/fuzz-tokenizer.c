/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/the_tokenizer.h"
#include "util/text.h"

/* A word ends where a character does, and a line break joins nothing visible. */
static bool is_good_word(const char *word, size_t len, bool valid)
{
    for (size_t i = 0; memchr(word, '\n', len) && i < len; i++)
        if ((unsigned char)word[i] < 0x80 && !ulm_is_space(word[i]))
            return false;
    return len > 0 && (!valid || ulm_utf8_valid(word, len));
}

/* Tokens say what was said to the byte, and none of them is a control token. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ulm_tokenizer *t = the_tokenizer();
    const char *text = (const char *)data;
    bool valid = ulm_utf8_valid(text, size);
    size_t n = 0, len, at, max = valid ? size : 3 * size;
    int32_t *ids = malloc(max * sizeof *ids + 1);
    bool good = ulm_tokenizer_encode(t, text, size, false, ids, max, &n) == 0;
    for (at = 0; at < size; at += len)
        good &= is_good_word(text + at, len = ulm_tokenizer_word(text + at, size - at), valid);
    for (size_t i = at = 0; i < n; i++, at += len) {
        const char *piece = ulm_tokenizer_piece(t, ids[i], &len);
        good &= !ulm_tokenizer_is_control(t, ids[i]) &&
                (!valid || (at + len <= size && memcmp(piece, text + at, len) == 0));
    }
    free(ids);
    if (!good || (valid && at != size))
        abort();
    return 0;
}
