/* SPDX-License-Identifier: MIT */
/*
 * The Unix socket: clients come, ask, are answered and go.
 *
 *     ulm_socket_new -> ulm_socket_add_listener... -> (loop) -> ulm_socket_stop
 *                    -> (loop until `stopped`) -> ulm_socket_free -> (loop until idle)
 */
#ifndef ULM_FRONT_SOCKET_H
#define ULM_FRONT_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "front/listen.h"

struct ulm_buf;
struct ulm_core;
struct ulm_peers;
struct ulm_socket;
struct uv_loop_s;

#define ULM_LISTENERS_MAX 4u

/* What app knows and clients ask for: each appends the rest of the event's object, as
 * ulm_wire_add_answer takes it. 0, -ENOMEM, -ENOBUFS. */
struct ulm_answers {
    int (*hello)(void *data, struct ulm_buf *out);
    int (*status)(void *data, bool prometheus, struct ulm_buf *out);
    void *data;
};

/* Arrays are borrowed as long as they are in force. */
struct ulm_socket_limits {
    unsigned max_clients;
    const uid_t *allow_uids; /* [n_allow_uids] */
    size_t n_allow_uids;
    const gid_t *allow_gids; /* [n_allow_gids]; both empty = whoever may open the socket */
    size_t n_allow_gids;
};

/* Everything is borrowed until ulm_socket_free. -ENOMEM, or libuv's errno. */
int ulm_socket_new(struct uv_loop_s *loop, struct ulm_core *core, struct ulm_peers *peers,
                   const struct ulm_socket_limits *limits, const struct ulm_answers *answers,
                   struct ulm_socket **ret_socket);

/* Stops at once. Memory goes on later turns of the loop: run it until idle before it is closed.
 * Clients' requests are to have ended. NULL is allowed. Returns NULL. */
struct ulm_socket *ulm_socket_free(struct ulm_socket *sock);

/* Takes the listener on success. -ENOSPC: ULM_LISTENERS_MAX are there. */
int ulm_socket_add_listener(struct ulm_socket *sock, struct ulm_listener *listener);

/* New limits, for those who come from now on. */
void ulm_socket_configure(struct ulm_socket *sock, const struct ulm_socket_limits *limits);

size_t ulm_socket_clients(const struct ulm_socket *sock);

/* Takes no more clients and no more requests; what is written already still goes out, for a short
 * time. `stopped` is called once, from the loop, when the last client is gone. */
void ulm_socket_stop(struct ulm_socket *sock, void (*stopped)(void *data), void *data);

#endif
