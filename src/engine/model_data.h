/* SPDX-License-Identifier: MIT */
/* What model.c loads, kv.c keeps and forward.c runs: seen by these three alone. */
#ifndef ULM_ENGINE_MODEL_DATA_H
#define ULM_ENGINE_MODEL_DATA_H

#include "engine/kernels.h"
#include "engine/model.h"

struct ulm_layer {
    struct ulm_matrix q, k, v, o, gate, up, down;
    const float *attention_norm, *ffn_norm; /* [hidden] */
};

struct ulm_model {
    struct ulm_shape shape;
    const struct ulm_kernels *kernels;
    struct ulm_blas *blas;          /* or NULL; then `shown` names both */
    char shown[32];
    struct ulm_layer *layers;       /* [shape.layers] */
    struct ulm_matrix embedding;    /* [vocabulary, hidden] */
    struct ulm_matrix head;         /* the same data as embedding when tied */
    const float *norm;              /* [hidden] */
    double *frequencies;            /* [head_dim / 2], radians a position */
    float *rope;                    /* [ULM_ROPE_POSITIONS][head_dim / 2]{cos, sin} */
    uint8_t *arena;                 /* all packed weights and norms */
    size_t arena_bytes;
};

#define ULM_ROPE_POSITIONS 512u /* later ones are computed when they are met */

/* Fills table[head_dim / 2]{cos, sin} of a position. */
void ulm_model_rotation(const struct ulm_model *model, unsigned position, float *table);

/* Keys and values of every layer, layer after layer and KV head after KV head, each head
 * [context]: keys as struct ulm_attention wants them. Halfs, or floats in an F32 model. */
struct ulm_kv {
    unsigned context; /* a multiple of 16 */
    unsigned len;
    unsigned heads;   /* layers * KV heads */
    unsigned head_dim;
    size_t cell;      /* bytes of a number */
    uint8_t *keys, *values;
    size_t bytes;     /* of both together, one mapping that starts at keys */
};

/* The start of one KV head's keys or values. */
static inline void *ulm_kv_head(const struct ulm_kv *kv, uint8_t *base, size_t head)
{
    return base + head * kv->context * kv->head_dim * kv->cell;
}

/* Anonymous memory, zeroed, aligned to a page; huge asks for 2 MiB pages, for what is wholly used.
 * NULL = out of memory. */
void *ulm_pages_new(size_t bytes, bool huge);
void ulm_pages_free(void *pages, size_t bytes);

#endif
