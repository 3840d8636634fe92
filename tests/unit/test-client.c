/* SPDX-License-Identifier: MIT */
/* The library against a socket pair: the test plays the daemon. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <ulmd/client.h>
#include <ulmd/limits.h>

#include "tests/unit/unit.h"

/* What the handler saw, one line an event. */
struct seen {
    char log[8192];
    size_t len;
    struct ulm_client *client; /* where the handler is to ask on, else NULL */
    int ask_result, dispatch_result;
};

static void on_event(void *data, const struct ulm_client_event *e)
{
    struct seen *seen = data;
    seen->len += (size_t)snprintf(
        seen->log + seen->len, sizeof seen->log - seen->len, "%s id=%s text=[%s] answer=[%s]%s%s\n",
        e->name, e->id ? e->id : "-", e->text ? e->text : "", e->answer ? e->answer : "-",
        e->code ? " " : "", e->code ? e->code : "");
    if (seen->client && e->type == ULM_CLIENT_DONE) {
        seen->dispatch_result = ulm_client_dispatch(seen->client);
        seen->ask_result =
            ulm_client_ask(seen->client, &(struct ulm_client_ask){ULM_CLIENT_ASK_INIT, .id = e->id,
                                                                  .text = "again"});
        seen->client = NULL;
    }
}

static struct ulm_client *connected(int *ret_daemon, struct seen *seen)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct ulm_client *client = NULL;
    ck_assert_int_eq(ulm_client_from_fd(fds[0], &client), 0);
    ulm_client_set_handler(client, on_event, seen);
    *ret_daemon = fds[1];
    return client;
}

static void say(int daemon, const char *text, size_t len)
{
    ck_assert_int_eq(write(daemon, text, len), (ssize_t)len);
}

static int ask(struct ulm_client *client, const char *id, const char *text)
{
    return ulm_client_ask(client,
                          &(struct ulm_client_ask){ULM_CLIENT_ASK_INIT, .id = id, .text = text});
}

#define ANSWER                                                                                     \
    "{\"event\":\"opener\",\"id\":\"1\",\"text\":\"The\"}\n"                                       \
    "{\"event\":\"opener\",\"id\":\"1\",\"text\":\" caf\xC3\xA9\"}\n"                              \
    "{\"event\":\"opened\",\"id\":\"1\",\"opener\":\"The caf\xC3\xA9\",\"words\":2}\n"             \
    "{\"event\":\"repair\",\"id\":\"1\",\"strategy\":\"redo\",\"span\":[0,8]}\n"                   \
    "{\"event\":\"retract\",\"id\":\"1\",\"chars\":6}\n"                                           \
    "{\"event\":\"delta\",\"id\":\"1\",\"text\":\"\\ud83d\\ude00 b\"}\n"                           \
    "{\"event\":\"sparkle\",\"id\":\"1\",\"new\":[1,{}]}\n"                                        \
    "{\"event\":\"done\",\"id\":\"1\",\"reason\":\"complete\",\"source\":\"mixed\","               \
    "\"verdict\":\"redo\",\"text\":\"Th\xF0\x9F\x98\x80 b\"}\n"

#define SEEN                                                                                       \
    "opener id=1 text=[The] answer=[The]\n"                                                        \
    "opener id=1 text=[ caf\xC3\xA9] answer=[The caf\xC3\xA9]\n"                                   \
    "opened id=1 text=[The caf\xC3\xA9] answer=[The caf\xC3\xA9]\n"                                \
    "repair id=1 text=[] answer=[The caf\xC3\xA9]\n"                                               \
    "retract id=1 text=[] answer=[Th]\n"                                                           \
    "delta id=1 text=[\xF0\x9F\x98\x80 b] answer=[Th\xF0\x9F\x98\x80 b]\n"                         \
    "sparkle id=1 text=[] answer=[Th\xF0\x9F\x98\x80 b]\n"                                         \
    "done id=1 text=[Th\xF0\x9F\x98\x80 b] answer=[Th\xF0\x9F\x98\x80 b]\n"

