/* SPDX-License-Identifier: MIT */
/* The turns of each session (peer's uid and name), in memory only, bounded, oldest dropped first.
 */
#ifndef ULM_CORE_HISTORY_H
#define ULM_CORE_HISTORY_H

#include <stddef.h>
#include <sys/types.h>

#include <ulmd/request.h>

struct ulm_history_session;

struct ulm_history {
    struct ulm_history_session *newest; /* owned list, last used first */
    size_t n_sessions;
    size_t max_sessions, max_exchanges; /* an exchange is a question and its answer */
};

void ulm_history_init(struct ulm_history *history, size_t max_sessions, size_t max_exchanges);
void ulm_history_deinit(struct ulm_history *history); /* safe twice */
/* New bounds; what is beyond them is dropped. */
void ulm_history_limit(struct ulm_history *history, size_t max_sessions, size_t max_exchanges);

/* Is the session known, and what are its turns (borrowed until the history changes)? A session
 * that is found becomes the last used. Returns 1 or 0. */
int ulm_history_find(struct ulm_history *history, uid_t uid, const char *name,
                     const struct ulm_turn **ret_turns, size_t *ret_n);

/* Adds a question and its answer. A session that is not known begins with the turns of `before`.
 * 0 or -ENOMEM: then nothing changed, or the session was left out. */
int ulm_history_add(struct ulm_history *history, uid_t uid, const char *name,
                    const struct ulm_prompt *before, const char *answer);

void ulm_history_forget(struct ulm_history *history, uid_t uid, const char *name);

#endif
