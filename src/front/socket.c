/* SPDX-License-Identifier: MIT */
#include "front/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <ulmd/session.h>

#include "front/conn.h"
#include "util/log.h"

#define ACCEPTS_A_TURN 32  /* so that a flood of connections does not keep answers waiting */
#define LINGER_MS      250 /* how often those who linger are looked at; none linger, no timer */

void ulm_socket_handle_closed(struct ulm_socket *sock)
{
    if (--sock->n_handles == 0 && sock->freeing)
        free(sock);
}

static void on_handle_closed(uv_handle_t *handle)
{
    ulm_socket_handle_closed(handle->data);
}

static void close_listeners(struct ulm_socket *sock)
{
    for (size_t i = 0; i < sock->n_listeners; i++) {
        uv_close((uv_handle_t *)&sock->listener_polls[i], on_handle_closed);
        ulm_listener_close(&sock->listeners[i]);
    }
    sock->n_listeners = 0;
}

bool ulm_socket_may_warn(struct ulm_socket *sock)
{
    int64_t now_us = ulm_front_now_us();
    if (sock->warned_us > 0 && now_us - sock->warned_us < 1000000)
        return false;
    sock->warned_us = now_us;
    return true;
}

/* Who may come in */

struct credentials {
    uid_t uid;
    gid_t gid;
};

static bool has_gid(const struct ulm_socket_limits *limits, gid_t gid)
{
    for (size_t i = 0; i < limits->n_allow_gids; i++) {
        if (limits->allow_gids[i] == gid)
            return true;
    }
    return false;
}

static bool has_allowed_group(const struct ulm_socket_limits *limits, int fd, gid_t gid)
{
    gid_t few[64];
    gid_t *gids = few;
    socklen_t len = sizeof few;
    bool found = has_gid(limits, gid);

    if (found || limits->n_allow_gids == 0)
        return found;
    int r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len);
    if (r < 0 && errno == ERANGE) {
        gids = malloc(len);
        r = gids ? getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &len) : -1;
    }
    for (size_t i = 0; r == 0 && !found && i < len / sizeof *gids; i++)
        found = has_gid(limits, gids[i]);
    if (gids != few)
        free(gids);
    return found;
}

static bool may_come_in(const struct ulm_socket_limits *limits, int fd,
                        const struct credentials *who)
{
    if (limits->n_allow_uids == 0 && limits->n_allow_gids == 0)
        return true;
    for (size_t i = 0; i < limits->n_allow_uids; i++) {
        if (limits->allow_uids[i] == who->uid)
            return true;
    }
    return has_allowed_group(limits, fd, who->gid);
}

