/* SPDX-License-Identifier: MIT */
#include "engine/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gguf_file.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF is read in place: little-endian machines only"
#endif

#define KVS_MAX     4096u
#define TENSORS_MAX 16384u
#define KEY_MAX     65535u
#define ALIGNMENT   32u /* where the file does not say */
#define NAME_MAX_   63u /* what ggml keeps of a tensor's name */

/* What is left to read; every take checks against `left` first. */
struct cursor {
    const uint8_t *p;
    size_t left;
    char *err;
    size_t err_size;
};

static int fail(const struct cursor *cursor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int fail(const struct cursor *cursor, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(cursor->err, cursor->err_size, format, args);
    va_end(args);
    return -EBADMSG;
}

static int fail_short(const struct cursor *cursor)
{
    return fail(cursor, "the file ends inside its header");
}

/* A name out of the file as it may stand in a message: printable ASCII, not too long. */
static const char *shown(const char *name, char buf[static 80])
{
    size_t n = 0;
    for (; n < 79 && name[n]; n++)
        buf[n] = name[n] > ' ' && name[n] <= '~' ? name[n] : '?';
    buf[n] = '\0';
    return buf;
}

static bool take(struct cursor *cursor, void *ret, size_t n)
{
    if (cursor->left < n)
        return false;
    memcpy(ret, cursor->p, n);
    cursor->p += n;
    cursor->left -= n;
    return true;
}

static bool take_string(struct cursor *cursor, struct ulm_gguf_string *ret)
{
    uint64_t len;
    if (!take(cursor, &len, sizeof len) || len > cursor->left)
        return false;
    *ret = (struct ulm_gguf_string){(const char *)cursor->p, (size_t)len};
    cursor->p += len;
    cursor->left -= (size_t)len;
    return true;
}

/* Bytes of a value of fixed size; 0 for strings, arrays and unknown types. */
static size_t value_bytes(uint32_t type)
{
    switch (type) {
    case ULM_GGUF_U8:
    case ULM_GGUF_I8:
    case ULM_GGUF_BOOL:
        return 1;
    case ULM_GGUF_U16:
    case ULM_GGUF_I16:
        return 2;
    case ULM_GGUF_U32:
    case ULM_GGUF_I32:
    case ULM_GGUF_F32:
        return 4;
    case ULM_GGUF_U64:
    case ULM_GGUF_I64:
    case ULM_GGUF_F64:
        return 8;
    default:
        return 0;
    }
}

static int read_strings(struct cursor *cursor, struct ulm_gguf_kv *kv)
{
    /* An entry is at least its own length word, so the file bounds what is allocated. */
    if (kv->n > cursor->left / 8)
        return fail_short(cursor);
    kv->strings = calloc(kv->n ? kv->n : 1, sizeof *kv->strings);
    if (!kv->strings)
        return -ENOMEM;
    for (size_t i = 0; i < kv->n; i++) {
        if (!take_string(cursor, &kv->strings[i]))
            return fail_short(cursor);
    }
    return 0;
}

static int read_array(struct cursor *cursor, struct ulm_gguf_kv *kv)
{
    char name[80];
    uint64_t n;
    if (!take(cursor, &kv->item_type, 4) || !take(cursor, &n, 8))
        return fail_short(cursor);
    if (n > cursor->left)
        return fail_short(cursor);
    kv->n = (size_t)n;
    if (kv->item_type == ULM_GGUF_STRING)
        return read_strings(cursor, kv);
    size_t bytes = value_bytes(kv->item_type);
    if (!bytes)
        return fail(cursor, "%s is an array of unknown type %u", shown(kv->key, name),
                    kv->item_type);
    if (kv->n > cursor->left / bytes)
        return fail_short(cursor);
    if (kv->item_type == ULM_GGUF_I32 || kv->item_type == ULM_GGUF_U32) {
        /* Copied, since the file does not align it. */
        kv->i32s = malloc(kv->n ? kv->n * 4 : 4);
        if (!kv->i32s)
            return -ENOMEM;
        memcpy(kv->i32s, cursor->p, kv->n * 4);
    }
    cursor->p += kv->n * bytes;
    cursor->left -= kv->n * bytes;
    return 0;
}

static int read_kv(struct cursor *cursor, struct ulm_gguf_kv *kv)
{
    char name[80];
    struct ulm_gguf_string key;
    kv->raw = cursor->p;
    if (!take_string(cursor, &key))
        return fail_short(cursor);
    if (!key.len || key.len > KEY_MAX || memchr(key.data, 0, key.len))
        return fail(cursor, "a metadata key is empty, too long or holds a NUL");
    kv->key = strndup(key.data, key.len);
    if (!kv->key)
        return -ENOMEM;
    if (!take(cursor, &kv->type, 4))
        return fail_short(cursor);
    int r = 0;
    if (kv->type == ULM_GGUF_STRING) {
        struct ulm_gguf_string value;
        if (!take_string(cursor, &value))
            return fail_short(cursor);
        if (memchr(value.data, 0, value.len))
            return fail(cursor, "the text of %s holds a NUL", shown(kv->key, name));
        kv->string = strndup(value.data, value.len);
        if (!kv->string)
            return -ENOMEM;
    } else if (kv->type == ULM_GGUF_ARRAY) {
        r = read_array(cursor, kv);
    } else {
        size_t bytes = value_bytes(kv->type);
        if (!bytes)
            return fail(cursor, "%s has unknown metadata type %u", shown(kv->key, name), kv->type);
        if (!take(cursor, kv->bytes, bytes))
            return fail_short(cursor);
    }
    kv->raw_bytes = (size_t)(cursor->p - kv->raw);
    return r;
}

/* ggml's other types by name, so that the message says what the file is. */
static const char *foreign_type_name(uint32_t type)
{
    static const char *const names[] = {
        [3] = "Q4_1",     [6] = "Q5_0",    [7] = "Q5_1",    [9] = "Q8_1",  [10] = "Q2_K",
        [11] = "Q3_K",    [12] = "Q4_K",   [13] = "Q5_K",   [14] = "Q6_K", [15] = "Q8_K",
        [16] = "IQ2_XXS", [20] = "IQ4_NL", [23] = "IQ4_XS", [28] = "F64",  [30] = "BF16",
        [34] = "TQ1_0",   [35] = "TQ2_0",  [39] = "MXFP4",
    };
    return type < sizeof names / sizeof *names ? names[type] : NULL;
}

static int check_shape(struct cursor *cursor, struct ulm_tensor *tensor, uint32_t type,
                       const uint64_t dims[static 2])
{
    char name[80];
    shown(tensor->name, name);
    if (!ulm_type_name((enum ulm_type)type)) {
        const char *foreign = foreign_type_name(type);
        if (foreign)
            return fail(cursor, "tensor %s has type %s; F32, F16, Q8_0 and Q4_0 are run", name,
                        foreign);
        return fail(cursor, "tensor %s has unknown type %u; F32, F16, Q8_0 and Q4_0 are run", name,
                    type);
    }
    if (!dims[0] || !dims[1])
        return fail(cursor, "tensor %s has no elements", name);
    /* At most 4 bytes a weight: with this bound no product below can wrap. */
    if (dims[0] > SIZE_MAX / 8 || dims[1] > SIZE_MAX / 8)
        return fail(cursor, "tensor %s is larger than the file", name);
    tensor->type = (enum ulm_type)type;
    tensor->cols = (size_t)dims[0];
    tensor->rows = (size_t)dims[1];
    size_t row_bytes = ulm_type_row_bytes(tensor->type, tensor->cols);
    if (!row_bytes)
        return fail(cursor, "tensor %s: rows of %zu weights are no whole %s blocks", name,
                    tensor->cols, ulm_type_name(tensor->type));
    if (tensor->rows > SIZE_MAX / row_bytes)
        return fail(cursor, "tensor %s is larger than the file", name);
    tensor->bytes = tensor->rows * row_bytes;
    return 0;
}

static int read_tensor(struct cursor *cursor, struct ulm_tensor *tensor, uint64_t *ret_offset)
{
    char shown_name[80];
    struct ulm_gguf_string name;
    uint32_t n_dims, type;
    uint64_t dims[2] = {1, 1};
    if (!take_string(cursor, &name))
        return fail_short(cursor);
    if (!name.len || name.len > NAME_MAX_ || memchr(name.data, 0, name.len))
        return fail(cursor, "a tensor's name is empty, too long or holds a NUL");
    char *copy = strndup(name.data, name.len);
    if (!copy)
        return -ENOMEM;
    tensor->name = copy;
    if (!take(cursor, &n_dims, 4))
        return fail_short(cursor);
    if (n_dims < 1 || n_dims > 2)
        return fail(cursor, "tensor %s has %u dimensions; 1 or 2 are run", shown(copy, shown_name),
                    n_dims);
    if (!take(cursor, dims, 8 * n_dims) || !take(cursor, &type, 4) || !take(cursor, ret_offset, 8))
        return fail_short(cursor);
    return check_shape(cursor, tensor, type, dims);
}

static int compare_tensors(const void *a, const void *b)
{
    const struct ulm_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_kvs(const void *a, const void *b)
{
    const struct ulm_gguf_kv *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static int read_kvs(struct ulm_gguf *gguf, struct cursor *cursor, uint64_t n)
{
    char name[80];
    /* A pair is at least a length, one byte of key, a type and one byte of value. */
    if (n > KVS_MAX || n > cursor->left / 14)
        return fail(cursor, "%llu metadata entries do not fit the file", (unsigned long long)n);
    gguf->kvs = calloc(n ? (size_t)n : 1, sizeof *gguf->kvs);
    if (!gguf->kvs)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        gguf->n_kvs = i + 1;
        int r = read_kv(cursor, &gguf->kvs[i]);
        if (r < 0)
            return r;
    }
    gguf->meta_end = cursor->p;
    qsort(gguf->kvs, gguf->n_kvs, sizeof *gguf->kvs, compare_kvs);
    for (size_t i = 1; i < gguf->n_kvs; i++) {
        if (!strcmp(gguf->kvs[i - 1].key, gguf->kvs[i].key))
            return fail(cursor, "metadata key %s stands twice", shown(gguf->kvs[i].key, name));
    }
    return 0;
}

static int read_alignment(struct ulm_gguf *gguf, const struct cursor *cursor)
{
    uint64_t alignment = ALIGNMENT;
    int r = ulm_gguf_get_u64(gguf, "general.alignment", &alignment);
    if (r == -EINVAL || alignment < 8 || alignment > 65536 || (alignment & (alignment - 1)))
        return fail(cursor, "general.alignment is no power of two from 8 to 65536");
    gguf->alignment = (size_t)alignment;
    return 0;
}

static int place_tensors(struct ulm_gguf *gguf, const struct cursor *cursor,
                         const uint64_t *offsets)
{
    char name[80];
    size_t header = gguf->size - cursor->left;
    size_t pad = (gguf->alignment - header % gguf->alignment) % gguf->alignment;
    if (gguf->n_tensors && pad > cursor->left)
        return fail(cursor, "the file ends before its tensors");
    size_t room = gguf->n_tensors ? cursor->left - pad : 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct ulm_tensor *tensor = &gguf->tensors[i];
        shown(tensor->name, name);
        if (offsets[i] % gguf->alignment)
            return fail(cursor, "tensor %s is not aligned", name);
        if (offsets[i] > room || tensor->bytes > room - offsets[i])
            return fail(cursor, "tensor %s reaches past the end of the file", name);
        tensor->data = cursor->p + pad + offsets[i];
        gguf->sorted[i] = tensor;
    }
    qsort(gguf->sorted, gguf->n_tensors, sizeof *gguf->sorted, compare_tensors);
    for (size_t i = 1; i < gguf->n_tensors; i++) {
        if (!strcmp(gguf->sorted[i - 1]->name, gguf->sorted[i]->name))
            return fail(cursor, "tensor %s stands twice", shown(gguf->sorted[i]->name, name));
    }
    return 0;
}

static int read_tensors(struct ulm_gguf *gguf, struct cursor *cursor, uint64_t n)
{
    /* An entry is at least a length, one byte of name, counts, one size, type and offset. */
    if (n > TENSORS_MAX || n > cursor->left / 33)
        return fail(cursor, "%llu tensors do not fit the file", (unsigned long long)n);
    size_t slots = n ? (size_t)n : 1;
    uint64_t *offsets = calloc(slots, sizeof *offsets);
    gguf->tensors = calloc(slots, sizeof *gguf->tensors);
    gguf->sorted = calloc(slots, sizeof *gguf->sorted);
    int r = offsets && gguf->tensors && gguf->sorted ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++) {
        gguf->n_tensors = i + 1;
        r = read_tensor(cursor, &gguf->tensors[i], &offsets[i]);
    }
    if (r == 0)
        r = place_tensors(gguf, cursor, offsets);
    free(offsets);
    return r;
}

