/* SPDX-License-Identifier: MIT */
/*
 * The float kernels, written once over a vector of ULM_LANES floats. A file of one instruction
 * set defines these and includes this text after them:
 *
 *   vec                        ULM_LANES floats (16 % ULM_LANES == 0)
 *   ULM_FLOAT_ROWS             activations of a float tile, as the registers allow
 *   vec_load vec_store         unaligned
 *   vec_load_half              ULM_LANES halfs to floats; vec_store_half the way back
 *   vec_all vec_add vec_mul vec_div vec_max, vec_fma(a, b, c) = a * b + c
 *   vec_sum vec_largest        across the lanes, in a fixed order
 *   vec_round                  to the nearest whole number
 *   vec_rotate(x, t)           pairs (re, im) of x times pairs (cos, sin) of t
 *   vec_power                  2^n for whole n in -126..127
 *
 * It is a template, not an interface, so it has no include guard of its own use beyond this one.
 */
#ifndef ULM_ENGINE_KERNELS_FLOAT_H
#define ULM_ENGINE_KERNELS_FLOAT_H

#include <math.h>
#include <string.h>

#include "engine/kernels.h"

#define PARTS (16 / ULM_LANES)            /* vectors of 16 positions of a key group */
#define WIDE (ULM_GROUP / ULM_LANES)      /* vectors of a group of rows */
#define ALWAYS static inline __attribute__((always_inline))

/* e^x for x <= 88, nearly 0 far below; the polynomial's relative error is under 2e-7. */
ALWAYS vec vec_exp(vec x)
{
    x = vec_max(vec_all(-87.0f), x); /* in this order a NaN stays one, on x86, too */
    vec n = vec_round(vec_mul(x, vec_all(1.44269504f)));
    vec r = vec_fma(n, vec_all(-0.693359375f), x); /* ln 2 in two parts: the first is exact */
    r = vec_fma(n, vec_all(2.12194440e-4f), r);
    vec p = vec_all(1.9875691500e-4f);
    p = vec_fma(p, r, vec_all(1.3981999507e-3f));
    p = vec_fma(p, r, vec_all(8.3334519073e-3f));
    p = vec_fma(p, r, vec_all(4.1665795894e-2f));
    p = vec_fma(p, r, vec_all(1.6666665459e-1f));
    p = vec_fma(p, r, vec_all(5.0000001201e-1f));
    p = vec_fma(p, vec_mul(r, r), vec_add(r, vec_all(1.0f)));
    return vec_mul(p, vec_power(n));
}

/* Loads or stores the first n < ULM_LANES floats; the other lanes are zero. */
ALWAYS vec vec_load_some(const float *x, unsigned n)
{
    float some[ULM_LANES] = {0};
    memcpy(some, x, n * sizeof *x);
    return vec_load(some);
}

ALWAYS void vec_store_some(float *x, vec v, unsigned n)
{
    float some[ULM_LANES];
    vec_store(some, v);
    memcpy(x, some, n * sizeof *x);
}

static void norm(const float *x, const float *weight, unsigned n, float eps, float *out)
{
    unsigned whole = n / ULM_LANES * ULM_LANES, rest = n - whole, i;
    vec sum = vec_all(0);
    for (i = 0; i < whole; i += ULM_LANES)
        sum = vec_fma(vec_load(x + i), vec_load(x + i), sum);
    if (rest > 0)
        sum = vec_fma(vec_load_some(x + i, rest), vec_load_some(x + i, rest), sum);
    vec scale = vec_all(1.0f / sqrtf(vec_sum(sum) / (float)n + eps));
    for (i = 0; i < whole; i += ULM_LANES)
        vec_store(out + i, vec_mul(vec_mul(vec_load(x + i), scale), vec_load(weight + i)));
    for (; i < n; i++)
        out[i] = x[i] * (1.0f / sqrtf(vec_sum(sum) / (float)n + eps)) * weight[i];
}

ALWAYS vec swiglu_vec(vec gate, vec up)
{
    /* Clamped so that e^-x stays finite; beyond it the result is 0 in float anyway. */
    vec minus = vec_mul(vec_max(gate, vec_all(-88.0f)), vec_all(-1.0f));
    return vec_mul(vec_div(gate, vec_add(vec_all(1.0f), vec_exp(minus))), up);
}

static void swiglu(float *gate, const float *up, unsigned n)
{
    unsigned i;
    for (i = 0; i + ULM_LANES <= n; i += ULM_LANES)
        vec_store(gate + i, swiglu_vec(vec_load(gate + i), vec_load(up + i)));
    if (i < n)
        vec_store_some(gate + i,
                       swiglu_vec(vec_load_some(gate + i, n - i), vec_load_some(up + i, n - i)),
                       n - i);
}

