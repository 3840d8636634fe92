/* SPDX-License-Identifier: MIT */
/*
 * The opener policy. A token is chosen among those the rules leave; a word leaves when the next
 * token opens another or the opener ends, so no word is ever cut. The opener ends where the model
 * ends it (never before min_words), or where one word more than max_words would begin.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine/decoder_data.h"

#define LOOK_FIRST 64u /* tokens by probability that nearly always hold an allowed one */
#define LOOK_NEXT  1024u

/* --- which tokens may follow --- */

static bool is_end(const struct ulm_decoder *d, int32_t id)
{
    return id == ulm_chat_end(d->chat) || id == ulm_tokenizer_eos(d->tokenizer);
}

/* Whether the token may follow, and whether it ends the opener. */
static bool may_follow(const struct ulm_decoder *d, const struct ulm_line *line,
                       const struct ulm_opener_options *options, int32_t id, bool *ret_end)
{
    *ret_end = is_end(d, id);
    if (*ret_end)
        return line->words >= options->min_words && ulm_guard_whole(&d->guard, line);
    if (ulm_tokenizer_is_control(d->tokenizer, id))
        return false;
    size_t len;
    const char *piece = ulm_tokenizer_piece(d->tokenizer, id, &len);
    if (*piece == ' ' && line->words == options->max_words) {
        *ret_end = true;
        return ulm_guard_whole(&d->guard, line);
    }
    return ulm_guard_allows(&d->guard, line, piece, len);
}

size_t ulm_opener_choices(struct ulm_decoder *d, const struct ulm_line *line,
                          const struct ulm_opener_options *options, const float *logits,
                          struct ulm_choice *choices, size_t wanted, bool *ret_changed)
{
    const size_t looks[] = {LOOK_FIRST, LOOK_NEXT, d->vocabulary};
    float sum = ulm_log_sum(logits, d->vocabulary);
    size_t found = 0, seen = 0;
    *ret_changed = false;
    for (size_t k = 0; k < 3 && !found; k++) {
        size_t n = ulm_rank(logits, d->vocabulary, d->ranks, looks[k]);
        for (size_t i = seen; i < n && found < wanted; i++) {
            int32_t id = d->ranks[i];
            bool end;
            if (may_follow(d, line, options, id, &end))
                choices[found++] = (struct ulm_choice){id, end, logits[id] - sum};
            else
                *ret_changed |= i == 0;
        }
        seen = n;
    }
    return found;
}

/* --- one hypothesis, word by word --- */

struct speech {
    struct ulm_line line;
    unsigned said; /* words that have left */
    double logp;
    unsigned tokens; /* chosen, the end included */
};

static void say_words(struct speech *speech, unsigned up_to, bool hold,
                      const struct ulm_watch *watch)
{
    for (; !hold && speech->said < up_to; speech->said++) {
        size_t start = speech->line.starts[speech->said];
        size_t end = speech->said + 1u < speech->line.words
                         ? speech->line.starts[speech->said + 1] - 1u
                         : speech->line.len;
        start -= speech->said > 0; /* the space before it */
        watch->word(watch->data, speech->line.text + start, end - start);
    }
}

static void count(struct speech *speech, const struct ulm_choice *choice)
{
    speech->logp += (double)choice->logp;
    speech->tokens++;
}

static struct ulm_choice pick(struct ulm_decoder *d, struct ulm_sampler *sampler,
                              const struct ulm_choice *choices, size_t n)
{
    int32_t ids[LOOK_FIRST];
    for (size_t i = 0; i < n; i++)
        ids[i] = choices[i].id;
    return choices[ulm_sampler_draw(sampler, d->logits, ids, n)];
}

/* Greedy or sampled. 0, ULM_STOPPED. */
static int speak(struct ulm_decoder *d, struct ulm_slot *slot,
                 const struct ulm_opener_options *options, const struct ulm_watch *watch,
                 struct ulm_outcome *outcome)
{
    struct speech speech = {.line = {.cap = ULM_OPENER_MAX}};
    struct ulm_sampler sampler;
    ulm_sampler_init(&sampler, options->temperature, options->top_p, options->seed);
    size_t wanted = options->temperature > 0 ? LOOK_FIRST : 1;
    /* A word of the request may take many tokens; a text without spaces must end some time. */
    unsigned budget = 6 * options->max_words + 8;
    bool ended = false;
    while (!ended && speech.tokens < budget) {
        struct ulm_choice choices[LOOK_FIRST];
        bool changed;
        size_t n =
            ulm_opener_choices(d, &speech.line, options, d->logits, choices, wanted, &changed);
        outcome->guard_hits += changed;
        if (!n)
            break;
        struct ulm_choice choice = pick(d, &sampler, choices, n);
        if (is_end(d, choice.id) || !choice.end)
            count(&speech, &choice);
        ended = choice.end;
        if (ended)
            break;
        size_t len;
        const char *piece = ulm_tokenizer_piece(d->tokenizer, choice.id, &len);
        if (*piece == ' ')
            say_words(&speech, speech.line.words, options->hold, watch);
        ulm_line_add(&speech.line, piece, len);
        if (watch->stop(watch->data))
            return ULM_STOPPED;
        if (!ulm_decoder_step(d, slot, choice.id))
            break;
    }
    if (!ended && !ulm_guard_whole(&d->guard, &speech.line))
        ulm_line_drop_word(&speech.line);
    say_words(&speech, speech.line.words, options->hold, watch);
    memcpy(outcome->text, speech.line.text, speech.line.len + 1u);
    outcome->words = speech.line.words;
    outcome->generated_tokens = speech.tokens;
    outcome->confidence = speech.tokens ? speech.logp / speech.tokens : 0;
    return 0;
}

int ulm_decoder_opener(struct ulm_decoder *d, uint64_t ticket, const struct ulm_prompt *prompt,
                       const struct ulm_opener_options *options, const struct ulm_watch *watch,
                       struct ulm_outcome *ret)
{
    struct ulm_outcome outcome = {0};
    const int32_t *ids;
    size_t n;
    struct ulm_slot *slot;
    int r = ulm_guard_prepare(&d->guard, options->guard, prompt, NULL);
    if (r == 0)
        r = ulm_chat_render(d->chat, prompt, &ids, &n, &outcome.prompt_shortened);
    if (r < 0)
        return r;
    outcome.prompt_tokens = (unsigned)n;
    r = ulm_decoder_prefill(d, ticket, ids, (unsigned)n, watch, &slot, &outcome.reused_tokens);
    if (r != 0)
        return r;
    if (!isfinite(ulm_log_sum(d->logits, d->vocabulary)))
        return -EDOM;
    if (watch->ready)
        watch->ready(watch->data);
    r = options->beam > 1 ? ulm_beam_search(d, slot, options, watch, &outcome)
                          : speak(d, slot, options, watch, &outcome);
    if (r != 0)
        return r;
    if (!isfinite(outcome.confidence))
        return -EDOM;
    *ret = outcome;
    return 0;
}
