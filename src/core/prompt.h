/* SPDX-License-Identifier: MIT */
/* A question of one's own: a copy of struct ulm_prompt in one block. */
#ifndef ULM_CORE_PROMPT_H
#define ULM_CORE_PROMPT_H

#include <stddef.h>

#include <ulmd/request.h>

/* Copies text and facts, and `history` in place of the prompt's own. The caller frees it with
 * ulm_prompt_free. NULL = out of memory. */
struct ulm_prompt *ulm_prompt_copy(const struct ulm_prompt *prompt, const struct ulm_turn *history,
                                   size_t n_history);
/* Wipes and frees. NULL is allowed. Returns NULL. */
struct ulm_prompt *ulm_prompt_free(struct ulm_prompt *prompt);

#endif
