/* SPDX-License-Identifier: MIT */
/*
 * Core's events are only queued where they are emitted; the socket's prepare handle, which runs on
 * each turn of the loop before it sleeps, writes what was queued and closes whom it must. So no
 * close and no free happens while core stands in the middle of a request. One event is written at
 * once, with what is queued before it: the end of an opener, after which core asks the cloud, and
 * the words should not wait for that. If this write fails, so does the next.
 *
 * Hang-up and end of input differ: after shutdown(SHUT_WR) by the peer its answers still go out,
 * while a peer that is gone must cost nothing more. poll(2) tells them apart (POLLHUP needs both
 * directions shut), but once input has ended a watch for reading would fire for ever. A client in
 * ENDED is therefore watched for priority data, of which none can come: what wakes it is the
 * hang-up, which epoll always reports.
 */
#include "front/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ulmd/session.h>

#include "util/log.h"

#define LINGER_US 2000000

/* Requests wait while this much is unsent: a client that asks without reading harms itself only.
 * It is much, since one that writes all its requests before it reads would wait for ever. */
#define OUTPUT_HIGH (ULM_OUTPUT_QUEUE_MAX / 2)

/* Lines taken in one turn of the loop, so that a flood of requests keeps nobody's answer waiting.
 */
#define LINES_A_TURN 32

/* A connection may take a ten-thousandth of the time for its lines, and LIGHT_US at once. Those
 * that ask for more share a part of each turn of the loop, one after the other: a thousand of them
 * are slow, and nobody else is. */
#define LIGHT_US        1000
#define LIGHT_SHARE     10000
#define SPENT_MAX_US    20000 /* a debt of some minutes */
#define HEAVY_A_TURN_US 5000

/* Connections refused at the door that may linger beside the clients; more are just closed. */
#define REFUSED_MAX 64u

#define CONN_OF(ptr_, member_)                                                                     \
    ((struct ulm_conn *)(void *)((char *)(ptr_)-offsetof(struct ulm_conn, member_)))

static void on_poll(uv_poll_t *handle, int status, int events);

static size_t unsent(const struct ulm_conn *conn)
{
    return conn->out.len - conn->sent;
}

static void wait_no_more(struct ulm_conn *conn)
{
    conn->sock->n_waiting -= conn->waits;
    conn->waits = false;
}

static void enter(struct ulm_conn *conn, enum ulm_conn_state state)
{
    conn->state = state;
    wait_no_more(conn);
}

static void call_attention(struct ulm_conn *conn)
{
    if (conn->wants_attention)
        return;
    conn->wants_attention = true;
    conn->next_attention = conn->sock->attention;
    conn->sock->attention = conn;
}

/* Watches for what the state waits for. */
static void watch(struct ulm_conn *conn)
{
    int events = unsent(conn) > 0 ? UV_WRITABLE : 0;
    switch (conn->state) {
    case ULM_CONN_OPEN:
        if (conn->held_back)
            events |= UV_WRITABLE; /* on_poll takes the lines up again */
        else if (!conn->input_ended && !conn->yielded)
            events |= UV_READABLE;
        break;
    case ULM_CONN_ENDED:
        events |= UV_PRIORITIZED;
        break;
    case ULM_CONN_CLOSING:
        break;
    case ULM_CONN_LINGERING:
        events |= UV_READABLE;
        break;
    case ULM_CONN_CLOSED:
        return;
    }
    if (events != conn->poll_events) {
        conn->poll_events = events;
        if (events)
            (void)uv_poll_start(&conn->poll, events, on_poll);
        else
            (void)uv_poll_stop(&conn->poll);
    }
}

/* Output */

/* Frees the room of what was sent. */
static void compact(struct ulm_conn *conn)
{
    if (conn->sent > 0)
        conn->midline = conn->out.data[conn->sent - 1] != '\n';
    if (conn->sent == conn->out.len)
        ulm_buf_deinit(&conn->out); /* an idle client holds no memory */
    else
        ulm_buf_consume(&conn->out, conn->sent);
    conn->sent = 0;
}

static void note_failed_add(struct ulm_conn *conn, int r)
{
    if (r == -ENOBUFS)
        conn->overflow = true;
    else if (r < 0)
        conn->lost = true;
    call_attention(conn);
}

