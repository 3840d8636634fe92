/* SPDX-License-Identifier: MIT */
/* UTF-8: check, step, count, repair. */
#ifndef ULM_UTIL_TEXT_H
#define ULM_UTIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ULM_REPLACEMENT 0xFFFDu /* U+FFFD */

/* Decodes the character at p, of which len > 0 bytes are there. Returns its length 1..4 and the
 * code point; 0 when the bytes so far are a true beginning and more are needed; -EILSEQ when no
 * continuation could make them valid (overlong forms, surrogates and > U+10FFFF included). */
int ulm_utf8_decode(const char *p, size_t len, uint32_t *ret_code);

/* Writes 1..4 bytes; returns how many. code must be a scalar value. */
size_t ulm_utf8_encode(uint32_t code, char ret_bytes[static 4]);

bool ulm_utf8_valid(const char *text, size_t len);

/* How many bytes from the start are whole, valid characters; the rest may be a cut character. */
size_t ulm_utf8_whole(const char *text, size_t len);

/* Code points of a valid text; a stray byte counts one. */
size_t ulm_utf8_count(const char *text, size_t len);

/* Start of the last character of a valid text: its offset, 0 for an empty one. */
size_t ulm_utf8_last(const char *text, size_t len);

/* Space, tab, CR, LF, VT or FF. Without a locale. */
bool ulm_is_space(char c);

/* Words by runs of ASCII white space: how the protocol counts an opener's words. */
size_t ulm_count_words(const char *text);

/* Makes one line of it that no terminal acts on: each control character becomes `?`, those of two
 * bytes in UTF-8 (U+0080 to U+009F) two of them. */
void ulm_tame(char *text);

#endif
