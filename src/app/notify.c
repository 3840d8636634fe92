/* SPDX-License-Identifier: MIT */
#include "app/notify.h"

#include <errno.h>

#if HAVE_SYSTEMD

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

void ulm_notify_ready(const char *status)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void ulm_notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    /* The time lets systemd tell this reload's READY from an earlier one. */
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                     (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void ulm_notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1");
}

void ulm_notify_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

uint64_t ulm_notify_watchdog_us(void)
{
    uint64_t us = 0;
    return sd_watchdog_enabled(0, &us) > 0 ? us : 0;
}

int ulm_notify_take_sockets(int *ret_fds, size_t n)
{
    int count = sd_listen_fds(/* unset_environment */ 1);
    if (count < 0)
        return count;
    if ((size_t)count > n)
        return -E2BIG;
    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        int r = sd_is_socket_unix(fd, SOCK_STREAM, /* listening */ 1, NULL, 0);
        if (r <= 0)
            return r < 0 ? r : -ENOTSOCK;
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
            return -errno;
        ret_fds[i] = fd;
    }
    return count;
}

#else

void ulm_notify_ready(const char *status)
{
    (void)status;
}

void ulm_notify_reloading(void)
{
}

void ulm_notify_stopping(void)
{
}

void ulm_notify_watchdog(void)
{
}

uint64_t ulm_notify_watchdog_us(void)
{
    return 0;
}

int ulm_notify_take_sockets(int *ret_fds, size_t n)
{
    (void)ret_fds;
    (void)n;
    return 0;
}

#endif
