/* SPDX-License-Identifier: MIT */
#include "core/pace.h"

#include <string.h>

#include "core/chars.h"
#include "util/text.h"
#include "util/unicode.h"

void ulm_pace_say(struct ulm_pace *pace, const char *text, int64_t now_us)
{
    int64_t length_us = 0;
    for (size_t len = strlen(text); len > 0;) {
        uint32_t code;
        size_t n = ulm_char_at(text, len, &code);
        if (ulm_is_unspaced(code)) {
            length_us += ulm_char_is_word(code) ? ULM_PACE_WORD_US / 2 : 0;
            pace->inside = false;
        } else if (code < 0x80 && ulm_is_space((char)code)) {
            pace->inside = false;
        } else if (!pace->inside && ulm_char_is_word(code)) {
            length_us += ULM_PACE_WORD_US;
            pace->inside = true;
        }
        text += n;
        len -= n;
    }
    if (length_us == 0)
        return;
    if (!pace->begun || now_us > pace->heard_us) {
        if (pace->begun)
            pace->gap_us += now_us - pace->heard_us;
        pace->heard_us = now_us;
        pace->begun = true;
    }
    pace->heard_us += length_us;
}

void ulm_pace_retract(struct ulm_pace *pace, int64_t now_us)
{
    if (pace->heard_us > now_us)
        pace->heard_us = now_us;
    pace->inside = false;
}

unsigned ulm_pace_words(double first_text_ms, unsigned min_words, unsigned max_words)
{
    double words = first_text_ms * ULM_PACE_HEADROOM * 1000 / ULM_PACE_WORD_US;
    if (first_text_ms <= 0 || words >= max_words)
        return max_words;
    unsigned whole = (unsigned)words;
    if (whole < words)
        whole++;
    return whole < min_words ? min_words : whole;
}
