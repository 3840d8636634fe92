/* SPDX-License-Identifier: MIT */
/*
 * Core: requests, sessions, and the hand-off from opener to cloud. No clock, no timer, no I/O:
 * every entry is told the time, and ulm_core_next_deadline() says when ulm_core_tick() is due.
 * Times are microseconds of one monotonic clock.
 */
#ifndef ULMD_SESSION_H
#define ULMD_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/cloud.h>
#include <ulmd/engine.h>
#include <ulmd/event.h>
#include <ulmd/request.h>

struct ulm_core;

/* Strings are borrowed as long as the configuration is in force. Milliseconds are protocol.md's. */
struct ulm_core_config {
    unsigned max_requests; /* open asks, running and waiting */

    struct ulm_opener_options opener;
    bool ahead;                   /* write the opener of a draft before it is asked for */
    bool words_auto;              /* choose max_words from the cloud's time to first text */
    double min_confidence;        /* mean log-probability; -INFINITY = off */
    const char *const *neutral;   /* [n_neutral] neutral openers; n_neutral 0: the model's own */
    size_t n_neutral;
    unsigned opener_wait_ms;

    unsigned first_byte_ms, first_text_ms, thinking_ms, stalled_ms, idle_ms, total_ms;

    bool allow_pivot, allow_fix, allow_redo;
    const char *redo_phrase;
    const char *local_close;   /* the ending where no cloud responds */
    const char *failed_close;  /* the ending where one did, and gave no text */
    const char *refused_close; /* the ending of a refusal without text */
    const char *length_close;  /* appended to an answer cut by its token limit; "" = nothing */

    unsigned max_sessions, session_turns;
};

/* engine and cloud may each be NULL (no model; local only); they are borrowed. -ENOMEM. */
int ulm_core_new(const struct ulm_core_config *config, struct ulm_engine *engine,
                 struct ulm_cloud *cloud, struct ulm_core **ret_core);

/* Ends what is open without events. NULL is allowed. Returns NULL. */
struct ulm_core *ulm_core_free(struct ulm_core *core);

/* A reload: open requests go on under the values they began with, and with the transfers they
 * have; texts of the configuration, and what is asked from now on, are the new ones. So the old
 * cloud stays until those requests have ended, the old total_ms from now at the latest. */
void ulm_core_configure(struct ulm_core *core, const struct ulm_core_config *config,
                        struct ulm_cloud *cloud);

/* A question. Its answer, or its refusal (busy, bad_request, no_model), goes to the sink. An id
 * that is open on this sink gets an `error` with `ref` and harms nothing. */
void ulm_core_ask(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *ask,
                  int64_t now_us);
void ulm_core_draft(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *ask,
                    int64_t now_us);
void ulm_core_played(struct ulm_core *core, struct ulm_sink *sink, const char *id, unsigned words,
                     int64_t now_us);
void ulm_core_cancel(struct ulm_core *core, struct ulm_sink *sink, const char *id, int64_t now_us);

/* Forgets the turns of (sink's uid, session). The caller answers `ok`. */
void ulm_core_reset(struct ulm_core *core, struct ulm_sink *sink, const char *session);

/* The client went away: its requests and drafts end without events, upstream closed. */
void ulm_core_sink_gone(struct ulm_core *core, struct ulm_sink *sink, int64_t now_us);

/* How many asks of this sink are open (for "end of input: open ones finish"). */
size_t ulm_core_open_requests(const struct ulm_core *core, const struct ulm_sink *sink);

/* Is an ask of this id open on this sink? (For a refusal by the front: the id of an open request
 * goes into `ref`.) */
bool ulm_core_is_open(const struct ulm_core *core, const struct ulm_sink *sink, const char *id);

/* A result of ulm_engine_dispatch. */
void ulm_core_engine_result(struct ulm_core *core, const struct ulm_result *result, int64_t now_us);

/* The time ulm_core_tick is due, or INT64_MAX: no deadline is armed. */
int64_t ulm_core_next_deadline(const struct ulm_core *core);
void ulm_core_tick(struct ulm_core *core, int64_t now_us);

/* Ends every open request as cancelled, with its terminal event. */
void ulm_core_shutdown(struct ulm_core *core, int64_t now_us);

/* Totals since the start, for `status`. */
struct ulm_core_counters {
    uint64_t asks, drafts, busy, superseded, cancelled, completed, truncated, refused, local, errors;
    uint64_t verdict_ok, verdict_pivot, verdict_fix, verdict_redo;
    uint64_t tag_missing, tag_unknown, echo_stripped, restart_suspected, empty_continuation;
    uint64_t redo_downgraded, opener_late, opener_neutral, guard_hits, prompt_shortened;
};

enum ulm_latency_kind { /* what is measured of each request */
    ULM_LATENCY_FIRST_WORD,
    ULM_LATENCY_OPENER,
    ULM_LATENCY_CLOUD_FIRST_BYTE,
    ULM_LATENCY_CLOUD_FIRST_TEXT,
    ULM_LATENCY_TOTAL,
    ULM_LATENCY_GAP,
    ULM_LATENCY_ENGINE, /* computing the opener; what is over in OPENER is waiting and hand-over */
    ULM_LATENCY_N,
};

struct ulm_histogram; /* util/histogram.h */

const struct ulm_core_counters *ulm_core_counters(const struct ulm_core *core);
const struct ulm_histogram *ulm_core_latency(const struct ulm_core *core, enum ulm_latency_kind kind);
size_t ulm_core_running(const struct ulm_core *core); /* open asks */

#endif
