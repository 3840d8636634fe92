/* SPDX-License-Identifier: MIT */
/*
 * NEON, built twice: ULM_DOTPROD uses the sdot instruction of ARMv8.2. Without it products are
 * 16-bit: two of Q8_0's fit (2 * 128 * 127), and a whole block of Q4_0's (16 * 15 * 127), before
 * they are added pairwise into 32 bits.
 */
#include <arm_neon.h>

#include "engine/kernels.h"

#define ULM_LANES 4
#define ULM_FLOAT_ROWS 2
typedef float32x4_t vec;

static inline vec vec_load(const float *x) { return vld1q_f32(x); }
static inline void vec_store(float *x, vec v) { vst1q_f32(x, v); }
static inline vec vec_all(float x) { return vdupq_n_f32(x); }
static inline vec vec_add(vec a, vec b) { return vaddq_f32(a, b); }
static inline vec vec_mul(vec a, vec b) { return vmulq_f32(a, b); }
static inline vec vec_div(vec a, vec b) { return vdivq_f32(a, b); }
static inline vec vec_max(vec a, vec b) { return vmaxq_f32(a, b); }
static inline vec vec_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
static inline float vec_sum(vec v) { return vaddvq_f32(v); }
static inline float vec_largest(vec v) { return vmaxvq_f32(v); }
static inline vec vec_round(vec v) { return vrndnq_f32(v); }
static inline vec vec_rotate(vec x, vec t)
{
    const float32x4_t sign = {-1, 1, -1, 1};
    vec turned = vmulq_f32(vmulq_f32(vrev64q_f32(x), vtrn2q_f32(t, t)), sign);
    return vfmaq_f32(turned, x, vtrn1q_f32(t, t));
}
static inline vec vec_power(vec n)
{
    int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
static inline vec vec_load_half(const uint16_t *x)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x)));
}
static inline void vec_store_half(uint16_t *x, vec v)
{
    vst1_u16(x, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

#include "engine/kernels_float.h"

#define VECS (ULM_GROUP / 4) /* vectors of 4 rows in a group */

#if ULM_DOTPROD
#define TILE 4u /* activations of a tile, against 16 rows of weights */
#else
#define TILE 2u
#endif

/* round(x * by), ties to even, eight of them */
ALWAYS int16x8_t eight(float32x4_t low, float32x4_t high, float by)
{
    return vcombine_s16(vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(low, by))),
                        vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(high, by))));
}

static void quantise(struct ulm_acts *a, unsigned first, unsigned last)
{
    size_t blocks = a->cols / ULM_BLOCK;
    for (size_t k = first * blocks; k < last * blocks; k++) {
        float32x4_t x[8], top = vec_all(0);
        for (unsigned p = 0; p < 8; p++) {
            x[p] = vld1q_f32(a->x + k * ULM_BLOCK + p * 4);
            top = vmaxq_f32(top, vabsq_f32(x[p]));
        }
        float largest = vmaxvq_f32(top);
        float inverse = largest > 0 ? 127.0f / largest : 0;
        int32_t sum = 0;
        for (unsigned p = 0; p < 8; p += 4) {
            int16x8_t low = eight(x[p], x[p + 1], inverse);
            int16x8_t high = eight(x[p + 2], x[p + 3], inverse);
            sum += vaddlvq_s16(vaddq_s16(low, high));
            vst1q_s8(a->q + k * ULM_BLOCK + p * 4, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        }
        a->scale[k] = largest / 127.0f;
        a->fix8[k] = -128 * sum;
        a->fix4[k] = -8 * sum;
    }
}

/* Line j of a block: 4 bytes of each of 4 rows, the p-th such vector; nibbles are 0..15. */
ALWAYS int8x16_t line(const uint8_t *block, bool q4, unsigned j, unsigned p)
{
    const uint8_t *at = block + ULM_SCALES + (q4 ? j % 4 : j) * ULM_GROUP * 4 + p * 16;
    uint8x16_t bytes = vld1q_u8(at);
    if (q4)
        bytes = j < 4 ? vandq_u8(bytes, vdupq_n_u8(15)) : vshrq_n_u8(bytes, 4);
    return vreinterpretq_s8_u8(bytes);
}

#if ULM_DOTPROD

ALWAYS int32x4_t dot_lane(int32x4_t dot, int8x16_t w, int8x16_t x, unsigned lane)
{
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(dot, w, x, 0);
    case 1:
        return vdotq_laneq_s32(dot, w, x, 1);
    case 2:
        return vdotq_laneq_s32(dot, w, x, 2);
    default:
        return vdotq_laneq_s32(dot, w, x, 3);
    }
}

