/* SPDX-License-Identifier: MIT */
#include "cloud/ndjson.h"

#include <errno.h>
#include <string.h>

#include <ulmd/limits.h>

#include "util/text.h"

void ulm_ndjson_init(struct ulm_ndjson *nd)
{
    *nd = (struct ulm_ndjson){.line = ULM_BUF_INIT(ULM_SSE_EVENT_MAX)};
}

void ulm_ndjson_deinit(struct ulm_ndjson *nd)
{
    ulm_buf_wipe(&nd->line);
}

static bool is_blank(const struct ulm_buf *line)
{
    for (size_t i = 0; i < line->len; i++) {
        if (!ulm_is_space(line->data[i]))
            return false;
    }
    return true;
}

static int end_line(struct ulm_ndjson *nd)
{
    nd->ready = !is_blank(&nd->line);
    if (!nd->ready)
        ulm_buf_clear(&nd->line);
    return nd->ready;
}

int ulm_ndjson_feed(struct ulm_ndjson *nd, const char *bytes, size_t len, size_t *ret_used)
{
    *ret_used = len;
    if (nd->error < 0)
        return nd->error;
    if (nd->ready)
        ulm_buf_clear(&nd->line);
    nd->ready = false;

    for (size_t i = 0; i < len;) {
        const char *lf = memchr(bytes + i, '\n', len - i);
        size_t n = lf ? (size_t)(lf - bytes) - i : len - i;
        int r = ulm_buf_add(&nd->line, bytes + i, n);
        if (r < 0)
            return nd->error = r == -ENOBUFS ? -EMSGSIZE : r;
        if (!lf)
            break;
        i += n + 1;
        if (end_line(nd)) {
            *ret_used = i;
            return 1;
        }
    }
    return 0;
}

int ulm_ndjson_finish(struct ulm_ndjson *nd)
{
    if (nd->error < 0)
        return nd->error;
    if (nd->ready)
        ulm_buf_clear(&nd->line);
    return end_line(nd);
}
