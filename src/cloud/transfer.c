/* SPDX-License-Identifier: MIT */
/*
 * A question on its way: one endpoint is asked; where it fails before its first text, the next
 * healthy one, or the same once more a moment later; with `hedge` a second one is asked when the
 * first is slower than it usually is. The first to respond answers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/internal.h"
#include "util/log.h"

#define RETRY_PAUSE_US (150 * INT64_C(1000))  /* where no Retry-After says otherwise */
#define GRACE_US       (500 * INT64_C(1000))  /* for usage and end marker behind the last text */
#define DRAIN_US       (1000 * INT64_C(1000)) /* for the rest of a body, to keep the connection */
#define HEDGE_SAMPLES  8u                     /* fewer give no p95 to speak of */

static const char *keep(struct ulm_buf *store, const char *text)
{
    const char *at = store->data + store->len;
    size_t len = text ? strlen(text) : 0;
    int r = ulm_buf_add(store, text ? text : "", len);
    if (r == 0)
        r = ulm_buf_add(store, "", 1);
    return r == 0 ? at : NULL; /* cannot fail: the room was reserved */
}

static int copy_request(struct ulm_transfer *transfer, const struct ulm_cloud_request *request)
{
    const char *const texts[] = {request->user, request->question, request->opener};
    size_t need = 3;
    for (size_t i = 0; i < 3; i++)
        need += texts[i] ? strlen(texts[i]) : 0;
    for (size_t i = 0; i < request->n_history; i++)
        need += strlen(request->history[i].content) + 1;

    struct ulm_turn *turns = calloc(request->n_history + 1, sizeof *turns);
    if (!turns)
        return -ENOMEM;
    transfer->request = *request;
    transfer->request.history = turns;
    ulm_buf_init(&transfer->store, need);
    if (ulm_buf_reserve(&transfer->store, need) < 0)
        return -ENOMEM;
    transfer->request.user = keep(&transfer->store, request->user);
    transfer->request.question = keep(&transfer->store, request->question);
    transfer->request.opener = keep(&transfer->store, request->opener);
    for (size_t i = 0; i < request->n_history; i++) {
        turns[i].role = request->history[i].role;
        turns[i].content = keep(&transfer->store, request->history[i].content);
    }
    return 0;
}

static void drop_attempts(struct ulm_transfer *transfer, const struct ulm_attempt *except,
                          int64_t now_us)
{
    for (size_t i = 0; i < 2; i++) {
        struct ulm_attempt *attempt = transfer->attempts[i];
        if (!attempt || attempt == except)
            continue;
        ulm_health_given_up(&attempt->exchange.endpoint->health, now_us);
        transfer->attempts[i] = ulm_attempt_free(attempt);
    }
}

static void transfer_free(struct ulm_transfer *transfer)
{
    drop_attempts(transfer, NULL, ulm_now_us());
    if (transfer->prev)
        transfer->prev->next = transfer->next;
    else
        transfer->cloud->transfers = transfer->next;
    if (transfer->next)
        transfer->next->prev = transfer->prev;
    ulm_buf_wipe(&transfer->store);
    free((void *)transfer->request.history);
    free(transfer);
}

/* After a handler: true = the transfer went while it ran. */
static bool unpin(struct ulm_transfer *transfer)
{
    transfer->pinned = false;
    if (!transfer->gone)
        return false;
    transfer_free(transfer);
    return true;
}

/* One line when an endpoint begins to fail, and one when it works again. */
static void tell_failure(struct ulm_endpoint *endpoint, const char *word, unsigned status,
                         int64_t now_us)
{
    char http[32] = "";
    if (!ulm_health_note(&endpoint->health, word, status, now_us))
        return;
    if (status > 0)
        (void)snprintf(http, sizeof http, ", HTTP status %u", status);
    ulm_log(ULM_LOG_WARNING, "cloud %s fails: %s%s", ulm_endpoint_title(endpoint->name), word,
            http);
}

static void note_failure(struct ulm_endpoint *endpoint, const char *word, unsigned status,
                         int64_t now_us)
{
    ulm_health_failure(&endpoint->health, now_us);
    tell_failure(endpoint, word, status, now_us);
}

static void note_success(struct ulm_endpoint *endpoint)
{
    ulm_health_success(&endpoint->health);
    if (endpoint->health.told)
        ulm_log(ULM_LOG_NOTICE, "cloud %s works again", ulm_endpoint_title(endpoint->name));
    endpoint->health.told = NULL;
}

static void end(struct ulm_transfer *transfer, const struct ulm_cloud_end *end, int64_t now_us)
{
    bool answered = end->outcome < ULM_CLOUD_TRUNCATED && transfer->answering;
    transfer->pinned = true;
    transfer->handlers.on_end(transfer->data, end, now_us);
    if (answered && !transfer->blamed)
        note_success(transfer->answering);
    transfer->gone = true;
    (void)unpin(transfer);
}

