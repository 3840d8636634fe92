/* SPDX-License-Identifier: MIT */
#include <ulmd/event.h>

#include <stddef.h>

const char *ulm_event_name(enum ulm_event_type type)
{
    static const char *const names[] = {
        [ULM_EVENT_OPENER] = "opener", [ULM_EVENT_OPENED] = "opened",
        [ULM_EVENT_REPAIR] = "repair", [ULM_EVENT_RETRACT] = "retract",
        [ULM_EVENT_DELTA] = "delta",   [ULM_EVENT_NOTICE] = "notice",
        [ULM_EVENT_DONE] = "done",     [ULM_EVENT_ERROR] = "error",
    };
    return names[type];
}

const char *ulm_verdict_name(enum ulm_verdict verdict)
{
    static const char *const names[] = {
        [ULM_VERDICT_NONE] = NULL, [ULM_VERDICT_OK] = "ok",     [ULM_VERDICT_PIVOT] = "pivot",
        [ULM_VERDICT_FIX] = "fix", [ULM_VERDICT_REDO] = "redo",
    };
    return names[verdict];
}

const char *ulm_notice_name(enum ulm_notice notice)
{
    static const char *const names[] = {
        [ULM_NOTICE_THINKING] = "thinking",
        [ULM_NOTICE_STALLED] = "stalled",
        [ULM_NOTICE_OFFLINE] = "offline",
        [ULM_NOTICE_RETRYING] = "retrying",
    };
    return names[notice];
}

const char *ulm_reason_name(enum ulm_reason reason)
{
    static const char *const names[] = {
        [ULM_REASON_COMPLETE] = "complete",   [ULM_REASON_TRUNCATED] = "truncated",
        [ULM_REASON_REFUSED] = "refused",     [ULM_REASON_LOCAL] = "local",
        [ULM_REASON_CANCELLED] = "cancelled", [ULM_REASON_SUPERSEDED] = "superseded",
    };
    return names[reason];
}

const char *ulm_source_name(enum ulm_source source)
{
    static const char *const names[] = {
        [ULM_SOURCE_LOCAL] = "local",
        [ULM_SOURCE_CLOUD] = "cloud",
        [ULM_SOURCE_MIXED] = "mixed",
    };
    return names[source];
}

const char *ulm_error_name(enum ulm_error error)
{
    static const char *const names[] = {
        [ULM_ERROR_BAD_REQUEST] = "bad_request",
        [ULM_ERROR_TOO_LONG] = "too_long",
        [ULM_ERROR_BUSY] = "busy",
        [ULM_ERROR_NOT_FOUND] = "not_found",
        [ULM_ERROR_NO_MODEL] = "no_model",
        [ULM_ERROR_INTERNAL] = "internal",
        [ULM_ERROR_DENIED] = "denied",
    };
    return names[error];
}
