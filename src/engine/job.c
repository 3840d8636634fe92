/* SPDX-License-Identifier: MIT */
#include "engine/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(char **at, const char *text)
{
    if (!text)
        return NULL;
    size_t n = strlen(text) + 1;
    char *copy = memcpy(*at, text, n);
    *at += n;
    return copy;
}

int ulm_queued_job_new(const struct ulm_job *job, struct ulm_queued_job **ret)
{
    const struct ulm_prompt *prompt = &job->prompt;
    if (prompt->n_facts > ULM_FACTS_MAX || prompt->n_history > ULM_TURNS_MAX)
        return -E2BIG;
    size_t texts = text_bytes(prompt->text) + text_bytes(job->opener);
    for (size_t i = 0; i < prompt->n_facts; i++)
        texts += text_bytes(prompt->facts[i]);
    for (size_t i = 0; i < prompt->n_history; i++)
        texts += text_bytes(prompt->history[i].content);
    if (texts > ULM_LINE_MAX)
        return -E2BIG;
    size_t facts = prompt->n_facts * sizeof *prompt->facts;
    size_t turns = prompt->n_history * sizeof *prompt->history;
    struct ulm_queued_job *queued = calloc(1, sizeof *queued + turns + facts + texts);
    if (!queued)
        return -ENOMEM;
    struct ulm_turn *history = (struct ulm_turn *)(void *)(queued + 1);
    const char **fact = (const char **)(void *)((char *)history + turns);
    char *at = (char *)fact + facts;
    queued->job = *job;
    queued->job.prompt.text = copy_text(&at, prompt->text);
    queued->job.opener = copy_text(&at, job->opener);
    for (size_t i = 0; i < prompt->n_facts; i++)
        fact[i] = copy_text(&at, prompt->facts[i]);
    for (size_t i = 0; i < prompt->n_history; i++)
        history[i] =
            (struct ulm_turn){prompt->history[i].role, copy_text(&at, prompt->history[i].content)};
    queued->job.prompt.facts = fact;
    queued->job.prompt.history = history;
    queued->refs = 1;
    *ret = queued;
    return 0;
}

void ulm_queued_job_unref(struct ulm_queued_job *job)
{
    if (--job->refs)
        return;
    free(job);
}

struct ulm_queued_result *ulm_queued_job_result(struct ulm_queued_job *job,
                                                enum ulm_result_kind kind, const char *text,
                                                size_t len)
{
    if (job->n_results == ULM_JOB_RESULTS || len >= sizeof job->text - job->text_len)
        return NULL;
    struct ulm_queued_result *queued = &job->results[job->n_results++];
    char *copy = job->text + job->text_len;
    memcpy(copy, text, len);
    copy[len] = '\0';
    job->text_len += len + 1;
    queued->job = job;
    queued->result = (struct ulm_result){.kind = kind, .ticket = job->job.ticket, .text = copy};
    if (job->job.kind != ULM_JOB_DRAFT)
        job->refs++;
    return queued;
}

void ulm_queued_job_clear(struct ulm_queued_job *job)
{
    job->n_results = 0;
    job->text_len = 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_prompt(const struct ulm_prompt *a, const struct ulm_prompt *b)
{
    if (a->n_facts != b->n_facts || a->n_history != b->n_history || !same_text(a->text, b->text))
        return false;
    for (size_t i = 0; i < a->n_facts; i++) {
        if (!same_text(a->facts[i], b->facts[i]))
            return false;
    }
    for (size_t i = 0; i < a->n_history; i++) {
        if (a->history[i].role != b->history[i].role ||
            !same_text(a->history[i].content, b->history[i].content))
            return false;
    }
    return true;
}

bool ulm_job_same(const struct ulm_job *a, const struct ulm_job *b)
{
    const struct ulm_opener_options *x = &a->options, *y = &b->options;
    return x->min_words == y->min_words && x->max_words == y->max_words && x->guard == y->guard &&
           x->beam == y->beam && x->temperature == y->temperature && x->top_p == y->top_p &&
           x->seed == y->seed && x->hold == y->hold && x->min_confidence == y->min_confidence &&
           same_prompt(&a->prompt, &b->prompt);
}
