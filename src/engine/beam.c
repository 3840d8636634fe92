/* SPDX-License-Identifier: MIT */
/*
 * Beam search: several openers at once, one batch a step, so that the weights are read once for
 * all. It finds a way around words that the guard would otherwise bend into others. Each
 * hypothesis has its own KV cache; a generation is copied into the other half of the caches.
 */
#include <errno.h>
#include <string.h>

#include "engine/decoder_data.h"

struct hypothesis {
    struct ulm_line line;
    struct ulm_kv *kv;
    double logp;
    unsigned tokens;
};

/* A way to go on from hypothesis `from`. */
struct extension {
    unsigned from;
    struct ulm_choice choice;
    double logp;
};

struct search {
    struct ulm_decoder *d;
    const struct ulm_opener_options *options;
    unsigned width;
    unsigned said; /* words that every hypothesis has in common and that are out */
    struct hypothesis live[2][ULM_BEAM_MAX]; /* this generation and the next */
    unsigned n_live, now;
    struct hypothesis best; /* of those that ended */
    double best_score;
    bool has_best;
};

static int make_caches(struct ulm_decoder *d, unsigned width)
{
    for (unsigned i = 0; i < 2 * width; i++) {
        if (d->beam[i])
            continue;
        int r = ulm_kv_new(d->model, d->context, &d->beam[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What it is worth, in nats a token, that an opener takes up a word of the request. */
#define GROUNDED_BONUS 0.2

/* An ended opener is weighed by its mean: a sum would favour the short. */
static void offer(struct search *s, const struct hypothesis *h, double logp, unsigned tokens)
{
    double score = tokens ? logp / tokens : 0;
    if (s->options->guard && ulm_guard_grounded(&s->d->guard, &h->line))
        score += GROUNDED_BONUS;
    if (s->has_best && score <= s->best_score)
        return;
    s->best = *h;
    s->best.logp = logp;
    s->best.tokens = tokens;
    s->best_score = score;
    s->has_best = true;
}

/* The confidence is that of greedy decoding: a word too many is not said, and does not count. */
static void offer_end(struct search *s, const struct hypothesis *h, const struct ulm_choice *end)
{
    bool own = ulm_opener_is_end(s->d, end->id);
    offer(s, h, h->logp + (own ? (double)end->logp : 0), h->tokens + own);
}

/* Keeps the extensions sorted by falling log-probability, at most `width`. */
static unsigned insert(struct extension *list, unsigned n, unsigned width, struct extension item)
{
    unsigned i = n < width ? n++ : n;
    if (i == width) { /* the list is full, and width is 1 or more */
        /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
        if (item.logp <= list[width - 1].logp)
            return n;
        i = width - 1;
    }
    for (; i > 0 && list[i - 1].logp < item.logp; i--)
        list[i] = list[i - 1];
    list[i] = item;
    return n;
}

/* The choice would add to a word that is out already. */
static bool touches_said(const struct search *s, const struct ulm_line *line,
                         const struct ulm_choice *choice)
{
    size_t len;
    return !choice->end && s->said > 0 && s->said == line->words &&
           *ulm_tokenizer_piece(s->d->tokenizer, choice->id, &len) != ' ';
}

/* What the rows of logits offer: ends are weighed at once, the rest competes for the next
 * generation. Returns how many are in `list`. */
static unsigned extend(struct search *s, struct extension *list)
{
    unsigned n = 0;
    for (unsigned from = 0; from < s->n_live; from++) {
        const struct hypothesis *h = &s->live[s->now][from];
        struct ulm_choice choices[2 * ULM_BEAM_MAX];
        bool changed;
        size_t found =
            ulm_opener_choices(s->d, &h->line, s->options, s->d->logits + from * s->d->vocabulary,
                               choices, 2 * s->width, &changed);
        for (size_t i = 0; i < found; i++) {
            if (touches_said(s, &h->line, &choices[i]))
                continue;
            double logp = h->logp + (double)choices[i].logp;
            if (choices[i].end)
                offer_end(s, h, &choices[i]);
            else
                n = insert(list, n, s->width, (struct extension){from, choices[i], logp});
        }
    }
    return n;
}

static void advance(struct search *s, const struct extension *list, unsigned n)
{
    struct ulm_decoder *d = s->d;
    struct ulm_row rows[ULM_BEAM_MAX];
    unsigned next = !s->now;
    for (unsigned i = 0; i < n; i++) {
        const struct hypothesis *from = &s->live[s->now][list[i].from];
        struct hypothesis *to = &s->live[next][i];
        struct ulm_kv *kv = d->beam[next * s->width + i];
        *to = *from;
        to->kv = kv;
        to->logp = list[i].logp;
        to->tokens++;
        size_t len;
        const char *piece = ulm_tokenizer_piece(d->tokenizer, list[i].choice.id, &len);
        ulm_line_add(&to->line, piece, len);
        ulm_kv_copy(kv, from->kv, ulm_kv_len(from->kv));
        rows[i] = (struct ulm_row){kv, list[i].choice.id, true};
    }
    ulm_decoder_forward(d, rows, n, d->logits);
    s->n_live = n;
    s->now = next;
}

/* Tokens that a hypothesis may well grow to: three a word left, and two to end its last. */
static unsigned grown(const struct search *s, const struct hypothesis *h)
{
    return h->tokens + 3 * (s->options->max_words - h->line.words) + 2;
}

/* No live hypothesis will pass the best one: even with certain tokens from here on, a mean is no
 * better than its sum spread over as many tokens as it may grow to. */
static bool decided(const struct search *s)
{
    if (!s->has_best)
        return false;
    for (unsigned i = 0; i < s->n_live; i++) {
        const struct hypothesis *h = &s->live[s->now][i];
        if (h->logp / grown(s, h) + GROUNDED_BONUS > s->best_score)
            return false;
    }
    return true;
}

int ulm_beam_search(struct ulm_decoder *d, struct ulm_slot *slot,
                    const struct ulm_opener_options *options, unsigned width,
                    const struct ulm_speech *from, const struct ulm_watch *watch,
                    struct ulm_speech *ret)
{
    struct search s = {.d = d, .options = options, .said = from->said, .n_live = 1};
    s.width = width < ULM_BEAM_MAX ? width : ULM_BEAM_MAX;
    int r = make_caches(d, s.width);
    if (r < 0)
        return r;
    unsigned budget = 6 * options->max_words + 8;
    s.live[0][0] = (struct hypothesis){from->line, slot->kv, from->logp, from->tokens};
    for (unsigned step = from->tokens; step < budget && !decided(&s); step++) {
        struct extension list[ULM_BEAM_MAX];
        unsigned n = extend(&s, list);
        if (!n || ulm_kv_len(s.live[s.now][0].kv) == d->context)
            break;
        if (watch->stop(watch->data))
            return ULM_STOPPED;
        advance(&s, list, n);
    }
    /* Nothing came to an end: what is whole of the likeliest. */
    if (!s.has_best) {
        struct hypothesis *h = &s.live[s.now][0];
        if (h->line.words > s.said && !ulm_guard_whole(&d->guard, &h->line))
            ulm_line_drop_word(&h->line);
        offer(&s, h, h->logp, h->tokens);
    }
    *ret = (struct ulm_speech){s.best.line, from->said, s.best.logp, s.best.tokens};
    return 0;
}
