/* SPDX-License-Identifier: MIT */
/* What a request tells its client: the events of protocol.md, and the sink they go to. */
#ifndef ULMD_EVENT_H
#define ULMD_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In the order a request can emit them; DONE and ERROR are terminal. */
enum ulm_event_type {
    ULM_EVENT_OPENER,  /* one word of the opener, with its leading space from the second on */
    ULM_EVENT_OPENED,  /* the opener is complete */
    ULM_EVENT_REPAIR,  /* a correction begins */
    ULM_EVENT_RETRACT, /* delete characters from the end of the answer so far */
    ULM_EVENT_DELTA,   /* text to append */
    ULM_EVENT_NOTICE,  /* hold the floor */
    ULM_EVENT_DONE,
    ULM_EVENT_ERROR,
};

/* What was applied to the opener. NONE: the cloud gave no tag or no text (null on the wire). */
enum ulm_verdict {
    ULM_VERDICT_NONE,
    ULM_VERDICT_OK,
    ULM_VERDICT_PIVOT,
    ULM_VERDICT_FIX,
    ULM_VERDICT_REDO,
};

enum ulm_notice {
    ULM_NOTICE_THINKING,
    ULM_NOTICE_STALLED,
    ULM_NOTICE_OFFLINE,
    ULM_NOTICE_RETRYING,
};

enum ulm_reason {
    ULM_REASON_COMPLETE,
    ULM_REASON_TRUNCATED,
    ULM_REASON_REFUSED,
    ULM_REASON_LOCAL,
    ULM_REASON_CANCELLED,
    ULM_REASON_SUPERSEDED,
};

enum ulm_source {
    ULM_SOURCE_LOCAL, /* no cloud text in the answer */
    ULM_SOURCE_CLOUD, /* no opener words remain */
    ULM_SOURCE_MIXED,
};

enum ulm_error {
    ULM_ERROR_BAD_REQUEST,
    ULM_ERROR_TOO_LONG,
    ULM_ERROR_BUSY,
    ULM_ERROR_NOT_FOUND,
    ULM_ERROR_NO_MODEL,
    ULM_ERROR_INTERNAL,
    ULM_ERROR_DENIED,
};

/* The names that stand on the wire ("pivot", "bad_request", ...). NULL for ULM_VERDICT_NONE. */
const char *ulm_event_name(enum ulm_event_type type);
const char *ulm_verdict_name(enum ulm_verdict verdict);
const char *ulm_notice_name(enum ulm_notice notice);
const char *ulm_reason_name(enum ulm_reason reason);
const char *ulm_source_name(enum ulm_source source);
const char *ulm_error_name(enum ulm_error error);

/* Microseconds from receipt of the ask; -1 = it did not happen (null on the wire). */
struct ulm_timing {
    int64_t first_word_us;
    int64_t opener_us;
    int64_t cloud_sent_us;
    int64_t cloud_first_byte_us;
    int64_t cloud_first_text_us;
    int64_t total_us;
    int64_t gap_us; /* time a listener at 150 words a minute had nothing new to hear */
};

/* All pointers are borrowed for the length of the emit call. Texts are NUL-terminated UTF-8. */
struct ulm_event {
    enum ulm_event_type type;
    union {
        struct {
            const char *text;
        } opener, delta;
        struct {
            const char *opener;
            unsigned words;
            double confidence; /* mean natural-log probability per token, <= 0 */
        } opened;
        struct {
            enum ulm_verdict strategy; /* PIVOT, FIX or REDO */
            size_t from, to;           /* span of the answer so far, code points, [from, to) */
        } repair;
        struct {
            size_t chars; /* code points */
        } retract;
        struct {
            enum ulm_notice code;
        } notice;
        struct {
            enum ulm_reason reason;
            enum ulm_source source;
            enum ulm_verdict verdict;
            const char *text; /* the answer: openers and deltas less retractions, to the byte */
            struct ulm_timing timing;
            int64_t input_tokens, output_tokens; /* -1, -1 = the provider told none */
        } done;
        struct {
            enum ulm_error code;
            const char *message; /* one line for a developer; never provider text */
            const char *ref;     /* offending id where the error belongs to no request, or NULL */
        } error;
    };
};

/* A client as core sees it: a socket connection or a bus caller embeds one and recovers itself
 * with container_of. Core never frees a sink; its owner calls ulm_core_sink_gone() first.
 * emit must not call back into core; a failed write is noted by the owner and told to core later,
 * from the loop. `id` is NULL where the event belongs to no request. */
struct ulm_sink {
    void (*emit)(struct ulm_sink *sink, const char *id, const struct ulm_event *event);
    /* The tokens of an ask for which the cloud was asked: told once, at its end, also where the
     * client is gone by then. What the cloud counted, else about what went there and came back.
     * NULL = nobody counts. */
    void (*spent)(struct ulm_sink *sink, int64_t tokens);
    uid_t uid; /* of the peer; with the session's name it is the session's key */
};

static inline bool ulm_event_is_terminal(enum ulm_event_type type)
{
    return type == ULM_EVENT_DONE || type == ULM_EVENT_ERROR;
}

#endif
