/* SPDX-License-Identifier: MIT */
#include "front/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* systemd's own backlog is SOMAXCONN as well: a burst waits rather than fails. */
#define BACKLOG SOMAXCONN

static int explain(char *reterr, size_t size, int err, const char *path, const char *what)
{
    snprintf(reterr, size, "socket %s: %s%s%s", path, what, err ? ": " : "",
             err ? strerror(err) : "");
    return err ? -err : -EINVAL;
}

static int set_address(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

/* A directory that anybody may write to without the sticky bit lets anybody replace the socket. */
static int open_parent(const char *path, char *reterr, size_t size)
{
    char copy[sizeof((struct sockaddr_un){0}).sun_path];
    strcpy(copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return explain(reterr, size, errno, path, "its directory cannot be opened");

    struct stat st;
    if (fstat(fd, &st) < 0 || ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))) {
        close(fd);
        return explain(reterr, size, 0, path, "anybody may write to its directory");
    }
    return fd;
}

/* Opens and locks the parent directory, so that of two daemons that start at once only one looks
 * at a stale socket at a time. */
static int lock_parent(const char *path, char *reterr, size_t size)
{
    int fd = open_parent(path, reterr, size);
    if (fd < 0)
        return fd;
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (tries == 40) {
            close(fd);
            return explain(reterr, size, EBUSY, path, "its directory is locked");
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return fd;
}

/* Removes a socket file that nobody listens on; refuses anything else. */
static int remove_stale(const struct sockaddr_un *address, char *reterr, size_t size)
{
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : explain(reterr, size, errno, path, "cannot be looked at");
    if (!S_ISSOCK(st.st_mode))
        return explain(reterr, size, EEXIST, path, "is not a socket");

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return explain(reterr, size, errno, path, "cannot be tried");
    int r = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int err = r < 0 ? errno : 0;
    close(fd);
    if (err != ECONNREFUSED) /* EAGAIN: its backlog is full, so it lives */
        return explain(reterr, size, EADDRINUSE, path, "another daemon listens on it");
    if (unlink(path) < 0)
        return explain(reterr, size, errno, path, "is stale and cannot be removed");
    return 0;
}

static int set_owner(const struct ulm_listen_at *at, char *reterr, size_t size)
{
    if (at->group) {
        const struct group *group = getgrnam(at->group);
        if (!group)
            return explain(reterr, size, 0, at->path, "socket_group is no group of this system");
        if (lchown(at->path, (uid_t)-1, group->gr_gid) < 0)
            return explain(reterr, size, errno, at->path, "its group cannot be set");
    }
    /* Between bind and here nobody but the owner can connect; the umask saw to that. */
    if (chmod(at->path, at->mode) < 0)
        return explain(reterr, size, errno, at->path, "its mode cannot be set");
    return 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address,
                           const struct ulm_listen_at *at, char *reterr, size_t size)
{
    mode_t old = umask(0177);
    int r = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int err = errno;
    umask(old);
    if (r < 0)
        return explain(reterr, size, err, at->path, "cannot be bound");
    r = set_owner(at, reterr, size);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = explain(reterr, size, errno, at->path, "cannot be listened on");
    if (r < 0)
        (void)unlink(at->path);
    return r;
}

int ulm_listener_check(const char *path, char *reterr, size_t reterr_size)
{
    struct sockaddr_un address;
    if (set_address(&address, path) < 0)
        return explain(reterr, reterr_size, 0, path, "must be a path of 1 to 107 bytes");
    int dir = open_parent(path, reterr, reterr_size);
    if (dir < 0)
        return dir;
    close(dir);

    struct stat st;
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return explain(reterr, reterr_size, EEXIST, path, "is not a socket");
    return 0;
}

int ulm_listener_open(const struct ulm_listen_at *at, struct ulm_listener *ret_listener,
                      char *reterr, size_t reterr_size)
{
    struct sockaddr_un address;
    if (set_address(&address, at->path) < 0)
        return explain(reterr, reterr_size, 0, at->path, "must be a path of 1 to 107 bytes");
    int dir = lock_parent(at->path, reterr, reterr_size);
    if (dir < 0)
        return dir;

    int fd = -1, pin = -1;
    int r = remove_stale(&address, reterr, reterr_size);
    if (r == 0) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = fd < 0 ? explain(reterr, reterr_size, errno, at->path, "cannot be made") : 0;
    }
    if (r == 0)
        r = bind_and_listen(fd, &address, at, reterr, reterr_size);
    if (r == 0 && (pin = open(at->path, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
        r = explain(reterr, reterr_size, errno, at->path, "is gone again");
    close(dir);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    *ret_listener = (struct ulm_listener){.fd = fd, .pin = pin};
    strcpy(ret_listener->path, at->path);
    return 0;
}

void ulm_listener_close(struct ulm_listener *listener)
{
    struct stat ours, there;
    if (*listener->path && fstat(listener->pin, &ours) == 0 && lstat(listener->path, &there) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
        (void)unlink(listener->path);
    if (*listener->path)
        close(listener->pin);
    if (listener->fd >= 0)
        close(listener->fd);
    *listener = (struct ulm_listener){.fd = -1, .pin = -1};
}
