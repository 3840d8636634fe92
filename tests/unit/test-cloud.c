/* SPDX-License-Identifier: MIT */
/* The transport against servers on the same loop: what core is told in each case. */
#include <string.h>

#include "tests/unit/cloud-fixture.h"
#include "tests/unit/unit.h"

#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
#define CLOSE  STREAM "Connection: close\r\n\r\n"
#define TEXT(text_)                                                                                \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text_ "\"},"                      \
    "\"finish_reason\":null}]}\n\n"
#define FINISH "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE                                                                                      \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n"
#define DONE "data: [DONE]\n\n"
#define GOOD CLOSE TEXT("[[ok]] it ") TEXT("rains.") FINISH USAGE DONE

static void reply(struct fixture *f, size_t server, const char *bytes, enum reply_after after)
{
    struct http_server *s = &f->servers[server];
    s->replies[s->n_replies++] = (struct reply){.bytes = bytes, .after = after};
}

START_TEST(test_an_answer_streams)
{
    struct fixture f;
    static struct record record;
    fixture_init(&f);
    reply(&f, 0, GOOD, AFTER_CLOSE);
    f.endpoints[0].key = "k-123";
    f.endpoints[0].extra_headers = (const char *const[]){"X-Org: o"};
    f.endpoints[0].n_extra_headers = 1;
    fixture_cloud(&f);

    ck_assert_str_eq(fixture_run(&f, &record),
                     "open instruct tagged; text [[ok]] it rains.; end complete 200");
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

UNIT_MAIN("cloud", test_an_answer_streams)
