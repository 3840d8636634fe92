/* SPDX-License-Identifier: MIT */
/*
 * The cloud: carries messages out and text back. One table-like adapter per provider dialect,
 * one libcurl multi handle on the libuv loop, no thread, no polling.
 *
 *     ulm_cloud_new -> ulm_cloud_warm (at ask or draft) -> ulm_cloud_start (when the opener ends)
 *                   -> on_open, on_text..., one on_end; or ulm_transfer_cancel
 *
 * It does not know what an opener or a verdict is: core says what is asked and reads the text.
 */
#ifndef ULMD_CLOUD_H
#define ULMD_CLOUD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/limits.h>
#include <ulmd/request.h>

struct uv_loop_s;
struct ulm_cloud;
struct ulm_transfer;

enum ulm_dialect {
    ULM_DIALECT_OPENAI_CHAT,
    ULM_DIALECT_OPENAI_RESPONSES,
    ULM_DIALECT_ANTHROPIC,
    ULM_DIALECT_MISTRAL,
    ULM_DIALECT_DEEPSEEK,
    ULM_DIALECT_VLLM,
    ULM_DIALECT_SGLANG,
    ULM_DIALECT_LLAMA_SERVER,
    ULM_DIALECT_OLLAMA,
    ULM_DIALECT_OPENROUTER,
    ULM_DIALECT_N,
};

/* The name in the configuration ("openai-chat", ...), and back: -EINVAL for an unknown one. */
const char *ulm_dialect_name(enum ulm_dialect dialect);
int ulm_dialect_from_name(const char *name, enum ulm_dialect *ret_dialect);
/* What it appends to the base URL ("/chat/completions", ...). */
const char *ulm_dialect_path(enum ulm_dialect dialect);

/* Which system text a request goes out with. */
enum ulm_prompt_text {
    ULM_PROMPT_TAGGED, /* continue the opener, verdict tag first */
    ULM_PROMPT_PLAIN,  /* continue the opener, no tag: prefill mode, or a model that gives no tags */
    ULM_PROMPT_ANSWER, /* there is no opener: answer */
    ULM_PROMPT_N,
};

enum ulm_cloud_mode {
    ULM_CLOUD_INSTRUCT,
    ULM_CLOUD_PREFILL,
};

#define ULM_CLOUD_MAX_TOKENS  400u
#define ULM_CLOUD_KEEPALIVE_S 90u

/* The name under which people are told of an endpoint. */
static inline const char *ulm_endpoint_title(const char *name)
{
    return *name ? name : "default";
}

/* Strings are borrowed for ulm_cloud_new and ulm_cloud_configure, and copied. */
struct ulm_endpoint_config {
    const char *name;  /* "" for `[cloud]`, NAME for `[cloud.NAME]` */
    const char *where; /* "FILE:LINE" to begin messages with, or NULL */
    enum ulm_dialect dialect;
    const char *url;         /* base URL; the dialect appends its path */
    const char *unix_socket; /* or NULL */
    bool allow_http;
    const char *model;
    const char *key; /* or NULL; the copy is locked out of core dumps and wiped */
    enum ulm_cloud_mode mode;
    const char *prompts[ULM_PROMPT_N];
    unsigned max_tokens;              /* 0 = ULM_CLOUD_MAX_TOKENS */
    const char *reasoning_effort;     /* or NULL */
    const char *const *extra_headers; /* [n_extra_headers] "Name: value" */
    size_t n_extra_headers;
    const char *ca_file, *pinned_key, *proxy; /* or NULL */
    unsigned keepalive_s;             /* 0 = ULM_CLOUD_KEEPALIVE_S */
    bool hedge;
};

struct ulm_cloud_config {
    const struct ulm_endpoint_config *endpoints; /* [n_endpoints], in the order they are tried */
    size_t n_endpoints;                          /* 1..ULM_ENDPOINTS_MAX */
    const char *state_dir;                       /* capabilities.json lives there; or NULL */
};

struct ulm_cloud_request {
    bool has_opener;      /* no: the ANSWER text */
    const char *user;     /* instruct mode: content of the last user turn, JSON made by core */
    const char *question; /* prefill mode: content of the last user turn, plain text */
    const char *opener;   /* prefill mode: the open assistant turn; no trailing space */
    const struct ulm_turn *history;
    size_t n_history;
    int64_t first_byte_by_us; /* retries and failover happen only before this time */
};

enum ulm_cloud_outcome {
    ULM_CLOUD_COMPLETE,  /* the provider said it ended */
    ULM_CLOUD_LENGTH,    /* token limit */
    ULM_CLOUD_REFUSED,   /* content filter or refusal */
    ULM_CLOUD_TRUNCATED, /* the stream broke off after it had begun, or passed a cap */
    ULM_CLOUD_FAILED,    /* nothing came: DNS, TLS, HTTP status, timeout, all endpoints tried */
};

