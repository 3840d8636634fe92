/* SPDX-License-Identifier: MIT */
/* The parts of a training step that are no matrix product, each in one pass over memory. Compiled
 * at first use by fused.py for the CPU it runs on. bf16 is the upper half of a float. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;

static inline float wide(bf16 x)
{
    union { uint32_t u; float f; } v = {.u = (uint32_t)x << 16};
    return v.f;
}

static inline bf16 narrow(float x)
{
    union { float f; uint32_t u; } v = {.f = x};
    return (bf16)((v.u + 0x7FFF + (v.u >> 16 & 1)) >> 16);
}

/* x[n, h] += add[n, h] (may be NULL); out = x * rstd * w; rstd[n] = 1 / sqrt(mean(x^2) + eps) */
void add_norm(float *restrict x, const bf16 *restrict add, const float *restrict w,
              bf16 *restrict out, float *restrict rstd, size_t n, size_t h, float eps)
{
    for (size_t i = 0; i < n; i++, x += h, out += h) {
        float sum = 0;
        if (add) {
            for (size_t j = 0; j < h; j++)
                x[j] += wide(add[j]);
            add += h;
        }
        for (size_t j = 0; j < h; j++)
            sum += x[j] * x[j];
        float r = 1 / sqrtf(sum / (float)h + eps);
        rstd[i] = r;
        for (size_t j = 0; j < h; j++)
            out[j] = narrow(x[j] * r * w[j]);
    }
}

/* dx[n, h] += gradient of the norm for dout; dw[h] += its gradient; low = bf16(dx). */
void norm_back(float *restrict dx, const bf16 *restrict dout, const float *restrict x,
               const float *restrict rstd, const float *restrict w, float *restrict dw,
               bf16 *restrict low, size_t n, size_t h)
{
    for (size_t i = 0; i < n; i++, dx += h, dout += h, x += h, low += h) {
        float r = rstd[i], dot = 0;
        for (size_t j = 0; j < h; j++) {
            float d = wide(dout[j]);
            dw[j] += d * x[j] * r;
            dot += d * w[j] * x[j];
        }
        dot *= r * r / (float)h;
        for (size_t j = 0; j < h; j++) {
            dx[j] += r * (wide(dout[j]) * w[j] - x[j] * dot);
            low[j] = narrow(dx[j]);
        }
    }
}

/* gu[n, 2f] is gate and up side by side; act[n, f] = silu(gate) * up */
void swiglu(const bf16 *restrict gu, bf16 *restrict act, size_t n, size_t f)
{
    for (size_t i = 0; i < n; i++, gu += 2 * f, act += f) {
        for (size_t j = 0; j < f; j++) {
            float g = wide(gu[j]);
            act[j] = narrow(g / (1 + expf(-g)) * wide(gu[f + j]));
        }
    }
}

/* gu becomes the gradient of gate and up. */
void swiglu_back(bf16 *restrict gu, const bf16 *restrict dact, size_t n, size_t f)
{
    for (size_t i = 0; i < n; i++, gu += 2 * f, dact += f) {
        for (size_t j = 0; j < f; j++) {
            float g = wide(gu[j]), u = wide(gu[f + j]), d = wide(dact[j]);
            float s = 1 / (1 + expf(-g));
            gu[j] = narrow(d * u * s * (1 + g * (1 - s)));
            gu[f + j] = narrow(d * g * s);
        }
    }
}

/* z[n, v] logits become the gradient of weight[n] * cross entropy; each[n] the cross entropy. */
void cross_entropy(bf16 *restrict z, const int64_t *restrict target, const float *restrict weight,
                   float *restrict each, size_t n, size_t v)
{
    for (size_t i = 0; i < n; i++, z += v) {
        float max = -1e30f, sum = 0;
        for (size_t j = 0; j < v; j++) {
            float x = wide(z[j]);
            max = x > max ? x : max;
        }
        for (size_t j = 0; j < v; j++)
            sum += expf(wide(z[j]) - max);
        float lse = max + logf(sum), wt = weight[i];
        each[i] = lse - wide(z[target[i]]);
        float p = expf(wide(z[target[i]]) - lse);
        for (size_t j = 0; j < v; j++)
            z[j] = narrow(wt * expf(wide(z[j]) - lse));
        z[target[i]] = narrow(wt * (p - 1));
    }
}

