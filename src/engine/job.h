/* SPDX-License-Identifier: MIT */
/* A job in the engine's queue: a deep copy of what was asked, with room for all its results, so
 * that a job that was accepted can always be answered. */
#ifndef ULM_ENGINE_JOB_H
#define ULM_ENGINE_JOB_H

#include <stdatomic.h>
#include <stdbool.h>

#include <ulmd/engine.h>

#define ULM_JOB_RESULTS (ULM_WORDS_MAX + 1u) /* its words and one terminal result */

/* The words, the whole text again, and a NUL behind each. */
#define ULM_JOB_TEXT (2 * (ULM_OPENER_MAX + 1) + ULM_WORDS_MAX)

struct ulm_queued_job;

struct ulm_queued_result {
    struct ulm_queued_result *next; /* in the engine's results */
    struct ulm_queued_job *job;
    struct ulm_result result; /* its text is in job->text */
};

struct ulm_queued_job {
    struct ulm_queued_job *next; /* in the engine's queue */
    struct ulm_job job;          /* its pointers lead into this allocation */
    atomic_bool cancelled;       /* no result of it is wanted any more */
    bool again;                  /* a draft that was stopped for an opener: run it later */
    unsigned refs;               /* the queue or the worker, and each result that was published */
    struct ulm_queued_result results[ULM_JOB_RESULTS];
    unsigned n_results;
    char text[ULM_JOB_TEXT];
    size_t text_len;
};

/* One allocation, refs 1. -ENOMEM; -E2BIG beyond the sizes of limits.h. */
int ulm_queued_job_new(const struct ulm_job *job, struct ulm_queued_job **ret);
/* Frees it when this was the last reference. */
void ulm_queued_job_unref(struct ulm_queued_job *job);
/* The next result of a job, text copied; the job is referenced once more, unless it is a draft,
 * which keeps its results. NULL = none is left, which only a terminal result too many could meet. */
struct ulm_queued_result *ulm_queued_job_result(struct ulm_queued_job *job,
                                                enum ulm_result_kind kind, const char *text,
                                                size_t len);

/* Forgets the results, of which none may have been published. */
void ulm_queued_job_clear(struct ulm_queued_job *job);
/* Whether both ask for the same opener: prompt and options, whatever the kind and ticket. */
bool ulm_job_same(const struct ulm_job *a, const struct ulm_job *b);

#endif
