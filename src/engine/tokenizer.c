/* SPDX-License-Identifier: MIT */
#include "engine/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define VOCABULARY_MAX (1u << 20)
#define SPECIAL_MAX    4096u /* each is looked for in each text, and sorted in by hand */

/* llama.cpp's numbers for tokenizer.ggml.token_type. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

struct token {
    uint32_t offset, len; /* into bytes */
    uint8_t type;
    bool mapped; /* its text was byte-level text: merges can reach it */
};

/* A merge of two neighbours; rank UINT32_MAX = empty slot. */
struct merge {
    int32_t left, right, result;
    uint32_t rank;
};

struct ulm_tokenizer {
    struct token *tokens; /* [n] */
    size_t n;
    char *bytes;      /* texts of all tokens, each with a NUL behind it */
    int32_t *by_text; /* [text_mask + 1] open addressing over the tokens' bytes; -1 = empty */
    size_t text_mask;
    struct merge *merges; /* [merge_mask + 1] open addressing over the pairs */
    size_t merge_mask;
    int32_t by_byte[256];
    int32_t *parsed; /* [n_parsed] tokens that are found in text before it is split */
    size_t n_parsed;
    int32_t bos, eos;
};

static uint64_t hash_bytes(const char *p, size_t len)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001B3u;
    return h ^ h >> 29;
}

static uint64_t hash_pair(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 31;
}

static size_t table_size(size_t n)
{
    size_t size = 16;
    while (size < n + n / 3) /* three quarters full at most */
        size *= 2;
    return size;
}

/* GPT-2 writes bytes as printable characters: those of Latin-1 that print stand for themselves,
 * the others follow from U+0100 on. Returns the byte, or -1. */
static int byte_of(uint32_t code)
{
    if ((code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xFF && code != 0xAD))
        return (int)code;
    if (code < 0x100 || code > 0x143)
        return -1;
    uint32_t k = code - 0x100;
    if (k < 0x21)
        return (int)k;
    if (k < 0x21 + 0x22)
        return (int)(k - 0x21 + 0x7F);
    return 0xAD;
}

/* Byte-level text back to bytes; -1 when it holds a character that stands for none. */
static int unmap(const char *text, size_t len, char *ret)
{
    int n = 0;
    while (len) {
        uint32_t code;
        int used = ulm_utf8_decode(text, len, &code);
        int byte = used > 0 ? byte_of(code) : -1;
        if (byte < 0)
            return -1;
        ret[n++] = (char)byte;
        text += used;
        len -= (size_t)used;
    }
    return n;
}

static size_t text_slot(const struct ulm_tokenizer *t, const char *text, size_t len)
{
    size_t slot = hash_bytes(text, len) & t->text_mask;
    while (t->by_text[slot] >= 0) {
        const struct token *token = &t->tokens[t->by_text[slot]];
        if (token->len == len && !memcmp(t->bytes + token->offset, text, len))
            break;
        slot = (slot + 1) & t->text_mask;
    }
    return slot;
}

int32_t ulm_tokenizer_find(const struct ulm_tokenizer *t, const char *text, size_t len)
{
    return t->by_text[text_slot(t, text, len)];
}

