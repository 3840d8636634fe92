/* SPDX-License-Identifier: MIT */
/* ulmctl: what its commands share. */
#ifndef ULM_TOOLS_ULMCTL_H
#define ULM_TOOLS_ULMCTL_H

#include <signal.h>
#include <stdbool.h>

#include <ulmd/client.h>
#include <ulmd/limits.h>

#include "client/pull.h"
#include "tools/term.h"
#include "util/buf.h"

enum ulmctl_exit {
    ULMCTL_OK = 0,
    ULMCTL_ERROR = 1,
    ULMCTL_USAGE = 2,
    ULMCTL_NO_DAEMON = 3,
    ULMCTL_INCOMPLETE = 4, /* answered, but `reason` is not "complete" */
};

struct ulmctl {
    const char *socket;  /* or NULL: the default places */
    const char *command; /* its name */
    bool json;
    struct ulm_term term;
};

/* The commands: argv[0] is the program's name, as getopt wants it. They return the exit status. */
int ulmctl_ask(struct ulmctl *ctl, int argc, char **argv);
int ulmctl_status(struct ulmctl *ctl, int argc, char **argv);
int ulmctl_watch(struct ulmctl *ctl, int argc, char **argv);
int ulmctl_hello(struct ulmctl *ctl, int argc, char **argv);
int ulmctl_reset(struct ulmctl *ctl, int argc, char **argv);

/* ulmctl.c */

/* Connects, or says why not and returns ULMCTL_NO_DAEMON. */
int ulmctl_connect(const struct ulmctl *ctl, struct ulm_client **ret_client);
/* Writes out what was printed: ULMCTL_OK, or says why not and returns ULMCTL_ERROR. */
int ulmctl_flush(void);
/* One line to stderr; what could steer a terminal is taken out. */
void ulmctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What a result of the library means, for a person. */
const char *ulmctl_reason(int result);
/* Set by SIGINT and SIGTERM once ulmctl_catch_signals was called. */
extern volatile sig_atomic_t ulmctl_interrupted;
void ulmctl_catch_signals(void);

/* ulmctl-status.c */

enum ulmctl_query {
    ULMCTL_HELLO,
    ULMCTL_STATUS,
    ULMCTL_STATUS_PROMETHEUS,
    ULMCTL_RESET,
};

/* Asks the daemon and keeps the answering event's line, NUL-terminated. 0; 1: the daemon refused,
 * and the line is its code and message; or what ulm_client_dispatch returns as a negative errno.
 * session: of a reset, else NULL. */
int ulmctl_fetch(struct ulm_client *client, enum ulmctl_query query, const char *session,
                 struct ulm_buf *line);
/* The same event as text for a person, whole or its first lines. -ENOBUFS, -ENOMEM. */
int ulmctl_status_text(const struct ulm_term *term, struct ulm_pull status, struct ulm_buf *out);
int ulmctl_status_head(const struct ulm_term *term, struct ulm_pull status, struct ulm_buf *out);

/* ulmctl-watch.c: one screen, or one line where the terminal is not live. */
int ulmctl_watch_screen(const struct ulm_term *term, struct ulm_pull status, struct ulm_buf *out);
int ulmctl_watch_line(struct ulm_pull status, struct ulm_buf *out);

/* ulmctl-timeline.c: one row of `width` cells: waiting, opener being heard, gap, cloud. */
int ulmctl_timeline(const struct ulm_term *term, const struct ulm_client_timing *timing,
                    unsigned opener_words, unsigned width, struct ulm_buf *out);

#endif
