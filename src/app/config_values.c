/* SPDX-License-Identifier: MIT */
#include "app/config_values.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <math.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app/config_parts.h"

#define FIELD(type_, target_, key_) ((type_ *)(void *)((target_)->base + (key_)->offset))

static int parse_number(const char *value, double min, double max, double *ret)
{
    char *end;
    errno = 0;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || errno != 0 || !(number >= min && number <= max) ||
        strpbrk(value, "xXnN")) /* neither hexadecimal, nor inf, nor nan */
        return -EINVAL;
    *ret = number;
    return 0;
}

int ulm_set_uint(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    double number;
    if (value[strspn(value, "0123456789")] != '\0' ||
        parse_number(value, key->min, key->max, &number) < 0)
        return -EINVAL;
    *FIELD(unsigned, t, key) = (unsigned)number;
    return 0;
}

/* 0 stands for auto. */
int ulm_set_uint_or_auto(const struct ulm_config_target *t, const struct ulm_config_key *key,
                         const char *value)
{
    if (strcmp(value, "auto") != 0)
        return ulm_set_uint(t, key, value);
    *FIELD(unsigned, t, key) = 0;
    return 0;
}

int ulm_set_double(const struct ulm_config_target *t, const struct ulm_config_key *key,
                   const char *value)
{
    return parse_number(value, key->min, key->max, FIELD(double, t, key));
}

int ulm_set_confidence(const struct ulm_config_target *t, const struct ulm_config_key *key,
                       const char *value)
{
    bool off = strcmp(value, "off") == 0;
    if (!off && strcmp(value, "model") != 0)
        return ulm_set_double(t, key, value);
    *FIELD(double, t, key) = off ? -INFINITY : NAN;
    return 0;
}

int ulm_set_top_p(const struct ulm_config_target *t, const struct ulm_config_key *key,
                  const char *value)
{
    double number;
    if (parse_number(value, 0, 1, &number) < 0 || number == 0)
        return -EINVAL;
    *FIELD(double, t, key) = number;
    return 0;
}

int ulm_set_seed(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    errno = 0;
    unsigned long long number = strtoull(value, NULL, 10);
    if (!*value || value[strspn(value, "0123456789")] != '\0' || errno != 0)
        return -EINVAL;
    *FIELD(uint64_t, t, key) = number;
    return 0;
}

static int parse_bool(const char *value, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
            *ret = strcasecmp(value, yes[i]) == 0;
            return 0;
        }
    }
    return -EINVAL;
}

int ulm_set_bool(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    return parse_bool(value, FIELD(bool, t, key));
}

int ulm_set_mode(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    size_t len = strlen(value);
    if (len < 3 || len > 4 || value[strspn(value, "01234567")] != '\0')
        return -EINVAL;
    unsigned long mode = strtoul(value, NULL, 8);
    if (mode > 0777)
        return -EINVAL;
    *FIELD(mode_t, t, key) = (mode_t)mode;
    return 0;
}

/* Quotes would be part of it, which nobody means: they are read around a text alone. */
int ulm_set_string(const struct ulm_config_target *t, const struct ulm_config_key *key,
                   const char *value)
{
    if (!*value || *value == '"')
        return -EINVAL;
    const char *kept = ulm_config_keep(t->config, value, strlen(value));
    if (!kept)
        return -ENOMEM;
    *FIELD(const char *, t, key) = kept;
    return 0;
}

/* Double quotes around a text keep the spaces at its ends. May be empty. */
int ulm_set_text(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    size_t len = strlen(value);
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value++;
        len -= 2;
    }
    const char *kept = ulm_config_keep(t->config, value, len);
    if (!kept)
        return -ENOMEM;
    *FIELD(const char *, t, key) = kept;
    return 0;
}

/* Runs each element of a list parted by any of `parts` through fn, white space off its ends. */
static int each(const struct ulm_config_target *t, const char *value, const char *parts,
                int (*fn)(const struct ulm_config_target *t, const char *element))
{
    for (;;) {
        size_t len = strcspn(value, parts);
        const char *from = value, *to = value + len;
        while (from < to && isspace((unsigned char)*from))
            from++;
        while (from < to && isspace((unsigned char)to[-1]))
            to--;
        if (from < to) {
            char *element = ulm_config_keep(t->config, from, (size_t)(to - from));
            int r = element ? fn(t, element) : -ENOMEM;
            if (r < 0)
                return r;
        }
        if (value[len] == '\0')
            return 0;
        value += len + 1;
    }
}

static int parse_id(const char *element, unsigned long *ret)
{
    char *end;
    errno = 0;
    unsigned long id = strtoul(element, &end, 10);
    if (!isdigit((unsigned char)*element) || *end != '\0' || errno != 0 || id >= UINT32_MAX)
        return -EINVAL;
    *ret = id;
    return 0;
}

static int add_uid(const struct ulm_config_target *t, const char *element)
{
    unsigned long id;
    const struct passwd *user = getpwnam(element);
    if (user)
        id = user->pw_uid;
    else if (parse_id(element, &id) < 0)
        return -EINVAL;
    if (t->config->n_allow_uids == ULM_CONFIG_IDS_MAX)
        return -EINVAL;
    t->config->allow_uids[t->config->n_allow_uids++] = (uid_t)id;
    return 0;
}

static int add_gid(const struct ulm_config_target *t, const char *element)
{
    unsigned long id;
    const struct group *group = getgrnam(element);
    if (group)
        id = group->gr_gid;
    else if (parse_id(element, &id) < 0)
        return -EINVAL;
    if (t->config->n_allow_gids == ULM_CONFIG_IDS_MAX)
        return -EINVAL;
    t->config->allow_gids[t->config->n_allow_gids++] = (gid_t)id;
    return 0;
}

