/* SPDX-License-Identifier: MIT */
/* The socket with a core of the test's own: who is let in, what reaches core, what goes out, and
 * what happens to those who leave, flood, or do not read. Both ends live on this thread; a Unix
 * socket hands bytes over at once, so a few turns of the loop see everything. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <ulmd/session.h>

#include "front/conn.h"
#include "front/socket.h"
#include "util/log.h"

/* The core */

static struct ulm_core {
    struct ulm_sink *sink; /* of the last request */
    size_t asks, drafts, open, gone;
    char text[64], id[ULM_ID_MAX + 1], session[64];
    unsigned played;
} core;

void ulm_core_ask(struct ulm_core *c, struct ulm_sink *sink, const struct ulm_ask *ask,
                  int64_t now_us)
{
    c->sink = sink;
    c->asks++;
    c->open++;
    snprintf(c->id, sizeof c->id, "%s", ask->id);
    snprintf(c->text, sizeof c->text, "%s", ask->prompt.text);
}

void ulm_core_draft(struct ulm_core *c, struct ulm_sink *sink, const struct ulm_ask *ask,
                    int64_t now_us)
{
    c->drafts++;
}

void ulm_core_played(struct ulm_core *c, struct ulm_sink *sink, const char *id, unsigned words,
                     int64_t now_us)
{
    c->played = words;
}

static void emit_done(struct ulm_sink *sink, const char *id, int64_t tokens)
{
    core.open--;
    sink->spent(sink, tokens);
    sink->emit(sink, id,
               &(struct ulm_event){ULM_EVENT_DONE, .done = {.reason = ULM_REASON_CANCELLED,
                                                            .text = "",
                                                            .input_tokens = 0,
                                                            .output_tokens = tokens}});
}

void ulm_core_cancel(struct ulm_core *c, struct ulm_sink *sink, const char *id, int64_t now_us)
{
    emit_done(sink, id, 10);
}

void ulm_core_reset(struct ulm_core *c, struct ulm_sink *sink, const char *session)
{
    snprintf(c->session, sizeof c->session, "%s", session);
}

void ulm_core_sink_gone(struct ulm_core *c, struct ulm_sink *sink, int64_t now_us)
{
    c->gone++;
    c->open = 0;
}

size_t ulm_core_open_requests(const struct ulm_core *c, const struct ulm_sink *sink)
{
    return c->open;
}

bool ulm_core_is_open(const struct ulm_core *c, const struct ulm_sink *sink, const char *id)
{
    return c->open > 0 && strcmp(c->id, id) == 0;
}

/* The daemon's side */

static uv_loop_t loop;
static struct ulm_peers peers;
static struct ulm_socket *sock;
static struct ulm_socket_limits limits;
static char dir[] = "/tmp/ulmd-test-socket-XXXXXX";
static char path[64];
static bool stopped;

static void say_nothing(enum ulm_log_level level, uint64_t request, const char *line)
{
}

static int answer_hello(void *data, struct ulm_buf *out)
{
    return ulm_buf_add_str(out, ",\"protocol\":1");
}

static unsigned answered;
static uint64_t answer_takes_us;

static int answer_status(void *data, bool prometheus, struct ulm_buf *out)
{
    uint64_t until = uv_hrtime() + answer_takes_us * 1000;
    while (answer_takes_us && uv_hrtime() < until)
        ;
    answered++;
    return ulm_buf_add_fmt(out, ",\"prometheus\":%s", prometheus ? "true" : "false");
}