static void add(float *x, const float *delta, unsigned n)
{
    unsigned i = 0;
    for (; i + ULM_LANES <= n; i += ULM_LANES)
        vec_store(x + i, vec_add(vec_load(x + i), vec_load(delta + i)));
    for (; i < n; i++)
        x[i] += delta[i];
}

static void rope(float *x, unsigned heads, unsigned head_dim, const float *table)
{
    unsigned whole = head_dim / ULM_LANES * ULM_LANES;
    for (unsigned h = 0; h < heads; h++, x += head_dim) {
        for (unsigned i = 0; i < whole; i += ULM_LANES)
            vec_store(x + i, vec_rotate(vec_load(x + i), vec_load(table + i)));
        for (unsigned i = whole; i < head_dim; i += 2) {
            float re = x[i], im = x[i + 1];
            x[i] = re * table[i] - im * table[i + 1];
            x[i + 1] = re * table[i + 1] + im * table[i];
        }
    }
}

/* `rows` activations against one group; half is a constant where this is inlined. */
ALWAYS void float_tile(const uint8_t *group, bool half, unsigned cols, const float *x,
                       unsigned rows, float *out, size_t stride)
{
    vec sum[ULM_FLOAT_ROWS][WIDE];
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < WIDE; p++)
            sum[m][p] = vec_all(0);
    for (size_t c = 0; c < cols; c++) {
        vec w[WIDE];
        for (unsigned p = 0; p < WIDE; p++)
            w[p] = half ? vec_load_half((const uint16_t *)(const void *)group + c * ULM_GROUP +
                                        p * ULM_LANES)
                        : vec_load((const float *)(const void *)group + c * ULM_GROUP +
                                   p * ULM_LANES);
        for (unsigned m = 0; m < rows; m++) {
            vec a = vec_all(x[m * (size_t)cols + c]);
            for (unsigned p = 0; p < WIDE; p++)
                sum[m][p] = vec_fma(w[p], a, sum[m][p]);
        }
    }
    for (unsigned m = 0; m < rows; m++)
        for (unsigned p = 0; p < WIDE; p++)
            vec_store(out + m * stride + p * ULM_LANES, sum[m][p]);
}

ALWAYS void float_matmul(const struct ulm_matrix *w, bool half, unsigned first, unsigned last,
                         const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    for (unsigned g = first; g < last; g++) {
        const uint8_t *group = w->data + g * w->group_bytes;
        float *to = out + (size_t)g * ULM_GROUP;
        unsigned i = 0;
        for (; i + ULM_FLOAT_ROWS <= n; i += ULM_FLOAT_ROWS)
            float_tile(group, half, w->cols, a->x + (size_t)i * w->cols, ULM_FLOAT_ROWS,
                       to + i * stride, stride);
        for (; i < n; i++)
            float_tile(group, half, w->cols, a->x + (size_t)i * w->cols, 1, to + i * stride,
                       stride);
    }
}

static void matmul_f16(const struct ulm_matrix *w, unsigned first, unsigned last,
                       const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    float_matmul(w, true, first, last, a, n, out, stride);
}

static void matmul_f32(const struct ulm_matrix *w, unsigned first, unsigned last,
                       const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    float_matmul(w, false, first, last, a, n, out, stride);
}

static void store_f16(const float *k, const float *v, unsigned head_dim, uint16_t *key,
                      uint16_t *value)
{
    unsigned d = 0;
    uint16_t some[ULM_LANES];
    for (; d + ULM_LANES <= head_dim; d += ULM_LANES) {
        vec_store_half(value + d, vec_load(v + d));
        vec_store_half(some, vec_load(k + d));
        for (unsigned l = 0; l < ULM_LANES; l++)
            key[(d + l) * 16] = some[l];
    }
    if (d == head_dim)
        return;
    vec_store_half(some, vec_load_some(v + d, head_dim - d));
    memcpy(value + d, some, (head_dim - d) * sizeof *some);
    vec_store_half(some, vec_load_some(k + d, head_dim - d));
    for (unsigned l = 0; d + l < head_dim; l++)
        key[(d + l) * 16] = some[l];
}

#define SPAN 256u /* positions whose scores are kept at once */

/* So many sums at once that a processor's multiply-adds need not wait for one another: for scores,
 * groups of 16 positions; for values, vectors of dimensions. */
#define GROUPS (PARTS == 1 ? 2u : 1u)
#define VALUES (ULM_LANES == 4 ? 4u : 2u)

