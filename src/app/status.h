/* SPDX-License-Identifier: MIT */
/* What `hello` and `status` tell: JSON as docs/protocol.md has it, and Prometheus text. */
#ifndef ULM_APP_STATUS_H
#define ULM_APP_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ulm_buf;
struct ulm_cloud;
struct ulm_core;
struct ulm_engine;

/* Where the figures come from. Pointers are borrowed. */
struct ulm_status_source {
    const struct ulm_core *core;
    const struct ulm_engine *engine; /* or NULL */
    const struct ulm_cloud *cloud;   /* or NULL */
    size_t clients;
    unsigned max_clients, max_requests;
    int64_t uptime_us;
};

/* Each appends the members behind `event` and `id`, with a leading comma. 0, -ENOBUFS, -ENOMEM. */
int ulm_status_add_hello(struct ulm_buf *out, const struct ulm_engine *engine);
int ulm_status_add_json(struct ulm_buf *out, const struct ulm_status_source *source);

/* Prometheus' text format as the member `prometheus`, and as it is. */
int ulm_status_add_prometheus_member(struct ulm_buf *out, const struct ulm_status_source *source);
int ulm_status_add_prometheus(struct ulm_buf *out, const struct ulm_status_source *source);

/* The counters of the core by name, for both. NULL: there is no i-th. */
const char *ulm_status_counter(const struct ulm_core *core, size_t i, uint64_t *ret_value);
const char *ulm_status_latency_name(int kind);

#endif
