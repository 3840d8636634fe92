/* SPDX-License-Identifier: MIT */
/* Every key: its section, its place, what is allowed and its default. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/config_parts.h"
#include "app/config_values.h"

#define MINUTE_MS      60000.0
#define TEN_MINUTES_MS (10 * MINUTE_MS)

#define AT(field_) offsetof(struct ulm_config, field_)
#define IN(field_) offsetof(struct ulm_config_endpoint, field_)

static const struct ulm_config_key keys[] = {
    {"daemon", "socket", ulm_set_string, AT(socket), 0, 0, "a path"},
    {"daemon", "socket_mode", ulm_set_mode, AT(socket_mode), 0, 0, "an octal mode such as 0660"},
    {"daemon", "socket_group", ulm_set_group, AT(socket_group), 0, 0, "a group of this system"},
    {"daemon", "allow_uids", ulm_set_uids, 0, 0, 0, "up to 64 user names or numbers"},
    {"daemon", "allow_gids", ulm_set_gids, 0, 0, 0, "up to 64 group names or numbers"},
    {"daemon", "max_clients", ulm_set_uint, AT(max_clients), 1, ULM_CLIENTS_MAX, NULL},
    {"daemon", "max_requests", ulm_set_uint, AT(core.max_requests), 1, ULM_REQUESTS_MAX, NULL},
    {"daemon", "client_connections", ulm_set_uint, AT(quota.connections), 0, ULM_CLIENTS_MAX, NULL},
    {"daemon", "client_requests", ulm_set_uint, AT(quota.requests), 0, ULM_REQUESTS_MAX, NULL},
    {"daemon", "client_tokens_per_minute", ulm_set_uint, AT(quota.tokens_per_minute), 0, 1e9, NULL},
    {"daemon", "state_dir", ulm_set_string, AT(state_dir), 0, 0, "a path"},
    {"daemon", "dbus", ulm_set_dbus, 0, 0, 0, "system, session or no"},
    {"daemon", "log_level", ulm_set_log_level, 0, 0, 0, "error, warning, notice, info or debug"},
    {"daemon", "log_text", ulm_set_bool, AT(log_text), 0, 0, "yes or no"},

    {"model", "path", ulm_set_string, AT(engine.path), 0, 0, "a path"},
    {"model", "threads", ulm_set_uint_or_auto, AT(engine.threads), 1, 64, "auto, or 1 to 64"},
    {"model", "cores", ulm_set_cores, AT(engine.cores), 0, 0, "auto, or a list such as 4-7"},
    {"model", "kernels", ulm_set_kernels, AT(engine.kernels), 0, 0,
     "auto, scalar, avx2, avx512, neon or dotprod"},
    {"model", "context", ulm_set_uint, AT(engine.context), 512, 32768, NULL},
    {"model", "system", ulm_set_text, AT(engine.system), 0, 0, "a text"},

    {"opener", "min_words", ulm_set_uint, AT(core.opener.min_words), 1, ULM_WORDS_MAX, NULL},
    {"opener", "max_words", ulm_set_uint, AT(core.opener.max_words), 1, ULM_WORDS_MAX, NULL},
    {"opener", "words", ulm_set_words, 0, 0, 0, "fixed or auto"},
    {"opener", "guard", ulm_set_bool, AT(core.opener.guard), 0, 0, "yes or no"},
    {"opener", "ahead", ulm_set_bool, AT(core.ahead), 0, 0, "yes or no"},
    {"opener", "min_confidence", ulm_set_confidence, AT(core.min_confidence), -100, 0,
     "model, off, or a mean log-probability from -100 to 0"},
    {"opener", "neutral", ulm_set_neutral, 0, 0, 0,
     "up to 32 texts of at most 512 bytes, parted by |"},
    {"opener", "beam", ulm_set_uint, AT(core.opener.beam), 1, ULM_BEAM_MAX, NULL},
    {"opener", "temperature", ulm_set_double, AT(core.opener.temperature), 0, 10, NULL},
    {"opener", "top_p", ulm_set_top_p, AT(core.opener.top_p), 0, 0, "a number above 0, at most 1"},
    {"opener", "seed", ulm_set_seed, AT(core.opener.seed), 0, 0, "a whole number of 64 bits"},
    {"opener", "opener_wait_ms", ulm_set_uint, AT(core.opener_wait_ms), 1, MINUTE_MS, NULL},

    {"cloud", "dialect", ulm_set_dialect, 0, 0, 0,
     "openai-chat, openai-responses, anthropic, mistral, deepseek, vllm, sglang, llama-server, "
     "ollama or openrouter"},
    {"cloud", "url", ulm_set_url, IN(to.url), 0, 0,
     "an http or https base URL without user, query or fragment"},
    {"cloud", "unix_socket", ulm_set_string, IN(to.unix_socket), 0, 0, "a path"},
    {"cloud", "allow_http", ulm_set_bool, IN(to.allow_http), 0, 0, "yes or no"},
    {"cloud", "model", ulm_set_string, IN(to.model), 0, 0, "a model's name"},
    {"cloud", "key_file", ulm_set_string, IN(key_file), 0, 0, "a path"},
    {"cloud", "mode", ulm_set_cloud_mode, 0, 0, 0, "instruct or prefill"},
    {"cloud", "prompt_file", ulm_set_string, IN(prompt_file), 0, 0, "a path"},
    {"cloud", "max_tokens", ulm_set_uint, IN(to.max_tokens), 1, 100000, NULL},
    {"cloud", "reasoning_effort", ulm_set_string, IN(to.reasoning_effort), 0, 0, "a word"},
    {"cloud", "extra_headers", ulm_set_headers, 0, 0, 0, "up to 16 of Name: value, parted by |"},
    {"cloud", "ca_file", ulm_set_string, IN(to.ca_file), 0, 0, "a path"},
    {"cloud", "pinned_key", ulm_set_pins, IN(to.pinned_key), 0, 0,
     "sha256//... of public keys, parted by ;"},
    {"cloud", "proxy", ulm_set_string, IN(to.proxy), 0, 0, "a proxy's URL"},
    {"cloud", "keepalive_s", ulm_set_uint, IN(to.keepalive_s), 1, 86400, NULL},
    {"cloud", "hedge", ulm_set_bool, IN(to.hedge), 0, 0, "yes or no"},

    {"deadlines", "first_byte_ms", ulm_set_uint, AT(core.first_byte_ms), 1, TEN_MINUTES_MS, NULL},
    {"deadlines", "first_text_ms", ulm_set_uint, AT(core.first_text_ms), 1, TEN_MINUTES_MS, NULL},
    {"deadlines", "thinking_ms", ulm_set_uint, AT(core.thinking_ms), 1, TEN_MINUTES_MS, NULL},
    {"deadlines", "stalled_ms", ulm_set_uint, AT(core.stalled_ms), 1, TEN_MINUTES_MS, NULL},
    {"deadlines", "idle_ms", ulm_set_uint, AT(core.idle_ms), 1, TEN_MINUTES_MS, NULL},
    {"deadlines", "total_ms", ulm_set_uint, AT(core.total_ms), 1, TEN_MINUTES_MS, NULL},

    {"corrections", "allow", ulm_set_allow, 0, 0, 0, "some of pivot, fix and redo, or none"},
    {"corrections", "redo_phrase", ulm_set_text, AT(core.redo_phrase), 0, 0, "a text"},
    {"corrections", "local_close", ulm_set_text, AT(core.local_close), 0, 0, "a text"},
    {"corrections", "failed_close", ulm_set_text, AT(core.failed_close), 0, 0, "a text"},
    {"corrections", "refused_close", ulm_set_text, AT(core.refused_close), 0, 0, "a text"},
    {"corrections", "length_close", ulm_set_text, AT(core.length_close), 0, 0, "a text"},

    {"sessions", "max", ulm_set_uint, AT(core.max_sessions), 0, 4096, NULL},
    {"sessions", "turns", ulm_set_uint, AT(core.session_turns), 0, ULM_TURNS_MAX, NULL},
};

void ulm_config_set_defaults(struct ulm_config *config)
{
    config->socket_mode = 0660;
    config->max_clients = 256;
    config->dbus = ULM_BUS_SYSTEM;
    config->log_level = ULM_LOG_INFO;
    config->engine = (struct ulm_engine_config){.cores = "auto", .kernels = "auto", .context = 512};
    config->core = (struct ulm_core_config){
        .max_requests = 64,
        .opener = {.min_words = 4, .max_words = 8, .guard = true, .beam = 1, .top_p = 1},
        .ahead = true,
        .min_confidence = NAN,
        .neutral = config->neutral,
        .opener_wait_ms = 300,
        .first_byte_ms = 4500,
        .first_text_ms = 12000,
        .thinking_ms = 2000,
        .stalled_ms = 4000,
        .idle_ms = 10000,
        .total_ms = 30000,
        .allow_pivot = true,
        .allow_fix = true,
        .allow_redo = true,
        .redo_phrase = ", sorry, let me start again. ",
        .local_close = "I'll need a connection for that.",
        .failed_close = "I can't answer that right now.",
        .refused_close = "I can't help with that.",
        .length_close = "",
        .max_sessions = 32,
        .session_turns = 6,
    };
}

/* Sections */

