/* SPDX-License-Identifier: MIT */
/* A cloud on a loop with servers of its own, and the log of one transfer's callbacks. */
#ifndef ULM_TESTS_CLOUD_FIXTURE_H
#define ULM_TESTS_CLOUD_FIXTURE_H

#include <ulmd/cloud.h>

#include "tests/unit/http-server.h"

struct fixture {
    uv_loop_t loop;
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
/* Timers and polls that are armed on the loop. Only the cloud has any. */
unsigned fixture_armed(struct fixture *f);
/* Turns the loop until none is armed. */
void fixture_settle(struct fixture *f);

#endif
