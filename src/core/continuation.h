/* SPDX-License-Identifier: MIT */
/* What the cloud is asked: the content of the last user turn. */
#ifndef ULM_CORE_CONTINUATION_H
#define ULM_CORE_CONTINUATION_H

#include <stdbool.h>

struct ulm_buf;
struct ulm_prompt;

/* Instruct mode: {"request":…,"opener":…,"retractable":…,"facts":[…]}; without an opener (NULL)
 * only request and facts. Strings are JSON, so that nothing in them can forge the frame.
 * 0, -ENOBUFS, -ENOMEM. */
int ulm_continuation_json(struct ulm_buf *out, const struct ulm_prompt *prompt, const char *opener,
                          bool retractable) __attribute__((warn_unused_result));

/* Prefill mode: the question as it was asked, and behind it the facts, quoted. */
int ulm_continuation_question(struct ulm_buf *out, const struct ulm_prompt *prompt)
    __attribute__((warn_unused_result));

#endif
