/* SPDX-License-Identifier: MIT */
/* The transport against servers on the same loop: what core is told in each case. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/cloud-fixture.h"
#include "tests/unit/unit.h"

#define SECRET_BODY "{\"error\":{\"message\":\"SECRET\",\"type\":\"invalid_request_error\"}}"

START_TEST(test_an_answer_streams)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
    f.endpoints[0].key = "k-123";
    f.endpoints[0].extra_headers = (const char *const[]){"X-Org: o"};
    f.endpoints[0].n_extra_headers = 1;
    fixture_cloud(&f);

    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    ck_assert_int_eq(record.end.input_tokens, 7);
    ck_assert_int_eq(record.end.output_tokens, 3);
    const char *sent = f.servers[0].last_request;
    ck_assert(strstr(sent, "POST /chat/completions HTTP/1.1\r\n"));
    ck_assert(strstr(sent, "\r\nAuthorization: Bearer k-123\r\n"));
    ck_assert(strstr(sent, "\r\nX-Org: o\r\n"));
    ck_assert(strstr(sent, "{\"role\":\"system\",\"content\":\"tagged text\"}"));
    ck_assert(strstr(sent, "{\"role\":\"user\",\"content\":\"before\"},"
                           "{\"role\":\"assistant\",\"content\":\"then\"}"));
    fixture_settle(&f);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_chunks_make_no_difference)
{
    for (size_t chunk = 1; chunk < 40; chunk++)
        ck_assert_str_eq(fixture_play(GOOD, AFTER_CLOSE, chunk), GOOD_LOG);
}
END_TEST

START_TEST(test_faults_of_one_endpoint)
{
    static const struct {
        const char *bytes;
        enum reply_after after;
        const char *log;
    } faults[] = {
        /* reset, at each phase; before any text there is one retry */
        {"", AFTER_RESET, "retry; end failed 0 reset"},
        {"", AFTER_CLOSE, "retry; end failed 0 reset"},
        {"HTTP/1.1 200 OK\r\nContent-", AFTER_RESET, "retry; end failed 0 reset"},
        {CLOSE, AFTER_RESET,
         "open instruct tagged; retry; open instruct tagged; end failed 200 reset"},
        {CLOSE TEXT("a"), AFTER_RESET, "open instruct tagged; text a; end truncated 200 reset"},
        {CLOSE TEXT("a") FINISH, AFTER_RESET, "open instruct tagged; text a; end complete 200"},
        /* cut */
        {CLOSE, AFTER_CLOSE,
         "open instruct tagged; retry; open instruct tagged; end failed 200 cut"},
        {CLOSE TEXT("a"), AFTER_CLOSE, "open instruct tagged; text a; end truncated 200 cut"},
        {CLOSE TEXT("a") "data: {\"choi", AFTER_CLOSE,
         "open instruct tagged; text a; end truncated 200 cut"},
        {SIZED(9999) TEXT("a"), AFTER_CLOSE, "open instruct tagged; text a; end truncated 200 cut"},
        /* no end marker, the connection stays: a short grace, then the end */
        {CLOSE TEXT("a") FINISH, AFTER_STALL, "open instruct tagged; text a; end complete 200"},
        /* errors */
        {ERROR("401", "", SECRET_BODY), AFTER_CLOSE, "end failed 401 invalid_request_error"},
        {ERROR("403", "", "no"), AFTER_CLOSE, "end failed 403 http"},
        {ERROR("404", "", "<html>"), AFTER_CLOSE, "end failed 404 http"},
        {ERROR("408", "", ""), AFTER_CLOSE, "retry; end failed 408 http"},
        {ERROR("429", "", "{\"error\":{\"code\":\"insufficient_quota\"}}"), AFTER_CLOSE,
         "end failed 429 insufficient_quota"},
        {ERROR("429", "", "{}"), AFTER_CLOSE, "retry; end failed 429 http"},
        {ERROR("429", "Retry-After: 9999\r\n", "{}"), AFTER_CLOSE, "end failed 429 http"},
        {ERROR("500", "", "x"), AFTER_CLOSE, "retry; end failed 500 http"},
        {ERROR("502", "", "x"), AFTER_CLOSE, "retry; end failed 502 http"},
        {ERROR("503", "", "x"), AFTER_CLOSE, "retry; end failed 503 http"},
        {ERROR("529", "", "{\"error\":{\"type\":\"overloaded_error\"}}"), AFTER_CLOSE,
         "retry; end failed 529 overloaded_error"},
        {ERROR("400", "", "{\"error\":{\"code\":\"content_filter\"}}"), AFTER_CLOSE,
         "end refused 400 content_filter"},
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
         AFTER_CLOSE, "end failed 302 http"},
        {ERROR("200", "", "{}"), AFTER_CLOSE, "end failed 200 content_type"},
        {"HTTP/1.1 200 OK\r\n\r\nx", AFTER_CLOSE, "end failed 200 content_type"},
        {"HTTP/1.1 204 X\r\n\r\n", AFTER_CLOSE, "end failed 204 content_type"},
        {"nonsense\r\n\r\n", AFTER_CLOSE, "end failed 0 protocol"},
        /* an error on HTTP 200 */
        {CLOSE "data: {\"error\":{\"type\":\"server_error\"}}\n\n", AFTER_CLOSE,
         "open instruct tagged; retry; open instruct tagged; end failed 200 server_error"},
        {CLOSE TEXT("a") "data: {\"error\":{\"type\":\"server_error\"}}\n\n", AFTER_STALL,
         "open instruct tagged; text a; end truncated 200 server_error"},
        /* an error whose body never ends */
        {"HTTP/1.1 403 X\r\nContent-Length: 9\r\n\r\nx", AFTER_STALL, "end failed 403 http"},
        /* interim responses are none */
        {"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" GOOD, AFTER_CLOSE, GOOD_LOG},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        ck_assert_msg(strcmp(fixture_play(faults[i].bytes, faults[i].after, 0), faults[i].log) == 0,
                      "%zu: %s\nexpected %s", i, fixture_play(faults[i].bytes, faults[i].after, 0),
                      faults[i].log);
}
END_TEST