static int load_tokens(struct ulm_tokenizer *t, const struct ulm_gguf_string *texts,
                       const int32_t *types, char *reterr, size_t reterr_size)
{
    size_t total = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (texts[i].len > 1024) {
            snprintf(reterr, reterr_size, "token %zu is longer than 1024 bytes", i);
            return -EBADMSG;
        }
        total += texts[i].len + 1;
    }
    t->tokens = calloc(t->n, sizeof *t->tokens);
    t->bytes = malloc(total);
    t->text_mask = table_size(t->n) - 1;
    t->by_text = malloc((t->text_mask + 1) * sizeof *t->by_text);
    if (total > UINT32_MAX || !t->tokens || !t->bytes || !t->by_text)
        return -ENOMEM;
    memset(t->by_text, 0xFF, (t->text_mask + 1) * sizeof *t->by_text);
    uint32_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        struct token *token = &t->tokens[i];
        token->type =
            types && types[i] > 0 && types[i] <= TOKEN_BYTE ? (uint8_t)types[i] : TOKEN_NORMAL;
        token->offset = at;
        int n =
            token->type == TOKEN_NORMAL ? unmap(texts[i].data, texts[i].len, t->bytes + at) : -1;
        token->mapped = n > 0;
        if (n < 0) {
            n = (int)texts[i].len;
            memcpy(t->bytes + at, texts[i].data, texts[i].len);
        }
        token->len = (uint32_t)n;
        at += (uint32_t)n;
        t->bytes[at++] = '\0';
        if (!token->mapped)
            continue;
        size_t slot = text_slot(t, t->bytes + token->offset, token->len);
        if (t->by_text[slot] >= 0) {
            snprintf(reterr, reterr_size, "tokens %d and %zu are the same", t->by_text[slot], i);
            return -EBADMSG;
        }
        t->by_text[slot] = (int32_t)i;
    }
    for (unsigned b = 0; b < 256; b++) {
        t->by_byte[b] = ulm_tokenizer_find(t, &(char){(char)b}, 1);
        if (t->by_byte[b] < 0) {
            snprintf(reterr, reterr_size, "the vocabulary has no token for byte 0x%02X", b);
            return -EBADMSG;
        }
    }
    return 0;
}

static struct merge *merge_slot(const struct ulm_tokenizer *t, int32_t left, int32_t right)
{
    size_t slot = hash_pair(left, right) & t->merge_mask;
    while (t->merges[slot].rank != UINT32_MAX &&
           (t->merges[slot].left != left || t->merges[slot].right != right))
        slot = (slot + 1) & t->merge_mask;
    return &t->merges[slot];
}

/* "left right" in byte-level text, where a space is never itself. */
static int load_merge(struct ulm_tokenizer *t, const struct ulm_gguf_string *text, size_t rank)
{
    char bytes[2 * 1024];
    const char *space = text->len > 2 ? memchr(text->data + 1, ' ', text->len - 1) : NULL;
    if (!space || text->len > sizeof bytes)
        return -EBADMSG;
    size_t left_len = (size_t)(space - text->data);
    int left_bytes = unmap(text->data, left_len, bytes);
    if (left_bytes <= 0)
        return -EBADMSG;
    int right_bytes = unmap(space + 1, text->len - left_len - 1, bytes + left_bytes);
    if (right_bytes <= 0)
        return -EBADMSG;
    int32_t left = ulm_tokenizer_find(t, bytes, (size_t)left_bytes);
    int32_t right = ulm_tokenizer_find(t, bytes + left_bytes, (size_t)right_bytes);
    int32_t result = ulm_tokenizer_find(t, bytes, (size_t)left_bytes + (size_t)right_bytes);
    if (left < 0 || right < 0 || result < 0)
        return -EBADMSG;
    struct merge *merge = merge_slot(t, left, right);
    if (merge->rank == UINT32_MAX)
        *merge = (struct merge){left, right, result, (uint32_t)rank};
    return 0;
}

static int load_merges(struct ulm_tokenizer *t, const struct ulm_gguf *gguf, char *reterr,
                       size_t reterr_size)
{
    const struct ulm_gguf_string *texts;
    size_t n;
    if (ulm_gguf_get_strings(gguf, "tokenizer.ggml.merges", &texts, &n) < 0) {
        snprintf(reterr, reterr_size, "tokenizer.ggml.merges is missing");
        return -EBADMSG;
    }
    if (n > VOCABULARY_MAX) {
        snprintf(reterr, reterr_size, "%zu merges are too many", n);
        return -EBADMSG;
    }
    t->merge_mask = table_size(n) - 1;
    t->merges = malloc((t->merge_mask + 1) * sizeof *t->merges);
    if (!t->merges)
        return -ENOMEM;
    memset(t->merges, 0xFF, (t->merge_mask + 1) * sizeof *t->merges);
    for (size_t i = 0; i < n; i++) {
        if (load_merge(t, &texts[i], i) < 0) {
            snprintf(reterr, reterr_size, "merge %zu does not join two tokens into a third", i);
            return -EBADMSG;
        }
    }
    return 0;
}

/* Whether users may write the token in plain text: llama.cpp reads user-defined tokens out of any
 * text, but a name like <|im_start|> must never come from what people say. */
