/* SPDX-License-Identifier: MIT */
/* Every table of kernels that this CPU runs against the plain C twin, over odd sizes. */
#include "engine/kernels.h"

#include <math.h>
#include <string.h>

#include "engine/blas.h"
#include "engine/half.h"
#include "tests/unit/unit.h"

static uint32_t state = 1;

/* In -1..1. */
static float noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state / 2147483648.0f;
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    ck_assert_ptr_nonnull(p);
    memset(p, 0, (bytes + 63) / 64 * 64 + 64);
    return p;
}

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = noise();
}

static struct ulm_acts acts_new(unsigned rows, unsigned cols)
{
    struct ulm_acts a = {.cols = cols};
    size_t cells = (size_t)rows * cols, blocks = cells / ULM_BLOCK + 1;
    a.x = room(cells * sizeof *a.x);
    a.q = room(cells);
    a.scale = room(blocks * sizeof *a.scale);
    a.fix8 = room(blocks * sizeof *a.fix8);
    a.fix4 = room(blocks * sizeof *a.fix4);
    fill(a.x, cells);
    return a;
}

static void acts_free(struct ulm_acts *a)
{
    free(a->x);
    free(a->q);
    free(a->scale);
    free(a->fix8);
    free(a->fix4);
}

/* A GGUF row-major matrix of random weights; extreme bytes are among them. */
static uint8_t *weights_new(enum ulm_type type, unsigned rows, unsigned cols)
{
    size_t row = ulm_type_row_bytes(type, cols), bytes = rows * row;
    uint8_t *w = room(bytes);
    for (size_t i = 0; i < bytes; i++)
        w[i] = (uint8_t)(noise() * 128);
    size_t step = type == ULM_TYPE_Q8_0 ? 34 : type == ULM_TYPE_Q4_0 ? 18 : 2;
    for (size_t i = 0; type == ULM_TYPE_F32 && i < bytes; i += 4) {
        float one = noise();
        memcpy(w + i, &one, 4);
    }
    for (size_t i = 0; type != ULM_TYPE_F32 && i < bytes; i += step) {
        uint16_t half = ulm_half_from_float(noise());
        memcpy(w + i, &half, 2);
    }
    return w;
}

static struct ulm_matrix pack(const struct ulm_kernels *kernels, enum ulm_type type, unsigned rows,
                              unsigned cols, const uint8_t *w)
{
    struct ulm_matrix m;
    size_t bytes = ulm_matrix_layout(&m, type, rows, cols);
    m.data = room(bytes);
    ulm_matrix_pack(&m, w, kernels->q8_flip);
    return m;
}

/* Largest difference, relative to the largest wanted value. check writes each assertion to a file,
 * so loops count first and assert once. */
static double apart(const float *got, const float *want, size_t n)
{
    double most = 0, largest = 1e-30;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(got[i]))
            return INFINITY;
        most = fmax(most, fabs((double)got[i] - (double)want[i]));
        largest = fmax(largest, fabs((double)want[i]));
    }
    return most / largest;
}