/* Takes the fd. Where nothing can wait for the peer, a fresh socket has room for one line. */
static void refuse(struct ulm_socket *sock, int fd, enum ulm_error code, const char *message)
{
    ULM_CLEANUP_BUF struct ulm_buf out = ULM_BUF_INIT(1024);
    struct ulm_fault fault = {.code = code};
    strncpy(fault.message, message, sizeof fault.message - 1);
    if (ulm_conn_refuse(sock, fd, &fault) == 0)
        return;
    if (ulm_wire_add_fault(&out, &fault) == 0)
        (void)send(fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void take_client(struct ulm_socket *sock, int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
        close(fd);
        return;
    }
    const struct credentials who = {cred.uid, cred.gid};
    if (!may_come_in(&sock->limits, fd, &who)) {
        if (ulm_socket_may_warn(sock))
            ulm_log(ULM_LOG_WARNING, "uid %u, pid %d may not use this daemon", (unsigned)who.uid,
                    (int)cred.pid);
        refuse(sock, fd, ULM_ERROR_DENIED, "this user may not use this daemon");
        return;
    }
    if (sock->n_clients >= sock->limits.max_clients) {
        refuse(sock, fd, ULM_ERROR_BUSY, "as many clients as may be are connected (max_clients)");
        return;
    }
    struct ulm_peer *peer = ulm_peers_join(sock->peers, who.uid, ulm_front_now_us());
    if (peer && ulm_peer_crowds(sock->peers, peer)) {
        ulm_peers_leave(sock->peers, peer);
        refuse(sock, fd, ULM_ERROR_BUSY,
               "this user has as many connections as it may (client_connections)");
        return;
    }
    int r = peer ? ulm_conn_new(sock, fd, who.uid, peer) : -ENOMEM;
    if (r < 0) {
        if (peer)
            ulm_peers_leave(sock->peers, peer);
        if (ulm_socket_may_warn(sock))
            ulm_log(ULM_LOG_ERROR, "a client was refused: %s", strerror(-r));
        refuse(sock, fd, ULM_ERROR_INTERNAL, "out of resources");
        return;
    }
    ulm_log(ULM_LOG_DEBUG, "a client of uid %u, pid %d connected", (unsigned)who.uid,
            (int)cred.pid);
}

/* Out of descriptors: the pending connection would wake the loop for ever, so the spare one takes
 * it in and lets it go. */
static void refuse_without_fd(struct ulm_socket *sock, int listener)
{
    if (sock->spare_fd >= 0)
        close(sock->spare_fd);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    sock->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connection(uv_poll_t *handle, int status, int events)
{
    struct ulm_socket *sock = handle->data;
    int listener = sock->listeners[handle - sock->listener_polls].fd;

    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            take_client(sock, fd);
        else if (errno == EMFILE || errno == ENFILE)
            refuse_without_fd(sock, listener);
        else if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
}

/* Each turn of the loop */

static void tell_stopped(struct ulm_socket *sock)
{
    if (!sock->stopping || sock->told || sock->n_clients > 0)
        return;
    sock->told = true;
    sock->stopped(sock->stopped_data);
}

static void on_linger(uv_timer_t *timer)
{
    struct ulm_socket *sock = timer->data;
    int64_t now_us = ulm_front_now_us();
    bool any = false;
    for (struct ulm_conn *c = sock->clients, *next; c; c = next) {
        next = c->next;
        if (c->state < ULM_CONN_CLOSING)
            continue;
        if (now_us >= c->linger_until_us)
            ulm_conn_close(c);
        else
            any = true;
    }
    if (!any) {
        sock->lingering = false;
        uv_timer_stop(timer);
    }
}

void ulm_socket_watch_lingering(struct ulm_socket *sock)
{
    if (!sock->lingering)
        (void)uv_timer_start(&sock->linger, on_linger, LINGER_MS, LINGER_MS);
    sock->lingering = true;
}

static void on_again(uv_idle_t *idle)
{
    struct ulm_socket *sock = idle->data;
    uv_idle_stop(idle);
    for (struct ulm_conn *c = sock->clients; c; c = c->next)
        ulm_conn_go_on(c);
}

void ulm_socket_turn_again(struct ulm_socket *sock)
{
    (void)uv_idle_start(&sock->again, on_again);
}

/* Before the loop sleeps: see conn.c. */
static void on_prepare(uv_prepare_t *handle)
{
    struct ulm_socket *sock = handle->data;
    sock->heavy_us = 0;
    while (sock->attention) {
        struct ulm_conn *conn = sock->attention;
        sock->attention = conn->next_attention;
        conn->wants_attention = false;
        ulm_conn_attend(conn);
    }
    tell_stopped(sock);
}

/* Life */

int ulm_socket_new(uv_loop_t *loop, struct ulm_core *core, struct ulm_peers *peers,
                   const struct ulm_socket_limits *limits, const struct ulm_answers *answers,
                   struct ulm_socket **ret_socket)
{
    struct ulm_socket *sock = calloc(1, sizeof *sock);
    if (!sock)
        return -ENOMEM;
    sock->loop = loop;
    sock->core = core;
    sock->peers = peers;
    sock->limits = *limits;
    sock->answers = *answers;
    sock->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sock->prepare.data = sock->again.data = sock->linger.data = sock;

    (void)uv_timer_init(loop, &sock->linger); /* these three cannot fail */
    (void)uv_idle_init(loop, &sock->again);
    (void)uv_prepare_init(loop, &sock->prepare);
    sock->n_handles = 3;
    (void)uv_prepare_start(&sock->prepare, on_prepare);
    *ret_socket = sock;
    return 0;
}

int ulm_socket_add_listener(struct ulm_socket *sock, struct ulm_listener *listener)
{
    size_t i = sock->n_listeners;
    if (i == ULM_LISTENERS_MAX)
        return -ENOSPC;
    int r = uv_poll_init(sock->loop, &sock->listener_polls[i], listener->fd);
    if (r < 0)
        return r;
    sock->n_handles++;
    sock->n_listeners++;
    sock->listeners[i] = *listener;
    sock->listener_polls[i].data = sock;
    *listener = (struct ulm_listener){.fd = -1, .pin = -1};
    return uv_poll_start(&sock->listener_polls[i], UV_READABLE, on_connection);
}

void ulm_socket_configure(struct ulm_socket *sock, const struct ulm_socket_limits *limits)
{
    sock->limits = *limits;
}

size_t ulm_socket_clients(const struct ulm_socket *sock)
{
    return sock->n_clients;
}

void ulm_socket_stop(struct ulm_socket *sock, void (*stopped)(void *data), void *data)
{
    sock->stopping = true;
    sock->stopped = stopped;
    sock->stopped_data = data;
    close_listeners(sock);
    for (struct ulm_conn *c = sock->clients; c; c = c->next)
        ulm_conn_finish(c);
}

struct ulm_socket *ulm_socket_free(struct ulm_socket *sock)
{
    if (!sock)
        return NULL;
    close_listeners(sock);
    while (sock->clients)
        ulm_conn_close(sock->clients);
    if (sock->spare_fd >= 0)
        close(sock->spare_fd);
    uv_close((uv_handle_t *)&sock->linger, on_handle_closed);
    uv_close((uv_handle_t *)&sock->again, on_handle_closed);
    uv_close((uv_handle_t *)&sock->prepare, on_handle_closed);
    sock->freeing = true;
    return NULL;
}
