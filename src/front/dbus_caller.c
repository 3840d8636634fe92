/* SPDX-License-Identifier: MIT */
/*
 * Who calls. The bus tells nothing about a sender but its unique name, so its first call waits
 * until the bus has answered two questions, asked without waiting for either: tell me when this
 * name goes away; which user is it? In this order: a caller that left in between makes the second
 * question fail, so that none is ever kept whose leaving goes unseen.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/dbus_parts.h"
#include "util/log.h"

#define BUS_NAME "org.freedesktop.DBus"
#define BUS_PATH "/org/freedesktop/DBus"
#define GIDS_MAX 256u

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

int ulm_caller_remember_open(struct ulm_caller *caller, const char *id)
{
    for (struct ulm_dbus_open *o = caller->open; o; o = o->next) {
        if (strcmp(o->id, id) == 0)
            return -EEXIST;
    }
    struct ulm_dbus_open *open = calloc(1, sizeof *open);
    if (!open)
        return -ENOMEM;
    (void)snprintf(open->id, sizeof open->id, "%s", id);
    open->next = caller->open;
    caller->open = open;
    return 0;
}

void ulm_caller_forget_open(struct ulm_caller *caller, const char *id)
{
    for (struct ulm_dbus_open **link = &caller->open; *link; link = &(*link)->next) {
        struct ulm_dbus_open *open = *link;
        if (strcmp(open->id, id) == 0) {
            *link = open->next;
            free(open);
            return;
        }
    }
}

size_t ulm_dbus_open_requests(const struct ulm_dbus *dbus, const struct ulm_peer *peer)
{
    size_t n = 0;
    for (const struct ulm_caller *c = dbus->callers; c; c = c->next) {
        for (const struct ulm_dbus_open *o = c->peer == peer ? c->open : NULL; o; o = o->next)
            n++;
    }
    return n;
}

void ulm_caller_free(struct ulm_caller *caller)
{
    struct ulm_dbus *dbus = caller->dbus;
    if (caller->peer) {
        ulm_core_sink_gone(dbus->core, &caller->sink, now_us());
        ulm_peers_leave(dbus->peers, caller->peer);
    }
    for (struct ulm_caller **link = &dbus->callers; *link; link = &(*link)->next) {
        if (*link == caller) {
            *link = caller->next;
            dbus->n_callers--;
            break;
        }
    }
    sd_bus_slot_unref(caller->gone_match);
    sd_bus_slot_unref(caller->credentials_call);
    for (size_t i = 0; i < caller->n_waiting; i++)
        sd_bus_message_unref(caller->waiting[i]);
    while (caller->open)
        ulm_caller_forget_open(caller, caller->open->id);
    free(caller->name);
    free(caller);
}

void ulm_dbus_sweep(struct ulm_dbus *dbus)
{
    while (dbus->lost_callers) {
        dbus->lost_callers = false;
        for (struct ulm_caller *c = dbus->callers, *next; c; c = next) {
            next = c->next;
            if (c->lost)
                ulm_caller_free(c); /* may mark others, by events that its leaving causes */
        }
    }
}

/* Calls that wait get an error; the caller is forgotten. */
static void turn_away(struct ulm_caller *caller, const char *name, const char *message)
{
    for (size_t i = 0; i < caller->n_waiting; i++)
        (void)sd_bus_reply_method_errorf(caller->waiting[i], name, "%s", message);
    ulm_caller_free(caller);
}

static int on_gone(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct ulm_caller *caller = data;
    const char *name, *before, *after;
    if (sd_bus_message_read(m, "sss", &name, &before, &after) >= 0 && !*after)
        ulm_caller_free(caller);
    return 0;
}

/* May this user ask? As the socket decides (allow_uids, allow_gids). */
static bool may_ask(const struct ulm_socket_limits *limits, uid_t uid, const gid_t *gids, size_t n)
{
    if (limits->n_allow_uids == 0 && limits->n_allow_gids == 0)
        return true;
    for (size_t i = 0; i < limits->n_allow_uids; i++) {
        if (limits->allow_uids[i] == uid)
            return true;
    }
    for (size_t i = 0; i < limits->n_allow_gids * n; i++) {
        if (limits->allow_gids[i / n] == gids[i % n])
            return true;
    }
    return false;
}

/* The bus's a{sv} -> user and groups. */
static int read_credentials(sd_bus_message *m, uid_t *ret_uid, gid_t gids[static GIDS_MAX],
                            size_t *ret_n)
{
    bool known = false;
    *ret_n = 0;
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        const char *key;
        r = sd_bus_message_read(m, "s", &key);
        if (r >= 0 && strcmp(key, "UnixUserID") == 0) {
            uint32_t uid;
            r = sd_bus_message_read(m, "v", "u", &uid);
            *ret_uid = uid;
            known = r >= 0;
        } else if (r >= 0 && strcmp(key, "UnixGroupIDs") == 0) {
            const void *array;
            size_t size;
            r = sd_bus_message_enter_container(m, 'v', "au");
            if (r >= 0)
                r = sd_bus_message_read_array(m, 'u', &array, &size);
            if (r >= 0) {
                *ret_n = size / 4 < GIDS_MAX ? size / 4 : GIDS_MAX;
                memcpy(gids, array, *ret_n * 4);
                r = sd_bus_message_exit_container(m);
            }
        } else if (r >= 0) {
            r = sd_bus_message_skip(m, "v");
        }
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : known ? 0 : -ENODATA;
}

