/* SPDX-License-Identifier: MIT */
/* The service manager: readiness, watchdog, sockets handed in. Without libsystemd all of it is
 * silent and empty. */
#ifndef ULM_APP_NOTIFY_H
#define ULM_APP_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

void ulm_notify_ready(const char *status);
void ulm_notify_reloading(void);
void ulm_notify_stopping(void);
void ulm_notify_watchdog(void);

/* The watchdog's time in microseconds, 0 = none. */
uint64_t ulm_notify_watchdog_us(void);

/* Listening Unix stream sockets that were handed in: how many of at most n. The caller owns them.
 * <0: errno, one of them is something else. */
int ulm_notify_take_sockets(int *ret_fds, size_t n);

#endif
