/* SPDX-License-Identifier: MIT */
/*
 * The configuration: files in, one checked structure out. A mistake names its file, its line, the
 * key and what is allowed.
 */
#ifndef ULM_APP_CONFIG_H
#define ULM_APP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <ulmd/cloud.h>
#include <ulmd/engine.h>
#include <ulmd/limits.h>
#include <ulmd/session.h>

#include "front/peer.h"
#include "util/log.h"

#define ULM_CONFIG_IDS_MAX     64u /* entries of allow_uids, allow_gids */
#define ULM_CONFIG_NEUTRAL_MAX 32u
#define ULM_CONFIG_HEADERS_MAX 16u /* extra headers of one endpoint */
#define ULM_CONFIG_ERROR_MAX   512u

enum ulm_bus_kind {
    ULM_BUS_SYSTEM,
    ULM_BUS_SESSION,
    ULM_BUS_NO,
};

/* Where something stands, for messages; the file is the configuration's string. */
struct ulm_config_at {
    const char *file; /* NULL = nowhere: it is a default */
    int line;
};

/* An endpoint as it is configured; what the cloud takes of it is in `to`. */
struct ulm_config_endpoint {
    struct ulm_endpoint_config to;
    const char *key_file;    /* or NULL */
    const char *prompt_file; /* or NULL; in place of the tagged text */
    const char *headers[ULM_CONFIG_HEADERS_MAX];
    struct ulm_config_at at; /* its section's beginning */
    const char *file;        /* in which its section was met last */
    struct ulm_config_at url_at, key_file_at, prompt_file_at;
    char *key; /* owned, wiped */
};

/* Strings are owned by the configuration, and live as long as it does. */
struct ulm_config {
    /* [daemon] */
    const char *socket; /* NULL = default */
    struct ulm_config_at socket_at;
    mode_t socket_mode;
    const char *socket_group;
    uid_t allow_uids[ULM_CONFIG_IDS_MAX];
    gid_t allow_gids[ULM_CONFIG_IDS_MAX];
    size_t n_allow_uids, n_allow_gids;
    unsigned max_clients;
    struct ulm_quota quota;
    const char *state_dir; /* or NULL */
    struct ulm_config_at state_dir_at;
    enum ulm_bus_kind dbus;
    enum ulm_log_level log_level;
    bool log_text;

    struct ulm_engine_config engine; /* [model]; path NULL = no model; wake is the caller's */
    struct ulm_config_at path_at, kernels_at, context_at, cores_at, system_at;
    struct ulm_core_config core;     /* the rest; its lists point into this structure */
    struct ulm_config_at words_at;   /* min_words or max_words, whichever came last */
    const char *neutral[ULM_CONFIG_NEUTRAL_MAX];

    struct ulm_config_endpoint endpoints[ULM_ENDPOINTS_MAX];
    size_t n_endpoints;
    struct ulm_endpoint_config cloud_endpoints[ULM_ENDPOINTS_MAX]; /* ulm_config_cloud fills it */

    struct ulm_config_string *strings; /* owned, all of them */
};

/* Reads `path` alone, or where it is NULL the files of the default place (none is no error).
 * Checks everything, loads prompt texts and keys. <0: errno, with one line in reterr. */
int ulm_config_load(const char *path, struct ulm_config **ret_config,
                    char reterr[static ULM_CONFIG_ERROR_MAX]);
/* Keys are wiped. NULL is allowed. Returns NULL. */
struct ulm_config *ulm_config_free(struct ulm_config *config);

/* As ulm_config_load, of a text that stands for the file `name`: no keys, no prompts, no defaults
 * of the environment. */
int ulm_config_parse(const char *name, const char *text, size_t len, struct ulm_config **ret_config,
                     char reterr[static ULM_CONFIG_ERROR_MAX]);

/* Once the model is known; info NULL: there is none. Puts in what its file advises where the
 * configuration leaves it to the model (min_confidence), and logs a warning for each thing that a
 * daemon can start with but nobody can want. Returns how many there are. */
int ulm_config_complete(struct ulm_config *config, const struct ulm_model_info *info);

/* Once the cloud has its copies. */
void ulm_config_wipe_keys(struct ulm_config *config);

/* What the cloud is to be made of, pointing into the configuration; false: none is configured. */
bool ulm_config_cloud(struct ulm_config *config, struct ulm_cloud_config *ret_cloud);

/* Where to listen; the default is written to path, and root makes its directory. */
const char *ulm_config_socket(const struct ulm_config *config, char *path, size_t size);

/* Whether the socket could be made where the configuration says; a default place is not looked at:
 * its directory comes with the socket unit. <0: errno, with one line in reterr. */
int ulm_config_check_socket(const struct ulm_config *config,
                            char reterr[static ULM_CONFIG_ERROR_MAX]);

/* Puts before an error about the socket, or of ulm_engine_new (`fault` is what it returned), where
 * the key at fault stands: "FILE:LINE: [section] key: ". One that no file sets stays unnamed. */
void ulm_config_name_socket(const struct ulm_config *config,
                            char reterr[static ULM_CONFIG_ERROR_MAX]);
void ulm_config_name_model(const struct ulm_config *config, int fault,
                           char reterr[static ULM_CONFIG_ERROR_MAX]);

/* Which keys that are only read at start differ from those the daemon was started with? Their names
 * into ret, with ", " between them; false: none. */
bool ulm_config_needs_restart(const struct ulm_config *started, const struct ulm_config *now,
                              char ret[static ULM_CONFIG_ERROR_MAX]);

#endif