/* dot[m][p] = the products of 4 rows' blocks with row m's activations, q[m * cols]. */
ALWAYS void block_dots(const uint8_t *block, bool q4, unsigned v, unsigned wide, const int8_t *q,
                       size_t cols, unsigned rows, int32x4_t dot[TILE][VECS])
{
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            dot[m][p] = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (unsigned half = 0; half < 2; half++) {
        int8x16_t x[TILE];
        for (unsigned m = 0; m < rows; m++)
            x[m] = vld1q_s8(q + m * cols + half * 16);
#pragma GCC unroll 4
        for (unsigned j = 0; j < 4; j++)
#pragma GCC unroll 8
            for (unsigned p = 0; p < wide; p++) {
                int8x16_t w = line(block, q4, half * 4 + j, v + p);
                for (unsigned m = 0; m < rows; m++)
                    dot[m][p] = dot_lane(dot[m][p], w, x[m], j);
            }
    }
}

#else

/* The four activations of line j, twice. */
ALWAYS int8x8_t four(const int8_t *q, unsigned j)
{
    int32_t bytes;
    memcpy(&bytes, q + j * 4, sizeof bytes);
    return vreinterpret_s8_s32(vdup_n_s32(bytes));
}

ALWAYS void block_dots_q8(const uint8_t *block, unsigned v, unsigned wide, const int8_t *q,
                          size_t cols, unsigned rows, int32x4_t dot[TILE][VECS])
{
    int32x4_t low[TILE][VECS], high[TILE][VECS]; /* rows 0 and 1, rows 2 and 3; two sums each */
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            low[m][p] = high[m][p] = vdupq_n_s32(0);
#pragma GCC unroll 4
    for (unsigned j = 0; j < 8; j += 2)
#pragma GCC unroll 8
        for (unsigned p = 0; p < wide; p++) {
            int8x16_t w0 = line(block, false, j, v + p), w1 = line(block, false, j + 1, v + p);
            for (unsigned m = 0; m < rows; m++) {
                int8x8_t x0 = four(q + m * cols, j), x1 = four(q + m * cols, j + 1);
                int16x8_t two = vmull_s8(vget_low_s8(w0), x0);
                low[m][p] = vpadalq_s16(low[m][p], vmlal_s8(two, vget_low_s8(w1), x1));
                two = vmull_s8(vget_high_s8(w0), x0);
                high[m][p] = vpadalq_s16(high[m][p], vmlal_s8(two, vget_high_s8(w1), x1));
            }
        }
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            dot[m][p] = vpaddq_s32(low[m][p], high[m][p]);
}

ALWAYS void block_dots_q4(const uint8_t *block, unsigned v, unsigned wide, const int8_t *q,
                          size_t cols, unsigned rows, int32x4_t dot[TILE][VECS])
{
    int16x8_t low[TILE][VECS], high[TILE][VECS]; /* rows 0 and 1, rows 2 and 3; four sums each */
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            low[m][p] = high[m][p] = vdupq_n_s16(0);
#pragma GCC unroll 8
    for (unsigned j = 0; j < 8; j++)
#pragma GCC unroll 8
        for (unsigned p = 0; p < wide; p++) {
            int8x16_t w = line(block, true, j, v + p);
            for (unsigned m = 0; m < rows; m++) {
                int8x8_t x = four(q + m * cols, j);
                low[m][p] = vmlal_s8(low[m][p], vget_low_s8(w), x);
                high[m][p] = vmlal_s8(high[m][p], vget_high_s8(w), x);
            }
        }
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            dot[m][p] = vpaddq_s32(vpaddlq_s16(low[m][p]), vpaddlq_s16(high[m][p]));
}

