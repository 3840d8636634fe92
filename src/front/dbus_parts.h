/* SPDX-License-Identifier: MIT */
/* What the files of the D-Bus front share. Private to front/dbus*. */
#ifndef ULM_FRONT_DBUS_PARTS_H
#define ULM_FRONT_DBUS_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <uv.h>

#include <ulmd/event.h>
#include <ulmd/limits.h>
#include <ulmd/session.h>

#include "front/dbus.h"
#include "front/peer.h"

#define ULM_DBUS_NAME      "org.ulmd.Assistant1"
#define ULM_DBUS_PATH      "/org/ulmd/Assistant1"
#define ULM_DBUS_INTERFACE "org.ulmd.Assistant1"

#define ULM_CALLERS_MAX   64u   /* known at once; of more, those without open requests are let go */
#define ULM_CALLS_WAITING 16u   /* calls of one caller kept until the bus has told who it is */
#define ULM_BUS_QUEUE_MAX 4096u /* messages the bus has not taken */

/* An ask of a caller whose terminal event has not come. */
struct ulm_dbus_open {
    struct ulm_dbus_open *next;
    char id[ULM_ID_MAX + 1];
};

/* A connection of the bus that asks, by its unique name. */
struct ulm_caller {
    struct ulm_sink sink; /* core knows it once `peer` is set, until ulm_core_sink_gone */
    struct ulm_dbus *dbus;
    struct ulm_caller *next;                    /* ulm_dbus.callers, latest use first */
    char *name;                                 /* owned */
    sd_bus_slot *gone_match, *credentials_call; /* owned */
    struct ulm_peer *peer;                      /* NULL: not told yet who it is */
    sd_bus_message *waiting[ULM_CALLS_WAITING]; /* owned; calls until then */
    size_t n_waiting;
    struct ulm_dbus_open *open; /* owned */
    unsigned asked;             /* for ids that the caller does not choose */
    bool lost;                  /* an event could not be sent: to be ended from the loop */

    /* While core is called for a method: what it found wrong, where that is no event of a request.
     */
    sd_bus_error *fault; /* borrowed; NULL = none asks */
    enum ulm_error fault_code;
};

struct ulm_dbus {
    uv_loop_t *loop;
    struct ulm_core *core;
    struct ulm_peers *peers;
    struct ulm_answers answers;
    const struct ulm_socket_limits *limits;
    char *model; /* owned */
    bool system, cloud, stopping;

    sd_bus *bus;  /* owned; NULL while the bus is not there; `poll` is open as long as it is */
    bool pending; /* sd-bus may have work */
    bool met;     /* the bus has been there */
    bool silent;  /* it never said whether the name is ours */
    unsigned pause_ms; /* before the latest try for it; 0 = it is there, or was not tried again */
    struct ulm_caller *callers;
    size_t n_callers;
    bool lost_callers; /* some are marked lost */

    uv_poll_t poll;
    int poll_events;
    uv_timer_t timer;
    uv_prepare_t prepare;
    size_t n_handles;
};

/* dbus_call.c: the interface, and one call of a caller the daemon knows. */
extern const sd_bus_vtable ulm_dbus_vtable[];
const char *ulm_dbus_state(const struct ulm_dbus *dbus);
int ulm_dbus_serve(struct ulm_caller *caller, sd_bus_message *call);

/* dbus_caller.c: finds or begins the caller of a message and serves it now, or once the bus has
 * told who it is. <0: what the method returns. */
int ulm_dbus_receive(struct ulm_dbus *dbus, sd_bus_message *call);
/* Core forgets it; its requests are cancelled. */
void ulm_caller_free(struct ulm_caller *caller);
/* Frees those marked lost. */
void ulm_dbus_sweep(struct ulm_dbus *dbus);
/* The asks whose terminal event has not come. 0, -EEXIST, -ENOMEM. */
int ulm_caller_remember_open(struct ulm_caller *caller, const char *id);
void ulm_caller_forget_open(struct ulm_caller *caller, const char *id);
/* Asks of all callers of this peer that are open. */
size_t ulm_dbus_open_requests(const struct ulm_dbus *dbus, const struct ulm_peer *peer);

/* dbus_event.c: ulm_sink.emit and .spent of a caller. */
void ulm_caller_spent(struct ulm_sink *sink, int64_t tokens);
void ulm_caller_emit(struct ulm_sink *sink, const char *id, const struct ulm_event *event);

/* dbus_args.c: the options of Ask and Draft. */
struct ulm_dbus_args {
    struct ulm_ask ask;
    const char *facts[ULM_FACTS_MAX];
    struct ulm_turn history[ULM_TURNS_MAX];
};

/* Reads an a{sv} at the message's cursor; strings are the message's. 0, or an error set. */
int ulm_dbus_read_options(sd_bus_message *call, struct ulm_dbus_args *args, sd_bus_error *error);
/* Appends the members of a JSON object (",\"a\":1,..." as ulm_answers gives it) as a{sv}. */
int ulm_dbus_append_json(sd_bus_message *reply, const char *members);

/* A name as org.ulmd.Error.* */
const char *ulm_dbus_error_name(enum ulm_error code);

#endif