static void turn(void)
{
    for (int i = 0; i < 40; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void start(void)
{
    const struct ulm_answers answers = {answer_hello, answer_status, NULL};
    const struct ulm_listen_at at = {.path = path, .mode = 0600};
    struct ulm_listener listener;
    char reterr[256];

    ulm_log_set_sink(say_nothing);
    memset(&core, 0, sizeof core);
    limits = (struct ulm_socket_limits){.max_clients = 8};
    strcpy(dir + sizeof dir - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    ulm_peers_init(&peers);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(ulm_socket_new(&loop, &core, &peers, &limits, &answers, &sock), 0);
    ck_assert_msg(ulm_listener_open(&at, &listener, reterr, sizeof reterr) == 0, "%s", reterr);
    ck_assert_int_eq(ulm_socket_add_listener(sock, &listener), 0);
}

static void end(void)
{
    sock = ulm_socket_free(sock);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ulm_peers_deinit(&peers);
    ck_assert_int_eq(access(path, F_OK), -1); /* its file is gone with it */
    ck_assert_int_eq(rmdir(dir), 0);
}

/* The client's side */

static int connect_client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    turn();
    return fd;
}

static void tell(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    turn();
}

static char heard[256 * 1024];

/* Everything that is there now. */
static const char *hear(int fd)
{
    size_t len = 0;
    turn();
    for (ssize_t n; (n = recv(fd, heard + len, sizeof heard - 1 - len, 0)) > 0; turn())
        len += (size_t)n;
    heard[len] = '\0';
    return heard;
}

static bool is_closed(int fd)
{
    char byte;
    turn();
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

#define ASK(id_) "{\"op\":\"ask\",\"id\":\"" id_ "\",\"text\":\"what\"}\n"

START_TEST(test_requests)
{
    start();
    int fd = connect_client();
    tell(fd, "{\"op\":\"hello\",\"id\":\"h\"}\n{\"op\":\"status\",\"format\":\"prometheus\"}\n");
    ck_assert_str_eq(hear(fd), "{\"event\":\"hello\",\"id\":\"h\",\"protocol\":1}\n"
                               "{\"event\":\"status\",\"prometheus\":true}\n");
    tell(fd, ASK("1") "{\"op\":\"draft\",\"id\":\"2\",\"text\":\"wh\"}\n"
                      "{\"op\":\"played\",\"id\":\"1\",\"words\":2}\n"
                      "{\"op\":\"reset\",\"session\":\"s\"}\n");
    ck_assert_str_eq(core.text, "what");
    ck_assert_uint_eq(core.sink->uid, getuid());
    ck_assert_uint_eq(core.drafts, 1);
    ck_assert_uint_eq(core.played, 2);
    ck_assert_str_eq(core.session, "s");
    ck_assert_str_eq(hear(fd), "{\"event\":\"ok\",\"op\":\"reset\"}\n");
    core.sink->emit(core.sink, "1", &(struct ulm_event){ULM_EVENT_OPENER, .opener = {"So"}});
    ck_assert_str_eq(hear(fd), "{\"event\":\"opener\",\"id\":\"1\",\"text\":\"So\"}\n");
    tell(fd, "{\"op\":\"sing\",\"id\":\"x\"}\n");
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"ref\":\"x\""));
    ck_assert_uint_eq(core.gone, 0);
    close(fd);
    turn();
    ck_assert_uint_eq(core.gone, 1);
    ck_assert_uint_eq(ulm_socket_clients(sock), 0);
    end();
}
END_TEST

START_TEST(test_end_of_input_lets_requests_finish)
{
    start();
    int fd = connect_client();
    tell(fd, ASK("1"));
    shutdown(fd, SHUT_WR);
    turn();
    ck_assert_uint_eq(core.gone, 0);
    ck_assert_uint_eq(ulm_socket_clients(sock), 1);
    emit_done(core.sink, "1", 0);
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"event\":\"done\""));
    ck_assert(is_closed(fd));
    ck_assert_uint_eq(ulm_socket_clients(sock), 0);
    close(fd);

    /* What was said before the end, its last line without LF, is still read. */
    fd = connect_client();
    ck_assert_int_gt(send(fd, ASK("1") "{\"op\":\"hello\"}", strlen(ASK("1")) + 14, 0), 0);
    shutdown(fd, SHUT_WR);
    ck_assert_str_eq(hear(fd), "{\"event\":\"hello\",\"protocol\":1}\n");
    ck_assert_uint_eq(core.open, 1);

    /* And then the hang-up is seen as well. */
    close(fd);
    turn();
    ck_assert_uint_eq(ulm_socket_clients(sock), 0);
    ck_assert_uint_eq(core.open, 0);
    end();
}
END_TEST

