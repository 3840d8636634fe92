/* SPDX-License-Identifier: MIT */
/*
 * An idle daemon makes no system call: the loop sleeps in the kernel until a client, the cloud, the
 * worker or a signal wakes it. Core's deadline is the one timer, and it runs while a request is
 * open. It is looked at before each sleep, since any callback of the turn may have moved it.
 *
 * Between an opener's first word and its end the loop does not sleep (AWAKE_US): the end is a few
 * milliseconds off, and waking a core that sleeps costs more than what is left to do.
 */
#include "app/daemon.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

#include "app/notify.h"
#include "app/status.h"
#include "front/dbus.h"
#include "front/socket.h"
#include "util/buf.h"
#include "util/relax.h"
#include "util/text.h"

/* At most this long an opener: some 10 mJ of one core, where the radio's request takes a joule. */
#define AWAKE_US 10000
#define LOOK_NS  20000 /* between two looks at the descriptors meanwhile */

/* A reload's old cloud and its configuration, kept until no transfer can use them. */
struct retired {
    struct retired *next;
    struct ulm_cloud *cloud;
    struct ulm_config *config;
    int64_t until_us;
};

struct ulm_daemon {
    struct ulm_daemon_options options;
    struct ulm_config *config;
    struct ulm_config *started; /* the first, by which what is read at start alone still goes */
    struct ulm_engine *engine;  /* or NULL */
    struct ulm_cloud *cloud;    /* or NULL */
    struct ulm_core *core;
    struct ulm_peers peers;
    struct ulm_socket *sock;
    struct ulm_socket_limits limits; /* of the socket and of the bus */
    struct ulm_dbus *dbus;           /* or NULL */
    struct retired *retired;
    int64_t start_us;

    uv_loop_t loop;
    uv_async_t wake; /* the engine has results */
    uv_timer_t deadline, retire, watchdog;
    uv_prepare_t arm;
    uv_signal_t sigterm, sigint, sighup;
    int64_t armed_us; /* what `deadline` waits for; INT64_MAX = it does not run */
    uv_idle_t awake;
    int64_t awake_us;   /* since when; 0 = no opener is between its first word and its end */
    uint64_t awake_for; /* its ticket */
    bool may_stay_awake;
    atomic_bool told; /* by the worker, since the loop last looked */
    bool loop_open, handles_open, stopping;

    uint64_t watched_progress; /* the engine's, at the last ping */
    bool watched_busy;
};

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* What wakes the parts */

static void on_worker(void *data) /* on the engine's thread */
{
    struct ulm_daemon *d = data;
    (void)uv_async_send(&d->wake);
    atomic_store_explicit(&d->told, true, memory_order_relaxed);
}

static void on_awake(uv_idle_t *idle)
{
    struct ulm_daemon *d = idle->data;
    uint64_t until = uv_hrtime() + LOOK_NS;
    while (!atomic_load_explicit(&d->told, memory_order_relaxed) && uv_hrtime() < until)
        ulm_relax();
    atomic_store_explicit(&d->told, false, memory_order_relaxed);
    if (now_us() - d->awake_us > AWAKE_US)
        (void)uv_idle_stop(&d->awake);
}

static void stay_awake(struct ulm_daemon *d, const struct ulm_result *result)
{
    if (result->kind != ULM_RESULT_WORD) {
        d->awake_us = 0;
        (void)uv_idle_stop(&d->awake);
    } else if (d->may_stay_awake && (!d->awake_us || d->awake_for != result->ticket)) {
        d->awake_us = now_us();
        d->awake_for = result->ticket;
        (void)uv_idle_start(&d->awake, on_awake);
    }
}

static void on_result(void *data, const struct ulm_result *result)
{
    struct ulm_daemon *d = data;
    if (result->kind == ULM_RESULT_FAILED)
        ulm_log(ULM_LOG_ERROR, "engine: %s", result->text);
    stay_awake(d, result);
    ulm_core_engine_result(d->core, result, now_us());
}

static void on_wake(uv_async_t *async)
{
    struct ulm_daemon *d = async->data;
    if (d->engine && d->core)
        ulm_engine_dispatch(d->engine, on_result, d);
}

