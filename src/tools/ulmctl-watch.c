/* SPDX-License-Identifier: MIT */
/* `watch`: the status event asked for again and again. On a terminal it is one screen, drawn in
 * place; elsewhere one line each time. A daemon that goes away is waited for. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/ulmctl.h"

#define BAR_CELLS 40u
/* A window as low as a terminal is where nobody made it larger has the corrections in one row, under
 * the cloud's health, and no empty rows. */
#define ALL_ROWS 36u

/* Edges of the rows: what lies between is told apart by the eye. Milliseconds. */
static const double first_word_edges[] = {10, 20, 30, 45, 60, 80, 120, 250, INFINITY};
static const double gap_edges[] = {0, 100, 250, 500, 1000, 2000, 4000, INFINITY};

static double number(struct ulm_pull value, const char *name)
{
    return ulm_pull_number(ulm_pull_member(value, name), 0);
}

static int add_bar(const struct ulm_term *term, enum ulm_style style, double n, double most,
                   struct ulm_buf *out)
{
    unsigned cells = most > 0 ? (unsigned)(n / most * BAR_CELLS + 0.5) : 0;
    if (cells == 0 && n > 0)
        cells = 1;
    int r = ulm_buf_add_str(out, ulm_term_style(term, style));
    for (unsigned i = 0; r == 0 && i < cells; i++)
        r = ulm_buf_add_str(out, term->utf8 ? "\xE2\x96\x88" : "#");
    return r < 0 ? r
                 : ulm_buf_add_fmt(out, "%s%s%.0f\n", ulm_term_style(term, ULM_STYLE_PLAIN),
                                   cells > 0 ? " " : "", n);
}

/* Sums the daemon's buckets into rows: a bucket belongs to the first row whose edge it is below. */
static double fill_rows(struct ulm_pull buckets, const double *edges, size_t n, double *rows)
{
    struct ulm_pull_walk walk = ulm_pull_walk(buckets);
    struct ulm_pull key, pair, upper = {0}, count = {0};
    double most = 0;
    memset(rows, 0, n * sizeof *rows);
    while (ulm_pull_next(&walk, &key, &pair)) {
        struct ulm_pull_walk inner = ulm_pull_walk(pair);
        if (!ulm_pull_next(&inner, &key, &upper) || !ulm_pull_next(&inner, &key, &count))
            continue;
        size_t i = 0;
        while (i + 1 < n && ulm_pull_number(upper, 0) > edges[i])
            i++;
        rows[i] += ulm_pull_number(count, 0);
        most = rows[i] > most ? rows[i] : most;
    }
    return most;
}

static int add_histogram(const struct ulm_term *term, const char *title, struct ulm_pull latency,
                         const double *edges, size_t n, struct ulm_buf *out)
{
    double rows[16];
    double most = fill_rows(ulm_pull_member(latency, "buckets"), edges, n, rows);
    int r = ulm_buf_add_fmt(out, "%s%s  n %.0f, p50 %.1f ms, p95 %.1f ms, p99 %.1f ms\n",
                            term->rows < ALL_ROWS ? "" : "\n", title,
                            number(latency, "n"), number(latency, "p50"), number(latency, "p95"),
                            number(latency, "p99"));
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (i > 0 && isinf(edges[i]))
            r = ulm_buf_add_fmt(out, "  > %5.0f ms ", edges[i - 1]);
        else
            r = ulm_buf_add_fmt(out, " <= %5.0f ms ", edges[i]);
        if (r == 0)
            r = add_bar(term, ULM_STYLE_OPENER, rows[i], most, out);
    }
    return r;
}

static const struct {
    const char *counter, *shown;
    enum ulm_style style;
} verdicts[] = {
    {"verdict_ok", "ok", ULM_STYLE_GOOD},         {"verdict_pivot", "pivot", ULM_STYLE_REPAIR},
    {"verdict_fix", "fix", ULM_STYLE_REPAIR},     {"verdict_redo", "redo", ULM_STYLE_REPAIR},
    {"tag_missing", "untagged", ULM_STYLE_DIM},   {"local", "local", ULM_STYLE_DIM},
    {"truncated", "truncated", ULM_STYLE_BAD},    {"errors", "errors", ULM_STYLE_BAD},
};
#define VERDICTS (sizeof verdicts / sizeof *verdicts)

