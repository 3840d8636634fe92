/* SPDX-License-Identifier: MIT */
/* A listening Unix socket at a path, without taking it from a daemon that lives. */
#ifndef ULM_FRONT_LISTEN_H
#define ULM_FRONT_LISTEN_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct ulm_listen_at {
    const char *path;
    mode_t mode;       /* of the socket file */
    const char *group; /* or NULL: as the process has it */
};

struct ulm_listener {
    int fd; /* non-blocking, close-on-exec */
    /* The file that was bound; path "" = a socket that was handed in, whose file is not ours. */
    char path[sizeof((struct sockaddr_un){0}).sun_path];
    int pin; /* that file's inode, held so that no other file gets its number; -1 = none */
};

/* 0, or a negative errno with one line in reterr. A socket file that nobody listens on is
 * replaced. */
int ulm_listener_open(const struct ulm_listen_at *at, struct ulm_listener *ret_listener,
                      char *reterr, size_t reterr_size);

/* Whether it could be opened: its path, its directory and what stands there now. Nothing is changed.
 * 0, or a negative errno with one line in reterr. */
int ulm_listener_check(const char *path, char *reterr, size_t reterr_size);

/* Closes the socket; removes its file if it still is the one that was bound. */
void ulm_listener_close(struct ulm_listener *listener);

#endif
