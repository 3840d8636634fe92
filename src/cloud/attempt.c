/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/dialect.h"
#include "cloud/internal.h"
#include "util/cjson.h"
#include "util/json.h"
#include "util/log.h"

#define BODY_MAX      (2u * 1024 * 1024)      /* prompt, history and question, all escaped */
#define ERROR_BODY_US (1000 * INT64_C(1000)) /* how long the rest of an error is waited for */
#define BEHIND_MAX    (64u * 1024)            /* read behind the end of an answer */

int ulm_exchange_begin(struct ulm_exchange *exchange, struct ulm_cloud *cloud,
                       struct ulm_endpoint *endpoint)
{
    exchange->endpoint = endpoint;
    exchange->easy = curl_easy_init();
    if (!exchange->easy)
        return -ENOMEM;
    int r = ulm_endpoint_prepare(endpoint, exchange->easy);
    if (r < 0)
        return r;
    if (curl_easy_setopt(exchange->easy, CURLOPT_SHARE, cloud->share) ||
        curl_easy_setopt(exchange->easy, CURLOPT_PRIVATE, exchange))
        return -ENOMEM;
    endpoint->running++;
    return 0;
}

void ulm_exchange_end(struct ulm_exchange *exchange, struct ulm_cloud *cloud)
{
    if (!exchange->easy)
        return;
    (void)curl_multi_remove_handle(ulm_multi_curl(cloud->multi), exchange->easy);
    curl_easy_cleanup(exchange->easy);
    exchange->easy = NULL;
    if (exchange->endpoint->running > 0)
        exchange->endpoint->running--;
}

static bool is_stream_type(const struct ulm_attempt *attempt)
{
    static const char *const sse[] = {"text/event-stream", NULL};
    static const char *const ndjson[] = {"application/x-ndjson", "application/ndjson",
                                         "application/jsonl", NULL};
    const char *const *types = attempt->exchange.endpoint->dialect->ndjson ? ndjson : sse;
    char *type = NULL;
    (void)curl_easy_getinfo(attempt->exchange.easy, CURLINFO_CONTENT_TYPE, &type);
    for (; type && *types; types++) {
        size_t len = strlen(*types);
        if (strncasecmp(type, *types, len) == 0 && strchr("; \t", type[len]))
            return true;
    }
    return false;
}

/* The blank line behind the headers of a response that is not an interim one. */
static void headers_complete(struct ulm_attempt *attempt)
{
    long status = 0, version = 0;
    (void)curl_easy_getinfo(attempt->exchange.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return;
    (void)curl_easy_getinfo(attempt->exchange.easy, CURLINFO_HTTP_VERSION, &version);
    attempt->exchange.endpoint->multiplexed = version == CURL_HTTP_VERSION_2_0;
    attempt->exchange.endpoint->used_us = ulm_now_us();
    attempt->status = (unsigned)status;
    attempt->first_byte_us = attempt->exchange.endpoint->used_us;
    attempt->accepted = status < 300 && is_stream_type(attempt);
    if (!attempt->accepted && attempt->due_us > attempt->first_byte_us + ERROR_BODY_US)
        attempt->due_us = attempt->first_byte_us + ERROR_BODY_US;
    attempt->ready = true;
}

/* How many codings a header line puts around the body, chunks aside. */
static unsigned count_codings(const char *line, size_t len)
{
    static const char *const names[] = {"Content-Encoding:", "Transfer-Encoding:"};
    unsigned n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t at = strlen(names[i]);
        if (len < at || strncasecmp(line, names[i], at) != 0)
            continue;
        while (at < len) {
            size_t from = at;
            while (at < len && !strchr(", \t\r\n", line[at]))
                at++;
            size_t word = at - from;
            n += word > 0 && !(word == 7 && strncasecmp(line + from, "chunked", 7) == 0) &&
                 !(word == 8 && strncasecmp(line + from, "identity", 8) == 0);
            at++;
        }
    }
    return n;
}

