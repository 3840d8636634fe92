/* SPDX-License-Identifier: MIT */
/*
 * How an endpoint is doing: a circuit breaker and its latencies. Told the time, knows no clock.
 *
 * Three failures in a row open the circuit for a while, doubled each time; after that one request
 * is let through as a probe, and its result closes or reopens it.
 */
#ifndef ULM_CLOUD_HEALTH_H
#define ULM_CLOUD_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ulmd/cloud.h>

#include "util/histogram.h"

#define ULM_RECENT_N 32u

/* The last ULM_RECENT_N values. */
struct ulm_recent {
    int64_t values_us[ULM_RECENT_N];
    size_t n, next;
};

void ulm_recent_add(struct ulm_recent *recent, int64_t value_us);
int64_t ulm_recent_quantile_us(const struct ulm_recent *recent, double q); /* 0 = none */

struct ulm_health_record {
    enum ulm_health health;
    unsigned failures_in_row;
    unsigned opened;         /* times in a row the circuit opened */
    int64_t closed_until_us; /* DOWN: no probe before this time */
    uint64_t requests, failures;
    double first_byte_ewma_ms; /* 0 = none measured */
    struct ulm_histogram first_byte, first_text;
    struct ulm_recent recent_byte;
    const char *last_failure; /* our own word, or NULL */
    unsigned last_status;
    const char *told; /* the failure that the log was told of last, or NULL: none since it worked */
    unsigned told_status;
    int64_t told_us; /* when; 0 = never */
};

/* May a request go there now? DOWN lets one through when its time has come; PROBING none. */
bool ulm_health_may_try(const struct ulm_health_record *record, int64_t now_us);

void ulm_health_begin(struct ulm_health_record *record);
void ulm_health_first_byte(struct ulm_health_record *record, int64_t after_us);
void ulm_health_success(struct ulm_health_record *record);
void ulm_health_failure(struct ulm_health_record *record, int64_t now_us);
/* Keeps what went wrong. Is it to be told? The first failure, or the first of another kind, once a
 * minute at most. */
bool ulm_health_note(struct ulm_health_record *record, const char *word, unsigned status,
                     int64_t now_us);
/* Neither: the request was given up. A probe may be made again. */
void ulm_health_given_up(struct ulm_health_record *record, int64_t now_us);

#endif
