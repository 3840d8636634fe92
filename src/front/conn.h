/* SPDX-License-Identifier: MIT */
/* One connection of the Unix socket. Private to front/socket. */
#ifndef ULM_FRONT_CONN_H
#define ULM_FRONT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include <ulmd/event.h>
#include <ulmd/limits.h>

#include "front/peer.h"
#include "front/socket.h"
#include "front/wire.h"
#include "util/buf.h"

/* In the order they happen; each may be passed over. */
enum ulm_conn_state {
    ULM_CONN_OPEN,      /* requests are read */
    ULM_CONN_ENDED,     /* input has ended; open requests finish */
    ULM_CONN_CLOSING,   /* nothing is read; what is queued goes out, for LINGER_US at most */
    ULM_CONN_LINGERING, /* all is out; input is thrown away until the peer has seen the end */
    ULM_CONN_CLOSED,    /* the handle is closing; the close callback frees */
};

struct ulm_conn {
    struct ulm_sink sink; /* core knows it until ulm_core_sink_gone */
    struct ulm_socket *sock;
    struct ulm_conn *prev, *next;    /* ulm_socket.clients */
    struct ulm_conn *next_attention; /* ulm_socket.attention */
    bool wants_attention;
    bool known_to_core;
    uv_poll_t poll;
    int poll_events; /* as last given to uv_poll_start */
    int fd;
    enum ulm_conn_state state;
    int64_t linger_until_us;
    struct ulm_peer *peer; /* NULL where it was refused */
    bool refused;

    struct ulm_wire wire;
    bool input_ended;    /* no more bytes will come */
    bool held_back;      /* lines wait until the output has drained */
    bool yielded;        /* lines wait for the next turn of the loop */
    bool waits;          /* it had no turn while others had theirs: one of ulm_socket.n_waiting */
    int64_t spent_us;    /* what its lines took lately, */
    int64_t spent_at_us; /* as it was then */

    struct ulm_buf out;
    size_t sent;   /* of out */
    bool midline;  /* out began inside a line when it was last compacted */
    bool overflow; /* an event did not fit: the client reads too slowly */
    bool lost;     /* out of memory: the stream of events has a hole */
};

struct ulm_socket {
    uv_loop_t *loop;
    struct ulm_core *core;
    struct ulm_peers *peers;
    struct ulm_socket_limits limits;
    struct ulm_answers answers;

    struct ulm_listener listeners[ULM_LISTENERS_MAX];
    uv_poll_t listener_polls[ULM_LISTENERS_MAX];
    size_t n_listeners;
    int spare_fd; /* given up to refuse a client when fds run out */

    struct ulm_conn *clients;
    size_t n_clients; /* not CLOSED, not refused */
    size_t n_refused;
    struct ulm_conn *attention; /* what the next turn of the loop looks at */
    size_t n_waiting;           /* connections that have no turn before these had theirs */
    int64_t heavy_us;           /* what those that ask for much took of this turn of the loop */

    uv_prepare_t prepare;
    uv_idle_t again; /* runs while a connection has yielded */
    uv_timer_t linger;
    bool lingering; /* the timer runs */
    int64_t warned_us;

    bool stopping, freeing, told;
    void (*stopped)(void *data);
    void *stopped_data;
    size_t n_handles; /* open uv handles, clients included; the last one frees */

    char scratch[ULM_LINE_MAX]; /* what one read brings */
};

/* Takes fd on success. 0, -ENOMEM or libuv's errno. */
int ulm_conn_new(struct ulm_socket *sock, int fd, uid_t uid, struct ulm_peer *peer);

/* Tells the peer why it is not let in. Takes fd on success. -EBUSY: too many wait for their no. */
int ulm_conn_refuse(struct ulm_socket *sock, int fd, const struct ulm_fault *fault);

/* Looks after what happened since: writes, ends, closes. */
void ulm_conn_attend(struct ulm_conn *conn);

/* Takes up the lines that were too many for the last turn. */
void ulm_conn_go_on(struct ulm_conn *conn);

/* Takes no more requests; what is queued goes out. */
void ulm_conn_finish(struct ulm_conn *conn);

/* Ends the connection now. Core forgets the conn; its requests are cancelled. */
void ulm_conn_close(struct ulm_conn *conn);

/* socket.c: a handle of the socket's closed; a client has begun to close. */
void ulm_socket_handle_closed(struct ulm_socket *sock);
void ulm_socket_watch_lingering(struct ulm_socket *sock);
/* A connection has yielded: the loop turns once more without sleeping. */
void ulm_socket_turn_again(struct ulm_socket *sock);

/* True once a second: what clients can cause at will must not fill the log. */
bool ulm_socket_may_warn(struct ulm_socket *sock);

static inline int64_t ulm_front_now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

#endif
