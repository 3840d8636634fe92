/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_data.h"

int ulm_kv_new(const struct ulm_model *model, unsigned context, struct ulm_kv **ret_kv)
{
    const struct ulm_shape *shape = &model->shape;
    struct ulm_kv *kv = calloc(1, sizeof *kv);
    if (kv == NULL)
        return -ENOMEM;
    kv->context = (context + 15) / 16 * 16;
    kv->heads = shape->layers * shape->kv_heads;
    kv->head_dim = shape->head_dim;
    kv->cell = shape->type == ULM_TYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    size_t one = (size_t)kv->heads * kv->context * kv->head_dim * kv->cell;
    kv->bytes = 2 * one;
    kv->keys = ulm_pages_new(kv->bytes, false);
    if (kv->keys == NULL) {
        free(kv);
        return -ENOMEM;
    }
    kv->values = kv->keys + one;
    *ret_kv = kv;
    return 0;
}

struct ulm_kv *ulm_kv_free(struct ulm_kv *kv)
{
    if (kv != NULL)
        ulm_pages_free(kv->keys, kv->bytes);
    free(kv);
    return NULL;
}

unsigned ulm_kv_len(const struct ulm_kv *kv)
{
    return kv->len;
}

void ulm_kv_truncate(struct ulm_kv *kv, unsigned len)
{
    if (len < kv->len)
        kv->len = len;
}

void ulm_kv_copy(struct ulm_kv *dst, const struct ulm_kv *src, unsigned len)
{
    assert(len <= src->len && len <= dst->context && dst->cell == src->cell);
    size_t row = src->head_dim * src->cell;
    for (size_t h = 0; h < src->heads; h++) {
        /* Whole groups of keys: what stands behind len is never looked at. */
        memcpy(ulm_kv_head(dst, dst->keys, h), ulm_kv_head(src, src->keys, h),
               (len + 15) / 16 * 16 * row);
        memcpy(ulm_kv_head(dst, dst->values, h), ulm_kv_head(src, src->values, h), len * row);
    }
    dst->len = len;
}
