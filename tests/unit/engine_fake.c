/* SPDX-License-Identifier: MIT */
#include "tests/unit/engine_fake.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kernels.h"
#include "engine/model.h"
#include "engine/tokenizer.h"

struct ulm_model {
    struct ulm_tokenizer *tokenizer;
    struct ulm_shape shape;
};

struct ulm_kv {
    int32_t *ids;
    unsigned len, size;
};

struct ulm_runner {
    const struct ulm_model *model;
};

struct fake fake;

void fake_reset(const struct fake_reply *replies, size_t n)
{
    memset(fake.replies, 0, sizeof fake.replies);
    if (n)
        memcpy(fake.replies, replies, n * sizeof *replies);
    atomic_store(&fake.forwards, 0);
    atomic_store(&fake.calls, 0);
    fake.hook = NULL;
    fake.broken = false;
}

const char *fake_path(void)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("DATA"), FAKE_MODEL);
    return path;
}

int ulm_model_new(const struct ulm_gguf *gguf, const char *kernels, struct ulm_model **ret_model,
                  char *reterr, size_t reterr_size)
{
    struct ulm_model *model = calloc(1, sizeof *model);
    if (!model || ulm_tokenizer_new(gguf, &model->tokenizer, reterr, reterr_size) < 0)
        abort();
    model->shape.vocabulary = (unsigned)ulm_tokenizer_size(model->tokenizer);
    *ret_model = model;
    return 0;
}

struct ulm_model *ulm_model_free(struct ulm_model *model)
{
    if (model)
        ulm_tokenizer_free(model->tokenizer);
    free(model);
    return NULL;
}

const struct ulm_shape *ulm_model_shape(const struct ulm_model *model)
{
    return &model->shape;
}

const char *ulm_model_kernels(const struct ulm_model *model)
{
    return "fake";
}

float ulm_model_log_sum(const struct ulm_model *model, const float *logits, int32_t *ret_top)
{
    size_t top;
    float sum = ulm_kernels_scalar.log_sum(logits, model->shape.vocabulary, &top);
    *ret_top = (int32_t)top;
    return sum;
}

int ulm_kv_new(const struct ulm_model *model, unsigned context, struct ulm_kv **ret_kv)
{
    struct ulm_kv *kv = calloc(1, sizeof *kv);
    if (!kv || !(kv->ids = calloc(context, sizeof *kv->ids)))
        abort();
    kv->size = context;
    *ret_kv = kv;
    return 0;
}

struct ulm_kv *ulm_kv_free(struct ulm_kv *kv)
{
    if (kv)
        free(kv->ids);
    free(kv);
    return NULL;
}

unsigned ulm_kv_len(const struct ulm_kv *kv)
{
    return kv->len;
}

void ulm_kv_truncate(struct ulm_kv *kv, unsigned len)
{
    kv->len = len < kv->len ? len : kv->len;
}

void ulm_kv_copy(struct ulm_kv *dst, const struct ulm_kv *src, unsigned len)
{
    if (len > src->len || len > dst->size)
        abort();
    memcpy(dst->ids, src->ids, len * sizeof *dst->ids);
    dst->len = len;
}

int ulm_runner_new(const struct ulm_model *model, unsigned threads, const char *cores,
                   struct ulm_runner **ret_runner)
{
    *ret_runner = calloc(1, sizeof **ret_runner);
    if (!*ret_runner)
        abort();
    (*ret_runner)->model = model;
    return 0;
}

struct ulm_runner *ulm_runner_free(struct ulm_runner *runner)
{
    free(runner);
    return NULL;
}

unsigned ulm_runner_threads(const struct ulm_runner *runner)
{
    return 1;
}

void ulm_runner_bind(const struct ulm_runner *runner)
{
}

/* Where the assistant's words begin: behind the last <|im_start|> and "assistant\n". */
static unsigned said_from(const struct ulm_tokenizer *t, const struct ulm_kv *kv)
{
    int32_t head[16];
    size_t n = 0;
    unsigned at = kv->len;
    while (at > 0 && kv->ids[at - 1] != ulm_tokenizer_control(t, "<|im_start|>"))
        at--;
    if (ulm_tokenizer_encode(t, "assistant\n", 10, false, head, 16, &n) < 0)
        abort();
    if (at + n > kv->len || memcmp(kv->ids + at, head, n * sizeof *head))
        return kv->len + 1;
    return at + (unsigned)n;
}

static void weigh(const struct ulm_tokenizer *t, const struct ulm_kv *kv, float *logits)
{
    unsigned from = said_from(t, kv);
    for (const struct fake_reply *reply = fake.replies; from <= kv->len && reply->text; reply++) {
        int32_t ids[512];
        size_t n = 0, said = kv->len - from;
        if (ulm_tokenizer_encode(t, reply->text, strlen(reply->text), false, ids, 512, &n) < 0)
            abort();
        if (said > n || (said == n && reply->goes_on) ||
            (said && memcmp(kv->ids + from, ids, said * sizeof *ids)))
            continue;
        int32_t next = said == n ? ulm_tokenizer_control(t, "<|im_end|>") : ids[said];
        logits[next] = fmaxf(logits[next], reply->weight);
    }
}

void ulm_forward(struct ulm_runner *runner, const struct ulm_row *rows, size_t n, float *logits)
{
    atomic_fetch_add(&fake.calls, 1);
    atomic_fetch_add(&fake.forwards, (unsigned)n);
    if (fake.hook)
        fake.hook();
    size_t vocabulary = runner->model->shape.vocabulary;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].kv->len == rows[i].kv->size)
            abort();
        rows[i].kv->ids[rows[i].kv->len++] = rows[i].token;
        if (!rows[i].want_logits)
            continue;
        for (size_t k = 0; k < vocabulary; k++)
            logits[k] = fake.broken ? NAN : -20;
        if (!fake.broken)
            weigh(runner->model->tokenizer, rows[i].kv, logits);
        logits += vocabulary;
    }
}
