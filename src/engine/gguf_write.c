/* SPDX-License-Identifier: MIT */
/* Another type for the matrices of a GGUF file; all else of the file stays as it is. */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gguf_file.h"
#include "engine/half.h"

/* --- weights --- */

static void read_row(const struct ulm_tensor *tensor, size_t row, float *out)
{
    const uint8_t *p =
        (const uint8_t *)tensor->data + row * ulm_type_row_bytes(tensor->type, tensor->cols);
    if (tensor->type == ULM_TYPE_F32) {
        memcpy(out, p, tensor->cols * sizeof *out);
        return;
    }
    uint16_t half;
    for (size_t i = 0; tensor->type == ULM_TYPE_F16 && i < tensor->cols; i++) {
        memcpy(&half, p + 2 * i, 2);
        out[i] = ulm_half_to_float(half);
    }
    for (size_t b = 0; tensor->type == ULM_TYPE_Q8_0 && b < tensor->cols / 32; b++, p += 34) {
        memcpy(&half, p, 2);
        for (size_t i = 0; i < 32; i++)
            out[32 * b + i] = ulm_half_to_float(half) * (float)(int8_t)p[2 + i];
    }
    for (size_t b = 0; tensor->type == ULM_TYPE_Q4_0 && b < tensor->cols / 32; b++, p += 18) {
        memcpy(&half, p, 2);
        for (size_t i = 0; i < 32; i++) {
            unsigned nibble = i < 16 ? p[2 + i] & 15u : p[2 + i - 16] >> 4;
            out[32 * b + i] = ulm_half_to_float(half) * ((float)nibble - 8);
        }
    }
}

/* Weights that are no finite numbers become some weight; the file is no worse than it was.
 * As ggml rounds: the scale is stored as a half, the weights are divided by the scale before. */
static void write_q8_0(const float *w, uint8_t *out)
{
    float largest = 0;
    for (size_t i = 0; i < 32; i++)
        largest = fmaxf(largest, fabsf(w[i]));
    float d = largest / 127, inverse = d > 0 ? 1 / d : 0;
    uint16_t half = ulm_half_from_float(d);
    memcpy(out, &half, 2);
    for (size_t i = 0; i < 32; i++)
        out[2 + i] = (uint8_t)(int8_t)fminf(127, fmaxf(-127, roundf(w[i] * inverse)));
}

static void write_q4_0(const float *w, uint8_t *out)
{
    float far = 0;
    for (size_t i = 0; i < 32; i++)
        far = fabsf(w[i]) > fabsf(far) ? w[i] : far;
    float d = far / -8, inverse = d != 0 ? 1 / d : 0;
    uint16_t half = ulm_half_from_float(d);
    memcpy(out, &half, 2);
    for (size_t i = 0; i < 16; i++) {
        float low = fminf(15, fmaxf(0, truncf(w[i] * inverse + 8.5f)));
        float high = fminf(15, fmaxf(0, truncf(w[i + 16] * inverse + 8.5f)));
        out[2 + i] = (uint8_t)((unsigned)low | (unsigned)high << 4);
    }
}

static void write_row(const float *w, size_t cols, enum ulm_type type, uint8_t *out)
{
    switch (type) {
    case ULM_TYPE_F32:
        memcpy(out, w, cols * sizeof *w);
        break;
    case ULM_TYPE_F16:
        for (size_t i = 0; i < cols; i++) {
            uint16_t half = ulm_half_from_float(w[i]);
            memcpy(out + 2 * i, &half, 2);
        }
        break;
    case ULM_TYPE_Q8_0:
        for (size_t b = 0; b < cols / 32; b++)
            write_q8_0(w + 32 * b, out + 34 * b);
        break;
    case ULM_TYPE_Q4_0:
        for (size_t b = 0; b < cols / 32; b++)
            write_q4_0(w + 32 * b, out + 18 * b);
        break;
    }
}

/* Vectors stay as they are, and so does a matrix whose rows are no whole blocks. */
static enum ulm_type type_of(const struct ulm_tensor *tensor, enum ulm_type wanted)
{
    return tensor->rows > 1 && ulm_type_row_bytes(wanted, tensor->cols) ? wanted : tensor->type;
}

/* --- the file --- */

static void put(FILE *out, const void *data, size_t n)
{
    /* A failure stays with the stream and is met once, at the end. */
    (void)!fwrite(data, 1, n, out);
}

static void put_u32(FILE *out, uint32_t value)
{
    put(out, &value, sizeof value);
}

