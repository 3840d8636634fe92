/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/client.h"

/* Stands between the client's own handler and the events while ulm_client_answer waits. */
struct waiter {
    const char *id;
    ulm_client_handler *handler;
    void *handler_data;
    struct ulm_client_answer *answer; /* owned; set by the terminal event */
    int error;
};

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text ? strdup(text) : NULL;
    return text && !*ret_copy ? -ENOMEM : 0;
}

static int copy_answer(const struct ulm_client_event *event, struct ulm_client_answer **ret_answer)
{
    struct ulm_client_answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        return -ENOMEM;
    if (copy_text(event->text ? event->text : "", &answer->text) < 0 ||
        copy_text(event->reason, &answer->reason) < 0 ||
        copy_text(event->source, &answer->source) < 0 ||
        copy_text(event->verdict, &answer->verdict) < 0 ||
        copy_text(event->code, &answer->code) < 0 ||
        copy_text(event->message, &answer->message) < 0) {
        ulm_client_answer_free(answer);
        return -ENOMEM;
    }
    answer->timing = event->timing;
    answer->input_tokens = event->input_tokens;
    answer->output_tokens = event->output_tokens;
    *ret_answer = answer;
    return 0;
}

static void on_event(void *data, const struct ulm_client_event *event)
{
    struct waiter *waiter = data;
    bool terminal = event->type == ULM_CLIENT_DONE || event->type == ULM_CLIENT_ERROR;
    /* An error without any id (broken framing, too many clients) ends the wait as well. */
    bool ours = event->id ? strcmp(event->id, waiter->id) == 0
                          : event->type == ULM_CLIENT_ERROR &&
                                (!event->ref || strcmp(event->ref, waiter->id) == 0);
    if (terminal && ours && !waiter->answer)
        waiter->error = copy_answer(event, &waiter->answer);
    if (waiter->handler)
        waiter->handler(waiter->handler_data, event);
}

static int wait_for(struct ulm_client *client, struct waiter *waiter, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    while (!waiter->answer && waiter->error == 0) {
        int left = -1;
        if (timeout_ms >= 0) {
            int64_t ms = end - now_ms();
            if (ms < 0)
                return -ETIMEDOUT;
            left = (int)ms;
        }
        int r = ulm_client_wait(client, left);
        if (r == 1 && !waiter->answer)
            return -ECONNRESET;
        if (r < 0 && r != -EINTR)
            return r;
    }
    return waiter->error;
}

ULM_CLIENT_API int ulm_client_answer(struct ulm_client *client, const struct ulm_client_ask *ask,
                                     int timeout_ms, struct ulm_client_answer **ret_answer)
{
    if (client->in_handler)
        return -EBUSY;
    char id[32];
    struct ulm_client_ask copy = {ULM_CLIENT_ASK_INIT};
    memcpy(&copy, ask, ask->size < sizeof copy ? ask->size : sizeof copy);
    if (!copy.id) {
        (void)snprintf(id, sizeof id, "answer-%u", ++client->asked);
        copy.id = id;
        copy.size = sizeof copy;
    }
    int r = ulm_client_ask(client, &copy);
    if (r < 0)
        return r;

    struct waiter waiter = {copy.id, client->handler, client->handler_data, NULL, 0};
    ulm_client_set_handler(client, on_event, &waiter);
    r = ulm_client_dispatch(client);
    if (r >= 0)
        r = wait_for(client, &waiter, timeout_ms);
    ulm_client_set_handler(client, waiter.handler, waiter.handler_data);
    if (r == -ETIMEDOUT) {
        (void)ulm_client_cancel(client, copy.id);
        (void)ulm_client_dispatch(client);
    }
    if (r < 0) {
        ulm_client_answer_free(waiter.answer);
        return r;
    }
    r = waiter.answer->code ? 1 : 0;
    *ret_answer = waiter.answer;
    return r;
}

ULM_CLIENT_API struct ulm_client_answer *ulm_client_answer_free(struct ulm_client_answer *answer)
{
    if (!answer)
        return NULL;
    free(answer->text);
    free(answer->reason);
    free(answer->source);
    free(answer->verdict);
    free(answer->code);
    free(answer->message);
    free(answer);
    return NULL;
}
