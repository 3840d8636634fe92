/* SPDX-License-Identifier: MIT */
#include "cloud/health.h"

#include <stdlib.h>
#include <string.h>

#define FAILURES_TO_OPEN  3u
#define OPEN_FIRST_US     (2 * INT64_C(1000000))
#define OPEN_LONGEST_US   (60 * INT64_C(1000000))
#define EWMA_WEIGHT       0.2
#define TOLD_US           (60 * INT64_C(1000000)) /* between two failures that are told */

void ulm_recent_add(struct ulm_recent *recent, int64_t value_us)
{
    recent->values_us[recent->next] = value_us;
    recent->next = (recent->next + 1) % ULM_RECENT_N;
    if (recent->n < ULM_RECENT_N)
        recent->n++;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t ulm_recent_quantile_us(const struct ulm_recent *recent, double q)
{
    int64_t sorted[ULM_RECENT_N];
    if (recent->n == 0)
        return 0;
    memcpy(sorted, recent->values_us, recent->n * sizeof *sorted);
    qsort(sorted, recent->n, sizeof *sorted, compare);
    size_t rank = (size_t)(q * (double)recent->n);
    return sorted[rank < recent->n ? rank : recent->n - 1];
}

bool ulm_health_may_try(const struct ulm_health_record *record, int64_t now_us)
{
    switch (record->health) {
    case ULM_HEALTH_UNKNOWN:
    case ULM_HEALTH_OK:
        return true;
    case ULM_HEALTH_PROBING:
        return false;
    case ULM_HEALTH_DOWN:
        return now_us >= record->closed_until_us;
    }
    return false;
}

void ulm_health_begin(struct ulm_health_record *record)
{
    record->requests++;
    if (record->health == ULM_HEALTH_DOWN)
        record->health = ULM_HEALTH_PROBING;
}

void ulm_health_first_byte(struct ulm_health_record *record, int64_t after_us)
{
    double ms = (double)after_us / 1000;
    double old = record->first_byte_ewma_ms;
    record->first_byte_ewma_ms = old > 0 ? old + EWMA_WEIGHT * (ms - old) : ms;
    ulm_histogram_add(&record->first_byte, after_us);
    ulm_recent_add(&record->recent_byte, after_us);
}

void ulm_health_success(struct ulm_health_record *record)
{
    record->health = ULM_HEALTH_OK;
    record->failures_in_row = 0;
    record->opened = 0;
}

void ulm_health_failure(struct ulm_health_record *record, int64_t now_us)
{
    record->failures++;
    record->failures_in_row++;
    if (record->failures_in_row < FAILURES_TO_OPEN && record->health != ULM_HEALTH_PROBING)
        return;

    int64_t pause = OPEN_FIRST_US;
    for (unsigned i = 0; i < record->opened && pause < OPEN_LONGEST_US; i++)
        pause *= 2;
    record->opened++;
    record->health = ULM_HEALTH_DOWN;
    record->closed_until_us = now_us + (pause < OPEN_LONGEST_US ? pause : OPEN_LONGEST_US);
}

bool ulm_health_note(struct ulm_health_record *record, const char *word, unsigned status,
                     int64_t now_us)
{
    record->last_failure = word;
    record->last_status = status;
    bool same = record->told && strcmp(record->told, word) == 0 && record->told_status == status;
    if (same || (record->told_us > 0 && now_us - record->told_us < TOLD_US))
        return false;
    record->told = word;
    record->told_status = status;
    record->told_us = now_us;
    return true;
}

void ulm_health_given_up(struct ulm_health_record *record, int64_t now_us)
{
    if (record->health == ULM_HEALTH_PROBING) {
        record->health = ULM_HEALTH_DOWN;
        record->closed_until_us = now_us;
    }
}