START_TEST(test_hang_up_cancels)
{
    start();
    int fd = connect_client();
    tell(fd, ASK("1"));
    close(fd);
    turn();
    ck_assert_uint_eq(core.gone, 1);
    ck_assert_uint_eq(ulm_socket_clients(sock), 0);

    /* Said and gone in one moment. */
    fd = connect_client();
    ck_assert_int_gt(send(fd, ASK("2"), strlen(ASK("2")), 0), 0);
    close(fd);
    turn();
    ck_assert_uint_eq(core.gone, 2);
    end();
}
END_TEST

START_TEST(test_broken_framing)
{
    start();
    int other = connect_client(), fd = connect_client();
    tell(fd, ASK("1") "nonsense\n{\"op\":\"hello\"}\n");
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"code\":\"bad_request\""));
    ck_assert_ptr_null(strstr(heard, "hello"));
    ck_assert(is_closed(fd));
    ck_assert_uint_eq(core.gone, 1);
    tell(fd, "still talking\n"); /* thrown away; no reset takes the reason from the peer */
    close(fd);
    tell(other, "{\"op\":\"hello\"}\n");
    ck_assert_ptr_nonnull(strstr(hear(other), "hello"));
    ck_assert_uint_eq(ulm_socket_clients(sock), 1);
    close(other);
    end();
}
END_TEST

START_TEST(test_too_many_clients)
{
    int fds[8];
    start();
    for (int i = 0; i < 8; i++)
        fds[i] = connect_client();
    int fd = connect_client();
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"code\":\"busy\""));
    ck_assert(is_closed(fd));
    close(fd);
    close(fds[0]);
    turn();
    fds[0] = connect_client();
    tell(fds[0], "{\"op\":\"hello\"}\n");
    ck_assert_ptr_nonnull(strstr(hear(fds[0]), "hello"));
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    end();
}
END_TEST

START_TEST(test_allow_lists)
{
    const uid_t others[] = {getuid() + 1}, me[] = {getuid()};
    const gid_t groups[] = {getgid()}, other_groups[] = {54321};
    const struct {
        struct ulm_socket_limits limits;
        bool allowed;
    } cases[] = {
        {{8, others, 1, NULL, 0}, false},  {{8, me, 1, NULL, 0}, true},
        {{8, NULL, 0, groups, 1}, true},   {{8, NULL, 0, other_groups, 1}, false},
        {{8, others, 1, groups, 1}, true},
    };
    start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ulm_socket_configure(sock, &cases[i].limits);
        int fd = connect_client();
        ck_assert_uint_eq(ulm_socket_clients(sock), cases[i].allowed);
        if (!cases[i].allowed)
            ck_assert_ptr_nonnull(strstr(hear(fd), "\"code\":\"denied\""));
        close(fd);
        turn();
    }
    end();
}
END_TEST

START_TEST(test_quotas)
{
    start();
    peers.quota = (struct ulm_quota){.connections = 2};
    int a = connect_client(), b = connect_client(), c = connect_client();
    ck_assert_ptr_nonnull(strstr(hear(c), "client_connections"));
    ck_assert(is_closed(c));
    close(c);
    close(b);

    peers.quota = (struct ulm_quota){.requests = 1};
    tell(a, ASK("1") ASK("2"));
    ck_assert_uint_eq(core.asks, 1);
    ck_assert_ptr_nonnull(strstr(hear(a), "\"id\":\"2\",\"code\":\"busy\""));
    ck_assert_ptr_nonnull(strstr(heard, "client_requests"));
    tell(a, ASK("1")); /* the open one must not be harmed */
    ck_assert_ptr_nonnull(strstr(hear(a), "\"ref\":\"1\""));
    ck_assert_ptr_null(strstr(heard, "\"id\""));
    emit_done(core.sink, "1", 0);
    tell(a, ASK("3"));
    ck_assert_uint_eq(core.asks, 2);
    emit_done(core.sink, "3", 1000);
    hear(a);

    peers.quota = (struct ulm_quota){.tokens_per_minute = 100};
    tell(a, ASK("4"));
    ck_assert_uint_eq(core.asks, 2);
    ck_assert_ptr_nonnull(strstr(hear(a), "client_tokens_per_minute"));
    close(a);
    turn();
    a = connect_client(); /* coming again does not help */
    tell(a, ASK("5"));
    ck_assert_uint_eq(core.asks, 2);
    peers.first->tokens_us -= 10 * 60000000LL; /* ten minutes later */
    tell(a, ASK("6"));
    ck_assert_uint_eq(core.asks, 3);
    close(a);
    end();
}
END_TEST