ALWAYS void block_dots(const uint8_t *block, bool q4, unsigned v, unsigned wide, const int8_t *q,
                       size_t cols, unsigned rows, int32x4_t dot[TILE][VECS])
{
    if (q4)
        block_dots_q4(block, v, wide, q, cols, rows, dot);
    else
        block_dots_q8(block, v, wide, q, cols, rows, dot);
}

#endif

/* `rows` activations from row i on against `wide` vectors of group g, from vector v on. rows, wide
 * and q4 are constant where this is inlined. */
ALWAYS void tile(const struct ulm_matrix *w, bool q4, unsigned g, unsigned v, unsigned wide,
                 const struct ulm_acts *a, size_t i, unsigned rows, float *out, size_t stride)
{
    size_t cols = w->cols, blocks = cols / ULM_BLOCK;
    const uint8_t *block = w->data + g * w->group_bytes;
    const int8_t *q = a->q + i * cols;
    const float *scale = a->scale + i * blocks;
    const int32_t *fix = a->fix4 + i * blocks;
    float32x4_t sum[TILE][VECS];
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            sum[m][p] = vec_all(0);
    for (size_t b = 0; b < blocks; b++, block += q4 ? ULM_Q4_BLOCK : ULM_Q8_BLOCK) {
        int32x4_t dot[TILE][VECS];
        block_dots(block, q4, v, wide, q + b * ULM_BLOCK, cols, rows, dot);
        for (unsigned p = 0; p < wide; p++) {
            vec ws = vec_load_half((const uint16_t *)(const void *)block + (v + p) * 4);
            for (unsigned m = 0; m < rows; m++) {
                if (q4)
                    dot[m][p] = vaddq_s32(dot[m][p], vdupq_n_s32(fix[m * blocks + b]));
                sum[m][p] = vec_fma(vcvtq_f32_s32(dot[m][p]),
                                    vmulq_n_f32(ws, scale[m * blocks + b]), sum[m][p]);
            }
        }
    }
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < wide; p++)
            vst1q_f32(out + (i + m) * stride + (size_t)g * ULM_GROUP + (v + p) * 4, sum[m][p]);
}

/* Half a group of 16 rows at a time; several activations in even tiles. */
ALWAYS void matmul_blocks(const struct ulm_matrix *w, bool q4, unsigned first, unsigned last,
                          const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    unsigned tiles = (n + TILE - 1) / TILE;
    for (unsigned g = first; g < last; g++)
        for (unsigned t = 0, i = 0, rows; t < tiles; t++, i += rows) {
            rows = (n - i + tiles - t - 1) / (tiles - t);
            for (unsigned v = 0; v < VECS; v += 4)
                switch (rows) {
                case 1:
                    tile(w, q4, g, v, 4, a, i, 1, out, stride);
                    break;
                case 2:
                    tile(w, q4, g, v, 4, a, i, 2, out, stride);
                    break;
#if ULM_DOTPROD
                case 3:
                    tile(w, q4, g, v, 4, a, i, 3, out, stride);
                    break;
                case 4:
                    tile(w, q4, g, v, 4, a, i, 4, out, stride);
                    break;
#endif
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

#if ULM_DOTPROD
const struct ulm_kernels ulm_kernels_dotprod = {
    .name = "dotprod",
#else
const struct ulm_kernels ulm_kernels_neon = {
    .name = "neon",
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
