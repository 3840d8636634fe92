/* SPDX-License-Identifier: MIT */
#include "cloud/multi.h"

#include <errno.h>
#include <stdlib.h>

/* Connections kept for reuse. More than a few idle ones help nobody on a device. */
#define POOL_SIZE 8L

struct ulm_multi {
    CURLM *curl;
    uv_loop_t *loop;
    uv_timer_t curl_timer; /* what libcurl asked for */
    uv_timer_t due_timer;  /* what our caller asked for */
    unsigned open_timers;
    struct ulm_multi_handlers handlers;
    void *data;
};

/* A socket that libcurl wants watched; owned by the loop until its close callback. */
struct watch {
    uv_poll_t poll;
    struct ulm_multi *multi;
    curl_socket_t fd;
};

static void act(struct ulm_multi *multi, curl_socket_t fd, int events)
{
    int running;
    (void)curl_multi_socket_action(multi->curl, fd, events, &running);
    multi->handlers.settle(multi->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = poll->data;
    int bits = 0;
    /* An error is for libcurl to find by reading: told of it, it gives up a request that it would
     * else make again, where a kept connection turns out to be dead. */
    if (status < 0)
        bits |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
    if (events & UV_READABLE)
        bits |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        bits |= CURL_CSELECT_OUT;
    act(watch->multi, watch->fd, bits);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watch *watch_new(struct ulm_multi *multi, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    if (uv_poll_init_socket(multi->loop, &watch->poll, fd) < 0) {
        free(watch);
        return NULL;
    }
    watch->poll.data = watch;
    watch->multi = multi;
    watch->fd = fd;
    return watch;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    struct ulm_multi *multi = data;
    struct watch *watch = socket_data;
    int events = 0;

    if (what == CURL_POLL_REMOVE) {
        if (watch) {
            (void)uv_poll_stop(&watch->poll);
            uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
            (void)curl_multi_assign(multi->curl, fd, NULL);
        }
        return 0;
    }
    if (!watch) {
        watch = watch_new(multi, fd);
        if (!watch)
            return 0; /* an error would end the multi handle for good; so one transfer times out */
        (void)curl_multi_assign(multi->curl, fd, watch);
    }
    if (what != CURL_POLL_OUT)
        events |= UV_READABLE;
    if (what != CURL_POLL_IN)
        events |= UV_WRITABLE;
    (void)uv_poll_start(&watch->poll, events, on_poll);
    return 0;
}

static void on_curl_timer_due(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *curl, long timeout_ms, void *data)
{
    struct ulm_multi *multi = data;
    if (timeout_ms < 0) {
        (void)uv_timer_stop(&multi->curl_timer);
    } else {
        uv_update_time(multi->loop); /* else a long turn of the loop makes it fire too early */
        (void)uv_timer_start(&multi->curl_timer, on_curl_timer_due, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

int ulm_multi_new(uv_loop_t *loop, const struct ulm_multi_handlers *handlers, void *data,
                  struct ulm_multi **ret_multi)
{
    struct ulm_multi *multi = calloc(1, sizeof *multi);
    if (!multi)
        return -ENOMEM;
    multi->curl = curl_multi_init();
    if (!multi->curl) {
        free(multi);
        return -ENOMEM;
    }
    multi->loop = loop;
    multi->handlers = *handlers;
    multi->data = data;
    multi->open_timers = 2;
    (void)uv_timer_init(loop, &multi->curl_timer); /* cannot fail */
    (void)uv_timer_init(loop, &multi->due_timer);
    multi->curl_timer.data = multi->due_timer.data = multi;
    (void)curl_multi_setopt(multi->curl, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    (void)curl_multi_setopt(multi->curl, CURLMOPT_SOCKETDATA, multi);
    (void)curl_multi_setopt(multi->curl, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    (void)curl_multi_setopt(multi->curl, CURLMOPT_TIMERDATA, multi);
    (void)curl_multi_setopt(multi->curl, CURLMOPT_MAXCONNECTS, POOL_SIZE);
    (void)curl_multi_setopt(multi->curl, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    *ret_multi = multi;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ulm_multi *multi = handle->data;
    if (--multi->open_timers == 0)
        free(multi);
}

struct ulm_multi *ulm_multi_free(struct ulm_multi *multi)
{
    if (!multi)
        return NULL;
    (void)curl_multi_cleanup(multi->curl);
    multi->curl = NULL;
    uv_close((uv_handle_t *)&multi->curl_timer, on_timer_closed);
    uv_close((uv_handle_t *)&multi->due_timer, on_timer_closed);
    return NULL;
}

CURLM *ulm_multi_curl(struct ulm_multi *multi)
{
    return multi->curl;
}

static void on_due(uv_timer_t *timer)
{
    struct ulm_multi *multi = timer->data;
    multi->handlers.due(multi->data);
}

void ulm_multi_set_due(struct ulm_multi *multi, int64_t due_us)
{
    if (due_us == INT64_MAX) {
        (void)uv_timer_stop(&multi->due_timer);
        return;
    }
    int64_t wait_us = due_us - ulm_now_us();
    uint64_t wait_ms = wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0;
    uv_update_time(multi->loop);
    (void)uv_timer_start(&multi->due_timer, on_due, wait_ms, 0);
}
