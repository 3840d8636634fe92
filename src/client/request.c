/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "util/json.h"
#include "util/text.h"

struct ulm_client_request *ulm_client_find(const struct ulm_client *client, const char *id)
{
    for (struct ulm_client_request *r = client->requests; r; r = r->next) {
        if (strcmp(r->id, id) == 0)
            return r;
    }
    return NULL;
}

void ulm_client_forget(struct ulm_client *client, struct ulm_client_request *request)
{
    struct ulm_client_request **link = &client->requests;
    while (*link != request)
        link = &(*link)->next;
    *link = request->next;
    ulm_buf_deinit(&request->answer);
    free(request);
}

static int remember(struct ulm_client *client, const char *id)
{
    struct ulm_client_request *request = calloc(1, sizeof *request);
    if (!request)
        return -ENOMEM;
    memcpy(request->id, id, strlen(id) + 1);
    ulm_buf_init(&request->answer, ULM_OUTPUT_QUEUE_MAX);
    request->next = client->requests;
    client->requests = request;
    return 0;
}

static int add_string(struct ulm_buf *line, const char *text)
{
    size_t len = strlen(text);
    if (len > ULM_LINE_MAX)
        return -EMSGSIZE;
    return ulm_utf8_valid(text, len) ? ulm_json_add_string_n(line, text, len) : -EILSEQ;
}

/* `,"name":"text"`; nothing for NULL. */
static int add_member(struct ulm_buf *line, const char *name, const char *text)
{
    if (!text)
        return 0;
    int r = ulm_buf_add_fmt(line, ",\"%s\":", name);
    return r < 0 ? r : add_string(line, text);
}

static int add_number(struct ulm_buf *line, const char *name, unsigned value)
{
    return value == 0 ? 0 : ulm_buf_add_fmt(line, ",\"%s\":%u", name, value);
}

/* A request line is begun with its op, closed with finish(). */
static int begin(struct ulm_buf *line, const char *op, const char *id)
{
    int r = ulm_buf_add_fmt(line, "{\"op\":\"%s\"", op);
    return r < 0 ? r : add_member(line, "id", id);
}

/* Queues the line unless an earlier step failed with `r`. */
static int finish(struct ulm_client *client, struct ulm_buf *line, int r)
{
    if (r == 0)
        r = ulm_buf_add(line, "}\n", 2);
    if (r < 0)
        return r == -ENOBUFS ? -EMSGSIZE : r;
    if (client->state != 0)
        return client->state < 0 ? client->state : -ENOTCONN;
    return ulm_buf_add(&client->out, line->data, line->len);
}

static int add_context(struct ulm_buf *line, const struct ulm_client_ask *ask)
{
    int r = ulm_buf_add_str(line, ",\"context\":[");
    for (size_t i = 0; r == 0 && i < ask->n_context; i++) {
        r = i > 0 ? ulm_buf_add(line, ",", 1) : 0;
        if (r == 0)
            r = add_string(line, ask->context[i]);
    }
    return r < 0 ? r : ulm_buf_add(line, "]", 1);
}

static int add_history(struct ulm_buf *line, const struct ulm_client_ask *ask)
{
    int r = ulm_buf_add_str(line, ",\"history\":[");
    for (size_t i = 0; r == 0 && i < ask->n_history; i++) {
        r = ulm_buf_add_str(line, i > 0 ? ",{\"role\":" : "{\"role\":");
        if (r == 0)
            r = add_string(line, ask->history[i].role);
        if (r == 0)
            r = add_member(line, "content", ask->history[i].content);
        if (r == 0)
            r = ulm_buf_add(line, "}", 1);
    }
    return r < 0 ? r : ulm_buf_add(line, "]", 1);
}

