/* SPDX-License-Identifier: MIT */
#include "core/repair.h"

enum ulm_verdict ulm_repair_allowed(enum ulm_verdict wanted, const struct ulm_repair_rules *rules)
{
    if ((wanted == ULM_VERDICT_PIVOT && rules->allow_pivot) ||
        (wanted == ULM_VERDICT_FIX && rules->allow_fix) ||
        (wanted == ULM_VERDICT_REDO && rules->allow_redo))
        return wanted;
    if (rules->allow_pivot)
        return ULM_VERDICT_PIVOT;
    return rules->allow_fix ? ULM_VERDICT_FIX : ULM_VERDICT_OK;
}

struct ulm_repair ulm_repair_choose(enum ulm_tag tag, const struct ulm_repair_rules *rules)
{
    struct ulm_repair repair = {.verdict = ULM_VERDICT_NONE, .strip = true};
    switch (tag) {
    case ULM_TAG_MISSING:
        repair.watch = true;
        break;
    case ULM_TAG_OK:
        repair.verdict = ULM_VERDICT_OK;
        repair.watch = true;
        break;
    case ULM_TAG_PIVOT:
    case ULM_TAG_UNKNOWN:
        repair.verdict = ulm_repair_allowed(ULM_VERDICT_PIVOT, rules);
        break;
    case ULM_TAG_FIX:
        repair.verdict = ulm_repair_allowed(ULM_VERDICT_FIX, rules);
        break;
    case ULM_TAG_REDO:
        repair.verdict =
            ulm_repair_allowed(rules->can_retract ? ULM_VERDICT_REDO : ULM_VERDICT_FIX, rules);
        repair.retract = repair.verdict == ULM_VERDICT_REDO;
        repair.phrase = !repair.retract;
        repair.downgraded = !repair.retract;
        /* A text written afresh may begin like the opener: its words are its own. */
        repair.strip = false;
        break;
    }
    return repair;
}