/* Writes what the socket takes. false: the peer is gone. */
static bool flush(struct ulm_conn *conn)
{
    while (unsent(conn) > 0) {
        ssize_t n =
            send(conn->fd, conn->out.data + conn->sent, unsent(conn), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
            return true;
        if (n < 0)
            return false;
        conn->sent += (size_t)n;
    }
    if (conn->sent > 0)
        compact(conn);
    return true;
}

static void on_emit(struct ulm_sink *sink, const char *id, const struct ulm_event *event)
{
    struct ulm_conn *conn = CONN_OF(sink, sink);

    if (conn->state > ULM_CONN_ENDED || conn->overflow || conn->lost)
        return;
    int r = ulm_wire_add_event(&conn->out, id, event);
    if (r == -ENOBUFS && conn->sent > 0) {
        compact(conn);
        r = ulm_wire_add_event(&conn->out, id, event);
    }
    note_failed_add(conn, r);
    if (r == 0 && event->type == ULM_EVENT_OPENED)
        (void)flush(conn);
}

static void on_spent(struct ulm_sink *sink, int64_t tokens)
{
    ulm_peer_charge(CONN_OF(sink, sink)->peer, tokens);
}

static void add_fault(struct ulm_conn *conn, const struct ulm_fault *fault)
{
    note_failed_add(conn, ulm_wire_add_fault(&conn->out, fault));
}

/* A slow reader: the line that is half out goes out whole, what is behind it gives way to the
 * reason, and its requests are cancelled. */
static void cut_output(struct ulm_conn *conn)
{
    size_t keep = 0;
    compact(conn);
    if (conn->midline) {
        char *lf = memchr(conn->out.data, '\n', conn->out.len);
        keep = lf ? (size_t)(lf - conn->out.data) + 1 : conn->out.len;
    }
    if (conn->out.data)
        ulm_buf_truncate(&conn->out, keep);

    struct ulm_fault fault = {
        .code = ULM_ERROR_BUSY,
        .message = "events are read too slowly: more than 1048576 bytes wait",
    };
    add_fault(conn, &fault);
    conn->overflow = false;
    if (ulm_socket_may_warn(conn->sock))
        ulm_log(ULM_LOG_WARNING, "a client of uid %u reads too slowly and is closed",
                (unsigned)conn->sink.uid);
    ulm_conn_finish(conn);
}

/* Requests */

static const char *quota_refusal(struct ulm_conn *conn, int64_t now_us)
{
    const struct ulm_socket *sock = conn->sock;
    size_t open = 0;
    if (sock->peers->quota.requests > 0) {
        for (const struct ulm_conn *c = sock->clients; c; c = c->next)
            open += c->peer == conn->peer ? ulm_core_open_requests(sock->core, &c->sink) : 0;
    }
    return ulm_peer_refusal(sock->peers, conn->peer, open, now_us);
}

static void handle_ask(struct ulm_conn *conn, const struct ulm_ask *ask)
{
    int64_t now_us = ulm_front_now_us();
    const char *refusal = quota_refusal(conn, now_us);
    if (!refusal) {
        ulm_core_ask(conn->sock->core, &conn->sink, ask, now_us);
        return;
    }
    bool open = ulm_core_is_open(conn->sock->core, &conn->sink, ask->id);
    const struct ulm_event event = {.type = ULM_EVENT_ERROR,
                                    .error = {ULM_ERROR_BUSY, refusal, open ? ask->id : NULL}};
    note_failed_add(conn, ulm_wire_add_event(&conn->out, open ? NULL : ask->id, &event));
}

static int add_answer(struct ulm_conn *conn, const struct ulm_request *request)
{
    const struct ulm_answers *answers = &conn->sock->answers;
    ULM_CLEANUP_BUF struct ulm_buf body = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX / 2);
    bool hello = request->op == ULM_OP_HELLO;
    int r = hello ? answers->hello(answers->data, &body)
                  : answers->status(answers->data, request->prometheus, &body);
    if (r < 0)
        return r;
    return ulm_wire_add_answer(&conn->out, hello ? "hello" : "status", request->id,
                               ulm_buf_str(&body));
}

static void handle(struct ulm_conn *conn, const struct ulm_request *request)
{
    struct ulm_core *core = conn->sock->core;
    switch (request->op) {
    case ULM_OP_HELLO:
    case ULM_OP_STATUS:
        note_failed_add(conn, add_answer(conn, request));
        break;
    case ULM_OP_ASK:
        handle_ask(conn, &request->ask);
        break;
    case ULM_OP_DRAFT:
        ulm_core_draft(core, &conn->sink, &request->ask, ulm_front_now_us());
        break;
    case ULM_OP_PLAYED:
        ulm_core_played(core, &conn->sink, request->id, request->words, ulm_front_now_us());
        break;
    case ULM_OP_CANCEL:
        ulm_core_cancel(core, &conn->sink, request->id, ulm_front_now_us());
        break;
    case ULM_OP_RESET:
        ulm_core_reset(core, &conn->sink, request->session);
        note_failed_add(conn, ulm_wire_add_ok(&conn->out, request->id, "reset"));
        break;
    }
}

