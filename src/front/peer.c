/* SPDX-License-Identifier: MIT */
#include "front/peer.h"

#include <stdlib.h>

#define MINUTE_US 60e6

void ulm_peers_init(struct ulm_peers *peers)
{
    *peers = (struct ulm_peers){0};
}

void ulm_peers_deinit(struct ulm_peers *peers)
{
    while (peers->first) {
        struct ulm_peer *next = peers->first->next;
        free(peers->first);
        peers->first = next;
    }
}

static void run_off(const struct ulm_peers *peers, struct ulm_peer *peer, int64_t now_us)
{
    double pace = peers->quota.tokens_per_minute / MINUTE_US;
    double gone = pace * (double)(now_us - peer->tokens_us);
    peer->tokens = pace > 0 && peer->tokens > gone ? peer->tokens - gone : 0;
    peer->tokens_us = now_us;
}

struct ulm_peer *ulm_peers_join(struct ulm_peers *peers, uid_t uid, int64_t now_us)
{
    struct ulm_peer *found = NULL;
    for (struct ulm_peer **link = &peers->first; *link;) {
        struct ulm_peer *peer = *link;
        run_off(peers, peer, now_us);
        if (peer->uid == uid) {
            found = peer;
        } else if (peer->connections == 0 && peer->tokens == 0) {
            *link = peer->next;
            free(peer);
            continue;
        }
        link = &peer->next;
    }
    if (!found) {
        found = calloc(1, sizeof *found);
        if (!found)
            return NULL;
        *found = (struct ulm_peer){.next = peers->first, .uid = uid, .tokens_us = now_us};
        peers->first = found;
    }
    found->connections++;
    return found;
}

void ulm_peers_leave(struct ulm_peers *peers, struct ulm_peer *peer)
{
    (void)peers; /* it is freed by a later join, once it owes nothing */
    peer->connections--;
}

bool ulm_peer_crowds(const struct ulm_peers *peers, const struct ulm_peer *peer)
{
    return peers->quota.connections > 0 && peer->connections > peers->quota.connections;
}

const char *ulm_peer_refusal(const struct ulm_peers *peers, struct ulm_peer *peer, size_t open,
                             int64_t now_us)
{
    run_off(peers, peer, now_us);
    if (peers->quota.requests > 0 && open >= peers->quota.requests)
        return "this user has as many open requests as it may (client_requests)";
    if (peers->quota.tokens_per_minute > 0 && peer->tokens >= peers->quota.tokens_per_minute)
        return "this user has used its tokens for now (client_tokens_per_minute)";
    return NULL;
}

void ulm_peer_charge(struct ulm_peer *peer, int64_t tokens)
{
    peer->tokens += tokens > 0 ? (double)tokens : 0;
}
