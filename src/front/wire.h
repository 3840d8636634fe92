/* SPDX-License-Identifier: MIT */
/*
 * The wire, version 1 (docs/protocol.md): bytes in -> requests out, events in -> lines out.
 * Pure and resumable: no I/O and no clock.
 *
 *     ulm_wire_feed -> ulm_wire_next until it returns 0 -> ulm_wire_feed ...
 */
#ifndef ULM_FRONT_WIRE_H
#define ULM_FRONT_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include <ulmd/event.h>
#include <ulmd/limits.h>
#include <ulmd/request.h>

#include "util/buf.h"

struct cJSON;

enum ulm_op {
    ULM_OP_HELLO,
    ULM_OP_ASK,
    ULM_OP_DRAFT,
    ULM_OP_PLAYED,
    ULM_OP_CANCEL,
    ULM_OP_RESET,
    ULM_OP_STATUS,
};

/* One request. Strings live until ulm_request_deinit. */
struct ulm_request {
    enum ulm_op op;
    const char *id;      /* or NULL, where the op needs none */
    struct ulm_ask ask;  /* ASK, DRAFT */
    unsigned words;      /* PLAYED */
    const char *session; /* RESET */
    bool prometheus;     /* STATUS */

    struct cJSON *tree;       /* owned */
    const char **facts;       /* owned; ask.prompt.facts */
    struct ulm_turn *history; /* owned; ask.prompt.history */
};

/* What is wrong with a request: an `error` event without an id. */
struct ulm_fault {
    enum ulm_error code;
    bool has_ref;
    char ref[ULM_ID_MAX + 1];
    char message[160];
};

/* The line reader of one connection. */
struct ulm_wire {
    struct ulm_buf in; /* bytes not yet taken as lines */
    size_t taken;      /* of in: behind the last line taken */
    size_t scanned;    /* of in: no LF before here, so that no byte is looked at twice */
    bool broken;       /* sticky */
};

enum ulm_wire_result {
    ULM_WIRE_MORE = 0,    /* no whole line is left */
    ULM_WIRE_REQUEST = 1, /* ret_request is to be deinited by the caller */
    ULM_WIRE_FAULT = 2,   /* ret_fault is to be sent; the next line may be fine */
    ULM_WIRE_BROKEN = 3,  /* ret_fault is to be sent and the connection closed; nothing follows */
};

void ulm_wire_init(struct ulm_wire *wire);
void ulm_wire_deinit(struct ulm_wire *wire);

/* Takes bytes of at most ULM_LINE_MAX at once; all lines before are to have been taken by
 * ulm_wire_next. 0, -ENOMEM, -ENOBUFS (too much at once). */
int ulm_wire_feed(struct ulm_wire *wire, const char *bytes, size_t len);

/* The next line as an ulm_wire_result, or -ENOMEM. With `end`, input has ended and what is left
 * without LF counts as a line. Empty lines are passed over. */
int ulm_wire_next(struct ulm_wire *wire, bool end, struct ulm_request *ret_request,
                  struct ulm_fault *ret_fault);

void ulm_request_deinit(struct ulm_request *request);

/* What holds for an ask or a draft by any way in: sizes, counts, ranges. Texts are valid UTF-8.
 * True, or false with ret_fault. */
bool ulm_ask_check(const struct ulm_ask *ask, struct ulm_fault *ret_fault);

/* The event as one line with its LF. id is NULL where it belongs to no request.
 * 0, -ENOBUFS, -ENOMEM; on failure nothing was added. */
int ulm_wire_add_event(struct ulm_buf *out, const char *id, const struct ulm_event *event);
int ulm_wire_add_fault(struct ulm_buf *out, const struct ulm_fault *fault);
int ulm_wire_add_ok(struct ulm_buf *out, const char *id, const char *op);
/* `body` is the rest of the object after `event` and `id`: ",\"version\":..." or "". */
int ulm_wire_add_answer(struct ulm_buf *out, const char *event, const char *id, const char *body);

/* The number as JSON, with up to three decimals; null where it is no number. */
int ulm_wire_add_number(struct ulm_buf *out, double value) __attribute__((warn_unused_result));

#endif
