/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/gguf_file.h"
#include "engine/half.h"
#include "engine/tokenizer.h"
#include "tests/unit/unit.h"
#include "util/buf.h"
#include "util/text.h"

/* A file is put together piece by piece, so that each case can spoil one of them. */
static void add(struct ulm_buf *buf, const void *data, size_t n)
{
    ck_assert_int_eq(ulm_buf_add(buf, data, n), 0);
}

static void add_u32(struct ulm_buf *buf, uint32_t v)
{
    add(buf, &v, sizeof v);
}

static void add_u64(struct ulm_buf *buf, uint64_t v)
{
    add(buf, &v, sizeof v);
}

static void add_text(struct ulm_buf *buf, const char *text)
{
    add_u64(buf, strlen(text));
    add(buf, text, strlen(text));
}

static void begin(struct ulm_buf *buf, uint64_t n_tensors, uint64_t n_kvs)
{
    ulm_buf_clear(buf);
    add(buf, "GGUF", 4);
    add_u32(buf, 3);
    add_u64(buf, n_tensors);
    add_u64(buf, n_kvs);
}

static void add_tensor(struct ulm_buf *buf, const char *name, uint32_t type, uint64_t cols,
                       uint64_t rows, uint64_t offset)
{
    add_text(buf, name);
    add_u32(buf, 2);
    add_u64(buf, cols);
    add_u64(buf, rows);
    add_u32(buf, type);
    add_u64(buf, offset);
}

static void pad(struct ulm_buf *buf, size_t alignment)
{
    while (buf->len % alignment)
        add(buf, "", 1);
}

static char path[64];

