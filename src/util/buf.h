/* SPDX-License-Identifier: MIT */
/* A byte buffer that is born with a cap. */
#ifndef ULM_UTIL_BUF_H
#define ULM_UTIL_BUF_H

#include <stdarg.h>
#include <stddef.h>

/* data is NUL-terminated behind len whenever it is not NULL. */
struct ulm_buf {
    char *data; /* owned; NULL while nothing was added */
    size_t len;
    size_t size; /* allocated */
    size_t cap;  /* len never passes it */
};

#define ULM_BUF_INIT(cap_) ((struct ulm_buf){.cap = (cap_)})

void ulm_buf_init(struct ulm_buf *buf, size_t cap);
void ulm_buf_deinit(struct ulm_buf *buf); /* safe twice */
/* As deinit, with the bytes wiped first: for keys and what people say. */
void ulm_buf_wipe(struct ulm_buf *buf);

/* Appenders: 0, -ENOBUFS when the cap would be passed, -ENOMEM. On failure nothing was added. */
int ulm_buf_add(struct ulm_buf *buf, const void *data, size_t len) __attribute__((warn_unused_result));
int ulm_buf_add_str(struct ulm_buf *buf, const char *text) __attribute__((warn_unused_result));
int ulm_buf_add_fmt(struct ulm_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
int ulm_buf_add_vfmt(struct ulm_buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0), warn_unused_result));
/* Makes room for `extra` more bytes behind len (and the NUL), so that they can be written there. */
int ulm_buf_reserve(struct ulm_buf *buf, size_t extra) __attribute__((warn_unused_result));

void ulm_buf_clear(struct ulm_buf *buf);                /* len = 0, memory kept */
void ulm_buf_truncate(struct ulm_buf *buf, size_t len); /* len <= buf->len */
void ulm_buf_consume(struct ulm_buf *buf, size_t len);  /* drop from the front; len <= buf->len */

/* The text, never NULL. Borrowed until the next change. */
const char *ulm_buf_str(const struct ulm_buf *buf);
/* Moves the NUL-terminated text out; the caller frees it. NULL = out of memory (an empty buffer
 * gives an allocated empty string). The buffer is empty afterwards, its cap kept. */
char *ulm_buf_take(struct ulm_buf *buf);

#define ULM_CLEANUP_BUF __attribute__((cleanup(ulm_buf_deinit)))

#endif
