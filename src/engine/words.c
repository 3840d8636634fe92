/* SPDX-License-Identifier: MIT */
#include "engine/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ulm_words_deinit(struct ulm_words *words)
{
    free(words->bytes);
    free(words->entries);
    *words = (struct ulm_words){0};
}

void ulm_words_clear(struct ulm_words *words)
{
    if (words->bytes)
        explicit_bzero(words->bytes, words->used);
    words->used = 0;
    words->n = 0;
}

int ulm_words_add(struct ulm_words *words, const char *text, size_t len)
{
    if (len > UINT32_MAX / 2 - words->used)
        return -ENOMEM;
    if (words->used + len > words->size) {
        size_t size = 2 * (words->used + len) + 256;
        char *bytes = realloc(words->bytes, size);
        if (!bytes)
            return -ENOMEM;
        words->bytes = bytes;
        words->size = size;
    }
    if (words->n == words->entries_size) {
        size_t size = 2 * words->n + 64;
        struct ulm_words_entry *entries = realloc(words->entries, size * sizeof *entries);
        if (!entries)
            return -ENOMEM;
        words->entries = entries;
        words->entries_size = size;
    }
    if (len)
        memcpy(words->bytes + words->used, text, len);
    words->entries[words->n++] = (struct ulm_words_entry){(uint32_t)words->used, (uint32_t)len};
    words->used += len;
    return 0;
}

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t least = a_len < b_len ? a_len : b_len;
    int order = least ? memcmp(a, b, least) : 0;
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_entries(const void *x, const void *y, void *arg)
{
    const struct ulm_words_entry *a = x, *b = y;
    const char *bytes = arg;
    return compare(bytes + a->at, a->len, bytes + b->at, b->len);
}

/* Sorts, and keeps of each word that was added `least` times or more one. */
static void seal(struct ulm_words *words, size_t least)
{
    size_t kept = 0, run = 0;
    if (words->n)
        qsort_r(words->entries, words->n, sizeof *words->entries, compare_entries, words->bytes);
    for (size_t i = 0; i < words->n; i++) {
        run++;
        if (i + 1 < words->n &&
            !compare_entries(&words->entries[i], &words->entries[i + 1], words->bytes))
            continue;
        if (run >= least)
            words->entries[kept++] = words->entries[i];
        run = 0;
    }
    words->n = kept;
}

void ulm_words_seal(struct ulm_words *words)
{
    seal(words, 1);
}

void ulm_words_seal_doubles(struct ulm_words *words)
{
    seal(words, 2);
}

/* The first word that does not come before text. */
static size_t lower_bound(const struct ulm_words *words, const char *text, size_t len)
{
    size_t low = 0, high = words->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ulm_words_entry *entry = &words->entries[middle];
        if (compare(words->bytes + entry->at, entry->len, text, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ulm_words_has(const struct ulm_words *words, const char *text, size_t len)
{
    size_t i = lower_bound(words, text, len);
    return i < words->n && words->entries[i].len == len &&
           (!len || !memcmp(words->bytes + words->entries[i].at, text, len));
}

bool ulm_words_begins(const struct ulm_words *words, const char *prefix, size_t len)
{
    size_t i = lower_bound(words, prefix, len);
    return i < words->n && words->entries[i].len >= len &&
           (!len || !memcmp(words->bytes + words->entries[i].at, prefix, len));
}
