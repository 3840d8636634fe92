/* SPDX-License-Identifier: MIT */
/*
 * The opener policy. A token is chosen among those the rules leave; a word leaves when the next
 * token opens another or the opener ends, so no word is ever cut. The opener ends where the model
 * ends it (never before min_words), or where one word more than max_words would begin. As long as
 * the guard has nothing against the model's own choice this is plain greedy decoding (or sampling);
 * at its first objection the rest of the opener is searched for, see search_on; and all of it,
 * where the whole is less likely than wanted and no word has left yet, see look_again.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/decoder_data.h"
#include "util/text.h"

#define LOOK_FIRST 64u /* tokens by probability that nearly always hold an allowed one */
#define LOOK_NEXT  1024u

/* --- which tokens may follow --- */

bool ulm_opener_is_end(const struct ulm_decoder *d, int32_t id)
{
    return id == ulm_chat_end(d->chat) || id == ulm_tokenizer_eos(d->tokenizer);
}

static bool opens_word(const struct ulm_decoder *d, int32_t id)
{
    size_t len;
    return *ulm_tokenizer_piece(d->tokenizer, id, &len) == ' ';
}

/* Whether the token may follow, and whether it ends the opener. */
static bool may_follow(const struct ulm_decoder *d, const struct ulm_line *line,
                       const struct ulm_opener_options *options, int32_t id, bool *ret_end)
{
    *ret_end = ulm_opener_is_end(d, id);
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

/* The likeliest of all tokens that may follow, where the likeliest few may not: a search that asks
 * about a token only if it is likelier than what was found. Returns how many: 0 or 1. */
static size_t best_of_all(struct ulm_decoder *d, const struct ulm_line *line,
                          const struct ulm_opener_options *options, const float *logits, float sum,
                          struct ulm_choice *ret)
{
    int32_t best = -1;
    for (int32_t id = 0; (size_t)id < d->vocabulary; id++) {
        bool end;
        if ((best >= 0 && !(logits[id] > logits[best])) || !may_follow(d, line, options, id, &end))
            continue;
        best = id;
        *ret = (struct ulm_choice){id, end, logits[id] - sum};
    }
    return best >= 0;
}

size_t ulm_opener_choices(struct ulm_decoder *d, const struct ulm_line *line,
                          const struct ulm_opener_options *options, const float *logits,
                          struct ulm_choice *choices, size_t wanted, bool *ret_changed)
{
    /* Of one choice the likeliest token alone nearly always decides. */
    const size_t looks[] = {1, LOOK_FIRST, LOOK_NEXT, d->vocabulary};
    float sum = ulm_model_log_sum(d->model, logits, d->ranks);
    size_t found = 0, seen = 0;
    *ret_changed = false;
    for (size_t k = wanted > 1; k < sizeof looks / sizeof *looks && !found; k++) {
        if (looks[k] > LOOK_FIRST && wanted == 1)
            return best_of_all(d, line, options, logits, sum, choices);
        size_t n = k == 0 ? 1 : ulm_rank(logits, d->vocabulary, d->ranks, looks[k]);
        for (size_t i = seen; i < n && found < wanted; i++) {
            int32_t id = d->ranks[i];
            bool end;
            if (may_follow(d, line, options, id, &end))
                choices[found++] = (struct ulm_choice){id, end, logits[id] - sum};
            else if (i == 0)
                *ret_changed = !ulm_opener_is_end(d, id) || line->words >= options->min_words;
        }
        seen = n;
    }
    return found;
}

/* --- word by word --- */

static void say_words(struct ulm_speech *speech, unsigned up_to, bool hold,
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

static struct ulm_choice pick(struct ulm_decoder *d, struct ulm_sampler *sampler,
                              const struct ulm_choice *choices, size_t n)
{
    int32_t ids[LOOK_FIRST];
    for (size_t i = 0; i < n; i++)
        ids[i] = choices[i].id;
    return choices[ulm_sampler_draw(sampler, d->logits, ids, n)];
}

/* Back to where the slot held n tokens, with the logits of the next. */
static bool go_back(struct ulm_decoder *d, struct ulm_slot *slot, unsigned n)
{
    slot->n = n - 1;
    ulm_kv_truncate(slot->kv, slot->n);
    return ulm_decoder_step(d, slot, slot->ids[slot->n]);
}

/* A point to come back to: the beginning of the word at hand. */
struct mark {
    struct ulm_speech speech;
    unsigned at; /* tokens of the slot before it */
};

/* The model went where the guard does not follow. Bending its last token would make another word
 * of the one it had begun, so the word is begun anew and the rest is searched for: beginnings that
 * the model liked a little less, but that lead somewhere. */
static int search_on(struct ulm_decoder *d, struct ulm_slot *slot, const struct mark *mark,
                     const struct ulm_opener_options *options, const struct ulm_watch *watch,
                     struct ulm_speech *ret)
{
    bool here = slot->n == mark->at;
    if (here)
        ulm_kv_truncate(slot->kv, slot->n);
    if (!here && !go_back(d, slot, mark->at))
        return -ENOBUFS;
    return ulm_beam_search(d, slot, options, ULM_SEARCH, &mark->speech, watch, ret);
}

/* Greedy or sampled; without its last words said. 0, ULM_STOPPED, -ENOMEM. */
static int speak(struct ulm_decoder *d, struct ulm_slot *slot,
                 const struct ulm_opener_options *options, const struct ulm_watch *watch,
                 struct ulm_speech *speech, unsigned *ret_hits)
{
    struct ulm_sampler sampler;
    ulm_sampler_init(&sampler, options->temperature, options->top_p, options->seed);
    bool greedy = options->temperature <= 0;
    struct mark mark = {*speech, slot->n};
    struct ulm_guess guess;
    ulm_guess_begin(d, slot, &guess);
    /* A word of the request may take many tokens; a text without spaces must end some time. */
    unsigned budget = 6 * options->max_words + 8;
    while (speech->tokens < budget) {
        struct ulm_choice choices[LOOK_FIRST];
        bool changed;
        size_t n = ulm_opener_choices(d, &speech->line, options, d->logits, choices,
                                      greedy ? 1 : LOOK_FIRST, &changed);
        *ret_hits += changed;
        if (ulm_guard_whole(&d->guard, &speech->line) && opens_word(d, d->ranks[0]))
            mark = (struct mark){*speech, slot->n};
        if (changed && greedy && options->guard)
            return search_on(d, slot, &mark, options, watch, speech);
        if (!n)
            break;
        struct ulm_choice choice = pick(d, &sampler, choices, n);
        if (!choice.end || ulm_opener_is_end(d, choice.id)) {
            speech->logp += (double)choice.logp;
            speech->tokens++;
        }
        if (choice.end)
            return 0;
        size_t len;
        const char *piece = ulm_tokenizer_piece(d->tokenizer, choice.id, &len);
        if (*piece == ' ') {
            say_words(speech, speech->line.words, options->hold, watch);
            mark = (struct mark){*speech, slot->n};
        }
        ulm_line_add(&speech->line, piece, len);
        if (watch->stop(watch->data))
            return ULM_STOPPED;
        if (!ulm_guess_step(d, slot, &guess, choice.id))
            break;
    }
    if (!ulm_guard_whole(&d->guard, &speech->line))
        ulm_line_drop_word(&speech->line);
    return 0;
}

static double confidence_of(const struct ulm_speech *speech)
{
    return speech->tokens ? speech->logp / speech->tokens : 0;
}

/* Greedy mostly goes astray at its first words, and several beginnings at once then find a better
 * way more often than not. *ret_neutral: the text of the model file for where they do not, or NULL.
 * 0, ULM_STOPPED, -ENOMEM. */
static int look_again(struct ulm_decoder *d, struct ulm_slot *slot,
                      const struct ulm_opener_options *options, unsigned prompt_tokens,
                      const struct ulm_watch *watch, struct ulm_speech *speech,
                      const char **ret_neutral)
{
    struct ulm_speech other = {.line = {.cap = ULM_OPENER_MAX}};
    if (!go_back(d, slot, prompt_tokens))
        return 0;
    *ret_neutral =
        ulm_neutral_pick(&d->neutral, d->logits, options->min_words, options->max_words);
    bool late = watch->late && watch->late(watch->data);
    if (options->beam > 1 || options->temperature > 0 || late)
        return 0;
    int r = ulm_beam_search(d, slot, options, ULM_SEARCH, &other, watch, &other);
    /* Where no beginning came to an end, what is left of one may be short and so look likely. */
    if (r == 0 && other.line.words >= options->min_words &&
        confidence_of(&other) > confidence_of(speech))
        *speech = other;
    return r;
}

static void fill(struct ulm_outcome *outcome, const struct ulm_speech *speech)
{
    memcpy(outcome->text, speech->line.text, speech->line.len + 1u);
    outcome->words = speech->line.words;
    outcome->generated_tokens = speech->tokens;
    outcome->confidence = confidence_of(speech);
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
    if (r != 0)
        return r;
    outcome.prompt_tokens = (unsigned)n;
    r = ulm_decoder_prefill(d, ticket, ids, (unsigned)n, watch, &slot, &outcome.reused_tokens);
    if (r != 0)
        return r;
    if (!isfinite(ulm_model_log_sum(d->model, d->logits, d->ranks)))
        return -EDOM;
    if (watch->ready)
        watch->ready(watch->data);
    struct ulm_speech speech = {.line = {.cap = ULM_OPENER_MAX}};
    bool hold = options->hold || options->beam > 1;
    r = options->beam > 1
            ? ulm_beam_search(d, slot, options, options->beam, &speech, watch, &speech)
            : speak(d, slot, options, watch, &speech, &outcome.guard_hits);
    if (r != 0)
        return r;
    const char *neutral = NULL;
    if (options->hold && confidence_of(&speech) < options->min_confidence)
        r = look_again(d, slot, options, outcome.prompt_tokens, watch, &speech, &neutral);
    if (r != 0)
        return r;
    say_words(&speech, speech.line.words, hold, watch);
    fill(&outcome, &speech);
    if (!isfinite(outcome.confidence))
        return -EDOM;
    if (neutral && outcome.confidence < options->min_confidence) {
        (void)snprintf(outcome.text, sizeof outcome.text, "%s", neutral);
        outcome.words = (unsigned)ulm_count_words(neutral);
        outcome.neutral = true;
    }
    *ret = outcome;
    return 0;
}