static int parse(struct ulm_gguf *gguf, struct cursor *cursor)
{
    uint32_t version;
    uint64_t n_tensors, n_kvs;
    char magic[4];
    if (!take(cursor, magic, 4) || memcmp(magic, "GGUF", 4) != 0)
        return fail(cursor, "not a GGUF file");
    if (!take(cursor, &version, 4))
        return fail_short(cursor);
    if (version != 3)
        return fail(cursor, "GGUF version %u; version 3 is read", version);
    if (!take(cursor, &n_tensors, 8) || !take(cursor, &n_kvs, 8))
        return fail_short(cursor);
    int r = read_kvs(gguf, cursor, n_kvs);
    if (r == 0)
        r = read_alignment(gguf, cursor);
    if (r == 0)
        r = read_tensors(gguf, cursor, n_tensors);
    return r;
}

static int map_file(struct ulm_gguf *gguf, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(st.st_mode))
        r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (r == 0 && (st.st_size <= 0 || (uintmax_t)st.st_size > SIZE_MAX))
        r = -EBADMSG;
    if (r == 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            r = -errno;
        } else {
            gguf->map = map;
            gguf->size = (size_t)st.st_size;
        }
    }
    close(fd);
    return r;
}

int ulm_gguf_open(const char *path, struct ulm_gguf **ret_gguf, char *reterr, size_t reterr_size)
{
    struct ulm_gguf *gguf = calloc(1, sizeof *gguf);
    if (!gguf) {
        snprintf(reterr, reterr_size, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    gguf->alignment = ALIGNMENT;
    int r = map_file(gguf, path);
    if (r < 0) {
        snprintf(reterr, reterr_size, "%s", r == -EBADMSG  ? "not a GGUF file"
                                           : r == -EINVAL ? "not a regular file"
                                                          : strerror(-r));
    } else {
        struct cursor cursor = {gguf->map, gguf->size, reterr, reterr_size};
        r = parse(gguf, &cursor);
        if (r == -ENOMEM)
            snprintf(reterr, reterr_size, "%s", strerror(ENOMEM));
    }
    if (r < 0) {
        ulm_gguf_free(gguf);
        return r;
    }
    *ret_gguf = gguf;
    return 0;
}

struct ulm_gguf *ulm_gguf_free(struct ulm_gguf *gguf)
{
    if (!gguf)
        return NULL;
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        free(gguf->kvs[i].key);
        free(gguf->kvs[i].string);
        free(gguf->kvs[i].strings);
        free(gguf->kvs[i].i32s);
    }
    for (size_t i = 0; i < gguf->n_tensors; i++)
        free((char *)gguf->tensors[i].name);
    free(gguf->kvs);
    free(gguf->tensors);
    free(gguf->sorted);
    if (gguf->map)
        munmap((void *)gguf->map, gguf->size);
    free(gguf);
    return NULL;
}