static bool is_cloud(const char *section)
{
    return strcmp(section, "cloud") == 0 || strncmp(section, "cloud.", 6) == 0;
}

/* The endpoint's name within its section's: "" or NAME, which also names a credential's file. */
static const char *endpoint_name(const char *section)
{
    return section[5] == '.' ? section + 6 : "";
}

static struct ulm_config_endpoint *find_endpoint(struct ulm_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_endpoints; i++) {
        if (strcmp(config->endpoints[i].to.name, name) == 0)
            return &config->endpoints[i];
    }
    return NULL;
}

static int add_endpoint(struct ulm_config *config, const struct ulm_config_at *at,
                        const char *section, char *reterr)
{
    const char *name = endpoint_name(section);
    size_t len = strlen(name);
    if (section[5] == '.' && (len == 0 || len > 32 || strcmp(name, ulm_endpoint_title("")) == 0 ||
                              name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                "0123456789_-")]))
        return ulm_config_fault(reterr, at,
                                "[%s]: NAME in [cloud.NAME] must be 1 to 32 letters, "
                                "digits, _ or -, and not default, which is [cloud]",
                                section);
    struct ulm_config_endpoint *known = find_endpoint(config, name);
    if (known && known->file == at->file)
        return ulm_config_fault(reterr, at,
                                "[%s]: stands in this file already; another endpoint is "
                                "[cloud.NAME], with a NAME of its own",
                                section);
    if (known) { /* a later file goes on with it */
        known->file = at->file;
        return 0;
    }
    if (config->n_endpoints == ULM_ENDPOINTS_MAX)
        return ulm_config_fault(reterr, at, "[%s]: at most %u cloud sections are allowed", section,
                                ULM_ENDPOINTS_MAX);
    struct ulm_config_endpoint *endpoint = &config->endpoints[config->n_endpoints];
    const char *kept = ulm_config_keep(config, name, len);
    if (!kept)
        return -ENOMEM;
    *endpoint = (struct ulm_config_endpoint){
        .to = {.name = kept,
               .max_tokens = ULM_CLOUD_MAX_TOKENS,
               .keepalive_s = ULM_CLOUD_KEEPALIVE_S},
        .at = *at,
        .file = at->file,
    };
    endpoint->to.extra_headers = endpoint->headers;
    config->n_endpoints++;
    return 0;
}

