/* SPDX-License-Identifier: MIT */
#include "engine/neutral.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ulmd/limits.h>

#include "util/text.h"

static bool is_speakable(const struct ulm_gguf_string *text)
{
    if (text->len == 0 || text->len > ULM_OPENER_MAX || !ulm_utf8_valid(text->data, text->len))
        return false;
    for (size_t i = 0; i < text->len; i++) {
        if ((unsigned char)text->data[i] < ' ' || text->data[i] == 0x7F)
            return false;
    }
    return true;
}

static int load_text(struct ulm_neutral *neutral, const struct ulm_gguf_string *text,
                     const struct ulm_tokenizer *tokenizer)
{
    int32_t ids[ULM_OPENER_MAX];
    size_t n = 0;
    int r = ulm_tokenizer_encode(tokenizer, text->data, text->len, false, ids, ULM_OPENER_MAX, &n);
    if (r < 0 || n == 0)
        return r < 0 ? r : -EBADMSG;
    char *copy = strndup(text->data, text->len);
    if (!copy)
        return -ENOMEM;
    neutral->first[neutral->n] = ids[0];
    neutral->texts[neutral->n++] = copy;
    return 0;
}

int ulm_neutral_load(struct ulm_neutral *neutral, const struct ulm_gguf *gguf,
                     const struct ulm_tokenizer *tokenizer, char *reterr, size_t reterr_size)
{
    const struct ulm_gguf_string *texts;
    size_t n;
    *neutral = (struct ulm_neutral){.below = -INFINITY};
    if (ulm_gguf_get_f64(gguf, "ulm.min_confidence", &neutral->below) == 0 &&
        !(neutral->below <= 0)) {
        snprintf(reterr, reterr_size, "ulm.min_confidence is no log-probability");
        return -EBADMSG;
    }
    if (ulm_gguf_get_strings(gguf, "ulm.neutral", &texts, &n) < 0)
        return 0;
    if (n > ULM_NEUTRAL_MAX) {
        snprintf(reterr, reterr_size, "ulm.neutral has %zu texts, more than %u", n,
                 ULM_NEUTRAL_MAX);
        return -EBADMSG;
    }
    for (size_t i = 0; i < n; i++) {
        int r = is_speakable(&texts[i]) ? load_text(neutral, &texts[i], tokenizer) : -EBADMSG;
        if (r < 0) {
            snprintf(reterr, reterr_size, "ulm.neutral: text %zu: %s", i,
                     r == -ENOMEM ? strerror(ENOMEM) : "cannot be said");
            return r;
        }
    }
    return 0;
}

void ulm_neutral_deinit(struct ulm_neutral *neutral)
{
    for (unsigned i = 0; i < neutral->n; i++)
        free(neutral->texts[i]);
    neutral->n = 0;
}

const char *ulm_neutral_pick(const struct ulm_neutral *neutral, const float *logits)
{
    const char *best = NULL;
    float highest = -INFINITY;
    for (unsigned i = 0; i < neutral->n; i++) {
        if (!best || logits[neutral->first[i]] > highest) {
            best = neutral->texts[i];
            highest = logits[neutral->first[i]];
        }
    }
    return best;
}