/* Scores of `groups` key groups from position `from + at` on, for every head. */
ALWAYS void attend_groups(const struct ulm_attention *a, bool half, unsigned from, unsigned at,
                          unsigned groups, unsigned heads, float scores[][SPAN])
{
    size_t first = (size_t)(from + at) * a->head_dim, group = (size_t)a->head_dim * 16;
    vec sum[ULM_ATTEND_HEADS][GROUPS * PARTS];
    for (unsigned h = 0; h < heads; h++)
        for (unsigned p = 0; p < groups * PARTS; p++)
            sum[h][p] = vec_all(0);
    for (size_t d = 0; d < a->head_dim; d++) {
        vec key[GROUPS * PARTS];
        for (unsigned p = 0; p < groups * PARTS; p++) {
            size_t cell = first + p / PARTS * group + d * 16 + p % PARTS * ULM_LANES;
            key[p] = half ? vec_load_half((const uint16_t *)a->keys + cell)
                          : vec_load((const float *)a->keys + cell);
        }
        for (unsigned h = 0; h < heads; h++) {
            vec q = vec_all(a->q[h * (size_t)a->head_dim + d]);
            for (unsigned p = 0; p < groups * PARTS; p++)
                sum[h][p] = vec_fma(q, key[p], sum[h][p]);
        }
    }
    for (unsigned h = 0; h < heads; h++)
        for (unsigned p = 0; p < groups * PARTS; p++)
            vec_store(&scores[h][at + p * ULM_LANES], vec_mul(sum[h][p], vec_all(a->scale)));
}

/* Scores of positions [from, from + n) for every head, then their softmax against the largest so
 * far. Lanes beyond n are -infinity, so their share is 0. */
ALWAYS void attend_scores(const struct ulm_attention *a, bool half, unsigned from, unsigned n,
                          unsigned heads, float scores[][SPAN])
{
    unsigned g = 0;
    for (; g + 16 * (GROUPS - 1) < n; g += 16 * GROUPS)
        attend_groups(a, half, from, g, GROUPS, heads, scores);
    for (; g < n; g += 16)
        attend_groups(a, half, from, g, 1, heads, scores);
    for (unsigned h = 0; h < heads; h++)
        for (unsigned p = n; p % 16 != 0; p++)
            scores[h][p] = -INFINITY;
}

/* scores become shares; returns their sum. */
ALWAYS float attend_shares(float *scores, unsigned n, float largest)
{
    vec total = vec_all(0), minus = vec_all(-largest);
    for (unsigned p = 0; p < n; p += ULM_LANES) {
        vec share = vec_exp(vec_add(vec_load(scores + p), minus));
        vec_store(scores + p, share);
        total = vec_add(total, share);
    }
    return vec_sum(total);
}

/* ULM_LANES values of a position from dimension d on, or the `width` that are left; the other lanes
 * are zero. */
ALWAYS vec attend_value(const struct ulm_attention *a, bool half, size_t at, unsigned width)
{
    if (half && width < ULM_LANES) {
        uint16_t some[ULM_LANES] = {0};
        memcpy(some, (const uint16_t *)a->values + at, width * sizeof *some);
        return vec_load_half(some);
    }
    if (half)
        return vec_load_half((const uint16_t *)a->values + at);
    const float *value = (const float *)a->values + at;
    return width < ULM_LANES ? vec_load_some(value, width) : vec_load(value);
}

/* out += share * value over n positions, for `vecs` vectors of dimensions at d; the only one may
 * be of `width` < ULM_LANES. */
ALWAYS void attend_values(const struct ulm_attention *a, bool half, unsigned from, unsigned n,
                          unsigned heads, unsigned d, unsigned vecs, unsigned width,
                          float scores[][SPAN])
{
    vec sum[ULM_ATTEND_HEADS][VALUES];
    for (unsigned h = 0; h < heads; h++)
        for (unsigned v = 0; v < vecs; v++) {
            const float *out = a->out + h * (size_t)a->head_dim + d + v * ULM_LANES;
            sum[h][v] = width == ULM_LANES ? vec_load(out) : vec_load_some(out, width);
        }
    for (unsigned p = 0; p < n; p++) {
        size_t at = (size_t)(from + p) * a->head_dim + d;
        vec value[VALUES];
        for (unsigned v = 0; v < vecs; v++)
            value[v] = attend_value(a, half, at + v * ULM_LANES, width);
        for (unsigned h = 0; h < heads; h++) {
            vec share = vec_all(scores[h][p]);
            for (unsigned v = 0; v < vecs; v++)
                sum[h][v] = vec_fma(share, value[v], sum[h][v]);
        }
    }
    for (unsigned h = 0; h < heads; h++)
        for (unsigned v = 0; v < vecs; v++) {
            float *out = a->out + h * (size_t)a->head_dim + d + v * ULM_LANES;
            if (width == ULM_LANES)
                vec_store(out, sum[h][v]);
            else
                vec_store_some(out, sum[h][v], width);
        }
}

