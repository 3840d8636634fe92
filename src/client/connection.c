/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/client.h"

#define SYSTEM_SOCKET     "/run/ulmd/ulmd.sock"
#define CONNECT_TIMEOUT_S 5
#define READ_SIZE         (16u * 1024)
#define READS_PER_TURN    16 /* then the caller's loop has its turn */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

ULM_CLIENT_API int ulm_client_from_fd(int fd, struct ulm_client **ret_client)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    struct ulm_client *client = calloc(1, sizeof *client);
    if (!client)
        return -ENOMEM;
    client->fd = fd;
    ulm_buf_init(&client->in, ULM_OUTPUT_QUEUE_MAX);
    ulm_buf_init(&client->out, ULM_OUTPUT_QUEUE_MAX);
    ulm_buf_init(&client->strings, ULM_OUTPUT_QUEUE_MAX);
    *ret_client = client;
    return 0;
}

static int connect_to(const char *path, struct ulm_client **ret_client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, len + 1);

    __attribute__((cleanup(close_fd))) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* A backlog that is full would hold connect() for good. */
    struct timeval limit = {.tv_sec = CONNECT_TIMEOUT_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;

    int r = ulm_client_from_fd(fd, ret_client);
    if (r == 0)
        fd = -1; /* NOLINT(clang-analyzer-deadcode.DeadStores): close_fd reads it */
    return r;
}

ULM_CLIENT_API int ulm_client_connect(const char *path, struct ulm_client **ret_client)
{
    const char *set = getenv("ULMD_SOCKET");
    if (!path && set && *set)
        path = set;
    if (path)
        return connect_to(path, ret_client);

    int r = connect_to(SYSTEM_SOCKET, ret_client);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (r == 0 || !runtime || *runtime != '/')
        return r;
    char user[sizeof((struct sockaddr_un *)0)->sun_path + 1];
    int n = snprintf(user, sizeof user, "%s/ulmd.sock", runtime);
    if (n < 0 || (size_t)n >= sizeof user)
        return r;
    int second = connect_to(user, ret_client);
    /* Of two refusals, that of the socket which exists says more. */
    return second == -ENOENT ? r : second;
}

ULM_CLIENT_API struct ulm_client *ulm_client_free(struct ulm_client *client)
{
    if (!client)
        return NULL;
    while (client->requests)
        ulm_client_forget(client, client->requests);
    close_fd(&client->fd);
    ulm_buf_deinit(&client->in);
    ulm_buf_deinit(&client->out);
    ulm_buf_deinit(&client->strings);
    free(client);
    return NULL;
}

ULM_CLIENT_API void ulm_client_set_handler(struct ulm_client *client, ulm_client_handler *handler,
                                           void *data)
{
    client->handler = handler;
    client->handler_data = data;
}

ULM_CLIENT_API int ulm_client_fd(const struct ulm_client *client)
{
    return client->fd;
}

ULM_CLIENT_API short ulm_client_events(const struct ulm_client *client)
{
    return (short)(client->out.len > 0 ? POLLIN | POLLOUT : POLLIN);
}

static int write_queued(struct ulm_client *client)
{
    while (client->out.len > 0) {
        ssize_t n = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        /* The daemon may have said why before it closed: that is read first. */
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            ulm_buf_clear(&client->out);
            return 0;
        }
        if (n < 0)
            return -errno;
        ulm_buf_consume(&client->out, (size_t)n);
    }
    return 0;
}

/* Hands out the complete lines of `in`. */
static int receive_lines(struct ulm_client *client)
{
    size_t start = 0;
    char *end;
    while (
        (end = memchr(client->in.data + client->scanned, '\n', client->in.len - client->scanned))) {
        size_t at = (size_t)(end - client->in.data);
        client->scanned = at + 1;
        *end = '\0';
        int r = ulm_client_receive(client, client->in.data + start, at - start);
        if (r < 0)
            return r;
        start = at + 1;
    }
    ulm_buf_consume(&client->in, start);
    client->scanned = client->in.len;
    return 0;
}

static int read_some(struct ulm_client *client)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t room = client->in.cap - client->in.len;
        if (room == 0)
            return -EMSGSIZE;
        if (room > READ_SIZE)
            room = READ_SIZE;
        int r = ulm_buf_reserve(&client->in, room);
        if (r < 0)
            return r;
        ssize_t n = recv(client->fd, client->in.data + client->in.len, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0)
            return errno == ECONNRESET ? 1 : -errno;
        if (n == 0)
            return 1;
        client->in.len += (size_t)n;
        client->in.data[client->in.len] = '\0';
        r = receive_lines(client);
        if (r < 0)
            return r;
    }
    return 0;
}

ULM_CLIENT_API int ulm_client_dispatch(struct ulm_client *client)
{
    if (client->in_handler)
        return -EBUSY;
    if (client->state != 0)
        return client->state;
    int r = write_queued(client);
    if (r == 0)
        r = read_some(client);
    if (r == 0) /* what the handlers asked */
        r = write_queued(client);
    client->state = r;
    return r;
}

ULM_CLIENT_API int ulm_client_wait(struct ulm_client *client, int timeout_ms)
{
    if (client->in_handler)
        return -EBUSY;
    if (client->state != 0)
        return client->state;
    struct pollfd p = {client->fd, ulm_client_events(client), 0};
    int n = poll(&p, 1, timeout_ms);
    if (n < 0)
        return -errno;
    return n == 0 ? -ETIMEDOUT : ulm_client_dispatch(client);
}
