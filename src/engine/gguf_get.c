/* SPDX-License-Identifier: MIT */
/* Look-ups in a GGUF file that was checked at open. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf_file.h"

const char *ulm_type_name(enum ulm_type type)
{
    switch (type) {
    case ULM_TYPE_F32:
        return "F32";
    case ULM_TYPE_F16:
        return "F16";
    case ULM_TYPE_Q4_0:
        return "Q4_0";
    case ULM_TYPE_Q8_0:
        return "Q8_0";
    }
    return NULL;
}

size_t ulm_type_row_bytes(enum ulm_type type, size_t cols)
{
    switch (type) {
    case ULM_TYPE_F32:
        return cols * 4;
    case ULM_TYPE_F16:
        return cols * 2;
    case ULM_TYPE_Q4_0:
        return cols % 32 ? 0 : cols / 32 * 18;
    case ULM_TYPE_Q8_0:
        return cols % 32 ? 0 : cols / 32 * 34;
    }
    return 0;
}

size_t ulm_gguf_tensor_count(const struct ulm_gguf *gguf)
{
    return gguf->n_tensors;
}

const struct ulm_tensor *ulm_gguf_tensor_at(const struct ulm_gguf *gguf, size_t i)
{
    return &gguf->tensors[i];
}

const struct ulm_tensor *ulm_gguf_tensor(const struct ulm_gguf *gguf, const char *name)
{
    size_t low = 0, high = gguf->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, gguf->sorted[middle]->name);
        if (order == 0)
            return gguf->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static const struct ulm_gguf_kv *find(const struct ulm_gguf *gguf, const char *key)
{
    size_t low = 0, high = gguf->n_kvs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(key, gguf->kvs[middle].key);
        if (order == 0)
            return &gguf->kvs[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The value of a signed type, sign extended; -EINVAL for another type. */
static int get_signed(const struct ulm_gguf_kv *kv, int64_t *ret_value)
{
    int8_t i8;
    int16_t i16;
    int32_t i32;
    switch (kv->type) {
    case ULM_GGUF_I8:
        memcpy(&i8, kv->bytes, sizeof i8);
        *ret_value = i8;
        return 0;
    case ULM_GGUF_I16:
        memcpy(&i16, kv->bytes, sizeof i16);
        *ret_value = i16;
        return 0;
    case ULM_GGUF_I32:
        memcpy(&i32, kv->bytes, sizeof i32);
        *ret_value = i32;
        return 0;
    case ULM_GGUF_I64:
        memcpy(ret_value, kv->bytes, sizeof *ret_value);
        return 0;
    default:
        return -EINVAL;
    }
}

int ulm_gguf_get_u64(const struct ulm_gguf *gguf, const char *key, uint64_t *ret_value)
{
    const struct ulm_gguf_kv *kv = find(gguf, key);
    if (!kv)
        return -ENOENT;
    if (kv->type == ULM_GGUF_U8 || kv->type == ULM_GGUF_U16 || kv->type == ULM_GGUF_U32 ||
        kv->type == ULM_GGUF_U64) {
        /* Little-endian, and the bytes beyond the value are zero. */
        memcpy(ret_value, kv->bytes, sizeof *ret_value);
        return 0;
    }
    int64_t number;
    if (get_signed(kv, &number) < 0 || number < 0)
        return -EINVAL;
    *ret_value = (uint64_t)number;
    return 0;
}

int ulm_gguf_get_f64(const struct ulm_gguf *gguf, const char *key, double *ret_value)
{
    const struct ulm_gguf_kv *kv = find(gguf, key);
    if (!kv)
        return -ENOENT;
    if (kv->type == ULM_GGUF_F32) {
        float number;
        memcpy(&number, kv->bytes, sizeof number);
        *ret_value = (double)number;
        return 0;
    }
    if (kv->type == ULM_GGUF_F64) {
        memcpy(ret_value, kv->bytes, sizeof *ret_value);
        return 0;
    }
    return -EINVAL;
}

int ulm_gguf_get_bool(const struct ulm_gguf *gguf, const char *key, int *ret_value)
{
    const struct ulm_gguf_kv *kv = find(gguf, key);
    if (!kv)
        return -ENOENT;
    if (kv->type != ULM_GGUF_BOOL)
        return -EINVAL;
    *ret_value = kv->bytes[0] != 0;
    return 0;
}

int ulm_gguf_get_string(const struct ulm_gguf *gguf, const char *key, const char **ret_value)
{
    const struct ulm_gguf_kv *kv = find(gguf, key);
    if (!kv)
        return -ENOENT;
    if (kv->type != ULM_GGUF_STRING)
        return -EINVAL;
    *ret_value = kv->string;
    return 0;
}

int ulm_gguf_get_strings(const struct ulm_gguf *gguf, const char *key,
                         const struct ulm_gguf_string **ret_strings, size_t *ret_n)
{
    const struct ulm_gguf_kv *kv = find(gguf, key);
    if (!kv)
        return -ENOENT;
    if (kv->type != ULM_GGUF_ARRAY || kv->item_type != ULM_GGUF_STRING)
        return -EINVAL;
    *ret_strings = kv->strings;
    *ret_n = kv->n;
    return 0;
}

int ulm_gguf_get_i32s(const struct ulm_gguf *gguf, const char *key, const int32_t **ret_values,
                      size_t *ret_n)
{
    const struct ulm_gguf_kv *kv = find(gguf, key);
    if (!kv)
        return -ENOENT;
    if (kv->type != ULM_GGUF_ARRAY || !kv->i32s)
        return -EINVAL;
    *ret_values = kv->i32s;
    *ret_n = kv->n;
    return 0;
}
