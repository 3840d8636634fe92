/* SPDX-License-Identifier: MIT */
/*
 * Core's events are only queued where they are emitted; the socket's prepare handle, which runs on
 * each turn of the loop before it sleeps, writes what was queued and closes whom it must. So no
 * write, no close and no free happens while core stands in the middle of a request.
 *
 * Hang-up and end of input differ: after shutdown(SHUT_WR) by the peer its answers still go out,
 * while a peer that is gone must cost nothing more. poll(2) tells them apart (POLLHUP needs both
 * directions shut), but once input has ended a watch for reading would fire for ever. A client in
 * ENDED is therefore watched for priority data, of which none can come: what wakes it is the
 * hang-up, which epoll always reports.
 */
#include "front/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ulmd/session.h>

#include "util/log.h"

#define LINGER_US 2000000

/* Requests wait while this much is unsent: a client that asks without reading harms itself only. */
#define OUTPUT_HIGH (64u * 1024)

#define CLIENT_OF(ptr_, member_) \
    ((struct ulm_client *)((char *)(ptr_)-offsetof(struct ulm_client, member_)))

static void on_poll(uv_poll_t *handle, int status, int events);

static size_t unsent(const struct ulm_client *client)
{
    return client->out.len - client->sent;
}

static void enter(struct ulm_client *client, enum ulm_client_state state)
{
    client->state = state;
}

static void call_attention(struct ulm_client *client)
{
    if (client->wants_attention)
        return;
    client->wants_attention = true;
    client->next_attention = client->sock->attention;
    client->sock->attention = client;
}

/* Watches for what the state waits for. */
static void watch(struct ulm_client *client)
{
    int events = unsent(client) > 0 ? UV_WRITABLE : 0;
    switch (client->state) {
    case ULM_CLIENT_OPEN:
        if (client->held_back)
            events |= UV_WRITABLE; /* on_poll takes the lines up again */
        else if (!client->input_ended)
            events |= UV_READABLE;
        break;
    case ULM_CLIENT_ENDED:
        events |= UV_PRIORITIZED;
        break;
    case ULM_CLIENT_CLOSING:
        break;
    case ULM_CLIENT_LINGERING:
        events |= UV_READABLE;
        break;
    case ULM_CLIENT_CLOSED:
        return;
    }
    if (events != client->poll_events) {
        client->poll_events = events;
        if (events)
            (void)uv_poll_start(&client->poll, events, on_poll);
        else
            (void)uv_poll_stop(&client->poll);
    }
}

/* Output */

/* Frees the room of what was sent. */
static void compact(struct ulm_client *client)
{
    if (client->sent == client->out.len)
        ulm_buf_deinit(&client->out); /* an idle client holds no memory */
    else
        ulm_buf_consume(&client->out, client->sent);
    client->sent = 0;
}

static void note_failed_add(struct ulm_client *client, int r)
{
    if (r == -ENOBUFS)
        client->overflow = true;
    else if (r < 0)
        client->lost = true;
    call_attention(client);
}

static void on_emit(struct ulm_sink *sink, const char *id, const struct ulm_event *event)
{
    struct ulm_client *client = CLIENT_OF(sink, sink);

    ulm_peer_charge(client->peer, event);
    if (client->state > ULM_CLIENT_ENDED || client->overflow || client->lost)
        return;
    int r = ulm_wire_add_event(&client->out, id, event);
    if (r == -ENOBUFS && client->sent > 0) {
        compact(client);
        r = ulm_wire_add_event(&client->out, id, event);
    }
    note_failed_add(client, r);
}

static void add_fault(struct ulm_client *client, const struct ulm_fault *fault)
{
    note_failed_add(client, ulm_wire_add_fault(&client->out, fault));
}

