/* SPDX-License-Identifier: MIT */
/* The figures of `status` in Prometheus' text format, for a collector that reads the socket. */
#include <ulmd/cloud.h>
#include <ulmd/limits.h>
#include <ulmd/session.h>

#include "app/status.h"
#include "util/buf.h"
#include "util/histogram.h"
#include "util/json.h"

/* Fixed upper edges, so that a series keeps its buckets. Microseconds. */
static const int64_t edges_us[] = {
    1000,   2000,    5000,    10000,   20000,    50000,    100000,   200000,
    500000, 1000000, 2000000, 5000000, 10000000, 20000000, 60000000,
};

static int add_histogram(struct ulm_buf *out, const char *name, const struct ulm_histogram *h)
{
    int r = ulm_buf_add_fmt(out, "# TYPE ulmd_%s_seconds histogram\n", name);
    uint64_t below = 0;
    size_t bucket = 0;
    for (size_t i = 0; r >= 0 && i < sizeof edges_us / sizeof *edges_us; i++) {
        while (bucket < ULM_HISTOGRAM_BUCKETS && ulm_histogram_edge_us(bucket) <= edges_us[i])
            below += h->counts[bucket++];
        r = ulm_buf_add_fmt(out, "ulmd_%s_seconds_bucket{le=\"%g\"} %llu\n", name,
                            (double)edges_us[i] / 1e6, (unsigned long long)below);
    }
    return r < 0 ? r
                 : ulm_buf_add_fmt(out,
                                   "ulmd_%s_seconds_bucket{le=\"+Inf\"} %llu\n"
                                   "ulmd_%s_seconds_sum %.6f\nulmd_%s_seconds_count %llu\n",
                                   name, (unsigned long long)h->n, name, (double)h->sum_us / 1e6,
                                   name, (unsigned long long)h->n);
}

/* A label's value: quote, backslash and newline are escaped. */
static int add_label(struct ulm_buf *out, const char *text)
{
    int r = ulm_buf_add_str(out, "{endpoint=\"");
    for (; r >= 0 && *text; text++) {
        if (*text == '\n')
            r = ulm_buf_add_str(out, "\\n");
        else
            r = ulm_buf_add_fmt(out, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    }
    return r < 0 ? r : ulm_buf_add_str(out, "\"}");
}

static int add_cloud_series(struct ulm_buf *out, const char *name, const char *type,
                            const struct ulm_endpoint_status *endpoints, size_t n,
                            double (*value)(const struct ulm_endpoint_status *))
{
    int r = n > 0 ? ulm_buf_add_fmt(out, "# TYPE ulmd_cloud_%s %s\n", name, type) : 0;
    for (size_t i = 0; r >= 0 && i < n; i++) {
        if ((r = ulm_buf_add_fmt(out, "ulmd_cloud_%s", name)) < 0 ||
            (r = add_label(out, ulm_endpoint_title(endpoints[i].name))) < 0)
            return r;
        r = ulm_buf_add_fmt(out, " %.15g\n", value(&endpoints[i]));
    }
    return r;
}

static double value_up(const struct ulm_endpoint_status *e)
{
    return e->health == ULM_HEALTH_DOWN ? 0 : 1;
}

static double value_requests(const struct ulm_endpoint_status *e)
{
    return (double)e->requests;
}

static double value_failures(const struct ulm_endpoint_status *e)
{
    return (double)e->failures;
}

static int add_cloud(struct ulm_buf *out, const struct ulm_cloud *cloud)
{
    struct ulm_endpoint_status endpoints[ULM_ENDPOINTS_MAX];
    size_t n = cloud ? ulm_cloud_status(cloud, endpoints, ULM_ENDPOINTS_MAX) : 0;
    n = n < ULM_ENDPOINTS_MAX ? n : ULM_ENDPOINTS_MAX;
    int r;
    if ((r = add_cloud_series(out, "up", "gauge", endpoints, n, value_up)) < 0 ||
        (r = add_cloud_series(out, "requests_total", "counter", endpoints, n, value_requests)) < 0)
        return r;
    return add_cloud_series(out, "failures_total", "counter", endpoints, n, value_failures);
}

int ulm_status_add_prometheus(struct ulm_buf *out, const struct ulm_status_source *source)
{
    uint64_t value;
    const char *name;
    int r = ulm_buf_add_fmt(out,
                            "# TYPE ulmd_info gauge\nulmd_info{version=\"%s\"} 1\n"
                            "# TYPE ulmd_uptime_seconds gauge\nulmd_uptime_seconds %.3f\n"
                            "# TYPE ulmd_requests_open gauge\nulmd_requests_open %zu\n"
                            "# TYPE ulmd_clients gauge\nulmd_clients %zu\n",
                            ULMD_VERSION, (double)source->uptime_us / 1e6,
                            ulm_core_running(source->core), source->clients);
    for (size_t i = 0; r >= 0 && (name = ulm_status_counter(source->core, i, &value)); i++)
        r = ulm_buf_add_fmt(out, "# TYPE ulmd_%s_total counter\nulmd_%s_total %llu\n", name, name,
                            (unsigned long long)value);
    for (int kind = 0; r >= 0 && kind < ULM_LATENCY_N; kind++)
        r = add_histogram(out, ulm_status_latency_name(kind),
                          ulm_core_latency(source->core, (enum ulm_latency_kind)kind));
    return r < 0 ? r : add_cloud(out, source->cloud);
}

int ulm_status_add_prometheus_member(struct ulm_buf *out, const struct ulm_status_source *source)
{
    ULM_CLEANUP_BUF struct ulm_buf text = ULM_BUF_INIT(out->cap / 2);
    int r = ulm_status_add_prometheus(&text, source);
    if (r < 0 || (r = ulm_buf_add_str(out, ",\"prometheus\":")) < 0)
        return r;
    return ulm_json_add_string(out, ulm_buf_str(&text));
}
