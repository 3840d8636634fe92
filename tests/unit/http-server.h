/* SPDX-License-Identifier: MIT */
/*
 * A scripted HTTP/1.1 server on the test's own loop: each connection answers each request with
 * the next reply of its list (the last one again and again), in pieces of `chunk` bytes.
 */
#ifndef ULM_TESTS_HTTP_SERVER_H
#define ULM_TESTS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

enum reply_after {
    AFTER_KEEP,  /* the connection stays open for the next request */
    AFTER_CLOSE, /* FIN */
    AFTER_RESET, /* RST */
    AFTER_STALL, /* nothing more is sent or read */
};

struct reply {
    const char *bytes; /* the whole response; NULL = none */
    size_t len;        /* 0 = strlen */
    size_t chunk;      /* bytes a turn of the loop; 0 = all at once */
    enum reply_after after;
};

struct http_server {
    uv_stream_t *listener;
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    char url[64];          /* http://127.0.0.1:PORT */
    struct reply replies[8]; /* [n_replies] for POST, in the order of the requests */
    size_t n_replies;
    unsigned connections, open, requests, heads;
    char last_request[65536]; /* the last POST, headers and body, NUL-terminated */
    void *clients;            /* list */
};

/* path: a Unix socket, or NULL for 127.0.0.1 and a free port. */
void http_server_start(struct http_server *server, uv_loop_t *loop, const char *path);
/* Closes everything; run the loop afterwards. */
void http_server_stop(struct http_server *server);

#endif
