/* SPDX-License-Identifier: MIT */
/* Values of the configuration: text -> field, checked. Private to app/config*. */
#ifndef ULM_APP_CONFIG_VALUES_H
#define ULM_APP_CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>

#include "app/config.h"

struct ulm_config_key;

/* Where a value goes; base is the configuration, or the endpoint of the present section. */
struct ulm_config_target {
    struct ulm_config *config;
    struct ulm_config_endpoint *endpoint;
    char *base;
};

/* 0, -EINVAL: not allowed, -ENOMEM. */
typedef int ulm_config_set_fn(const struct ulm_config_target *target,
                              const struct ulm_config_key *key, const char *value);

struct ulm_config_key {
    const char *section; /* "cloud" stands for every endpoint */
    const char *name;
    ulm_config_set_fn *set;
    size_t offset; /* of the field in target.base */
    double min, max;
    const char *allowed; /* for numbers made of min and max */
};

ulm_config_set_fn ulm_set_uint, ulm_set_uint_or_auto, ulm_set_double, ulm_set_confidence,
    ulm_set_top_p, ulm_set_seed, ulm_set_bool, ulm_set_mode, ulm_set_string, ulm_set_text,
    ulm_set_group, ulm_set_uids, ulm_set_gids, ulm_set_dbus, ulm_set_log_level, ulm_set_kernels, ulm_set_cores,
    ulm_set_words, ulm_set_neutral, ulm_set_allow, ulm_set_dialect, ulm_set_cloud_mode, ulm_set_url,
    ulm_set_headers, ulm_set_pins;

#endif