static void emit_much(size_t bytes)
{
    static char text[32 * 1024];
    memset(text, 'x', sizeof text - 1);
    for (size_t sent = 0; sent < bytes; sent += sizeof text)
        core.sink->emit(core.sink, "1", &(struct ulm_event){ULM_EVENT_DELTA, .delta = {text}});
}

START_TEST(test_slow_reader)
{
    start();
    int other = connect_client(), fd = connect_client();
    tell(fd, ASK("1"));
    emit_much(ULM_OUTPUT_QUEUE_MAX / 2); /* much, but lawful */
    turn();
    ck_assert_uint_eq(core.gone, 0);
    emit_much(2 * ULM_OUTPUT_QUEUE_MAX);
    ck_assert_uint_eq(core.gone, 0); /* not while core stands in its emit */
    turn();
    ck_assert_uint_eq(core.gone, 1);
    tell(other, "{\"op\":\"hello\"}\n");
    ck_assert_ptr_nonnull(strstr(hear(other), "hello"));

    /* Once it reads: whole lines, the last one says why. */
    char last[512] = "";
    const char *text;
    while (*(text = hear(fd)) != '\0') {
        size_t len = strlen(text);
        snprintf(last, sizeof last, "%s", text + (len > 300 ? len - 300 : 0));
    }
    const char *error = strstr(last, "{\"event\":\"error\"");
    ck_assert_ptr_nonnull(error);
    ck_assert_ptr_nonnull(strstr(error, "\"code\":\"busy\""));
    ck_assert_ptr_nonnull(strstr(error, "too slowly"));
    ck_assert(is_closed(fd));
    close(fd);
    close(other);
    end();
}
END_TEST

/* One that asks without reading is read no further, and loses nothing. */
START_TEST(test_requests_wait_for_their_reader)
{
    static const char line[] = "{\"op\":\"hello\",\"id\":\"0123456789\"}\n";
    size_t sent = 0, answers = 0;
    start();
    int fd = connect_client();
    for (int quiet = 0; quiet < 3; turn()) {
        ssize_t n = send(fd, line, sizeof line - 1, MSG_NOSIGNAL);
        ck_assert(n < 0 || n == sizeof line - 1);
        quiet = n < 0 ? quiet + 1 : 0;
        sent += n > 0;
        ck_assert_uint_lt(sent, 1000000);
    }
    ck_assert_uint_lt(sock->clients->out.len, ULM_OUTPUT_QUEUE_MAX / 2 + 65536);
    for (const char *text; *(text = hear(fd)) != '\0';) {
        for (const char *p = text; (p = strchr(p, '\n')); p++)
            answers++;
    }
    ck_assert_uint_eq(answers, sent);
    close(fd);
    end();
}
END_TEST

/* Many lines in one write are all taken, though the peer reads nothing meanwhile. */
START_TEST(test_many_lines_at_once)
{
    struct ulm_buf lines = ULM_BUF_INIT(1024 * 1024);
    start();
    int other = connect_client(), fd = connect_client();
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(ulm_buf_add_str(&lines, "{\"op\":\"played\",\"id\":\"1\",\"words\":1}\n"),
                         0);
    ck_assert_int_eq(ulm_buf_add_str(&lines, "{\"op\":\"reset\",\"session\":\"last\"}\n"), 0);
    /* Its answers fill what the socket takes, so that it is never writable again. */
    for (int i = 0; i < 40; i++)
        tell(fd, "{\"op\":\"hello\"}\n");
    core.sink = &sock->clients->sink;
    emit_much(ULM_OUTPUT_QUEUE_MAX / 3);
    turn();
    ck_assert_int_eq(send(fd, lines.data, lines.len, MSG_NOSIGNAL), (ssize_t)lines.len);
    for (int i = 0; i < 10 && !*core.session; i++)
        turn();
    ck_assert_str_eq(core.session, "last");
    ulm_buf_deinit(&lines);
    close(fd);
    close(other);
    end();
}
END_TEST

