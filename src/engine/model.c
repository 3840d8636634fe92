/* SPDX-License-Identifier: MIT */
/*
 * Loading: shapes are read and checked, every matrix is laid out in one arena, then packed. The
 * arena is private memory of about the file's size; the file's own pages are let go with the
 * caller's mapping, so the weights are in memory once.
 */
#include "engine/model.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/blas.h"
#include "engine/model_data.h"

/* More than any model that ulmd is for, and small enough that no size below can wrap. */
#define LAYERS_MAX 256u
#define WIDTH_MAX (1u << 16)
#define VOCABULARY_MAX (1u << 20)

/* What the steps of a load share. */
struct load {
    const struct ulm_gguf *gguf;
    struct ulm_model *model;
    size_t used;  /* of the arena; in the first pass nothing is there yet */
    bool packing; /* second pass */
    char *reterr;
    size_t reterr_size;
};

static int fail(struct load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct load *load, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(load->reterr, load->reterr_size, format, args);
    va_end(args);
    return -EINVAL;
}

/* Reads llama.`key` into *ret_value, 1..max; where it is missing, *ret_value stays if it is set. */
static int read_count(struct load *load, const char *key, unsigned max, unsigned *ret_value)
{
    char full[64];
    uint64_t value;
    (void)snprintf(full, sizeof full, "llama.%s", key);
    int r = ulm_gguf_get_u64(load->gguf, full, &value);
    if (r == -ENOENT && *ret_value != 0)
        return 0;
    if (r < 0 || value == 0 || value > max)
        return fail(load, "the model file has no usable %s", full);
    *ret_value = (unsigned)value;
    return 0;
}

static int read_real(struct load *load, const char *key, double min, float *ret_value)
{
    double value;
    int r = ulm_gguf_get_f64(load->gguf, key, &value);
    if (r == -ENOENT)
        return 0;
    if (r < 0 || !(value >= min) || !(value <= 1e12))
        return fail(load, "the model file has no usable %s", key);
    *ret_value = (float)value;
    return 0;
}

static int read_shape(struct load *load)
{
    struct ulm_shape *shape = &load->model->shape;
    const char *scaling = "none";
    uint64_t trained;
    int r = read_count(load, "block_count", LAYERS_MAX, &shape->layers);
    if (r == 0)
        r = read_count(load, "embedding_length", WIDTH_MAX, &shape->hidden);
    if (r == 0)
        r = read_count(load, "feed_forward_length", WIDTH_MAX, &shape->ffn);
    if (r == 0)
        r = read_count(load, "attention.head_count", 1024, &shape->heads);
    shape->kv_heads = shape->heads;
    if (r == 0)
        r = read_count(load, "attention.head_count_kv", shape->heads, &shape->kv_heads);
    if (r < 0)
        return r;
    shape->head_dim = shape->hidden / shape->heads;
    unsigned rotated = 0;
    r = read_count(load, "attention.key_length", 1024, &shape->head_dim);
    if (r == 0) {
        rotated = shape->head_dim;
        r = read_count(load, "rope.dimension_count", 1024, &rotated);
    }
    shape->rope_theta = 10000.0f;
    shape->norm_eps = 1e-5f;
    if (r == 0)
        r = read_real(load, "llama.rope.freq_base", 1.0, &shape->rope_theta);
    if (r == 0)
        r = read_real(load, "llama.attention.layer_norm_rms_epsilon", 0.0, &shape->norm_eps);
    if (r < 0)
        return r;
    if (shape->heads % shape->kv_heads != 0)
        return fail(load, "llama.attention.head_count is no multiple of head_count_kv");
    if (shape->head_dim % 2 != 0 || shape->head_dim > 1024 || rotated != shape->head_dim)
        return fail(load, "llama.rope.dimension_count must be the even size of a head");
    if (ulm_gguf_get_string(load->gguf, "llama.rope.scaling.type", &scaling) == 0 &&
        strcmp(scaling, "none") != 0)
        return fail(load, "llama.rope.scaling.type must be none");
    if (ulm_gguf_get_u64(load->gguf, "llama.context_length", &trained) == 0 &&
        trained <= UINT32_MAX)
        shape->trained = (unsigned)trained;
    return 0;
}

/* A place in the arena; NULL in the first pass. */
static void *place(struct load *load, size_t bytes)
{
    void *at = load->packing ? load->model->arena + load->used : NULL;
    load->used += (bytes + 63) / 64 * 64;
    return at;
}

