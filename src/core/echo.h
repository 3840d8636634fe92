/* SPDX-License-Identifier: MIT */
/* Does a continuation say again what the opener said? Pure questions about two texts. */
#ifndef ULM_CORE_ECHO_H
#define ULM_CORE_ECHO_H

#include <stdbool.h>
#include <stddef.h>

enum ulm_echo {
    ULM_ECHO_NO,
    ULM_ECHO_MAYBE, /* more text is needed to tell */
    ULM_ECHO_YES,
};

/* Does text[0..len) begin with the opener, or with its last words (two at least; a character of a
 * script without spaces counts half a word)? Case, the amount of white space and the kind of quotes
 * do not matter, nor does punctuation at the opener's end that the text leaves out; the echo ends
 * with a whole word. The longest wins; *ret_len is its length in text, set on YES.
 * Once the answer is YES or NO, more text does not change it. With at_end no more text comes:
 * an unfinished echo of the whole opener, of two words or more, is one too. */
enum ulm_echo ulm_echo_find(const char *opener, const char *text, size_t len, bool at_end,
                            size_t *ret_len);

/* Do 60 % of the first n words of text occur in the opener, whose words are n (three at least)? */
enum ulm_echo ulm_echo_restart(const char *opener, const char *text, size_t len, bool at_end);

#endif
