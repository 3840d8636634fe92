/* SPDX-License-Identifier: MIT */
/*
 * The D-Bus front: org.ulmd.Assistant1 through sd-bus on the libuv loop (docs/dbus.md).
 *
 *     ulm_dbus_new -> (loop) -> ulm_dbus_stop -> ulm_dbus_free -> (loop until idle)
 *
 * A bus that is not there is no failure of the daemon: its socket serves on, and the bus is tried
 * again.
 */
#ifndef ULM_FRONT_DBUS_H
#define ULM_FRONT_DBUS_H

#include <errno.h>
#include <stdbool.h>

#include "front/socket.h"

struct ulm_dbus;

/* Strings and arrays are borrowed for the call; limits as long as they are in force. */
struct ulm_dbus_config {
    bool system;                            /* else the session bus */
    const struct ulm_socket_limits *limits; /* who may ask; max_clients counts callers here */
    const char *model;                      /* the property Model: its name, or NULL = none */
    bool cloud;                             /* an endpoint is configured */
};

#if HAVE_DBUS

/* Begins to connect and to take the name; what fails is logged, and tried again. All else is
 * borrowed until ulm_dbus_free. <0: -ENOMEM, or -EOPNOTSUPP: built without it. */
int ulm_dbus_new(struct uv_loop_s *loop, struct ulm_core *core, struct ulm_peers *peers,
                 const struct ulm_answers *answers, const struct ulm_dbus_config *config,
                 struct ulm_dbus **ret_dbus);

/* A reload: `system` stays as it was. Properties that changed are told. */
void ulm_dbus_configure(struct ulm_dbus *dbus, const struct ulm_dbus_config *config);

/* Takes no more requests; State is "stopping". Those that are open are core's to end. */
void ulm_dbus_stop(struct ulm_dbus *dbus);

/* What is queued goes out, for half a second at most. Memory goes on later turns of the loop. NULL
 * is allowed. Returns NULL. */
struct ulm_dbus *ulm_dbus_free(struct ulm_dbus *dbus);

#else

static inline int ulm_dbus_new(struct uv_loop_s *loop, struct ulm_core *core,
                               struct ulm_peers *peers, const struct ulm_answers *answers,
                               const struct ulm_dbus_config *config, struct ulm_dbus **ret_dbus)
{
    return -EOPNOTSUPP;
}

static inline void ulm_dbus_configure(struct ulm_dbus *dbus, const struct ulm_dbus_config *config)
{
}

static inline void ulm_dbus_stop(struct ulm_dbus *dbus)
{
}

static inline struct ulm_dbus *ulm_dbus_free(struct ulm_dbus *dbus)
{
    return NULL;
}

#endif

#endif
