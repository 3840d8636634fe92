/* SPDX-License-Identifier: MIT */
/*
 * sd-bus on the libuv loop: the mask and the time it wants are asked for each time before the loop
 * sleeps (uv_prepare), because every message written or read may change both. It is processed only
 * when the loop was woken for it, so that other clients' traffic costs it no system call.
 *
 * A bus that is not there is tried again after ever longer pauses. One that has been there is
 * waited for as long as it takes; one that never was only as long as a system may need to start,
 * so that a device without a bus is not woken for it.
 */
#include "front/dbus.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "front/dbus_parts.h"
#include "util/log.h"

#define LAST_WORDS_MS   500
#define PAUSE_MIN_MS    1000u  /* before the first try for a bus that is gone; then twice it, */
#define PAUSE_MAX_MS    60000u /* at most this; the pauses up to it are two minutes together */
#define MESSAGES_A_TURN 32u      /* so that a flood of calls keeps nobody's answer waiting, */
#define TURN_NS         5000000u /* nor few that are large */
#define NAME_IS_OURS    1u       /* DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER of the specification */

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct ulm_dbus *dbus = handle->data;
    dbus->pending = true;
}

static int open_bus(struct ulm_dbus *dbus);
static void on_timer(uv_timer_t *timer);

static void try_later(struct ulm_dbus *dbus)
{
    if (!dbus->met && dbus->pause_ms == PAUSE_MAX_MS)
        return;
    dbus->pause_ms = dbus->pause_ms == 0                 ? PAUSE_MIN_MS
                     : dbus->pause_ms < PAUSE_MAX_MS / 2 ? 2 * dbus->pause_ms
                                                         : PAUSE_MAX_MS;
    (void)uv_timer_start(&dbus->timer, on_timer, dbus->pause_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct ulm_dbus *dbus = timer->data;
    if (dbus->bus)
        dbus->pending = true;
    else if (open_bus(dbus) < 0)
        try_later(dbus);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ulm_dbus *dbus = handle->data;
    if (--dbus->n_handles > 0)
        return;
    free(dbus->model);
    free(dbus);
}

/* The bus is gone, or is given up: callers with it. */
static void drop_bus(struct ulm_dbus *dbus)
{
    while (dbus->callers)
        ulm_caller_free(dbus->callers);
    uv_close((uv_handle_t *)&dbus->poll, on_handle_closed); /* done before a new one is made */
    (void)uv_timer_stop(&dbus->timer);
    (void)uv_prepare_stop(&dbus->prepare);
    dbus->bus = sd_bus_close_unref(dbus->bus);
    dbus->silent = false;
}

static int process(struct ulm_dbus *dbus)
{
    uint64_t until_ns = uv_hrtime() + TURN_NS;
    int r = 0;
    for (unsigned n = 0; dbus->pending && n < MESSAGES_A_TURN && uv_hrtime() < until_ns;) {
        dbus->pending = false;
        do
            r = sd_bus_process(dbus->bus, NULL);
        while (r > 0 && ++n < MESSAGES_A_TURN && uv_hrtime() < until_ns);
        if (r < 0)
            break;
        ulm_dbus_sweep(dbus);
        dbus->pending |= r > 0; /* what is too much for this turn waits for the next */
    }
    return r;
}

static int watch(struct ulm_dbus *dbus)
{
    int mask = sd_bus_get_events(dbus->bus);
    uint64_t due_us;
    int r = sd_bus_get_timeout(dbus->bus, &due_us);
    if (mask < 0 || r < 0)
        return mask < 0 ? mask : r;

    int events = ((mask & POLLIN) ? UV_READABLE : 0) | ((mask & POLLOUT) ? UV_WRITABLE : 0);
    if (events != dbus->poll_events) {
        r = events ? uv_poll_start(&dbus->poll, events, on_poll) : uv_poll_stop(&dbus->poll);
        if (r < 0)
            return r;
        dbus->poll_events = events;
    }
    if (dbus->pending) /* the loop must not sleep */
        return uv_timer_start(&dbus->timer, on_timer, 0, 0);
    if (due_us == UINT64_MAX)
        return uv_timer_stop(&dbus->timer);
    uv_update_time(dbus->loop);
    uint64_t now_us = uv_hrtime() / 1000;
    return uv_timer_start(&dbus->timer, on_timer,
                          due_us > now_us ? (due_us - now_us + 999) / 1000 : 0, 0);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct ulm_dbus *dbus = handle->data;
    int r = process(dbus);
    if (r >= 0)
        r = dbus->silent ? -ETIMEDOUT : watch(dbus);
    if (r < 0) {
        if (dbus->pause_ms == 0) /* told once, not at each try that a bus turns down */
            ulm_log(ULM_LOG_WARNING, "D-Bus: the bus is lost: %s; it is waited for", strerror(-r));
        drop_bus(dbus);
        if (!dbus->stopping)
            try_later(dbus);
    }
}

static int on_name(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct ulm_dbus *dbus = data;
    const sd_bus_error *failed = sd_bus_message_get_error(m);
    uint32_t outcome = 0;
    if (sd_bus_message_is_method_error(m, SD_BUS_ERROR_NO_REPLY)) {
        dbus->silent = true; /* on_prepare lets go of such a bus, outside of its own callback */
        return 0;
    }
    dbus->met = true;
    dbus->pause_ms = 0;
    if (failed)
        ulm_log(ULM_LOG_WARNING, "D-Bus: no name %s: %s", ULM_DBUS_NAME, failed->name);
    else if (sd_bus_message_read(m, "u", &outcome) < 0 || outcome != NAME_IS_OURS)
        ulm_log(ULM_LOG_WARNING, "D-Bus: no name %s: another has it", ULM_DBUS_NAME);
    else
        ulm_log(ULM_LOG_INFO, "D-Bus: serving as %s", ULM_DBUS_NAME);
    return 0;
}

/* LogControl1, so that `systemctl service-log-level` works. Only a privileged caller may set it:
 * sd-bus asks for that where a member is not marked unprivileged. */

static int get_log_property(sd_bus *bus, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *data,
                            sd_bus_error *error)
{
    const char *value = "ulmd";
    if (strcmp(property, "LogLevel") == 0) {
        enum ulm_log_level level = ulm_log_level();
        value = level == ULM_LOG_ERROR ? "err" : ulm_log_level_name(level);
    } else if (strcmp(property, "LogTarget") == 0) {
        value = getenv("JOURNAL_STREAM") ? "journal" : "console";
    }
    return sd_bus_message_append(reply, "s", value);
}

/* syslog's names that ulmd has no level for fall to the nearest quieter one. */
static int set_log_level(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *value, void *data, sd_bus_error *error)
{
    const char *name;
    enum ulm_log_level level;
    int r = sd_bus_message_read(value, "s", &name);
    if (r < 0)
        return r;
    if (strcmp(name, "emerg") == 0 || strcmp(name, "alert") == 0 || strcmp(name, "crit") == 0 ||
        strcmp(name, "err") == 0)
        name = "error";
    if (ulm_log_level_from_name(name, &level) < 0)
        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "there is no level `%s`", name);
    ulm_log_set_level(level);
    return 0;
}

