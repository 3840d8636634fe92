/* SPDX-License-Identifier: MIT */
/*
 * Byte-level BPE as GPT-2 has it: text is split into words by the GPT-2 pattern, the bytes of a
 * word are merged pair by pair in the order of the merges' ranks. Read-only after it was made.
 */
#ifndef ULM_ENGINE_TOKENIZER_H
#define ULM_ENGINE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf.h"

struct ulm_tokenizer;

/* Copies what it needs: gguf may be freed afterwards. <0: errno and one line of reason. */
int ulm_tokenizer_new(const struct ulm_gguf *gguf, struct ulm_tokenizer **ret_tokenizer,
                      char *reterr, size_t reterr_size);
struct ulm_tokenizer *ulm_tokenizer_free(struct ulm_tokenizer *tokenizer);

/* Appends the ids of text to ids[0..cap), of which *n are taken. `special`: control tokens
 * written in the text become their ids; without it they are text like any other. A byte that is
 * not UTF-8 counts as U+FFFD. A text of len bytes gives at most 3 * len ids (len for valid UTF-8).
 * 0, -ENOBUFS (cap too small; *n is as before), -ENOMEM. */
int ulm_tokenizer_encode(const struct ulm_tokenizer *tokenizer, const char *text, size_t len,
                         bool special, int32_t *ids, size_t cap, size_t *n);

/* The bytes of a token (they may be part of a character); of a control token its name. Borrowed. */
const char *ulm_tokenizer_piece(const struct ulm_tokenizer *tokenizer, int32_t id, size_t *ret_len);
bool ulm_tokenizer_is_control(const struct ulm_tokenizer *tokenizer, int32_t id);
size_t ulm_tokenizer_size(const struct ulm_tokenizer *tokenizer);

/* The id of the control token of that name; -1 = none. */
int32_t ulm_tokenizer_control(const struct ulm_tokenizer *tokenizer, const char *name);
/* The id of the text token with exactly these bytes; -1 = none. */
int32_t ulm_tokenizer_find(const struct ulm_tokenizer *tokenizer, const char *text, size_t len);
int32_t ulm_tokenizer_eos(const struct ulm_tokenizer *tokenizer); /* -1 = none */
/* Put before every sequence; -1 = the model wants none. */
int32_t ulm_tokenizer_bos(const struct ulm_tokenizer *tokenizer);

/* The pre-tokenizer: length of the word at the start of text (> 0 for len > 0). */
size_t ulm_tokenizer_word(const char *text, size_t len);

#endif
