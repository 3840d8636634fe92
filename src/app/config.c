/* SPDX-License-Identifier: MIT */
#include "app/config.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_parts.h"
#include "front/listen.h"
#include "util/text.h"

#define FILE_MAX          (256u * 1024)
#define SYSTEM_SOCKET_DIR "/run/ulmd"

struct ulm_config_string {
    struct ulm_config_string *next;
    char text[];
};

char *ulm_config_keep(struct ulm_config *config, const char *text, size_t len)
{
    struct ulm_config_string *string = malloc(sizeof *string + len + 1);
    if (!string)
        return NULL;
    memcpy(string->text, text, len);
    string->text[len] = '\0';
    string->next = config->strings;
    config->strings = string;
    return string->text;
}

int ulm_config_fault(char *reterr, const struct ulm_config_at *at, const char *format, ...)
{
    va_list args;
    int n = at->line > 0 ? snprintf(reterr, ULM_CONFIG_ERROR_MAX, "%s:%d: ", at->file, at->line)
                         : snprintf(reterr, ULM_CONFIG_ERROR_MAX, "%s: ", at->file);
    if (n < 0 || (unsigned)n >= ULM_CONFIG_ERROR_MAX)
        return -EINVAL;
    va_start(args, format);
    (void)vsnprintf(reterr + n, ULM_CONFIG_ERROR_MAX - (size_t)n, format, args);
    va_end(args);
    ulm_tame(reterr); /* one line, whatever the file holds */
    return -EINVAL;
}

void ulm_config_wipe_keys(struct ulm_config *config)
{
    for (size_t i = 0; i < config->n_endpoints; i++) {
        struct ulm_config_endpoint *endpoint = &config->endpoints[i];
        if (endpoint->key)
            explicit_bzero(endpoint->key, strlen(endpoint->key));
        free(endpoint->key);
        endpoint->key = NULL;
        endpoint->to.key = NULL;
        config->cloud_endpoints[i].key = NULL;
    }
}

struct ulm_config *ulm_config_free(struct ulm_config *config)
{
    if (!config)
        return NULL;
    ulm_config_wipe_keys(config);
    while (config->strings) {
        struct ulm_config_string *next = config->strings->next;
        free(config->strings);
        config->strings = next;
    }
    free(config);
    return NULL;
}

static int new_config(struct ulm_config **ret)
{
    struct ulm_config *config = calloc(1, sizeof *config);
    if (!config)
        return -ENOMEM;
    ulm_config_set_defaults(config);
    *ret = config;
    return 0;
}

int ulm_config_parse(const char *name, const char *text, size_t len, struct ulm_config **ret_config,
                     char reterr[static ULM_CONFIG_ERROR_MAX])
{
    struct ulm_config *config;
    int r = new_config(&config);
    if (r < 0)
        return r;
    r = ulm_config_read_text(config, name, text, len, reterr);
    if (r == 0)
        r = ulm_config_check(config, reterr);
    if (r < 0) {
        ulm_config_free(config);
        return r;
    }
    *ret_config = config;
    return 0;
}

static int read_file(struct ulm_config *config, const char *path, bool may_lack, char *reterr)
{
    const struct ulm_config_at at = {path, 0};
    char *text;
    size_t len;
    int r = ulm_config_slurp(path, FILE_MAX, &text, &len);
    if (r == -ENOENT && may_lack)
        return 0;
    if (r < 0) {
        ulm_config_fault(reterr, &at, "%s", strerror(-r));
        return r;
    }
    r = ulm_config_read_text(config, path, text, len, reterr);
    free(text);
    return r;
}

static int is_conf(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* without a locale */
}

static int read_default_files(struct ulm_config *config, char *reterr)
{
    static const char dir[] = ULMD_CONFDIR "/ulmd.conf.d";
    int r = read_file(config, ULMD_CONFDIR "/ulmd.conf", /* may_lack */ true, reterr);
    if (r < 0)
        return r;

    struct dirent **entries;
    int n = scandir(dir, &entries, is_conf, compare_names);
    if (n < 0)
        return errno == ENOENT ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        if (r == 0)
            r = read_file(config, path, /* may_lack */ false, reterr);
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* systemd may give several, parted by colons: the first is ours. */
static int default_state_dir(struct ulm_config *config)
{
    const char *dir = getenv("STATE_DIRECTORY");
    if (config->state_dir || !dir || !*dir)
        return 0;
    config->state_dir = ulm_config_keep(config, dir, strcspn(dir, ":"));
    return config->state_dir ? 0 : -ENOMEM;
}

int ulm_config_load(const char *path, struct ulm_config **ret_config,
                    char reterr[static ULM_CONFIG_ERROR_MAX])
{
    struct ulm_config *config;
    snprintf(reterr, ULM_CONFIG_ERROR_MAX, "the configuration cannot be read");
    int r = new_config(&config);
    if (r < 0)
        return r;
    r = path ? read_file(config, path, /* may_lack */ false, reterr)
             : read_default_files(config, reterr);
    if (r == 0)
        r = ulm_config_check(config, reterr);
    if (r == 0)
        r = default_state_dir(config);
    if (r == 0)
        r = ulm_config_load_prompts(config, reterr);
    if (r == 0)
        r = ulm_config_load_keys(config, reterr);
    if (r < 0) {
        ulm_config_free(config);
        return r;
    }
    *ret_config = config;
    return 0;
}

bool ulm_config_cloud(struct ulm_config *config, struct ulm_cloud_config *ret_cloud)
{
    for (size_t i = 0; i < config->n_endpoints; i++)
        config->cloud_endpoints[i] = config->endpoints[i].to;
    *ret_cloud = (struct ulm_cloud_config){
        .endpoints = config->cloud_endpoints,
        .n_endpoints = config->n_endpoints,
        .state_dir = config->state_dir,
    };
    return config->n_endpoints > 0;
}

const char *ulm_config_socket(const struct ulm_config *config, char *path, size_t size)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    if (config->socket)
        return config->socket;
    if (geteuid() == 0 || !dir || *dir != '/') {
        dir = SYSTEM_SOCKET_DIR;
        if (geteuid() == 0 && mkdir(dir, 0755) == 0)
            (void)chmod(dir, 0755); /* whatever the umask */
    }
    snprintf(path, size, "%s/ulmd.sock", dir);
    return path;
}

