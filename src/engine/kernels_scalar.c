/* SPDX-License-Identifier: MIT */
/* The plain C twin: it defines what every other table computes. Always built, never clever. */
#include "engine/kernels.h"

#include <math.h>
#include <string.h>

#include "engine/half.h"

static float half_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, 2);
    return ulm_half_to_float(half);
}

/* sum += the products of one block of a group with 32 activations x of one row */
static void dot_q8(const uint8_t *block, const int8_t *x, float x_scale, float sum[ULM_GROUP])
{
    const int8_t *w = (const int8_t *)block + ULM_SCALES;
    for (unsigned r = 0; r < ULM_GROUP; r++) {
        int32_t dot = 0;
        for (unsigned c = 0; c < ULM_BLOCK; c++)
            dot += w[c / 4 * ULM_GROUP * 4 + r * 4 + c % 4] * x[c];
        sum[r] += (float)dot * (half_at(block + r * 2) * x_scale);
    }
}

static void dot_q4(const uint8_t *block, const int8_t *x, float x_scale, float sum[ULM_GROUP])
{
    const uint8_t *w = block + ULM_SCALES;
    for (unsigned r = 0; r < ULM_GROUP; r++) {
        int32_t dot = 0;
        for (unsigned c = 0; c < 16; c++) {
            int two = w[c / 4 * ULM_GROUP * 4 + r * 4 + c % 4];
            dot += ((two & 15) - 8) * x[c] + ((two >> 4) - 8) * x[c + 16];
        }
        sum[r] += (float)dot * (half_at(block + r * 2) * x_scale);
    }
}

static void matmul_blocks(const struct ulm_matrix *w, unsigned first, unsigned last,
                          const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    size_t blocks = w->cols / ULM_BLOCK, block_bytes = w->group_bytes / blocks;
    for (unsigned g = first; g < last; g++)
        for (size_t i = 0; i < n; i++) {
            const uint8_t *block = w->data + g * w->group_bytes;
            float sum[ULM_GROUP] = {0};
            for (size_t k = i * blocks; k < (i + 1) * blocks; k++, block += block_bytes) {
                if (w->type == ULM_TYPE_Q8_0)
                    dot_q8(block, a->q + k * ULM_BLOCK, a->scale[k], sum);
                else
                    dot_q4(block, a->q + k * ULM_BLOCK, a->scale[k], sum);
            }
            memcpy(out + i * stride + (size_t)g * ULM_GROUP, sum, sizeof sum);
        }
}

static void matmul_f16(const struct ulm_matrix *w, unsigned first, unsigned last,
                       const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    for (unsigned g = first; g < last; g++) {
        const uint8_t *group = w->data + g * w->group_bytes;
        for (unsigned i = 0; i < n; i++) {
            float sum[ULM_GROUP] = {0};
            for (size_t c = 0; c < w->cols; c++)
                for (unsigned r = 0; r < ULM_GROUP; r++)
                    sum[r] += half_at(group + (c * ULM_GROUP + r) * 2) * a->x[i * w->cols + c];
            memcpy(out + i * stride + (size_t)g * ULM_GROUP, sum, sizeof sum);
        }
    }
}

static void matmul_f32(const struct ulm_matrix *w, unsigned first, unsigned last,
                       const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    for (unsigned g = first; g < last; g++) {
        const float *group = (const void *)(w->data + g * w->group_bytes);
        for (unsigned i = 0; i < n; i++) {
            float sum[ULM_GROUP] = {0};
            for (size_t c = 0; c < w->cols; c++)
                for (unsigned r = 0; r < ULM_GROUP; r++)
                    sum[r] += group[c * ULM_GROUP + r] * a->x[i * w->cols + c];
            memcpy(out + i * stride + (size_t)g * ULM_GROUP, sum, sizeof sum);
        }
    }
}

