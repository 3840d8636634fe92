/* SPDX-License-Identifier: MIT */
/*
 * One pass of up to ULM_BATCH_MAX rows through the model, as a chain of phases. Each phase is cut
 * into parts for the pool; how it is cut never changes what is computed for a row. A row alone
 * (decode) runs the small phases uncut: handing them out would cost more than they do.
 */
#include "engine/model.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_data.h"
#include "engine/pool.h"

/* Matrices that multiply the same activations, cut by their groups of rows. */
struct product {
    const struct ulm_matrix *w;
    size_t groups; /* the first so many of w's */
    float *out;    /* [row][stride] */
    size_t stride;
};

#define PRODUCTS_MAX 3u

struct ulm_runner {
    const struct ulm_model *model;
    struct ulm_pool *pool;
    uint8_t *memory; /* all buffers below */
    size_t bytes;

    const struct ulm_row *rows;
    unsigned n;
    unsigned positions[ULM_BATCH_MAX];
    const float *rotations[ULM_BATCH_MAX]; /* [head_dim / 2]{cos, sin} */

    float *x;         /* [row][hidden] the residual stream */
    float *delta;     /* [row][hidden, padded] what a block adds to it */
    float *q, *k, *v; /* [row][padded] */
    float *gate, *up; /* [row][padded] */
    float *late;      /* [row][head_dim] rotations beyond the model's table */
    float *last;      /* [row][ULM_GROUP] the head's last group where it is not whole */
    struct ulm_acts hidden, mixed, inner; /* [hidden], [heads * head_dim], [ffn] */

    /* The phase at hand. */
    unsigned layer;
    const float *norm;
    struct ulm_acts *acts;
    struct product products[PRODUCTS_MAX];
    unsigned n_products;
    unsigned parts;
    bool gated;  /* the products are gate and up */
    bool adding; /* delta goes into x before the norm */
};

static size_t padded(unsigned rows)
{
    return (rows + ULM_GROUP - 1) / ULM_GROUP * ULM_GROUP;
}

static void *place(struct ulm_runner *runner, size_t bytes)
{
    void *at = runner->memory != NULL ? runner->memory + runner->bytes : NULL;
    runner->bytes += (bytes + 63) / 64 * 64;
    return at;
}

static void place_acts(struct ulm_runner *runner, struct ulm_acts *acts, unsigned cols)
{
    size_t cells = (size_t)ULM_BATCH_MAX * cols;
    acts->cols = cols;
    acts->x = place(runner, cells * sizeof *acts->x);
    acts->q = place(runner, cells);
    acts->scale = place(runner, cells / ULM_BLOCK * sizeof *acts->scale);
    acts->fix8 = place(runner, cells / ULM_BLOCK * sizeof *acts->fix8);
    acts->fix4 = place(runner, cells / ULM_BLOCK * sizeof *acts->fix4);
}

/* Run twice: to measure, and to place. */
static void place_all(struct ulm_runner *runner)
{
    const struct ulm_shape *s = &runner->model->shape;
    size_t row = ULM_BATCH_MAX * sizeof(float);
    runner->bytes = 0;
    runner->x = place(runner, s->hidden * row);
    runner->delta = place(runner, padded(s->hidden) * row);
    runner->q = place(runner, padded(s->heads * s->head_dim) * row);
    runner->k = place(runner, padded(s->kv_heads * s->head_dim) * row);
    runner->v = place(runner, padded(s->kv_heads * s->head_dim) * row);
    runner->gate = place(runner, padded(s->ffn) * row);
    runner->up = place(runner, padded(s->ffn) * row);
    runner->late = place(runner, s->head_dim * row);
    runner->last = place(runner, ULM_GROUP * row);
    place_acts(runner, &runner->hidden, s->hidden);
    place_acts(runner, &runner->mixed, s->heads * s->head_dim);
    place_acts(runner, &runner->inner, s->ffn);
}