/* May a line of it be taken now? One that may not gets its turn before those that had one. */
static bool has_turn(struct ulm_conn *conn)
{
    struct ulm_socket *sock = conn->sock;
    int64_t now_us = ulm_front_now_us(), paid_us = (now_us - conn->spent_at_us) / LIGHT_SHARE;
    if (paid_us > 0) {
        conn->spent_us = conn->spent_us > paid_us ? conn->spent_us - paid_us : 0;
        conn->spent_at_us = now_us;
    }
    bool room = sock->heavy_us < HEAVY_A_TURN_US;
    if (conn->spent_us < LIGHT_US || (room && (conn->waits || sock->n_waiting == 0))) {
        wait_no_more(conn);
        return true;
    }
    if (!room && !conn->waits) {
        conn->waits = true;
        sock->n_waiting++;
    }
    return false;
}

static void note_time(struct ulm_conn *conn, int64_t from_us)
{
    int64_t took_us = ulm_front_now_us() - from_us;
    conn->spent_us += took_us;
    if (conn->spent_us > SPENT_MAX_US)
        conn->spent_us = SPENT_MAX_US;
    if (conn->spent_us >= LIGHT_US)
        conn->sock->heavy_us += took_us;
}

/* Takes the whole lines that are there, as long as the client reads its answers. What is held back
 * waits until the output was written; what is one turn's too many waits for the next. */
static void take_lines(struct ulm_conn *conn)
{
    conn->held_back = conn->yielded = false;
    for (int n = 0; conn->state == ULM_CONN_OPEN && !conn->overflow && !conn->lost; n++) {
        if (unsent(conn) > OUTPUT_HIGH) {
            conn->held_back = true;
            wait_no_more(conn);
            break;
        }
        if (conn->sent > OUTPUT_HIGH / 2)
            compact(conn); /* so that the cap bounds what is unsent, not what was sent */
        if (n == LINES_A_TURN || !has_turn(conn)) {
            conn->yielded = true;
            ulm_socket_turn_again(conn->sock);
            break;
        }
        struct ulm_request request;
        struct ulm_fault fault;
        int64_t from_us = ulm_front_now_us();
        int r = ulm_wire_next(&conn->wire, conn->input_ended, &request, &fault);
        if (r == ULM_WIRE_REQUEST) {
            handle(conn, &request);
            ulm_request_deinit(&request);
        } else if (r == ULM_WIRE_FAULT) {
            add_fault(conn, &fault);
        } else if (r == ULM_WIRE_BROKEN) {
            add_fault(conn, &fault);
            ulm_conn_finish(conn);
        } else if (r < 0) {
            note_failed_add(conn, r);
        } else {
            if (conn->input_ended)
                enter(conn, ULM_CONN_ENDED);
            break;
        }
        note_time(conn, from_us);
    }
    call_attention(conn);
}

void ulm_conn_go_on(struct ulm_conn *conn)
{
    if (conn->yielded)
        take_lines(conn);
}

/* Input */

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_readable(struct ulm_conn *conn)
{
    struct ulm_socket *sock = conn->sock;
    if (conn->state == ULM_CONN_OPEN && !has_turn(conn))
        return; /* it is still readable in the next turn */
    ssize_t n = recv(conn->fd, sock->scratch, sizeof sock->scratch, MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            ulm_conn_close(conn);
        return;
    }
    if (n == 0 && (conn->state == ULM_CONN_LINGERING || hung_up(conn->fd))) {
        ulm_conn_close(conn);
        return;
    }
    if (conn->state == ULM_CONN_LINGERING)
        return; /* thrown away */

    int r = n > 0 ? ulm_wire_feed(&conn->wire, sock->scratch, (size_t)n) : 0;
    explicit_bzero(sock->scratch, n > 0 ? (size_t)n : 0);
    if (n == 0)
        conn->input_ended = true;
    if (r < 0)
        note_failed_add(conn, r);
    else
        take_lines(conn);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct ulm_conn *conn = CONN_OF(handle, poll);

    if (status < 0 || (events & UV_PRIORITIZED)) { /* gone, or so odd that it shall be */
        ulm_conn_close(conn);
        return;
    }
    if ((events & UV_WRITABLE) && !flush(conn)) {
        ulm_conn_close(conn);
        return;
    }
    if (events & UV_READABLE)
        on_readable(conn);
    else if (conn->held_back && unsent(conn) <= OUTPUT_HIGH)
        take_lines(conn);
    if (conn->state != ULM_CONN_CLOSED)
        call_attention(conn);
}