static void on_deadline(uv_timer_t *timer)
{
    struct ulm_daemon *d = timer->data;
    d->armed_us = INT64_MAX;
    ulm_core_tick(d->core, now_us());
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct ulm_daemon *d = prepare->data;
    int64_t next = ulm_core_next_deadline(d->core);
    if (next == d->armed_us)
        return;
    d->armed_us = next;
    if (next == INT64_MAX) {
        uv_timer_stop(&d->deadline);
        return;
    }
    int64_t wait_us = next - now_us();
    uv_update_time(&d->loop); /* the timer counts from the loop's own clock */
    (void)uv_timer_start(&d->deadline, on_deadline,
                         wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0, 0);
}

/* While idle a ping says that the loop turns and the worker is parked; while a job runs it says
 * that tokens come. A worker that hangs gets no ping, and the service manager ends it. */
static void on_watchdog(uv_timer_t *timer)
{
    struct ulm_daemon *d = timer->data;
    bool busy = d->engine && ulm_engine_busy(d->engine);
    uint64_t progress = d->engine ? ulm_engine_progress(d->engine) : 0;
    bool hangs = busy && d->watched_busy && progress == d->watched_progress;

    d->watched_busy = busy;
    d->watched_progress = progress;
    if (!hangs)
        ulm_notify_watchdog();
}

/* What clients ask of the daemon itself */

static int answer_hello(void *data, struct ulm_buf *out)
{
    const struct ulm_daemon *d = data;
    return ulm_status_add_hello(out, d->engine);
}

static int answer_status(void *data, bool prometheus, struct ulm_buf *out)
{
    const struct ulm_daemon *d = data;
    const struct ulm_status_source source = {
        .core = d->core,
        .engine = d->engine,
        .cloud = d->cloud,
        .clients = ulm_socket_clients(d->sock),
        .max_clients = d->config->max_clients,
        .max_requests = d->config->core.max_requests,
        .uptime_us = now_us() - d->start_us,
    };
    if (!prometheus)
        return ulm_status_add_json(out, &source);
    return ulm_status_add_prometheus_member(out, &source);
}

/* Reload */

static void free_retired(struct retired *retired)
{
    ulm_cloud_free(retired->cloud);
    ulm_config_free(retired->config);
    free(retired);
}

static void on_retire(uv_timer_t *timer);

/* Frees those whose time has come, or all; wakes for the next. */
static void release_retired(struct ulm_daemon *d, bool all)
{
    int64_t now = now_us(), next = INT64_MAX;
    for (struct retired **link = &d->retired; *link;) {
        struct retired *retired = *link;
        if (all || retired->until_us <= now) {
            *link = retired->next;
            free_retired(retired);
            continue;
        }
        next = retired->until_us < next ? retired->until_us : next;
        link = &retired->next;
    }
    if (!all && next != INT64_MAX)
        (void)uv_timer_start(&d->retire, on_retire, (uint64_t)(next - now) / 1000 + 1, 0);
}

static void on_retire(uv_timer_t *timer)
{
    release_retired(timer->data, /* all */ false);
}

/* Open requests go on with the transfers they have, so the old cloud stays until the last of them
 * must have ended by its deadline. */
static int retire(struct ulm_daemon *d, struct ulm_cloud *cloud, struct ulm_config *config)
{
    struct retired *retired = malloc(sizeof *retired);
    if (!retired)
        return -ENOMEM;
    *retired = (struct retired){
        .next = d->retired,
        .cloud = cloud,
        .config = config == d->started ? NULL : config,
        .until_us = now_us() + (config->core.total_ms + 1000) * INT64_C(1000),
    };
    d->retired = retired;
    release_retired(d, /* all */ false);
    return 0;
}

static int load_config(const struct ulm_daemon_options *options, struct ulm_config **ret,
                       char *reterr)
{
    int r = ulm_config_load(options->config, ret, reterr);
    if (r == 0 && options->model) {
        (*ret)->engine.path = options->model;
        (*ret)->path_at = (struct ulm_config_at){0};
    }
    if (r == 0 && options->socket) {
        (*ret)->socket = options->socket;
        (*ret)->socket_at = (struct ulm_config_at){0};
    }
    return r;
}

/* A server of one's own may want none; one behind TLS hardly ever does. */
static void tell_missing_key(const struct ulm_endpoint_config *to)
{
    if (!to->key && !to->unix_socket && strncasecmp(to->url, "https://", 8) == 0)
        ulm_log(ULM_LOG_NOTICE, "cloud %s has no key: its questions go out without one",
                ulm_endpoint_title(to->name));
}