START_TEST(test_an_answer_is_assembled_at_every_split)
{
    size_t len = strlen(ANSWER);
    for (size_t split = 0; split <= len; split++) {
        struct seen seen = {0};
        int daemon;
        struct ulm_client *client = connected(&daemon, &seen);
        ck_assert_int_eq(ask(client, "1", "?"), 0);
        say(daemon, ANSWER, split);
        ck_assert_int_eq(ulm_client_dispatch(client), 0);
        say(daemon, &ANSWER[split], len - split);
        ck_assert_int_eq(ulm_client_dispatch(client), 0);
        ck_assert_str_eq(seen.log, SEEN);
        (void)close(daemon);
        ck_assert_int_eq(ulm_client_dispatch(client), 1);
        ck_assert_int_eq(ulm_client_dispatch(client), 1);
        ulm_client_free(client);
    }
}
END_TEST

static void expect_lines(int daemon, const char *lines)
{
    char got[8192];
    ssize_t n = read(daemon, got, sizeof got - 1);
    ck_assert_int_gt(n, 0);
    got[n] = '\0';
    ck_assert_str_eq(got, lines);
}

START_TEST(test_requests_on_the_wire)
{
    struct seen seen = {0};
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    const char *facts[] = {"in Lima", "a \"b\"\n"};
    const struct ulm_client_turn turns[] = {{"user", "hi"}, {"assistant", "hello"}};
    struct ulm_client_ask full = {ULM_CLIENT_ASK_INIT, .id = "q1",         .text = "what\\",
                                  .session = "s",      .medium = "speech", .retractable = -1,
                                  .context = facts,    .n_context = 2,     .history = turns,
                                  .n_history = 2,      .min_words = 3,     .max_words = 7,
                                  .deadline_ms = 9000};
    ck_assert_int_eq(ulm_client_draft(client, &full), 0);
    ck_assert_int_eq(ulm_client_ask(client, &full), 0);
    ck_assert_int_eq(ulm_client_played(client, "q1", 2), 0);
    ck_assert_int_eq(ulm_client_cancel(client, "q1"), 0);
    ck_assert_int_eq(ulm_client_reset(client, "s"), 0);
    ck_assert_int_eq(ulm_client_hello(client, NULL), 0);
    ck_assert_int_eq(ulm_client_status(client, "st", "prometheus"), 0);
    ck_assert_int_eq(ulm_client_events(client), POLLIN | POLLOUT);
    ck_assert_int_eq(ulm_client_dispatch(client), 0);
    ck_assert_int_eq(ulm_client_events(client), POLLIN);
#define MEMBERS                                                                                    \
    "\"id\":\"q1\",\"text\":\"what\\\\\",\"session\":\"s\",\"medium\":\"speech\","                 \
    "\"retractable\":false,\"context\":[\"in Lima\",\"a \\\"b\\\"\\n\"],"                          \
    "\"history\":[{\"role\":\"user\",\"content\":\"hi\"},"                                         \
    "{\"role\":\"assistant\",\"content\":\"hello\"}],"                                             \
    "\"min_words\":3,\"max_words\":7,\"deadline_ms\":9000}\n"
    expect_lines(daemon, "{\"op\":\"draft\"," MEMBERS "{\"op\":\"ask\"," MEMBERS
                         "{\"op\":\"played\",\"id\":\"q1\",\"words\":2}\n"
                         "{\"op\":\"cancel\",\"id\":\"q1\"}\n"
                         "{\"op\":\"reset\",\"session\":\"s\"}\n"
                         "{\"op\":\"hello\"}\n"
                         "{\"op\":\"status\",\"id\":\"st\",\"format\":\"prometheus\"}\n");
    (void)close(daemon);
    ulm_client_free(client);
}
END_TEST

