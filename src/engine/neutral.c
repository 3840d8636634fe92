/* SPDX-License-Identifier: MIT */
#include "engine/neutral.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/guard.h"
#include "util/text.h"

/* Words of what an opener may have, with one space between them. */
static bool is_speakable(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len > ULM_OPENER_MAX || !ulm_utf8_valid(text, len))
        return false;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (n == 0 || !ulm_guard_is_fit(text, n) || (text[n] && !text[n + 1]))
            return false;
        text += n + (text[n] == ' ');
    }
    return true;
}

static const char *add_text(struct ulm_neutral *neutral, const struct ulm_tokenizer *tokenizer,
                            char *text)
{
    int32_t ids[ULM_OPENER_MAX];
    size_t n = 0;
    struct ulm_neutral_text *to = &neutral->texts[neutral->n++];
    *to = (struct ulm_neutral_text){.text = text};
    if (!text)
        return strerror(ENOMEM);
    if (!is_speakable(text) ||
        ulm_tokenizer_encode(tokenizer, text, strlen(text), false, ids, ULM_OPENER_MAX, &n) < 0 ||
        n == 0)
        return "cannot be said";
    to->first = ids[0];
    to->words = (unsigned)ulm_count_words(text);
    for (struct ulm_neutral_text *other = neutral->texts; other < to; other++) {
        if (other->first == to->first)
            return "begins with the token of another";
    }
    return NULL;
}

/* 0, or -EBADMSG with a reason; a file may lack either key. */
static int get_keys(struct ulm_neutral *neutral, const struct ulm_gguf *gguf,
                    const struct ulm_gguf_string **ret_texts, size_t *ret_n, char *reterr,
                    size_t reterr_size)
{
    int r = ulm_gguf_get_f64(gguf, "ulm.min_confidence", &neutral->below);
    *ret_n = 0;
    if (r == -EINVAL || (r == 0 && !(neutral->below <= 0))) {
        snprintf(reterr, reterr_size, "ulm.min_confidence is no log-probability");
        return -EBADMSG;
    }
    r = ulm_gguf_get_strings(gguf, "ulm.neutral", ret_texts, ret_n);
    if (r == -EINVAL || *ret_n > ULM_NEUTRAL_MAX) {
        snprintf(reterr, reterr_size, "ulm.neutral is no array of at most %u texts",
                 ULM_NEUTRAL_MAX);
        return -EBADMSG;
    }
    return 0;
}

int ulm_neutral_load(struct ulm_neutral *neutral, const struct ulm_gguf *gguf,
                     const struct ulm_tokenizer *tokenizer, char *reterr, size_t reterr_size)
{
    const struct ulm_gguf_string *texts;
    size_t n;
    *neutral = (struct ulm_neutral){.below = -INFINITY};
    int r = get_keys(neutral, gguf, &texts, &n, reterr, reterr_size);
    for (size_t i = 0; r == 0 && i < n; i++) {
        const char *fault = add_text(neutral, tokenizer, strndup(texts[i].data, texts[i].len));
        if (fault) {
            snprintf(reterr, reterr_size, "ulm.neutral: text %zu %s", i + 1, fault);
            r = -EBADMSG;
        }
    }
    return r;
}

void ulm_neutral_deinit(struct ulm_neutral *neutral)
{
    for (unsigned i = 0; i < neutral->n; i++)
        free(neutral->texts[i].text);
    neutral->n = 0;
}

const char *ulm_neutral_pick(const struct ulm_neutral *neutral, const float *logits,
                             unsigned min_words, unsigned max_words)
{
    const struct ulm_neutral_text *best = NULL;
    for (const struct ulm_neutral_text *t = neutral->texts; t < neutral->texts + neutral->n; t++) {
        if (t->words >= min_words && t->words <= max_words &&
            (!best || logits[t->first] > logits[best->first]))
            best = t;
    }
    return best ? best->text : NULL;
}
