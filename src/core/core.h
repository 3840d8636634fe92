/* SPDX-License-Identifier: MIT */
/* Core's own structures: the table of open asks (core.c), one ask (session.c, voice.c). */
#ifndef ULM_CORE_CORE_H
#define ULM_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/limits.h>
#include <ulmd/session.h>

#include "core/history.h"
#include "core/pace.h"
#include "core/repair.h"
#include "core/stitch.h"
#include "core/verdict.h"
#include "util/buf.h"
#include "util/histogram.h"

/* In the order they happen; OPENING and STREAMING may be left out, FINISHING mostly is. */
enum ulm_state {
    ULM_STATE_QUEUED,    /* accepted; the engine has the question, the cloud is being warmed */
    ULM_STATE_OPENING,   /* words of the opener are emitted as they complete */
    ULM_STATE_OPENED,    /* the opener is frozen */
    ULM_STATE_AWAITING,  /* the cloud was asked; the verdict is not known */
    ULM_STATE_STREAMING, /* the verdict is known; text is stitched and emitted */
    ULM_STATE_FINISHING, /* the cloud cannot be had: the device ends its sentence */
    ULM_STATE_ENDED,     /* the terminal event was emitted */
};

/* One ask, from its receipt to its terminal event. */
struct ulm_session {
    struct ulm_session *next; /* ulm_core::sessions */
    struct ulm_core *core;    /* borrowed */
    enum ulm_state state;     /* written by session_enter alone */

    /* Who asks what. */
    struct ulm_sink *sink; /* borrowed; NULL once the client is gone */
    uid_t uid;
    char id[ULM_ID_MAX + 1];
    char name[ULM_SESSION_NAME_MAX + 1]; /* of the conversation; "" = none */
    struct ulm_prompt *prompt;           /* owned */
    bool forgotten;                      /* the conversation was reset: the turn is not kept */
    bool retractable;
    unsigned played;

    /* The values it began with. */
    struct ulm_opener_options opener_options;
    int64_t asked_us;
    int64_t opener_wait_us, first_byte_us, first_text_us, thinking_us, stalled_us, idle_us;
    int64_t total_us;

    /* The opener. */
    uint64_t ticket;
    bool engine_open; /* a job of the ticket may still give results */
    bool neutral;     /* the opener is a neutral text */
    struct ulm_buf opener;
    unsigned opener_words;

    /* The cloud's text. */
    struct ulm_transfer *transfer; /* owned by the cloud; NULL when none is open */
    bool transfer_ended;           /* we are inside its on_end */
    bool began;                    /* headers came */
    const char *failure;           /* why it gave no answer, or no whole one: static, or NULL */
    unsigned failure_status;       /* HTTP, 0 = none */
    bool tagged;                   /* a verdict tag was asked for */
    bool prefilled;                /* it goes on from within the opener: a tag is text */
    bool refusal;                  /* the provider said that what follows is a refusal */
    struct ulm_verdict_matcher verdict;
    bool judged; /* the verdict is known; the three below are set */
    enum ulm_tag tag;
    struct ulm_repair repair;
    struct ulm_stitch stitch;
    struct ulm_buf phrase;                  /* redo phrase, as joined to the opener */
    int64_t sent_us, held_us, last_text_us; /* -1 = not yet */
    bool thinking_told, stalled_told;

    /* The answer. */
    struct ulm_buf answer;
    bool retracted;
    enum ulm_verdict applied;
    struct ulm_pace pace;
    struct ulm_timing timing;
    int64_t engine_us; /* the opener's computing; -1 = no opener came */
    int64_t input_tokens, output_tokens;
};

/* A partial transcript whose ask may follow. */
struct ulm_draft {
    struct ulm_draft *next; /* ulm_core::drafts */
    struct ulm_sink *sink;  /* borrowed */
    char id[ULM_ID_MAX + 1];
    uint64_t ticket;
    int64_t lapses_us;
};

struct ulm_core {
    struct ulm_core_config config;
    struct ulm_engine *engine; /* borrowed, or NULL */
    struct ulm_cloud *cloud;   /* borrowed, or NULL */
    int64_t now_us;            /* the latest time that was told */
    uint64_t last_ticket;
    struct ulm_session *sessions; /* owned list, oldest first; ended ones until the entry returns */
    struct ulm_draft *drafts;     /* owned list, oldest first */
    size_t n_open, n_drafts;
    struct ulm_history history;
    struct ulm_core_counters counters;
    struct ulm_histogram latency[ULM_LATENCY_N];
};

/* core.c: frees the sessions that ended. The last call of every entry, which touches no session
 * after it. */
void ulm_core_reap(struct ulm_core *core);

/* session.c: one ask. */
void ulm_session_begin(struct ulm_session *session);
void ulm_session_engine_result(struct ulm_session *session, const struct ulm_result *result);
void ulm_session_played(struct ulm_session *session, unsigned words);
/* Ends it at once: as cancelled or superseded, or, with its sink NULL, without a word. */
void ulm_session_stop(struct ulm_session *session, enum ulm_reason reason);
int64_t ulm_session_deadline(const struct ulm_session *session);
void ulm_session_tick(struct ulm_session *session);

/* handoff.c: from the cloud's bytes to the answer. Those that return int: 0, ULM_STITCH_FULL (the
 * answer passed its cap; what fitted was emitted), -ENOMEM. */
int ulm_handoff_text(struct ulm_session *session, const char *text, size_t len)
    __attribute__((warn_unused_result));
/* Is something held that the passing of time lets out? */
bool ulm_handoff_holds(const struct ulm_session *session);
/* Lets it out; with tag, an open [[ as well. */
int ulm_handoff_late(struct ulm_session *session, bool tag) __attribute__((warn_unused_result));
int ulm_handoff_end(struct ulm_session *session) __attribute__((warn_unused_result));
/* Chooses the correction for session->tag, by what is allowed now. */
int ulm_handoff_plan(struct ulm_session *session) __attribute__((warn_unused_result));
struct ulm_repair_rules ulm_handoff_rules(const struct ulm_session *session);

/* voice.c: what an ask says to its client, and the answer as the client has it. Those that return
 * int append to the answer first: 0, ULM_STITCH_FULL, -ENOBUFS, -ENOMEM. */
void ulm_voice_emit(const struct ulm_session *session, const struct ulm_event *event);
int ulm_voice_word(struct ulm_session *session, const char *text)
    __attribute__((warn_unused_result));
void ulm_voice_opened(struct ulm_session *session, double confidence);
void ulm_voice_notice(struct ulm_session *session, enum ulm_notice code);
void ulm_voice_repair(struct ulm_session *session, enum ulm_verdict strategy);
void ulm_voice_retract(struct ulm_session *session);
/* Emits what stands in the answer from `from` on. */
void ulm_voice_delta(struct ulm_session *session, size_t from);
/* Appends a configured close, joined to what stands there. */
int ulm_voice_close(struct ulm_session *session, const char *text)
    __attribute__((warn_unused_result));
void ulm_voice_done(struct ulm_session *session, enum ulm_reason reason);
/* Tells whoever counts what the ask used; nothing where its sink is gone. */
void ulm_voice_spent(const struct ulm_session *s);
void ulm_voice_error(struct ulm_sink *sink, const char *id, enum ulm_error code,
                     const char *message, const char *ref);

static inline bool ulm_session_has_cloud_text(const struct ulm_session *session)
{
    return session->stitch.open;
}

#endif
