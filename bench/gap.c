/* SPDX-License-Identifier: MIT */
/*
 * How often does a listener hear a gap between the opener and the cloud's text? Speech at 150 words
 * a minute, time to first text log-normal around p50 with outages now and then; openers of 4 words,
 * of 8, and as many as core's words=auto asks for, from the median of the turns before.
 *
 *     gap [turns]
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/pace.h"

enum {
    MIN_WORDS = 4,
    MAX_WORDS = 8,
    RECENT = 32,        /* turns the median is taken of */
    FIRST_WORD_MS = 15, /* ask to first word, on the device */
    WORD_MS = 6,        /* from word to word, on the device */
    OFFLINE_MS = 4500,  /* first_byte_ms: then the device ends its sentence */
    AUDIBLE_MS = 200,   /* a shorter silence is heard as a breath */
};

static const double SPREAD = 0.5;          /* sigma of the logarithm: p95 = 2.3 p50 */
static const double OUTAGE_BEGINS = 0.005; /* a turn */
static const double OUTAGE_ENDS = 0.25;

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 33) + 0.5) / 2147483648.0;
}

static double normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(uniform(state)));
    return radius * cos(2 * M_PI * uniform(state));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of the last turns; 0 = none yet. */
static double median(const double *recent, unsigned n)
{
    double sorted[RECENT] = {0};
    n = n < RECENT ? n : RECENT;
    for (unsigned i = 0; i < n; i++)
        sorted[i] = recent[i];
    qsort(sorted, n, sizeof *sorted, by_value);
    return n > 0 ? sorted[n / 2] : 0;
}

struct tally {
    unsigned without_gap;
    double words, gap_ms;
};

static void count(struct tally *tally, unsigned words, double first_text_ms)
{
    double sent_ms = FIRST_WORD_MS + words * WORD_MS;
    double heard_ms = FIRST_WORD_MS + words * (ULM_PACE_WORD_US / 1000.0);
    double gap_ms = sent_ms + first_text_ms - heard_ms;
    tally->words += words;
    tally->gap_ms += gap_ms > 0 ? gap_ms : 0;
    tally->without_gap += gap_ms <= AUDIBLE_MS;
}

static void run(double p50_ms, unsigned turns)
{
    uint64_t state = 42;
    double recent[RECENT];
    unsigned measured = 0;
    bool outage = false;
    struct tally four = {0}, eight = {0}, fit = {0};
    for (unsigned i = 0; i < turns; i++) {
        outage = uniform(&state) < (outage ? 1 - OUTAGE_ENDS : OUTAGE_BEGINS);
        double latency_ms = p50_ms * exp(SPREAD * normal(&state));
        unsigned words = ulm_pace_words(median(recent, measured), MIN_WORDS, MAX_WORDS);
        double came_ms = outage ? OFFLINE_MS : latency_ms;
        count(&four, MIN_WORDS, came_ms);
        count(&eight, MAX_WORDS, came_ms);
        count(&fit, words, came_ms);
        if (!outage)
            recent[measured++ % RECENT] = latency_ms;
    }
    const struct tally *all[] = {&four, &eight, &fit};
    printf("%6.1f", p50_ms / 1000);
    for (int i = 0; i < 3; i++)
        printf("  %6.1f %% %5.1f %6.0f", 100.0 * all[i]->without_gap / turns, all[i]->words / turns,
               all[i]->gap_ms / turns);
    printf("\n");
}

int main(int argc, char **argv)
{
    static const double p50s_ms[] = {400, 600, 800, 1000, 1250, 1500, 2000, 2500, 3000};
    unsigned turns = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20000;
    if (turns == 0) {
        fprintf(stderr, "usage: gap [turns]\n");
        return EXIT_FAILURE;
    }
    printf("turns without an audible gap (over %d ms), mean words of the opener, mean gap in ms\n"
           "log-normal time to first text (sigma %.1f), outages in %.0f %% of the turns\n"
           "p50 s        fixed 4                 fixed 8                  auto\n",
           AUDIBLE_MS, SPREAD, 100 * OUTAGE_BEGINS / (OUTAGE_BEGINS + OUTAGE_ENDS));
    for (size_t i = 0; i < sizeof p50s_ms / sizeof *p50s_ms; i++)
        run(p50s_ms[i], turns);
    return EXIT_SUCCESS;
}
