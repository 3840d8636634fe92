/* SPDX-License-Identifier: MIT */
/*
 * The forward pass of a Llama-shaped decoder: RMSNorm, RoPE on interleaved pairs, grouped-query
 * attention, SwiGLU, tied or separate output head. Three structs with one role each: the model
 * (read-only weights, packed for the kernels), the KV cache (one a sequence), the runner
 * (activations and compute threads). Nothing allocates after the three were made.
 */
#ifndef ULM_ENGINE_MODEL_H
#define ULM_ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf.h"

struct ulm_model;
struct ulm_kv;
struct ulm_runner;

#define ULM_BATCH_MAX 64u /* rows of one ulm_forward call */

struct ulm_shape {
    unsigned layers, hidden, heads, kv_heads, head_dim, ffn, vocabulary;
    unsigned trained; /* tokens of context the file tells of; 0 = none */
    float rope_theta, norm_eps;
    enum ulm_type type; /* of the matrices */
    bool tied;
    uint64_t parameters;
    uint64_t weight_bytes; /* as packed, in memory */
};

/* kernels: "auto" or a name ("scalar", "avx2", "avx512", "neon", "dotprod"); the environment's
 * ULM_KERNELS goes first. Copies or repacks what it needs: gguf may be freed afterwards.
 * <0: errno and one line of reason (unknown kernels, missing tensor, wrong shape). */
int ulm_model_new(const struct ulm_gguf *gguf, const char *kernels, struct ulm_model **ret_model,
                  char *reterr, size_t reterr_size);
struct ulm_model *ulm_model_free(struct ulm_model *model);
const struct ulm_shape *ulm_model_shape(const struct ulm_model *model);
const char *ulm_model_kernels(const struct ulm_model *model);
/* ln of the sum of exp(logits) over the vocabulary: a token's log-probability is its logit less
 * this. NaN where a logit is. *ret_top: the likeliest token, of equals the lowest id. */
float ulm_model_log_sum(const struct ulm_model *model, const float *logits, int32_t *ret_top);

/* The KV cache of one sequence of up to `context` tokens. -ENOMEM. */
int ulm_kv_new(const struct ulm_model *model, unsigned context, struct ulm_kv **ret_kv);
struct ulm_kv *ulm_kv_free(struct ulm_kv *kv);
unsigned ulm_kv_len(const struct ulm_kv *kv); /* tokens in it */
void ulm_kv_truncate(struct ulm_kv *kv, unsigned len);
/* dst becomes a copy of the first len tokens of src (same model, len <= both contexts). */
void ulm_kv_copy(struct ulm_kv *dst, const struct ulm_kv *src, unsigned len);

/* Activations for ULM_BATCH_MAX rows and the compute threads. cores: "auto" or "4-7". */
int ulm_runner_new(const struct ulm_model *model, unsigned threads, const char *cores,
                   struct ulm_runner **ret_runner);
struct ulm_runner *ulm_runner_free(struct ulm_runner *runner);
unsigned ulm_runner_threads(const struct ulm_runner *runner);
/* Binds the calling thread to the runner's cores, where there are any. Called once on the thread
 * that is going to call ulm_forward. */
void ulm_runner_bind(const struct ulm_runner *runner);

/* One token to run: it is appended to its sequence. */
struct ulm_row {
    struct ulm_kv *kv;
    int32_t token;
    bool want_logits;
};

/* Runs n rows (1..ULM_BATCH_MAX). Rows of the same kv stand in order; rows of different kv may
 * mix (a beam). Prefill is one kv with many rows, decode one row a kv. Each kv must have room.
 * Writes vocabulary floats to logits for each row that wants them, in row order: logits is
 * [wanted, vocabulary]; may be NULL when none wants. The result does not depend on the number of
 * threads, and a row's result does not depend on the rows beside it (F32 through OpenBLAS: but for
 * rounding). */
void ulm_forward(struct ulm_runner *runner, const struct ulm_row *rows, size_t n, float *logits);

#endif
