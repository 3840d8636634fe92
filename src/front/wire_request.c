/* SPDX-License-Identifier: MIT */
#include "front/wire_request.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/wire.h"
#include "util/cjson.h"
#include "util/text.h"

/* What is read, and where the first mistake goes. Readers return false once there is one. */
struct reader {
    const cJSON *object;
    struct ulm_fault *fault;
};

__attribute__((format(printf, 3, 4))) static bool fail(struct reader *r, enum ulm_error code,
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    r->fault->code = code;
    (void)vsnprintf(r->fault->message, sizeof r->fault->message, format, args);
    va_end(args);
    return false;
}

#define BAD(r_, ...) fail(r_, ULM_ERROR_BAD_REQUEST, __VA_ARGS__)

/* Of a duplicate member the last counts, and null is as good as absent. */
static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *found = ulm_json_member(object, name);
    return found && !cJSON_IsNull(found) ? found : NULL;
}

/* A name of 1 to max bytes; absent leaves NULL. */
static bool read_name(struct reader *r, const char *name, size_t max, const char **ret)
{
    const cJSON *item = member(r->object, name);
    if (!item)
        return true;
    if (!cJSON_IsString(item) || !*item->valuestring || strlen(item->valuestring) > max)
        return BAD(r, "`%s` must be a string of 1 to %zu bytes", name, max);
    *ret = item->valuestring;
    return true;
}

static bool read_uint(struct reader *r, const char *name, unsigned min, unsigned max, unsigned *ret)
{
    const cJSON *item = member(r->object, name);
    if (!item)
        return true;
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) ||
        item->valuedouble < min || item->valuedouble > max)
        return BAD(r, "`%s` must be a whole number from %u to %u", name, min, max);
    *ret = (unsigned)item->valuedouble;
    return true;
}

static bool read_medium(struct reader *r, struct ulm_ask *ask)
{
    const cJSON *item = member(r->object, "medium");
    if (!item || (cJSON_IsString(item) && strcmp(item->valuestring, "display") == 0))
        ask->medium = ULM_MEDIUM_DISPLAY;
    else if (cJSON_IsString(item) && strcmp(item->valuestring, "speech") == 0)
        ask->medium = ULM_MEDIUM_SPEECH;
    else
        return BAD(r, "`medium` must be \"display\" or \"speech\"");
    return true;
}

static bool read_retractable(struct reader *r, struct ulm_ask *ask)
{
    const cJSON *item = member(r->object, "retractable");
    if (item && !cJSON_IsBool(item))
        return BAD(r, "`retractable` must be true or false");
    ask->retractable = item ? cJSON_IsTrue(item) : -1;
    return true;
}

/* The elements of an array member, at most max; absent gives 0. */
static bool count_array(struct reader *r, const char *name, unsigned max, const char *what,
                        const cJSON **ret_array, size_t *ret_n)
{
    const cJSON *item = member(r->object, name);
    *ret_array = item;
    *ret_n = 0;
    if (!item)
        return true;
    if (!cJSON_IsArray(item))
        return BAD(r, "`%s` must be an array of %s", name, what);
    for (const cJSON *e = item->child; e; e = e->next)
        ++*ret_n;
    if (*ret_n > max)
        return fail(r, ULM_ERROR_TOO_LONG, "`%s` has more than %u entries", name, max);
    return true;
}

/* true with facts NULL = out of memory is told apart by *oom. */
static bool read_context(struct reader *r, struct ulm_request *request, bool *oom)
{
    const cJSON *array;
    size_t n;
    if (!count_array(r, "context", ULM_FACTS_MAX, "strings", &array, &n))
        return false;
    if (!array || n == 0)
        return true;
    request->facts = calloc(n, sizeof *request->facts);
    if (!request->facts)
        return !(*oom = true);
    size_t i = 0;
    for (const cJSON *e = array->child; e; e = e->next) {
        if (!cJSON_IsString(e))
            return BAD(r, "`context` must be an array of strings");
        request->facts[i++] = e->valuestring;
    }
    request->ask.prompt.facts = request->facts;
    request->ask.prompt.n_facts = n;
    return true;
}

