/* SPDX-License-Identifier: MIT */
/*
 * A connection before it is needed. libcurl's own "connect only" leaves nothing that another
 * request may use, so a HEAD of the base URL is asked, without key or body; whatever its status,
 * the connection stays in the pool. Nothing runs or wakes afterwards: whether the connection still
 * stands is looked at when the next warming is asked for.
 */
#include <errno.h>
#include <stdlib.h>

#include "cloud/internal.h"
#include "util/log.h"

#define WARM_TIMEOUT_MS 10000L

struct ulm_warm {
    struct ulm_exchange exchange;
    struct ulm_cloud *cloud;
    size_t header_bytes;
};

struct ulm_warm *ulm_warm_free(struct ulm_warm *warm)
{
    if (!warm)
        return NULL;
    ulm_exchange_end(&warm->exchange, warm->cloud);
    warm->cloud->warm = NULL;
    free(warm);
    return NULL;
}

static void on_done(struct ulm_exchange *exchange, CURLcode result)
{
    struct ulm_warm *warm = (struct ulm_warm *)exchange; /* its first member */
    long version = 0;

    if (result == CURLE_OK) {
        (void)curl_easy_getinfo(exchange->easy, CURLINFO_HTTP_VERSION, &version);
        exchange->endpoint->multiplexed = version == CURL_HTTP_VERSION_2_0;
        exchange->endpoint->used_us = ulm_now_us();
    }
    ulm_warm_free(warm);
}

static size_t on_header(char *line, size_t size, size_t n, void *data)
{
    struct ulm_warm *warm = data;
    warm->header_bytes += size * n;
    return warm->header_bytes <= ULM_RESPONSE_HEADERS_MAX ? size * n : 0;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
    return size * n;
}

static int begin(struct ulm_warm *warm, struct ulm_endpoint *endpoint)
{
    struct ulm_cloud *cloud = warm->cloud;
    int r = ulm_exchange_begin(&warm->exchange, cloud, endpoint);
    if (r < 0)
        return r;
    CURL *easy = warm->exchange.easy;
    if (curl_easy_setopt(easy, CURLOPT_URL, endpoint->base_url) ||
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) ||
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, WARM_TIMEOUT_MS) ||
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) ||
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, warm) ||
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) ||
        curl_multi_add_handle(ulm_multi_curl(cloud->multi), easy))
        return -ENOMEM;
    return 0;
}

/* A connection that the next request could take. */
static bool is_warm(const struct ulm_endpoint *endpoint, int64_t now_us)
{
    int64_t age_us = now_us - endpoint->used_us;
    unsigned taken = endpoint->multiplexed ? 0 : endpoint->running;
    return endpoint->used_us > 0 && age_us < (int64_t)endpoint->keepalive_s * 1000000 &&
           ulm_endpoint_live_connections(endpoint) > taken;
}

void ulm_cloud_warm(struct ulm_cloud *cloud)
{
    int64_t now_us = ulm_now_us();
    struct ulm_endpoint *endpoint = ulm_cloud_choose(cloud, 0, now_us);
    if (cloud->warm || is_warm(endpoint, now_us))
        return;
    struct ulm_warm *warm = calloc(1, sizeof *warm);
    if (!warm)
        return; /* the question itself will connect */
    warm->cloud = cloud;
    warm->exchange.done = on_done;
    cloud->warm = warm;
    if (begin(warm, endpoint) < 0)
        ulm_warm_free(warm);
}