static bool is_open(const struct ulm_tokenizer *t, int32_t id)
{
    const struct token *token = &t->tokens[id];
    const char *text = t->bytes + token->offset;
    bool framed =
        token->len >= 4 && !memcmp(text, "<|", 2) && !memcmp(text + token->len - 2, "|>", 2);
    return token->type == TOKEN_USER && !framed && id != t->bos && id != t->eos;
}

static int load_parsed(struct ulm_tokenizer *t, char *reterr, size_t reterr_size)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += t->tokens[i].type != TOKEN_NORMAL && t->tokens[i].len > 0;
    snprintf(reterr, reterr_size, "%zu special tokens are too many", n);
    if (n > SPECIAL_MAX)
        return -EBADMSG;
    t->parsed = malloc((n ? n : 1) * sizeof *t->parsed);
    if (!t->parsed)
        return -ENOMEM;
    for (size_t i = 0; i < t->n; i++) {
        if (t->tokens[i].type == TOKEN_NORMAL || t->tokens[i].type == TOKEN_UNUSED ||
            t->tokens[i].type == TOKEN_BYTE || !t->tokens[i].len)
            continue;
        /* Longest first, so that no name hides a longer one. */
        size_t k = t->n_parsed++;
        for (; k > 0 && t->tokens[t->parsed[k - 1]].len < t->tokens[i].len; k--)
            t->parsed[k] = t->parsed[k - 1];
        t->parsed[k] = (int32_t)i;
    }
    return 0;
}

static int32_t id_of(const struct ulm_tokenizer *t, const struct ulm_gguf *gguf, const char *key)
{
    uint64_t id;
    return ulm_gguf_get_u64(gguf, key, &id) == 0 && id < t->n ? (int32_t)id : -1;
}

static int check_kind(const struct ulm_gguf *gguf, char *reterr, size_t reterr_size)
{
    static const char *const wanted[][2] = {{"tokenizer.ggml.model", "gpt2"},
                                            {"tokenizer.ggml.pre", "gpt-2"}};
    for (size_t i = 0; i < 2; i++) {
        const char *value;
        if (ulm_gguf_get_string(gguf, wanted[i][0], &value) < 0) {
            snprintf(reterr, reterr_size, "%s is missing; \"%s\" is run", wanted[i][0],
                     wanted[i][1]);
            return -EBADMSG;
        }
        if (strcmp(value, wanted[i][1]) != 0) {
            snprintf(reterr, reterr_size, "%s is another than \"%s\"", wanted[i][0], wanted[i][1]);
            return -EBADMSG;
        }
    }
    return 0;
}

static int load(struct ulm_tokenizer *t, const struct ulm_gguf *gguf, char *reterr,
                size_t reterr_size)
{
    const struct ulm_gguf_string *texts;
    const int32_t *types = NULL;
    size_t n_types = 0;
    int r = check_kind(gguf, reterr, reterr_size);
    if (r < 0)
        return r;
    if (ulm_gguf_get_strings(gguf, "tokenizer.ggml.tokens", &texts, &t->n) < 0 || !t->n ||
        t->n > VOCABULARY_MAX) {
        snprintf(reterr, reterr_size, "tokenizer.ggml.tokens is missing, empty or too long");
        return -EBADMSG;
    }
    if (ulm_gguf_get_i32s(gguf, "tokenizer.ggml.token_type", &types, &n_types) == 0 &&
        n_types != t->n) {
        snprintf(reterr, reterr_size, "%zu token types for %zu tokens", n_types, t->n);
        return -EBADMSG;
    }
    r = load_tokens(t, texts, types, reterr, reterr_size);
    if (r < 0)
        return r;
    int add_bos = 0;
    t->eos = id_of(t, gguf, "tokenizer.ggml.eos_token_id");
    ulm_gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", &add_bos);
    t->bos = add_bos ? id_of(t, gguf, "tokenizer.ggml.bos_token_id") : -1;
    r = load_merges(t, gguf, reterr, reterr_size);
    return r < 0 ? r : load_parsed(t, reterr, reterr_size);
}

