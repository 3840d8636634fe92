/* SPDX-License-Identifier: MIT */
/*
 * AVX2 with FMA and F16C, built twice: ULM_VNNI adds AVX-VNNI's vpdpbusd. Without it, Q8_0 takes
 * |w| * (a with w's sign), because pairs of unsigned times signed bytes would overflow 16 bits;
 * Q4_0's nibbles are small enough that a whole block adds up in 16 bits.
 */
#include <immintrin.h>

#include "engine/kernels.h"

#define ULM_LANES 8
#define ULM_FLOAT_ROWS 2
typedef __m256 vec;

static inline vec vec_load(const float *x) { return _mm256_loadu_ps(x); }
static inline void vec_store(float *x, vec v) { _mm256_storeu_ps(x, v); }
static inline vec vec_all(float x) { return _mm256_set1_ps(x); }
static inline vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
static inline vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline float vec_sum(vec v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
static inline float vec_largest(vec v)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
static inline vec vec_round(vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vec vec_rotate(vec x, vec t)
{
    vec turned = _mm256_mul_ps(_mm256_permute_ps(x, 0xb1), _mm256_movehdup_ps(t));
    return _mm256_fmaddsub_ps(x, _mm256_moveldup_ps(t), turned);
}
static inline vec vec_power(vec n)
{
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
static inline vec vec_load_half(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)x));
}
static inline void vec_store_half(uint16_t *x, vec v)
{
    _mm_storeu_si128((void *)x, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

#include "engine/kernels_float.h"

#define TILE 4u          /* activations of a tile, against 16 rows of weights */
#define AHEAD (17u * 1024) /* bytes; where a pass is over in no time, memory must be asked early */

static void quantise(struct ulm_acts *a, unsigned first, unsigned last)
{
    const __m256 unsign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    size_t blocks = a->cols / ULM_BLOCK;
    for (size_t k = first * blocks; k < last * blocks; k++) {
        __m256 x[4], top = vec_all(0);
        __m256i q[4], all = _mm256_setzero_si256();
        for (unsigned p = 0; p < 4; p++) {
            x[p] = vec_load(a->x + k * ULM_BLOCK + p * 8);
            top = vec_max(top, _mm256_and_ps(x[p], unsign));
        }
        float largest = vec_largest(top);
        __m256 inverse = vec_all(largest > 0 ? 127.0f / largest : 0);
        for (unsigned p = 0; p < 4; p++) {
            q[p] = _mm256_cvtps_epi32(vec_mul(x[p], inverse));
            all = _mm256_add_epi32(all, q[p]);
        }
        /* The packs work within 128-bit halves: the permutation puts their quarters in order. */
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]),
                                           _mm256_packs_epi32(q[2], q[3]));
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((void *)(a->q + k * ULM_BLOCK), bytes);
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
        four = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
        int32_t sum = _mm_cvtsi128_si32(four) + _mm_extract_epi32(four, 1);
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

/* dot += the four products of each row's bytes w with x's; in 16 bits for a Q4_0 block. */
ALWAYS __m256i step(__m256i dot, __m256i w, __m256i x, bool q4)
{
#if ULM_VNNI
    (void)q4;
    return _mm256_dpbusd_avx_epi32(dot, w, x);
#else
    if (q4)
        return _mm256_add_epi16(dot, _mm256_maddubs_epi16(w, x));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

/* What dot starts from, and what it lacks in the end. */
ALWAYS __m256i dot_start(int32_t fix)
{
    return ULM_VNNI ? _mm256_set1_epi32(fix) : _mm256_setzero_si256();
}

ALWAYS __m256 dot_end(__m256i dot, int32_t fix, bool q4)
{
    if (!ULM_VNNI && q4)
        dot = _mm256_add_epi32(_mm256_madd_epi16(dot, _mm256_set1_epi16(1)),
                               _mm256_set1_epi32(fix));
    return _mm256_cvtepi32_ps(dot);
}

/* `rows` activations from row i on against `wide` vectors of group g, from vector v on. rows, wide
 * and q4 are constant where this is inlined. */
ALWAYS void tile(const struct ulm_matrix *w, bool q4, unsigned g, unsigned v, unsigned wide,
                 const struct ulm_acts *a, size_t i, unsigned rows, struct ahead ahead, float *out,
                 size_t stride)
{
    size_t cols = w->cols, blocks = cols / ULM_BLOCK;
    const uint8_t *block = w->data + g * w->group_bytes;
    const int8_t *q = a->q + i * cols;
    const float *scale = a->scale + i * blocks;
    const int32_t *fix = (q4 ? a->fix4 : a->fix8) + i * blocks;
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256 sum[TILE][4];
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            sum[m][p] = vec_all(0);
    for (size_t b = 0; b < blocks; b++, block += q4 ? ULM_Q4_BLOCK : ULM_Q8_BLOCK) {
        __m256i dot[TILE][4];
        for (unsigned l = 0; l < ahead.lines; l++, ahead.at += 64)
            _mm_prefetch(ahead.at, _MM_HINT_T0);
        for (unsigned m = 0; m < rows; m++)
            for (unsigned p = 0; p < wide; p++)
                dot[m][p] = dot_start(fix[m * blocks + b]);
#pragma GCC unroll 8
        for (unsigned j = 0; j < 8; j++) {
            __m256i line[4];
            for (unsigned p = 0; p < wide; p++) {
                line[p] = _mm256_load_si256((const void *)(block + ULM_SCALES +
                                                           (q4 ? j % 4 : j) * 128 + (v + p) * 32));
                if (q4 && j >= 4)
                    line[p] = _mm256_srli_epi16(line[p], 4);
                if (q4)
                    line[p] = _mm256_and_si256(line[p], nibble);
            }
            for (unsigned m = 0; m < rows; m++) {
                int32_t four;
                memcpy(&four, q + m * cols + b * ULM_BLOCK + j * 4, sizeof four);
                __m256i x = _mm256_set1_epi32(four);
                for (unsigned p = 0; p < wide; p++) {
                    dot[m][p] = step(dot[m][p], line[p], x, q4);
                    /* Without this GCC multiplies first and adds later, out of stack slots. */
                    __asm__("" : "+x"(dot[m][p]));
                }
            }
        }
        for (unsigned p = 0; p < wide; p++) {
            __m256 ws = vec_load_half((const uint16_t *)(const void *)block + (v + p) * 8);
            for (unsigned m = 0; m < rows; m++)
                sum[m][p] = vec_fma(dot_end(dot[m][p], fix[m * blocks + b], q4),
                                    vec_mul(ws, vec_all(scale[m * blocks + b])), sum[m][p]);
        }
    }
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            vec_store(out + (i + m) * stride + (size_t)g * ULM_GROUP + (v + p) * 8, sum[m][p]);
}

ALWAYS void tile_rows(const struct ulm_matrix *w, bool q4, unsigned g, unsigned v,
                      const struct ulm_acts *a, size_t i, unsigned rows, struct ahead ahead,
                      float *out, size_t stride)
{
    switch (rows) {
    case 1:
        tile(w, q4, g, v, 2, a, i, 1, ahead, out, stride);
        break;
    case 2:
        tile(w, q4, g, v, 2, a, i, 2, ahead, out, stride);
        break;
    case 3:
        tile(w, q4, g, v, 2, a, i, 3, ahead, out, stride);
        break;
    case 4:
        tile(w, q4, g, v, 2, a, i, 4, ahead, out, stride);
        break;
    }
}

/* One activation takes the group whole, several take it in halves of 16 rows, in even tiles. Each
 * pass prefetches its share of the next group; one alone runs ahead by AHEAD bytes at most. */
ALWAYS void matmul_blocks(const struct ulm_matrix *w, bool q4, unsigned first, unsigned last,
                          const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    unsigned tiles = (n + TILE - 1) / TILE, passes = n == 1 ? 1 : 2 * tiles;
    unsigned lines = (q4 ? ULM_Q4_BLOCK : ULM_Q8_BLOCK) / 64;
    unsigned share = (lines + passes - 1) / passes;
    size_t distance = n > 1 || w->group_bytes < AHEAD ? w->group_bytes : AHEAD;
    for (unsigned g = first; g < last; g++) {
        struct ahead ahead = {w->data + g * w->group_bytes + distance, share};
        if (n == 1) {
            tile(w, q4, g, 0, 4, a, 0, 1, ahead, out, stride);
            continue;
        }
        for (unsigned t = 0, i = 0, rows; t < tiles; t++, i += rows) {
            rows = (n - i + tiles - t - 1) / (tiles - t);
            for (unsigned v = 0; v < 4; v += 2) {
                tile_rows(w, q4, g, v, a, i, rows, ahead, out, stride);
                ahead.at += (size_t)share * 64 * (w->cols / ULM_BLOCK);
            }
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

#if ULM_VNNI
const struct ulm_kernels ulm_kernels_avx2_vnni = {
    .name = "avx2-vnni",
    .q8_flip = 0x80,
#else
const struct ulm_kernels ulm_kernels_avx2 = {
    .name = "avx2",
#endif
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