static int open_bytes(const char *data, size_t len, struct ulm_gguf **ret, char err[static 200])
{
    strcpy(path, "/tmp/ulm-gguf-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
    err[0] = '\0';
    int r = ulm_gguf_open(path, ret, err, 200);
    unlink(path);
    if (r < 0) {
        ck_assert_msg(err[0] != '\0', "no reason for %d", r);
        ck_assert_ptr_null(strchr(err, '\n'));
    }
    return r;
}

static void expect_refused(const struct ulm_buf *buf, const char *reason)
{
    struct ulm_gguf *gguf = NULL;
    char err[200];
    ck_assert_int_lt(open_bytes(buf->data, buf->len, &gguf, err), 0);
    ck_assert_msg(strstr(err, reason), "\"%s\" is not about \"%s\"", err, reason);
    ck_assert_ptr_null(gguf);
}

/* Every kind of metadata, two tensors. */
static void build_good(struct ulm_buf *buf)
{
    begin(buf, 2, 7);
    add_text(buf, "general.name");
    add_u32(buf, 8);
    add_text(buf, "tiny");
    add_text(buf, "a.u16");
    add_u32(buf, 2);
    add(buf, "\x34\x12", 2);
    add_text(buf, "a.i8");
    add_u32(buf, 1);
    add(buf, "\xff", 1);
    add_text(buf, "a.f32");
    add_u32(buf, 6);
    float f = 0.5f;
    add(buf, &f, 4);
    add_text(buf, "a.bool");
    add_u32(buf, 7);
    add(buf, "\x01", 1);
    add_text(buf, "a.texts");
    add_u32(buf, 9);
    add_u32(buf, 8);
    add_u64(buf, 2);
    add_text(buf, "one");
    add_text(buf, "");
    add_text(buf, "a.numbers");
    add_u32(buf, 9);
    add_u32(buf, 5);
    add_u64(buf, 3);
    add_u32(buf, 7);
    add_u32(buf, UINT32_MAX);
    add_u32(buf, 9);
    add_tensor(buf, "w", ULM_TYPE_Q8_0, 32, 2, 0);
    add_tensor(buf, "b", ULM_TYPE_F32, 3, 1, 96);
    pad(buf, 32);
    for (unsigned i = 0; i < 96 + 12; i++)
        add(buf, &(char){(char)i}, 1);
}

START_TEST(test_good)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(1 << 20);
    build_good(&buf);
    struct ulm_gguf *gguf = NULL;
    char err[200];
    ck_assert_int_eq(open_bytes(buf.data, buf.len, &gguf, err), 0);
    uint64_t u = 0;
    double d = 0;
    int b = 0;
    const char *s = NULL;
    const struct ulm_gguf_string *strings = NULL;
    const int32_t *numbers = NULL;
    size_t n = 0;
    ck_assert_int_eq(ulm_gguf_get_string(gguf, "general.name", &s), 0);
    ck_assert_str_eq(s, "tiny");
    ck_assert_int_eq(ulm_gguf_get_u64(gguf, "a.u16", &u), 0);
    ck_assert_uint_eq(u, 0x1234);
    ck_assert_int_eq(ulm_gguf_get_u64(gguf, "a.i8", &u), -EINVAL);
    ck_assert_int_eq(ulm_gguf_get_u64(gguf, "a.none", &u), -ENOENT);
    ck_assert_int_eq(ulm_gguf_get_u64(gguf, "general.name", &u), -EINVAL);
    ck_assert_int_eq(ulm_gguf_get_f64(gguf, "a.f32", &d), 0);
    ck_assert_double_eq(d, 0.5);
    ck_assert_int_eq(ulm_gguf_get_bool(gguf, "a.bool", &b), 0);
    ck_assert_int_eq(b, 1);
    ck_assert_int_eq(ulm_gguf_get_strings(gguf, "a.texts", &strings, &n), 0);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(strings[0].len, 3);
    ck_assert_mem_eq(strings[0].data, "one", 3);
    ck_assert_uint_eq(strings[1].len, 0);
    ck_assert_int_eq(ulm_gguf_get_i32s(gguf, "a.numbers", &numbers, &n), 0);
    ck_assert_uint_eq(n, 3);
    ck_assert_int_eq(numbers[1], -1);
    ck_assert_int_eq(ulm_gguf_get_i32s(gguf, "a.texts", &numbers, &n), -EINVAL);
    ck_assert_uint_eq(ulm_gguf_tensor_count(gguf), 2);
    const struct ulm_tensor *w = ulm_gguf_tensor(gguf, "w");
    ck_assert_ptr_nonnull(w);
    ck_assert_ptr_eq(w, ulm_gguf_tensor_at(gguf, 0));
    ck_assert_uint_eq(w->rows, 2);
    ck_assert_uint_eq(w->cols, 32);
    ck_assert_uint_eq(w->bytes, 68);
    ck_assert_uint_eq(((const unsigned char *)w->data)[1], 1);
    ck_assert_uint_eq(((const unsigned char *)ulm_gguf_tensor(gguf, "b")->data)[0], 96);
    ck_assert_ptr_null(ulm_gguf_tensor(gguf, "none"));
    ulm_gguf_free(gguf);
}
END_TEST

START_TEST(test_every_truncation)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(1 << 20);
    build_good(&buf);
    for (size_t n = 0; n < buf.len; n++) {
        struct ulm_gguf *gguf = NULL;
        char err[200];
        ck_assert_msg(open_bytes(buf.data, n, &gguf, err) < 0, "%zu bytes were accepted", n);
    }
}
END_TEST

/* One byte changed: anything but a crash; what opens can be walked. */
START_TEST(test_every_byte_spoilt)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(1 << 20);
    build_good(&buf);
    static const unsigned char values[] = {0x00, 0x7F, 0x80, 0xFF};
    for (size_t i = 0; i < buf.len; i++) {
        char kept = buf.data[i];
        for (size_t v = 0; v < sizeof values; v++) {
            buf.data[i] = (char)values[v];
            struct ulm_gguf *gguf = NULL;
            char err[200];
            if (open_bytes(buf.data, buf.len, &gguf, err) < 0)
                continue;
            size_t sum = 0, bytes = 0;
            for (size_t t = 0; t < ulm_gguf_tensor_count(gguf); t++) {
                const struct ulm_tensor *tensor = ulm_gguf_tensor_at(gguf, t);
                bytes += tensor->bytes;
                for (size_t k = 0; k < tensor->bytes; k++)
                    sum += ((const unsigned char *)tensor->data)[k];
            }
            ck_assert_uint_le(sum, bytes * 255);
            ulm_gguf_free(gguf);
        }
        buf.data[i] = kept;
    }
}
END_TEST

