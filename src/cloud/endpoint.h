/* SPDX-License-Identifier: MIT */
/* One configured endpoint: its settings, checked and copied, and what was learned about it. */
#ifndef ULM_CLOUD_ENDPOINT_H
#define ULM_CLOUD_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include <curl/curl.h>

#include <ulmd/cloud.h>

#include "cloud/capability.h"
#include "cloud/health.h"
#include "cloud/secret.h"

#define ULM_ENDPOINT_SOCKETS_MAX 8u

struct ulm_endpoint {
    char *name;
    const struct ulm_dialect_table *dialect;
    char *base_url; /* as normalised: with the model, the key of what is learned */
    char *url;      /* with the dialect's path */
    bool https;
    char *model;
    enum ulm_cloud_mode mode;
    char *prompts[ULM_PROMPT_N];
    unsigned max_tokens;
    char *reasoning_effort; /* or NULL */
    char *unix_socket, *ca_file, *pinned_key, *proxy; /* or NULL */
    unsigned keepalive_s;
    bool hedge;

    struct ulm_secret key;      /* the header line that carries it */
    struct curl_slist *headers; /* [n_headers], chained; one may point into `key` */
    size_t n_headers;

    struct ulm_health_record health;
    struct ulm_capability capability;
    struct ulm_tags tags;

    /* Open connections, to see whether a warm one is there. -1 = unused. */
    curl_socket_t sockets[ULM_ENDPOINT_SOCKETS_MAX];
    int64_t used_us; /* when a connection was last known to work */
    bool multiplexed; /* the last response came over HTTP/2 */
    unsigned running; /* exchanges under way */
};

/* <0: errno and a line in reterr; the endpoint may be deinitialised either way. */
int ulm_endpoint_init(struct ulm_endpoint *endpoint, const struct ulm_endpoint_config *config,
                      char *reterr, size_t reterr_size);
void ulm_endpoint_deinit(struct ulm_endpoint *endpoint);

/* What every request to it has in common; no URL, no header, no body. 0 or -ENOMEM. */
int ulm_endpoint_prepare(struct ulm_endpoint *endpoint, CURL *easy);

/* Connections that the peer has not closed, as far as the kernel knows. */
unsigned ulm_endpoint_live_connections(const struct ulm_endpoint *endpoint);

#endif