START_TEST(test_retries_once)
{
    static const char *const first[] = {
        "", ERROR("503", "Retry-After: 1\r\n", ""), ERROR("500", "", ""), CLOSE};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        static struct record record;
        fixture_init(&f);
        fixture_reply(&f, 0, first[i], AFTER_CLOSE);
        fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
        fixture_cloud(&f);
        fixture_run(&f, &record);
        ck_assert_str_eq(strstr(record.log, "retry; "), "retry; " GOOD_LOG);
        ck_assert_uint_eq(f.servers[0].requests, 2);
        fixture_deinit(&f);
    }
}
END_TEST

START_TEST(test_fails_over)
{
    struct fixture f;
    static struct record record;
    struct ulm_endpoint_status status[2];
    fixture_init(&f);
    fixture_reply(&f, 0, ERROR("401", "", ""), AFTER_CLOSE);
    fixture_reply(&f, 1, GOOD, AFTER_CLOSE);
    f.config.n_endpoints = 2;
    fixture_cloud(&f);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_str_eq(fixture_run(&f, &record), "retry; " GOOD_LOG);

    /* After the third failure the circuit is open: the second is asked at once. */
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    ck_assert_uint_eq(f.servers[0].requests, 3);
    ck_assert_uint_eq(ulm_cloud_status(f.cloud, status, 2), 2);
    ck_assert_int_eq(status[0].health, ULM_HEALTH_DOWN);
    ck_assert_uint_eq(status[0].requests, 3);
    ck_assert_uint_eq(status[0].failures, 3);
    ck_assert_uint_eq(status[0].last_status, 401);
    ck_assert_str_eq(status[0].last_failure, "http");
    ck_assert_int_eq(status[1].health, ULM_HEALTH_OK);
    ck_assert_uint_eq(status[1].requests, 4);
    ck_assert(status[1].first_byte_ewma_ms > 0 && status[1].first_text_p50_ms > 0);
    ck_assert(ulm_cloud_first_text_ms(f.cloud) > 0);
    fixture_settle(&f);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_a_silent_endpoint_is_left_for_the_next)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    fixture_reply(&f, 0, "", AFTER_STALL);
    fixture_reply(&f, 1, GOOD, AFTER_CLOSE);
    f.config.n_endpoints = 2;
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), "retry; " GOOD_LOG);
    fixture_settle(&f);
    ck_assert_uint_eq(f.servers[0].requests, 1);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_hedge_asks_a_second_endpoint)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    for (unsigned i = 0; i < 7; i++)
        fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
    fixture_reply(&f, 1, GOOD, AFTER_CLOSE);
    f.config.n_endpoints = 2;
    f.endpoints[0].hedge = true;
    fixture_cloud(&f);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    ck_assert_uint_eq(f.servers[1].requests, 0);

    f.servers[0].replies[6].after = AFTER_STALL;
    f.servers[0].replies[6].bytes = "";
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG); /* no retry is told */
    ck_assert_uint_eq(f.servers[0].requests, 9);
    ck_assert_uint_eq(f.servers[1].requests, 1);
    fixture_settle(&f);
    fixture_deinit(&f);
}
END_TEST

/* Turns the loop until the server has no connection left. */
static void wait_closed(struct fixture *f)
{
    while (f->servers[0].open > 0)
        uv_run(&f->loop, UV_RUN_ONCE);
}

