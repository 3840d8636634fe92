/* SPDX-License-Identifier: MIT */
/* The decoder from the inside: shared by its life cycle, the opener, the beam and the ending. */
#ifndef ULM_ENGINE_DECODER_DATA_H
#define ULM_ENGINE_DECODER_DATA_H

#include <stdatomic.h>

#include "engine/decoder.h"
#include "engine/guard.h"
#include "engine/neutral.h"
#include "engine/prompt.h"
#include "engine/sampler.h"
#include "engine/tokenizer.h"

#define ULM_SLOTS   5u   /* the first holds the head of all prompts and is never overwritten */
#define ULM_SEARCH  4u   /* hypotheses where the greedy choice was stopped or unsure */
#define ULM_RESERVE 128u /* tokens of the context kept for what is generated */

/* A sequence and the ids that are in it. */
struct ulm_slot {
    struct ulm_kv *kv;
    int32_t *ids; /* [context] */
    unsigned n;
    uint64_t ticket;
    uint64_t used; /* when, in jobs */
};

struct ulm_decoder {
    struct ulm_tokenizer *tokenizer;
    struct ulm_chat *chat;
    struct ulm_model *model;
    struct ulm_runner *runner;
    struct ulm_guard guard;
    struct ulm_neutral neutral;
    struct ulm_model_info info;
    char *name, *system; /* owned texts of info */
    unsigned context;
    size_t vocabulary;
    struct ulm_slot slots[ULM_SLOTS];
    /* 2 * ULM_SEARCH of them at load, more by the first job with a wider beam. */
    struct ulm_kv *beam[2 * ULM_BEAM_MAX];
    int32_t *ids;   /* [context] of the job at hand: prompt, then what it adds */
    int32_t *ranks; /* [vocabulary] */
    float *logits;  /* [ULM_BEAM_MAX, vocabulary] */
    uint64_t jobs;
    atomic_uint_least64_t progress;
};

/* One more token that an opener may take. */
struct ulm_choice {
    int32_t id;
    bool end;   /* it ends the opener; nothing is appended */
    float logp; /* of the token among all tokens */
};

/* The model's own end of an opener, not one that a rule makes of a word too many. */
bool ulm_opener_is_end(const struct ulm_decoder *decoder, int32_t id);

/* Up to `wanted` choices by falling probability that the rules leave, from one row of logits.
 * *ret_changed: the most likely token was not among them. Returns how many. */
size_t ulm_opener_choices(struct ulm_decoder *decoder, const struct ulm_line *line,
                          const struct ulm_opener_options *options, const float *logits,
                          struct ulm_choice *choices, size_t wanted, bool *ret_changed);

/* Brings ids[0..n) into a slot and the logits behind the last id into decoder->logits. */
int ulm_decoder_prefill(struct ulm_decoder *decoder, uint64_t ticket, const int32_t *ids,
                        unsigned n, const struct ulm_watch *watch, struct ulm_slot **ret_slot,
                        unsigned *ret_reused);
/* One token more in a slot; logits of the next. false: the slot is full. */
bool ulm_decoder_step(struct ulm_decoder *decoder, struct ulm_slot *slot, int32_t id);

#define ULM_GUESSES 3u /* with the chosen token one pass of 4 rows, which costs what 1 row costs */
static_assert(1 + ULM_GUESSES <= ULM_BEAM_MAX, "a pass's logits have room");

/* Tokens that were run ahead of being chosen; they lie in the slot's kv behind its n ids, and
 * their logits in decoder->logits from the second row on. */
struct ulm_guess {
    int32_t ids[ULM_GUESSES];
    unsigned n, used;
    unsigned prompt; /* ids of the slot to look in; 0 = no guessing */
};

/* The slot holds the prompt and nothing else. */
void ulm_guess_begin(const struct ulm_decoder *decoder, const struct ulm_slot *slot,
                     struct ulm_guess *guess);
/* ulm_decoder_step, with guesses run along. Whoever then uses the slot otherwise truncates its kv
 * to its n ids first. */
bool ulm_guess_step(struct ulm_decoder *decoder, struct ulm_slot *slot, struct ulm_guess *guess,
                    int32_t id);

/* ulm_forward, counted. */
void ulm_decoder_forward(struct ulm_decoder *decoder, const struct ulm_row *rows, size_t n,
                         float *logits);

/* What was said so far, and how likely it was. */
struct ulm_speech {
    struct ulm_line line;
    unsigned said; /* words that have left */
    double logp;
    unsigned tokens; /* chosen, the end included */
};

/* Searches on from `from` with the logits of its next token in decoder->logits and its sequence in
 * the slot, `width` hypotheses wide. Words that have left stay as they are. ret may be from.
 * 0, ULM_STOPPED, -ENOMEM. */
int ulm_beam_search(struct ulm_decoder *decoder, struct ulm_slot *slot,
                    const struct ulm_opener_options *options, unsigned width,
                    const struct ulm_speech *from, const struct ulm_watch *watch,
                    struct ulm_speech *ret);

#endif
