/* SPDX-License-Identifier: MIT */
/*
 * A world for core: an engine and a cloud that do what a script says (they take the place of the
 * real ones when the test is linked), sinks that write down every event, and time moved by hand.
 *
 * A script is lines of `command arguments`; text is quoted, with \n, \t, \", \\ and \xHH. What
 * happened is a log of one line an event; deltas that follow each other are one line, so that the
 * log does not depend on how the cloud's text was cut up. Each ask is checked against the
 * protocol's invariants while it runs.
 */
#ifndef ULM_TESTS_CORE_WORLD_H
#define ULM_TESTS_CORE_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include <ulmd/session.h>

#include "util/buf.h"

struct world {
    struct ulm_core *core;
    struct ulm_core_config config;
    int64_t now_us;
    bool no_engine, no_cloud;
    double first_text_ms;
    size_t chunk; /* the cloud's text comes in pieces of so many bytes; 0 = as the script has it */
    size_t split; /* with split_at: the first piece's length, for one text of the script */
    int split_at; /* index of the text that is split, -1 = none */
    int n_texts;  /* how many texts the script had so far */
    size_t longest_text;
    bool tolerant; /* see world_reserve */
    int64_t spent; /* tokens, by all asks */
    struct ulm_buf log;
};

/* Runs the script. A line that cannot be read, or a broken invariant, fails the test. */
void world_run(struct world *world, const char *script);
void world_init(struct world *world);
/* For tests in which allocations fail: from here on the world itself allocates nothing, and what
 * the script waits for may not come. */
void world_reserve(struct world *world);
void world_deinit(struct world *world);

/* One hand-off without a script: the opener, and the cloud's whole tagged text, which comes in one
 * piece (0), byte by byte (1) or in pieces by chance (any other seed). */
struct hand_off {
    const char *verdict; /* "null" for none */
    const char *answer;  /* done.text, until the next call */
};
struct hand_off world_hand_off(const char *opener, const char *text, bool retractable,
                               unsigned seed);

/* The last terminal event's timing. */
struct ulm_timing world_timing(void);
/* Open transfers and engine jobs that nobody gave up: 0 when every ask has ended. */
size_t world_leaks(void);

#endif
