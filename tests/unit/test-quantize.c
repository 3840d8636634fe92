/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/gguf.h"
#include "engine/half.h"
#include "tests/unit/unit.h"

static struct ulm_gguf *open_file(const char *path)
{
    char err[256] = "";
    struct ulm_gguf *gguf = NULL;
    ck_assert_msg(ulm_gguf_open(path, &gguf, err, sizeof err) == 0, "%s: %s", path, err);
    return gguf;
}

static struct ulm_gguf *open_tiny(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/reference/tiny-f32.gguf", getenv("DATA"));
    return open_file(path);
}

static float weight(const struct ulm_tensor *t, size_t row, size_t col)
{
    const uint8_t *p = (const uint8_t *)t->data + row * ulm_type_row_bytes(t->type, t->cols);
    uint16_t half;
    float value;
    switch (t->type) {
    case ULM_TYPE_F32:
        memcpy(&value, p + 4 * col, 4);
        return value;
    case ULM_TYPE_F16:
        memcpy(&half, p + 2 * col, 2);
        return ulm_half_to_float(half);
    case ULM_TYPE_Q8_0:
        memcpy(&half, p + col / 32 * 34, 2);
        return ulm_half_to_float(half) * (float)(int8_t)p[col / 32 * 34 + 2 + col % 32];
    case ULM_TYPE_Q4_0:
        memcpy(&half, p + col / 32 * 18, 2);
        p += col / 32 * 18 + 2 + col % 16;
        return ulm_half_to_float(half) * ((float)(col % 32 < 16 ? *p & 15 : *p >> 4) - 8);
    }
    return NAN;
}

/* Each type keeps each weight to within its step; vectors and the tokenizer stay. */
START_TEST(test_every_type)
{
    static const struct {
        enum ulm_type type;
        float steps; /* of the largest weight of a block */
    } cases[] = {{ULM_TYPE_F32, INFINITY},
                 {ULM_TYPE_F16, 2048},
                 {ULM_TYPE_Q8_0, 127 * 1.8f},
                 {ULM_TYPE_Q4_0, 8 * 0.99f}};
    struct ulm_gguf *source = open_tiny();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char path[] = "/tmp/ulm-quantize-XXXXXX";
        int fd = mkstemp(path);
        ck_assert_int_ge(fd, 0);
        close(fd);
        ck_assert_int_eq(ulm_gguf_quantize(source, path, cases[k].type), 0);
        struct ulm_gguf *made = open_file(path);
        unlink(path);
        ck_assert_uint_eq(ulm_gguf_tensor_count(made), ulm_gguf_tensor_count(source));
        for (size_t i = 0; i < ulm_gguf_tensor_count(source); i++) {
            const struct ulm_tensor *a = ulm_gguf_tensor_at(source, i);
            const struct ulm_tensor *b = ulm_gguf_tensor(made, a->name);
            ck_assert_ptr_nonnull(b);
            ck_assert_uint_eq(b->type, a->rows > 1 ? cases[k].type : ULM_TYPE_F32);
            for (size_t r = 0; r < a->rows; r++) {
                for (size_t c = 0; c < a->cols; c++) {
                    float largest = 0;
                    for (size_t n = c / 32 * 32; n < c / 32 * 32 + 32; n++)
                        largest = fmaxf(largest, fabsf(weight(a, r, n)));
                    float off = fabsf(weight(a, r, c) - weight(b, r, c));
                    ck_assert_msg(off <= largest / cases[k].steps, "%s[%zu, %zu]: %g of %g",
                                  a->name, r, c, (double)off, (double)largest);
                }
            }
        }
        const struct ulm_gguf_string *x, *y;
        size_t n, m;
        ck_assert_int_eq(ulm_gguf_get_strings(source, "tokenizer.ggml.merges", &x, &n), 0);
        ck_assert_int_eq(ulm_gguf_get_strings(made, "tokenizer.ggml.merges", &y, &m), 0);
        ck_assert_uint_eq(n, m);
        ck_assert_mem_eq(x[n - 1].data, y[n - 1].data, x[n - 1].len);
        ulm_gguf_free(made);
    }
    ulm_gguf_free(source);
}
END_TEST

START_TEST(test_cannot_write)
{
    struct ulm_gguf *source = open_tiny();
    ck_assert_int_lt(ulm_gguf_quantize(source, "/nonexistent/x.gguf", ULM_TYPE_Q8_0), 0);
    ulm_gguf_free(source);
}
END_TEST

UNIT_MAIN("quantize", test_every_type, test_cannot_write)