static void on_stopped(void *data)
{
    stopped = true;
}

#define STATUS "{\"op\":\"status\"}\n"

/* Connections that ask for much share a part of each turn, each in its turn; one that asks for
 * little does not wait for them. */
START_TEST(test_who_asks_much_waits)
{
    int fds[7]; /* the last one says little */
    char byte;
    start();
    answered = 0;
    answer_takes_us = 2000;
    for (size_t i = 0; i < 7; i++)
        fds[i] = connect_client();
    for (size_t i = 0; i < 6 * 20; i++)
        ck_assert_int_gt(send(fds[i % 6], STATUS, strlen(STATUS), MSG_NOSIGNAL), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_le(answered, 6 + 3);
    ck_assert_int_gt(send(fds[6], STATUS, strlen(STATUS), MSG_NOSIGNAL), 0);
    for (int i = 0; i < 3; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(recv(fds[6], &byte, 1, MSG_PEEK), 1);
    for (unsigned turns = 0, before; answered < 6 * 20 + 1; turns++) {
        before = answered;
        ck_assert_uint_lt(turns, 1000);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_uint_le(answered - before, 3);
    }
    for (size_t i = 0; i < 7; i++) {
        unsigned lines = 0;
        for (const char *p = hear(fds[i]); (p = strchr(p, '\n')); p++)
            lines++;
        ck_assert_uint_eq(lines, i < 6 ? 20 : 1);
        close(fds[i]);
    }
    answer_takes_us = 0;
    turn();
    end();
}
END_TEST

START_TEST(test_stop)
{
    start();
    stopped = false;
    int idle = connect_client(), fd = connect_client();
    tell(fd, ASK("1"));
    emit_done(core.sink, "1", 0);
    ulm_socket_stop(sock, on_stopped, NULL);
    ck_assert(!stopped);
    turn();
    ck_assert(stopped);
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"event\":\"done\""));
    ck_assert(is_closed(fd));
    ck_assert(is_closed(idle));
    close(fd);
    close(idle);
    end();
}
END_TEST

START_TEST(test_listening)
{
    struct ulm_listener second;
    struct stat st;
    char reterr[256];
    start();
    const struct ulm_listen_at at = {.path = path, .mode = 0620};
    ck_assert_int_eq(ulm_listener_open(&at, &second, reterr, sizeof reterr), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(reterr, "another daemon listens on it"));

    /* A socket file without a listener is taken over, and its mode set. */
    char stale[80];
    snprintf(stale, sizeof stale, "%s/stale", dir);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, stale);
    int old = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(old, (struct sockaddr *)&address, sizeof address), 0);
    close(old);
    const struct ulm_listen_at again = {.path = stale, .mode = 0620};
    ck_assert_msg(ulm_listener_open(&again, &second, reterr, sizeof reterr) == 0, "%s", reterr);
    ck_assert_int_eq(stat(stale, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0620);

    /* A daemon that lost its file to another one leaves the other's alone. */
    ck_assert_int_eq(unlink(stale), 0);
    old = open(stale, O_CREAT | O_WRONLY, 0600);
    close(old);
    ulm_listener_close(&second);
    ck_assert_int_eq(access(stale, F_OK), 0);
    ck_assert_int_eq(ulm_listener_open(&again, &second, reterr, sizeof reterr), -EEXIST);
    ck_assert_int_eq(unlink(stale), 0);

    ck_assert_int_eq(chmod(dir, 0777), 0);
    ck_assert_int_lt(ulm_listener_open(&again, &second, reterr, sizeof reterr), 0);
    ck_assert_ptr_nonnull(strstr(reterr, "anybody may write to its directory"));
    ck_assert_int_eq(chmod(dir, 0700), 0);
    end();
}
END_TEST

UNIT_MAIN("socket", test_requests, test_end_of_input_lets_requests_finish, test_hang_up_cancels,
          test_broken_framing, test_too_many_clients, test_allow_lists, test_quotas,
          test_slow_reader, test_requests_wait_for_their_reader, test_many_lines_at_once,
          test_who_asks_much_waits, test_stop, test_listening)
