/* SPDX-License-Identifier: MIT */
/*
 * GGUF v3, read and written. A file is hostile input: every count, offset, shape and length is
 * checked once in ulm_gguf_open (by subtraction, never by a sum that can wrap), then trusted.
 */
#ifndef ULM_ENGINE_GGUF_H
#define ULM_ENGINE_GGUF_H

#include <stddef.h>
#include <stdint.h>

struct ulm_gguf;

/* ggml's numbers. Q8_0: blocks of 32 weights, {f16 d; i8 q[32]}, w = d*q. Q4_0: {f16 d; u8 q[16]},
 * w = d*(nibble-8), low nibbles are weights 0..15, high nibbles 16..31. */
enum ulm_type {
    ULM_TYPE_F32 = 0,
    ULM_TYPE_F16 = 1,
    ULM_TYPE_Q4_0 = 2,
    ULM_TYPE_Q8_0 = 8,
};

/* "F32", ...; NULL for a type that is not run here. */
const char *ulm_type_name(enum ulm_type type);
/* Bytes of `cols` weights of a row; 0 when cols is no multiple of the block. */
size_t ulm_type_row_bytes(enum ulm_type type, size_t cols);

/* A tensor of 1 or 2 dimensions, row-major: data is [rows][cols], rows 1 for a vector. */
struct ulm_tensor {
    const char *name;
    enum ulm_type type;
    size_t rows, cols;
    const void *data; /* in the mapping, aligned to the file's alignment */
    size_t bytes;
};

/* Maps the file read-only. <0: errno and one line of reason. */
int ulm_gguf_open(const char *path, struct ulm_gguf **ret_gguf, char *reterr, size_t reterr_size);
struct ulm_gguf *ulm_gguf_free(struct ulm_gguf *gguf);

size_t ulm_gguf_tensor_count(const struct ulm_gguf *gguf);
const struct ulm_tensor *ulm_gguf_tensor_at(const struct ulm_gguf *gguf, size_t i);
/* NULL = there is none. */
const struct ulm_tensor *ulm_gguf_tensor(const struct ulm_gguf *gguf, const char *name);

/* Metadata. 0, or -ENOENT (no such key), -EINVAL (another type). Strings are borrowed from gguf,
 * NUL-terminated copies made at open; a string with a NUL inside is refused at open for the keys
 * that ulmd reads. Integers of any width are read as one. */
int ulm_gguf_get_u64(const struct ulm_gguf *gguf, const char *key, uint64_t *ret_value);
int ulm_gguf_get_f64(const struct ulm_gguf *gguf, const char *key, double *ret_value);
int ulm_gguf_get_bool(const struct ulm_gguf *gguf, const char *key, int *ret_value);
int ulm_gguf_get_string(const struct ulm_gguf *gguf, const char *key, const char **ret_value);
/* A string array as pointer and length pairs (tokens may hold any byte). */
struct ulm_gguf_string {
    const char *data;
    size_t len;
};
int ulm_gguf_get_strings(const struct ulm_gguf *gguf, const char *key,
                         const struct ulm_gguf_string **ret_strings, size_t *ret_n);
int ulm_gguf_get_i32s(const struct ulm_gguf *gguf, const char *key, const int32_t **ret_values,
                      size_t *ret_n);

/* Writes the file anew with its matrices in another type; vectors and metadata stay, but for
 * general.file_type. The path appears whole or not at all, and may be that of gguf itself.
 * <0: errno of what failed. */
int ulm_gguf_quantize(const struct ulm_gguf *gguf, const char *path, enum ulm_type type);

#endif
