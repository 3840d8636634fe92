/* SPDX-License-Identifier: MIT */
/*
 * The daemon: the parts, the loop they share, and what wakes them.
 *
 *     ulm_daemon_new -> ulm_daemon_run (until SIGTERM or SIGINT) -> ulm_daemon_free
 */
#ifndef ULM_APP_DAEMON_H
#define ULM_APP_DAEMON_H

#include "app/config.h"

struct ulm_daemon;

/* From the command line; each may be NULL. Borrowed as long as the daemon lives. */
struct ulm_daemon_options {
    const char *config; /* the one file to read */
    const char *model;  /* in place of [model] path */
    const char *socket; /* in place of [daemon] socket, and of sockets handed in */
};

/* Everything as a start would make it, the socket looked at but not made. 0; how many warnings were
 * logged; or <0 with one line in reterr. */
int ulm_daemon_check(const struct ulm_daemon_options *options,
                     char reterr[static ULM_CONFIG_ERROR_MAX]);

int ulm_daemon_new(const struct ulm_daemon_options *options, struct ulm_daemon **ret_daemon,
                   char reterr[static ULM_CONFIG_ERROR_MAX]);

/* Returns when it was told to stop and every open request has had its end. */
void ulm_daemon_run(struct ulm_daemon *daemon);

/* NULL is allowed. Returns NULL. */
struct ulm_daemon *ulm_daemon_free(struct ulm_daemon *daemon);

#endif