int ulm_set_group(const struct ulm_config_target *t, const struct ulm_config_key *key,
                  const char *value)
{
    return getgrnam(value) ? ulm_set_string(t, key, value) : -EINVAL;
}

int ulm_set_uids(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    t->config->n_allow_uids = 0;
    return each(t, value, ", \t", add_uid);
}

int ulm_set_gids(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    t->config->n_allow_gids = 0;
    return each(t, value, ", \t", add_gid);
}

int ulm_set_dbus(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    static const char *const names[] = {"system", "session", "no"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(value, names[i]) == 0) {
            t->config->dbus = (enum ulm_bus_kind)i;
            return 0;
        }
    }
    return -EINVAL;
}

int ulm_set_log_level(const struct ulm_config_target *t, const struct ulm_config_key *key,
                      const char *value)
{
    return ulm_log_level_from_name(value, &t->config->log_level);
}

int ulm_set_kernels(const struct ulm_config_target *t, const struct ulm_config_key *key,
                    const char *value)
{
    static const char *const names[] = {"auto", "scalar", "avx2", "avx512", "neon", "dotprod"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i]) == 0)
            return ulm_set_string(t, key, value);
    }
    return -EINVAL;
}

int ulm_set_cores(const struct ulm_config_target *t, const struct ulm_config_key *key,
                  const char *value)
{
    if (strcmp(value, "auto") != 0 && value[strspn(value, "0123456789-,")] != '\0')
        return -EINVAL;
    return ulm_set_string(t, key, value);
}

int ulm_set_words(const struct ulm_config_target *t, const struct ulm_config_key *key,
                  const char *value)
{
    if (strcmp(value, "fixed") != 0 && strcmp(value, "auto") != 0)
        return -EINVAL;
    t->config->core.words_auto = *value == 'a';
    return 0;
}

static int add_neutral(const struct ulm_config_target *t, const char *element)
{
    if (t->config->core.n_neutral == ULM_CONFIG_NEUTRAL_MAX || strlen(element) > ULM_OPENER_MAX)
        return -EINVAL;
    t->config->neutral[t->config->core.n_neutral++] = element;
    return 0;
}

int ulm_set_neutral(const struct ulm_config_target *t, const struct ulm_config_key *key,
                    const char *value)
{
    t->config->core.n_neutral = 0;
    return each(t, value, "|", add_neutral);
}

static int add_correction(const struct ulm_config_target *t, const char *element)
{
    struct ulm_core_config *core = &t->config->core;
    if (strcmp(element, "pivot") == 0)
        core->allow_pivot = true;
    else if (strcmp(element, "fix") == 0)
        core->allow_fix = true;
    else if (strcmp(element, "redo") == 0)
        core->allow_redo = true;
    else
        return strcmp(element, "none") == 0 ? 0 : -EINVAL;
    return 0;
}

int ulm_set_allow(const struct ulm_config_target *t, const struct ulm_config_key *key,
                  const char *value)
{
    struct ulm_core_config *core = &t->config->core;
    core->allow_pivot = core->allow_fix = core->allow_redo = false;
    return *value ? each(t, value, ", \t", add_correction) : -EINVAL;
}

int ulm_set_dialect(const struct ulm_config_target *t, const struct ulm_config_key *key,
                    const char *value)
{
    return ulm_dialect_from_name(value, &t->endpoint->to.dialect);
}

int ulm_set_cloud_mode(const struct ulm_config_target *t, const struct ulm_config_key *key,
                       const char *value)
{
    if (strcmp(value, "instruct") != 0 && strcmp(value, "prefill") != 0)
        return -EINVAL;
    t->endpoint->to.mode = *value == 'i' ? ULM_CLOUD_INSTRUCT : ULM_CLOUD_PREFILL;
    return 0;
}

/* Here, so that the line is named; the cloud looks at the rest. */
static bool is_base_url(const char *url)
{
    bool secure = strncasecmp(url, "https://", 8) == 0;
    if (!secure && strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + (secure ? 8 : 7);
    return *host && !memchr(host, '@', strcspn(host, "/?#")) && !strpbrk(url, " \t?#");
}

int ulm_set_url(const struct ulm_config_target *t, const struct ulm_config_key *key,
                const char *value)
{
    return is_base_url(value) ? ulm_set_string(t, key, value) : -EINVAL;
}

/* Several are parted by semicolons. What does not begin so would be taken for a file. */
int ulm_set_pins(const struct ulm_config_target *t, const struct ulm_config_key *key,
                 const char *value)
{
    static const char start[] = "sha256//";
    static const char base64[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    for (const char *p = value;; p++) {
        if (strncmp(p, start, strlen(start)) != 0)
            return -EINVAL;
        p += strlen(start);
        size_t len = strspn(p, base64);
        p += len;
        if (len != 44 || (*p && *p != ';')) /* 32 bytes */
            return -EINVAL;
        if (!*p)
            return ulm_set_string(t, key, value);
    }
}

static int add_header(const struct ulm_config_target *t, const char *element)
{
    struct ulm_config_endpoint *endpoint = t->endpoint;
    const char *colon = strchr(element, ':');
    if (!colon || colon == element || endpoint->to.n_extra_headers == ULM_CONFIG_HEADERS_MAX)
        return -EINVAL;
    for (const char *p = element; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7F || (p < colon && *p == ' '))
            return -EINVAL;
    }
    endpoint->headers[endpoint->to.n_extra_headers++] = element;
    return 0;
}

int ulm_set_headers(const struct ulm_config_target *t, const struct ulm_config_key *key,
                    const char *value)
{
    t->endpoint->to.n_extra_headers = 0;
    return each(t, value, "|", add_header);
}