static void end_failed(struct ulm_transfer *transfer, enum ulm_cloud_outcome outcome,
                       int64_t now_us)
{
    /* What a provider said tells more than that the next one was not to be had. */
    const struct ulm_failure *failure =
        transfer->heard.status > 0 ? &transfer->heard : &transfer->failure;
    struct ulm_cloud_end failed = {
        .outcome = outcome,
        .http_status = failure->status,
        .detail = failure->word,
        .input_tokens = -1,
        .output_tokens = -1,
    };
    end(transfer, &failed, now_us);
}

/* How long an endpoint may take to respond: all the time there is, unless another could still
 * do it in half of it. */
static int64_t patience_us(const struct ulm_transfer *transfer, const struct ulm_endpoint *endpoint,
                           int64_t now_us)
{
    int64_t by_us = transfer->request.first_byte_by_us;
    if (by_us == INT64_MAX || by_us <= now_us ||
        !ulm_cloud_choose(transfer->cloud, transfer->tried, now_us))
        return by_us;
    int64_t half = (by_us - now_us) / 2;
    int64_t usual = 2 * ulm_recent_quantile_us(&endpoint->health.recent_byte, 0.95);
    int64_t patience = usual > half ? usual : half;
    return patience < by_us - now_us ? now_us + patience : by_us;
}

static int ask(struct ulm_transfer *transfer, struct ulm_endpoint *endpoint, int64_t now_us)
{
    size_t slot = transfer->attempts[0] ? 1 : 0;
    struct ulm_attempt *attempt;
    int r = ulm_attempt_start(transfer, endpoint, transfer->retried, now_us, &attempt);
    if (r < 0)
        return r;
    transfer->tried |= 1u << (size_t)(endpoint - transfer->cloud->endpoints);
    transfer->attempts[slot] = attempt;
    attempt->due_us = patience_us(transfer, endpoint, now_us);
    return 0;
}

static void ask_or_end(struct ulm_transfer *transfer, struct ulm_endpoint *endpoint, int64_t now_us)
{
    if (ask(transfer, endpoint, now_us) < 0) {
        transfer->failure.word = "memory";
        end_failed(transfer, ULM_CLOUD_FAILED, now_us);
    }
}

/* Tells core that another attempt is made. False = the transfer went. */
static bool announce_retry(struct ulm_transfer *transfer, int64_t now_us)
{
    transfer->pinned = true;
    transfer->answering = NULL;
    transfer->handlers.on_retry(transfer->data, now_us);
    return !unpin(transfer);
}

/* What is the question's fault is not the endpoint's. */
static bool is_ill(const struct ulm_failure *failure)
{
    return !failure->no_prefill && !failure->refused && failure->status != 400 &&
           failure->status != 413 && failure->status != 422;
}

/* No text of this transfer was seen yet: who is asked now? */
static void try_again(struct ulm_transfer *transfer, struct ulm_endpoint *endpoint, int64_t now_us)
{
    const struct ulm_failure *failure = &transfer->failure;
    int64_t by_us = transfer->request.first_byte_by_us;
    int64_t wait_us = failure->wait_us >= 0 ? failure->wait_us : RETRY_PAUSE_US;
    struct ulm_endpoint *other = ulm_cloud_choose(transfer->cloud, transfer->tried, now_us);

    if (failure->no_prefill && now_us < by_us) {
        if (announce_retry(transfer, now_us))
            ask_or_end(transfer, endpoint, now_us);
    } else if (other && now_us < by_us) {
        if (announce_retry(transfer, now_us))
            ask_or_end(transfer, other, now_us);
    } else if (failure->again && !transfer->retried && wait_us < by_us - now_us) {
        transfer->retried = true;
        transfer->retry_at = endpoint;
        transfer->retry_us = now_us + wait_us;
        (void)announce_retry(transfer, now_us);
    } else {
        end_failed(transfer, ULM_CLOUD_FAILED, now_us);
    }
}