START_TEST(test_bad_headers)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(1 << 20);
    add(&buf, "GGML....", 8);
    expect_refused(&buf, "not a GGUF file");
    build_good(&buf);
    buf.data[4] = 2;
    expect_refused(&buf, "version 2");
    begin(&buf, UINT64_MAX, 0);
    expect_refused(&buf, "do not fit");
    begin(&buf, 0, UINT64_MAX);
    expect_refused(&buf, "do not fit");
    begin(&buf, 0, 2);
    for (int i = 0; i < 2; i++) {
        add_text(&buf, "same");
        add_u32(&buf, 4);
        add_u32(&buf, 1);
    }
    expect_refused(&buf, "stands twice");
    begin(&buf, 0, 1);
    add_text(&buf, "general.alignment");
    add_u32(&buf, 4);
    add_u32(&buf, 48);
    expect_refused(&buf, "general.alignment");
    begin(&buf, 0, 1);
    add_text(&buf, "k");
    add_u32(&buf, 99);
    add_u64(&buf, 0);
    expect_refused(&buf, "unknown metadata type 99");
    begin(&buf, 0, 1);
    add_text(&buf, "k");
    add_u32(&buf, 9);
    add_u32(&buf, 8);
    add_u64(&buf, UINT64_MAX / 8);
    expect_refused(&buf, "ends inside");
    begin(&buf, 0, 1);
    add_text(&buf, "k");
    add_u32(&buf, 8);
    add_u64(&buf, 3);
    add(&buf, "a\0b", 3);
    expect_refused(&buf, "NUL");
}
END_TEST

static void expect_tensor_refused(uint32_t type, uint64_t cols, uint64_t rows, uint64_t offset,
                                  const char *reason)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(1 << 20);
    begin(&buf, 1, 0);
    add_tensor(&buf, "blk.0.x", type, cols, rows, offset);
    pad(&buf, 32);
    for (int i = 0; i < 4096; i++)
        add(&buf, "", 1);
    expect_refused(&buf, reason);
}

START_TEST(test_bad_tensors)
{
    expect_tensor_refused(12, 256, 1, 0, "tensor blk.0.x has type Q4_K");
    expect_tensor_refused(4711, 256, 1, 0, "unknown type 4711");
    expect_tensor_refused(ULM_TYPE_F32, 0, 1, 0, "no elements");
    expect_tensor_refused(ULM_TYPE_F32, 1, 0, 0, "no elements");
    expect_tensor_refused(ULM_TYPE_Q8_0, 33, 1, 0, "no whole Q8_0 blocks");
    expect_tensor_refused(ULM_TYPE_F32, 8, 1, 4, "not aligned");
    expect_tensor_refused(ULM_TYPE_F32, 1025, 1, 0, "past the end");
    expect_tensor_refused(ULM_TYPE_F32, 1, 1, 4096, "past the end");
    expect_tensor_refused(ULM_TYPE_F32, 8, 1, UINT64_MAX - 31, "past the end");
    expect_tensor_refused(ULM_TYPE_F32, UINT64_C(1) << 62, 1, 0, "larger than the file");
    expect_tensor_refused(ULM_TYPE_F32, UINT64_C(1) << 40, UINT64_C(1) << 40, 0, "larger");
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(1 << 20);
    begin(&buf, 2, 0);
    add_tensor(&buf, "x", ULM_TYPE_F32, 1, 1, 0);
    add_tensor(&buf, "x", ULM_TYPE_F32, 1, 1, 0);
    pad(&buf, 32);
    add_u32(&buf, 0);
    expect_refused(&buf, "tensor x stands twice");
    begin(&buf, 1, 0);
    add_text(&buf, "x\n\x1b[31m");
    add_u32(&buf, 7);
    add(&buf, "................................", 32);
    expect_refused(&buf, "tensor x??[31m has 7 dimensions");
}
END_TEST

static void add_key(struct ulm_buf *buf, const char *key, uint32_t type)
{
    add_text(buf, key);
    add_u32(buf, type);
}

static void add_array(struct ulm_buf *buf, const char *key, uint32_t type, uint64_t n)
{
    add_key(buf, key, ULM_GGUF_ARRAY);
    add_u32(buf, type);
    add_u64(buf, n);
}