ALWAYS void attend_some(const struct ulm_attention *a, bool half, unsigned heads)
{
    float scores[ULM_ATTEND_HEADS][SPAN];
    float largest[ULM_ATTEND_HEADS], total[ULM_ATTEND_HEADS];
    memset(a->out, 0, (size_t)heads * a->head_dim * sizeof *a->out);
    for (unsigned h = 0; h < heads; h++) {
        largest[h] = -INFINITY;
        total[h] = 0;
    }
    for (unsigned from = 0; from < a->len; from += SPAN) {
        unsigned n = a->len - from < SPAN ? a->len - from : SPAN;
        attend_scores(a, half, from, n, heads, scores);
        for (unsigned h = 0; h < heads; h++) {
            vec top = vec_all(largest[h]);
            for (unsigned p = 0; p < n; p += ULM_LANES)
                top = vec_max(top, vec_load(&scores[h][p]));
            float now = vec_largest(top), keep = from > 0 ? expf(largest[h] - now) : 0;
            largest[h] = now;
            total[h] = total[h] * keep + attend_shares(scores[h], n, now);
            for (unsigned d = 0; from > 0 && d < a->head_dim; d++)
                a->out[h * (size_t)a->head_dim + d] *= keep;
        }
        unsigned d = 0;
        for (; d + VALUES * ULM_LANES <= a->head_dim; d += VALUES * ULM_LANES)
            attend_values(a, half, from, n, heads, d, VALUES, ULM_LANES, scores);
        for (; d + ULM_LANES <= a->head_dim; d += ULM_LANES)
            attend_values(a, half, from, n, heads, d, 1, ULM_LANES, scores);
        if (d < a->head_dim)
            attend_values(a, half, from, n, heads, d, 1, a->head_dim - d, scores);
    }
    for (unsigned h = 0; h < heads; h++) {
        float inverse = 1.0f / total[h];
        for (unsigned d = 0; d < a->head_dim; d++)
            a->out[h * (size_t)a->head_dim + d] *= inverse;
    }
}

ALWAYS void attend(const struct ulm_attention *a, bool half)
{
    switch (a->heads) {
    case 4:
        attend_some(a, half, 4);
        break;
    case 3:
        attend_some(a, half, 3);
        break;
    case 2:
        attend_some(a, half, 2);
        break;
    case 1:
        attend_some(a, half, 1);
        break;
    }
}

static void attend_f16(const struct ulm_attention *a)
{
    attend(a, true);
}

static void attend_f32(const struct ulm_attention *a)
{
    attend(a, false);
}

#define STRETCH 256u /* logits whose exponentials are added up as floats */

/* The largest of n floats; of a NaN anything may become. */
ALWAYS float largest_of(const float *x, size_t n)
{
    float top = x[0];
    size_t i = 0;
    if (n >= 2 * ULM_LANES) {
        vec a = vec_load(x), b = vec_load(x + ULM_LANES);
        for (i = 2 * ULM_LANES; i + 2 * ULM_LANES <= n; i += 2 * ULM_LANES) {
            a = vec_max(a, vec_load(x + i));
            b = vec_max(b, vec_load(x + i + ULM_LANES));
        }
        top = vec_largest(vec_max(a, b));
    }
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

/* Short sums are added up in doubles, so that a large vocabulary loses nothing. */
static float log_sum(const float *x, size_t n, size_t *ret_top)
{
    float top = -INFINITY;
    size_t place = 0;
    double sum = 0;
    for (size_t from = 0; from < n; from += STRETCH) {
        float most = largest_of(x + from, n - from < STRETCH ? n - from : STRETCH);
        place = most > top ? from : place;
        top = most > top ? most : top;
    }
    for (size_t from = 0; from < n; from += STRETCH) {
        size_t end = n - from < STRETCH ? n : from + STRETCH, i = from;
        vec a = vec_all(0), b = vec_all(0), minus = vec_all(-top);
        for (; i + 2 * ULM_LANES <= end; i += 2 * ULM_LANES) {
            a = vec_add(a, vec_exp(vec_add(vec_load(x + i), minus)));
            b = vec_add(b, vec_exp(vec_add(vec_load(x + i + ULM_LANES), minus)));
        }
        sum += (double)vec_sum(vec_add(a, b));
        for (; i < end; i++)
            sum += (double)expf(x[i] - top);
    }
    while (place + 1 < n && x[place] < top)
        place++;
    *ret_top = place;
    return top + (float)log(sum);
}

#endif