int ulm_runner_new(const struct ulm_model *model, unsigned threads, const char *cores,
                   struct ulm_runner **ret_runner)
{
    struct ulm_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        return -ENOMEM;
    runner->model = model;
    place_all(runner);
    runner->memory = ulm_pages_new(runner->bytes, false);
    int r = runner->memory != NULL ? ulm_pool_new(threads, cores, &runner->pool) : -ENOMEM;
    if (r < 0) {
        ulm_runner_free(runner);
        return r;
    }
    place_all(runner);
    *ret_runner = runner;
    return 0;
}

struct ulm_runner *ulm_runner_free(struct ulm_runner *runner)
{
    if (runner == NULL)
        return NULL;
    ulm_pool_free(runner->pool);
    ulm_pages_free(runner->memory, runner->bytes);
    free(runner);
    return NULL;
}

unsigned ulm_runner_threads(const struct ulm_runner *runner)
{
    return ulm_pool_threads(runner->pool);
}

void ulm_runner_bind(const struct ulm_runner *runner)
{
    ulm_pool_bind(runner->pool);
}

/* Hands out a phase whose parts are rows. */
static void run_rows(struct ulm_runner *runner, ulm_task_fn *task)
{
    if (runner->n > 1 && ulm_pool_threads(runner->pool) > 1)
        ulm_pool_run(runner->pool, task, runner, runner->n);
    else
        for (unsigned i = 0; i < runner->n; i++)
            task(runner, i);
}

/* Makes w the k-th of n matrices of the coming product, whole. */
static void set_product(struct ulm_runner *runner, unsigned k, const struct ulm_matrix *w,
                        float *out)
{
    runner->products[k] = (struct product){w, w->groups, out, (size_t)w->groups * ULM_GROUP};
    runner->n_products = k + 1;
}

static bool wants_quantised(const struct ulm_runner *runner)
{
    for (unsigned k = 0; k < runner->n_products; k++) {
        enum ulm_type type = runner->products[k].w->type;
        if (type == ULM_TYPE_Q8_0 || type == ULM_TYPE_Q4_0)
            return true;
    }
    return false;
}

/* x += delta, then acts = norm(x), quantised where the next product wants that. */
static void norm_row(void *arg, unsigned i)
{
    struct ulm_runner *runner = arg;
    const struct ulm_model *model = runner->model;
    unsigned hidden = model->shape.hidden;
    float *x = runner->x + (size_t)i * hidden;
    if (runner->adding)
        model->kernels->add(x, runner->delta + i * padded(hidden), hidden);
    model->kernels->norm(x, runner->norm, hidden, model->shape.norm_eps,
                         runner->acts->x + (size_t)i * hidden);
    if (wants_quantised(runner))
        model->kernels->quantise(runner->acts, i, i + 1);
}

static void quantise_row(void *arg, unsigned i)
{
    struct ulm_runner *runner = arg;
    runner->model->kernels->quantise(runner->acts, i, i + 1);
}

/* One part of a product: groups [first, last) of the matrices, as if they stood in one. */
static void product_part(void *arg, unsigned part)
{
    struct ulm_runner *runner = arg;
    const struct ulm_kernels *kernels = runner->model->kernels;
    size_t total = 0;
    for (unsigned k = 0; k < runner->n_products; k++)
        total += runner->products[k].groups;
    size_t first = total * part / runner->parts, last = total * (part + 1) / runner->parts;
    for (unsigned k = 0; k < runner->n_products; k++) {
        const struct product *p = &runner->products[k];
        size_t groups = p->groups;
        size_t from = first < groups ? first : groups, to = last < groups ? last : groups;
        if (from < to)
            ulm_kernels_matmul(kernels, p->w)(p->w, (unsigned)from, (unsigned)to,
                                                    runner->acts, runner->n, p->out,
                                                    p->stride);
        first -= from;
        last -= to;
    }
}

static void run_products(struct ulm_runner *runner)
{
    unsigned threads = ulm_pool_threads(runner->pool);
    /* OpenBLAS may round otherwise where it is cut otherwise. */
    runner->parts = threads > 1 && runner->products[0].w->blas == NULL ? threads * 4 : 1;
    ulm_pool_run(runner->pool, product_part, runner, runner->parts);
}