static void attempt_failed(struct ulm_transfer *transfer, struct ulm_attempt *attempt,
                           int64_t now_us)
{
    struct ulm_endpoint *endpoint = attempt->exchange.endpoint;
    bool texted = attempt->texted;
    size_t slot = transfer->attempts[1] == attempt;

    transfer->failure = ulm_attempt_failure(attempt);
    const struct ulm_failure *failure = &transfer->failure;
    if (failure->status > 0)
        transfer->heard = *failure;
    ulm_log(ULM_LOG_DEBUG, "cloud %s: attempt failed: %s, HTTP status %u",
            ulm_endpoint_title(endpoint->name), failure->word, failure->status);
    if (is_ill(failure)) {
        note_failure(endpoint, failure->word, failure->status, now_us);
    } else {
        ulm_health_success(&endpoint->health);
        /* Where every question is at fault, it is the configuration that is. */
        if (!failure->no_prefill && !failure->refused)
            tell_failure(endpoint, failure->word, failure->status, now_us);
    }
    if (failure->no_prefill) {
        endpoint->capability.prefill = ULM_KNOWN_NO;
        ulm_cloud_learned(transfer->cloud, endpoint);
    }
    transfer->attempts[slot] = ulm_attempt_free(attempt);

    if (texted)
        end_failed(transfer, ULM_CLOUD_TRUNCATED, now_us);
    else if (transfer->attempts[!slot])
        return; /* the hedge goes on alone */
    else if (failure->refused)
        end_failed(transfer, ULM_CLOUD_REFUSED, now_us);
    else
        try_again(transfer, endpoint, now_us);
}

static void answered(struct ulm_transfer *transfer, struct ulm_attempt *attempt, int64_t now_us)
{
    struct ulm_cloud_end complete = {
        .outcome = attempt->stream.outcome,
        .http_status = attempt->status,
        .detail = "",
        .input_tokens = attempt->stream.input_tokens,
        .output_tokens = attempt->stream.output_tokens,
    };
    transfer->attempts[transfer->attempts[1] == attempt] = NULL;
    if (attempt->over) {
        ulm_attempt_free(attempt);
    } else {
        attempt->transfer = NULL;
        attempt->due_us = now_us + DRAIN_US;
    }
    end(transfer, &complete, now_us);
}

/* The first response of the transfer, or of this attempt. False = the transfer went. */
static bool open_answer(struct ulm_transfer *transfer, struct ulm_attempt *attempt, int64_t now_us)
{
    struct ulm_endpoint *endpoint = attempt->exchange.endpoint;

    drop_attempts(transfer, attempt, now_us);
    transfer->hedge_us = INT64_MAX;
    transfer->answering = endpoint;
    attempt->opened = true;
    attempt->due_us = INT64_MAX;
    ulm_health_first_byte(&endpoint->health, attempt->first_byte_us - attempt->started_us);
    transfer->pinned = true;
    transfer->handlers.on_open(transfer->data, attempt->mode, attempt->prompt, now_us);
    return !unpin(transfer);
}

/* Prefill mode: the text shows that the open turn was continued, and whether it is repeated. */
static void learn_from_text(struct ulm_attempt *attempt, const char *text, size_t len)
{
    struct ulm_capability *capability = &attempt->exchange.endpoint->capability;
    const char *opener = attempt->transfer->request.opener;
    enum ulm_known prefill = capability->prefill, echo = capability->echo;

    if (attempt->mode != ULM_CLOUD_PREFILL)
        return;
    capability->prefill = ULM_KNOWN_YES;
    for (size_t i = 0; i < len && attempt->echoed != SIZE_MAX; i++) {
        if (text[i] != opener[attempt->echoed]) {
            capability->echo = ULM_KNOWN_NO;
            attempt->echoed = SIZE_MAX;
        } else if (opener[++attempt->echoed] == '\0') {
            capability->echo = ULM_KNOWN_YES;
            attempt->echoed = SIZE_MAX;
        }
    }
    if (prefill != capability->prefill || echo != capability->echo)
        ulm_cloud_learned(attempt->cloud, attempt->exchange.endpoint);
}

/* False = the transfer went. */
static bool pass_text(struct ulm_transfer *transfer, struct ulm_attempt *attempt, int64_t now_us)
{
    /* Moved out: a handler that cancels frees the attempt, but not the text it is reading. */
    struct ulm_buf text = attempt->stream.text;
    attempt->stream.text = ULM_BUF_INIT(text.cap);

    learn_from_text(attempt, text.data, text.len);
    if (!attempt->texted) {
        int64_t after_us = now_us - attempt->started_us;
        ulm_histogram_add(&attempt->exchange.endpoint->health.first_text, after_us);
        ulm_recent_add(&transfer->cloud->recent_text, after_us);
        ulm_health_success(&attempt->exchange.endpoint->health);
        attempt->texted = true;
    }
    transfer->pinned = true;
    if (attempt->stream.refusal && !attempt->refusal) {
        attempt->refusal = true;
        transfer->handlers.on_refusal(transfer->data, now_us);
    }
    transfer->handlers.on_text(transfer->data, text.data, text.len, now_us);
    ulm_buf_wipe(&text);
    return !unpin(transfer);
}

