/* SPDX-License-Identifier: MIT */
#include "cloud/sse.h"

#include <errno.h>
#include <string.h>

#include <ulmd/limits.h>

#define EVENT_NAME_MAX 256u /* a longer one is none that we know */

void ulm_sse_init(struct ulm_sse *sse)
{
    *sse = (struct ulm_sse){
        .line = ULM_BUF_INIT(ULM_SSE_LINE_MAX),
        .data = ULM_BUF_INIT(ULM_SSE_EVENT_MAX),
        .event = ULM_BUF_INIT(EVENT_NAME_MAX),
    };
}

void ulm_sse_deinit(struct ulm_sse *sse)
{
    ulm_buf_wipe(&sse->line);
    ulm_buf_wipe(&sse->data);
    ulm_buf_wipe(&sse->event);
}

static void clear_event(struct ulm_sse *sse)
{
    ulm_buf_clear(&sse->data);
    ulm_buf_clear(&sse->event);
    sse->has_data = false;
    sse->ready = false;
}

static int read_field(struct ulm_sse *sse, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon ? (size_t)(colon - line) : len;
    const char *value = colon ? colon + 1 : line + len;
    size_t value_len = len - (size_t)(value - line);
    if (value_len > 0 && *value == ' ') {
        value++;
        value_len--;
    }

    if (name_len == 4 && memcmp(line, "data", 4) == 0) {
        int r = sse->has_data ? ulm_buf_add(&sse->data, "\n", 1) : 0;
        if (r == 0)
            r = ulm_buf_add(&sse->data, value, value_len);
        sse->has_data = true;
        return r;
    }
    if (name_len == 5 && memcmp(line, "event", 5) == 0) {
        ulm_buf_clear(&sse->event);
        int r = ulm_buf_add(&sse->event, value, value_len);
        return r == -ENOBUFS ? 0 : r;
    }
    return 0; /* a comment (its name is empty), id, retry, or unknown */
}

/* 1 when the line completes an event. */
static int end_line(struct ulm_sse *sse)
{
    const char *line = ulm_buf_str(&sse->line);
    size_t len = sse->line.len;
    int r = 0;

    if (!sse->begun && len >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        line += 3;
        len -= 3;
    }
    sse->begun = true;

    if (len > 0) {
        r = read_field(sse, line, len);
    } else if (sse->has_data) {
        sse->ready = true;
        r = 1;
    } else {
        clear_event(sse);
    }
    ulm_buf_clear(&sse->line);
    return r;
}

static int fail(struct ulm_sse *sse, int r)
{
    return sse->error = r == -ENOBUFS ? -EMSGSIZE : r;
}

int ulm_sse_feed(struct ulm_sse *sse, const char *bytes, size_t len, size_t *ret_used)
{
    size_t i = 0;

    *ret_used = len;
    if (sse->error < 0)
        return sse->error;
    if (sse->ready)
        clear_event(sse);

    while (i < len) {
        if (sse->skip_lf) {
            sse->skip_lf = false;
            if (bytes[i] == '\n') {
                i++;
                continue;
            }
        }
        size_t start = i;
        while (i < len && bytes[i] != '\n' && bytes[i] != '\r')
            i++;
        int r = ulm_buf_add(&sse->line, bytes + start, i - start);
        if (r < 0)
            return fail(sse, r);
        if (i == len)
            break;
        sse->skip_lf = bytes[i++] == '\r';
        r = end_line(sse);
        if (r < 0)
            return fail(sse, r);
        if (r == 1) {
            *ret_used = i;
            return 1;
        }
    }
    return 0;
}

int ulm_sse_finish(struct ulm_sse *sse)
{
    if (sse->error < 0)
        return sse->error;
    if (sse->ready)
        clear_event(sse);
    if (sse->line.len > 0) {
        int r = end_line(sse);
        if (r < 0)
            return fail(sse, r);
    }
    if (sse->has_data && strcmp(ulm_buf_str(&sse->data), "[DONE]") == 0) {
        sse->ready = true;
        return 1;
    }
    clear_event(sse);
    return 0;
}
