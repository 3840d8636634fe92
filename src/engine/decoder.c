/* SPDX-License-Identifier: MIT */
/* The decoder's life cycle and its sequences. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/decoder_data.h"
#include "util/text.h"

#define CHUNK 32u /* tokens run between two looks at watch->stop */

static_assert(CHUNK <= ULM_BATCH_MAX, "a chunk is one batch");

/* --- life cycle --- */

static int load_lexicon(struct ulm_decoder *d, const struct ulm_gguf *gguf)
{
    const struct ulm_gguf_string *words;
    size_t n;
    if (ulm_gguf_get_strings(gguf, "ulm.lexicon", &words, &n) < 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        int r = ulm_words_add(&d->guard.lexicon, words[i].data, words[i].len);
        if (r < 0)
            return r;
    }
    ulm_words_seal(&d->guard.lexicon);
    return 0;
}

/* The name is shown to clients and in logs: one line of UTF-8, else the file's own name. */
static char *model_name(const struct ulm_gguf *gguf, const char *path)
{
    const char *name;
    bool fit = ulm_gguf_get_string(gguf, "general.name", &name) == 0 && *name &&
               strlen(name) <= 128 && ulm_utf8_valid(name, strlen(name));
    for (const char *c = name; fit && *c; c++)
        fit = (unsigned char)*c >= ' ' && *c != 0x7F;
    if (fit)
        return strdup(name);
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    return strdup(ulm_utf8_valid(base, strlen(base)) ? base : "model");
}

static void fill_info(struct ulm_decoder *d)
{
    const struct ulm_shape *shape = ulm_model_shape(d->model);
    d->info = (struct ulm_model_info){
        .name = d->name,
        .quantisation = ulm_type_name(shape->type),
        .kernels = ulm_model_kernels(d->model),
        .system = d->system,
        .parameters = shape->parameters,
        .weight_bytes = shape->weight_bytes,
        .context = d->context,
        .trained = shape->trained,
        .threads = ulm_runner_threads(d->runner),
        .layers = shape->layers,
        .hidden = shape->hidden,
        .heads = shape->heads,
        .kv_heads = shape->kv_heads,
        .ffn = shape->ffn,
        .vocabulary = shape->vocabulary,
        .rope_theta = shape->rope_theta,
        .min_confidence = d->neutral.below,
        .neutral = d->neutral.n,
    };
}

static int make_slots(struct ulm_decoder *d)
{
    d->ids = calloc(d->context, sizeof *d->ids);
    d->ranks = calloc(d->vocabulary, sizeof *d->ranks);
    d->logits = calloc(ULM_BEAM_MAX * d->vocabulary, sizeof *d->logits);
    if (!d->ids || !d->ranks || !d->logits)
        return -ENOMEM;
    for (size_t i = 0; i < 2 * ULM_SEARCH; i++) {
        int r = ulm_kv_new(d->model, d->context, &d->beam[i]);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < ULM_SLOTS; i++) {
        int r = ulm_kv_new(d->model, d->context, &d->slots[i].kv);
        if (r < 0)
            return r;
        d->slots[i].ids = calloc(d->context, sizeof *d->slots[i].ids);
        if (!d->slots[i].ids)
            return -ENOMEM;
    }
    return 0;
}

/* Runs the head of all prompts into its slot, which also brings weights and code into memory. */
static void warm(struct ulm_decoder *d)
{
    const int32_t *ids;
    size_t n;
    struct ulm_slot *head = &d->slots[0];
    ulm_chat_head(d->chat, &ids, &n);
    for (size_t at = 0; at < n; at += CHUNK) {
        struct ulm_row rows[CHUNK];
        size_t k = 0;
        for (; k < CHUNK && at + k < n; k++)
            rows[k] = (struct ulm_row){head->kv, ids[at + k], at + k + 1 == n};
        ulm_forward(d->runner, rows, k, d->logits);
    }
    memcpy(head->ids, ids, n * sizeof *ids);
    head->n = (unsigned)n;
}

