/* SPDX-License-Identifier: MIT */
/* Connections: what may be configured, how they are made, kept ready and given up. */
#include <fcntl.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/cloud-fixture.h"
#include "tests/unit/unit.h"

/* A name server that does not answer: libcurl's resolver thread calls this getaddrinfo. */
static sem_t name_server;
static atomic_bool name_server_silent, name_server_asked;

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret)
{
    if (name_server_silent) {
        name_server_asked = true;
        sem_wait(&name_server);
    }
    return EAI_NONAME;
}

START_TEST(test_cancel_does_not_wait_for_a_name_server)
{
    struct fixture f;
    static struct record record;
    memset(&record, 0, sizeof record);
    sem_init(&name_server, 0, 0);
    name_server_silent = true;
    fixture_init(&f);
    f.endpoints[0].url = "https://cloud.example";
    fixture_cloud(&f);
    ulm_cloud_warm(f.cloud);
    fixture_ask(&f, &record);
    while (!name_server_asked)
        uv_run(&f.loop, UV_RUN_NOWAIT);
    record.transfer = ulm_transfer_cancel(record.transfer); /* would hang here */
    fixture_deinit(&f);
    name_server_silent = false;
    sem_post(&name_server);
    sem_post(&name_server);
}
END_TEST

START_TEST(test_a_warm_connection_is_used)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    f.endpoints[0].key = "k-123";
    fixture_reply(&f, 0, SIZED(99) TEXT("[[ok]] a") DONE, AFTER_KEEP);
    fixture_cloud(&f);
    ulm_cloud_warm(f.cloud);
    ulm_cloud_warm(f.cloud);
    fixture_settle(&f);
    ck_assert_uint_eq(f.servers[0].connections, 1);
    ck_assert_uint_eq(f.servers[0].heads, 1);
    ck_assert_str_eq(f.servers[0].last_request, ""); /* and no key with it: it was a HEAD */

    for (unsigned i = 1; i <= 3; i++) {
        ulm_cloud_warm(f.cloud); /* is warm: nothing is sent */
        ck_assert_str_eq(fixture_run(&f, &record),
                         "open instruct tagged; text [[ok]] a; end complete 200");
        fixture_settle(&f);
        ck_assert_uint_eq(f.servers[0].requests, i);
    }
    ck_assert_uint_eq(f.servers[0].connections, 1);
    ck_assert_uint_eq(f.servers[0].heads, 1);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_a_connection_the_server_closed_is_warmed_again)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
    fixture_cloud(&f);
    ulm_cloud_warm(f.cloud);
    fixture_settle(&f);
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    fixture_settle(&f);
    ck_assert_uint_eq(f.servers[0].connections, 1);
    ulm_cloud_warm(f.cloud);
    fixture_settle(&f);
    ck_assert_uint_eq(f.servers[0].connections, 2);
    ck_assert_uint_eq(f.servers[0].heads, 2);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_a_kept_connection_that_died_is_no_failure)
{
    static const enum reply_after deaths[] = {AFTER_CLOSE, AFTER_RESET};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        static struct record record;
        fixture_init(&f);
        fixture_reply(&f, 0, SIZED(99) TEXT("[[ok]] a") DONE, AFTER_KEEP);
        fixture_reply(&f, 0, "", deaths[i]); /* at the moment it is asked again */
        fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
        fixture_cloud(&f);
        fixture_run(&f, &record);
        fixture_settle(&f);
        ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
        ck_assert_uint_eq(f.servers[0].requests, 3);
        fixture_deinit(&f);
    }
}
END_TEST

/* Reads this process's memory as a debugger would, so that sanitizers need not be asked. */
static unsigned count_in_region(int mem, unsigned long from, unsigned long to, const char *text)
{
    static char bytes[65536];
    unsigned n = 0;
    size_t len = strlen(text);
    while (to - from >= len) {
        size_t want = to - from < sizeof bytes ? to - from : sizeof bytes;
        ssize_t got = pread(mem, bytes, want, (off_t)from);
        if (got < (ssize_t)len)
            break;
        for (char *at = bytes; (at = memmem(at, (size_t)(bytes + got - at), text, len)); at++)
            n += from + (unsigned long)(at - bytes) != (unsigned long)text;
        explicit_bzero(bytes, sizeof bytes);
        from += (unsigned long)got - len + 1;
    }
    return n;
}

