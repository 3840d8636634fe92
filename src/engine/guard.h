/* SPDX-License-Identifier: MIT */
/*
 * What an opener may be made of. The form rules always hold: no control token, no white space but
 * one space before a word, whole UTF-8. The guard adds what keeps it from being false or broken:
 *
 * - no polarity, refusal or claim as the first words ("Yes", "I can't", "I've");
 * - digits, number words and capitalised names only out of the request, its facts or its history
 *   (the first word and "I" are exempt from the rule on capitals, not from the one on numbers); a
 *   common word of the request gets no capital inside a sentence;
 * - no markup, no word twice in a row, no three words a second time, no word of content twice
 *   unless the request repeats it; "a" and "an" as the next word's first letter wants them;
 * - where the model file has a lexicon: a word is finished only as a word of the request or of the
 *   lexicon, and what is begun must be the beginning of one.
 *
 * It is asked about one candidate token at a time: may the text go on like this?
 */
#ifndef ULM_ENGINE_GUARD_H
#define ULM_ENGINE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/limits.h>
#include <ulmd/request.h>

#include "engine/words.h"

#define ULM_LINE_TEXT_MAX (ULM_OPENER_MAX + ULM_FINISH_MAX)

/* The text of one hypothesis. Copied by value in a beam. */
struct ulm_line {
    char text[ULM_LINE_TEXT_MAX + 1]; /* a space at its end has begun a word */
    uint16_t len;
    uint16_t cap;                           /* bytes that text may grow to, <= ULM_LINE_TEXT_MAX */
    uint16_t words;                         /* begun */
    uint16_t starts[ULM_LINE_TEXT_MAX / 2]; /* [words] where each begins */
};

struct ulm_guard {
    struct ulm_words lexicon; /* of the model file; empty = none */
    struct ulm_words said;    /* of the request: every form that may be used */
    struct ulm_words twice;   /* those of them that the request itself repeats; small letters */
    bool on;
};

void ulm_guard_deinit(struct ulm_guard *guard);
/* Reads the words of a request. opener: words already out (FINISH), or NULL. -ENOMEM. */
int ulm_guard_prepare(struct ulm_guard *guard, bool on, const struct ulm_prompt *prompt,
                      const char *opener);
/* Wipes the words of the request; the memory is kept. */
void ulm_guard_forget(struct ulm_guard *guard);

/* Whether piece may be appended to the line. A piece that begins with a space opens a word. */
bool ulm_guard_allows(const struct ulm_guard *guard, const struct ulm_line *line, const char *piece,
                      size_t len);
/* Whether the line may end, or go on with a new word: its last word is whole. */
bool ulm_guard_whole(const struct ulm_guard *guard, const struct ulm_line *line);

/* Nothing in it that no opener may have: white space, controls, what cannot be seen. It may end
 * within a character. */
bool ulm_guard_is_fit(const char *text, size_t len);

/* Whether the line takes up a word of content out of the request. */
bool ulm_guard_grounded(const struct ulm_guard *guard, const struct ulm_line *line);

/* Appends a piece that was allowed. */
void ulm_line_add(struct ulm_line *line, const char *piece, size_t len);
/* Takes off a last word that is not whole. */
void ulm_line_drop_word(struct ulm_line *line);

/* The number a word names ("ten" -> 10); -1 = none. Lower case, no punctuation. */
int ulm_number_word(const char *word, size_t len);

#endif
