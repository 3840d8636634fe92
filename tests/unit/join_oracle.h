/* SPDX-License-Identifier: MIT */
/* The hand-off as it would be written with the whole text in hand, to compare the resumable one
 * with. It shares no code with src/core. */
#ifndef ULM_TESTS_JOIN_ORACLE_H
#define ULM_TESTS_JOIN_ORACLE_H

#include <stdbool.h>

struct oracle {
    const char *verdict; /* "ok", "pivot", "fix", "redo", or "null" */
    char answer[8192];   /* "" where the cloud had nothing to say */
    bool empty;
};

/* All corrections allowed; redo phrase ", sorry, let me start again. " */
void oracle_join(const char *opener, const char *text, bool retractable, struct oracle *ret);

#endif
