/* SPDX-License-Identifier: MIT */
/*
 * The engine: a micro language model kept hot, and the worker thread that runs it.
 *
 *     ulm_engine_new -> ulm_engine_submit ... (wake is called on the worker's thread)
 *                    -> ulm_engine_dispatch on the loop's thread hands out the results
 *                    -> ulm_engine_free
 *
 * It knows nothing of sockets, clocks or sessions. Between jobs the worker is parked in the kernel.
 */
#ifndef ULMD_ENGINE_H
#define ULMD_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/limits.h>
#include <ulmd/request.h>

struct ulm_engine;

struct ulm_engine_config {
    const char *path;    /* GGUF file */
    unsigned threads;    /* 0 = auto */
    const char *cores;   /* "auto", or a list as in taskset: "4-7" */
    const char *kernels; /* "auto", "scalar", "avx2", "avx512", "neon", "dotprod" */
    unsigned context;    /* tokens of KV cache a sequence, >= 512 */
    const char *system;  /* text of the system turn, or NULL: as the model file says */
    void (*wake)(void *data); /* called on the worker's thread when results wait; must not block */
    void *wake_data;
};

/* How an opener is chosen. All of it is per job, so that a reload needs no new engine. */
struct ulm_opener_options {
    unsigned min_words, max_words; /* 1 <= min <= max <= ULM_WORDS_MAX */
    bool guard;                    /* forbid what could turn out false, see engine/guard.h */
    unsigned beam;                 /* 1 = greedy or sampled, streamed word by word */
    double temperature;            /* 0 = greedy */
    double top_p;                  /* (0, 1] */
    uint64_t seed;
    bool hold; /* no WORD at all: OPENED brings the whole text and its confidence, so that the
                  caller can judge it first (min_confidence). A beam > 1 does the same. */
    double min_confidence; /* held: a greedy opener of less is searched for once more, several at a
                              time; if that is less as well, the neutral text of the model file
                              stands in that suits the request. -INFINITY = no second look */
    unsigned second_look_ms; /* none where the first took longer than this; 0 = always */
};

enum ulm_job_kind {
    ULM_JOB_DRAFT,  /* prefill `prompt` as far as a coming opener can use it; no result */
    ULM_JOB_OPENER, /* words, then one OPENED or FAILED */
    ULM_JOB_FINISH, /* go on from `opener` to the end of its sentence; one FINISHED or FAILED */
};

/* Everything is copied by ulm_engine_submit. */
struct ulm_job {
    enum ulm_job_kind kind;
    uint64_t ticket; /* the caller's, unique among its open jobs; a draft and its later opener share
                        one, so that the opener finds the draft's prefill first */
    struct ulm_prompt prompt;
    const char *opener; /* FINISH: words already emitted */
    struct ulm_opener_options options;
    bool ahead; /* DRAFT: then write the opener as well, and keep it for an OPENER job of the same
                   ticket, prompt and options, which so has its results without a token run */
};

enum ulm_result_kind {
    ULM_RESULT_WORD,     /* `text` is one word, with its leading space from the second on */
    ULM_RESULT_OPENED,   /* `text` is the whole opener; "" = the model has none */
    ULM_RESULT_FINISHED, /* `text` is what to append, leading space included; "" = nothing */
    ULM_RESULT_FAILED,   /* internal failure; `text` is a line for the log */
};

/* Borrowed for the length of the callback. */
struct ulm_result {
    enum ulm_result_kind kind;
    uint64_t ticket;
    const char *text;
    unsigned words;
    double confidence;     /* mean natural-log probability per token, <= 0 */
    bool neutral;          /* OPENED: `text` is one of the model file, the confidence that of the
                              opener in whose place it stands */
    unsigned guard_hits;   /* times the guard changed the choice */
    bool prompt_shortened; /* the oldest text was left out to fit the context */
    unsigned prompt_tokens, reused_tokens, generated_tokens;
    int64_t engine_us;     /* OPENED, FINISHED: how long the worker computed, without waiting and
                              without handing out results */
};

typedef void ulm_result_fn(void *data, const struct ulm_result *result);

/* What of an engine's configuration cannot be had, where it is not the file. */
enum ulm_engine_fault {
    ULM_ENGINE_KERNELS = 1, /* unknown, or not for this machine */
    ULM_ENGINE_CORES,       /* no list, or none that this process may use */
    ULM_ENGINE_SYSTEM,      /* longer than half the context */
};

/* Loads, checks and warms the model: on success the first job runs at full speed.
 * 0; else one line of reason in reterr (borrowed buffer, always NUL-terminated then): >0 as enum
 * ulm_engine_fault, <0: errno. */
int ulm_engine_new(const struct ulm_engine_config *config, struct ulm_engine **ret_engine,
                   char *reterr, size_t reterr_size);

/* Joins the worker; results not yet dispatched are dropped. NULL is allowed. Returns NULL. */
struct ulm_engine *ulm_engine_free(struct ulm_engine *engine);

/* 0, -EAGAIN when the queue is full (ULM_REQUESTS_MAX jobs), -ENOMEM. A draft replaces the
 * waiting draft of the same ticket. Openers and finishes go before drafts. */
int ulm_engine_submit(struct ulm_engine *engine, const struct ulm_job *job);

/* Drops the waiting jobs of the ticket and stops the running one before its next token. No result
 * of the ticket is dispatched after this returns. */
void ulm_engine_cancel(struct ulm_engine *engine, uint64_t ticket);

/* Hands the waiting results to fn, oldest first, on the caller's thread. fn may submit and cancel. */
void ulm_engine_dispatch(struct ulm_engine *engine, ulm_result_fn *fn, void *data);

/* Tokens run since the start, for the watchdog: while ulm_engine_busy(), it must grow. */
uint64_t ulm_engine_progress(const struct ulm_engine *engine);
bool ulm_engine_busy(const struct ulm_engine *engine);

/* Shape of the loaded model; strings live as long as the engine. */
struct ulm_model_info {
    const char *name;         /* general.name, or the file's base name */
    const char *quantisation; /* "Q8_0", ... of the matrices */
    const char *kernels;      /* which were picked */
    const char *system;       /* the system text in force */
    uint64_t parameters;
    uint64_t weight_bytes;
    unsigned context;         /* tokens of KV cache a sequence */
    unsigned trained;         /* tokens the file says the model is for; 0 = it does not say */
    unsigned threads;
    unsigned layers, hidden, heads, kv_heads, ffn, vocabulary;
    float rope_theta;
    double min_confidence; /* below which the file advises a neutral opener; -INFINITY = never */
    unsigned neutral;      /* texts for that in the file */
};

const struct ulm_model_info *ulm_engine_info(const struct ulm_engine *engine);

#endif
