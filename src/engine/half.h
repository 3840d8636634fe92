/* SPDX-License-Identifier: MIT */
/* IEEE half precision without compiler support: what GGUF stores scales and F16 tensors in. */
#ifndef ULM_ENGINE_HALF_H
#define ULM_ENGINE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ulm_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u;
    uint32_t mantissa = half & 1023u;
    uint32_t bits;
    if (exponent == 31) {
        bits = sign | 0x7F800000u | mantissa << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else if (!mantissa) {
        bits = sign;
    } else {
        /* Subnormal: shift the leading one up to where a normal number has it. */
        unsigned shift = (unsigned)__builtin_clz(mantissa) - 21;
        bits = sign | (113 - shift) << 23 | (mantissa << (shift + 13) & 0x7FFFFFu);
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest, ties to even; too large becomes infinity. */
static inline uint16_t ulm_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u);
    if (bits >= 0x477FF000u)
        return (uint16_t)(sign | 0x7C00u);
    if (bits < 0x33000000u)
        return (uint16_t)sign;
    uint32_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
    uint32_t exponent = bits >> 23;
    /* How many mantissa bits fall away; more for a result below the smallest normal half. */
    unsigned drop = exponent < 113 ? 126 - exponent : 13;
    uint32_t rest = mantissa & ((1u << drop) - 1);
    uint32_t kept = mantissa >> drop;
    uint32_t tie = 1u << (drop - 1);
    if (rest > tie || (rest == tie && (kept & 1)))
        kept++;
    /* A carry out of the mantissa raises the exponent by itself. */
    if (exponent >= 113)
        kept += (exponent - 113) << 10;
    return (uint16_t)(sign | kept);
}

#endif