static void one_product(struct ulm_runner *runner, const struct ulm_matrix *w,
                        struct ulm_acts *acts, float *out)
{
    runner->acts = acts;
    set_product(runner, 0, w, out);
    if (wants_quantised(runner))
        run_rows(runner, quantise_row);
    run_products(runner);
}

static void store_head(const struct ulm_runner *runner, struct ulm_kv *kv, unsigned head,
                       unsigned position, const float *k, const float *v)
{
    unsigned dim = kv->head_dim;
    size_t head_at = (size_t)runner->layer * runner->model->shape.kv_heads + head;
    size_t key_at = (size_t)(position / 16) * dim * 16 + position % 16;
    void *keys = ulm_kv_head(kv, kv->keys, head_at), *values = ulm_kv_head(kv, kv->values, head_at);
    if (kv->cell == sizeof(uint16_t)) {
        runner->model->kernels->store_f16(k, v, dim, (uint16_t *)keys + key_at,
                                          (uint16_t *)values + (size_t)position * dim);
        return;
    }
    float *key = (float *)keys + key_at;
    for (unsigned d = 0; d < dim; d++)
        key[d * 16] = k[d];
    memcpy((float *)values + (size_t)position * dim, v, dim * sizeof *v);
}

/* Rotates a row's queries and keys, and puts its keys and values into its cache. */
static void store_row(void *arg, unsigned i)
{
    struct ulm_runner *runner = arg;
    const struct ulm_model *model = runner->model;
    const struct ulm_shape *s = &model->shape;
    float *q = runner->q + i * padded(s->heads * s->head_dim);
    float *k = runner->k + i * padded(s->kv_heads * s->head_dim);
    const float *v = runner->v + i * padded(s->kv_heads * s->head_dim);
    model->kernels->rope(q, s->heads, s->head_dim, runner->rotations[i]);
    model->kernels->rope(k, s->kv_heads, s->head_dim, runner->rotations[i]);
    for (unsigned h = 0; h < s->kv_heads; h++)
        store_head(runner, runner->rows[i].kv, h, runner->positions[i], k + h * s->head_dim,
                   v + h * s->head_dim);
}

static void attend_row(void *arg, unsigned i)
{
    struct ulm_runner *runner = arg;
    const struct ulm_model *model = runner->model;
    const struct ulm_shape *s = &model->shape;
    struct ulm_kv *kv = runner->rows[i].kv;
    unsigned shared = s->heads / s->kv_heads;
    const float *q = runner->q + i * padded(s->heads * s->head_dim);
    float *out = runner->mixed.x + (size_t)i * s->heads * s->head_dim;
    struct ulm_attention a = {
        .head_dim = s->head_dim,
        .len = runner->positions[i] + 1,
        .scale = 1.0f / sqrtf((float)s->head_dim),
    };
    for (unsigned h = 0; h < s->heads; h += a.heads) {
        unsigned left = shared - h % shared;
        size_t head_at = (size_t)runner->layer * s->kv_heads + h / shared;
        a.heads = left < ULM_ATTEND_HEADS ? left : ULM_ATTEND_HEADS;
        a.q = q + (size_t)h * s->head_dim;
        a.out = out + (size_t)h * s->head_dim;
        a.keys = ulm_kv_head(kv, kv->keys, head_at);
        a.values = ulm_kv_head(kv, kv->values, head_at);
        if (kv->cell == sizeof(uint16_t))
            model->kernels->attend_f16(&a);
        else
            model->kernels->attend_f32(&a);
    }
}

static void swiglu_row(void *arg, unsigned i)
{
    struct ulm_runner *runner = arg;
    unsigned ffn = runner->model->shape.ffn;
    float *gate = runner->gate + i * padded(ffn);
    runner->model->kernels->swiglu(gate, runner->up + i * padded(ffn), ffn);
    memcpy(runner->inner.x + (size_t)i * ffn, gate, ffn * sizeof *gate);
}