static int load_matrix(struct load *load, const char *name, unsigned rows, unsigned cols,
                       struct ulm_matrix *ret_matrix)
{
    const struct ulm_tensor *t = ulm_gguf_tensor(load->gguf, name);
    if (t == NULL)
        return fail(load, "the model file has no tensor %s", name);
    if (t->rows != rows || t->cols != cols)
        return fail(load, "tensor %s is %zu x %zu, not %u x %u", name, t->rows, t->cols, rows,
                    cols);
    if (ulm_type_row_bytes(t->type, cols) == 0)
        return fail(load, "tensor %s: %u columns do not fill its blocks", name, cols);
    size_t bytes = ulm_matrix_layout(ret_matrix, t->type, rows, cols);
    if (t->type == ULM_TYPE_F32)
        ret_matrix->blas = load->model->blas;
    ret_matrix->data = place(load, bytes);
    if (load->packing)
        ulm_matrix_pack(ret_matrix, t->data, load->model->kernels->q8_flip);
    else
        load->model->shape.parameters += (uint64_t)rows * cols;
    return 0;
}

static int load_vector(struct load *load, const char *name, unsigned n, const float **ret_vector)
{
    const struct ulm_tensor *t = ulm_gguf_tensor(load->gguf, name);
    if (t == NULL)
        return fail(load, "the model file has no tensor %s", name);
    if (t->type != ULM_TYPE_F32 || t->rows != 1 || t->cols != n)
        return fail(load, "tensor %s is not a vector of %u floats", name, n);
    float *at = place(load, n * sizeof(float));
    if (load->packing)
        memcpy(at, t->data, n * sizeof(float));
    else
        load->model->shape.parameters += n;
    *ret_vector = at; /* NOLINT(clang-analyzer-core.NullDereference): each part has one of both */
    return 0;
}