static int load(struct ulm_decoder *d, const struct ulm_gguf *gguf,
                const struct ulm_engine_config *config, char *reterr, size_t reterr_size)
{
    int r = ulm_tokenizer_new(gguf, &d->tokenizer, reterr, reterr_size);
    if (r == 0)
        r = ulm_model_new(gguf, config->kernels ? config->kernels : "auto", &d->model, reterr,
                          reterr_size);
    if (r < 0)
        return r;
    d->context = config->context > 512 ? config->context : 512;
    d->vocabulary = ulm_model_shape(d->model)->vocabulary;
    if (d->vocabulary != ulm_tokenizer_size(d->tokenizer)) {
        snprintf(reterr, reterr_size, "%zu tokens for %zu rows of embedding",
                 ulm_tokenizer_size(d->tokenizer), d->vocabulary);
        return -EBADMSG;
    }
    const char *system = config->system ? config->system : ulm_chat_default_system(gguf);
    if (!ulm_utf8_valid(system, strlen(system))) {
        snprintf(reterr, reterr_size, "the system text is not UTF-8");
        return -EILSEQ;
    }
    r = ulm_chat_new(d->tokenizer, system, d->context - ULM_RESERVE, &d->chat, reterr, reterr_size);
    if (r != 0)
        return r < 0 ? r : ULM_ENGINE_SYSTEM;
    r = ulm_neutral_load(&d->neutral, gguf, d->tokenizer, reterr, reterr_size);
    if (r < 0)
        return r;
    d->system = strdup(system);
    d->name = model_name(gguf, config->path);
    r = d->system && d->name ? 0 : -ENOMEM;
    if (r == 0)
        r = load_lexicon(d, gguf);
    if (r == 0)
        r = make_slots(d);
    if (r == 0)
        r = ulm_runner_new(d->model, config->threads, config->cores ? config->cores : "auto",
                           &d->runner);
    if (r < 0)
        snprintf(reterr, reterr_size, "%s", strerror(-r));
    return r;
}

