/* SPDX-License-Identifier: MIT */
/*
 * How the transport hangs together.
 *
 *     ulm_cloud      endpoints, the multi handle, what is under way
 *     ulm_transfer   one question: tries endpoints until one answers, then passes its text on
 *     ulm_attempt    one HTTP exchange of a transfer with one endpoint
 *     warm           an exchange without a key or a body that leaves a connection behind
 *
 * libcurl's callbacks only read bytes into the attempt and mark it ready. Core is called from
 * ulm_cloud_settle(), outside of libcurl, so that it may start and cancel as it likes.
 */
#ifndef ULM_CLOUD_INTERNAL_H
#define ULM_CLOUD_INTERNAL_H

#include <ulmd/cloud.h>

#include "cloud/endpoint.h"
#include "cloud/multi.h"
#include "cloud/stream.h"
#include "util/buf.h"

/* An easy handle in the multi, embedded in its owner. */
struct ulm_exchange {
    CURL *easy;
    struct ulm_endpoint *endpoint;
    void (*done)(struct ulm_exchange *exchange, CURLcode result); /* called once, by settle */
};

/* Why an attempt brought no answer. */
struct ulm_failure {
    const char *word;  /* our own, static */
    unsigned status;   /* HTTP, 0 = no response */
    bool again;        /* the same endpoint may do better a moment later */
    bool refused;      /* the provider's filter refused the question itself */
    bool no_prefill;   /* it does not take an open assistant turn */
    int64_t wait_us;   /* Retry-After; -1 = not told */
};

#define ULM_RESPONSE_HEADERS_MAX (128u * 1024) /* bytes of a response's headers, all of them */

struct ulm_attempt {
    struct ulm_exchange exchange;
    struct ulm_cloud *cloud;
    struct ulm_transfer *transfer; /* NULL = its answer is complete, the connection drains */
    struct ulm_attempt *prev, *next; /* ulm_cloud.attempts */
    struct ulm_buf body;
    struct ulm_stream stream;
    size_t header_bytes;
    unsigned codings;          /* around the body */
    size_t behind;             /* bytes since the stream ended */
    struct ulm_buf error_body; /* of a response that is no stream */
    enum ulm_cloud_mode mode;
    enum ulm_prompt_text prompt;
    int64_t started_us;
    int64_t first_byte_us; /* 0 = no response yet */
    int64_t due_us;        /* give up: no response, no end, no drain; INT64_MAX = never */
    unsigned status;
    bool ready;    /* settle has something to do */
    bool accepted; /* 2xx and the right content type: the body is a stream */
    bool opened;   /* core was told */
    bool texted;   /* core was given text */
    bool refusal;  /* core was told that what follows is one */
    size_t echoed; /* prefill: bytes of the opener that the text repeated so far */
    bool over;     /* libcurl is done with it: `result` */
    bool overflow; /* our own stop: more than a cap allows */
    CURLcode result;
};

struct ulm_transfer {
    struct ulm_cloud *cloud;
    struct ulm_transfer *prev, *next; /* ulm_cloud.transfers */
    struct ulm_transfer_handlers handlers;
    void *data;
    struct ulm_cloud_request request; /* copied into `store` */
    struct ulm_buf store;
    struct ulm_attempt *attempts[2]; /* the second is the hedge; either may be NULL */
    struct ulm_endpoint *answering;  /* whose text is passed on */
    unsigned tried;                  /* bit i: endpoint i was asked */
    bool retried;                    /* the one retry at the same endpoint was used */
    struct ulm_endpoint *retry_at;   /* asked again at retry_us */
    int64_t retry_us;
    int64_t hedge_us; /* ask a second endpoint; INT64_MAX = no */
    struct ulm_failure failure; /* the last one */
    struct ulm_failure heard;   /* the last one that came with a response; status 0 = none */
    bool blamed; /* core found the fault with `answering` */
    bool due;    /* settle has its tick to do */
    bool pinned; /* a handler runs: freed when it returns */
    bool gone;   /* ended or cancelled */
};

struct ulm_cloud {
    uv_loop_t *loop;
    struct ulm_multi *multi;
    CURLSH *share; /* TLS sessions, so that a new connection resumes */
    struct ulm_endpoint *endpoints;
    size_t n_endpoints;
    struct ulm_transfer *transfers;
    struct ulm_attempt *attempts;
    struct ulm_warm *warm; /* NULL = none under way */
    struct ulm_recent recent_text;
    char *state_dir; /* or NULL */
    bool settling;
};

/* cloud.c */
void ulm_cloud_settle(struct ulm_cloud *cloud);
void ulm_cloud_rearm(struct ulm_cloud *cloud);
/* The endpoint to ask next, of those whose bit is clear; NULL = none that is healthy. */
struct ulm_endpoint *ulm_cloud_choose(struct ulm_cloud *cloud, unsigned tried, int64_t now_us);
/* Its capability changed: stamp it and keep it. */
void ulm_cloud_learned(struct ulm_cloud *cloud, struct ulm_endpoint *endpoint);

/* attempt.c */
int ulm_exchange_begin(struct ulm_exchange *exchange, struct ulm_cloud *cloud,
                       struct ulm_endpoint *endpoint);
void ulm_exchange_end(struct ulm_exchange *exchange, struct ulm_cloud *cloud);
/* 0 or -ENOMEM: asks the endpoint, in the mode that is known to work there. fresh: not over a
 * connection that is there already, for that may be why the last attempt failed. */
int ulm_attempt_start(struct ulm_transfer *transfer, struct ulm_endpoint *endpoint, bool fresh,
                      int64_t now_us, struct ulm_attempt **ret_attempt);
/* Closes its stream at once where it is still open. Returns NULL. */
struct ulm_attempt *ulm_attempt_free(struct ulm_attempt *attempt);
/* Of an attempt that is over, or whose stream failed. */
struct ulm_failure ulm_attempt_failure(const struct ulm_attempt *attempt);

/* transfer.c */
/* Something came for this attempt, or its time is up. */
void ulm_transfer_advance(struct ulm_transfer *transfer, struct ulm_attempt *attempt,
                          int64_t now_us);
void ulm_transfer_tick(struct ulm_transfer *transfer, int64_t now_us);
int64_t ulm_transfer_next_due(const struct ulm_transfer *transfer);

/* warm.c */
struct ulm_warm *ulm_warm_free(struct ulm_warm *warm);

#endif