static void quantise(struct ulm_acts *a, unsigned first, unsigned last)
{
    size_t blocks = a->cols / ULM_BLOCK;
    for (size_t k = first * blocks; k < last * blocks; k++) {
        const float *x = a->x + k * ULM_BLOCK;
        float largest = 0;
        for (unsigned c = 0; c < ULM_BLOCK; c++)
            largest = fmaxf(largest, fabsf(x[c]));
        float inverse = largest > 0 ? 127.0f / largest : 0;
        int32_t sum = 0;
        for (unsigned c = 0; c < ULM_BLOCK; c++) {
            int8_t q = (int8_t)rintf(x[c] * inverse);
            a->q[k * ULM_BLOCK + c] = q;
            sum += q;
        }
        a->scale[k] = largest / 127.0f;
        a->fix8[k] = -128 * sum;
        a->fix4[k] = -8 * sum;
    }
}

static void add(float *x, const float *delta, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        x[i] += delta[i];
}

static void norm(const float *x, const float *weight, unsigned n, float eps, float *out)
{
    float sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)n + eps);
    for (unsigned i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static void swiglu(float *gate, const float *up, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void rope(float *x, unsigned heads, unsigned head_dim, const float *table)
{
    for (unsigned h = 0; h < heads; h++, x += head_dim)
        for (unsigned i = 0; i < head_dim; i += 2) {
            float re = x[i], im = x[i + 1];
            x[i] = re * table[i] - im * table[i + 1];
            x[i + 1] = re * table[i + 1] + im * table[i];
        }
}

static float cell(const void *cells, int half, size_t i)
{
    return half ? ulm_half_to_float(((const uint16_t *)cells)[i]) : ((const float *)cells)[i];
}

static void store_f16(const float *k, const float *v, unsigned head_dim, uint16_t *key,
                      uint16_t *value)
{
    for (unsigned d = 0; d < head_dim; d++) {
        key[d * 16] = ulm_half_from_float(k[d]);
        value[d] = ulm_half_from_float(v[d]);
    }
}

/* In one pass: whenever a larger score comes, what was summed so far is scaled down. */
static void attend(const struct ulm_attention *a, int half)
{
    for (unsigned h = 0; h < a->heads; h++) {
        const float *q = a->q + (size_t)h * a->head_dim;
        float *out = a->out + (size_t)h * a->head_dim;
        float largest = -INFINITY, total = 0;
        memset(out, 0, a->head_dim * sizeof *out);
        for (unsigned p = 0; p < a->len; p++) {
            size_t key = (size_t)(p / 16) * a->head_dim * 16 + p % 16;
            float score = 0;
            for (unsigned d = 0; d < a->head_dim; d++)
                score += q[d] * cell(a->keys, half, key + (size_t)d * 16);
            score *= a->scale;
            float keep = score > largest ? expf(largest - score) : 1.0f;
            largest = fmaxf(largest, score);
            float share = expf(score - largest);
            total = total * keep + share;
            for (unsigned d = 0; d < a->head_dim; d++)
                out[d] = out[d] * keep +
                         share * cell(a->values, half, (size_t)p * a->head_dim + d);
        }
        for (unsigned d = 0; d < a->head_dim; d++)
            out[d] /= total;
    }
}

static void attend_f16(const struct ulm_attention *a)
{
    attend(a, 1);
}

static void attend_f32(const struct ulm_attention *a)
{
    attend(a, 0);
}

static float log_sum(const float *x, size_t n, size_t *ret_top)
{
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        top = x[i] > x[top] ? i : top;
    double sum = (double)expf(x[0] - x[top]);
    for (size_t i = 1; i < n; i++)
        sum += (double)expf(x[i] - x[top]);
    *ret_top = top;
    return x[top] + (float)log(sum);
}

const struct ulm_kernels ulm_kernels_scalar = {
    .name = "scalar",
    .q8 = matmul_blocks,
    .q4 = matmul_blocks,
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
