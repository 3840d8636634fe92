/* SPDX-License-Identifier: MIT */
#include "engine/kernels.h"

#include <assert.h>
#include <string.h>

#include "engine/half.h"

size_t ulm_matrix_layout(struct ulm_matrix *m, enum ulm_type type, unsigned rows, unsigned cols)
{
    size_t blocks = cols / ULM_BLOCK;
    *m = (struct ulm_matrix){.type = type, .rows = rows, .cols = cols};
    m->groups = (rows + ULM_GROUP - 1) / ULM_GROUP;
    switch (type) {
    case ULM_TYPE_F32:
        m->group_bytes = (size_t)cols * ULM_GROUP * sizeof(float);
        break;
    case ULM_TYPE_F16:
        m->group_bytes = (size_t)cols * ULM_GROUP * sizeof(uint16_t);
        break;
    case ULM_TYPE_Q8_0:
        m->group_bytes = blocks * ULM_Q8_BLOCK;
        break;
    case ULM_TYPE_Q4_0:
        m->group_bytes = blocks * ULM_Q4_BLOCK;
        break;
    }
    return m->groups * m->group_bytes;
}

/* Q8_0 has 8 lines of 4 bytes a row, Q4_0 has 4: GGUF's nibbles already stand as we want them. */
static void pack_blocks(uint8_t *group, const uint8_t *src, size_t row_bytes, unsigned rows,
                        unsigned blocks, unsigned lines, uint32_t flip)
{
    size_t block_bytes = ULM_SCALES + (size_t)lines * ULM_GROUP * 4;
    for (unsigned r = 0; r < rows; r++, src += row_bytes) {
        const uint8_t *from = src;
        uint8_t *block = group;
        for (unsigned b = 0; b < blocks; b++, block += block_bytes) {
            memcpy(block + r * 2, from, 2);
            from += 2;
            uint8_t *to = block + ULM_SCALES + r * 4;
            for (unsigned j = 0; j < lines; j++, from += 4) {
                uint32_t four;
                memcpy(&four, from, 4);
                four ^= flip;
                memcpy(to + (size_t)j * ULM_GROUP * 4, &four, 4);
            }
        }
    }
}

static void pack_floats(uint8_t *group, const uint8_t *src, unsigned rows, unsigned cols,
                        size_t size)
{
    for (unsigned r = 0; r < rows; r++, src += cols * size)
        for (size_t c = 0; c < cols; c++)
            memcpy(group + (c * ULM_GROUP + r) * size, src + c * size, size);
}

void ulm_matrix_pack(struct ulm_matrix *m, const void *gguf_rows, uint8_t q8_flip)
{
    const uint8_t *src = gguf_rows;
    size_t row_bytes = ulm_type_row_bytes(m->type, m->cols);
    unsigned blocks = m->cols / ULM_BLOCK;
    if (m->blas != NULL) {
        memcpy(m->data, src, m->rows * row_bytes);
        return;
    }
    for (unsigned g = 0; g < m->groups; g++, src += row_bytes * ULM_GROUP) {
        uint8_t *group = m->data + g * m->group_bytes;
        unsigned rows = m->rows - g * ULM_GROUP;
        if (rows > ULM_GROUP)
            rows = ULM_GROUP;
        switch (m->type) {
        case ULM_TYPE_F32:
            pack_floats(group, src, rows, m->cols, sizeof(float));
            break;
        case ULM_TYPE_F16:
            pack_floats(group, src, rows, m->cols, sizeof(uint16_t));
            break;
        case ULM_TYPE_Q8_0:
            pack_blocks(group, src, row_bytes, rows, blocks, 8,
                        q8_flip * UINT32_C(0x01010101));
            break;
        case ULM_TYPE_Q4_0:
            pack_blocks(group, src, row_bytes, rows, blocks, 4, 0);
            break;
        }
    }
}

static float half_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, 2);
    return ulm_half_to_float(half);
}

static void row_q8(const uint8_t *group, unsigned r, unsigned blocks, uint8_t flip, float *out)
{
    for (unsigned b = 0; b < blocks; b++, group += ULM_Q8_BLOCK) {
        float scale = half_at(group + r * 2);
        const uint8_t *q = group + ULM_SCALES + r * 4;
        for (unsigned c = 0; c < ULM_BLOCK; c++)
            *out++ = scale * (float)(int8_t)(q[c / 4 * ULM_GROUP * 4 + c % 4] ^ flip);
    }
}

static void row_q4(const uint8_t *group, unsigned r, unsigned blocks, float *out)
{
    for (unsigned b = 0; b < blocks; b++, group += ULM_Q4_BLOCK, out += ULM_BLOCK) {
        float scale = half_at(group + r * 2);
        const uint8_t *q = group + ULM_SCALES + r * 4;
        for (unsigned c = 0; c < 16; c++) {
            uint8_t two = q[c / 4 * ULM_GROUP * 4 + c % 4];
            out[c] = scale * (float)((int)(two & 15) - 8);
            out[c + 16] = scale * (float)((int)(two >> 4) - 8);
        }
    }
}

void ulm_matrix_row(const struct ulm_matrix *m, unsigned row, uint8_t q8_flip, float *out)
{
    assert(row < m->rows);
    if (m->blas != NULL) {
        memcpy(out, m->data + (size_t)row * m->cols * sizeof *out, m->cols * sizeof *out);
        return;
    }
    const uint8_t *group = m->data + row / ULM_GROUP * m->group_bytes;
    unsigned r = row % ULM_GROUP;
    switch (m->type) {
    case ULM_TYPE_F32:
        for (size_t c = 0; c < m->cols; c++)
            memcpy(out + c, group + (c * ULM_GROUP + r) * sizeof(float), sizeof(float));
        break;
    case ULM_TYPE_F16:
        for (size_t c = 0; c < m->cols; c++)
            out[c] = half_at(group + (c * ULM_GROUP + r) * 2);
        break;
    case ULM_TYPE_Q8_0:
        row_q8(group, r, m->cols / ULM_BLOCK, q8_flip, out);
        break;
    case ULM_TYPE_Q4_0:
        row_q4(group, r, m->cols / ULM_BLOCK, out);
        break;
    }
}