static int make_cloud(uv_loop_t *loop, struct ulm_config *config, struct ulm_cloud **ret,
                      char *reterr)
{
    struct ulm_cloud_config to;
    *ret = NULL;
    int r = ulm_config_cloud(config, &to)
                ? ulm_cloud_new(loop, &to, ret, reterr, ULM_CONFIG_ERROR_MAX)
                : 0;
    for (size_t i = 0; r == 0 && i < to.n_endpoints; i++)
        tell_missing_key(&to.endpoints[i]);
    ulm_config_wipe_keys(config);
    return r;
}

static void apply_limits(struct ulm_daemon *d)
{
    const struct ulm_config *config = d->config;
    d->peers.quota = config->quota;
    ulm_log_set_level(config->log_level);
    d->limits = (struct ulm_socket_limits){config->max_clients, config->allow_uids,
                                           config->n_allow_uids, config->allow_gids,
                                           config->n_allow_gids};
    if (d->sock)
        ulm_socket_configure(d->sock, &d->limits);
}

static struct ulm_dbus_config dbus_config(const struct ulm_daemon *d)
{
    return (struct ulm_dbus_config){
        .system = d->config->dbus == ULM_BUS_SYSTEM,
        .limits = &d->limits,
        .model = d->engine ? ulm_engine_info(d->engine)->name : NULL,
        .cloud = d->cloud != NULL,
    };
}

/* A device without a bus is served by the socket. */
static void start_dbus(struct ulm_daemon *d, const struct ulm_answers *answers)
{
    const struct ulm_dbus_config config = dbus_config(d);
    int r = d->config->dbus == ULM_BUS_NO
                ? 0
                : ulm_dbus_new(&d->loop, d->core, &d->peers, answers, &config, &d->dbus);
    if (r < 0)
        ulm_log(ULM_LOG_NOTICE, "D-Bus is not served: %s; `dbus = no` silences this",
                r == -EOPNOTSUPP ? "it is not built in" : strerror(-r));
}

static void reload(struct ulm_daemon *d)
{
    char reterr[ULM_CONFIG_ERROR_MAX] = "out of memory";
    struct ulm_config *config = NULL;
    struct ulm_cloud *cloud = NULL;
    int r = load_config(&d->options, &config, reterr);
    if (r == 0)
        r = make_cloud(&d->loop, config, &cloud, reterr);
    if (r == 0)
        r = retire(d, d->cloud, d->config);
    if (r < 0) {
        ulm_cloud_free(cloud);
        ulm_config_free(config);
        ulm_log(ULM_LOG_ERROR, "the configuration stays as it was: %s", reterr);
        return;
    }
    (void)ulm_config_complete(config, d->engine ? ulm_engine_info(d->engine) : NULL);
    d->config = config;
    d->cloud = cloud;
    ulm_core_configure(d->core, &config->core, cloud);
    apply_limits(d);
    if (d->dbus) {
        const struct ulm_dbus_config to = dbus_config(d);
        ulm_dbus_configure(d->dbus, &to);
    }
    ulm_log(ULM_LOG_NOTICE, "configuration read again");
    if (ulm_config_needs_restart(d->started, config, reterr))
        ulm_log(ULM_LOG_WARNING, "as before until the next start: %s", reterr);
}

/* Signals */

static void notify_ready(const struct ulm_daemon *d, bool start)
{
    const struct ulm_model_info *info = d->engine ? ulm_engine_info(d->engine) : NULL;
    char status[256];
    snprintf(status, sizeof status, "%s%s%s, %zu cloud endpoint%s", info ? info->name : "no model",
             info ? " " : "", info ? info->quantisation : "", d->config->n_endpoints,
             d->config->n_endpoints == 1 ? "" : "s");
    ulm_tame(status);
    if (start)
        ulm_log(ULM_LOG_NOTICE, "ulmd " ULMD_VERSION " is ready: %s", status);
    ulm_notify_ready(status);
}

static void on_stopped(void *data)
{
    struct ulm_daemon *d = data;
    uv_stop(&d->loop);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct ulm_daemon *d = handle->data;
    if (d->stopping) {
        uv_stop(&d->loop);
        return;
    }
    d->stopping = true;
    ulm_log(ULM_LOG_NOTICE, "stopping, %zu open requests end here", ulm_core_running(d->core));
    ulm_notify_stopping();
    ulm_core_shutdown(d->core, now_us());
    if (d->dbus)
        ulm_dbus_stop(d->dbus);
    ulm_socket_stop(d->sock, on_stopped, d);
}