static void compare_matmul(const struct ulm_kernels *kernels, enum ulm_type type, unsigned rows,
                           unsigned cols, unsigned n)
{
    const struct ulm_kernels *twin = &ulm_kernels_scalar;
    uint8_t *w = weights_new(type, rows, cols);
    struct ulm_matrix m = pack(kernels, type, rows, cols, w), m2 = pack(twin, type, rows, cols, w);
    struct ulm_acts a = acts_new(n, cols);
    size_t stride = (size_t)m.groups * ULM_GROUP, cells = n * stride;
    float *got = room(cells * sizeof *got), *want = room(cells * sizeof *want);
    float *row = room(cols * sizeof *row);
    twin->quantise(&a, 0, n);
    ulm_kernels_matmul(twin, &m2)(&m2, 0, m2.groups, &a, n, want, stride);
    if (kernels->quantise != twin->quantise) {
        memset(a.q, 0, (size_t)n * cols);
        kernels->quantise(&a, 0, n);
    }
    ulm_kernels_matmul(kernels, &m)(&m, 0, m.groups, &a, n, got, stride);
    ck_assert_double_lt(apart(got, want, cells), 1e-4);
    /* Against plain arithmetic on the unpacked weights: the activations' 8 bits differ. */
    unsigned wrong = 0;
    for (unsigned r = 0; r < rows; r++) {
        ulm_matrix_row(&m, r, kernels->q8_flip, row);
        for (unsigned i = 0; i < n; i++) {
            double sum = 0, size = 0;
            for (unsigned c = 0; c < cols; c++) {
                double term = (double)row[c] * (double)a.x[(size_t)i * cols + c];
                sum += term;
                size += fabs(term);
            }
            wrong += fabs((double)got[i * stride + r] - sum) > 1e-2 * size + 1e-9;
        }
    }
    ck_assert_uint_eq(wrong, 0);
    /* A row alone, from the middle of the groups, gives the same bits. */
    if (m.groups > 1) {
        memset(want, 0, cells * sizeof *want);
        ulm_kernels_matmul(kernels, &m)(&m, 1, m.groups, &a, 1, want, stride);
        ck_assert_int_eq(memcmp(want + ULM_GROUP, got + ULM_GROUP,
                                (stride - ULM_GROUP) * sizeof *got),
                         0);
        for (unsigned r = 0; r < ULM_GROUP; r++)
            wrong += want[r] != 0.0f;
        ck_assert_uint_eq(wrong, 0);
    }
    acts_free(&a);
    free(w);
    free(m.data);
    free(m2.data);
    free(got);
    free(want);
    free(row);
}

START_TEST(test_matmul_meets_its_twin)
{
    static const enum ulm_type types[] = {ULM_TYPE_F32, ULM_TYPE_F16, ULM_TYPE_Q4_0, ULM_TYPE_Q8_0};
    static const unsigned rows[] = {1, 33, 70}, cols[] = {32, 352};
    const struct ulm_kernels *kernels;
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
        for (size_t t = 0; t < 4; t++)
            for (size_t r = 0; r < 3; r++)
                for (size_t c = 0; c < 2; c++)
                    for (unsigned n = 1; n <= 15; n += n < 7 ? 1 : 4)
                        compare_matmul(kernels, types[t], rows[r], cols[c], n);
}
END_TEST

START_TEST(test_float_matrices_of_any_width)
{
    const struct ulm_kernels *kernels;
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
        for (unsigned cols = 1; cols < 20; cols += 3) {
            uint8_t *w = weights_new(ULM_TYPE_F32, 40, cols);
            struct ulm_matrix m = pack(kernels, ULM_TYPE_F32, 40, cols, w);
            struct ulm_acts a = acts_new(3, cols);
            float got[3 * 64], want[3 * 64];
            kernels->f32(&m, 0, 2, &a, 3, got, 64);
            ulm_kernels_scalar.f32(&m, 0, 2, &a, 3, want, 64);
            ck_assert_double_lt(apart(got, want, 3 * 64), 2e-6);
            acts_free(&a);
            free(w);
            free(m.data);
        }
}
END_TEST

START_TEST(test_openblas_meets_the_twin)
{
    struct ulm_blas *blas = ulm_blas_new();
    for (unsigned n = 1; blas != NULL && n < 6; n++) {
        uint8_t *w = weights_new(ULM_TYPE_F32, 70, 50);
        struct ulm_matrix m2 = pack(&ulm_kernels_scalar, ULM_TYPE_F32, 70, 50, w), m = m2;
        struct ulm_acts a = acts_new(n, 50);
        float got[5 * 96] = {0}, want[5 * 96];
        float row[50];
        m.data = w;
        m.blas = blas;
        ck_assert_ptr_eq(ulm_kernels_matmul(&ulm_kernels_scalar, &m), ulm_blas_matmul);
        ulm_blas_matmul(&m, 0, 2, &a, n, got, 96);
        ulm_blas_matmul(&m, 2, 3, &a, n, got, 96);
        ulm_kernels_scalar.f32(&m2, 0, 3, &a, n, want, 96);
        ck_assert_double_lt(apart(got, want, n * 96), 2e-6);
        ulm_matrix_row(&m, 69, 0, row);
        ck_assert_mem_eq(row, w + 69 * 50 * 4, sizeof row);
        acts_free(&a);
        free(w);
        free(m2.data);
    }
    ulm_blas_free(blas);
}
END_TEST