/* One coding is undone, though none was asked for. With two the outer one may unpack to any length
 * of what is nothing to the inner: libcurl would never come back, and no cap here would see it. */
static size_t on_header(char *line, size_t size, size_t n, void *data)
{
    struct ulm_attempt *attempt = data;
    size_t len = size * n;

    attempt->header_bytes += len;
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0)
        attempt->codings = 0; /* the headers of an interim response, or of a lost one, were not these */
    attempt->codings += count_codings(line, len);
    if (attempt->header_bytes > ULM_RESPONSE_HEADERS_MAX || attempt->codings > 1) {
        attempt->overflow = true;
        return 0;
    }
    if ((len == 2 && memcmp(line, "\r\n", 2) == 0) || (len == 1 && *line == '\n'))
        headers_complete(attempt);
    return len;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
    struct ulm_attempt *attempt = data;
    size_t len = size * n;

    attempt->ready = true;
    if (attempt->accepted) {
        ulm_stream_feed(&attempt->stream, bytes, len);
        /* Behind the end little can come, so that the connection may be kept. Nothing else would
         * stop libcurl from unpacking what is compressed without measure. */
        if (attempt->stream.phase == ULM_STREAM_ENDED)
            attempt->behind += len;
        return attempt->stream.phase == ULM_STREAM_FAILED || attempt->behind > BEHIND_MAX
                   ? CURL_WRITEFUNC_ERROR
                   : len;
    }
    if (ulm_buf_add(&attempt->error_body, bytes, len) < 0) {
        attempt->overflow = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return len;
}

/* libcurl's result in our own words. */
static const char *result_word(CURLcode result, bool *ret_again)
{
    static const struct {
        CURLcode result;
        const char *word;
        bool again;
    } words[] = {
        {CURLE_COULDNT_RESOLVE_HOST, "dns", true},
        {CURLE_COULDNT_RESOLVE_PROXY, "proxy", true},
        {CURLE_PROXY, "proxy", true},
        {CURLE_COULDNT_CONNECT, "connect", true},
        {CURLE_OPERATION_TIMEDOUT, "timeout", true},
        {CURLE_SSL_CONNECT_ERROR, "tls", true},
        {CURLE_PEER_FAILED_VERIFICATION, "certificate", false},
        {CURLE_SSL_PINNEDPUBKEYNOTMATCH, "pinned_key", false},
        {CURLE_SSL_CACERT_BADFILE, "ca_file", false},
        {CURLE_SEND_ERROR, "reset", true},
        {CURLE_RECV_ERROR, "reset", true},
        {CURLE_GOT_NOTHING, "reset", true},
        {CURLE_PARTIAL_FILE, "cut", true},
        {CURLE_HTTP2, "http2", true},
        {CURLE_HTTP2_STREAM, "http2", true},
        {CURLE_WEIRD_SERVER_REPLY, "protocol", false},
        {CURLE_UNSUPPORTED_PROTOCOL, "protocol", false}, /* an answer that is no HTTP/1 */
        {CURLE_BAD_CONTENT_ENCODING, "encoding", false},
        {CURLE_OUT_OF_MEMORY, "memory", false},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (result == words[i].result) {
            *ret_again = words[i].again;
            return words[i].word;
        }
    }
    *ret_again = true;
    return "transport";
}

static void on_done(struct ulm_exchange *exchange, CURLcode result)
{
    struct ulm_attempt *attempt = (void *)exchange; /* its first member */
    bool again;

    attempt->over = true;
    attempt->ready = true;
    attempt->result = result;
    if (!attempt->accepted)
        return;
    /* Once the reason of the end is known, a torn connection takes nothing away. */
    if (result == CURLE_OK || attempt->stream.phase == ULM_STREAM_CLOSING)
        ulm_stream_finish(&attempt->stream);
    else
        ulm_stream_fail(&attempt->stream, result_word(result, &again));
}

