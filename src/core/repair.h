/* SPDX-License-Identifier: MIT */
/* Which of the three corrections is applied. */
#ifndef ULM_CORE_REPAIR_H
#define ULM_CORE_REPAIR_H

#include <stdbool.h>

#include <ulmd/event.h>

#include "core/verdict.h"

struct ulm_repair_rules {
    bool allow_pivot, allow_fix, allow_redo;
    bool can_retract; /* the client takes retractions, and no word of the opener was heard */
};

struct ulm_repair {
    enum ulm_verdict verdict; /* what done says; PIVOT, FIX and REDO are announced by `repair` */
    bool retract;             /* the opener goes */
    bool phrase;              /* the redo phrase stands between opener and text */
    bool strip;               /* an echo of the opener is stripped */
    bool watch;               /* a reworded echo turns the verdict to pivot */
    bool downgraded;          /* a redo that is none */
};

struct ulm_repair ulm_repair_choose(enum ulm_tag tag, const struct ulm_repair_rules *rules);

/* The correction that stands for `wanted` where that is not allowed: the first allowed of pivot and
 * fix, or OK where none is. */
enum ulm_verdict ulm_repair_allowed(enum ulm_verdict wanted, const struct ulm_repair_rules *rules);

#endif