/* A vocabulary of every byte and `specials` tokens behind them, each longer than the last. */
static int load_vocabulary(uint64_t specials, char err[static 200])
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(32 << 20);
    begin(&buf, 0, 5);
    add_key(&buf, "tokenizer.ggml.model", ULM_GGUF_STRING);
    add_text(&buf, "gpt2");
    add_key(&buf, "tokenizer.ggml.pre", ULM_GGUF_STRING);
    add_text(&buf, "gpt-2");
    add_array(&buf, "tokenizer.ggml.merges", ULM_GGUF_STRING, 0);
    add_array(&buf, "tokenizer.ggml.tokens", ULM_GGUF_STRING, 256 + specials);
    for (uint32_t b = 0, other = 0x100; b < 256; b++) {
        bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
        char text[5] = "";
        text[ulm_utf8_encode(itself ? b : other++, text)] = '\0';
        add_text(&buf, text);
    }
    char name[1025] = "";
    for (uint64_t i = 0; i < specials; i++) {
        memset(name, 'x', 1 + i * 1000 / (specials + 1));
        add_text(&buf, name);
    }
    add_array(&buf, "tokenizer.ggml.token_type", ULM_GGUF_I32, 256 + specials);
    for (uint64_t i = 0; i < 256 + specials; i++)
        add_u32(&buf, i < 256 ? 1 : 3);

    struct ulm_gguf *gguf;
    struct ulm_tokenizer *tokenizer = NULL;
    ck_assert_msg(open_bytes(buf.data, buf.len, &gguf, err) == 0, "%s", err);
    int r = ulm_tokenizer_new(gguf, &tokenizer, err, 200);
    ulm_gguf_free(gguf);
    ulm_tokenizer_free(tokenizer);
    return r;
}

START_TEST(test_special_tokens_are_bounded)
{
    char err[200];
    ck_assert_msg(load_vocabulary(4096, err) == 0, "%s", err);
    ck_assert_int_eq(load_vocabulary(4097, err), -EBADMSG);
    ck_assert_str_eq(err, "4097 special tokens are too many");
}
END_TEST

START_TEST(test_not_a_file)
{
    struct ulm_gguf *gguf = NULL;
    char err[200] = "";
    ck_assert_int_eq(ulm_gguf_open("/nonexistent/x", &gguf, err, sizeof err), -ENOENT);
    ck_assert_str_eq(err, "No such file or directory");
    ck_assert_int_eq(ulm_gguf_open("/tmp", &gguf, err, sizeof err), -EISDIR);
    ck_assert_int_lt(ulm_gguf_open("/dev/zero", &gguf, err, sizeof err), 0);
    ck_assert_ptr_null(ulm_gguf_free(NULL));
}
END_TEST

/* Each half-precision number survives the round trip; between two it goes to the nearer. */
START_TEST(test_half)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = ulm_half_to_float((uint16_t)h);
        if ((h & 0x7C00) == 0x7C00 && (h & 0x3FF)) {
            ck_assert(f != f);
            continue;
        }
        ck_assert_uint_eq(ulm_half_from_float(f), h);
    }
    ck_assert_double_eq((double)ulm_half_to_float(0x3555), 0.333251953125);
    ck_assert_uint_eq(ulm_half_from_float(1.0f / 3), 0x3555);
    ck_assert_uint_eq(ulm_half_from_float(1.0f + 1.0f / 2048), 0x3C00);
    ck_assert_uint_eq(ulm_half_from_float(1.0f + 3.0f / 2048), 0x3C02);
    ck_assert_uint_eq(ulm_half_from_float(65519.0f), 0x7BFF);
    ck_assert_uint_eq(ulm_half_from_float(65520.0f), 0x7C00);
    ck_assert_uint_eq(ulm_half_from_float(0x1p-25f), 0);
    ck_assert_uint_eq(ulm_half_from_float(0x1.1p-25f), 1);
}
END_TEST

UNIT_MAIN("gguf", test_good, test_every_truncation, test_every_byte_spoilt, test_bad_headers,
          test_bad_tensors, test_not_a_file, test_half,
          test_special_tokens_are_bounded)