int ulm_decoder_new(const struct ulm_engine_config *config, struct ulm_decoder **ret_decoder,
                    char *reterr, size_t reterr_size)
{
    struct ulm_decoder *d = calloc(1, sizeof *d);
    struct ulm_gguf *gguf = NULL;
    if (!d) {
        snprintf(reterr, reterr_size, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    int r = ulm_gguf_open(config->path, &gguf, reterr, reterr_size);
    if (r == 0)
        r = load(d, gguf, config, reterr, reterr_size);
    ulm_gguf_free(gguf);
    if (r != 0) {
        ulm_decoder_free(d);
        return r;
    }
    fill_info(d);
    warm(d);
    *ret_decoder = d;
    return 0;
}

struct ulm_decoder *ulm_decoder_free(struct ulm_decoder *d)
{
    if (!d)
        return NULL;
    for (size_t i = 0; i < ULM_SLOTS; i++) {
        ulm_kv_free(d->slots[i].kv);
        free(d->slots[i].ids);
    }
    for (size_t i = 0; i < 2 * ULM_BEAM_MAX; i++)
        ulm_kv_free(d->beam[i]);
    ulm_runner_free(d->runner);
    ulm_model_free(d->model);
    ulm_chat_free(d->chat);
    ulm_tokenizer_free(d->tokenizer);
    ulm_guard_deinit(&d->guard);
    ulm_neutral_deinit(&d->neutral);
    free(d->name);
    free(d->system);
    free(d->ids);
    free(d->ranks);
    free(d->logits);
    free(d);
    return NULL;
}

const struct ulm_model_info *ulm_decoder_info(const struct ulm_decoder *d)
{
    return &d->info;
}

void ulm_decoder_forget(struct ulm_decoder *d)
{
    ulm_guard_forget(&d->guard);
    ulm_chat_forget(d->chat);
}

void ulm_decoder_bind(const struct ulm_decoder *d)
{
    ulm_runner_bind(d->runner);
}

uint64_t ulm_decoder_progress(const struct ulm_decoder *d)
{
    return atomic_load_explicit(&d->progress, memory_order_relaxed);
}

/* --- sequences --- */

static unsigned common(const struct ulm_slot *slot, const int32_t *ids, unsigned n)
{
    unsigned k = 0;
    while (k < n && k < slot->n && slot->ids[k] == ids[k])
        k++;
    return k;
}

/* The slot the prompt goes to, cut or filled to the longest beginning that is at hand. At least
 * one token is left to run, since its logits are wanted. */
static struct ulm_slot *take_slot(struct ulm_decoder *d, uint64_t ticket, const int32_t *ids,
                                  unsigned n)
{
    struct ulm_slot *own = NULL, *oldest = &d->slots[1], *best = &d->slots[0];
    for (size_t i = 0; i < ULM_SLOTS; i++) {
        struct ulm_slot *slot = &d->slots[i];
        if (common(slot, ids, n - 1) > common(best, ids, n - 1))
            best = slot;
        if (i > 0 && slot->n && slot->ticket == ticket)
            own = slot;
        if (i > 0 && slot->used < oldest->used)
            oldest = slot;
    }
    if (!own)
        own = oldest;
    unsigned length = common(best, ids, n - 1);
    if (common(own, ids, n - 1) < length) {
        ulm_kv_copy(own->kv, best->kv, length);
        memcpy(own->ids, best->ids, length * sizeof *ids);
    } else {
        ulm_kv_truncate(own->kv, length);
    }
    own->n = length;
    own->ticket = ticket;
    own->used = ++d->jobs;
    return own;
}

void ulm_decoder_forward(struct ulm_decoder *d, const struct ulm_row *rows, size_t n, float *logits)
{
    ulm_forward(d->runner, rows, n, logits);
    atomic_fetch_add_explicit(&d->progress, n, memory_order_relaxed);
}

int ulm_decoder_prefill(struct ulm_decoder *d, uint64_t ticket, const int32_t *ids, unsigned n,
                        const struct ulm_watch *watch, struct ulm_slot **ret_slot,
                        unsigned *ret_reused)
{
    struct ulm_slot *slot = take_slot(d, ticket, ids, n);
    *ret_reused = slot->n;
    while (slot->n < n) {
        struct ulm_row rows[CHUNK];
        unsigned k = 0;
        if (watch->stop(watch->data))
            return ULM_STOPPED;
        for (; k < CHUNK && slot->n + k < n; k++)
            rows[k] = (struct ulm_row){slot->kv, ids[slot->n + k], slot->n + k + 1 == n};
        ulm_decoder_forward(d, rows, k, d->logits);
        memcpy(slot->ids + slot->n, ids + slot->n, k * sizeof *ids);
        slot->n += k;
    }
    *ret_slot = slot;
    return 0;
}

bool ulm_decoder_step(struct ulm_decoder *d, struct ulm_slot *slot, int32_t id)
{
    if (slot->n == d->context)
        return false;
    const struct ulm_row row = {slot->kv, id, true};
    ulm_decoder_forward(d, &row, 1, d->logits);
    slot->ids[slot->n++] = id;
    return true;
}

int ulm_decoder_draft(struct ulm_decoder *d, uint64_t ticket, const struct ulm_prompt *prompt,
                      const struct ulm_watch *watch)
{
    const int32_t *ids;
    size_t n;
    bool shortened;
    struct ulm_slot *slot;
    unsigned reused;
    int r = ulm_chat_render(d->chat, prompt, &ids, &n, &shortened);
    return r < 0 ? r : ulm_decoder_prefill(d, ticket, ids, (unsigned)n, watch, &slot, &reused);
}