static int add_ask(struct ulm_buf *line, const struct ulm_client_ask *ask)
{
    int r = add_member(line, "text", ask->text);
    if (r == 0)
        r = add_member(line, "session", ask->session);
    if (r == 0)
        r = add_member(line, "medium", ask->medium);
    if (r == 0 && ask->retractable != 0)
        r = ulm_buf_add_fmt(line, ",\"retractable\":%s", ask->retractable > 0 ? "true" : "false");
    if (r == 0 && ask->n_context > 0)
        r = add_context(line, ask);
    if (r == 0 && ask->history)
        r = add_history(line, ask);
    if (r == 0)
        r = add_number(line, "min_words", ask->min_words);
    if (r == 0)
        r = add_number(line, "max_words", ask->max_words);
    return r < 0 ? r : add_number(line, "deadline_ms", ask->deadline_ms);
}

static bool id_fits(const char *id)
{
    return id && *id && strlen(id) <= ULM_ID_MAX;
}

static int send_ask(struct ulm_client *client, const char *op, const struct ulm_client_ask *given)
{
    /* A program built with a later, longer structure is served as far as this one goes; with an
     * earlier one, what it lacks is as if not given. */
    struct ulm_client_ask ask = {ULM_CLIENT_ASK_INIT};
    if (given->size < offsetof(struct ulm_client_ask, session))
        return -EINVAL;
    memcpy(&ask, given, given->size < sizeof ask ? given->size : sizeof ask);
    if (!id_fits(ask.id) || !ask.text || ulm_client_find(client, ask.id))
        return -EINVAL;

    ULM_CLEANUP_BUF struct ulm_buf line = ULM_BUF_INIT(ULM_LINE_MAX + 1);
    int r = begin(&line, op, ask.id);
    if (r == 0)
        r = add_ask(&line, &ask);
    return finish(client, &line, r);
}

ULM_CLIENT_API int ulm_client_ask(struct ulm_client *client, const struct ulm_client_ask *ask)
{
    size_t before = client->out.len;
    int r = send_ask(client, "ask", ask);
    if (r < 0)
        return r;
    r = remember(client, ask->id);
    if (r < 0)
        ulm_buf_truncate(&client->out, before);
    return r;
}

ULM_CLIENT_API int ulm_client_draft(struct ulm_client *client, const struct ulm_client_ask *ask)
{
    return send_ask(client, "draft", ask);
}

/* The ops that are an id and at most one more member. */
static int send_op(struct ulm_client *client, const char *op, const char *id, const char *name,
                   const char *value)
{
    if (id && !id_fits(id))
        return -EINVAL;
    ULM_CLEANUP_BUF struct ulm_buf line = ULM_BUF_INIT(ULM_LINE_MAX + 1);
    int r = begin(&line, op, id);
    if (r == 0)
        r = add_member(&line, name, value);
    return finish(client, &line, r);
}

ULM_CLIENT_API int ulm_client_played(struct ulm_client *client, const char *id, unsigned words)
{
    if (!id_fits(id))
        return -EINVAL;
    ULM_CLEANUP_BUF struct ulm_buf line = ULM_BUF_INIT(ULM_LINE_MAX + 1);
    int r = begin(&line, "played", id);
    if (r == 0)
        r = ulm_buf_add_fmt(&line, ",\"words\":%u", words);
    return finish(client, &line, r);
}

ULM_CLIENT_API int ulm_client_cancel(struct ulm_client *client, const char *id)
{
    return id ? send_op(client, "cancel", id, NULL, NULL) : -EINVAL;
}

ULM_CLIENT_API int ulm_client_reset(struct ulm_client *client, const char *session)
{
    return session ? send_op(client, "reset", NULL, "session", session) : -EINVAL;
}

ULM_CLIENT_API int ulm_client_hello(struct ulm_client *client, const char *id)
{
    return send_op(client, "hello", id, NULL, NULL);
}

ULM_CLIENT_API int ulm_client_status(struct ulm_client *client, const char *id, const char *format)
{
    return send_op(client, "status", id, "format", format);
}
