/* SPDX-License-Identifier: MIT */
#include <ulmd/cloud.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cloud/dialect.h"
#include "cloud/internal.h"
#include "util/log.h"

static void on_due(void *data)
{
    struct ulm_cloud *cloud = data;
    int64_t now_us = ulm_now_us();

    for (struct ulm_transfer *t = cloud->transfers, *next; t; t = next) {
        next = t->next;
        t->due = ulm_transfer_next_due(t) <= now_us;
    }
    for (struct ulm_attempt *a = cloud->attempts; a; a = a->next)
        a->ready |= a->due_us <= now_us;
    ulm_cloud_settle(cloud);
}

static void on_settle(void *data)
{
    ulm_cloud_settle(data);
}

static void read_completions(struct ulm_cloud *cloud)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(ulm_multi_curl(cloud->multi), &left))) {
        CURLcode result = message->data.result;
        void *exchange = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
        ((struct ulm_exchange *)exchange)->done(exchange, result);
    }
}

/* One thing that waits; false = nothing does. Looks anew each time: handlers change the lists. */
static bool settle_one(struct ulm_cloud *cloud, int64_t now_us)
{
    for (struct ulm_attempt *a = cloud->attempts; a; a = a->next) {
        if (!a->ready)
            continue;
        a->ready = false;
        if (a->transfer)
            ulm_transfer_advance(a->transfer, a, now_us);
        else if (a->over || a->due_us <= now_us)
            ulm_attempt_free(a);
        return true;
    }
    for (struct ulm_transfer *t = cloud->transfers; t; t = t->next) {
        if (!t->due)
            continue;
        t->due = false;
        ulm_transfer_tick(t, now_us);
        return true;
    }
    return false;
}

void ulm_cloud_settle(struct ulm_cloud *cloud)
{
    if (cloud->settling)
        return;
    cloud->settling = true;
    int64_t now_us = ulm_now_us();
    do
        read_completions(cloud);
    while (settle_one(cloud, now_us));
    cloud->settling = false;
    ulm_cloud_rearm(cloud);
}

void ulm_cloud_rearm(struct ulm_cloud *cloud)
{
    int64_t due_us = INT64_MAX;
    if (cloud->settling)
        return; /* settle does it at its end */
    for (const struct ulm_transfer *t = cloud->transfers; t; t = t->next) {
        int64_t next_us = ulm_transfer_next_due(t);
        due_us = next_us < due_us ? next_us : due_us;
    }
    for (const struct ulm_attempt *a = cloud->attempts; a; a = a->next)
        due_us = a->due_us < due_us ? a->due_us : due_us;
    ulm_multi_set_due(cloud->multi, due_us);
}

struct ulm_endpoint *ulm_cloud_choose(struct ulm_cloud *cloud, unsigned tried, int64_t now_us)
{
    struct ulm_endpoint *soonest = &cloud->endpoints[0];

    for (size_t i = 0; i < cloud->n_endpoints; i++) {
        struct ulm_endpoint *endpoint = &cloud->endpoints[i];
        if (!(tried & 1u << i) && ulm_health_may_try(&endpoint->health, now_us))
            return endpoint;
        if (endpoint->health.closed_until_us < soonest->health.closed_until_us)
            soonest = endpoint;
    }
    /* All circuits open: a question that nobody would be asked is lost for sure. */
    return tried == 0 ? soonest : NULL;
}

static int64_t wall_clock_s(void)
{
    return (int64_t)time(NULL);
}

void ulm_cloud_learned(struct ulm_cloud *cloud, struct ulm_endpoint *endpoint)
{
    const struct ulm_capability *all[ULM_ENDPOINTS_MAX];

    endpoint->capability.learned_s = wall_clock_s();
    if (!cloud->state_dir)
        return;
    for (size_t i = 0; i < cloud->n_endpoints; i++)
        all[i] = &cloud->endpoints[i].capability;
    int r = ulm_capabilities_save(cloud->state_dir, all, cloud->n_endpoints);
    if (r < 0)
        ulm_log(ULM_LOG_WARNING, "capabilities.json cannot be written: %s", strerror(-r));
}

static void load_capabilities(struct ulm_cloud *cloud)
{
    struct ulm_capability *all[ULM_ENDPOINTS_MAX];
    for (size_t i = 0; i < cloud->n_endpoints; i++) {
        all[i] = &cloud->endpoints[i].capability;
        all[i]->url = cloud->endpoints[i].base_url;
        all[i]->model = cloud->endpoints[i].model;
    }
    if (!cloud->state_dir)
        return;
    int r = ulm_capabilities_load(cloud->state_dir, all, cloud->n_endpoints, wall_clock_s());
    if (r < 0)
        ulm_log(ULM_LOG_WARNING, "capabilities.json is ignored: %s", strerror(-r));
}