/* One head of one sequence: rows of the packed qkv, stride apart -> float [t][d], rotated. */
static void load_rotated(const bf16 *restrict src, size_t stride, const float *restrict cs,
                         const float *restrict sn, float *restrict dst, size_t t, size_t d)
{
    for (size_t i = 0; i < t; i++, src += stride, dst += d) {
        const float *c = cs + i * (d / 2), *s = sn + i * (d / 2);
        for (size_t j = 0; j < d / 2; j++) {
            float a = wide(src[j]), b = wide(src[d / 2 + j]);
            dst[j] = a * c[j] - b * s[j];
            dst[d / 2 + j] = b * c[j] + a * s[j];
        }
    }
}

/* The inverse rotation of a gradient, stored as bf16 into packed rows. */
static void store_unrotated(bf16 *restrict dst, size_t stride, const float *restrict cs,
                            const float *restrict sn, const float *restrict src, size_t t, size_t d)
{
    for (size_t i = 0; i < t; i++, dst += stride, src += d) {
        const float *c = cs + i * (d / 2), *s = sn + i * (d / 2);
        for (size_t j = 0; j < d / 2; j++) {
            float a = src[j], b = src[d / 2 + j];
            dst[j] = narrow(a * c[j] + b * s[j]);
            dst[d / 2 + j] = narrow(b * c[j] - a * s[j]);
        }
    }
}

/* dst[d][p] = src[p][d] transposed */
static void transpose(const float *restrict src, float *restrict dst, size_t p, size_t d)
{
    for (size_t j = 0; j < d; j++)
        for (size_t i = 0; i < p; i++)
            dst[j * p + i] = src[i * d + j];
}

typedef float vec __attribute__((vector_size(64), aligned(64)));

/* Four rows of a product: c[4][n] (rows ldc apart) = sum over k in [from, to) of a[row * si + k * sk]
 * * b[k * ldb + 0..n), n a multiple of 16. */
static void product4(const float *restrict a, size_t si, size_t sk, const float *restrict b, size_t ldb,
                     float *restrict c, size_t ldc, size_t n, size_t from, size_t to)
{
    size_t j = 0;
    for (; j + 32 <= n; j += 32) {
        vec acc[4][2] = {0};
        for (size_t k = from; k < to; k++) {
            vec b0 = *(const vec *)(b + k * ldb + j), b1 = *(const vec *)(b + k * ldb + j + 16);
            for (size_t r = 0; r < 4; r++) {
                float x = a[r * si + k * sk];
                acc[r][0] += x * b0;
                acc[r][1] += x * b1;
            }
        }
        for (size_t r = 0; r < 4; r++) {
            *(vec *)(c + r * ldc + j) = acc[r][0];
            *(vec *)(c + r * ldc + j + 16) = acc[r][1];
        }
    }
    for (; j < n; j += 16) {
        vec acc[4] = {0};
        for (size_t k = from; k < to; k++) {
            vec b0 = *(const vec *)(b + k * ldb + j);
            for (size_t r = 0; r < 4; r++)
                acc[r] += a[r * si + k * sk] * b0;
        }
        for (size_t r = 0; r < 4; r++)
            *(vec *)(c + r * ldc + j) = acc[r];
    }
}

