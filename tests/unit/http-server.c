/* SPDX-License-Identifier: MIT */
#include "tests/unit/http-server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct client {
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } handle;
    uv_idle_t pacer; /* sends the next piece on each turn of the loop */
    struct http_server *server;
    struct client *next;
    unsigned open_handles;
    bool closing;
    char in[65536];
    size_t n_in;
    const struct reply *reply;
    size_t sent;
    unsigned linger; /* turns of the loop since then */
};

/* Not from the heap: tests that count or fail allocations mean the cloud's, and nothing that was
 * sent stays in memory behind it. */
static struct client *client_new(void)
{
    void *memory = mmap(NULL, sizeof(struct client), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

static uv_stream_t *stream_of(struct client *client)
{
    return (uv_stream_t *)&client->handle;
}

static void on_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    if (--client->open_handles > 0)
        return;
    struct client **at = (struct client **)&client->server->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    client->server->open--;
    munmap(client, sizeof *client);
}

static void client_close(struct client *client, bool reset)
{
    if (client->closing)
        return;
    client->closing = true;
    uv_close((uv_handle_t *)&client->pacer, on_closed);
    if (reset && client->handle.tcp.type == UV_TCP)
        uv_tcp_close_reset(&client->handle.tcp, on_closed);
    else
        uv_close((uv_handle_t *)&client->handle, on_closed);
}

static void send_some(struct client *client, const char *bytes, size_t len)
{
    while (len > 0) {
        uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
        int n = uv_try_write(stream_of(client), &buf, 1);
        if (n == UV_EAGAIN)
            continue; /* small replies on loopback: at most a moment */
        if (n < 0) {
            client_close(client, false);
            return;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

static void on_pace(uv_idle_t *pacer)
{
    struct client *client = pacer->data;
    const struct reply *reply = client->reply;
    size_t len = reply->len || !reply->bytes ? reply->len : strlen(reply->bytes);
    size_t n = len - client->sent;

    if (reply->chunk > 0 && n > reply->chunk)
        n = reply->chunk;
    send_some(client, reply->bytes + client->sent, n);
    client->sent += n;
    if (client->sent < len || client->closing)
        return;
    /* A reset takes along what the peer has not read: it gets a few turns to read it. */
    if (reply->after == AFTER_RESET && client->linger++ < 5)
        return;
    uv_idle_stop(pacer);
    if (reply->after == AFTER_CLOSE || reply->after == AFTER_RESET)
        client_close(client, reply->after == AFTER_RESET);
}

/* The whole request at the front of the buffer: its length, or 0. */
static size_t request_len(const struct client *client)
{
    const char *end = memmem(client->in, client->n_in, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - client->in) + 4;
    const char *field = memmem(client->in, head, "Content-Length: ", 16);
    size_t need = head + (field ? strtoul(field + 16, NULL, 10) : 0);
    return client->n_in >= need ? need : 0;
}

static void answer(struct client *client, size_t len)
{
    struct http_server *server = client->server;
    if (strncmp(client->in, "HEAD ", 5) == 0) {
        static const char head[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n";
        server->heads++;
        send_some(client, head, sizeof head - 1);
        return;
    }
    memcpy(server->last_request, client->in, len);
    server->last_request[len] = '\0';
    size_t i = server->requests < server->n_replies ? server->requests : server->n_replies - 1;
    server->requests++;
    client->reply = &server->replies[i];
    client->sent = client->linger = 0;
    uv_idle_start(&client->pacer, on_pace);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    struct client *client = handle->data;
    *buf = uv_buf_init(client->in + client->n_in, (unsigned)(sizeof client->in - client->n_in - 1));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    if (n < 0) {
        client_close(client, false);
        return;
    }
    client->n_in += (size_t)n;
    client->in[client->n_in] = '\0';
    for (size_t len; !client->closing && (len = request_len(client)) > 0;) {
        answer(client, len);
        memmove(client->in, client->in + len, client->n_in - len);
        client->n_in -= len;
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct http_server *server = listener->data;
    struct client *client = client_new();
    uv_idle_init(listener->loop, &client->pacer);
    if (listener->type == UV_TCP)
        uv_tcp_init(listener->loop, &client->handle.tcp);
    else
        uv_pipe_init(listener->loop, &client->handle.pipe, 0);
    client->server = server;
    client->open_handles = 2;
    client->pacer.data = client->handle.tcp.data = client;
    client->next = server->clients;
    server->clients = client;
    server->connections++;
    server->open++;
    if (uv_accept(listener, stream_of(client)) < 0)
        abort();
    uv_read_start(stream_of(client), on_alloc, on_read);
}

void http_server_start(struct http_server *server, uv_loop_t *loop, const char *path)
{
    memset(server, 0, sizeof *server);
    server->listener = (uv_stream_t *)&server->handle;
    if (path) {
        uv_pipe_init(loop, &server->handle.pipe, 0);
        if (uv_pipe_bind(&server->handle.pipe, path) < 0)
            abort();
        snprintf(server->url, sizeof server->url, "http://localhost");
    } else {
        struct sockaddr_in address;
        int len = sizeof address;
        uv_ip4_addr("127.0.0.1", 0, &address);
        uv_tcp_init(loop, &server->handle.tcp);
        if (uv_tcp_bind(&server->handle.tcp, (struct sockaddr *)&address, 0) < 0)
            abort();
        uv_tcp_getsockname(&server->handle.tcp, (struct sockaddr *)&address, &len);
        snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    }
    server->listener->data = server;
    if (uv_listen(server->listener, 16, on_connection) < 0)
        abort();
    uv_unref((uv_handle_t *)server->listener); /* so that an idle loop ends: see run() in tests */
}

void http_server_stop(struct http_server *server)
{
    uv_close((uv_handle_t *)server->listener, NULL);
    for (struct client *c = server->clients; c; c = c->next)
        client_close(c, false);
}