/* Writes what the socket takes. false: the peer is gone. */
static bool flush(struct ulm_client *client)
{
    while (unsent(client) > 0) {
        ssize_t n = send(client->fd, client->out.data + client->sent, unsent(client),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
            return true;
        if (n < 0)
            return false;
        client->sent += (size_t)n;
    }
    if (client->sent > 0)
        compact(client);
    return true;
}

/* A slow reader: the line that is half out goes out whole, what is behind it gives way to the
 * reason, and its requests are cancelled. */
static void cut_output(struct ulm_client *client)
{
    size_t keep = client->sent;
    if (keep > 0 && client->out.data[keep - 1] != '\n') {
        char *lf = memchr(client->out.data + keep, '\n', unsent(client));
        keep = lf ? (size_t)(lf - client->out.data) + 1 : client->out.len;
    }
    if (client->out.data)
        ulm_buf_truncate(&client->out, keep);
    compact(client);

    struct ulm_fault fault = {
        .code = ULM_ERROR_BUSY,
        .message = "events are read too slowly: more than 1048576 bytes wait",
    };
    add_fault(client, &fault);
    client->overflow = false;
    ulm_log(ULM_LOG_WARNING, "client of uid %u reads too slowly, closing it",
            (unsigned)client->sink.uid);
    ulm_client_finish(client);
}

/* Requests */

static const char *quota_refusal(struct ulm_client *client, int64_t now_us)
{
    const struct ulm_socket *sock = client->sock;
    size_t open = 0;
    if (sock->peers->quota.requests > 0) {
        for (const struct ulm_client *c = sock->clients; c; c = c->next)
            open += c->peer == client->peer ? ulm_core_open_requests(sock->core, &c->sink) : 0;
    }
    return ulm_peer_refusal(sock->peers, client->peer, open, now_us);
}

static void handle_ask(struct ulm_client *client, const struct ulm_ask *ask)
{
    int64_t now_us = ulm_front_now_us();
    const char *refusal = quota_refusal(client, now_us);
    if (!refusal) {
        ulm_core_ask(client->sock->core, &client->sink, ask, now_us);
        return;
    }
    struct ulm_fault fault = {.code = ULM_ERROR_BUSY, .has_ref = true};
    strncpy(fault.ref, ask->id, sizeof fault.ref - 1);
    strncpy(fault.message, refusal, sizeof fault.message - 1);
    add_fault(client, &fault);
}

static int add_answer(struct ulm_client *client, const struct ulm_request *request)
{
    const struct ulm_answers *answers = &client->sock->answers;
    ULM_CLEANUP_BUF struct ulm_buf body = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX / 2);
    bool hello = request->op == ULM_OP_HELLO;
    int r = hello ? answers->hello(answers->data, &body)
                  : answers->status(answers->data, request->prometheus, &body);
    if (r < 0)
        return r;
    return ulm_wire_add_answer(&client->out, hello ? "hello" : "status", request->id,
                               ulm_buf_str(&body));
}

static void handle(struct ulm_client *client, const struct ulm_request *request)
{
    struct ulm_core *core = client->sock->core;
    switch (request->op) {
    case ULM_OP_HELLO:
    case ULM_OP_STATUS:
        note_failed_add(client, add_answer(client, request));
        break;
    case ULM_OP_ASK:
        handle_ask(client, &request->ask);
        break;
    case ULM_OP_DRAFT:
        ulm_core_draft(core, &client->sink, &request->ask, ulm_front_now_us());
        break;
    case ULM_OP_PLAYED:
        ulm_core_played(core, &client->sink, request->id, request->words, ulm_front_now_us());
        break;
    case ULM_OP_CANCEL:
        ulm_core_cancel(core, &client->sink, request->id, ulm_front_now_us());
        break;
    case ULM_OP_RESET:
        ulm_core_reset(core, &client->sink, request->session);
        note_failed_add(client, ulm_wire_add_ok(&client->out, request->id, "reset"));
        break;
    }
}

/* Takes the whole lines that are there, as long as the client reads its answers. */
static void take_lines(struct ulm_client *client)
{
    client->held_back = false;
    while (client->state == ULM_CLIENT_OPEN && !client->overflow && !client->lost) {
        if (unsent(client) > OUTPUT_HIGH && (!flush(client) || unsent(client) > OUTPUT_HIGH)) {
            client->held_back = true;
            break;
        }
        struct ulm_request request;
        struct ulm_fault fault;
        int r = ulm_wire_next(&client->wire, client->input_ended, &request, &fault);
        if (r == ULM_WIRE_REQUEST) {
            handle(client, &request);
            ulm_request_deinit(&request);
        } else if (r == ULM_WIRE_FAULT) {
            add_fault(client, &fault);
        } else if (r == ULM_WIRE_BROKEN) {
            add_fault(client, &fault);
            ulm_client_finish(client);
        } else if (r < 0) {
            note_failed_add(client, r);
        } else {
            if (client->input_ended)
                enter(client, ULM_CLIENT_ENDED);
            break;
        }
    }
    call_attention(client);
}

