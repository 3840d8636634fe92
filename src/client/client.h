/* SPDX-License-Identifier: MIT */
/* The inside of libulmd-client: the connection, its open requests, and the decoder of events. */
#ifndef ULM_CLIENT_CLIENT_H
#define ULM_CLIENT_CLIENT_H

#include <stdbool.h>

#include <ulmd/client.h>
#include <ulmd/limits.h>

#include "util/buf.h"

#define ULM_CLIENT_API __attribute__((visibility("default")))

/* An ask whose terminal event has not come. */
struct ulm_client_request {
    struct ulm_client_request *next;
    struct ulm_buf answer; /* assembled so far */
    bool answered;         /* an event of it came */
    char id[ULM_ID_MAX + 1];
};

struct ulm_client {
    int fd;    /* owned */
    int state; /* 0, or what every later dispatch returns */
    bool in_handler;
    struct ulm_buf in;                   /* the line that is not complete yet */
    size_t scanned;                      /* bytes of `in` known to hold no LF */
    struct ulm_buf out;                  /* not yet written */
    struct ulm_buf strings;              /* of the event being handed out */
    struct ulm_client_request *requests; /* owned */
    unsigned asked;                      /* for ids of ulm_client_answer */
    ulm_client_handler *handler;
    void *handler_data;
};

/* request.c: the open request of that id, or NULL. */
struct ulm_client_request *ulm_client_find(const struct ulm_client *client, const char *id);
void ulm_client_forget(struct ulm_client *client, struct ulm_client_request *request);

/* event.c: checks and decodes one line (rewritten in place where it holds lone surrogates) and
 * hands it to the handler. 0, -EPROTO, -ENOMEM. */
int ulm_client_receive(struct ulm_client *client, char *line, size_t len);

#endif