static int set_log_target(sd_bus *bus, const char *path, const char *interface,
                          const char *property, sd_bus_message *value, void *data,
                          sd_bus_error *error)
{
    return sd_bus_error_set(error, SD_BUS_ERROR_NOT_SUPPORTED,
                            "the log's target is fixed at start");
}

static const sd_bus_vtable log_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_log_property, set_log_level, 0, 0),
    SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_log_property, set_log_target, 0, 0),
    SD_BUS_PROPERTY("SyslogIdentifier", "s", get_log_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_VTABLE_END,
};

static int open_bus(struct ulm_dbus *dbus)
{
    int r = dbus->system ? sd_bus_open_system_with_description(&dbus->bus, "ulmd")
                         : sd_bus_open_user_with_description(&dbus->bus, "ulmd");
    if (r >= 0)
        r = sd_bus_add_object_vtable(dbus->bus, NULL, ULM_DBUS_PATH, ULM_DBUS_INTERFACE,
                                     ulm_dbus_vtable, dbus);
    if (r >= 0)
        r = sd_bus_add_object_vtable(dbus->bus, NULL, "/org/freedesktop/LogControl1",
                                     "org.freedesktop.LogControl1", log_vtable, dbus);
    if (r >= 0)
        r = sd_bus_request_name_async(dbus->bus, NULL, ULM_DBUS_NAME, 0, on_name, dbus);
    if (r >= 0)
        r = uv_poll_init(dbus->loop, &dbus->poll, sd_bus_get_fd(dbus->bus));
    if (r < 0) {
        dbus->bus = sd_bus_close_unref(dbus->bus);
        return r;
    }
    dbus->n_handles++;
    dbus->poll_events = 0;
    dbus->pending = true;
    return uv_prepare_start(&dbus->prepare, on_prepare);
}