int ulm_config_section(struct ulm_config *config, const struct ulm_config_at *at,
                       const char *section, char *reterr)
{
    if (is_cloud(section))
        return add_endpoint(config, at, section, reterr);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].section, section) == 0)
            return 0;
    }
    return ulm_config_fault(reterr, at,
                            "[%s]: no such section; allowed are daemon, model, opener, "
                            "cloud, cloud.NAME, deadlines, corrections and sessions",
                            section);
}

/* Values */

static int refuse_key(const struct ulm_config_at *at, const char *section, const char *name,
                      char *reterr)
{
    const char *kind = is_cloud(section) ? "cloud" : section;
    if (!*section)
        return ulm_config_fault(reterr, at, "%s: stands before the first [section]", name);
    int r = ulm_config_fault(reterr, at, "[%s] %s: no such key; allowed are", section, name);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t len = strlen(reterr);
        if (strcmp(keys[i].section, kind) == 0)
            snprintf(reterr + len, ULM_CONFIG_ERROR_MAX - len, " %s", keys[i].name);
    }
    return r;
}

static int refuse_value(const struct ulm_config_at *at, const char *section,
                        const struct ulm_config_key *key, const char *value, char *reterr)
{
    const char *hint = *value == '"' ? ", without quotes" : "";
    /* The value is not shown: one pasted into the wrong place may be a secret. */
    if (key->allowed)
        return ulm_config_fault(reterr, at, "[%s] %s: must be %s%s", section, key->name,
                                key->allowed, hint);
    return ulm_config_fault(reterr, at, "[%s] %s: must be a %snumber from %.0f to %.0f%s", section,
                            key->name, key->set == ulm_set_double ? "" : "whole ", key->min,
                            key->max, hint);
}

