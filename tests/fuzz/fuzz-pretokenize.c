/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer.h"
#include "tests/fuzz/fuzz.h"
#include "util/text.h"

/* The words cover the text, none is empty, none ends inside a character of a valid text, and a
 * line break never joins a visible character, which the prompt relies on. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    bool valid = ulm_utf8_valid(text, size);
    for (size_t at = 0; at < size;) {
        size_t n = ulm_tokenizer_word(text + at, size - at);
        if (n == 0 || n > size - at)
            abort();
        if (valid && !ulm_utf8_valid(text + at, n))
            abort();
        const char *line = memchr(text + at, '\n', n);
        for (size_t i = 0; line && i < n; i++) {
            if ((unsigned char)text[at + i] < 0x80 && !ulm_is_space(text[at + i]))
                abort();
        }
        at += n;
    }
    free(text);
    return 0;
}
