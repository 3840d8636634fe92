/* SPDX-License-Identifier: MIT */
/* Who is connected, by uid, and what each may use: the quotas that keep one from harming others. */
#ifndef ULM_FRONT_PEER_H
#define ULM_FRONT_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ulm_quota { /* 0 = no limit */
    unsigned connections;
    unsigned requests;
    unsigned tokens_per_minute;
};

struct ulm_peer {
    struct ulm_peer *next; /* ulm_peers.first */
    uid_t uid;
    unsigned connections;
    double tokens;     /* used, running off at the quota's pace */
    int64_t tokens_us; /* when `tokens` was right */
};

struct ulm_peers {
    struct ulm_peer *first;
    struct ulm_quota quota;
};

void ulm_peers_init(struct ulm_peers *peers);
void ulm_peers_deinit(struct ulm_peers *peers);

/* The peer of this uid, its connections counted up; give it back with ulm_peers_leave. It outlives
 * its last connection while it owes tokens. NULL: out of memory. */
struct ulm_peer *ulm_peers_join(struct ulm_peers *peers, uid_t uid, int64_t now_us);
void ulm_peers_leave(struct ulm_peers *peers, struct ulm_peer *peer);

/* Has it as many connections as it may, the joined one included? */
bool ulm_peer_crowds(const struct ulm_peers *peers, const struct ulm_peer *peer);

/* NULL, or why the peer may not ask now: one line for its client. `open` is how many of its asks
 * are open. */
const char *ulm_peer_refusal(const struct ulm_peers *peers, struct ulm_peer *peer, size_t open,
                             int64_t now_us);

/* Charges what an ask of the peer used. */
void ulm_peer_charge(struct ulm_peer *peer, int64_t tokens);

#endif
