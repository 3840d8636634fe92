/* SPDX-License-Identifier: MIT */
/* Prompt texts and keys: files that the configuration names or that have a place of their own. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_parts.h"
#include "util/text.h"

#define PIPE_WAIT_MS 2000 /* for somebody who is to write what we read */

/* As read(2); of a pipe that somebody holds open and does not write to, only so long. */
static ssize_t read_soon(int fd, char *into, size_t size)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = read(fd, into, size);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return n;
        if (errno == EAGAIN && poll(&p, 1, PIPE_WAIT_MS) == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

static int read_all(int fd, size_t max, char **ret_text, size_t *ret_len)
{
    char *text = malloc(max + 2);
    size_t len = 0;
    ssize_t n = 1;
    if (!text)
        return -ENOMEM;
    while (n > 0 && len <= max) {
        n = read_soon(fd, text + len, max + 1 - len);
        if (n > 0)
            len += (size_t)n;
    }
    if (n < 0 || len > max) {
        int err = n < 0 ? errno : EFBIG;
        explicit_bzero(text, len);
        free(text);
        return -err;
    }
    text[len] = '\0';
    *ret_text = text;
    *ret_len = len;
    return 0;
}

int ulm_config_slurp(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int r = read_all(fd, max, ret_text, ret_len);
    close(fd);
    return r;
}

/* Prompt texts */

/* Where the shipped texts are: as told, as installed with the program, as built, or beside the
 * source of a build folder. */
static int load_shipped(const char *name, char **ret_text, char path[static PATH_MAX])
{
    char exe[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    const char *dir = n > 0 ? dirname(exe) : ".";
    const char *told = getenv("ULMD_DATADIR");
    const struct {
        const char *dir, *below;
    } places[] = {
        {told, ""},
        {told ? NULL : dir, "/../share/ulmd"},
        {told ? NULL : ULMD_DATADIR, ""},
        {told ? NULL : dir, "/../../conf"},
    };
    size_t len;
    int r = -ENOENT;
    for (size_t i = 0; i < sizeof places / sizeof *places && r == -ENOENT; i++) {
        if (!places[i].dir)
            continue;
        if (snprintf(path, PATH_MAX, "%s%s/%s", places[i].dir, places[i].below, name) >= PATH_MAX)
            return -ENAMETOOLONG;
        r = ulm_config_slurp(path, ULM_PROMPT_MAX, ret_text, &len);
    }
    return r;
}

/* Keeps a text without the white space at its end. */
static int keep_text(struct ulm_config *config, const char *path, char *text, const char **ret,
                     char *reterr)
{
    const struct ulm_config_at at = {path, 0};
    size_t len = strlen(text);
    while (len > 0 && ulm_is_space(text[len - 1]))
        len--;
    if (len == 0 || !ulm_utf8_valid(text, len))
        return ulm_config_fault(reterr, &at, "must be a text in UTF-8 that is not empty");
    *ret = ulm_config_keep(config, text, len);
    return *ret ? 0 : -ENOMEM;
}

static int load_prompt(struct ulm_config *config, struct ulm_config_endpoint *endpoint,
                       enum ulm_prompt_text which, char *reterr)
{
    static const char *const shipped[ULM_PROMPT_N] = {
        [ULM_PROMPT_TAGGED] = "continuator.txt",
        [ULM_PROMPT_PLAIN] = "continuator-plain.txt",
        [ULM_PROMPT_ANSWER] = "answer.txt",
    };
    const char *dot = *endpoint->to.name ? "." : "";
    char path[PATH_MAX];
    char *text = NULL;
    size_t len;
    int r;

    if (which == ULM_PROMPT_TAGGED && endpoint->prompt_file) {
        snprintf(path, sizeof path, "%s", endpoint->prompt_file);
        r = ulm_config_slurp(path, ULM_PROMPT_MAX, &text, &len);
        if (r < 0 || !text)
            return ulm_config_fault(reterr, &endpoint->prompt_file_at,
                                    "[cloud%s%s] prompt_file: %s: %s (at most %u bytes)", dot,
                                    endpoint->to.name, path, strerror(-r), ULM_PROMPT_MAX);
    } else {
        r = load_shipped(shipped[which], &text, path);
        if (r < 0 || !text)
            return ulm_config_fault(reterr, &endpoint->at, "the prompt text %s: %s", path,
                                    strerror(-r));
    }
    r = keep_text(config, path, text, &endpoint->to.prompts[which], reterr);
    free(text);
    return r;
}

int ulm_config_load_prompts(struct ulm_config *config, char *reterr)
{
    int r = 0;
    for (size_t i = 0; i < config->n_endpoints && r == 0; i++) {
        for (int which = 0; which < ULM_PROMPT_N && r == 0; which++)
            r = load_prompt(config, &config->endpoints[i], (enum ulm_prompt_text)which, reterr);
    }
    return r;
}

/* Keys */

/* 0 and a key the caller owns, -ENOENT, or another errno with `ret_why` set. */
static int read_key(const char *path, bool guarded, char **ret_key, const char **ret_why)
{
    struct stat st = {0};
    char *key = NULL;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

    *ret_why = r < 0 ? strerror(-r) : NULL;
    if (r == 0 && !S_ISREG(st.st_mode))
        *ret_why = "is not a regular file";
    else if (r == 0 && !guarded && (st.st_mode & (S_IRWXG | S_IRWXO)))
        *ret_why = "others than its owner may read or change it (chmod 600)";
    if (*ret_why) {
        if (fd >= 0)
            close(fd);
        return r < 0 ? r : -EPERM;
    }
    r = read_all(fd, ULM_KEY_MAX, &key, &len);
    close(fd);
    if (r < 0 || !key) {
        *ret_why = r == -EFBIG ? "is longer than 4096 bytes" : strerror(-r);
        return r == -ENOENT ? -EIO : r;
    }
    while (len > 0 && ulm_is_space(key[len - 1]))
        key[--len] = '\0';
    bool good = len > 0;
    for (size_t i = 0; i < len; i++)
        good = good && (unsigned char)key[i] > ' ' && (unsigned char)key[i] < 0x7F;
    if (!good) {
        *ret_why = "must hold one key of printable ASCII";
        explicit_bzero(key, len);
        free(key);
        return -EINVAL;
    }
    *ret_key = key;
    return 0;
}

/* 1: that was it; 0: there is no such file, and there may be none; -EINVAL with reterr. */
static int try_key(struct ulm_config_endpoint *endpoint, const char *path, bool guarded,
                   bool may_lack, char *reterr)
{
    const char *name = endpoint->to.name, *dot = *name ? "." : "", *why;
    int r = read_key(path, guarded, &endpoint->key, &why);
    if (r == -ENOENT && may_lack)
        return 0;
    if (r < 0 && path == endpoint->key_file)
        return ulm_config_fault(reterr, &endpoint->key_file_at, "[cloud%s%s] key_file: %s: %s", dot,
                                name, path, why);
    if (r < 0) /* from outside the configuration */
        return ulm_config_fault(reterr, &(struct ulm_config_at){path, 0},
                                "the key file of [cloud%s%s] is refused: %s", dot, name, why);
    endpoint->to.key = endpoint->key;
    return 1;
}

static int load_key(const struct ulm_config *config, struct ulm_config_endpoint *endpoint,
                    char *reterr)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    const char *named = getenv("ULMD_CLOUD_KEY_FILE");
    const char *name = endpoint->to.name;
    char path[PATH_MAX];

    /* systemd alone makes that directory, and keeps others out of it. */
    if (credentials && snprintf(path, sizeof path, "%s/ulmd.cloud-key%s%s", credentials,
                                *name ? "." : "", name) < (int)sizeof path) {
        int r = try_key(endpoint, path, /* guarded */ true, /* may_lack */ true, reterr);
        if (r != 0)
            return r;
    }
    if (endpoint->key_file)
        return try_key(endpoint, endpoint->key_file, false, false, reterr);
    /* One provider's key is not shown to another. */
    if (named && (!*name || config->n_endpoints == 1))
        return try_key(endpoint, named, false, false, reterr);
    return 0;
}

int ulm_config_load_keys(struct ulm_config *config, char *reterr)
{
    int r = 0;
    for (size_t i = 0; i < config->n_endpoints && r >= 0; i++)
        r = load_key(config, &config->endpoints[i], reterr);
    return r < 0 ? r : 0;
}