static int write_body(struct ulm_attempt *attempt)
{
    const struct ulm_endpoint *endpoint = attempt->exchange.endpoint;
    const struct ulm_cloud_request *request = &attempt->transfer->request;
    bool prefill = attempt->mode == ULM_CLOUD_PREFILL;
    struct ulm_body body = {
        .model = endpoint->model,
        .system = endpoint->prompts[attempt->prompt],
        .history = request->history,
        .n_history = request->n_history,
        .user = prefill ? request->question : request->user,
        .opener = prefill ? request->opener : NULL,
        .max_tokens = endpoint->max_tokens,
        .reasoning_effort = endpoint->reasoning_effort,
    };
    return ulm_dialect_write(endpoint->dialect, &body, &attempt->body);
}

static void choose_form(struct ulm_attempt *attempt, int64_t now_us)
{
    const struct ulm_endpoint *endpoint = attempt->exchange.endpoint;
    const struct ulm_cloud_request *request = &attempt->transfer->request;
    bool prefill = endpoint->mode == ULM_CLOUD_PREFILL && request->has_opener &&
                   endpoint->capability.prefill != ULM_KNOWN_NO;

    attempt->mode = prefill ? ULM_CLOUD_PREFILL : ULM_CLOUD_INSTRUCT;
    if (!request->has_opener)
        attempt->prompt = ULM_PROMPT_ANSWER;
    else if (prefill || ulm_tags_bad(&endpoint->tags, now_us))
        attempt->prompt = ULM_PROMPT_PLAIN;
    else
        attempt->prompt = ULM_PROMPT_TAGGED;
}

static int prepare(struct ulm_attempt *attempt, bool fresh)
{
    CURL *easy = attempt->exchange.easy;
    const struct ulm_endpoint *endpoint = attempt->exchange.endpoint;

    /* "identity": nothing compressed is asked for, what comes compressed anyway is decoded. */
    if (curl_easy_setopt(easy, CURLOPT_URL, endpoint->url) ||
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "identity") ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, endpoint->headers) ||
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)fresh) ||
        curl_easy_setopt(easy, CURLOPT_POST, 1L) ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)attempt->body.len) ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, attempt->body.data) ||
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) ||
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, attempt) ||
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) ||
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, attempt))
        return -ENOMEM;
    return 0;
}

int ulm_attempt_start(struct ulm_transfer *transfer, struct ulm_endpoint *endpoint, bool fresh,
                      int64_t now_us, struct ulm_attempt **ret_attempt)
{
    struct ulm_cloud *cloud = transfer->cloud;
    struct ulm_attempt *attempt = calloc(1, sizeof *attempt);
    if (!attempt)
        return -ENOMEM;
    attempt->cloud = cloud;
    attempt->transfer = transfer;
    attempt->body = ULM_BUF_INIT(BODY_MAX);
    attempt->error_body = ULM_BUF_INIT(ULM_ERROR_BODY_MAX);
    attempt->exchange.done = on_done;
    attempt->started_us = now_us;
    attempt->due_us = INT64_MAX;
    ulm_stream_init(&attempt->stream, endpoint->dialect);
    attempt->next = cloud->attempts;
    if (attempt->next)
        attempt->next->prev = attempt;
    cloud->attempts = attempt;

    int r = ulm_exchange_begin(&attempt->exchange, cloud, endpoint);
    if (r == 0) {
        choose_form(attempt, now_us);
        r = write_body(attempt);
    }
    if (r == 0)
        r = prepare(attempt, fresh);
    if (r == 0 && curl_multi_add_handle(ulm_multi_curl(cloud->multi), attempt->exchange.easy))
        r = -ENOMEM;
    if (r < 0) {
        ulm_attempt_free(attempt);
        return r;
    }
    ulm_health_begin(&endpoint->health);
    *ret_attempt = attempt;
    return 0;
}