static void run_layer(struct ulm_runner *runner)
{
    const struct ulm_layer *layer = &runner->model->layers[runner->layer];
    runner->acts = &runner->hidden;
    runner->norm = layer->attention_norm;
    set_product(runner, 0, &layer->q, runner->q);
    set_product(runner, 1, &layer->k, runner->k);
    set_product(runner, 2, &layer->v, runner->v);
    run_rows(runner, norm_row);
    run_products(runner);
    run_rows(runner, store_row);
    run_rows(runner, attend_row);
    one_product(runner, &layer->o, &runner->mixed, runner->delta);

    runner->adding = true;
    runner->acts = &runner->hidden;
    runner->norm = layer->ffn_norm;
    set_product(runner, 0, &layer->gate, runner->gate);
    set_product(runner, 1, &layer->up, runner->up);
    run_rows(runner, norm_row);
    run_products(runner);
    run_rows(runner, swiglu_row);
    one_product(runner, &layer->down, &runner->inner, runner->delta);
}

/* Moves the rows that want logits to the front. */
static unsigned keep_wanted(struct ulm_runner *runner)
{
    size_t hidden = runner->model->shape.hidden, stride = padded((unsigned)hidden);
    unsigned wanted = 0;
    for (unsigned i = 0; i < runner->n; i++) {
        if (!runner->rows[i].want_logits)
            continue;
        if (wanted != i) {
            memcpy(runner->x + wanted * hidden, runner->x + i * hidden, hidden * sizeof(float));
            memcpy(runner->delta + wanted * stride, runner->delta + i * stride,
                   hidden * sizeof(float));
        }
        wanted++;
    }
    return wanted;
}

static void run_head(struct ulm_runner *runner, float *logits)
{
    const struct ulm_model *model = runner->model;
    const struct ulm_matrix *head = &model->head;
    runner->n = keep_wanted(runner);
    if (runner->n == 0)
        return;
    runner->acts = &runner->hidden;
    runner->norm = model->norm;
    unsigned whole = head->rows / ULM_GROUP, rest = head->rows % ULM_GROUP;
    runner->products[0] = (struct product){head, whole, logits, head->rows};
    runner->n_products = 1;
    run_rows(runner, norm_row);
    run_products(runner);
    if (rest == 0)
        return;
    /* The last group would write beyond the caller's row. */
    struct ulm_matrix end = *head;
    end.data += whole * head->group_bytes;
    end.rows = rest;
    ulm_kernels_matmul(model->kernels, &end)(&end, 0, 1, runner->acts, runner->n, runner->last,
                                                 ULM_GROUP);
    for (unsigned i = 0; i < runner->n; i++)
        memcpy(logits + (size_t)i * head->rows + whole * ULM_GROUP, runner->last + i * ULM_GROUP,
               rest * sizeof *logits);
}

static void start_row(struct ulm_runner *runner, unsigned i, const struct ulm_row *row)
{
    const struct ulm_model *model = runner->model;
    unsigned dim = model->shape.head_dim;
    assert(row->kv->len < row->kv->context);
    assert(row->token >= 0 && (unsigned)row->token < model->shape.vocabulary);
    unsigned position = row->kv->len++;
    runner->positions[i] = position;
    if (position < ULM_ROPE_POSITIONS) {
        runner->rotations[i] = model->rope + (size_t)position * dim;
    } else {
        ulm_model_rotation(model, position, runner->late + (size_t)i * dim);
        runner->rotations[i] = runner->late + (size_t)i * dim;
    }
    ulm_matrix_row(&model->embedding, (unsigned)row->token, model->kernels->q8_flip,
                   runner->x + (size_t)i * model->shape.hidden);
}

void ulm_forward(struct ulm_runner *runner, const struct ulm_row *rows, size_t n, float *logits)
{
    assert(n >= 1 && n <= ULM_BATCH_MAX);
    runner->rows = rows;
    runner->n = (unsigned)n;
    runner->adding = false;
    for (unsigned i = 0; i < n; i++)
        start_row(runner, i, &rows[i]);
    for (runner->layer = 0; runner->layer < runner->model->shape.layers; runner->layer++)
        run_layer(runner);
    if (logits != NULL)
        run_head(runner, logits);
}
