/* SPDX-License-Identifier: MIT */
/* Verdict and stitch against the oracle: a byte of options, the opener, a newline, the text. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/core_world.h"
#include "tests/unit/join_oracle.h"
#include "util/text.h"

/* As the engine writes it: words with one space between them. */
static bool is_opener(const char *text)
{
    for (size_t i = 0; text[i]; i++) {
        if (ulm_is_space(text[i]) &&
            (text[i] != ' ' || i == 0 || !text[i + 1] || text[i + 1] == ' '))
            return false;
    }
    return *text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct oracle oracle;
    char input[512] = {0}; /* less than what an echo may hold, a cap the oracle does not have */
    if (size < 2 || size > sizeof input - 1 || memchr(data, '\0', size) ||
        !ulm_utf8_valid((const char *)data + 1, size - 1))
        return 0;
    memcpy(input, data, size);
    char *text = strchr(input + 1, '\n');
    if (!text || text - input > 128 || (*text++ = '\0', !is_opener(input + 1)))
        return 0;
    bool retractable = *data & 1;
    oracle_join(input + 1, text, retractable, &oracle);
    struct hand_off got = world_hand_off(input + 1, text, retractable, *data >> 1);
    if (strcmp(got.verdict, oracle.verdict) != 0 ||
        (!oracle.empty && strcmp(got.answer, oracle.answer) != 0))
        abort();
    return 0;
}