START_TEST(test_what_cannot_be_sent_is_refused_and_not_queued)
{
    struct seen seen = {0};
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    static char text[ULM_LINE_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    char id[ULM_ID_MAX + 2] = {0};
    memset(id, 'i', sizeof id - 1);

    ck_assert_int_eq(ask(client, "1", "\xFF"), -EILSEQ);
    ck_assert_int_eq(ask(client, "1", text), -EMSGSIZE);
    text[ULM_LINE_MAX - 10] = '\0';
    ck_assert_int_eq(ask(client, "1", text), -EMSGSIZE);
    ck_assert_int_eq(ask(client, NULL, "?"), -EINVAL);
    ck_assert_int_eq(ask(client, "", "?"), -EINVAL);
    ck_assert_int_eq(ask(client, id, "?"), -EINVAL);
    ck_assert_int_eq(ask(client, "1", NULL), -EINVAL);
    ck_assert_int_eq(ulm_client_events(client), POLLIN);
    ck_assert_int_eq(ask(client, "1", "?"), 0);
    ck_assert_int_eq(ask(client, "1", "?"), -EINVAL); /* still open */
    (void)close(daemon);
    ulm_client_free(client);
}
END_TEST

START_TEST(test_what_ulmd_never_writes_breaks_the_connection)
{
    static const char *const bad[] = {
        "nonsense\n",
        "[]\n",
        "{\"id\":\"1\"}\n",
        "{\"event\":7}\n",
        "{\"event\":\"ok\"}x\n",
        "{\"event\":\"retract\",\"id\":\"1\",\"chars\":1}\n",
        "{\"event\":\"\xC0\"}\n",
        "\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct seen seen = {0};
        int daemon;
        struct ulm_client *client = connected(&daemon, &seen);
        ck_assert_int_eq(ask(client, "1", "?"), 0);
        say(daemon, bad[i], strlen(bad[i]));
        ck_assert_msg(ulm_client_dispatch(client) == -EPROTO, "accepted: %s", bad[i]);
        ck_assert_int_eq(ulm_client_wait(client, 0), -EPROTO);
        ck_assert_int_eq(ask(client, "2", "?"), -EPROTO);
        ck_assert_uint_eq(seen.len, 0);
        (void)close(daemon);
        ulm_client_free(client);
    }
}
END_TEST

START_TEST(test_a_line_without_end_is_refused)
{
    struct seen seen = {0};
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    static char piece[16 * 1024];
    memset(piece, ' ', sizeof piece);
    int r = 0;
    for (size_t sent = 0; r == 0 && sent <= ULM_OUTPUT_QUEUE_MAX; sent += sizeof piece) {
        say(daemon, piece, sizeof piece);
        r = ulm_client_dispatch(client);
    }
    ck_assert_int_eq(r, -EMSGSIZE);
    (void)close(daemon);
    ulm_client_free(client);
}
END_TEST

START_TEST(test_a_handler_may_ask_but_not_dispatch)
{
    struct seen seen = {0};
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    seen.client = client;
    ck_assert_int_eq(ask(client, "1", "?"), 0);
    ck_assert_int_eq(ulm_client_dispatch(client), 0);
    expect_lines(daemon, "{\"op\":\"ask\",\"id\":\"1\",\"text\":\"?\"}\n");
    say(daemon, ANSWER, strlen(ANSWER));
    ck_assert_int_eq(ulm_client_dispatch(client), 0);
    ck_assert_int_eq(seen.dispatch_result, -EBUSY);
    ck_assert_int_eq(seen.ask_result, 0);
    expect_lines(daemon, "{\"op\":\"ask\",\"id\":\"1\",\"text\":\"again\"}\n");
    (void)close(daemon);
    ulm_client_free(client);
}
END_TEST

START_TEST(test_a_refused_ask_is_closed_by_its_ref)
{
    struct seen seen = {0};
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    static const char refusal[] =
        "{\"event\":\"error\",\"ref\":\"1\",\"code\":\"too_long\",\"message\":\"\"}\n";
    static const char word[] = "{\"event\":\"opener\",\"id\":\"1\",\"text\":\"A\"}\n";
    ck_assert_int_eq(ask(client, "1", "?"), 0);
    say(daemon, refusal, sizeof refusal - 1);
    ck_assert_int_eq(ulm_client_dispatch(client), 0);
    ck_assert_int_eq(ask(client, "1", "shorter?"), 0);
    say(daemon, word, sizeof word - 1);
    say(daemon, refusal, sizeof refusal - 1); /* of a `played`, say: the request runs */
    ck_assert_int_eq(ulm_client_dispatch(client), 0);
    ck_assert_int_eq(ask(client, "1", "?"), -EINVAL);
    ck_assert_str_eq(seen.log, "error id=- text=[] answer=[] too_long\n"
                               "opener id=1 text=[A] answer=[A]\n"
                               "error id=- text=[] answer=[-] too_long\n");
    (void)close(daemon);
    ulm_client_free(client);
}
END_TEST

START_TEST(test_waiting_for_an_answer)
{
    struct seen seen = {0};
    struct ulm_client_answer *answer = NULL;
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    struct ulm_client_ask question = {ULM_CLIENT_ASK_INIT, .id = "1", .text = "?"};

    say(daemon, ANSWER, strlen(ANSWER)); /* waits in the socket until the ask is out */
    ck_assert_int_eq(ulm_client_answer(client, &question, -1, &answer), 0);
    ck_assert_str_eq(answer->text, "Th\xF0\x9F\x98\x80 b");
    ck_assert_str_eq(answer->verdict, "redo");
    ck_assert(answer->timing.total < 0);
    ck_assert_str_eq(seen.log, SEEN);
    answer = ulm_client_answer_free(answer);

    static const char refusal[] =
        "{\"event\":\"error\",\"id\":\"1\",\"code\":\"busy\",\"message\":\"later\",\"ref\":null}\n";
    say(daemon, refusal, sizeof refusal - 1);
    ck_assert_int_eq(ulm_client_answer(client, &question, -1, &answer), 1);
    ck_assert_str_eq(answer->code, "busy");
    ck_assert_str_eq(answer->text, "");
    answer = ulm_client_answer_free(answer);

    char drained[1024];
    ck_assert_int_gt(read(daemon, drained, sizeof drained), 0);
    question.id = NULL;
    ck_assert_int_eq(ulm_client_answer(client, &question, 0, &answer), -ETIMEDOUT);
    expect_lines(daemon, "{\"op\":\"ask\",\"id\":\"answer-1\",\"text\":\"?\"}\n"
                         "{\"op\":\"cancel\",\"id\":\"answer-1\"}\n");
    (void)close(daemon);
    ck_assert_int_eq(ulm_client_answer(client, &question, -1, &answer), -ECONNRESET);
    ck_assert_ptr_null(answer);
    ulm_client_free(client);
}
END_TEST

START_TEST(test_connecting)
{
    struct ulm_client *client = NULL;
    ck_assert_int_eq(ulm_client_connect("/nonexistent/ulmd.sock", &client), -ENOENT);
    ck_assert_int_eq(ulm_client_connect("", &client), -ENAMETOOLONG);
    char dir[] = "/tmp/ulm-test-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/ulmd.sock", dir);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(ulm_client_connect(path, &client), -ECONNREFUSED); /* nobody listens */
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(ulm_client_connect(path, &client), 0);
    ck_assert_int_ge(ulm_client_fd(client), 0);
    ulm_client_free(client);
    (void)close(listener);
    (void)unlink(path);
    (void)rmdir(dir);
    ck_assert_ptr_null(ulm_client_free(NULL));
    ck_assert_ptr_null(ulm_client_answer_free(NULL));
}
END_TEST

