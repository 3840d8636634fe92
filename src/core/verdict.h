/* SPDX-License-Identifier: MIT */
/* The verdict tag at the head of the cloud's text: [[ok]], [[pivot]], [[fix]], [[redo]]. */
#ifndef ULM_CORE_VERDICT_H
#define ULM_CORE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

#include <ulmd/limits.h>

enum ulm_tag {
    ULM_TAG_MISSING, /* the text began with something else */
    ULM_TAG_OK,
    ULM_TAG_PIVOT,
    ULM_TAG_FIX,
    ULM_TAG_REDO,
    ULM_TAG_UNKNOWN, /* [[...]] of another word */
};

enum ulm_verdict_state {
    ULM_VERDICT_LEAD,    /* white space before the tag */
    ULM_VERDICT_TICKS,   /* ` or `` of a code fence */
    ULM_VERDICT_LANG,    /* behind ```: the fence's language */
    ULM_VERDICT_FENCED,  /* white space behind the fence */
    ULM_VERDICT_OPEN,    /* [ */
    ULM_VERDICT_LETTERS, /* [[, and letters */
    ULM_VERDICT_CLOSE,   /* [[letters] */
    ULM_VERDICT_AFTER,   /* the tag is known; one space or newline behind it is dropped */
    ULM_VERDICT_AFTER_CR,
    ULM_VERDICT_DECIDED,
};

/* Bytes in, a verdict out; no allocation. All fields are private but known_only and,
 * to be read when ulm_verdict_decided(), `tag` and held[0..n_held), bytes that turned out to be
 * text. */
struct ulm_verdict_matcher {
    enum ulm_verdict_state state;
    enum ulm_tag tag;
    char held[2 * ULM_TAG_MAX];
    size_t n_held, n_lead;
    bool known_only; /* no tag was asked for: [[...]] of another word is text. Set by the owner */
};

void ulm_verdict_init(struct ulm_verdict_matcher *m);

/* Takes bytes until the verdict is decided; returns how many it took. The rest is text, behind
 * what is held. */
size_t ulm_verdict_feed(struct ulm_verdict_matcher *m, const char *text, size_t len);

/* No more is waited for: what is held becomes text. */
void ulm_verdict_release(struct ulm_verdict_matcher *m);
/* The text ended: as release, but a tag that was cut off is dropped. */
void ulm_verdict_end(struct ulm_verdict_matcher *m);

static inline bool ulm_verdict_decided(const struct ulm_verdict_matcher *m)
{
    return m->state == ULM_VERDICT_DECIDED;
}

/* Is a code fence held, that would be seen if it were let out? */
static inline bool ulm_verdict_holds_fence(const struct ulm_verdict_matcher *m)
{
    return m->state >= ULM_VERDICT_TICKS && m->state <= ULM_VERDICT_FENCED;
}

static inline bool ulm_verdict_holds_tag(const struct ulm_verdict_matcher *m)
{
    return m->state >= ULM_VERDICT_OPEN && m->state <= ULM_VERDICT_CLOSE;
}

#endif
