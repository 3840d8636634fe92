/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic, once a kind of CPU. Every table computes the same: kernels_scalar.c is the
 * plain C twin that says what, the others say how fast.
 *
 * Weights are packed in groups of 32 rows, so that one activation meets many rows in one vector,
 * and so that a pass over a matrix reads memory in one straight line:
 *
 *   F32   [group][col][32]                           floats
 *   F16   [group][col][32]                           halfs
 *   Q8_0  [group][block]{ half scale[32]; [8][32][4] bytes }   block = 32 columns
 *   Q4_0  [group][block]{ half scale[32]; [4][32][4] bytes }   low nibble of [j][r][i]: column
 *                                                    4j + i of the block, high: 16 + 4j + i
 *
 * Everything stands on cache lines of 64 bytes. A table that multiplies unsigned weights by signed
 * activations has q8_flip 0x80: each Q8_0 byte is then w + 128, and `fix8` takes 128 * sum(a) off
 * again.
 */
#ifndef ULM_ENGINE_KERNELS_H
#define ULM_ENGINE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf.h"

#define ULM_GROUP 32u /* rows of a packed group */
#define ULM_BLOCK 32u /* columns of a quantised block */

/* Bytes of a packed block of 32 rows, its scales first. */
#define ULM_SCALES (ULM_GROUP * 2u)
#define ULM_Q8_BLOCK (ULM_SCALES + ULM_GROUP * ULM_BLOCK)
#define ULM_Q4_BLOCK (ULM_SCALES + ULM_GROUP * ULM_BLOCK / 2u)

struct ulm_blas;

struct ulm_matrix {
    enum ulm_type type;
    unsigned rows, cols;
    unsigned groups;    /* rows / ULM_GROUP, rounded up; the rows beyond are zero */
    size_t group_bytes; /* a multiple of 64 */
    uint8_t *data;      /* 64-byte aligned, in the model's arena */
    const struct ulm_blas *blas; /* F32 only: data is row-major, for OpenBLAS; or NULL */
};

/* Activations of n rows: floats, and (for quantised weights) 8-bit blocks. Rows stand `cols` apart
 * in x and q, `blocks` = cols / 32 apart in scale and the fixes. All of it 64-byte aligned. */
struct ulm_acts {
    unsigned cols;
    float *x;       /* [row][cols] */
    int8_t *q;      /* [row][cols], round(x / scale), -127..127 */
    float *scale;   /* [row][block], max|x| / 127 */
    int32_t *fix8;  /* [row][block], -128 * sum(q) */
    int32_t *fix4;  /* [row][block], -8 * sum(q) */
};

#define ULM_ATTEND_HEADS 4u /* most query heads of one attend call */

/* One query row against one KV head. Keys stand in groups of 16 positions with the positions
 * innermost, so that scores need no horizontal sums. Halfs, or floats in an F32 model. */
struct ulm_attention {
    const float *q;     /* [heads][head_dim], query heads that share this KV head */
    unsigned heads;     /* 1..ULM_ATTEND_HEADS */
    unsigned head_dim;  /* even */
    unsigned len;       /* positions to look at, >= 1 */
    const void *keys;   /* [len / 16, rounded up][head_dim][16] */
    const void *values; /* [len][head_dim] */
    float scale;
    float *out;         /* [heads][head_dim] */
};

/* out[i * stride + r] = sum over c of w[r][c] * a[i][c], for rows i of 0..n and the 32 rows r of
 * each group in [first, last). Quantised: the sum over blocks, in their order, of
 * int(sum of w*a) * (w scale * a scale). A row's result does not depend on n. */
typedef void ulm_matmul_fn(const struct ulm_matrix *w, unsigned first, unsigned last,
                           const struct ulm_acts *a, unsigned n, float *out, size_t stride);

struct ulm_kernels {
    const char *name; /* as ULM_KERNELS names it */
    uint8_t q8_flip;
    ulm_matmul_fn *q8, *q4, *f16, *f32;
    /* Fills q, scale and the fixes of rows [first, last) from x. */
    void (*quantise)(struct ulm_acts *a, unsigned first, unsigned last);
    /* x += delta */
    void (*add)(float *x, const float *delta, unsigned n);
    /* out = x / sqrt(mean(x^2) + eps) * weight */
    void (*norm)(const float *x, const float *weight, unsigned n, float eps, float *out);
    /* gate = gate / (1 + exp(-gate)) * up */
    void (*swiglu)(float *gate, const float *up, unsigned n);
    /* Rotates the interleaved pairs of each head in place; table is [head_dim / 2]{cos, sin}. */
    void (*rope)(float *x, unsigned heads, unsigned head_dim, const float *table);
    /* Writes one position of one KV head: key[d * 16] and value[d] for d < head_dim. */
    void (*store_f16)(const float *k, const float *v, unsigned head_dim, uint16_t *key,
                      uint16_t *value);
    /* out = sum over positions p of softmax(scale * q.key[p])[p] * value[p] */
    void (*attend_f16)(const struct ulm_attention *a);
    void (*attend_f32)(const struct ulm_attention *a);
    /* ln of the sum of exp(x) over n > 0 logits; NaN where one is. *ret_top: the place of the
     * largest, of equals the first. */
    float (*log_sum)(const float *x, size_t n, size_t *ret_top);
};

/* "auto" or a name; the environment's ULM_KERNELS goes first. -EINVAL: no such name,
 * -EOPNOTSUPP: not on this CPU or not in this build. */
int ulm_kernels_pick(const char *name, const struct ulm_kernels **ret_kernels);
/* Whether nobody named one. */
bool ulm_kernels_by_cpu(const char *name);
/* All that this build has and this CPU runs, the plainest first; NULL behind the last. */
const struct ulm_kernels *ulm_kernels_at(size_t i);

ulm_matmul_fn *ulm_kernels_matmul(const struct ulm_kernels *kernels, const struct ulm_matrix *m);

/* Sets all but data; returns the bytes that data needs. cols must be a multiple of the block. */
size_t ulm_matrix_layout(struct ulm_matrix *m, enum ulm_type type, unsigned rows, unsigned cols);
/* Packs rows of GGUF data into m->data. */
void ulm_matrix_pack(struct ulm_matrix *m, const void *gguf_rows, uint8_t q8_flip);
/* Unpacks one row to floats. */
void ulm_matrix_row(const struct ulm_matrix *m, unsigned row, uint8_t q8_flip, float *out);

extern const struct ulm_kernels ulm_kernels_scalar;
#if defined(__x86_64__)
extern const struct ulm_kernels ulm_kernels_avx2, ulm_kernels_avx2_vnni, ulm_kernels_avx512;
#elif defined(__aarch64__)
extern const struct ulm_kernels ulm_kernels_neon, ulm_kernels_dotprod;
#endif

#endif