static void serve_waiting(struct ulm_caller *caller)
{
    struct ulm_dbus *dbus = caller->dbus;
    for (size_t i = 0; i < caller->n_waiting; i++) {
        sd_bus_message *call = caller->waiting[i];
        int r = ulm_dbus_serve(caller, call);
        if (r < 0)
            (void)sd_bus_reply_method_errno(call, r, NULL);
        sd_bus_message_unref(call);
    }
    caller->n_waiting = 0;
    dbus->pending = true;
}

static int on_credentials(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct ulm_caller *caller = data;
    struct ulm_dbus *dbus = caller->dbus;
    gid_t gids[GIDS_MAX];
    size_t n_gids;

    caller->credentials_call = sd_bus_slot_unref(caller->credentials_call);
    if (sd_bus_message_is_method_error(m, NULL)) {
        turn_away(caller, SD_BUS_ERROR_ACCESS_DENIED, "the bus does not tell who is asking");
        return 0;
    }
    if (read_credentials(m, &caller->sink.uid, gids, &n_gids) < 0 ||
        !may_ask(dbus->limits, caller->sink.uid, gids, n_gids)) {
        turn_away(caller, ulm_dbus_error_name(ULM_ERROR_DENIED),
                  "this user may not use this daemon");
        return 0;
    }
    struct ulm_peer *peer = ulm_peers_join(dbus->peers, caller->sink.uid, now_us());
    if (peer && ulm_peer_crowds(dbus->peers, peer)) {
        ulm_peers_leave(dbus->peers, peer);
        turn_away(caller, ulm_dbus_error_name(ULM_ERROR_BUSY),
                  "this user has as many connections as it may (client_connections)");
        return 0;
    }
    if (!peer) {
        turn_away(caller, SD_BUS_ERROR_NO_MEMORY, "out of memory");
        return 0;
    }
    caller->peer = peer;
    serve_waiting(caller);
    return 0;
}

/* Room for one more: the one that has not called for longest, of those with nothing open. */
static bool make_room(struct ulm_dbus *dbus)
{
    if (dbus->n_callers < ULM_CALLERS_MAX)
        return true;
    struct ulm_caller *idle = NULL;
    for (struct ulm_caller *c = dbus->callers; c; c = c->next) {
        if (c->peer && !c->open)
            idle = c;
    }
    if (idle)
        ulm_caller_free(idle);
    return idle != NULL;
}

static int begin_caller(struct ulm_dbus *dbus, const char *name, struct ulm_caller **ret_caller)
{
    char match[256];
    int n = snprintf(match, sizeof match,
                     "type='signal',sender='" BUS_NAME "',path='" BUS_PATH "',interface='" BUS_NAME
                     "',member='NameOwnerChanged',arg0='%s'",
                     name);
    if (n < 0 || (size_t)n >= sizeof match)
        return -EINVAL;
    struct ulm_caller *caller = calloc(1, sizeof *caller);
    if (!caller)
        return -ENOMEM;
    caller->dbus = dbus;
    caller->sink.emit = ulm_caller_emit;
    caller->sink.spent = ulm_caller_spent;
    caller->next = dbus->callers;
    dbus->callers = caller;
    dbus->n_callers++;

    caller->name = strdup(name);
    int r = caller->name ? 0 : -ENOMEM;
    if (r >= 0)
        r = sd_bus_add_match_async(dbus->bus, &caller->gone_match, match, on_gone, NULL, caller);
    if (r >= 0)
        r = sd_bus_call_method_async(dbus->bus, &caller->credentials_call, BUS_NAME, BUS_PATH,
                                     BUS_NAME, "GetConnectionCredentials", on_credentials, caller,
                                     "s", name);
    if (r < 0) {
        ulm_caller_free(caller);
        return r;
    }
    *ret_caller = caller;
    return 0;
}

static struct ulm_caller *find_caller(struct ulm_dbus *dbus, const char *name)
{
    for (struct ulm_caller **link = &dbus->callers; *link; link = &(*link)->next) {
        struct ulm_caller *caller = *link;
        if (strcmp(caller->name, name) == 0) {
            *link = caller->next; /* to the front: it is the latest */
            caller->next = dbus->callers;
            dbus->callers = caller;
            return caller;
        }
    }
    return NULL;
}

int ulm_dbus_receive(struct ulm_dbus *dbus, sd_bus_message *call)
{
    const char *name = sd_bus_message_get_sender(call);
    if (!name)
        return -EINVAL;
    dbus->pending = true;
    struct ulm_caller *caller = find_caller(dbus, name);
    if (!caller) {
        if (!make_room(dbus))
            return sd_bus_reply_method_errorf(call, ulm_dbus_error_name(ULM_ERROR_BUSY),
                                              "as many callers as may be are known");
        int r = begin_caller(dbus, name, &caller);
        if (r < 0)
            return r;
    }
    if (caller->peer)
        return ulm_dbus_serve(caller, call);
    if (caller->n_waiting == ULM_CALLS_WAITING)
        return sd_bus_reply_method_errorf(call, ulm_dbus_error_name(ULM_ERROR_BUSY),
                                          "too many calls at once");
    caller->waiting[caller->n_waiting++] = sd_bus_message_ref(call);
    return 1;
}