START_TEST(test_quantise_edges)
{
    const struct ulm_kernels *kernels;
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++) {
        struct ulm_acts a = acts_new(2, 64);
        memset(a.x, 0, 32 * sizeof *a.x);
        a.x[40] = -3.0f;
        kernels->quantise(&a, 0, 2);
        ck_assert(a.scale[0] == 0.0f);
        ck_assert_int_eq(a.fix8[0], 0);
        for (unsigned c = 0; c < 32; c++)
            ck_assert_int_eq(a.q[c], 0);
        ck_assert_int_eq(a.q[40], -127);
        for (unsigned b = 0; b < 4; b++) {
            int sum = 0;
            for (unsigned c = 0; c < 32; c++)
                sum += a.q[b * 32 + c];
            ck_assert_int_eq(a.fix8[b], -128 * sum);
            ck_assert_int_eq(a.fix4[b], -8 * sum);
        }
        acts_free(&a);
    }
}
END_TEST

START_TEST(test_norm_swiglu_and_rope_meet_their_twins)
{
    const struct ulm_kernels *kernels, *twin = &ulm_kernels_scalar;
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
        for (unsigned n = 2; n < 80; n += 2) {
            float x[80], y[80], got[80], want[80];
            fill(x, n);
            fill(y, n);
            memcpy(got, x, sizeof got);
            memcpy(want, x, sizeof want);
            kernels->add(got, y, n);
            twin->add(want, y, n);
            ck_assert_mem_eq(got, want, n * sizeof *got);
            kernels->norm(x, y, n, 1e-5f, got);
            twin->norm(x, y, n, 1e-5f, want);
            ck_assert_double_lt(apart(got, want, n), 2e-6);
            for (unsigned i = 0; i < n; i++)
                x[i] *= i % 7 == 0 ? 120.0f : 9.0f;
            memcpy(got, x, sizeof got);
            memcpy(want, x, sizeof want);
            kernels->swiglu(got, y, n);
            twin->swiglu(want, y, n);
            ck_assert_double_lt(apart(got, want, n), 2e-6);
            memcpy(got, x, sizeof got);
            memcpy(want, x, sizeof want);
            kernels->rope(got, 1, n, y);
            twin->rope(want, 1, n, y);
            ck_assert_double_lt(apart(got, want, n), 2e-6);
        }
}
END_TEST

/* Caches of both kinds, filled alike; then attention over lengths around every span and group. */
static void compare_attention(const struct ulm_kernels *kernels, unsigned heads, unsigned dim,
                              unsigned len)
{
    unsigned room16 = (len + 15) / 16 * 16;
    size_t cells = (size_t)room16 * dim;
    uint16_t *keys = room(cells * 2), *values = room(cells * 2);
    float *keys32 = room(cells * 4), *values32 = room(cells * 4);
    float *q = room(heads * dim * 4), *got = room(heads * dim * 4), *want = room(heads * dim * 4);
    fill(q, heads * dim);
    for (unsigned d = 0; d < heads * dim; d++)
        q[d] *= 8;
    unsigned wrong = 0;
    for (unsigned p = 0; p < len; p++) {
        float k[130], v[130];
        uint16_t key2[130 * 16], value2[130];
        size_t at = (size_t)(p / 16) * dim * 16 + p % 16;
        fill(k, dim);
        fill(v, dim);
        kernels->store_f16(k, v, dim, keys + at, values + (size_t)p * dim);
        ulm_kernels_scalar.store_f16(k, v, dim, key2, value2);
        wrong += memcmp(values + (size_t)p * dim, value2, dim * 2) != 0;
        for (unsigned d = 0; d < dim; d++) {
            wrong += keys[at + d * 16] != key2[d * 16];
            keys32[at + d * 16] = k[d];
            values32[(size_t)p * dim + d] = v[d];
        }
    }
    ck_assert_uint_eq(wrong, 0);
    struct ulm_attention a = {q, heads, dim, len, keys, values, 1.0f / sqrtf((float)dim), got};
    kernels->attend_f16(&a);
    a.out = want;
    ulm_kernels_scalar.attend_f16(&a);
    ck_assert_double_lt(apart(got, want, heads * dim), 2e-5);
    a.keys = keys32;
    a.values = values32;
    ulm_kernels_scalar.attend_f32(&a);
    a.out = got;
    kernels->attend_f32(&a);
    ck_assert_double_lt(apart(got, want, heads * dim), 2e-5);
    free(keys);
    free(values);
    free(keys32);
    free(values32);
    free(q);
    free(got);
    free(want);
}

