/* SPDX-License-Identifier: MIT */
#include "util/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ulm_buf_init(struct ulm_buf *buf, size_t cap)
{
    *buf = ULM_BUF_INIT(cap);
}

void ulm_buf_deinit(struct ulm_buf *buf)
{
    free(buf->data);
    *buf = ULM_BUF_INIT(buf->cap);
}

void ulm_buf_wipe(struct ulm_buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->size);
    ulm_buf_deinit(buf);
}

int ulm_buf_reserve(struct ulm_buf *buf, size_t extra)
{
    if (extra > buf->cap - buf->len)
        return -ENOBUFS;

    size_t need = buf->len + extra + 1;
    if (need <= buf->size)
        return 0;

    size_t size = buf->size < 64 ? 64 : buf->size;
    while (size < need)
        size *= 2;
    if (size > buf->cap + 1)
        size = buf->cap + 1;

    char *data = realloc(buf->data, size);
    if (!data)
        return -ENOMEM;
    data[buf->len] = '\0';
    buf->data = data;
    buf->size = size;
    return 0;
}

int ulm_buf_add(struct ulm_buf *buf, const void *data, size_t len)
{
    int r = ulm_buf_reserve(buf, len);
    if (r < 0)
        return r;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

int ulm_buf_add_str(struct ulm_buf *buf, const char *text)
{
    return ulm_buf_add(buf, text, strlen(text));
}

int ulm_buf_add_vfmt(struct ulm_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0)
        return -EINVAL;

    int r = ulm_buf_reserve(buf, (size_t)len);
    if (r < 0)
        return r;
    (void)vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    buf->len += (size_t)len;
    return 0;
}

int ulm_buf_add_fmt(struct ulm_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = ulm_buf_add_vfmt(buf, format, args);
    va_end(args);
    return r;
}

void ulm_buf_clear(struct ulm_buf *buf)
{
    ulm_buf_truncate(buf, 0);
}

void ulm_buf_truncate(struct ulm_buf *buf, size_t len)
{
    assert(len <= buf->len);
    buf->len = len;
    if (buf->data)
        buf->data[len] = '\0';
}

void ulm_buf_consume(struct ulm_buf *buf, size_t len)
{
    assert(len <= buf->len);
    if (len == 0)
        return;
    memmove(buf->data, buf->data + len, buf->len - len);
    ulm_buf_truncate(buf, buf->len - len);
}

const char *ulm_buf_str(const struct ulm_buf *buf)
{
    return buf->data ? buf->data : "";
}

char *ulm_buf_take(struct ulm_buf *buf)
{
    char *text = buf->data ? buf->data : calloc(1, 1);
    *buf = ULM_BUF_INIT(buf->cap);
    return text;
}
