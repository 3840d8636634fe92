/* SPDX-License-Identifier: MIT */
/*
 * One line to the log. Log where you stop, return where you pass: only front, app and the place
 * that drops an error log it. What people say, openers and keys never go here; with `log_text`
 * the one exception is ulm_log_text().
 */
#ifndef ULM_UTIL_LOG_H
#define ULM_UTIL_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* syslog's numbers, so that journald understands them. */
enum ulm_log_level {
    ULM_LOG_ERROR = 3,   /* the daemon, or a part of it, does not work */
    ULM_LOG_WARNING = 4, /* something asked for was not done; the rest goes on */
    ULM_LOG_NOTICE = 5,  /* start, stop, reload */
    ULM_LOG_INFO = 6,    /* one line a request */
    ULM_LOG_DEBUG = 7,   /* states and events, without text */
};

/* Writes one line; request 0 = about none. Called on any thread. */
typedef void ulm_log_sink_fn(enum ulm_log_level level, uint64_t request, const char *line);

/* The only mutable globals of the program. The default sink writes to stderr. */
void ulm_log_set_level(enum ulm_log_level level);
enum ulm_log_level ulm_log_level(void);
void ulm_log_set_sink(ulm_log_sink_fn *sink); /* NULL = stderr */
void ulm_log_allow_text(bool allow);          /* `log_text`; read once at start */

/* "debug", "info", "notice", "warning", "error"; -EINVAL for another name. */
int ulm_log_level_from_name(const char *name, enum ulm_log_level *ret_level);
const char *ulm_log_level_name(enum ulm_log_level level);

void ulm_log(enum ulm_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ulm_log_request(enum ulm_log_level level, uint64_t request, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What people say: written (at info) only where ulm_log_allow_text(true) was called. */
void ulm_log_text(uint64_t request, const char *what, const char *text);

#endif
