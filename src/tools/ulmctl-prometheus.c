/* SPDX-License-Identifier: MIT */
/* The status event in Prometheus' text exposition format, version 0.0.4. */
#include <math.h>
#include <string.h>

#include "tools/ulmctl.h"

/* Prometheus wants the same edges at every scrape; the daemon's finer buckets are summed into
 * them. A bucket that lies across an edge counts above it. */
static const double edges_ms[] = {1,   2,    5,    10,   20,    50,    100,     200,
                                  500, 1000, 2000, 5000, 10000, 30000, INFINITY};

static double number(struct ulm_pull value, const char *name)
{
    return ulm_pull_number(ulm_pull_member(value, name), 0);
}

/* A member's name, if it may stand in a metric's. */
static bool metric_name(struct ulm_pull key, char ret[static 64])
{
    if (key.len == 0 || key.len >= 64)
        return false;
    size_t len = ulm_pull_copy(key, ret);
    return len > 0 && strspn(ret, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/* A label's value, quoted and escaped. */
static int add_label(struct ulm_buf *out, struct ulm_pull value)
{
    ULM_CLEANUP_BUF struct ulm_buf text = ULM_BUF_INIT(4096), safe = ULM_BUF_INIT(16384);
    int r = ulm_pull_add(value, &text);
    if (r == 0)
        r = ulm_safe_add(&safe, ulm_buf_str(&text), text.len);
    if (r == 0)
        r = ulm_buf_add(out, "\"", 1);
    for (const char *p = ulm_buf_str(&safe); r == 0 && *p; p++) {
        if (*p == '\n')
            r = ulm_buf_add_str(out, "\\n");
        else if (*p == '"' || *p == '\\')
            r = ulm_buf_add_fmt(out, "\\%c", *p);
        else
            r = ulm_buf_add(out, p, 1);
    }
    return r < 0 ? r : ulm_buf_add(out, "\"", 1);
}

static int add_gauge(struct ulm_buf *out, const char *name, const char *help, double value)
{
    return ulm_buf_add_fmt(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.15g\n", name, help, name, name,
                           value);
}

static double count_below(struct ulm_pull buckets, double edge)
{
    struct ulm_pull_walk walk = ulm_pull_walk(buckets);
    struct ulm_pull key, pair, upper = {0}, count = {0};
    double n = 0;
    while (ulm_pull_next(&walk, &key, &pair)) {
        struct ulm_pull_walk inner = ulm_pull_walk(pair);
        if (ulm_pull_next(&inner, &key, &upper) && ulm_pull_next(&inner, &key, &count) &&
            ulm_pull_number(upper, 0) <= edge)
            n += ulm_pull_number(count, 0);
    }
    return n;
}

static int add_histogram(struct ulm_buf *out, const char *name, struct ulm_pull latency)
{
    int r = ulm_buf_add_fmt(out,
                            "# HELP ulmd_%s_seconds Time from receipt of an ask.\n"
                            "# TYPE ulmd_%s_seconds histogram\n",
                            name, name);
    struct ulm_pull buckets = ulm_pull_member(latency, "buckets");
    for (size_t i = 0; r == 0 && i < sizeof edges_ms / sizeof *edges_ms; i++) {
        if (isinf(edges_ms[i]))
            r = ulm_buf_add_fmt(out, "ulmd_%s_seconds_bucket{le=\"+Inf\"} %.15g\n", name,
                                number(latency, "n"));
        else
            r = ulm_buf_add_fmt(out, "ulmd_%s_seconds_bucket{le=\"%.15g\"} %.15g\n", name,
                                edges_ms[i] / 1000, count_below(buckets, edges_ms[i]));
    }
    return r < 0 ? r
                 : ulm_buf_add_fmt(out, "ulmd_%s_seconds_sum %.15g\nulmd_%s_seconds_count %.15g\n",
                                   name, number(latency, "sum") / 1000, name, number(latency, "n"));
}

/* One metric of all endpoints: `member` of each, or 1 and 0 for health where it is NULL. */
static int add_endpoints(struct ulm_buf *out, struct ulm_pull cloud, const char *metric,
                         const char *type, const char *member)
{
    struct ulm_pull_walk walk = ulm_pull_walk(cloud);
    struct ulm_pull key, e;
    int r = ulm_buf_add_fmt(out, "# TYPE ulmd_cloud_%s %s\n", metric, type);
    while (r == 0 && ulm_pull_next(&walk, &key, &e)) {
        double value =
            member ? number(e, member) : !ulm_pull_is(ulm_pull_member(e, "health"), "down");
        r = ulm_buf_add_fmt(out, "ulmd_cloud_%s{endpoint=", metric);
        if (r == 0)
            r = add_label(out, ulm_pull_member(e, "name"));
        if (r == 0)
            r = ulm_buf_add_str(out, ",model=");
        if (r == 0)
            r = add_label(out, ulm_pull_member(e, "model"));
        if (r == 0)
            r = ulm_buf_add_fmt(out, "} %.15g\n", value);
    }
    return r;
}

static int add_cloud(struct ulm_buf *out, struct ulm_pull cloud)
{
    int r = add_endpoints(out, cloud, "up", "gauge", NULL);
    if (r == 0)
        r = add_endpoints(out, cloud, "requests_total", "counter", "requests");
    return r < 0 ? r : add_endpoints(out, cloud, "failures_total", "counter", "failures");
}

int ulmctl_status_prometheus(struct ulm_pull status, struct ulm_buf *out)
{
    struct ulm_pull requests = ulm_pull_member(status, "requests");
    struct ulm_pull key = {0}, value;
    char name[64];
    int r = ulm_buf_add_str(out, "# TYPE ulmd_info gauge\nulmd_info{version=");
    if (r == 0)
        r = add_label(out, ulm_pull_member(status, "version"));
    if (r == 0)
        r = ulm_buf_add_str(out, ",model=");
    if (r == 0)
        r = add_label(out, ulm_pull_member(ulm_pull_member(status, "model"), "name"));
    if (r == 0)
        r = ulm_buf_add_str(out, "} 1\n");
    if (r == 0)
        r = add_gauge(out, "ulmd_uptime_seconds", "Since the start.", number(status, "uptime_s"));
    if (r == 0)
        r = add_gauge(out, "ulmd_requests_open", "Asks running and waiting.",
                      number(requests, "open"));
    if (r == 0)
        r = add_gauge(out, "ulmd_clients", "Connections.", number(requests, "clients"));
    if (r == 0)
        r = add_cloud(out, ulm_pull_member(status, "cloud"));

    struct ulm_pull_walk walk = ulm_pull_walk(ulm_pull_member(status, "latency"));
    while (r == 0 && ulm_pull_next(&walk, &key, &value)) {
        if (metric_name(key, name))
            r = add_histogram(out, name, value);
    }
    walk = ulm_pull_walk(ulm_pull_member(status, "counters"));
    while (r == 0 && ulm_pull_next(&walk, &key, &value)) {
        if (metric_name(key, name))
            r = ulm_buf_add_fmt(out, "# TYPE ulmd_%s_total counter\nulmd_%s_total %.15g\n", name,
                                name, ulm_pull_number(value, 0));
    }
    return r;
}
