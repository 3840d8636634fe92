/* SPDX-License-Identifier: MIT */
#include "tests/unit/unit.h"
#include "util/unicode.h"

START_TEST(test_classes)
{
    static const struct {
        uint32_t code;
        int letter, number, space;
    } cases[] = {
        {'a', 1, 0, 0},     {'Z', 1, 0, 0},     {'@', 0, 0, 0},      {'[', 0, 0, 0},
        {'0', 0, 1, 0},     {'9', 0, 1, 0},     {':', 0, 0, 0},      {' ', 0, 0, 1},
        {'\n', 0, 0, 1},    {0x1C, 0, 0, 0},    {0x85, 0, 0, 1},     {0xA0, 0, 0, 1},
        {0xAA, 1, 0, 0},    {0xB2, 0, 1, 0},    {0xD7, 0, 0, 0},     {0xE9, 1, 0, 0},
        {0x301, 0, 0, 0},   {0x416, 1, 0, 0},   {0x660, 0, 1, 0},    {0x645, 1, 0, 0},
        {0x200B, 0, 0, 0},  {0x2003, 0, 0, 1},  {0x2160, 0, 1, 0},   {0x3000, 0, 0, 1},
        {0x3042, 1, 0, 0},  {0x4E2D, 1, 0, 0},  {0x9FFF, 1, 0, 0},   {0xAC00, 1, 0, 0},
        {0xD7A3, 1, 0, 0},  {0xE000, 0, 0, 0},  {0xFEFF, 0, 0, 0},   {0x1D7CE, 0, 1, 0},
        {0x1F600, 0, 0, 0}, {0x20000, 1, 0, 0}, {0x10FFFF, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(ulm_is_letter(cases[i].code) == cases[i].letter, "letter %x", cases[i].code);
        ck_assert_msg(ulm_is_number(cases[i].code) == cases[i].number, "number %x", cases[i].code);
        ck_assert_msg(ulm_is_white_space(cases[i].code) == cases[i].space, "space %x",
                      cases[i].code);
    }
}
END_TEST

START_TEST(test_case)
{
    static const uint32_t pairs[][2] = {
        {'A', 'a'},     {'Z', 'z'},     {0xC9, 0xE9},       {0x100, 0x101}, {0x139, 0x13A},
        {0x178, 0xFF},  {0x391, 0x3B1}, {0x3A9, 0x3C9},     {0x416, 0x436}, {0x401, 0x451},
        {0x4C0, 0x4CF}, {0x1E9E, 0xDF}, {0x10400, 0x10428},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ck_assert_uint_eq(ulm_to_lower(pairs[i][0]), pairs[i][1]);
        ck_assert_uint_eq(ulm_to_lower(pairs[i][1]), pairs[i][1]);
        ck_assert_uint_eq(ulm_to_upper(pairs[i][1]), pairs[i][0]);
        ck_assert(ulm_is_upper(pairs[i][0]));
        ck_assert(!ulm_is_upper(pairs[i][1]));
    }
    static const uint32_t same[] = {'1', '[', '`', '{', 0xD7, 0x101, 0x4E2D, 0x1F600};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        ck_assert_uint_eq(ulm_to_lower(same[i]), same[i]);
}
END_TEST

START_TEST(test_unspaced)
{
    static const uint32_t yes[] = {0xE01,  0xE81,  0x1000, 0x1780, 0x3002, 0x3042,
                                   0x30A2, 0x4E2D, 0xFF0C, 0xFF76, 0x20000};
    static const uint32_t no[] = {'a', '.', 0xE9, 0x416, 0x645, 0x905, 0x3000, 0xAC00, 0x1F600};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        ck_assert_msg(ulm_is_unspaced(yes[i]), "%x", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        ck_assert_msg(!ulm_is_unspaced(no[i]), "%x", no[i]);
}
END_TEST

UNIT_MAIN("unicode", test_classes, test_case, test_unspaced)