static int add_verdicts(const struct ulm_term *term, struct ulm_pull counters, struct ulm_buf *out)
{
    double most = 0;
    for (size_t i = 0; i < VERDICTS; i++)
        most = fmax(most, number(counters, verdicts[i].counter));
    int r = ulm_buf_add_str(out, "\ncorrections\n");
    for (size_t i = 0; r == 0 && i < VERDICTS; i++) {
        r = ulm_buf_add_fmt(out, "%12s ", verdicts[i].shown);
        if (r == 0)
            r = add_bar(term, verdicts[i].style, number(counters, verdicts[i].counter), most, out);
    }
    return r;
}

static int add_verdict_row(const struct ulm_term *term, struct ulm_pull counters,
                           struct ulm_buf *out)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < VERDICTS; i++)
        r = ulm_buf_add_fmt(out, "%s%s %s%.0f%s", i > 0 ? "  " : "", verdicts[i].shown,
                            ulm_term_style(term, verdicts[i].style),
                            number(counters, verdicts[i].counter),
                            ulm_term_style(term, ULM_STYLE_PLAIN));
    return r < 0 ? r : ulm_buf_add(out, "\n", 1);
}

int ulmctl_watch_screen(const struct ulm_term *term, struct ulm_pull status, struct ulm_buf *out)
{
    struct ulm_pull latency = ulm_pull_member(status, "latency");
    struct ulm_pull counters = ulm_pull_member(status, "counters");
    bool low = term->rows < ALL_ROWS;
    int r = ulmctl_status_head(term, status, out);
    if (r == 0 && low)
        r = add_verdict_row(term, counters, out);
    if (r == 0)
        r = add_histogram(term, "first word", ulm_pull_member(latency, "first_word"),
                          first_word_edges, sizeof first_word_edges / sizeof *first_word_edges,
                          out);
    if (r == 0)
        r = add_histogram(term, "gap", ulm_pull_member(latency, "gap"), gap_edges,
                          sizeof gap_edges / sizeof *gap_edges, out);
    return r < 0 || low ? r : add_verdicts(term, counters, out);
}

int ulmctl_watch_line(struct ulm_pull status, struct ulm_buf *out)
{
    struct ulm_pull latency = ulm_pull_member(status, "latency");
    struct ulm_pull counters = ulm_pull_member(status, "counters");
    struct ulm_pull word = ulm_pull_member(latency, "first_word");
    struct ulm_pull gap = ulm_pull_member(latency, "gap");
    struct ulm_pull_walk walk = ulm_pull_walk(ulm_pull_member(status, "cloud"));
    struct ulm_pull key, e;
    unsigned up = 0, endpoints = 0;
    for (; ulm_pull_next(&walk, &key, &e); endpoints++)
        up += !ulm_pull_is(ulm_pull_member(e, "health"), "down");
    return ulm_buf_add_fmt(
        out,
        "open %.0f  asks %.0f  first word p50 %.1f p95 %.1f ms  gap p50 %.0f p95 %.0f ms  "
        "ok %.0f pivot %.0f fix %.0f redo %.0f local %.0f errors %.0f  cloud %u/%u up\n",
        number(ulm_pull_member(status, "requests"), "open"), number(counters, "asks"),
        number(word, "p50"), number(word, "p95"), number(gap, "p50"), number(gap, "p95"),
        number(counters, "verdict_ok"), number(counters, "verdict_pivot"),
        number(counters, "verdict_fix"), number(counters, "verdict_redo"),
        number(counters, "local"), number(counters, "errors"), up, endpoints);
}

struct watch {
    struct ulmctl *ctl;
    struct ulm_client *client; /* NULL while the daemon is away */
    double interval_s;
    unsigned long count; /* 0 = until interrupted */
};