struct ulm_attempt *ulm_attempt_free(struct ulm_attempt *attempt)
{
    if (!attempt)
        return NULL;
    ulm_exchange_end(&attempt->exchange, attempt->cloud);
    if (attempt->prev)
        attempt->prev->next = attempt->next;
    else
        attempt->cloud->attempts = attempt->next;
    if (attempt->next)
        attempt->next->prev = attempt->prev;
    ulm_stream_deinit(&attempt->stream);
    ulm_buf_wipe(&attempt->body);
    ulm_buf_wipe(&attempt->error_body);
    free(attempt);
    return NULL;
}

/* The message of an error body says why an open assistant turn was refused; it is read for these
 * words and goes no further. */
static bool speaks_of_prefill(const cJSON *error)
{
    const char *message = cJSON_IsString(error) ? error->valuestring
                                                : ulm_json_text(error, "message");
    return message && (strcasestr(message, "prefill") || strcasestr(message, "prefix") ||
                       strcasestr(message, "final assistant"));
}

static void read_error_body(const struct ulm_attempt *attempt, struct ulm_failure *failure)
{
    ULM_CLEANUP_BUF struct ulm_buf copy = ULM_BUF_INIT(ULM_ERROR_BODY_MAX);
    if (ulm_buf_add(&copy, ulm_buf_str(&attempt->error_body), attempt->error_body.len) < 0 ||
        ulm_json_check(copy.data, copy.len, ULM_JSON_DEPTH_MAX) < 0)
        return;
    cJSON *json = cJSON_ParseWithLength(copy.data, copy.len);
    const cJSON *error = ulm_json_member(json, "error");
    if (!error)
        error = json; /* some servers put message, type and code at the top */
    const char *word = ulm_dialect_error_word(error);
    if (strcmp(word, "provider") != 0)
        failure->word = word;
    failure->refused = strcmp(word, "content_filter") == 0;
    if (attempt->mode == ULM_CLOUD_PREFILL && (failure->status == 400 || failure->status == 422))
        failure->no_prefill = speaks_of_prefill(error);
    cJSON_Delete(json);
}

static void read_status(const struct ulm_attempt *attempt, struct ulm_failure *failure)
{
    curl_off_t wait_s = 0;
    unsigned status = attempt->status;

    failure->again = status == 408 || status == 429 || status >= 500;
    if (status == 429 || status == 503 || status == 529) {
        (void)curl_easy_getinfo(attempt->exchange.easy, CURLINFO_RETRY_AFTER, &wait_s);
        if (wait_s > 0)
            failure->wait_us = (wait_s < 86400 ? wait_s : 86400) * INT64_C(1000000);
    }
    read_error_body(attempt, failure);
    if (strcmp(failure->word, "insufficient_quota") == 0)
        failure->again = false;
}

/* Nothing answered behind a proxy that could not be reached, or would not let us through. */
static bool is_proxys_fault(const struct ulm_attempt *attempt)
{
    long status = 0;
    if (!attempt->exchange.endpoint->proxy)
        return false;
    (void)curl_easy_getinfo(attempt->exchange.easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return attempt->result == CURLE_COULDNT_CONNECT || status >= 300;
}

struct ulm_failure ulm_attempt_failure(const struct ulm_attempt *attempt)
{
    struct ulm_failure failure = {.word = "http", .status = attempt->status, .wait_us = -1};

    if (attempt->stream.phase == ULM_STREAM_FAILED) {
        failure.word = attempt->stream.error;
        failure.again = strcmp(failure.word, "cap") != 0;
    } else if (attempt->status >= 200 && attempt->status < 300 && !attempt->accepted) {
        failure.word = "content_type";
    } else if (attempt->overflow && attempt->status == 0) {
        failure.word = "cap";
    } else if (attempt->status >= 300 && (attempt->result == CURLE_OK || attempt->overflow)) {
        read_status(attempt, &failure);
    } else if (!attempt->over) {
        failure.word = "timeout";
        failure.again = true;
    } else {
        failure.word = result_word(attempt->result, &failure.again);
        if (is_proxys_fault(attempt))
            failure.word = "proxy";
    }
    return failure;
}