struct ulm_cloud_end {
    enum ulm_cloud_outcome outcome;
    unsigned http_status;                /* 0 = no response */
    const char *detail; /* our own short word, static: "dns", "tls", "http", "cap", ...; "" = none */
    int64_t input_tokens, output_tokens; /* -1 = not told */
};

/* All are called on the loop's thread, never from inside ulm_cloud_start, and never after
 * ulm_transfer_cancel. now_us is the loop's monotonic clock (uv_hrtime() / 1000). */
struct ulm_transfer_handlers {
    /* A response began (headers with status 2xx): how its request was put. Text follows. */
    void (*on_open)(void *data, enum ulm_cloud_mode mode, enum ulm_prompt_text prompt,
                    int64_t now_us);
    /* An attempt failed and another is made, within the same transfer. */
    void (*on_retry)(void *data, int64_t now_us);
    /* Visible text, whole UTF-8 characters, refusal text included. Reasoning text never comes. */
    void (*on_text)(void *data, const char *text, size_t len, int64_t now_us);
    /* Once, last; the transfer is freed when it returns. */
    void (*on_end)(void *data, const struct ulm_cloud_end *end, int64_t now_us);
    /* Where the dialect tells it: the text that follows is a refusal, no answer. Before that text. */
    void (*on_refusal)(void *data, int64_t now_us);
};

/* <0: errno, with one line of reason in reterr. The loop is borrowed until ulm_cloud_free. */
int ulm_cloud_new(struct uv_loop_s *loop, const struct ulm_cloud_config *config,
                  struct ulm_cloud **ret_cloud, char *reterr, size_t reterr_size);

/* Cancels what is open without a callback. Handles close on later turns of the loop: run it until
 * idle before the loop is closed. NULL is allowed. Returns NULL. */
struct ulm_cloud *ulm_cloud_free(struct ulm_cloud *cloud);

/* Makes DNS, TCP, TLS and HTTP/2 of the first healthy endpoint ready. Cheap when they are. */
void ulm_cloud_warm(struct ulm_cloud *cloud);

/* 0 and a transfer owned by the cloud until on_end or cancel; -ENOMEM. */
int ulm_cloud_start(struct ulm_cloud *cloud, const struct ulm_cloud_request *request,
                    const struct ulm_transfer_handlers *handlers, void *data,
                    struct ulm_transfer **ret_transfer);

/* Closes the upstream at once and frees the transfer; no callback follows. It may be called from
 * inside a handler of the transfer, on_end excepted. NULL is allowed. Returns NULL. */
struct ulm_transfer *ulm_transfer_cancel(struct ulm_transfer *transfer);

/* Core saw, or missed, the verdict tag in a TAGGED answer of this transfer (cloud.md 2.4: three
 * missed of ten turn the endpoint to PLAIN for ten minutes; `peer` counts once a minute). */
void ulm_transfer_report_tag(struct ulm_transfer *transfer, bool seen, unsigned peer);

/* Core had nothing of the transfer that it could use, through the fault of who answers: that counts
 * as a failure there. `word` is static. It may be called from inside a handler, on_end included. */
void ulm_transfer_report_failure(struct ulm_transfer *transfer, const char *word);

enum ulm_health {
    ULM_HEALTH_UNKNOWN, /* not asked yet */
    ULM_HEALTH_OK,
    ULM_HEALTH_PROBING, /* circuit half open */
    ULM_HEALTH_DOWN,    /* circuit open; in a status: or the last request failed */
};

struct ulm_endpoint_status {
    const char *name, *dialect, *model; /* borrowed until the cloud changes */
    enum ulm_health health;
    uint64_t requests, failures;
    double first_byte_ewma_ms, first_byte_p50_ms, first_byte_p95_ms; /* 0 = none measured */
    double first_text_p50_ms;
    const char *last_failure; /* our own word, or NULL */
    unsigned last_status;     /* HTTP status of it, 0 = none */
    /* What was found out about the model, in words: prefill and echo "unknown", "yes" or "no"
     * (an open assistant turn is continued, and repeated first), tag "unknown", "ok" or "bad". */
    const char *prefill, *echo, *tag;
};

/* Fills up to n entries; returns how many endpoints there are. */
size_t ulm_cloud_status(const struct ulm_cloud *cloud, struct ulm_endpoint_status *ret, size_t n);

/* Median time to first text over the recent requests, in ms; 0 = not measured. For `words = auto`. */
double ulm_cloud_first_text_ms(const struct ulm_cloud *cloud);

#endif
