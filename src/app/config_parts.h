/* SPDX-License-Identifier: MIT */
/* What the parts of the configuration's reader share. Private to app/config*. */
#ifndef ULM_APP_CONFIG_PARTS_H
#define ULM_APP_CONFIG_PARTS_H

#include <stddef.h>

#include "app/config.h"

/* A copy owned by the configuration, or NULL: out of memory. */
char *ulm_config_keep(struct ulm_config *config, const char *text, size_t len);

/* Writes "FILE:LINE: ..." (without the line where it is 0) to reterr; returns -EINVAL. */
int ulm_config_fault(char *reterr, const struct ulm_config_at *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* config_keys.c: the defaults, a section's header, one value. 0, -EINVAL with reterr, -ENOMEM. */
void ulm_config_set_defaults(struct ulm_config *config);
int ulm_config_section(struct ulm_config *config, const struct ulm_config_at *at,
                       const char *section, char *reterr);
int ulm_config_set(struct ulm_config *config, const struct ulm_config_at *at, const char *section,
                   const char *key, const char *value, char *reterr);
/* What no single value shows. */
int ulm_config_check(struct ulm_config *config, char *reterr);

/* config_read.c: text of the file named at.file -> ulm_config_section and ulm_config_set. */
int ulm_config_read_text(struct ulm_config *config, const char *file, const char *text, size_t len,
                         char *reterr);

/* config_files.c: a whole file of at most max bytes, NUL-terminated; the caller frees. */
int ulm_config_slurp(const char *path, size_t max, char **ret_text, size_t *ret_len);
/* The continuator texts of every endpoint. */
int ulm_config_load_prompts(struct ulm_config *config, char *reterr);
/* The keys of every endpoint that has one. */
int ulm_config_load_keys(struct ulm_config *config, char *reterr);

#endif