/* Life */

static int conn_new(struct ulm_socket *sock, int fd, struct ulm_conn **ret_conn)
{
    struct ulm_conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return -ENOMEM;
    conn->sock = sock;
    conn->fd = fd;
    conn->out = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    ulm_wire_init(&conn->wire);
    int r = uv_poll_init(sock->loop, &conn->poll, fd);
    if (r < 0) {
        free(conn);
        return r;
    }
    conn->next = sock->clients;
    if (conn->next)
        conn->next->prev = conn;
    sock->clients = conn;
    sock->n_handles++;
    *ret_conn = conn;
    return 0;
}

int ulm_conn_new(struct ulm_socket *sock, int fd, uid_t uid, struct ulm_peer *peer)
{
    struct ulm_conn *conn;
    int r = conn_new(sock, fd, &conn);
    if (r < 0)
        return r;
    conn->sink = (struct ulm_sink){.emit = on_emit, .spent = on_spent, .uid = uid};
    conn->peer = peer;
    conn->known_to_core = true;
    sock->n_clients++;
    watch(conn);
    return 0;
}

int ulm_conn_refuse(struct ulm_socket *sock, int fd, const struct ulm_fault *fault)
{
    struct ulm_conn *conn;
    if (sock->n_refused >= REFUSED_MAX)
        return -EBUSY;
    int r = conn_new(sock, fd, &conn);
    if (r < 0)
        return r;
    conn->refused = true;
    sock->n_refused++;
    add_fault(conn, fault);
    ulm_conn_finish(conn);
    return 0;
}

static void forget_in_core(struct ulm_conn *conn)
{
    if (conn->known_to_core)
        ulm_core_sink_gone(conn->sock->core, &conn->sink, ulm_front_now_us());
    conn->known_to_core = false;
}

void ulm_conn_finish(struct ulm_conn *conn)
{
    call_attention(conn);
    if (conn->state >= ULM_CONN_CLOSING)
        return;
    enter(conn, ULM_CONN_CLOSING);
    forget_in_core(conn);
    ulm_wire_deinit(&conn->wire);
    conn->held_back = conn->yielded = false;
    conn->linger_until_us = ulm_front_now_us() + LINGER_US;
    ulm_socket_watch_lingering(conn->sock);
}

static void on_closed(uv_handle_t *handle)
{
    struct ulm_conn *conn = CONN_OF(handle, poll);
    struct ulm_socket *sock = conn->sock;

    close(conn->fd);
    ulm_wire_deinit(&conn->wire);
    ulm_buf_wipe(&conn->out);
    free(conn);
    ulm_socket_handle_closed(sock);
}

void ulm_conn_close(struct ulm_conn *conn)
{
    struct ulm_socket *sock = conn->sock;
    if (conn->state == ULM_CONN_CLOSED)
        return;
    enter(conn, ULM_CONN_CLOSED);
    forget_in_core(conn);
    if (conn->peer)
        ulm_peers_leave(sock->peers, conn->peer);

    for (struct ulm_conn **link = &sock->attention; conn->wants_attention && *link;
         link = &(*link)->next_attention) {
        if (*link == conn) {
            *link = conn->next_attention;
            conn->wants_attention = false;
            break;
        }
    }
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        sock->clients = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    if (conn->refused)
        sock->n_refused--;
    else
        sock->n_clients--;
    uv_close((uv_handle_t *)&conn->poll, on_closed);
}

void ulm_conn_attend(struct ulm_conn *conn)
{
    if (conn->lost) {
        ulm_log(ULM_LOG_ERROR, "out of memory, closing a client");
        ulm_conn_close(conn);
        return;
    }
    if (!flush(conn)) {
        ulm_conn_close(conn);
        return;
    }
    if (conn->overflow)
        cut_output(conn);

    if (conn->state == ULM_CONN_ENDED && unsent(conn) == 0 &&
        ulm_core_open_requests(conn->sock->core, &conn->sink) == 0) {
        ulm_conn_close(conn);
        return;
    }
    if (conn->sock->stopping && unsent(conn) == 0) {
        ulm_conn_close(conn);
        return;
    }
    if (conn->state == ULM_CONN_CLOSING && unsent(conn) == 0) {
        /* The peer may still write what it began; closing now would take the reason from it. */
        (void)shutdown(conn->fd, SHUT_WR);
        if (conn->input_ended) {
            ulm_conn_close(conn);
            return;
        }
        enter(conn, ULM_CONN_LINGERING);
    }
    watch(conn);
}
