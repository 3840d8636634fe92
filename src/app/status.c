/* SPDX-License-Identifier: MIT */
#include "app/status.h"

#include <ulmd/cloud.h>
#include <ulmd/engine.h>
#include <ulmd/limits.h>
#include <ulmd/session.h>

#include "util/buf.h"
#include "util/histogram.h"
#include "util/json.h"

#define COUNTER(name_)                                                                             \
    {                                                                                              \
#name_, offsetof(struct ulm_core_counters, name_)                                          \
    }

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
    COUNTER(asks),
    COUNTER(drafts),
    COUNTER(busy),
    COUNTER(superseded),
    COUNTER(cancelled),
    COUNTER(completed),
    COUNTER(truncated),
    COUNTER(refused),
    COUNTER(local),
    COUNTER(errors),
    COUNTER(verdict_ok),
    COUNTER(verdict_pivot),
    COUNTER(verdict_fix),
    COUNTER(verdict_redo),
    COUNTER(tag_missing),
    COUNTER(tag_unknown),
    COUNTER(echo_stripped),
    COUNTER(restart_suspected),
    COUNTER(empty_continuation),
    COUNTER(redo_downgraded),
    COUNTER(opener_late),
    COUNTER(opener_neutral),
    COUNTER(guard_hits),
    COUNTER(prompt_shortened),
};

const char *ulm_status_counter(const struct ulm_core *core, size_t i, uint64_t *ret_value)
{
    if (i >= sizeof counters / sizeof *counters)
        return NULL;
    const char *base = (const char *)ulm_core_counters(core);
    *ret_value = *(const uint64_t *)(const void *)(base + counters[i].offset);
    return counters[i].name;
}

static_assert(sizeof counters / sizeof *counters ==
                  sizeof(struct ulm_core_counters) / sizeof(uint64_t),
              "every counter is told");

const char *ulm_status_latency_name(int kind)
{
    static const char *const names[ULM_LATENCY_N] = {
        [ULM_LATENCY_FIRST_WORD] = "first_word",
        [ULM_LATENCY_OPENER] = "opener",
        [ULM_LATENCY_CLOUD_FIRST_BYTE] = "cloud_first_byte",
        [ULM_LATENCY_CLOUD_FIRST_TEXT] = "cloud_first_text",
        [ULM_LATENCY_TOTAL] = "total",
        [ULM_LATENCY_GAP] = "gap",
        [ULM_LATENCY_ENGINE] = "engine",
    };
    return names[kind];
}

/* `,"name":"text"` (null for NULL); `before` is the comma or the brace in front. */
static int add_text(struct ulm_buf *out, const char *before, const char *name, const char *text)
{
    int r = ulm_buf_add_fmt(out, "%s\"%s\":", before, name);
    if (r < 0)
        return r;
    return text ? ulm_json_add_string(out, text) : ulm_buf_add_str(out, "null");
}

static int add_model(struct ulm_buf *out, const struct ulm_engine *engine, bool all)
{
    if (!engine)
        return ulm_buf_add_str(out, ",\"model\":null");
    const struct ulm_model_info *info = ulm_engine_info(engine);
    int r;
    if ((r = add_text(out, ",\"model\":{", "name", info->name)) < 0 ||
        (r = ulm_buf_add_fmt(out, ",\"parameters\":%llu", (unsigned long long)info->parameters)) <
            0 ||
        (r = add_text(out, ",", "quantisation", info->quantisation)) < 0 ||
        (r = ulm_buf_add_fmt(out, ",\"context\":%u", info->context)) < 0)
        return r;
    if (all && ((r = add_text(out, ",", "kernels", info->kernels)) < 0 ||
                (r = ulm_buf_add_fmt(out, ",\"threads\":%u,\"weight_bytes\":%llu", info->threads,
                                     (unsigned long long)info->weight_bytes)) < 0))
        return r;
    return ulm_buf_add_str(out, "}");
}

int ulm_status_add_hello(struct ulm_buf *out, const struct ulm_engine *engine)
{
    int r = ulm_buf_add_str(out, ",\"version\":\"" ULMD_VERSION "\",\"protocol\":1");
    if (r >= 0)
        r = add_model(out, engine, /* all */ false);
    if (r >= 0)
        r = ulm_buf_add_str(out, ",\"capabilities\":[\"draft\",\"played\",\"retract\",\"sessions\","
                                 "\"history\",\"context\",\"prometheus\"]");
    return r;
}