START_TEST(test_attention_meets_its_twin)
{
    static const unsigned lens[] = {1, 2, 15, 16, 17, 100, 255, 256, 257, 600};
    const struct ulm_kernels *kernels;
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
        for (unsigned heads = 1; heads <= ULM_ATTEND_HEADS; heads++)
            for (size_t l = 0; l < sizeof lens / sizeof *lens; l++) {
                compare_attention(kernels, heads, 64, lens[l]);
                compare_attention(kernels, heads, 10, lens[l]);
                compare_attention(kernels, heads, 128, lens[l]);
            }
}
END_TEST

START_TEST(test_log_sum_meets_its_twin)
{
    enum { MOST = 1300 };
    static const unsigned ns[] = {1, 2, 15, 16, 31, 32, 33, 63, 64, 65, 255, 256, 257, 300, 1299};
    const struct ulm_kernels *kernels;
    float *x = room(MOST * sizeof *x);
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
        for (size_t s = 0; s < sizeof ns / sizeof *ns; s++)
            for (unsigned turn = 0; turn < 20; turn++) {
                unsigned n = ns[s];
                size_t got_top, want_top;
                fill(x, n);
                for (unsigned i = 0; i < n; i++)
                    x[i] *= turn % 2 ? 200.0f : 3.0f;
                if (turn > 10) /* the largest twice: the first counts */
                    x[turn * 7 % n] = x[turn * 71 % n] = 250.0f;
                if (turn == 15 && n > 1)
                    x[0] = -INFINITY;
                float got = kernels->log_sum(x, n, &got_top);
                float want = ulm_kernels_scalar.log_sum(x, n, &want_top);
                ck_assert_uint_eq(got_top, want_top);
                ck_assert_double_le(fabsf(got - want), 2e-6f * (1 + fabsf(want)));
                x[turn * 37 % n] = turn % 2 ? NAN : INFINITY;
                ck_assert(isnan(kernels->log_sum(x, n, &got_top)));
                ck_assert_uint_lt(got_top, n);
            }
    free(x);
}
END_TEST

START_TEST(test_pick_knows_its_names)
{
    const struct ulm_kernels *kernels = NULL;
    unsetenv("ULM_KERNELS");
    ck_assert_int_eq(ulm_kernels_pick("scalar", &kernels), 0);
    ck_assert_ptr_eq(kernels, &ulm_kernels_scalar);
    ck_assert_int_eq(ulm_kernels_pick("auto", &kernels), 0);
    ck_assert_int_lt(ulm_kernels_pick("mmx", &kernels), 0);
#if defined(__x86_64__)
    ck_assert_int_lt(ulm_kernels_pick("neon", &kernels), 0);
#endif
    setenv("ULM_KERNELS", "scalar", 1);
    ck_assert_int_eq(ulm_kernels_pick("auto", &kernels), 0);
    ck_assert_ptr_eq(kernels, &ulm_kernels_scalar);
    unsetenv("ULM_KERNELS");
}
END_TEST

UNIT_MAIN("kernels", test_matmul_meets_its_twin, test_float_matrices_of_any_width,
          test_openblas_meets_the_twin,
          test_quantise_edges, test_norm_swiglu_and_rope_meet_their_twins,
          test_attention_meets_its_twin, test_log_sum_meets_its_twin, test_pick_knows_its_names)
