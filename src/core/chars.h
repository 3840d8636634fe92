/* SPDX-License-Identifier: MIT */
/* What joining and echo finding ask about one character. */
#ifndef ULM_CORE_CHARS_H
#define ULM_CORE_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at p (len > 0 bytes there); a stray byte is U+FFFD of length 1. Returns its length.
 */
size_t ulm_char_at(const char *p, size_t len, uint32_t *ret_code);
/* The last character of text; 0 where text is empty. */
uint32_t ulm_char_last(const char *text, size_t len);

/* For comparing: case folded, and every quotation mark of one kind made the same. */
uint32_t ulm_char_fold(uint32_t code);

bool ulm_char_is_word(uint32_t code); /* a letter, mark or number */

#endif