static void put_u64(FILE *out, uint64_t value)
{
    put(out, &value, sizeof value);
}

static void put_text(FILE *out, const char *text)
{
    put_u64(out, strlen(text));
    put(out, text, strlen(text));
}

static void put_padding(FILE *out, size_t alignment, uint64_t at)
{
    for (; at % alignment; at++)
        (void)fputc(0, out);
}

/* llama.cpp's general.file_type. */
static uint32_t file_type(enum ulm_type type)
{
    switch (type) {
    case ULM_TYPE_F16:
        return 1;
    case ULM_TYPE_Q4_0:
        return 2;
    case ULM_TYPE_Q8_0:
        return 7;
    case ULM_TYPE_F32:
        break;
    }
    return 0;
}

static bool is_replaced(const struct ulm_gguf_kv *kv)
{
    return !strcmp(kv->key, "general.file_type") ||
           !strcmp(kv->key, "general.quantization_version");
}

static void put_metadata(FILE *out, const struct ulm_gguf *gguf, enum ulm_type type)
{
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        if (!is_replaced(&gguf->kvs[i]))
            put(out, gguf->kvs[i].raw, gguf->kvs[i].raw_bytes);
    }
    put_text(out, "general.file_type");
    put_u32(out, ULM_GGUF_U32);
    put_u32(out, file_type(type));
    put_text(out, "general.quantization_version");
    put_u32(out, ULM_GGUF_U32);
    put_u32(out, 2);
}

static void put_infos(FILE *out, const struct ulm_gguf *gguf, enum ulm_type type)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct ulm_tensor *tensor = &gguf->tensors[i];
        enum ulm_type now = type_of(tensor, type);
        put_text(out, tensor->name);
        put_u32(out, tensor->rows > 1 ? 2 : 1);
        put_u64(out, tensor->cols);
        if (tensor->rows > 1)
            put_u64(out, tensor->rows);
        put_u32(out, now);
        put_u64(out, offset);
        offset += (uint64_t)tensor->rows * ulm_type_row_bytes(now, tensor->cols);
        offset += (gguf->alignment - offset % gguf->alignment) % gguf->alignment;
    }
}

static int put_tensor(FILE *out, const struct ulm_gguf *gguf, const struct ulm_tensor *tensor,
                      enum ulm_type type)
{
    size_t row_bytes = ulm_type_row_bytes(type, tensor->cols);
    float *row = malloc(tensor->cols * sizeof *row);
    uint8_t *bytes = malloc(row_bytes);
    int r = row && bytes ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < tensor->rows; i++) {
        read_row(tensor, i, row);
        write_row(row, tensor->cols, type, bytes);
        put(out, bytes, row_bytes);
    }
    put_padding(out, gguf->alignment, (uint64_t)tensor->rows * row_bytes);
    free(row);
    free(bytes);
    return r;
}

static int put_file(FILE *out, const struct ulm_gguf *gguf, enum ulm_type type)
{
    size_t kept = 0;
    for (size_t i = 0; i < gguf->n_kvs; i++)
        kept += !is_replaced(&gguf->kvs[i]);
    put(out, "GGUF", 4);
    put_u32(out, 3);
    put_u64(out, gguf->n_tensors);
    put_u64(out, kept + 2);
    put_metadata(out, gguf, type);
    put_infos(out, gguf, type);
    long at = ftell(out);
    if (at < 0)
        return -errno;
    put_padding(out, gguf->alignment, (uint64_t)at);
    int r = 0;
    for (size_t i = 0; r == 0 && i < gguf->n_tensors; i++)
        r = put_tensor(out, gguf, &gguf->tensors[i], type_of(&gguf->tensors[i], type));
    if (r == 0 && (fflush(out) != 0 || ferror(out)))
        r = errno ? -errno : -EIO;
    if (r == 0 && fsync(fileno(out)) != 0)
        r = -errno;
    return r;
}

int ulm_gguf_quantize(const struct ulm_gguf *gguf, const char *path, enum ulm_type type)
{
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return -ENAMETOOLONG;
    int fd = mkstemp(temporary);
    if (fd < 0)
        return -errno;
    FILE *out = fdopen(fd, "wb");
    int r = out ? put_file(out, gguf, type) : -errno;
    if (out)
        (void)fclose(out);
    else
        close(fd);
    mode_t mask = umask(0);
    umask(mask);
    if (r == 0 && (chmod(temporary, 0666 & ~mask) != 0 || rename(temporary, path) != 0))
        r = -errno;
    if (r < 0)
        unlink(temporary);
    return r;
}