static bool read_turn(struct reader *r, const cJSON *item, struct ulm_turn *turn)
{
    const cJSON *role = cJSON_IsObject(item) ? member(item, "role") : NULL;
    const cJSON *content = cJSON_IsObject(item) ? member(item, "content") : NULL;
    if (!role || !content || !cJSON_IsString(role) || !cJSON_IsString(content))
        return BAD(r, "`history` must be an array of objects with strings `role` and `content`");
    if (strcmp(role->valuestring, "user") == 0)
        turn->role = ULM_ROLE_USER;
    else if (strcmp(role->valuestring, "assistant") == 0)
        turn->role = ULM_ROLE_ASSISTANT;
    else
        return BAD(r, "`role` in `history` must be \"user\" or \"assistant\"");
    turn->content = content->valuestring;
    return true;
}

static bool read_history(struct reader *r, struct ulm_request *request, bool *oom)
{
    const cJSON *array;
    size_t n;
    if (!count_array(r, "history", ULM_TURNS_MAX, "turns", &array, &n))
        return false;
    request->ask.has_history = array != NULL;
    if (!array || n == 0)
        return true;
    request->history = calloc(n, sizeof *request->history);
    if (!request->history)
        return !(*oom = true);
    size_t i = 0;
    for (const cJSON *e = array->child; e; e = e->next) {
        if (!read_turn(r, e, &request->history[i++]))
            return false;
    }
    request->ask.prompt.history = request->history;
    request->ask.prompt.n_history = n;
    return true;
}

static bool is_blank(const char *text)
{
    while (ulm_is_space(*text))
        text++;
    return *text == '\0';
}

bool ulm_ask_check(const struct ulm_ask *ask, struct ulm_fault *ret_fault)
{
    struct reader r = {NULL, ret_fault};
    const struct ulm_prompt *p = &ask->prompt;

    if (!ask->id || !*ask->id || strlen(ask->id) > ULM_ID_MAX)
        return BAD(&r, "`id` must be a string of 1 to %u bytes", ULM_ID_MAX);
    if (ask->session && (!*ask->session || strlen(ask->session) > ULM_SESSION_NAME_MAX))
        return BAD(&r, "`session` must be a string of 1 to %u bytes", ULM_SESSION_NAME_MAX);
    if (!p->text || is_blank(p->text))
        return BAD(&r, "`text` must be a string that is not blank");
    if (p->n_facts > ULM_FACTS_MAX)
        return fail(&r, ULM_ERROR_TOO_LONG, "`context` has more than %u entries", ULM_FACTS_MAX);
    if (p->n_history > ULM_TURNS_MAX)
        return fail(&r, ULM_ERROR_TOO_LONG, "`history` has more than %u entries", ULM_TURNS_MAX);

    size_t sum = strlen(p->text);
    for (size_t i = 0; i < p->n_facts; i++)
        sum += strlen(p->facts[i]);
    for (size_t i = 0; i < p->n_history; i++)
        sum += strlen(p->history[i].content);
    if (sum > ULM_INPUT_MAX)
        return fail(&r, ULM_ERROR_TOO_LONG,
                    "`text`, `context` and `history` are together longer than %u bytes",
                    ULM_INPUT_MAX);

    if (ask->min_words > ULM_WORDS_MAX)
        return BAD(&r, "`min_words` must be a whole number from 1 to %u", ULM_WORDS_MAX);
    if (ask->max_words > ULM_WORDS_MAX)
        return BAD(&r, "`max_words` must be a whole number from 1 to %u", ULM_WORDS_MAX);
    if (ask->min_words && ask->max_words && ask->min_words > ask->max_words)
        return BAD(&r, "`min_words` must not be above `max_words`");
    return true;
}

/* false: a fault, or out of memory with *oom set. */
static bool read_ask(struct reader *r, struct ulm_request *request, bool *oom)
{
    struct ulm_ask *ask = &request->ask;
    const cJSON *text = member(r->object, "text");

    ask->id = request->id;
    if (!ask->id)
        return BAD(r, "`id` must be a string of 1 to %u bytes", ULM_ID_MAX);
    if (!cJSON_IsString(text))
        return BAD(r, "`text` must be a string that is not blank");
    ask->prompt.text = text->valuestring;

    return read_name(r, "session", ULM_SESSION_NAME_MAX, &ask->session) && read_medium(r, ask) &&
           read_retractable(r, ask) && read_context(r, request, oom) &&
           read_history(r, request, oom) &&
           read_uint(r, "min_words", 1, ULM_WORDS_MAX, &ask->min_words) &&
           read_uint(r, "max_words", 1, ULM_WORDS_MAX, &ask->max_words) &&
           read_uint(r, "deadline_ms", 1, UINT_MAX / 1000, &ask->deadline_ms) &&
           ulm_ask_check(ask, r->fault);
}