/* Of what is only found wrong once all is read. */
static void note_place(const struct ulm_config_target *target, const struct ulm_config_key *key,
                       const struct ulm_config_at *at)
{
    static const struct {
        const char *section, *key;
        size_t offset; /* of the place in target.base */
    } places[] = {
        {"daemon", "socket", AT(socket_at)},
        {"daemon", "state_dir", AT(state_dir_at)},
        {"model", "path", AT(path_at)},
        {"model", "kernels", AT(kernels_at)},
        {"model", "context", AT(context_at)},
        {"model", "cores", AT(cores_at)},
        {"model", "system", AT(system_at)},
        {"opener", "min_words", AT(words_at)},
        {"opener", "max_words", AT(words_at)},
        {"cloud", "url", IN(url_at)},
        {"cloud", "key_file", IN(key_file_at)},
        {"cloud", "prompt_file", IN(prompt_file_at)},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(places[i].section, key->section) == 0 && strcmp(places[i].key, key->name) == 0)
            memcpy(target->base + places[i].offset, at, sizeof *at);
    }
}

int ulm_config_set(struct ulm_config *config, const struct ulm_config_at *at, const char *section,
                   const char *name, const char *value, char *reterr)
{
    struct ulm_config_target target = {.config = config, .base = (char *)config};
    const char *kind = section;
    if (is_cloud(section)) {
        kind = "cloud";
        target.endpoint = find_endpoint(config, endpoint_name(section));
        target.base = (char *)target.endpoint;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct ulm_config_key *key = &keys[i];
        if (strcmp(key->section, kind) != 0 || strcmp(key->name, name) != 0)
            continue;
        int r = key->set(&target, key, value);
        if (r == 0)
            note_place(&target, key, at);
        return r == -EINVAL ? refuse_value(at, section, key, value, reterr) : r;
    }
    return refuse_key(at, section, name, reterr);
}

/* The whole */

static int check_endpoint(struct ulm_config *config, struct ulm_config_endpoint *endpoint,
                          char *reterr)
{
    struct ulm_endpoint_config *to = &endpoint->to;
    const char *dot = *to->name ? "." : "";
    char where[ULM_CONFIG_ERROR_MAX];

    if (!to->url)
        return ulm_config_fault(reterr, &endpoint->at, "[cloud%s%s] url: is missing", dot, to->name);
    if (!to->model)
        return ulm_config_fault(reterr, &endpoint->at, "[cloud%s%s] model: is missing", dot,
                                to->name);
    /* What the cloud finds wrong is about the url, or is told by its key. */
    (void)snprintf(where, sizeof where, "%s:%d", endpoint->url_at.file, endpoint->url_at.line);
    to->where = ulm_config_keep(config, where, strlen(where));
    return to->where ? 0 : -ENOMEM;
}

int ulm_config_check(struct ulm_config *config, char *reterr)
{
    const struct ulm_opener_options *opener = &config->core.opener;
    if (opener->min_words > opener->max_words)
        return ulm_config_fault(reterr, &config->words_at,
                                "[opener] min_words: must not be above max_words (%u)",
                                opener->max_words);
    for (size_t i = 0; i < config->n_endpoints; i++) {
        int r = check_endpoint(config, &config->endpoints[i], reterr);
        if (r < 0)
            return r;
    }
    return 0;
}