/* How often the text stands in memory, the copy given not counted. */
static unsigned count_in_memory(const char *text)
{
    unsigned n = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY);
    ck_assert(maps != NULL && mem >= 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx rw", &from, &to) == 2 && strstr(line, " rw") &&
            to - from < 1ul << 30) /* no memory of ours is that large; a sanitizer's is */
            n += count_in_region(mem, from, to, text);
    }
    fclose(maps);
    close(mem);
    return n;
}

/* What the loop's functions left below this frame, such as saved vector registers, lives until
 * the next deep call; this is one. */
static __attribute__((noinline)) void scrub_stack(void)
{
    char dead[100000];
    explicit_bzero(dead, sizeof dead);
}

/* An emulator of another width shows the addresses of its guest and its own memory. */
static bool reads_own_memory(void)
{
    char seen[sizeof(void *)], *at = seen;
    int mem = open("/proc/self/mem", O_RDONLY);
    bool same = pread(mem, seen, sizeof seen, (off_t)(uintptr_t)&at) == (ssize_t)sizeof seen &&
                memcmp(seen, &at, sizeof seen) == 0;
    close(mem);
    return same;
}

START_TEST(test_the_key_is_gone_from_memory_afterwards)
{
    if (!reads_own_memory()) {
        printf("NOT TESTED: /proc/self/mem is not this process's memory as it sees it\n");
        return;
    }
    struct fixture f;
    static struct record record;
    char key[] = "k-9999-not-in-any-other-place";
    for (size_t i = 2; i < 6; i++)
        key[i] = (char)('0' + i); /* so that the constant is not the key */
    fixture_init(&f);
    fixture_reply(&f, 0, ERROR("503", "", ""), AFTER_CLOSE);
    fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
    f.endpoints[0].key = key;
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), "retry; " GOOD_LOG);
    ck_assert(strstr(f.servers[0].last_request, key));
    fixture_settle(&f);
    explicit_bzero(f.servers[0].last_request, sizeof f.servers[0].last_request);
    ck_assert_uint_ge(count_in_memory(key), 1); /* the cloud's copy */
    fixture_deinit(&f);
    scrub_stack();
    ck_assert_uint_eq(count_in_memory(key), 0);
}
END_TEST

START_TEST(test_unix_socket)
{
    struct fixture f;
    static struct record record;
    struct http_server server;
    char dir[64], path[128];
    fixture_dir(dir);
    snprintf(path, sizeof path, "%s/s", dir);
    fixture_init(&f);
    http_server_start(&server, &f.loop, path);
    server.replies[0] = (struct reply){.bytes = GOOD, .after = AFTER_CLOSE};
    server.n_replies = 1;
    f.endpoints[0].url = "http://cloud.example/v1/"; /* plain http: it stays on the machine */
    f.endpoints[0].unix_socket = path;
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    ck_assert(strstr(server.last_request, "POST /v1/chat/completions HTTP/1.1\r\nHost: cloud.exa"));
    http_server_stop(&server);
    fixture_settle(&f);
    fixture_deinit(&f);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(test_the_environments_proxy_is_not_used)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    ck_assert_str_eq(fixture_play(GOOD, AFTER_CLOSE, 0), GOOD_LOG);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}
END_TEST

START_TEST(test_a_configured_proxy_is_used)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    fixture_reply(&f, 1, GOOD, AFTER_CLOSE);
    f.endpoints[0].url = "http://cloud.example/v1?api-version=3";
    f.endpoints[0].proxy = f.servers[1].url;
    f.endpoints[0].allow_http = true;
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    ck_assert(strstr(f.servers[1].last_request,
                     "POST http://cloud.example/v1/chat/completions?api-version=3 HTTP/1.1\r\n"));
    fixture_settle(&f);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_a_proxys_faults_are_told_apart)
{
    static const char *const proxies[] = {"http://127.0.0.1:1", NULL};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        static struct record record;
        fixture_init(&f);
        f.endpoints[0].url = "https://cloud.example/v1";
        f.endpoints[0].proxy = proxies[i] ? proxies[i] : f.servers[1].url; /* refuses CONNECT */
        fixture_reply(&f, 1, "HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n", AFTER_CLOSE);
        fixture_cloud(&f);
        fixture_run(&f, &record);
        ck_assert_str_eq(record.log, "retry; end failed 0 proxy");
        fixture_settle(&f);
        fixture_deinit(&f);
    }
}
END_TEST

