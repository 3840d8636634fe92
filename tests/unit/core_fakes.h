/* SPDX-License-Identifier: MIT */
/* What core_world.c and core_fakes.c share: the fake engine and cloud, the sinks, the log. */
#ifndef ULM_TESTS_CORE_FAKES_H
#define ULM_TESTS_CORE_FAKES_H

#include "tests/unit/core_world.h"

/* Not check's assertions: the fuzz targets have no test runner. */
#define DEMAND(...) fake_demand((__VA_ARGS__), __FILE__, __LINE__, #__VA_ARGS__)

void fake_demand(bool holds, const char *file, int line, const char *what);

enum { SINKS = 4, ASKS = 64, JOBS = 256, TRANSFERS = 256, ARGS = 12, TEXT_MAX = 200000 };

/* What one ask's client has put together. */
struct client {
    char id[ULM_ID_MAX + 1];
    bool open, ended;
    struct ulm_buf shown; /* the answer */
};

struct test_sink {
    struct ulm_sink sink;
    int number;
    bool gone;
    struct client clients[ASKS];
    int n_clients;
};

struct job {
    uint64_t ticket;
    enum ulm_job_kind kind;
    bool open;
};

struct ulm_transfer {
    const struct ulm_transfer_handlers *handlers;
    void *data;
    bool open, in_end;
};

struct fake_state {
    struct world *world;
    struct test_sink sinks[SINKS];
    struct job jobs[JOBS];
    int n_jobs;
    struct ulm_transfer transfers[TRANSFERS];
    int n_transfers;
    char clouds[4]; /* addresses to tell one cloud from another */
    int n_clouds;
    int back; /* results and text are for this one of the jobs and transfers, from the last */
    bool neutral; /* the next opener is one that the model file has for the unsure */
    bool refuse_jobs, refuse_transfers, in_start;
    struct ulm_timing timing;
    const char *verdict;
    struct ulm_buf answer;
    struct ulm_buf delta; /* deltas not yet written to the log */
    char delta_id[ULM_ID_MAX + 8];
};

extern struct fake_state fake;

void fake_must(int r);
void fake_flush_delta(void); /* deltas so far become a line of the log */
void fake_spent(struct ulm_sink *sink, int64_t tokens);
void fake_emit(struct ulm_sink *base, const char *id, const struct ulm_event *event);
struct client *fake_client_of(struct test_sink *sink, const char *id); /* the newest, or NULL */

/* For the job, or the transfer, that fake.back tells; nothing where it has ended. */
void fake_engine_result(enum ulm_result_kind kind, const char *text, double confidence);
struct ulm_transfer *fake_last_transfer(void); /* NULL where it has ended */
void fake_cloud_open(const char *how);
void fake_cloud_retry(const struct world *world);
void fake_cloud_refusal(const struct world *world);
void fake_cloud_text(const char *text);
void fake_cloud_end(const char *how, int64_t in, int64_t out);

#endif