static inline size_t up16(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* s[p][p] = softmax of q kt below the diagonal, 0 elsewhere up to the next 16 columns */
static void scores(const float *restrict q, const float *restrict kt, float *restrict s, size_t t,
                   size_t p, size_t d)
{
    float scale = 1 / sqrtf((float)d);
    for (size_t i = 0; i < t; i += 4) {
        size_t m = up16(i + 4);
        product4(q + i * d, d, 1, kt, p, s + i * p, p, m, 0, d);
        for (size_t r = i; r < i + 4; r++) {
            float *row = s + r * p, max = -1e30f, sum = 0;
            size_t live = r < t ? r + 1 : 0;
            for (size_t j = 0; j < live; j++)
                max = row[j] > max ? row[j] : max;
            for (size_t j = 0; j < m; j++) {
                row[j] = j < live ? expf((row[j] - max) * scale) : 0;
                sum += row[j];
            }
            float inverse = live ? 1 / sum : 0;
            for (size_t j = 0; j < m; j++)
                row[j] *= inverse;
        }
    }
}

/* The gradients of one head: ds[p][p] = s * (go vt - rowsum(s * go vt)) / sqrt(d), then dq = ds k; dk and
 * dv gain dsT q and sT go. */
static void head_back(const float *restrict s, float *restrict ds, const float *restrict q,
                      const float *restrict k, const float *restrict vt, const float *restrict go,
                      float *restrict dq, float *restrict dk, float *restrict dv,
                      float *restrict tile, size_t t, size_t p, size_t d)
{
    float scale = 1 / sqrtf((float)d);
    size_t t4 = (t + 3) / 4 * 4;
    for (size_t i = 0; i < t; i += 4) {
        size_t m = up16(i + 4);
        product4(go + i * d, d, 1, vt, p, ds + i * p, p, m, 0, d);
        for (size_t r = i; r < i + 4; r++) {
            float dot = 0;
            for (size_t j = 0; j < m; j++)
                dot += s[r * p + j] * ds[r * p + j];
            for (size_t j = 0; j < m; j++)
                ds[r * p + j] = s[r * p + j] * (ds[r * p + j] - dot) * scale;
        }
        product4(ds + i * p, p, 1, k, d, dq + i * d, d, d, 0, i + 4);
    }
    for (size_t i = 0; i < t; i += 4) {
        product4(ds + i, 1, p, q, d, tile, d, d, i, t4);
        for (size_t j = 0; j < 4 * d; j++)
            dk[i * d + j] += tile[j];
        product4(s + i, 1, p, go, d, tile, d, d, i, t4);
        for (size_t j = 0; j < 4 * d; j++)
            dv[i * d + j] += tile[j];
    }
}

static void load(const bf16 *restrict src, size_t stride, float *restrict dst, size_t t, size_t d)
{
    for (size_t i = 0; i < t; i++)
        for (size_t j = 0; j < d; j++)
            dst[i * d + j] = wide(src[i * stride + j]);
}

static void store(bf16 *restrict dst, size_t stride, const float *restrict src, size_t t, size_t d)
{
    for (size_t i = 0; i < t; i++)
        for (size_t j = 0; j < d; j++)
            dst[i * stride + j] = narrow(src[i * d + j]);
}

/* Causal attention with grouped queries on qkv[b*t, (heads + 2*kv)*d] before rotation, d a multiple
 * of 16. Without dout: out[b*t, heads*d] is written. With dout: qkv becomes its own gradient.
 * cs, sn: [t, d/2]. -1 = no memory. */
int attention(bf16 *qkv, bf16 *out, const bf16 *dout, const float *cs, const float *sn, size_t b,
              size_t t, size_t heads, size_t kv, size_t d)
{
    size_t p = up16(t), stride = (heads + 2 * kv) * d, wide_row = heads * d, n = p * d;
    size_t floats = 10 * n + 2 * p * p + 4 * d;
    float *mem = aligned_alloc(64, up16(floats) * sizeof *mem);
    if (!mem)
        return -1;
    memset(mem, 0, floats * sizeof *mem);
    float *q = mem, *k = q + n, *v = k + n, *kt = v + n, *vt = kt + n, *go = vt + n, *o = go + n;
    float *dq = o + n, *dk = dq + n, *dv = dk + n, *s = dv + n, *ds = s + p * p, *tile = ds + p * p;
    for (size_t i = 0; i < b; i++) {
        bf16 *rows = qkv + i * t * stride;
        for (size_t g = 0; g < kv; g++) {
            bf16 *krow = rows + (heads + g) * d, *vrow = rows + (heads + kv + g) * d;
            load_rotated(krow, stride, cs, sn, k, t, d);
            load(vrow, stride, v, t, d);
            transpose(k, kt, p, d);
            if (dout) {
                transpose(v, vt, p, d);
                memset(dk, 0, 2 * n * sizeof *dk);
            }
            for (size_t h = g * heads / kv; h < (g + 1) * heads / kv; h++) {
                size_t at = i * t * wide_row + h * d;
                load_rotated(rows + h * d, stride, cs, sn, q, t, d);
                scores(q, kt, s, t, p, d);
                if (dout) {
                    load(dout + at, wide_row, go, t, d);
                    head_back(s, ds, q, k, vt, go, dq, dk, dv, tile, t, p, d);
                    store_unrotated(rows + h * d, stride, cs, sn, dq, t, d);
                } else {
                    for (size_t r = 0; r < t; r += 4)
                        product4(s + r * p, p, 1, v, d, o + r * d, d, d, 0, r + 4);
                    store(out + at, wide_row, o, t, d);
                }
            }
            if (dout) {
                store_unrotated(krow, stride, cs, sn, dk, t, d);
                store(vrow, stride, dv, t, d);
            }
        }
    }
    free(mem);
    return 0;
}
