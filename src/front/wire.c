/* SPDX-License-Identifier: MIT */
#include "front/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "front/wire_request.h"
#include "util/json.h"
#include "util/text.h"

void ulm_wire_init(struct ulm_wire *wire)
{
    /* A line that is not whole yet, and what one read brings behind it. */
    *wire = (struct ulm_wire){.in = ULM_BUF_INIT(2 * (ULM_LINE_MAX + 1))};
}

void ulm_wire_deinit(struct ulm_wire *wire)
{
    ulm_buf_wipe(&wire->in);
    wire->taken = wire->scanned = 0;
}

/* Drops what was taken. An idle connection holds no memory and no words of its last question. */
static void forget_taken(struct ulm_wire *wire)
{
    if (wire->taken == 0)
        return;
    if (wire->taken == wire->in.len) {
        ulm_wire_deinit(wire);
        return;
    }
    ulm_buf_consume(&wire->in, wire->taken);
    wire->scanned -= wire->taken;
    wire->taken = 0;
}

int ulm_wire_feed(struct ulm_wire *wire, const char *bytes, size_t len)
{
    if (wire->broken)
        return 0;
    forget_taken(wire);
    return ulm_buf_add(&wire->in, bytes, len);
}

static int broken(struct ulm_wire *wire, enum ulm_error code, const char *message,
                  struct ulm_fault *ret_fault)
{
    wire->broken = true;
    ulm_wire_deinit(wire);
    *ret_fault = (struct ulm_fault){.code = code};
    snprintf(ret_fault->message, sizeof ret_fault->message, "%s", message);
    return ULM_WIRE_BROKEN;
}

/* Length of the next line without its LF, or -EAGAIN: not whole yet; -EMSGSIZE: too long. */
static ssize_t find_line(struct ulm_wire *wire, bool end)
{
    size_t rest = wire->in.len - wire->scanned;
    char *lf = rest > 0 ? memchr(wire->in.data + wire->scanned, '\n', rest) : NULL;
    size_t len = (lf ? (size_t)(lf - wire->in.data) : wire->in.len) - wire->taken;

    wire->scanned = wire->taken + len;
    if (len > ULM_LINE_MAX)
        return -EMSGSIZE;
    if (!lf && (!end || len == 0))
        return -EAGAIN;
    return (ssize_t)len;
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!ulm_is_space(text[i]))
            return false;
    }
    return true;
}

static bool is_object(const char *json)
{
    while (ulm_is_space(*json))
        json++;
    return *json == '{';
}

int ulm_wire_next(struct ulm_wire *wire, bool end, struct ulm_request *ret_request,
                  struct ulm_fault *ret_fault)
{
    for (;;) {
        if (wire->broken)
            return ULM_WIRE_MORE;
        ssize_t len = find_line(wire, end);
        if (len == -EMSGSIZE)
            return broken(wire, ULM_ERROR_TOO_LONG, "a line is longer than 65536 bytes", ret_fault);
        if (len < 0) {
            forget_taken(wire);
            return ULM_WIRE_MORE;
        }

        char *line = wire->in.data + wire->taken;
        wire->taken += (size_t)len;
        if (wire->taken < wire->in.len)
            wire->taken++; /* the LF, whose place the NUL takes; at the end the buffer has its own
                            */
        wire->scanned = wire->taken;
        line[len] = '\0';
        if (is_blank(line, (size_t)len))
            continue;

        int r = ulm_json_check(line, (size_t)len, ULM_JSON_DEPTH_MAX);
        switch (r == 0 && !is_object(line) ? -EINVAL : r) {
        case 0:
            return ulm_wire_read_request(line, ret_request, ret_fault);
        case -EILSEQ:
            return broken(wire, ULM_ERROR_BAD_REQUEST, "a line is not UTF-8", ret_fault);
        case -E2BIG:
            return broken(wire, ULM_ERROR_BAD_REQUEST, "a line is nested more than 32 deep",
                          ret_fault);
        default:
            return broken(wire, ULM_ERROR_BAD_REQUEST,
                          "a line is not one JSON object (or has U+0000)", ret_fault);
        }
    }
}

static_assert(ULM_LINE_MAX == 65536 && ULM_JSON_DEPTH_MAX == 32, "the messages name the limits");
