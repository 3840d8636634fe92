/* SPDX-License-Identifier: MIT */
/* AVX-512 with VNNI: vpdpbusd takes 64 products an instruction. */
#include <immintrin.h>

#include "engine/kernels.h"

#define ULM_LANES 16
#define ULM_FLOAT_ROWS 6
typedef __m512 vec;

static inline vec vec_load(const float *x) { return _mm512_loadu_ps(x); }
static inline void vec_store(float *x, vec v) { _mm512_storeu_ps(x, v); }
static inline vec vec_all(float x) { return _mm512_set1_ps(x); }
static inline vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec vec_div(vec a, vec b) { return _mm512_div_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline float vec_sum(vec v) { return _mm512_reduce_add_ps(v); }
static inline float vec_largest(vec v) { return _mm512_reduce_max_ps(v); }
static inline vec vec_round(vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vec vec_rotate(vec x, vec t)
{
    vec turned = _mm512_mul_ps(_mm512_permute_ps(x, 0xb1), _mm512_movehdup_ps(t));
    return _mm512_fmaddsub_ps(x, _mm512_moveldup_ps(t), turned);
}
static inline vec vec_power(vec n) { return _mm512_scalef_ps(_mm512_set1_ps(1), n); }
static inline vec vec_load_half(const uint16_t *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
}
static inline void vec_store_half(uint16_t *x, vec v)
{
    _mm256_storeu_si256((void *)x, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

#include "engine/kernels_float.h"

#define TILE 6u          /* activations of a tile: 12 sums and 12 dots fill the registers */
#define AHEAD (17u * 1024) /* bytes; where a pass is over in no time, memory must be asked early */

static void quantise(struct ulm_acts *a, unsigned first, unsigned last)
{
    size_t blocks = a->cols / ULM_BLOCK;
    for (size_t k = first * blocks; k < last * blocks; k++) {
        const float *x = a->x + k * ULM_BLOCK;
        __m512 low = vec_load(x), high = vec_load(x + 16);
        float largest = vec_largest(vec_max(_mm512_abs_ps(low), _mm512_abs_ps(high)));
        __m512 inverse = vec_all(largest > 0 ? 127.0f / largest : 0);
        __m512i q0 = _mm512_cvtps_epi32(vec_mul(low, inverse));
        __m512i q1 = _mm512_cvtps_epi32(vec_mul(high, inverse));
        int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(q0, q1));
        _mm_storeu_si128((void *)(a->q + k * ULM_BLOCK), _mm512_cvtepi32_epi8(q0));
        _mm_storeu_si128((void *)(a->q + k * ULM_BLOCK + 16), _mm512_cvtepi32_epi8(q1));
        a->scale[k] = largest / 127.0f;
        a->fix8[k] = -128 * sum;
        a->fix4[k] = -8 * sum;
    }
}

/* What a tile prefetches while it computes: `lines` cache lines a block, from `at` on. */
struct ahead {
    const uint8_t *at;
    unsigned lines;
};

/* 0, but not before `dot` is computed: an address that this is added to cannot be used earlier. */
ALWAYS uint64_t wait_for(__m512i dot)
{
    uint64_t zero = (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(dot));
    __asm__("and $0, %0" : "+r"(zero));
    return zero;
}

/* `rows` activations from row i on against group g. rows and q4 are constant where this is
 * inlined, so sums and dots are registers. One row of Q8_0 is bound by memory, and the core reads
 * it a fifth slower when it runs several blocks ahead of what has come: each block's loads wait
 * for half of the block before. */
ALWAYS void tile(const struct ulm_matrix *w, bool q4, unsigned g, const struct ulm_acts *a,
                 size_t i, unsigned rows, struct ahead ahead, float *out, size_t stride)
{
    size_t cols = w->cols, blocks = cols / ULM_BLOCK;
    const uint8_t *block = w->data + g * w->group_bytes;
    const int8_t *q = a->q + i * cols;
    const float *scale = a->scale + i * blocks;
    const int32_t *fix = (q4 ? a->fix4 : a->fix8) + i * blocks;
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512 sum[TILE][2];
    for (unsigned m = 0; m < rows; m++)
        sum[m][0] = sum[m][1] = vec_all(0);
    for (size_t b = 0; b < blocks; b++, block += q4 ? ULM_Q4_BLOCK : ULM_Q8_BLOCK) {
        __m512i dot[TILE][2];
        uint64_t pace = 0;
#pragma GCC unroll 17
        for (unsigned l = 0; l < ahead.lines; l++, ahead.at += 64)
            _mm_prefetch(ahead.at, _MM_HINT_T0);
        for (unsigned m = 0; m < rows; m++)
            dot[m][0] = dot[m][1] = _mm512_set1_epi32(fix[m * blocks + b]);
#pragma GCC unroll 8
        for (unsigned j = 0; j < 8; j++) {
            const uint8_t *line = block + ULM_SCALES + (q4 ? j % 4 : j) * 128;
            __m512i low = _mm512_load_si512(line), high = _mm512_load_si512(line + 64);
            if (q4) {
                if (j >= 4) {
                    low = _mm512_srli_epi16(low, 4);
                    high = _mm512_srli_epi16(high, 4);
                }
                low = _mm512_and_si512(low, nibble);
                high = _mm512_and_si512(high, nibble);
            }
            for (unsigned m = 0; m < rows; m++) {
                int32_t four;
                memcpy(&four, q + m * cols + b * ULM_BLOCK + j * 4, sizeof four);
                __m512i x = _mm512_set1_epi32(four);
                dot[m][0] = _mm512_dpbusd_epi32(dot[m][0], low, x);
                dot[m][1] = _mm512_dpbusd_epi32(dot[m][1], high, x);
            }
            if (rows == 1 && !q4 && j == 3)
                pace = wait_for(dot[0][1]);
        }
        block += pace;
        ahead.at += pace;
        q += pace;
        __m512 low = vec_load_half((const uint16_t *)(const void *)block);
        __m512 high = vec_load_half((const uint16_t *)(const void *)block + 16);
        for (unsigned m = 0; m < rows; m++) {
            __m512 x = vec_all(scale[m * blocks + b]);
            sum[m][0] = vec_fma(_mm512_cvtepi32_ps(dot[m][0]), vec_mul(low, x), sum[m][0]);
            sum[m][1] = vec_fma(_mm512_cvtepi32_ps(dot[m][1]), vec_mul(high, x), sum[m][1]);
        }
    }
    for (unsigned m = 0; m < rows; m++) {
        vec_store(out + (i + m) * stride + (size_t)g * ULM_GROUP, sum[m][0]);
        vec_store(out + (i + m) * stride + (size_t)g * ULM_GROUP + 16, sum[m][1]);
    }
}

/* The rows in even tiles. With several tiles a group, each prefetches its share of the next group;
 * with one, memory is the bound, and lines are asked for some microseconds ahead. Groups and
 * matrices stand in the order of use, so running over the end is right, too. */
ALWAYS void matmul_blocks(const struct ulm_matrix *w, bool q4, unsigned first, unsigned last,
                          const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    unsigned tiles = (n + TILE - 1) / TILE;
    unsigned lines = (q4 ? ULM_Q4_BLOCK : ULM_Q8_BLOCK) / 64, share = (lines + tiles - 1) / tiles;
    size_t distance = tiles > 1 || w->group_bytes < AHEAD ? w->group_bytes : AHEAD;
    for (unsigned g = first; g < last; g++) {
        struct ahead ahead = {w->data + g * w->group_bytes + distance, share};
        if (n == 1 && !q4) {
            ahead.lines = ULM_Q8_BLOCK / 64; /* the compiler shall know how many */
            tile(w, q4, g, a, 0, 1, ahead, out, stride);
            continue;
        }
        for (unsigned t = 0, i = 0, rows; t < tiles; t++, i += rows) {
            rows = (n - i + tiles - t - 1) / (tiles - t);
            switch (rows) {
            case 1:
                tile(w, q4, g, a, i, 1, ahead, out, stride);
                break;
            case 2:
                tile(w, q4, g, a, i, 2, ahead, out, stride);
                break;
            case 3:
                tile(w, q4, g, a, i, 3, ahead, out, stride);
                break;
            case 4:
                tile(w, q4, g, a, i, 4, ahead, out, stride);
                break;
            case 5:
                tile(w, q4, g, a, i, 5, ahead, out, stride);
                break;
            case 6:
                tile(w, q4, g, a, i, 6, ahead, out, stride);
                break;
            }
            ahead.at += (size_t)share * 64 * (w->cols / ULM_BLOCK);
        }
    }
}

static void matmul_q8(const struct ulm_matrix *w, unsigned first, unsigned last,
                      const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    matmul_blocks(w, false, first, last, a, n, out, stride);
}

static void matmul_q4(const struct ulm_matrix *w, unsigned first, unsigned last,
                      const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    matmul_blocks(w, true, first, last, a, n, out, stride);
}

const struct ulm_kernels ulm_kernels_avx512 = {
    .name = "avx512",
    .q8_flip = 0x80,
    .q8 = matmul_q8,
    .q4 = matmul_q4,
    .f16 = matmul_f16,
    .f32 = matmul_f32,
    .quantise = quantise,
    .add = add,
    .norm = norm,
    .swiglu = swiglu,
    .rope = rope,
    .store_f16 = store_f16,
    .attend_f16 = attend_f16,
    .attend_f32 = attend_f32,
    .log_sum = log_sum,
};
