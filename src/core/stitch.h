/* SPDX-License-Identifier: MIT */
/* Joins the cloud's text to what stands before it: the space, the echo, whole characters. */
#ifndef ULM_CORE_STITCH_H
#define ULM_CORE_STITCH_H

#include <stdbool.h>
#include <stddef.h>

#include <ulmd/limits.h>

struct ulm_buf;

/* Outcome of the feeding functions besides 0 and <0: the cap of `out` was reached; what fitted, in
 * whole characters, was added. */
#define ULM_STITCH_FULL 1

struct ulm_stitch {
    const char *before; /* borrowed */
    bool strip, watch;

    bool open;          /* read by the owner: visible text was let out */
    bool echo_stripped; /* read by the owner */
    bool restart;       /* read by the owner: the text says the opener again in other words */

    bool space, newline; /* white space before the first visible character */
    char held[ULM_ECHO_HOLD_MAX];
    size_t n_held;
    char cut[4]; /* the beginning of a character */
    size_t n_cut;
};

/* before is the text that the continuation is joined to, "" for none; strip an echo of it; watch
 * for a reworded one. */
void ulm_stitch_init(struct ulm_stitch *s, const char *before, bool strip, bool watch);

/* Appends to out what may be seen of the text so far. The same text gives the same bytes however
 * it is cut up. 0, ULM_STITCH_FULL, -ENOMEM. */
int ulm_stitch_feed(struct ulm_stitch *s, const char *text, size_t len, struct ulm_buf *out)
    __attribute__((warn_unused_result));
/* Time is up for everything but an echo that may be going on. */
int ulm_stitch_late(struct ulm_stitch *s, struct ulm_buf *out) __attribute__((warn_unused_result));
/* The text ended. Where `open` is still false after it, there was nothing to see. */
int ulm_stitch_end(struct ulm_stitch *s, struct ulm_buf *out) __attribute__((warn_unused_result));

/* Is something held that time may let out (ulm_stitch_late)? */
static inline bool ulm_stitch_holds(const struct ulm_stitch *s)
{
    return !s->open && s->n_held > 0;
}

/* Appends a configured phrase as it goes on from `before`: it joins as text does; behind a whole
 * sentence, or nothing, it loses its leading comma and gets a capital; a phrase that begins with a
 * word breaks an open sentence off with an ellipsis. 0, -ENOBUFS, -ENOMEM. */
int ulm_stitch_phrase(const char *before, const char *phrase, struct ulm_buf *out)
    __attribute__((warn_unused_result));

/* Does text end like a whole sentence? */
bool ulm_stitch_sentence_ends(const char *text);
/* Does it end within one, and not at a mark behind which another may begin? Then what breaks it off
 * takes an ellipsis. */
bool ulm_stitch_is_open(const char *text);

#endif