static int add_latency(struct ulm_buf *out, const char *before, int kind,
                       const struct ulm_histogram *h)
{
    int r =
        ulm_buf_add_fmt(out,
                        "%s\"%s\":{\"n\":%llu,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f,"
                        "\"sum\":%.3f,\"buckets\":[",
                        before, ulm_status_latency_name(kind), (unsigned long long)h->n,
                        (double)ulm_histogram_quantile_us(h, 0.50) / 1000,
                        (double)ulm_histogram_quantile_us(h, 0.95) / 1000,
                        (double)ulm_histogram_quantile_us(h, 0.99) / 1000, (double)h->max_us / 1000,
                        (double)h->sum_us / 1000);
    const char *comma = "";
    for (size_t i = 0; r >= 0 && i < ULM_HISTOGRAM_BUCKETS; i++) {
        if (h->counts[i] == 0)
            continue;
        r = ulm_buf_add_fmt(out, "%s[%.3f,%llu]", comma, (double)ulm_histogram_edge_us(i) / 1000,
                            (unsigned long long)h->counts[i]);
        comma = ",";
    }
    return r < 0 ? r : ulm_buf_add_str(out, "]}");
}

static int add_latencies(struct ulm_buf *out, const struct ulm_core *core)
{
    int r = ulm_buf_add_str(out, ",\"latency\":{");
    for (int kind = 0; r >= 0 && kind < ULM_LATENCY_N; kind++)
        r = add_latency(out, kind > 0 ? "," : "", kind,
                        ulm_core_latency(core, (enum ulm_latency_kind)kind));
    return r < 0 ? r : ulm_buf_add_str(out, "}");
}

static const char *health_name(enum ulm_health health)
{
    switch (health) {
    case ULM_HEALTH_UNKNOWN:
        return "unknown";
    case ULM_HEALTH_OK:
        return "ok";
    case ULM_HEALTH_PROBING:
        return "probing";
    case ULM_HEALTH_DOWN:
        return "down";
    }
    return "unknown";
}

static int add_endpoint(struct ulm_buf *out, const char *before,
                        const struct ulm_endpoint_status *e)
{
    int r;
    if ((r = ulm_buf_add_str(out, before)) < 0 || (r = add_text(out, "{", "name", e->name)) < 0 ||
        (r = add_text(out, ",", "dialect", e->dialect)) < 0 ||
        (r = add_text(out, ",", "model", e->model)) < 0 ||
        (r = add_text(out, ",", "health", health_name(e->health))) < 0 ||
        (r = ulm_buf_add_fmt(out,
                             ",\"requests\":%llu,\"failures\":%llu,\"first_byte_ewma_ms\":%.3f,"
                             "\"first_byte_p50_ms\":%.3f,\"first_byte_p95_ms\":%.3f,"
                             "\"first_text_p50_ms\":%.3f",
                             (unsigned long long)e->requests, (unsigned long long)e->failures,
                             e->first_byte_ewma_ms, e->first_byte_p50_ms, e->first_byte_p95_ms,
                             e->first_text_p50_ms)) < 0 ||
        (r = add_text(out, ",", "last_failure", e->last_failure)) < 0)
        return r;
    return ulm_buf_add_fmt(out,
                           ",\"last_status\":%u,\"learned\":{\"prefill\":\"%s\",\"echo\":\"%s\","
                           "\"tag\":\"%s\"}}",
                           e->last_status, e->prefill, e->echo, e->tag);
}

static int add_cloud(struct ulm_buf *out, const struct ulm_cloud *cloud)
{
    struct ulm_endpoint_status endpoints[ULM_ENDPOINTS_MAX];
    size_t n = cloud ? ulm_cloud_status(cloud, endpoints, ULM_ENDPOINTS_MAX) : 0;
    int r = ulm_buf_add_str(out, ",\"cloud\":[");
    for (size_t i = 0; r >= 0 && i < n && i < ULM_ENDPOINTS_MAX; i++)
        r = add_endpoint(out, i > 0 ? "," : "", &endpoints[i]);
    return r < 0 ? r : ulm_buf_add_str(out, "]");
}

static int add_counters(struct ulm_buf *out, const struct ulm_core *core)
{
    uint64_t value;
    int r = ulm_buf_add_str(out, ",\"counters\":{");
    for (size_t i = 0; r >= 0; i++) {
        const char *name = ulm_status_counter(core, i, &value);
        if (!name)
            return ulm_buf_add_str(out, "}");
        r = ulm_buf_add_fmt(out, "%s\"%s\":%llu", i > 0 ? "," : "", name,
                            (unsigned long long)value);
    }
    return r;
}

int ulm_status_add_json(struct ulm_buf *out, const struct ulm_status_source *source)
{
    int r;
    if ((r = ulm_buf_add_fmt(out,
                             ",\"version\":\"%s\",\"uptime_s\":%lld,\"requests\":{\"open\":%zu,"
                             "\"max\":%u,\"clients\":%zu,\"max_clients\":%u}",
                             ULMD_VERSION, (long long)(source->uptime_us / 1000000),
                             ulm_core_running(source->core), source->max_requests, source->clients,
                             source->max_clients)) < 0 ||
        (r = add_latencies(out, source->core)) < 0 ||
        (r = add_model(out, source->engine, /* all */ true)) < 0 ||
        (r = add_cloud(out, source->cloud)) < 0)
        return r;
    return add_counters(out, source->core);
}
