/* SPDX-License-Identifier: MIT */
/*
 * The device ends its own sentence when no cloud can be had. The opener stands in the assistant's
 * turn and the model goes on greedily, under the same guard, to the first full stop. A model that
 * was trained to hand off has little to say here: where it would rather have stopped than said
 * these words, nothing is said, and the configured close takes its place.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine/decoder_data.h"

/* Below this mean log-probability of a token the ending is as likely wrong as right. */
#define LEAST_CONFIDENCE (-1.2)

#define TOKENS_MAX 48u
#define WORDS_MAX  24u

static bool ends_sentence(const struct ulm_line *line)
{
    size_t n = line->len;
    if (n && line->text[n - 1] == '"')
        n--;
    return n && strchr(".!?", line->text[n - 1]);
}

/* The line as it stands when the opener has been said. */
static void begin(struct ulm_line *line, const char *opener)
{
    *line = (struct ulm_line){.cap = ULM_LINE_TEXT_MAX};
    while (*opener) {
        size_t n = strcspn(opener + (*opener == ' '), " ") + (*opener == ' ');
        if (line->len + n > ULM_OPENER_MAX ||
            line->words + 1u >= sizeof line->starts / sizeof *line->starts)
            break;
        if (n > 1 || *opener != ' ')
            ulm_line_add(line, opener, n);
        opener += n;
    }
}

/* Goes on to the end of the sentence; false where there is none within the budget. */
static int go_on(struct ulm_decoder *d, struct ulm_slot *slot, struct ulm_line *line,
                 const struct ulm_watch *watch, struct ulm_outcome *outcome, bool *ret_ended)
{
    const struct ulm_opener_options open = {.min_words = UINT16_MAX, .max_words = UINT16_MAX};
    unsigned words = line->words;
    double logp = 0;
    unsigned tokens = 0;
    *ret_ended = false;
    while (!*ret_ended && tokens < TOKENS_MAX && line->words - words < WORDS_MAX) {
        struct ulm_choice choice;
        bool changed;
        if (watch->stop(watch->data))
            return ULM_STOPPED;
        if (!ulm_opener_choices(d, line, &open, d->logits, &choice, 1, &changed))
            break;
        outcome->guard_hits += changed;
        logp += (double)choice.logp;
        tokens++;
        size_t len;
        const char *piece = ulm_tokenizer_piece(d->tokenizer, choice.id, &len);
        ulm_line_add(line, piece, len);
        *ret_ended = ends_sentence(line) && ulm_guard_whole(&d->guard, line);
        if (!*ret_ended && !ulm_decoder_step(d, slot, choice.id))
            break;
    }
    outcome->generated_tokens = tokens;
    outcome->confidence = tokens ? logp / tokens : 0;
    return 0;
}

int ulm_decoder_finish(struct ulm_decoder *d, uint64_t ticket, const struct ulm_prompt *prompt,
                       const char *opener, const struct ulm_opener_options *options,
                       const struct ulm_watch *watch, struct ulm_outcome *ret)
{
    struct ulm_outcome outcome = {0};
    struct ulm_line line;
    const int32_t *ids;
    size_t n;
    struct ulm_slot *slot;
    bool ended;
    int r = ulm_guard_prepare(&d->guard, options->guard, prompt, opener);
    if (r == 0)
        r = ulm_chat_render(d->chat, prompt, &ids, &n, &outcome.prompt_shortened);
    if (r != 0)
        return r;
    memcpy(d->ids, ids, n * sizeof *ids);
    r = ulm_tokenizer_encode(d->tokenizer, opener, strlen(opener), false, d->ids,
                             d->context - TOKENS_MAX, &n);
    if (r == -ENOBUFS) {
        /* An opener that long leaves no room to go on. */
        *ret = outcome;
        return 0;
    }
    outcome.prompt_tokens = (unsigned)n;
    if (r == 0)
        r = ulm_decoder_prefill(d, ticket, d->ids, (unsigned)n, watch, &slot,
                                &outcome.reused_tokens);
    if (r != 0)
        return r;
    if (!isfinite(ulm_model_log_sum(d->model, d->logits, d->ranks)))
        return -EDOM;
    begin(&line, opener);
    size_t said = line.len;
    r = go_on(d, slot, &line, watch, &outcome, &ended);
    if (r != 0)
        return r;
    if (!isfinite(outcome.confidence))
        return -EDOM;
    size_t len = line.len - said;
    if (ended && outcome.confidence >= LEAST_CONFIDENCE && len <= ULM_FINISH_MAX) {
        memcpy(outcome.text, line.text + said, len + 1);
        outcome.words = (unsigned)line.words;
    }
    *ret = outcome;
    return 0;
}