/* At start: which bus is meant, and how to do without. */
static void tell_no_bus(const struct ulm_dbus *dbus, int r)
{
    const char *told =
        getenv(dbus->system ? "DBUS_SYSTEM_BUS_ADDRESS" : "DBUS_SESSION_BUS_ADDRESS");
    const char *usual = dbus->system ? "/run/dbus/system_bus_socket" : "$XDG_RUNTIME_DIR/bus";
    ulm_log(ULM_LOG_NOTICE, "D-Bus is not served: no %s bus at %s (%s); `dbus = no` silences this",
            dbus->system ? "system" : "session", told ? told : usual, strerror(-r));
}

static int copy_facts(struct ulm_dbus *dbus, const struct ulm_dbus_config *config)
{
    char *model = config->model ? strdup(config->model) : NULL;
    if (config->model && !model)
        return -ENOMEM;
    free(dbus->model);
    dbus->model = model;
    dbus->cloud = config->cloud;
    dbus->limits = config->limits;
    return 0;
}

int ulm_dbus_new(uv_loop_t *loop, struct ulm_core *core, struct ulm_peers *peers,
                 const struct ulm_answers *answers, const struct ulm_dbus_config *config,
                 struct ulm_dbus **ret_dbus)
{
    struct ulm_dbus *dbus = calloc(1, sizeof *dbus);
    if (!dbus)
        return -ENOMEM;
    dbus->loop = loop;
    dbus->core = core;
    dbus->peers = peers;
    dbus->answers = *answers;
    dbus->system = config->system;
    dbus->poll.data = dbus->timer.data = dbus->prepare.data = dbus;

    int r = copy_facts(dbus, config);
    if (r < 0) {
        free(dbus);
        return r;
    }
    (void)uv_timer_init(loop, &dbus->timer); /* these two cannot fail */
    (void)uv_prepare_init(loop, &dbus->prepare);
    dbus->n_handles = 2;
    r = open_bus(dbus);
    if (r < 0) {
        tell_no_bus(dbus, r);
        try_later(dbus);
    }
    *ret_dbus = dbus;
    return 0;
}

void ulm_dbus_configure(struct ulm_dbus *dbus, const struct ulm_dbus_config *config)
{
    const char *before = ulm_dbus_state(dbus);
    bool renamed =
        !dbus->model != !config->model || (dbus->model && strcmp(dbus->model, config->model) != 0);
    if (copy_facts(dbus, config) < 0 || !dbus->bus)
        return;
    if (renamed)
        (void)sd_bus_emit_properties_changed(dbus->bus, ULM_DBUS_PATH, ULM_DBUS_INTERFACE, "Model",
                                             NULL);
    if (ulm_dbus_state(dbus) != before)
        (void)sd_bus_emit_properties_changed(dbus->bus, ULM_DBUS_PATH, ULM_DBUS_INTERFACE, "State",
                                             NULL);
    dbus->pending = true;
}

void ulm_dbus_stop(struct ulm_dbus *dbus)
{
    if (dbus->stopping)
        return;
    dbus->stopping = true;
    if (dbus->bus)
        (void)sd_bus_emit_properties_changed(dbus->bus, ULM_DBUS_PATH, ULM_DBUS_INTERFACE, "State",
                                             NULL);
    else
        (void)uv_timer_stop(&dbus->timer);
    dbus->pending = true;
}

/* sd_bus_flush would wait for a bus that hangs; this does not. */
static void write_last_words(struct ulm_dbus *dbus)
{
    uint64_t until_us = uv_hrtime() / 1000 + LAST_WORDS_MS * 1000, queued = 0;
    while (sd_bus_get_n_queued_write(dbus->bus, &queued) >= 0 && queued > 0) {
        uint64_t now_us = uv_hrtime() / 1000;
        struct pollfd p = {sd_bus_get_fd(dbus->bus), POLLOUT, 0};
        if (now_us >= until_us || poll(&p, 1, (int)((until_us - now_us) / 1000)) <= 0 ||
            sd_bus_process(dbus->bus, NULL) < 0)
            break;
    }
}

struct ulm_dbus *ulm_dbus_free(struct ulm_dbus *dbus)
{
    if (!dbus)
        return NULL;
    if (dbus->bus) {
        write_last_words(dbus);
        drop_bus(dbus);
    }
    uv_close((uv_handle_t *)&dbus->timer, on_handle_closed);
    uv_close((uv_handle_t *)&dbus->prepare, on_handle_closed);
    return NULL;
}