static int init(struct ulm_cloud *cloud, const struct ulm_cloud_config *config, char *reterr,
                size_t reterr_size)
{
    static const struct ulm_multi_handlers handlers = {.settle = on_settle, .due = on_due};

    for (size_t i = 0; i < config->n_endpoints; i++) {
        cloud->n_endpoints++; /* a half-built one is freed too */
        int r = ulm_endpoint_init(&cloud->endpoints[i], &config->endpoints[i], reterr, reterr_size);
        if (r < 0)
            return r;
    }
    if (config->state_dir) {
        cloud->state_dir = strdup(config->state_dir);
        if (!cloud->state_dir)
            return -ENOMEM;
    }
    load_capabilities(cloud);
    cloud->share = curl_share_init();
    if (!cloud->share ||
        curl_share_setopt(cloud->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION))
        return -ENOMEM;
    return ulm_multi_new(cloud->loop, &handlers, cloud, &cloud->multi);
}

int ulm_cloud_new(struct uv_loop_s *loop, const struct ulm_cloud_config *config,
                  struct ulm_cloud **ret_cloud, char *reterr, size_t reterr_size)
{
    if (config->n_endpoints == 0 || config->n_endpoints > ULM_ENDPOINTS_MAX) {
        (void)snprintf(reterr, reterr_size, "1 to %u cloud endpoints may be configured",
                       ULM_ENDPOINTS_MAX);
        return -EINVAL;
    }
    (void)snprintf(reterr, reterr_size, "out of memory");
    struct ulm_cloud *cloud = calloc(1, sizeof *cloud);
    if (!cloud)
        return -ENOMEM;
    cloud->loop = loop;
    cloud->endpoints = calloc(config->n_endpoints, sizeof *cloud->endpoints);
    int r = cloud->endpoints ? ulm_secret_curl_init() : -ENOMEM;
    if (r < 0) {
        free(cloud->endpoints);
        free(cloud);
        return r;
    }
    r = init(cloud, config, reterr, reterr_size);
    if (r < 0) {
        ulm_cloud_free(cloud);
        return r;
    }
    *ret_cloud = cloud;
    return 0;
}

struct ulm_cloud *ulm_cloud_free(struct ulm_cloud *cloud)
{
    if (!cloud)
        return NULL;
    assert(!cloud->settling);
    while (cloud->transfers)
        ulm_transfer_cancel(cloud->transfers);
    while (cloud->attempts)
        ulm_attempt_free(cloud->attempts);
    ulm_warm_free(cloud->warm);
    ulm_multi_free(cloud->multi);
    if (cloud->share)
        (void)curl_share_cleanup(cloud->share);
    for (size_t i = 0; i < cloud->n_endpoints; i++)
        ulm_endpoint_deinit(&cloud->endpoints[i]);
    free(cloud->endpoints);
    free(cloud->state_dir);
    free(cloud);
    curl_global_cleanup();
    return NULL;
}

size_t ulm_cloud_status(const struct ulm_cloud *cloud, struct ulm_endpoint_status *ret, size_t n)
{
    for (size_t i = 0; i < n && i < cloud->n_endpoints; i++) {
        const struct ulm_endpoint *endpoint = &cloud->endpoints[i];
        const struct ulm_health_record *health = &endpoint->health;
        ret[i] = (struct ulm_endpoint_status){
            .name = endpoint->name,
            .dialect = endpoint->dialect->name,
            .model = endpoint->model,
            .health = (health->failures_in_row > 0 || health->told) &&
                              health->health != ULM_HEALTH_PROBING
                          ? ULM_HEALTH_DOWN
                          : health->health,
            .requests = health->requests,
            .failures = health->failures,
            .first_byte_ewma_ms = health->first_byte_ewma_ms,
            .first_byte_p50_ms = (double)ulm_histogram_quantile_us(&health->first_byte, 0.5) / 1e3,
            .first_byte_p95_ms = (double)ulm_histogram_quantile_us(&health->first_byte, 0.95) / 1e3,
            .first_text_p50_ms = (double)ulm_histogram_quantile_us(&health->first_text, 0.5) / 1e3,
            .last_failure = health->last_failure,
            .last_status = health->last_status,
            .prefill = ulm_known_name(endpoint->capability.prefill),
            .echo = ulm_known_name(endpoint->capability.echo),
            .tag = ulm_tags_name(&endpoint->tags, ulm_now_us()),
        };
    }
    return cloud->n_endpoints;
}

double ulm_cloud_first_text_ms(const struct ulm_cloud *cloud)
{
    return (double)ulm_recent_quantile_us(&cloud->recent_text, 0.5) / 1e3;
}