static void on_usage(void *data, const struct ulm_client_event *e)
{
    int64_t *tokens = data;
    tokens[0] = e->input_tokens;
    tokens[1] = e->output_tokens;
}

START_TEST(test_counts_that_are_none)
{
    static const struct {
        const char *input, *output;
        int64_t tokens[2];
    } rows[] = {
        {"3", "0", {3, 0}},
        {"1e300", "-5", {-1, -1}},
        {"null", "\"7\"", {-1, -1}},
    };
    struct seen seen = {0};
    int daemon;
    struct ulm_client *client = connected(&daemon, &seen);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[128];
        int64_t tokens[2] = {0, 0};
        ulm_client_set_handler(client, on_usage, tokens);
        int n = snprintf(line, sizeof line,
                         "{\"event\":\"done\",\"id\":\"1\",\"usage\":{\"input_tokens\":%s,"
                         "\"output_tokens\":%s}}\n",
                         rows[i].input, rows[i].output);
        say(daemon, line, (size_t)n);
        ck_assert_int_eq(ulm_client_dispatch(client), 0);
        ck_assert_mem_eq(tokens, rows[i].tokens, sizeof tokens);
    }
    ulm_client_free(client);
    (void)close(daemon);
}
END_TEST

UNIT_MAIN("client", test_an_answer_is_assembled_at_every_split, test_requests_on_the_wire,
          test_what_cannot_be_sent_is_refused_and_not_queued,
          test_what_ulmd_never_writes_breaks_the_connection, test_a_line_without_end_is_refused,
          test_a_handler_may_ask_but_not_dispatch, test_a_refused_ask_is_closed_by_its_ref,
          test_waiting_for_an_answer, test_connecting, test_counts_that_are_none)