static void on_reload_signal(uv_signal_t *handle, int number)
{
    struct ulm_daemon *d = handle->data;
    if (d->stopping)
        return;
    ulm_notify_reloading();
    reload(d);
    notify_ready(d, /* start */ false);
}

/* Life */

static int open_handles(struct ulm_daemon *d)
{
    uv_signal_t *const signals[] = {&d->sigterm, &d->sigint, &d->sighup};
    uv_timer_t *const timers[] = {&d->deadline, &d->retire, &d->watchdog};
    uint64_t watchdog_us = ulm_notify_watchdog_us();
    int r = uv_async_init(&d->loop, &d->wake, on_wake);
    if (r < 0)
        return r;
    d->wake.data = d->arm.data = d->awake.data = d;
    (void)uv_prepare_init(&d->loop, &d->arm);
    (void)uv_idle_init(&d->loop, &d->awake);
    for (size_t i = 0; i < 3; i++) {
        signals[i]->data = timers[i]->data = d;
        (void)uv_timer_init(&d->loop, timers[i]);
        (void)uv_signal_init(&d->loop, signals[i]);
    }
    d->handles_open = true;
    d->armed_us = INT64_MAX;
    (void)uv_prepare_start(&d->arm, on_prepare);
    if (watchdog_us > 0)
        (void)uv_timer_start(&d->watchdog, on_watchdog, watchdog_us / 2000, watchdog_us / 2000);
    if ((r = uv_signal_start(&d->sigterm, on_stop_signal, SIGTERM)) < 0 ||
        (r = uv_signal_start(&d->sigint, on_stop_signal, SIGINT)) < 0)
        return r;
    return uv_signal_start(&d->sighup, on_reload_signal, SIGHUP);
}

static void close_handles(struct ulm_daemon *d)
{
    uv_handle_t *const handles[] = {
        (uv_handle_t *)&d->wake,   (uv_handle_t *)&d->arm,      (uv_handle_t *)&d->deadline,
        (uv_handle_t *)&d->retire, (uv_handle_t *)&d->watchdog, (uv_handle_t *)&d->sigterm,
        (uv_handle_t *)&d->sigint, (uv_handle_t *)&d->sighup,   (uv_handle_t *)&d->awake,
    };
    for (size_t i = 0; d->handles_open && i < sizeof handles / sizeof *handles; i++)
        uv_close(handles[i], NULL);
    d->handles_open = false;
}

static int listen_at_path(struct ulm_daemon *d, char *reterr)
{
    char path[256];
    struct ulm_listener listener;
    const struct ulm_listen_at at = {
        .path = ulm_config_socket(d->config, path, sizeof path),
        .mode = d->config->socket_mode,
        .group = d->config->socket_group,
    };
    int r = ulm_listener_open(&at, &listener, reterr, ULM_CONFIG_ERROR_MAX);
    if (r < 0) {
        ulm_config_name_socket(d->config, reterr);
        return r;
    }
    ulm_log(ULM_LOG_NOTICE, "listening on %s", at.path);
    r = ulm_socket_add_listener(d->sock, &listener);
    if (r < 0)
        ulm_listener_close(&listener);
    return r;
}

static int start_listening(struct ulm_daemon *d, char *reterr)
{
    int fds[ULM_LISTENERS_MAX];
    int n = ulm_notify_take_sockets(fds, ULM_LISTENERS_MAX);
    if (n < 0) {
        snprintf(reterr, ULM_CONFIG_ERROR_MAX, "the sockets handed in cannot be used: %s",
                 strerror(-n));
        return n;
    }
    if (n == 0 || d->options.socket) {
        for (int i = 0; i < n; i++)
            close(fds[i]);
        return listen_at_path(d, reterr);
    }
    for (int i = 0; i < n; i++) {
        struct ulm_listener listener = {.fd = fds[i], .pin = -1};
        int r = ulm_socket_add_listener(d->sock, &listener);
        if (r < 0)
            return r;
    }
    ulm_log(ULM_LOG_NOTICE, "listening on %d socket%s handed in", n, n == 1 ? "" : "s");
    return 0;
}