START_TEST(test_names_that_do_not_resolve_and_ports_that_refuse)
{
    static const struct {
        const char *url, *log;
    } cases[] = {
        {"http://127.0.0.1:1", "retry; end failed 0 connect"},
        {"https://127.0.0.1:1", "retry; end failed 0 connect"},
        {"https://[::1]:1", "retry; end failed 0 connect"},
        {"https://nowhere.invalid", "retry; end failed 0 dns"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        static struct record record;
        fixture_init(&f);
        f.endpoints[0].url = cases[i].url;
        fixture_cloud(&f);
        ck_assert_str_eq(fixture_run(&f, &record), cases[i].log);
        fixture_settle(&f);
        fixture_deinit(&f);
    }
}
END_TEST

START_TEST(test_refuses_bad_configuration)
{
    const struct {
        struct ulm_endpoint_config endpoint;
        const char *reason; /* NULL = accepted */
    } cases[] = {
        {{.url = "https://a.example/v1"}, NULL},
        {{.url = "http://a.example/v1"}, "plain http"},
        {{.url = "http://a.example/v1", .allow_http = true}, NULL},
        {{.url = "http://127.9.8.7:80"}, NULL},
        {{.url = "http://localhost/"}, NULL},
        {{.url = "http://LOCALHOST"}, NULL},
        {{.url = "http://[::1]:8080/v1"}, NULL},
        {{.url = "http://[::2]:8080/v1"}, "plain http"},
        {{.url = "http://127.0.0.1.example"}, "plain http"},
        {{.url = "http://localhost.example"}, "plain http"},
        {{.url = "http://127.0.0.1", .proxy = "http://p.example"}, "plain http"},
        {{.url = "http://a.example", .unix_socket = "/run/x"}, NULL},
        {{.url = "https://user@a.example"}, "user"},
        {{.url = "https://user:secret@a.example"}, "user"},
        {{.url = "https://a.example/#f"}, "fragment"},
        {{.url = "ftp://a.example"}, "https://"},
        {{.url = "file:///etc/passwd"}, "url"},
        {{.url = "https://a b"}, "url"},
        {{.url = ""}, "missing"},
        {{.url = NULL}, "missing"},
        {{.url = "https://a", .mode = ULM_CLOUD_PREFILL}, "prefill"},
        {{.url = "https://a", .ca_file = "/nowhere"}, "ca_file"},
        {{.url = "https://a", .key = "a\r\nX: y"}, "key"},
        {{.url = "https://a", .key = "a b"}, "key"},
        {{.url = "https://a", .key = ""}, "key"},
        {{.url = "https://a", .n_extra_headers = 1,
          .extra_headers = (const char *const[]){"A: b\r\nC: d"}}, "extra_headers"},
        {{.url = "https://a", .n_extra_headers = 1,
          .extra_headers = (const char *const[]){"A"}}, "extra_headers"},
        {{.url = "https://a", .n_extra_headers = 1,
          .extra_headers = (const char *const[]){"A:"}}, "extra_headers"},
        {{.url = "https://a", .n_extra_headers = 1,
          .extra_headers = (const char *const[]){"A B: c"}}, "extra_headers"},
        {{.url = "https://a", .n_extra_headers = 1,
          .extra_headers = (const char *const[]){"Content-length: 3"}}, "extra_headers"},
    };
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ulm_cloud *cloud = NULL;
        struct ulm_cloud_config config = {.endpoints = &cases[i].endpoint, .n_endpoints = 1};
        char err[256] = "";
        int r = ulm_cloud_new(&loop, &config, &cloud, err, sizeof err);
        ck_assert_msg(cases[i].reason ? r < 0 && strstr(err, cases[i].reason) : r == 0,
                      "case %zu: %d %s", i, r, err);
        ck_assert(!strstr(err, "secret"));
        ulm_cloud_free(cloud);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

UNIT_MAIN("cloud-connect", test_refuses_bad_configuration, test_unix_socket,
          test_the_key_is_gone_from_memory_afterwards,
          test_a_kept_connection_that_died_is_no_failure, test_a_proxys_faults_are_told_apart,
          test_a_warm_connection_is_used, test_a_connection_the_server_closed_is_warmed_again,
          test_the_environments_proxy_is_not_used, test_a_configured_proxy_is_used,
          test_names_that_do_not_resolve_and_ports_that_refuse,
          test_cancel_does_not_wait_for_a_name_server)
