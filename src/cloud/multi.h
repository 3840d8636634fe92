/* SPDX-License-Identifier: MIT */
/* libcurl's multi handle on a libuv loop: its sockets are uv_poll handles, its timer a uv_timer,
 * and nothing is armed while nothing is under way. */
#ifndef ULM_CLOUD_MULTI_H
#define ULM_CLOUD_MULTI_H

#include <stdint.h>

#include <curl/curl.h>
#include <uv.h>

struct ulm_multi;

/* Both are called outside of libcurl, so that they may add and remove transfers.
 * settle: after every action of libcurl; completions may wait. due: the time set has come. */
struct ulm_multi_handlers {
    void (*settle)(void *data);
    void (*due)(void *data);
};

int ulm_multi_new(uv_loop_t *loop, const struct ulm_multi_handlers *handlers, void *data,
                  struct ulm_multi **ret_multi);
/* Every transfer was removed before. The memory goes when the handles have closed. Returns NULL. */
struct ulm_multi *ulm_multi_free(struct ulm_multi *multi);

CURLM *ulm_multi_curl(struct ulm_multi *multi);

/* One timer for the caller: at this time, or INT64_MAX = none. */
void ulm_multi_set_due(struct ulm_multi *multi, int64_t due_us);

static inline int64_t ulm_now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

#endif