START_TEST(test_cancel_closes_the_upstream)
{
    static const char *const stalls[] = {"", "HTTP/1.1 200 OK\r\n", CLOSE, CLOSE TEXT("a")};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        static struct record record;
        fixture_init(&f);
        fixture_reply(&f, 0, stalls[i], AFTER_STALL);
        fixture_cloud(&f);
        memset(&record, 0, sizeof record);
        fixture_ask(&f, &record);
        while (f.servers[0].requests == 0 || (i == 3 && record.texts == 0))
            uv_run(&f.loop, UV_RUN_ONCE);
        record.transfer = ulm_transfer_cancel(record.transfer);
        ck_assert_uint_eq(fixture_armed(&f), 0);
        wait_closed(&f);
        ck_assert(!record.ended);
        fixture_deinit(&f);
    }
}
END_TEST

START_TEST(test_cancel_from_inside_a_handler)
{
    for (unsigned i = 0; i < 2; i++) {
        struct fixture f;
        static struct record record;
        fixture_init(&f);
        fixture_reply(&f, 0, CLOSE TEXT("a") TEXT("b") FINISH, AFTER_STALL);
        f.servers[0].replies[0].chunk = 1;
        fixture_cloud(&f);
        memset(&record, 0, sizeof record);
        record.cancel_at_open = i == 0;
        record.cancel_at_text = i;
        fixture_ask(&f, &record);
        while (record.transfer)
            uv_run(&f.loop, UV_RUN_ONCE);
        wait_closed(&f);
        ck_assert_uint_eq(record.texts, i);
        ck_assert(!record.ended);
        ck_assert_uint_eq(fixture_armed(&f), 0);
        fixture_deinit(&f);
    }
}
END_TEST

START_TEST(test_cancel_before_anything_and_free_with_open_transfers)
{
    struct fixture f;
    static struct record record, second;
    fixture_init(&f);
    fixture_reply(&f, 0, "", AFTER_STALL);
    fixture_cloud(&f);
    fixture_ask(&f, &record);
    record.transfer = ulm_transfer_cancel(record.transfer);
    ck_assert_uint_eq(fixture_armed(&f), 0);
    fixture_ask(&f, &second);
    while (f.servers[0].requests == 0)
        uv_run(&f.loop, UV_RUN_ONCE);
    ulm_cloud_warm(f.cloud);
    fixture_deinit(&f); /* frees the cloud under them */
    ck_assert(!record.ended && !second.ended);
}
END_TEST

START_TEST(test_many_at_once)
{
    enum { N = 60 };
    struct fixture f;
    static struct record records[N];
    memset(records, 0, sizeof records);
    fixture_init(&f);
    fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
    f.servers[0].replies[0].chunk = 50;
    fixture_cloud(&f);
    for (size_t i = 0; i < N; i++)
        fixture_ask(&f, &records[i]);
    for (size_t i = 0; i < N; i += 3)
        records[i].transfer = ulm_transfer_cancel(records[i].transfer);
    for (size_t i = 0; i < N; i++) {
        if (i % 3 == 0)
            continue;
        fixture_wait(&f, &records[i]);
        ck_assert_str_eq(records[i].log, GOOD_LOG);
    }
    fixture_settle(&f);
    for (size_t i = 0; i < N; i += 3)
        ck_assert(!records[i].ended);
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_prefill_is_learned)
{
    struct fixture f;
    static struct record record;
    char dir[64], path[128];
    struct stat st;
    fixture_dir(dir);
    snprintf(path, sizeof path, "%s/capabilities.json", dir);
    fixture_init(&f);
    fixture_reply(&f, 0,
                  ERROR("400", "", "{\"error\":{\"type\":\"invalid_request_error\",\"message\":"
                       "\"This model does not support assistant message prefill.\"}}"),
          AFTER_CLOSE);
    fixture_reply(&f, 0, GOOD, AFTER_CLOSE);
    f.endpoints[0].mode = ULM_CLOUD_PREFILL;
    f.endpoints[0].dialect = ULM_DIALECT_LLAMA_SERVER;
    f.config.state_dir = dir;
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), "retry; " GOOD_LOG);
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    ck_assert_uint_eq(f.servers[0].requests, 3);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);

    /* And remembered by the next start; a broken file is as good as none. */
    fixture_settle(&f);
    f.cloud = ulm_cloud_free(f.cloud);
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), GOOD_LOG);
    fixture_settle(&f);
    f.cloud = ulm_cloud_free(f.cloud);
    ck_assert_int_eq(truncate(path, 5), 0);
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record),
                     "open prefill plain; text [[ok]] it rains.; end complete 200");
    ck_assert(strstr(f.servers[0].last_request,
                     "{\"role\":\"assistant\",\"content\":\"That is because\"}"));
    ck_assert(strstr(f.servers[0].last_request, "\"content\":\"why\""));
    fixture_settle(&f);
    fixture_deinit(&f);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(test_missing_tags_turn_to_plain)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    fixture_reply(&f, 0, CLOSE TEXT("a"), AFTER_STALL);
    fixture_cloud(&f);
    for (unsigned peer = 0; peer < 4; peer++) {
        memset(&record, 0, sizeof record);
        fixture_ask(&f, &record);
        while (record.texts == 0)
            uv_run(&f.loop, UV_RUN_ONCE);
        ck_assert_str_eq(record.log, peer < 3 ? "open instruct tagged; " : "open instruct plain; ");
        ulm_transfer_report_tag(record.transfer, false, peer);
        ulm_transfer_report_tag(record.transfer, false, peer); /* once a minute and peer */
        record.transfer = ulm_transfer_cancel(record.transfer);
    }
    fixture_deinit(&f);
}
END_TEST