int ulm_config_check_socket(const struct ulm_config *config,
                            char reterr[static ULM_CONFIG_ERROR_MAX])
{
    int r = config->socket ? ulm_listener_check(config->socket, reterr, ULM_CONFIG_ERROR_MAX) : 0;
    if (r < 0)
        ulm_config_name_socket(config, reterr);
    return r;
}

static void name_key(const struct ulm_config_at *at, const char *key, char *reterr)
{
    char said[ULM_CONFIG_ERROR_MAX];
    memcpy(said, reterr, sizeof said);
    if (at->file)
        (void)ulm_config_fault(reterr, at, "%s: %s", key, said);
}

void ulm_config_name_socket(const struct ulm_config *config,
                            char reterr[static ULM_CONFIG_ERROR_MAX])
{
    name_key(&config->socket_at, "[daemon] socket", reterr);
}

void ulm_config_name_model(const struct ulm_config *config, int fault,
                           char reterr[static ULM_CONFIG_ERROR_MAX])
{
    if (fault == ULM_ENGINE_KERNELS)
        name_key(&config->kernels_at, "[model] kernels", reterr);
    else if (fault == ULM_ENGINE_CORES)
        name_key(&config->cores_at, "[model] cores", reterr);
    else if (fault == ULM_ENGINE_SYSTEM)
        name_key(&config->system_at, "[model] system", reterr);
    else
        name_key(&config->path_at, "[model] path", reterr);
}

static void warn(const struct ulm_config_at *at, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void warn(const struct ulm_config_at *at, const char *format, ...)
{
    char said[ULM_CONFIG_ERROR_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(said, sizeof said, format, args);
    va_end(args);
    if (at->file)
        ulm_log(ULM_LOG_WARNING, "%s:%d: %s", at->file, at->line, said);
    else
        ulm_log(ULM_LOG_WARNING, "%s", said);
}

/* The path that a dialect appends, where the url ends in it already; else NULL. */
static const char *appended(const char *url)
{
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    for (size_t i = 0; i < ULM_DIALECT_N; i++) {
        const char *path = ulm_dialect_path((enum ulm_dialect)i);
        size_t n = strlen(path);
        if (len > n && strncmp(url + len - n, path, n) == 0)
            return path;
    }
    return NULL;
}

static int check_state_dir(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    return access(path, W_OK | X_OK) < 0 ? -errno : 0;
}

int ulm_config_complete(struct ulm_config *config, const struct ulm_model_info *info)
{
    int n = 0;
    if (isnan(config->core.min_confidence))
        config->core.min_confidence = info ? info->min_confidence : -INFINITY;

    if (!config->engine.path && config->n_endpoints == 0) {
        ulm_log(ULM_LOG_WARNING, "no question can be answered: neither path in [model] nor "
                                 "url and model in [cloud] are set");
        n++;
    }
    for (size_t i = 0; i < config->n_endpoints; i++) {
        const struct ulm_config_endpoint *endpoint = &config->endpoints[i];
        const char *name = endpoint->to.name, *path = appended(endpoint->to.url);
        if (!path)
            continue;
        warn(&endpoint->url_at, "[cloud%s%s] url: ends in %s, which a dialect appends by itself",
             *name ? "." : "", name, path);
        n++;
    }
    int r = config->state_dir ? check_state_dir(config->state_dir) : 0;
    if (r < 0) {
        warn(&config->state_dir_at,
             "[daemon] state_dir: %s: %s; what is learnt about the cloud is not kept",
             config->state_dir, strerror(-r));
        n++;
    }
    if (info && info->trained > 0 && config->engine.context > info->trained) {
        warn(&config->context_at,
             "[model] context: %u is more than the model's own %u; beyond it understands less",
             config->engine.context, info->trained);
        n++;
    }
    return n;
}

static bool differ(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0);
}

bool ulm_config_needs_restart(const struct ulm_config *started, const struct ulm_config *now,
                              char ret[static ULM_CONFIG_ERROR_MAX])
{
    const struct ulm_engine_config *a = &started->engine, *b = &now->engine;
    const struct {
        const char *key;
        bool differs;
    } keys[] = {
        {"[daemon] socket", differ(started->socket, now->socket)},
        {"[daemon] socket_mode", started->socket_mode != now->socket_mode},
        {"[daemon] socket_group", differ(started->socket_group, now->socket_group)},
        {"[daemon] dbus", started->dbus != now->dbus},
        {"[daemon] log_text", started->log_text != now->log_text},
        {"[model] path", differ(a->path, b->path)},
        {"[model] threads", a->threads != b->threads},
        {"[model] cores", differ(a->cores, b->cores)},
        {"[model] kernels", differ(a->kernels, b->kernels)},
        {"[model] context", a->context != b->context},
        {"[model] system", differ(a->system, b->system)},
    };
    size_t len = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].differs)
            len += (size_t)snprintf(ret + len, ULM_CONFIG_ERROR_MAX - len, "%s%s",
                                    len > 0 ? ", " : "", keys[i].key); /* they fit, all of them */
    }
    return len > 0;
}