static int make_engine(struct ulm_daemon *d, struct ulm_config *config,
                       struct ulm_engine **ret_engine, char *reterr)
{
    struct ulm_engine_config engine = config->engine;
    engine.wake = on_worker;
    engine.wake_data = d;
    *ret_engine = NULL;
    int r = engine.path ? ulm_engine_new(&engine, ret_engine, reterr, ULM_CONFIG_ERROR_MAX) : 0;
    if (r != 0)
        ulm_config_name_model(config, r, reterr);
    return r > 0 ? -EINVAL : r;
}

static int construct(struct ulm_daemon *d, char *reterr)
{
    const struct ulm_answers answers = {answer_hello, answer_status, d};
    int r = uv_loop_init(&d->loop);
    if (r < 0)
        return r;
    d->loop_open = true;
    if ((r = open_handles(d)) < 0)
        return r;
    if ((r = load_config(&d->options, &d->config, reterr)) < 0)
        return r;
    d->started = d->config;
    ulm_log_allow_text(d->config->log_text);
    apply_limits(d);
    if (d->config->log_text)
        ulm_log(ULM_LOG_WARNING, "log_text is on: what people say goes to the log");

    if ((r = make_engine(d, d->config, &d->engine, reterr)) < 0)
        return r;
    const struct ulm_model_info *info = d->engine ? ulm_engine_info(d->engine) : NULL;
    (void)ulm_config_complete(d->config, info);
    if ((r = make_cloud(&d->loop, d->config, &d->cloud, reterr)) < 0 ||
        (r = ulm_core_new(&d->config->core, d->engine, d->cloud, &d->core)) < 0 ||
        (r = ulm_socket_new(&d->loop, d->core, &d->peers, &(struct ulm_socket_limits){0}, &answers,
                            &d->sock)) < 0)
        return r;
    d->may_stay_awake = info && uv_available_parallelism() > info->threads;
    apply_limits(d);
    start_dbus(d, &answers);
    return start_listening(d, reterr);
}

int ulm_daemon_new(const struct ulm_daemon_options *options, struct ulm_daemon **ret_daemon,
                   char reterr[static ULM_CONFIG_ERROR_MAX])
{
    struct ulm_daemon *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->options = *options;
    d->start_us = now_us();
    ulm_peers_init(&d->peers);
    *reterr = '\0';
    int r = construct(d, reterr);
    if (r < 0) {
        if (!*reterr)
            snprintf(reterr, ULM_CONFIG_ERROR_MAX, "cannot start: %s", strerror(-r));
        ulm_daemon_free(d);
        return r;
    }
    *ret_daemon = d;
    return 0;
}

void ulm_daemon_run(struct ulm_daemon *d)
{
    notify_ready(d, /* start */ true);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
}

struct ulm_daemon *ulm_daemon_free(struct ulm_daemon *d)
{
    if (!d)
        return NULL;
    d->sock = ulm_socket_free(d->sock);
    d->dbus = ulm_dbus_free(d->dbus);
    d->core = ulm_core_free(d->core);
    d->cloud = ulm_cloud_free(d->cloud);
    release_retired(d, /* all */ true);
    d->engine = ulm_engine_free(d->engine); /* its worker is gone before `wake` is closed */
    close_handles(d);
    if (d->loop_open) {
        (void)uv_run(&d->loop, UV_RUN_DEFAULT); /* the close callbacks */
        int r = uv_loop_close(&d->loop);
        assert(r == 0);
        (void)r;
    }
    ulm_peers_deinit(&d->peers);
    if (d->started != d->config)
        ulm_config_free(d->started);
    d->config = ulm_config_free(d->config);
    free(d);
    return NULL;
}

int ulm_daemon_check(const struct ulm_daemon_options *options,
                     char reterr[static ULM_CONFIG_ERROR_MAX])
{
    struct ulm_daemon d = {.options = *options};
    *reterr = '\0';
    int r = uv_loop_init(&d.loop);
    if (r < 0)
        return r;
    r = load_config(options, &d.config, reterr);
    if (r == 0)
        r = make_cloud(&d.loop, d.config, &d.cloud, reterr);
    if (r == 0)
        r = make_engine(&d, d.config, &d.engine, reterr);
    if (r == 0)
        r = ulm_config_check_socket(d.config, reterr);
    if (r == 0)
        r = ulm_config_complete(d.config, d.engine ? ulm_engine_info(d.engine) : NULL);
    d.engine = ulm_engine_free(d.engine);
    d.cloud = ulm_cloud_free(d.cloud);
    (void)uv_run(&d.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&d.loop);
    ulm_config_free(d.config);
    return r;
}
