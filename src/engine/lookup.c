/* SPDX-License-Identifier: MIT */
/*
 * Prompt lookup: an opener restates the request, so what follows a token there is likely to follow
 * it here. The next tokens are guessed from the prompt and run in one pass with the token that was
 * chosen, for which the weights are read once; reading them is what a step costs. A guess counts
 * only where just that token is then chosen, and a row's logits do not depend on the rows beside
 * it: the text is the same to the bit, in fewer steps.
 */
#include <string.h>

#include "engine/decoder_data.h"

#define LOOK_BACK 4u /* tokens that may agree with the prompt; more decide nothing */

void ulm_guess_begin(const struct ulm_decoder *d, const struct ulm_slot *slot,
                     struct ulm_guess *guess)
{
    /* OpenBLAS rounds differently with the number of rows. */
    bool same_to_the_bit = !strstr(d->info.kernels, "openblas");
    *guess = (struct ulm_guess){.prompt = same_to_the_bit ? slot->n : 0};
}

/* How many tokens up to slot->ids[n - 1] are those up to the prompt's ids[at]. */
static unsigned agreeing(const struct ulm_slot *slot, unsigned n, unsigned at)
{
    unsigned k = 0;
    while (k < LOOK_BACK && k <= at && k < n && slot->ids[at - k] == slot->ids[n - 1 - k])
        k++;
    return k;
}

/* Guesses what follows the last of the slot's n ids: what followed it in the prompt, where the
 * tokens before it agree furthest, the latest such place. */
static void look_up(const struct ulm_decoder *d, const struct ulm_slot *slot, unsigned n,
                    struct ulm_guess *guess)
{
    unsigned best = 0, from = 0;
    for (unsigned at = 0; at + 1 < guess->prompt; at++) {
        unsigned k = agreeing(slot, n, at);
        if (k > 0 && k >= best) {
            best = k;
            from = at + 1;
        }
    }
    guess->n = guess->used = 0;
    while (best > 0 && guess->n < ULM_GUESSES && from < guess->prompt && n + guess->n < d->context &&
           !ulm_tokenizer_is_control(d->tokenizer, slot->ids[from]))
        guess->ids[guess->n++] = slot->ids[from++];
}

bool ulm_guess_step(struct ulm_decoder *d, struct ulm_slot *slot, struct ulm_guess *guess,
                    int32_t id)
{
    if (slot->n == d->context)
        return false;
    slot->ids[slot->n] = id;
    if (guess->used < guess->n && guess->ids[guess->used] == id) {
        slot->n++;
        guess->used++;
        memcpy(d->logits, d->logits + guess->used * d->vocabulary,
               d->vocabulary * sizeof *d->logits);
        return true;
    }
    ulm_kv_truncate(slot->kv, slot->n);
    look_up(d, slot, slot->n + 1, guess);
    struct ulm_row rows[1 + ULM_GUESSES] = {{slot->kv, id, true}};
    for (unsigned i = 0; i < guess->n; i++)
        rows[i + 1] = (struct ulm_row){slot->kv, guess->ids[i], true};
    ulm_decoder_forward(d, rows, 1 + guess->n, d->logits);
    slot->n++;
    return true;
}
