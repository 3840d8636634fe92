/* SPDX-License-Identifier: MIT */
/* A cloud on a loop with servers of its own, and the log of one transfer's callbacks. */
#ifndef ULM_TESTS_CLOUD_FIXTURE_H
#define ULM_TESTS_CLOUD_FIXTURE_H

#include <ulmd/cloud.h>

#include "tests/unit/http-server.h"

/* Pieces of an answer in the Chat dialect. */
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
#define GOOD_LOG "open instruct tagged; text [[ok]] it rains.; end complete 200"
#define ERROR(status_, more_, body_)                                                               \
    "HTTP/1.1 " status_ " X\r\nContent-Type: application/json\r\n" more_                           \
    "Connection: close\r\n\r\n" body_
/* A body of a known length, so that the connection can be used again. */
#define SIZED(len_) STREAM "Content-Length: " #len_ "\r\n\r\n"

struct fixture {
    uv_loop_t loop;
    uv_timer_t tick; /* ends a turn in which timers did all there was to do */
    struct http_server servers[2];
    struct ulm_endpoint_config endpoints[2];
    struct ulm_cloud_config config;
    struct ulm_cloud *cloud;
};

/* What one transfer said, for example "open instruct tagged; text Hello; end complete 200". */
struct record {
    char log[512];
    char text[70000];
    size_t len;
    unsigned texts;
    struct ulm_transfer *transfer; /* NULL once it ended */
    unsigned cancel_at_text;       /* cancel from inside this on_text; 0 = never */
    bool cancel_at_open;
    struct ulm_cloud_end end;
    bool ended;
};

/* Servers run, endpoints point to them: openai-chat, model "m", no key. Change the configuration,
 * then fixture_cloud(). */
void fixture_init(struct fixture *f);
void fixture_cloud(struct fixture *f);
void fixture_deinit(struct fixture *f);

/* Starts a request with an opener; first byte within 5 s. */
void fixture_ask(struct fixture *f, struct record *record);
/* Turns the loop until the transfer ended. */
void fixture_wait(struct fixture *f, struct record *record);
/* ask and wait; returns record->log. */
const char *fixture_run(struct fixture *f, struct record *record);
/* The next reply of one of the servers. */
void fixture_reply(struct fixture *f, size_t server, const char *bytes, enum reply_after after);
/* One endpoint that plays this reply for each request: the log of one, with all settled. */
const char *fixture_play(const char *bytes, enum reply_after after, size_t chunk);
/* Makes a directory for the test. */
void fixture_dir(char path[static 64]);
/* Timers and polls that are armed on the loop. Only the cloud has any. */
unsigned fixture_armed(struct fixture *f);
/* Turns the loop until none is armed. */
void fixture_settle(struct fixture *f);

#endif