static int parse(struct watch *w, int argc, char **argv)
{
    static const struct option options[] = {
        {"interval", required_argument, NULL, 'i'},
        {"count", required_argument, NULL, 'n'},
        {"socket", required_argument, NULL, 'S'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        char *end = NULL;
        if (c == 'S') {
            w->ctl->socket = optarg;
        } else if (c == 'i') {
            w->interval_s = strtod(optarg, &end);
            if (*end || end == optarg || !(w->interval_s >= 0.1 && w->interval_s <= 3600)) {
                ulmctl_complain("--interval is 0.1 to 3600 seconds");
                return ULMCTL_USAGE;
            }
        } else if (c == 'n') {
            w->count = strtoul(optarg, &end, 10);
            if (*end || *optarg < '0' || *optarg > '9') {
                ulmctl_complain("--count is a number");
                return ULMCTL_USAGE;
            }
        } else {
            return ULMCTL_USAGE;
        }
    }
    if (optind != argc) {
        ulmctl_complain("watch takes no text");
        return ULMCTL_USAGE;
    }
    return ULMCTL_OK;
}

/* Lines that do not fit are cut by the terminal (no wrap); those below the window are left out. */
static void draw(const struct ulm_term *term, const char *text)
{
    (void)fputs("\033[H\033[?7l", term->out);
    for (unsigned row = 0; *text && row + 1 < term->rows; row++) {
        size_t len = strcspn(text, "\n");
        (void)fwrite(text, 1, len, term->out);
        (void)fputs("\033[K\r\n", term->out);
        text += len + (text[len] == '\n');
    }
    (void)fputs("\033[J\033[?7h", term->out);
}

static int show_once(struct watch *w)
{
    struct ulm_term *term = &w->ctl->term;
    ULM_CLEANUP_BUF struct ulm_buf line = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    ULM_CLEANUP_BUF struct ulm_buf out = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    ulm_term_measure(term);
    if (!w->client)
        (void)ulm_client_connect(w->ctl->socket, &w->client);
    int r = w->client ? ulmctl_fetch(w->client, ULMCTL_STATUS, NULL, &line) : -ENOTCONN;
    if (r != 0) {
        w->client = ulm_client_free(w->client);
        const char *why = r > 0 ? ulm_buf_str(&line) : "no daemon";
        r = ulm_safe_add(&out, why, strlen(why));
        if (r == 0)
            r = ulm_buf_add_str(&out, ": waiting for it\n");
    } else {
        struct ulm_pull status = ulm_pull_text(line.data, line.len);
        r = term->live ? ulmctl_watch_screen(term, status, &out) : ulmctl_watch_line(status, &out);
    }
    if (r < 0)
        return r;
    if (term->live)
        draw(term, ulm_buf_str(&out));
    else
        (void)fputs(ulm_buf_str(&out), term->out);
    return 0;
}

int ulmctl_watch(struct ulmctl *ctl, int argc, char **argv)
{
    struct watch w = {.ctl = ctl, .interval_s = 1};
    int written = ULMCTL_OK, r = parse(&w, argc, argv);
    if (r == ULMCTL_OK)
        r = ulmctl_connect(ctl, &w.client);
    if (r != ULMCTL_OK)
        return r;
    ulmctl_catch_signals();
    if (ctl->term.live) /* another screen, without a cursor */
        (void)fputs("\033[?1049h\033[?25l\033[2J", ctl->term.out);
    for (unsigned long shown = 1; !ulmctl_interrupted; shown++) {
        r = show_once(&w);
        written = ulmctl_flush();
        if (r < 0 || written != ULMCTL_OK || shown == w.count)
            break;
        (void)poll(NULL, 0, (int)(w.interval_s * 1000));
    }
    if (ctl->term.live)
        (void)fputs("\033[?25h\033[?1049l", ctl->term.out);
    ulm_client_free(w.client);
    if (r < 0) {
        ulmctl_complain("%s", ulmctl_reason(r));
        return ULMCTL_ERROR;
    }
    return written;
}
