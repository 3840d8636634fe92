/* SPDX-License-Identifier: MIT */
/* Character classes beyond ASCII, without a locale: what a tokenizer, a guard and a join need. */
#ifndef ULM_UTIL_UNICODE_H
#define ULM_UTIL_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

bool ulm_is_letter(uint32_t code);      /* \p{L} */
bool ulm_is_number(uint32_t code);      /* \p{N} */
bool ulm_is_white_space(uint32_t code); /* \s: the White_Space property */

/* Simple lower case (one character to one); other characters as they are. */
uint32_t ulm_to_lower(uint32_t code);
/* The other way, to the one capital that folds here; other characters as they are. */
uint32_t ulm_to_upper(uint32_t code);
static inline bool ulm_is_upper(uint32_t code)
{
    return ulm_to_lower(code) != code;
}

/* A character of a script that is written without spaces between words (Han, kana, Bopomofo,
 * Thai, Lao, Khmer, Myanmar) or of the punctuation that goes with it. */
bool ulm_is_unspaced(uint32_t code);

#endif