START_TEST(test_an_answer_that_is_too_long_is_cut)
{
    struct fixture f;
    static struct record record;
    static char bytes[300000] = CLOSE;
    fixture_init(&f);
    for (size_t i = 0; i < 1600; i++)
        strcat(bytes, TEXT("\xC3\xA9 0123456789012345678901234567890123456789"));
    fixture_reply(&f, 0, bytes, AFTER_STALL);
    fixture_cloud(&f);
    ck_assert_str_eq(fixture_run(&f, &record), "open instruct tagged; end truncated 200 cap");
    ck_assert_uint_le(record.len, ULM_ANSWER_MAX);
    ck_assert_uint_ge(record.len, ULM_ANSWER_MAX - 3);
    fixture_settle(&f);
    fixture_deinit(&f);
}
END_TEST

/* A response with what the command prints as its body, compressed. */
static const char *play_compressed(const char *head, const char *command)
{
    static struct record record;
    static char bytes[1024 * 1024];
    struct fixture f;
    size_t len = strlen(head);
    memcpy(bytes, head, len);
    FILE *pipe = popen(command, "r");
    ck_assert(pipe != NULL);
    len += fread(bytes + len, 1, sizeof bytes - len, pipe);
    ck_assert_int_eq(pclose(pipe), 0);
    fixture_init(&f);
    fixture_reply(&f, 0, bytes, AFTER_CLOSE);
    f.servers[0].replies[0].len = len;
    fixture_cloud(&f);
    fixture_run(&f, &record);
    fixture_settle(&f);
    fixture_deinit(&f);
    return record.log;
}

START_TEST(test_endless_headers_end)
{
    static char bytes[400000] = "HTTP/1.1 200 OK\r\n";
    for (size_t at = strlen(bytes); at < sizeof bytes - 100; at += 50)
        snprintf(bytes + at, 51, "X-Header: %038zu\r\n", at);
    ck_assert_str_eq(fixture_play(bytes, AFTER_STALL, 0), "end failed 0 cap");
}
END_TEST

#define GZIP "Content-Encoding: gzip\r\nConnection: close\r\n\r\n"

START_TEST(test_compressed_bodies)
{
    ck_assert_str_eq(play_compressed(STREAM GZIP, "printf 'data: {\"choices\":[{\"delta\":"
                                     "{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}"
                                     "\\n\\n' | gzip"),
                     "open instruct tagged; text a; end complete 200");
    ck_assert_str_eq(play_compressed(STREAM GZIP, "head -c 300K /dev/zero | gzip"),
                     "open instruct tagged; end failed 200 cap");
    ck_assert_str_eq(play_compressed(STREAM GZIP, "yes : | head -c 17M | gzip -1"),
                     "open instruct tagged; end failed 200 cap");
    ck_assert_str_eq(play_compressed("HTTP/1.1 403 X\r\n" GZIP, "yes | head -c 1M | gzip"),
                     "end failed 403 http");
    ck_assert_str_eq(play_compressed(STREAM GZIP, "echo this is no gzip"),
                     "open instruct tagged; retry; open instruct tagged; end failed 200 encoding");
}
END_TEST

UNIT_MAIN("cloud", test_an_answer_streams, test_chunks_make_no_difference,
          test_faults_of_one_endpoint, test_retries_once, test_fails_over,
          test_a_silent_endpoint_is_left_for_the_next, test_hedge_asks_a_second_endpoint,
          test_cancel_closes_the_upstream, test_cancel_from_inside_a_handler,
          test_cancel_before_anything_and_free_with_open_transfers, test_many_at_once,
          test_prefill_is_learned, test_missing_tags_turn_to_plain,
          test_an_answer_that_is_too_long_is_cut, test_endless_headers_end,
          test_compressed_bodies)