static bool read_op(struct reader *r, enum ulm_op *ret_op)
{
    static const char *const names[] = {
        [ULM_OP_HELLO] = "hello",   [ULM_OP_ASK] = "ask",       [ULM_OP_DRAFT] = "draft",
        [ULM_OP_PLAYED] = "played", [ULM_OP_CANCEL] = "cancel", [ULM_OP_RESET] = "reset",
        [ULM_OP_STATUS] = "status",
    };
    const cJSON *op = member(r->object, "op");
    for (size_t i = 0; cJSON_IsString(op) && i < sizeof names / sizeof *names; i++) {
        if (strcmp(op->valuestring, names[i]) == 0) {
            *ret_op = (enum ulm_op)i;
            return true;
        }
    }
    return BAD(r, "`op` must be hello, ask, draft, played, cancel, reset or status");
}

static bool read_status(struct reader *r, struct ulm_request *request)
{
    const cJSON *format = member(r->object, "format");
    if (!format || (cJSON_IsString(format) && strcmp(format->valuestring, "json") == 0))
        return true;
    if (!cJSON_IsString(format) || strcmp(format->valuestring, "prometheus") != 0)
        return BAD(r, "`format` must be \"json\" or \"prometheus\"");
    request->prometheus = true;
    return true;
}

static bool read_members(struct reader *r, struct ulm_request *request, bool *oom)
{
    if (!read_name(r, "id", ULM_ID_MAX, &request->id))
        return false;
    if (request->id) {
        r->fault->has_ref = true;
        strcpy(r->fault->ref, request->id);
    }
    if (!read_op(r, &request->op))
        return false;

    switch (request->op) {
    case ULM_OP_ASK:
    case ULM_OP_DRAFT:
        return read_ask(r, request, oom);
    case ULM_OP_PLAYED:
        if (!member(r->object, "words"))
            return BAD(r, "`words` must be a whole number from 0 to 1000000");
        if (!read_uint(r, "words", 0, 1000000, &request->words))
            return false;
        break;
    case ULM_OP_CANCEL:
        break;
    case ULM_OP_RESET:
        if (!read_name(r, "session", ULM_SESSION_NAME_MAX, &request->session))
            return false;
        if (!request->session)
            return BAD(r, "`session` must be a string of 1 to %u bytes", ULM_SESSION_NAME_MAX);
        return true;
    case ULM_OP_STATUS:
        return read_status(r, request);
    case ULM_OP_HELLO:
        return true;
    }
    if (!request->id)
        return BAD(r, "`id` must be a string of 1 to %u bytes", ULM_ID_MAX);
    return true;
}

int ulm_wire_read_request(const char *line, struct ulm_request *ret_request,
                          struct ulm_fault *ret_fault)
{
    struct ulm_request request = {.tree = cJSON_Parse(line)};
    if (!request.tree)
        return -ENOMEM; /* its grammar was checked */

    struct ulm_fault fault = {0};
    struct reader r = {request.tree, &fault};
    bool oom = false;
    bool ok = read_members(&r, &request, &oom);
    if (ok) {
        *ret_request = request;
        return ULM_WIRE_REQUEST;
    }
    ulm_request_deinit(&request);
    if (oom)
        return -ENOMEM;
    *ret_fault = fault;
    return ULM_WIRE_FAULT;
}

static void wipe_strings(cJSON *item)
{
    for (; item; item = item->next) {
        if (item->valuestring)
            explicit_bzero(item->valuestring, strlen(item->valuestring));
        wipe_strings(item->child); /* no deeper than ULM_JSON_DEPTH_MAX */
    }
}

void ulm_request_deinit(struct ulm_request *request)
{
    wipe_strings(request->tree);
    cJSON_Delete(request->tree);
    free(request->facts);
    free(request->history);
    *request = (struct ulm_request){0};
}

static_assert(ULM_ID_MAX < sizeof((struct ulm_fault){0}).ref, "an id fits its fault");