static int load_layer(struct load *load, unsigned i)
{
    const struct ulm_shape *s = &load->model->shape;
    struct ulm_layer *layer = &load->model->layers[i];
    unsigned q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    /* In the order in which a token meets them: the arena is streamed front to back. */
    const struct {
        const char *name;
        unsigned rows, cols;
        struct ulm_matrix *matrix; /* NULL for a norm */
        const float **norm;
    } parts[] = {
        {"attn_norm", 1, s->hidden, NULL, &layer->attention_norm},
        {"attn_q", q, s->hidden, &layer->q, NULL},
        {"attn_k", kv, s->hidden, &layer->k, NULL},
        {"attn_v", kv, s->hidden, &layer->v, NULL},
        {"attn_output", s->hidden, q, &layer->o, NULL},
        {"ffn_norm", 1, s->hidden, NULL, &layer->ffn_norm},
        {"ffn_gate", s->ffn, s->hidden, &layer->gate, NULL},
        {"ffn_up", s->ffn, s->hidden, &layer->up, NULL},
        {"ffn_down", s->hidden, s->ffn, &layer->down, NULL},
    };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        char name[64];
        (void)snprintf(name, sizeof name, "blk.%u.%s.weight", i, parts[k].name);
        int r = parts[k].matrix != NULL
                    ? load_matrix(load, name, parts[k].rows, parts[k].cols, parts[k].matrix)
                    : load_vector(load, name, parts[k].cols, parts[k].norm);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Both passes: the first measures, the second packs. */
static int load_weights(struct load *load)
{
    struct ulm_model *model = load->model;
    struct ulm_shape *s = &model->shape;
    load->used = 0;
    for (unsigned i = 0; i < s->layers; i++) {
        int r = load_layer(load, i);
        if (r < 0)
            return r;
    }
    int r = load_vector(load, "output_norm.weight", s->hidden, &model->norm);
    if (r == 0)
        r = load_matrix(load, "token_embd.weight", s->vocabulary, s->hidden, &model->embedding);
    if (r == 0 && !s->tied)
        r = load_matrix(load, "output.weight", s->vocabulary, s->hidden, &model->head);
    if (s->tied)
        model->head = model->embedding;
    return r;
}

static int load_rope(struct load *load)
{
    struct ulm_model *model = load->model;
    unsigned half = model->shape.head_dim / 2;
    model->frequencies = calloc(half, sizeof *model->frequencies);
    model->rope = calloc((size_t)ULM_ROPE_POSITIONS * half * 2, sizeof *model->rope);
    if (model->frequencies == NULL || model->rope == NULL)
        return -ENOMEM;
    const struct ulm_tensor *factors = ulm_gguf_tensor(load->gguf, "rope_freqs.weight");
    if (factors != NULL && (factors->type != ULM_TYPE_F32 || factors->cols != half))
        return fail(load, "tensor rope_freqs.weight is not a vector of %u floats", half);
    for (unsigned i = 0; i < half; i++) {
        double exponent = -2.0 * (double)i / (double)model->shape.head_dim;
        model->frequencies[i] = pow((double)model->shape.rope_theta, exponent);
        if (factors != NULL)
            model->frequencies[i] /= (double)((const float *)factors->data)[i];
    }
    for (unsigned p = 0; p < ULM_ROPE_POSITIONS; p++)
        ulm_model_rotation(model, p, model->rope + (size_t)p * half * 2);
    return 0;
}

void ulm_model_rotation(const struct ulm_model *model, unsigned position, float *table)
{
    for (unsigned i = 0; i < model->shape.head_dim / 2; i++) {
        double sine, cosine;
        sincos((double)position * model->frequencies[i], &sine, &cosine);
        table[2 * i] = (float)cosine;
        table[2 * i + 1] = (float)sine;
    }
}

static int load_model(struct load *load, const char *kernels)
{
    struct ulm_model *model = load->model;
    int r = ulm_kernels_pick(kernels, &model->kernels);
    if (r < 0) {
        (void)fail(load, "the wanted kernels are unknown or not for this machine");
        return r;
    }
    r = read_shape(load);
    if (r < 0)
        return r;
    const struct ulm_tensor *embedding = ulm_gguf_tensor(load->gguf, "token_embd.weight");
    if (embedding == NULL || embedding->rows == 0 || embedding->rows > VOCABULARY_MAX)
        return fail(load, "the model file has no usable tensor token_embd.weight");
    model->shape.vocabulary = (unsigned)embedding->rows;
    model->shape.tied = ulm_gguf_tensor(load->gguf, "output.weight") == NULL;
    /* Who names kernels gets those, for F32, too. */
    if (ulm_kernels_by_cpu(kernels) && embedding->type == ULM_TYPE_F32)
        model->blas = ulm_blas_new();
    (void)snprintf(model->shown, sizeof model->shown, "%s%s", model->kernels->name,
                   model->blas != NULL ? "+openblas" : "");
    model->layers = calloc(model->shape.layers, sizeof *model->layers);
    if (model->layers == NULL)
        return -ENOMEM;
    r = load_weights(load);
    if (r < 0)
        return r;
    model->arena_bytes = load->used;
    model->arena = ulm_pages_new(model->arena_bytes, true);
    if (model->arena == NULL)
        return -ENOMEM;
    load->packing = true;
    r = load_weights(load);
    model->shape.type = model->layers[0].gate.type;
    model->shape.weight_bytes = model->arena_bytes;
    return r < 0 ? r : load_rope(load);
}

int ulm_model_new(const struct ulm_gguf *gguf, const char *kernels, struct ulm_model **ret_model,
                  char *reterr, size_t reterr_size)
{
    struct load load = {.gguf = gguf, .reterr = reterr, .reterr_size = reterr_size};
    (void)snprintf(reterr, reterr_size, "out of memory");
    load.model = calloc(1, sizeof *load.model);
    if (load.model == NULL)
        return -ENOMEM;
    int r = load_model(&load, kernels);
    if (r < 0) {
        ulm_model_free(load.model);
        return r;
    }
    *ret_model = load.model;
    return 0;
}

struct ulm_model *ulm_model_free(struct ulm_model *model)
{
    if (model == NULL)
        return NULL;
    ulm_pages_free(model->arena, model->arena_bytes);
    ulm_blas_free(model->blas);
    free(model->rope);
    free(model->frequencies);
    free(model->layers);
    free(model);
    return NULL;
}

const struct ulm_shape *ulm_model_shape(const struct ulm_model *model)
{
    return &model->shape;
}

const char *ulm_model_kernels(const struct ulm_model *model)
{
    return model->shown;
}

float ulm_model_log_sum(const struct ulm_model *model, const float *logits, int32_t *ret_top)
{
    size_t top;
    float sum = model->kernels->log_sum(logits, model->shape.vocabulary, &top);
    *ret_top = (int32_t)top;
    return sum;
}
