/* SPDX-License-Identifier: MIT */
/*
 * A request as token ids, in ChatML:
 *
 *     <|im_start|>system\n{system text}\n{facts, each a JSON string on its own line}<|im_end|>\n
 *     <|im_start|>user\n{text}<|im_end|>\n        (earlier turns before it, oldest first)
 *     <|im_start|>assistant\n
 *
 * Without system text and facts there is no system turn. What is asked is data: a control token
 * written in it stays text. A turn of two words or more and six letters, all capitals, goes in
 * lower case.
 */
#ifndef ULM_ENGINE_PROMPT_H
#define ULM_ENGINE_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/request.h>

#include "engine/tokenizer.h"

struct ulm_chat;

/* tokenizer is borrowed until ulm_chat_free; system is copied. room: tokens a prompt may take.
 * 0; else one line of reason: <0 errno (no ChatML tokens), 1 the system text is too long. */
int ulm_chat_new(const struct ulm_tokenizer *tokenizer, const char *system, size_t room,
                 struct ulm_chat **ret_chat, char *reterr, size_t reterr_size);
struct ulm_chat *ulm_chat_free(struct ulm_chat *chat);

/* The system text a model file asks for: ulm.system, else the sentence that its chat template
 * inserts, else "". Borrowed from gguf, or static. */
const char *ulm_chat_default_system(const struct ulm_gguf *gguf);

/* The prompt's ids, borrowed until the next call. What does not fit is left out: the oldest turns,
 * then facts, then the beginning of the text; the template and the newest text stay.
 * 0, -E2BIG (beyond the sizes of limits.h), -ENOMEM. */
int ulm_chat_render(struct ulm_chat *chat, const struct ulm_prompt *prompt, const int32_t **ret_ids,
                    size_t *ret_n, bool *ret_shortened);

/* Wipes what the last prompt left as text; its ids stay. */
void ulm_chat_forget(struct ulm_chat *chat);

/* What every prompt without facts and history begins with: its KV is computed once. */
void ulm_chat_head(struct ulm_chat *chat, const int32_t **ret_ids, size_t *ret_n);

int32_t ulm_chat_end(const struct ulm_chat *chat); /* <|im_end|> */

#endif
