/* SPDX-License-Identifier: MIT */
/*
 * What a model at an endpoint was found to do, learned and not listed (by URL and model):
 * prefill and echo are kept in state_dir/capabilities.json for seven days, tags in memory.
 */
#ifndef ULM_CLOUD_CAPABILITY_H
#define ULM_CLOUD_CAPABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ulm_known {
    ULM_KNOWN_UNKNOWN,
    ULM_KNOWN_YES,
    ULM_KNOWN_NO,
};

const char *ulm_known_name(enum ulm_known known);

struct ulm_capability {
    const char *url, *model; /* borrowed */
    enum ulm_known prefill;  /* an open assistant turn is continued */
    enum ulm_known echo;     /* and repeated first */
    int64_t learned_s;       /* wall clock, seconds */
};

/* Sets what the file says of these where that is no older than seven days; an absent file says
 * nothing. <0: errno of a file that cannot be used. */
int ulm_capabilities_load(const char *state_dir, struct ulm_capability *const *capabilities,
                          size_t n, int64_t now_s);
/* Replaces the file whole or not at all; mode 0600. 0 or -errno. */
int ulm_capabilities_save(const char *state_dir, const struct ulm_capability *const *capabilities,
                          size_t n);

/* Forgets what is older than seven days, or from the future. */
void ulm_capability_expire(struct ulm_capability *capability, int64_t now_s);

#define ULM_TAG_PEERS 16u

/* Verdict tags seen and missed. Three missed of the last ten: ask without tags for ten minutes. */
struct ulm_tags {
    unsigned window; /* the last ten, bit set = missed; newest is bit 0 */
    int64_t bad_until_us;
    bool reported; /* at least one, seen or missed */
    struct {
        bool used;
        unsigned peer;
        int64_t missed_us;
    } peers[ULM_TAG_PEERS]; /* when a peer's miss was last counted */
};

void ulm_tags_report(struct ulm_tags *tags, bool seen, unsigned peer, int64_t now_us);
bool ulm_tags_bad(const struct ulm_tags *tags, int64_t now_us);
/* "unknown", "ok" or "bad". */
const char *ulm_tags_name(const struct ulm_tags *tags, int64_t now_us);

#endif