/* Input */

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_readable(struct ulm_client *client)
{
    struct ulm_socket *sock = client->sock;
    ssize_t n = recv(client->fd, sock->scratch, sizeof sock->scratch, MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            ulm_client_close(client);
        return;
    }
    if (n == 0 && (client->state == ULM_CLIENT_LINGERING || hung_up(client->fd))) {
        ulm_client_close(client);
        return;
    }
    if (client->state == ULM_CLIENT_LINGERING)
        return; /* thrown away */

    int r = n > 0 ? ulm_wire_feed(&client->wire, sock->scratch, (size_t)n) : 0;
    explicit_bzero(sock->scratch, n > 0 ? (size_t)n : 0);
    if (n == 0)
        client->input_ended = true;
    if (r < 0)
        note_failed_add(client, r);
    else
        take_lines(client);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct ulm_client *client = CLIENT_OF(handle, poll);

    if (status < 0 || (events & UV_PRIORITIZED)) { /* gone, or so odd that it shall be */
        ulm_client_close(client);
        return;
    }
    if ((events & UV_WRITABLE) && !flush(client)) {
        ulm_client_close(client);
        return;
    }
    if (events & UV_READABLE)
        on_readable(client);
    else if (client->held_back && unsent(client) <= OUTPUT_HIGH)
        take_lines(client);
    if (client->state != ULM_CLIENT_CLOSED)
        call_attention(client);
}

/* Life */

int ulm_client_new(struct ulm_socket *sock, int fd, uid_t uid, struct ulm_peer *peer)
{
    struct ulm_client *client = calloc(1, sizeof *client);
    if (!client)
        return -ENOMEM;
    client->sink = (struct ulm_sink){.emit = on_emit, .uid = uid};
    client->sock = sock;
    client->fd = fd;
    client->peer = peer;
    client->out = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    ulm_wire_init(&client->wire);
    int r = uv_poll_init(sock->loop, &client->poll, fd);
    if (r < 0) {
        free(client);
        return r;
    }
    client->known_to_core = true;
    client->next = sock->clients;
    if (client->next)
        client->next->prev = client;
    sock->clients = client;
    sock->n_clients++;
    sock->n_handles++;
    watch(client);
    return 0;
}

static void forget_in_core(struct ulm_client *client)
{
    if (client->known_to_core)
        ulm_core_sink_gone(client->sock->core, &client->sink);
    client->known_to_core = false;
}

void ulm_client_finish(struct ulm_client *client)
{
    if (client->state >= ULM_CLIENT_CLOSING)
        return;
    enter(client, ULM_CLIENT_CLOSING);
    forget_in_core(client);
    ulm_wire_deinit(&client->wire);
    client->held_back = false;
    client->linger_until_us = ulm_front_now_us() + LINGER_US;
    ulm_socket_watch_lingering(client->sock);
    call_attention(client);
}

static void on_closed(uv_handle_t *handle)
{
    struct ulm_client *client = CLIENT_OF(handle, poll);
    struct ulm_socket *sock = client->sock;

    close(client->fd);
    ulm_wire_deinit(&client->wire);
    ulm_buf_wipe(&client->out);
    free(client);
    ulm_socket_handle_closed(sock);
}

void ulm_client_close(struct ulm_client *client)
{
    struct ulm_socket *sock = client->sock;
    if (client->state == ULM_CLIENT_CLOSED)
        return;
    enter(client, ULM_CLIENT_CLOSED);
    forget_in_core(client);
    ulm_peers_leave(sock->peers, client->peer);

    for (struct ulm_client **link = &sock->attention; client->wants_attention && *link;
         link = &(*link)->next_attention) {
        if (*link == client) {
            *link = client->next_attention;
            client->wants_attention = false;
            break;
        }
    }
    if (client->prev)
        client->prev->next = client->next;
    else
        sock->clients = client->next;
    if (client->next)
        client->next->prev = client->prev;
    sock->n_clients--;
    uv_close((uv_handle_t *)&client->poll, on_closed);
}

void ulm_client_attend(struct ulm_client *client)
{
    if (client->lost) {
        ulm_log(ULM_LOG_ERROR, "out of memory, closing a client");
        ulm_client_close(client);
        return;
    }
    if (!flush(client)) {
        ulm_client_close(client);
        return;
    }
    if (client->overflow)
        cut_output(client);

    if (client->state == ULM_CLIENT_ENDED && unsent(client) == 0 &&
        ulm_core_open_requests(client->sock->core, &client->sink) == 0) {
        ulm_client_close(client);
        return;
    }
    if (client->state == ULM_CLIENT_CLOSING && unsent(client) == 0) {
        /* The peer may still write what it began; closing now would take the reason from it. */
        (void)shutdown(client->fd, SHUT_WR);
        if (client->input_ended) {
            ulm_client_close(client);
            return;
        }
        enter(client, ULM_CLIENT_LINGERING);
    }
    watch(client);
}