int ulm_tokenizer_new(const struct ulm_gguf *gguf, struct ulm_tokenizer **ret_tokenizer,
                      char *reterr, size_t reterr_size)
{
    struct ulm_tokenizer *t = calloc(1, sizeof *t);
    int r = t ? load(t, gguf, reterr, reterr_size) : -ENOMEM;
    if (r < 0) {
        if (r == -ENOMEM)
            snprintf(reterr, reterr_size, "%s", strerror(ENOMEM));
        ulm_tokenizer_free(t);
        return r;
    }
    *ret_tokenizer = t;
    return 0;
}

struct ulm_tokenizer *ulm_tokenizer_free(struct ulm_tokenizer *t)
{
    if (!t)
        return NULL;
    free(t->tokens);
    free(t->bytes);
    free(t->by_text);
    free(t->merges);
    free(t->parsed);
    free(t);
    return NULL;
}

/* --- encoding --- */

/* The symbols of one word as a list; a merge takes the right one out. */
struct symbol {
    int32_t id; /* -1 = taken out */
    int32_t prev, next;
};

/* A possible merge of the symbol at `left` with its right neighbour. */
struct candidate {
    uint32_t rank;
    int32_t left;
    int32_t left_id, right_id; /* what it was found for; another pair now = void */
};

/* A heap of candidates, lowest rank and then leftmost on top. */
struct heap {
    struct candidate *items;
    size_t n;
};

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void push(struct heap *heap, struct candidate item)
{
    size_t i = heap->n++;
    for (; i > 0 && before(&item, &heap->items[(i - 1) / 2]); i = (i - 1) / 2)
        heap->items[i] = heap->items[(i - 1) / 2];
    heap->items[i] = item;
}

static struct candidate pop(struct heap *heap)
{
    struct candidate top = heap->items[0], item = heap->items[--heap->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->n)
            break;
        if (child + 1 < heap->n && before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!before(&heap->items[child], &item))
            break;
        heap->items[i] = heap->items[child];
        i = child;
    }
    heap->items[i] = item;
    return top;
}

static void offer(const struct ulm_tokenizer *t, const struct symbol *symbols, struct heap *heap,
                  int32_t left)
{
    if (left < 0 || symbols[left].next < 0)
        return;
    int32_t right_id = symbols[symbols[left].next].id;
    const struct merge *merge = merge_slot(t, symbols[left].id, right_id);
    if (merge->rank != UINT32_MAX)
        push(heap, (struct candidate){merge->rank, left, symbols[left].id, right_id});
}

/* Merges the bytes of a word in place: n log n, so that 16 KiB without a space do no harm. At
 * most n - 1 merges happen and each offers two candidates, so the heap holds 3 n. */
static void merge_word(const struct ulm_tokenizer *t, struct symbol *symbols, size_t n,
                       struct heap *heap)
{
    heap->n = 0;
    for (size_t i = 0; i + 1 < n; i++)
        offer(t, symbols, heap, (int32_t)i);
    while (heap->n) {
        struct candidate best = pop(heap);
        struct symbol *left = &symbols[best.left];
        if (left->id != best.left_id || left->next < 0 || symbols[left->next].id != best.right_id)
            continue;
        struct symbol *right = &symbols[left->next];
        left->id = merge_slot(t, best.left_id, best.right_id)->result;
        right->id = -1;
        left->next = right->next;
        if (left->next >= 0)
            symbols[left->next].prev = best.left;
        offer(t, symbols, heap, left->prev);
        offer(t, symbols, heap, best.left);
    }
}

#define SHORT_WORD 128 /* bytes that need no allocation */

static int encode_word(const struct ulm_tokenizer *t, const char *word, size_t len, int32_t *ids,
                       size_t cap, size_t *n)
{
    struct symbol short_symbols[SHORT_WORD], *symbols = short_symbols;
    struct candidate short_items[3 * SHORT_WORD];
    struct heap heap = {short_items, 0};
    /* A whole word that is a token of its own is what its merges lead to only where they do; the
     * merges decide, so there is no short cut. */
    if (len > SHORT_WORD) {
        symbols = malloc(len * sizeof *symbols);
        heap.items = malloc(3 * len * sizeof *heap.items);
    }
    int r = symbols && heap.items ? 0 : -ENOMEM;
    if (r == 0) {
        for (size_t i = 0; i < len; i++)
            symbols[i] = (struct symbol){t->by_byte[(unsigned char)word[i]], (int32_t)i - 1,
                                         i + 1 < len ? (int32_t)i + 1 : -1};
        merge_word(t, symbols, len, &heap);
        for (int32_t i = len > 0 ? 0 : -1; r == 0 && i >= 0; i = symbols[i].next) {
            if (*n == cap)
                r = -ENOBUFS;
            else
                ids[(*n)++] = symbols[i].id;
        }
    }
    if (symbols != short_symbols) {
        free(symbols);
        free(heap.items);
    }
    return r;
}

