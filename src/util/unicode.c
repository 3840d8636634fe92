/* SPDX-License-Identifier: MIT */
#include "util/unicode.h"

#include <stddef.h>

struct range {
    uint32_t first, last;
};

/* Every `step`-th character from first to last has its lower case `delta` away. */
struct case_range {
    uint32_t first, last, step;
    int32_t delta;
};

#include "util/unicode_tables.h"

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static bool contains(const struct range *ranges, size_t n, uint32_t code)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && code >= ranges[low].first;
}

bool ulm_is_letter(uint32_t code)
{
    if (code < 0x80)
        return (code | 0x20) - 'a' < 26;
    return contains(letters, COUNT(letters), code);
}

bool ulm_is_number(uint32_t code)
{
    if (code < 0x80)
        return code - '0' < 10;
    return contains(numbers, COUNT(numbers), code);
}

bool ulm_is_white_space(uint32_t code)
{
    static const struct range spaces[] = {
        {0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
    };
    return contains(spaces, COUNT(spaces), code);
}

uint32_t ulm_to_lower(uint32_t code)
{
    if (code < 0x80)
        return code - 'A' < 26 ? code + 32 : code;
    size_t low = 0, high = COUNT(lowers);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code > lowers[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == COUNT(lowers) || code < lowers[low].first ||
        (code - lowers[low].first) % lowers[low].step)
        return code;
    return code + (uint32_t)lowers[low].delta;
}

uint32_t ulm_to_upper(uint32_t code)
{
    if (code < 0x80)
        return code - 'a' < 26 ? code - 32 : code;
    for (size_t i = 0; i < COUNT(lowers); i++) {
        uint32_t capital = code - (uint32_t)lowers[i].delta;
        if (capital >= lowers[i].first && capital <= lowers[i].last &&
            (capital - lowers[i].first) % lowers[i].step == 0)
            return capital;
    }
    return code;
}

bool ulm_is_unspaced(uint32_t code)
{
    static const struct range scripts[] = {
        {0x0E00, 0x0EFF},   /* Thai, Lao */
        {0x1000, 0x109F},   /* Myanmar */
        {0x1780, 0x17FF},   /* Khmer */
        {0x19E0, 0x19FF},   /* Khmer symbols */
        {0x2E80, 0x2FDF},   /* Han radicals */
        {0x3001, 0x312F},   /* CJK punctuation, kana, Bopomofo; not the ideographic space */
        {0x3190, 0x9FFF},   /* kanbun to the unified ideographs */
        {0xA9E0, 0xA9FF},   /* Myanmar extended B */
        {0xAA60, 0xAA7F},   /* Myanmar extended A */
        {0xF900, 0xFAFF},   /* compatibility ideographs */
        {0xFE30, 0xFE4F},   /* vertical forms */
        {0xFF01, 0xFF9F},   /* full-width forms, half-width kana */
        {0x1AFF0, 0x1B16F}, /* kana extensions */
        {0x20000, 0x3FFFD}, /* further ideographs */
    };
    return contains(scripts, COUNT(scripts), code);
}