void ulm_transfer_advance(struct ulm_transfer *transfer, struct ulm_attempt *attempt,
                          int64_t now_us)
{
    if (attempt->accepted && !attempt->opened && !open_answer(transfer, attempt, now_us))
        return;
    if (attempt->stream.text.len > 0 && !pass_text(transfer, attempt, now_us))
        return;
    if (attempt->due_us <= now_us && attempt->stream.phase == ULM_STREAM_CLOSING)
        ulm_stream_finish(&attempt->stream);

    if (attempt->stream.phase == ULM_STREAM_ENDED)
        answered(transfer, attempt, now_us);
    else if (attempt->stream.phase == ULM_STREAM_FAILED || attempt->over ||
             attempt->due_us <= now_us)
        attempt_failed(transfer, attempt, now_us);
    else if (attempt->stream.phase == ULM_STREAM_CLOSING && attempt->due_us == INT64_MAX)
        attempt->due_us = now_us + GRACE_US;
}

void ulm_transfer_tick(struct ulm_transfer *transfer, int64_t now_us)
{
    if (transfer->retry_at && transfer->retry_us <= now_us) {
        struct ulm_endpoint *endpoint = transfer->retry_at;
        transfer->retry_at = NULL;
        ask_or_end(transfer, endpoint, now_us);
        return;
    }
    if (transfer->hedge_us <= now_us) {
        struct ulm_endpoint *other = ulm_cloud_choose(transfer->cloud, transfer->tried, now_us);
        transfer->hedge_us = INT64_MAX;
        if (other && transfer->attempts[0] && !transfer->attempts[1])
            (void)ask(transfer, other, now_us); /* without memory the first goes on alone */
    }
}

int64_t ulm_transfer_next_due(const struct ulm_transfer *transfer)
{
    int64_t due_us = transfer->hedge_us;
    if (transfer->retry_at && transfer->retry_us < due_us)
        due_us = transfer->retry_us;
    return due_us;
}

int ulm_cloud_start(struct ulm_cloud *cloud, const struct ulm_cloud_request *request,
                    const struct ulm_transfer_handlers *handlers, void *data,
                    struct ulm_transfer **ret_transfer)
{
    int64_t now_us = ulm_now_us();
    struct ulm_transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return -ENOMEM;
    transfer->cloud = cloud;
    transfer->handlers = *handlers;
    transfer->data = data;
    transfer->hedge_us = INT64_MAX;
    transfer->next = cloud->transfers;
    if (transfer->next)
        transfer->next->prev = transfer;
    cloud->transfers = transfer;

    struct ulm_endpoint *endpoint = ulm_cloud_choose(cloud, 0, now_us);
    int r = copy_request(transfer, request);
    if (r == 0)
        r = ask(transfer, endpoint, now_us);
    if (r < 0) {
        transfer_free(transfer);
        return r;
    }
    if (endpoint->hedge && endpoint->health.recent_byte.n >= HEDGE_SAMPLES)
        transfer->hedge_us = now_us + ulm_recent_quantile_us(&endpoint->health.recent_byte, 0.95);
    ulm_cloud_rearm(cloud);
    *ret_transfer = transfer;
    return 0;
}

/* The caller gave up where nothing came in the time allowed: that says something. */
static void note_silence(struct ulm_transfer *transfer, int64_t now_us)
{
    for (size_t i = 0; i < 2; i++) {
        struct ulm_attempt *attempt = transfer->attempts[i];
        if (attempt && attempt->first_byte_us == 0 &&
            now_us >= transfer->request.first_byte_by_us - 1000)
            note_failure(attempt->exchange.endpoint, "timeout", 0, now_us);
    }
}

struct ulm_transfer *ulm_transfer_cancel(struct ulm_transfer *transfer)
{
    if (!transfer || transfer->gone)
        return NULL;
    struct ulm_cloud *cloud = transfer->cloud;
    int64_t now_us = ulm_now_us();
    note_silence(transfer, now_us);
    transfer->gone = true;
    transfer->retry_at = NULL;
    transfer->hedge_us = INT64_MAX;
    drop_attempts(transfer, NULL, now_us);
    if (!transfer->pinned)
        transfer_free(transfer);
    ulm_cloud_rearm(cloud);
    return NULL;
}

void ulm_transfer_report_tag(struct ulm_transfer *transfer, bool seen, unsigned peer)
{
    if (transfer->answering)
        ulm_tags_report(&transfer->answering->tags, seen, peer, ulm_now_us());
}

void ulm_transfer_report_failure(struct ulm_transfer *transfer, const char *word)
{
    if (!transfer->answering)
        return;
    transfer->blamed = true;
    note_failure(transfer->answering, word, /* status */ 0, ulm_now_us());
}
