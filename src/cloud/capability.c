/* SPDX-License-Identifier: MIT */
#include "cloud/capability.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/cjson.h"
#include "util/json.h"

#define FILE_NAME     "capabilities.json"
#define FILE_MAX      (256u * 1024)
#define LIFETIME_S    (7 * 24 * INT64_C(3600))
#define DEPTH_MAX     4u
#define MINUTE_US     (60 * INT64_C(1000000))
#define WINDOW        10
#define MISSES_TO_BAD 3

static const char *const known_names[] = {"unknown", "yes", "no"};

const char *ulm_known_name(enum ulm_known known)
{
    return known_names[known];
}

static enum ulm_known known_from_name(const char *name)
{
    for (unsigned i = 0; name && i < sizeof known_names / sizeof *known_names; i++) {
        if (strcmp(name, known_names[i]) == 0)
            return (enum ulm_known)i;
    }
    return ULM_KNOWN_UNKNOWN;
}

void ulm_capability_expire(struct ulm_capability *capability, int64_t now_s)
{
    if (capability->learned_s <= now_s && now_s - capability->learned_s < LIFETIME_S)
        return;
    capability->prefill = capability->echo = ULM_KNOWN_UNKNOWN;
    capability->learned_s = 0;
}

static int read_file(const char *path, struct ulm_buf *buf)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int r = 0;
    if (fd < 0)
        return -errno;
    for (;;) {
        char bytes[4096];
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0)
            r = -errno;
        if (n > 0)
            r = ulm_buf_add(buf, bytes, (size_t)n);
        if (n <= 0 || r < 0)
            break;
    }
    (void)close(fd);
    return r;
}

static void read_entry(const cJSON *entry, struct ulm_capability *capability, int64_t now_s)
{
    const char *url = ulm_json_text(entry, "url"), *model = ulm_json_text(entry, "model");
    double learned = ulm_json_number(entry, "learned", 0);
    if (!url || !model || strcmp(url, capability->url) != 0 ||
        strcmp(model, capability->model) != 0 || learned < 0 || learned > 1e15)
        return;
    capability->prefill = known_from_name(ulm_json_text(entry, "prefill"));
    capability->echo = known_from_name(ulm_json_text(entry, "echo"));
    capability->learned_s = (int64_t)learned;
    ulm_capability_expire(capability, now_s);
}

int ulm_capabilities_load(const char *state_dir, struct ulm_capability *const *capabilities,
                          size_t n, int64_t now_s)
{
    ULM_CLEANUP_BUF struct ulm_buf text = ULM_BUF_INIT(FILE_MAX);
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, state_dir) >= sizeof path)
        return -ENAMETOOLONG;
    int r = read_file(path, &text);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = ulm_json_check(text.data, text.len, DEPTH_MAX);
    if (r < 0)
        return r;
    cJSON *json = cJSON_ParseWithLength(text.data, text.len);
    if (!json)
        return -ENOMEM;
    const cJSON *models = ulm_json_member(json, "models");
    for (const cJSON *entry = cJSON_IsArray(models) ? models->child : NULL; entry;
         entry = entry->next) {
        for (size_t i = 0; i < n; i++)
            read_entry(entry, capabilities[i], now_s);
    }
    cJSON_Delete(json);
    return 0;
}

static int write_entries(struct ulm_buf *buf, const struct ulm_capability *const *capabilities,
                         size_t n)
{
    bool first = true;
    int r = ulm_buf_add_str(buf, "{\"models\":[");
    for (size_t i = 0; i < n && r == 0; i++) {
        const struct ulm_capability *c = capabilities[i];
        if (c->prefill == ULM_KNOWN_UNKNOWN && c->echo == ULM_KNOWN_UNKNOWN)
            continue;
        r = ulm_buf_add_str(buf, first ? "\n{\"url\":" : ",\n{\"url\":");
        if (r == 0)
            r = ulm_json_add_string(buf, c->url);
        if (r == 0)
            r = ulm_buf_add_str(buf, ",\"model\":");
        if (r == 0)
            r = ulm_json_add_string(buf, c->model);
        if (r == 0)
            r = ulm_buf_add_fmt(buf, ",\"prefill\":\"%s\",\"echo\":\"%s\",\"learned\":%lld}",
                                known_names[c->prefill], known_names[c->echo],
                                (long long)c->learned_s);
        first = false;
    }
    return r == 0 ? ulm_buf_add_str(buf, "\n]}\n") : r;
}

static int write_file(const char *path, const struct ulm_buf *buf)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int r = 0;
    for (size_t at = 0; at < buf->len && r == 0;) {
        ssize_t n = write(fd, buf->data + at, buf->len - at);
        if (n < 0 && errno != EINTR)
            r = -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    if (r == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

int ulm_capabilities_save(const char *state_dir, const struct ulm_capability *const *capabilities,
                          size_t n)
{
    ULM_CLEANUP_BUF struct ulm_buf text = ULM_BUF_INIT(FILE_MAX);
    char path[4096], fresh[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, state_dir) >= sizeof path ||
        (size_t)snprintf(fresh, sizeof fresh, "%s/" FILE_NAME ".new", state_dir) >= sizeof fresh)
        return -ENAMETOOLONG;
    int r = write_entries(&text, capabilities, n);
    if (r == 0)
        r = write_file(fresh, &text);
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(fresh);
    return r;
}

void ulm_tags_report(struct ulm_tags *tags, bool seen, unsigned peer, int64_t now_us)
{
    if (!seen) {
        /* Whoever asks for what makes the model forget its tag counts once a minute, so that one
         * client cannot turn the others' verdicts off. */
        size_t oldest = 0;
        for (size_t i = 0; i < ULM_TAG_PEERS; i++) {
            if (tags->peers[i].used && tags->peers[i].peer == peer) {
                if (now_us - tags->peers[i].missed_us < MINUTE_US)
                    return;
                oldest = i;
                break;
            }
            if (tags->peers[oldest].used &&
                (!tags->peers[i].used || tags->peers[i].missed_us < tags->peers[oldest].missed_us))
                oldest = i;
        }
        tags->peers[oldest].used = true;
        tags->peers[oldest].peer = peer;
        tags->peers[oldest].missed_us = now_us;
    }
    tags->reported = true;
    tags->window = (tags->window << 1 | (seen ? 0u : 1u)) & ((1u << WINDOW) - 1);
    if (__builtin_popcount(tags->window) >= MISSES_TO_BAD) {
        tags->bad_until_us = now_us + 10 * MINUTE_US;
        tags->window = 0;
    }
}

const char *ulm_tags_name(const struct ulm_tags *tags, int64_t now_us)
{
    if (ulm_tags_bad(tags, now_us))
        return "bad";
    return tags->reported ? "ok" : "unknown";
}

bool ulm_tags_bad(const struct ulm_tags *tags, int64_t now_us)
{
    return now_us < tags->bad_until_us;
}
