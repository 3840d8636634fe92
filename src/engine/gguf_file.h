/* SPDX-License-Identifier: MIT */
/* An open GGUF file from the inside: shared by its reader, its getters and the writer. */
#ifndef ULM_ENGINE_GGUF_FILE_H
#define ULM_ENGINE_GGUF_FILE_H

#include "engine/gguf.h"

/* GGUF's metadata value types. */
enum ulm_gguf_value {
    ULM_GGUF_U8 = 0,
    ULM_GGUF_I8 = 1,
    ULM_GGUF_U16 = 2,
    ULM_GGUF_I16 = 3,
    ULM_GGUF_U32 = 4,
    ULM_GGUF_I32 = 5,
    ULM_GGUF_F32 = 6,
    ULM_GGUF_BOOL = 7,
    ULM_GGUF_STRING = 8,
    ULM_GGUF_ARRAY = 9,
    ULM_GGUF_U64 = 10,
    ULM_GGUF_I64 = 11,
    ULM_GGUF_F64 = 12,
};

struct ulm_gguf_kv {
    char *key;          /* owned */
    const uint8_t *raw; /* the entry as it stands in the file, key and type included */
    size_t raw_bytes;
    uint32_t type;
    uint32_t item_type;              /* of an array */
    size_t n;                        /* items of an array */
    uint8_t bytes[8];                /* a value of fixed size */
    char *string;                    /* owned */
    struct ulm_gguf_string *strings; /* owned; the texts are in the mapping */
    int32_t *i32s;                   /* owned */
};

struct ulm_gguf {
    const uint8_t *map;
    size_t size;
    size_t alignment;
    const uint8_t *meta_end; /* behind the last metadata entry */
    struct ulm_gguf_kv *kvs; /* [n_kvs], sorted by key */
    size_t n_kvs;
    struct ulm_tensor *tensors; /* [n_tensors], in the order of the file */
    size_t n_tensors;
    struct ulm_tensor **sorted; /* [n_tensors], by name */
};

#endif