/* Text without special tokens. */
static int encode_text(const struct ulm_tokenizer *t, const char *text, size_t len, int32_t *ids,
                       size_t cap, size_t *n)
{
    while (len) {
        size_t word = ulm_tokenizer_word(text, len);
        int r = encode_word(t, text, word, ids, cap, n);
        if (r < 0)
            return r;
        text += word;
        len -= word;
    }
    return 0;
}

/* The first special token in text: its id and place, or -1. */
static int32_t next_special(const struct ulm_tokenizer *t, const char *text, size_t len,
                            bool special, size_t *ret_at)
{
    int32_t found = -1;
    for (size_t k = 0; k < t->n_parsed; k++) {
        int32_t id = t->parsed[k];
        if (!special && !is_open(t, id))
            continue;
        const char *p = memmem(text, len, t->bytes + t->tokens[id].offset, t->tokens[id].len);
        if (p && (found < 0 || (size_t)(p - text) < *ret_at)) {
            found = id;
            *ret_at = (size_t)(p - text);
        }
    }
    return found;
}

static int encode_valid(const struct ulm_tokenizer *t, const char *text, size_t len, bool special,
                        int32_t *ids, size_t cap, size_t *n)
{
    for (;;) {
        size_t at = len;
        int32_t id = next_special(t, text, len, special, &at);
        int r = encode_text(t, text, at, ids, cap, n);
        if (r < 0 || id < 0)
            return r;
        if (*n == cap)
            return -ENOBUFS;
        ids[(*n)++] = id;
        text += at + t->tokens[id].len;
        len -= at + t->tokens[id].len;
    }
}

/* A copy with each byte that is not UTF-8 as U+FFFD. NULL = out of memory. */
static char *mend(const char *text, size_t len, size_t *ret_len)
{
    char *copy = malloc(3 * len + 1);
    if (!copy)
        return NULL;
    size_t out = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code;
        int used = ulm_utf8_decode(text + i, len - i, &code);
        if (used <= 0) {
            code = ULM_REPLACEMENT;
            used = 1;
        }
        out += ulm_utf8_encode(code, copy + out);
        i += (size_t)used;
    }
    *ret_len = out;
    return copy;
}

int ulm_tokenizer_encode(const struct ulm_tokenizer *t, const char *text, size_t len, bool special,
                         int32_t *ids, size_t cap, size_t *n)
{
    size_t kept = *n;
    char *mended = NULL;
    if (!ulm_utf8_valid(text, len)) {
        mended = mend(text, len, &len);
        if (!mended)
            return -ENOMEM;
        text = mended;
    }
    int r = encode_valid(t, text, len, special, ids, cap, n);
    if (r < 0)
        *n = kept;
    free(mended);
    return r;
}

/* --- what a token is --- */

const char *ulm_tokenizer_piece(const struct ulm_tokenizer *t, int32_t id, size_t *ret_len)
{
    *ret_len = t->tokens[id].len;
    return t->bytes + t->tokens[id].offset;
}

bool ulm_tokenizer_is_control(const struct ulm_tokenizer *t, int32_t id)
{
    return !t->tokens[id].mapped && !is_open(t, id);
}

size_t ulm_tokenizer_size(const struct ulm_tokenizer *t)
{
    return t->n;
}

int32_t ulm_tokenizer_control(const struct ulm_tokenizer *t, const char *name)
{
    for (size_t k = 0; k < t->n_parsed; k++) {
        if (!strcmp(t->bytes + t->tokens[t->parsed[k]].offset, name))
            return t->parsed[k];
    }
    return -1;
}

int32_t ulm_tokenizer_eos(const struct ulm_tokenizer *t)
{
    return t->eos;
}

int32_t ulm_tokenizer_bos(const struct ulm_tokenizer *t)
{
    return t->bos;
}
