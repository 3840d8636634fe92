/* SPDX-License-Identifier: MIT */
/* A set of byte strings that answers "is it in" and "does one begin so": the words an opener may
 * be made of. Memory is kept when it is cleared, so that a request's set costs no allocation. */
#ifndef ULM_ENGINE_WORDS_H
#define ULM_ENGINE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ulm_words {
    char *bytes; /* owned: the words one behind another */
    size_t used, size;
    struct ulm_words_entry {
        uint32_t at, len;
    } * entries; /* owned; sorted after ulm_words_seal */
    size_t n, entries_size;
};

void ulm_words_deinit(struct ulm_words *words);
void ulm_words_clear(struct ulm_words *words); /* the bytes are wiped */
int ulm_words_add(struct ulm_words *words, const char *text, size_t len); /* -ENOMEM */
/* Sorts and drops doubles; only then may the set be asked. */
void ulm_words_seal(struct ulm_words *words);
/* The same, and only what was added more than once is kept. */
void ulm_words_seal_doubles(struct ulm_words *words);

bool ulm_words_has(const struct ulm_words *words, const char *text, size_t len);
bool ulm_words_begins(const struct ulm_words *words, const char *prefix, size_t len);

#endif
