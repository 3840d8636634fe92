/* SPDX-License-Identifier: MIT */
/* `status`, `hello` and `reset`: one request, and the event that answers it, as JSON, as text, or
 * for Prometheus. What they show they take from docs/protocol.md; a member that is not there is not
 * shown. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tools/ulmctl.h"

struct fetch {
    enum ulm_client_event_type wanted;
    struct ulm_buf *line;
    bool ended;
    int result; /* as of ulmctl_fetch */
};

static void on_event(void *data, const struct ulm_client_event *e)
{
    struct fetch *fetch = data;
    if (e->type == ULM_CLIENT_ERROR) {
        fetch->ended = true;
        ulm_buf_clear(fetch->line);
        fetch->result = ulm_buf_add_fmt(fetch->line, "%s: %s", e->code ? e->code : "error",
                                        e->message ? e->message : "");
        if (fetch->result == 0)
            fetch->result = 1;
    } else if (e->type == fetch->wanted) {
        fetch->ended = true;
        ulm_buf_clear(fetch->line);
        fetch->result = ulm_buf_add(fetch->line, e->line, e->line_len);
    }
}

int ulmctl_fetch(struct ulm_client *client, enum ulmctl_query query, const char *session,
                 struct ulm_buf *line)
{
    struct fetch fetch = {ULM_CLIENT_STATUS, line, false, 0};
    int r;
    if (query == ULMCTL_HELLO) {
        fetch.wanted = ULM_CLIENT_HELLO;
        r = ulm_client_hello(client, NULL);
    } else if (query == ULMCTL_RESET) {
        fetch.wanted = ULM_CLIENT_OK;
        r = ulm_client_reset(client, session);
    } else {
        r = ulm_client_status(client, NULL,
                              query == ULMCTL_STATUS_PROMETHEUS ? "prometheus" : NULL);
    }
    ulm_client_set_handler(client, on_event, &fetch);
    if (r == 0)
        r = ulm_client_dispatch(client);
    while (r == 0 && !fetch.ended) {
        r = ulm_client_wait(client, -1);
        if (r == -EINTR && !ulmctl_interrupted)
            r = 0;
    }
    ulm_client_set_handler(client, NULL, NULL);
    return fetch.ended ? fetch.result : r == 1 ? -ECONNRESET : r;
}

static struct ulm_pull at(struct ulm_pull value, const char *outer, const char *inner)
{
    return ulm_pull_member(ulm_pull_member(value, outer), inner);
}

static double number(struct ulm_pull value, const char *name)
{
    return ulm_pull_number(ulm_pull_member(value, name), 0);
}

/* A string as it may be shown; `otherwise` where it is no string. */
static int add_text(struct ulm_buf *out, struct ulm_pull value, const char *otherwise)
{
    ULM_CLEANUP_BUF struct ulm_buf text = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    int r = ulm_pull_add(value, &text);
    if (r < 0)
        return r;
    const char *shown = text.len > 0 ? ulm_buf_str(&text) : otherwise;
    return ulm_safe_add(out, shown, strlen(shown));
}

static int add_model(struct ulm_pull model, bool cloud, struct ulm_buf *out)
{
    if (ulm_pull_kind(model) != '{')
        return ulm_buf_add_str(out, cloud ? "model    none: answers come from the cloud alone\n"
                                          : "model    none\n");
    int r = ulm_buf_add_str(out, "model    ");
    if (r == 0)
        r = add_text(out, ulm_pull_member(model, "name"), "?");
    if (r == 0)
        r = ulm_buf_add_fmt(out, ", %.1f M parameters, ", number(model, "parameters") / 1e6);
    if (r == 0)
        r = add_text(out, ulm_pull_member(model, "quantisation"), "?");
    if (r == 0)
        r = ulm_buf_add_fmt(out, ", context %.0f, kernels ", number(model, "context"));
    if (r == 0)
        r = add_text(out, ulm_pull_member(model, "kernels"), "?");
    return r < 0 ? r : ulm_buf_add(out, "\n", 1);
}

static int add_endpoint(const struct ulm_term *term, struct ulm_pull e, struct ulm_buf *out)
{
    struct ulm_pull health = ulm_pull_member(e, "health");
    enum ulm_style style = ulm_pull_is(health, "ok")     ? ULM_STYLE_GOOD
                           : ulm_pull_is(health, "down") ? ULM_STYLE_BAD
                                                         : ULM_STYLE_PLAIN;
    int r = ulm_buf_add_str(out, "cloud    ");
    if (r == 0)
        r = add_text(out, ulm_pull_member(e, "name"), "default");
    if (r == 0)
        r = ulm_buf_add_fmt(out, ", ");
    if (r == 0)
        r = add_text(out, ulm_pull_member(e, "model"), "?");
    if (r == 0)
        r = ulm_buf_add_fmt(out, " (");
    if (r == 0)
        r = add_text(out, ulm_pull_member(e, "dialect"), "?");
    if (r == 0)
        r = ulm_buf_add_fmt(out, "): %s", ulm_term_style(term, style));
    if (r == 0)
        r = add_text(out, health, "unknown");
    if (r == 0)
        r = ulm_buf_add_fmt(out, "%s, %.0f requests, %.0f failed",
                            ulm_term_style(term, ULM_STYLE_PLAIN), number(e, "requests"),
                            number(e, "failures"));
    if (r == 0 && number(e, "first_byte_p50_ms") > 0)
        r = ulm_buf_add_fmt(out, ", first byte %.0f ms (p95 %.0f)", number(e, "first_byte_p50_ms"),
                            number(e, "first_byte_p95_ms"));
    if (r == 0 && ulm_pull_kind(ulm_pull_member(e, "last_failure")) == '"') {
        r = ulm_buf_add_str(out, ", last failure ");
        if (r == 0)
            r = add_text(out, ulm_pull_member(e, "last_failure"), "?");
        if (r == 0 && number(e, "last_status") > 0)
            r = ulm_buf_add_fmt(out, " %.0f", number(e, "last_status"));
    }
    return r < 0 ? r : ulm_buf_add(out, "\n", 1);
}

static int add_cloud(const struct ulm_term *term, struct ulm_pull cloud, bool model,
                     struct ulm_buf *out)
{
    struct ulm_pull_walk walk = ulm_pull_walk(cloud);
    struct ulm_pull key, value;
    bool any = false;
    int r = 0;
    while (r == 0 && ulm_pull_next(&walk, &key, &value)) {
        any = true;
        r = add_endpoint(term, value, out);
    }
    if (r == 0 && !any)
        r = ulm_buf_add_str(out, model ? "cloud    none: answers end on the device\n"
                                       : "cloud    none: no question can be answered\n");
    return r;
}

static const struct {
    const char *name, *shown;
} latencies[] = {
    {"first_word", "first word"},       {"opener", "opener"}, {"cloud_first_byte", "cloud byte"},
    {"cloud_first_text", "cloud text"}, {"gap", "gap"},       {"total", "total"},
    {"engine", "engine"},
};

static int add_latency(struct ulm_pull latency, struct ulm_buf *out)
{
    const char *head = "\nms                 n      p50      p95      p99      max\n";
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof latencies / sizeof *latencies; i++) {
        struct ulm_pull l = ulm_pull_member(latency, latencies[i].name);
        if (number(l, "n") <= 0)
            continue;
        r = ulm_buf_add_str(out, head);
        head = "";
        if (r == 0)
            r = ulm_buf_add_fmt(out, "%-12s%8.0f%9.1f%9.1f%9.1f%9.1f\n", latencies[i].shown,
                                number(l, "n"), number(l, "p50"), number(l, "p95"),
                                number(l, "p99"), number(l, "max"));
    }
    return r;
}

/* Counters that are not zero, four to a row. */
static int add_counters(struct ulm_pull counters, struct ulm_buf *out)
{
    struct ulm_pull_walk walk = ulm_pull_walk(counters);
    struct ulm_pull key = {0}, value;
    unsigned shown = 0;
    int r = ulm_buf_add(out, "\n", 1);
    while (r == 0 && ulm_pull_next(&walk, &key, &value)) {
        double n = ulm_pull_number(value, 0);
        if (n <= 0)
            continue;
        ULM_CLEANUP_BUF struct ulm_buf name = ULM_BUF_INIT(128);
        if (add_text(&name, key, "?") < 0)
            continue;
        r = ulm_buf_add_fmt(out, "%-22.64s%8.0f%s", ulm_buf_str(&name), n,
                            ++shown % 2 == 0 ? "\n" : "    ");
    }
    return r < 0 ? r : ulm_buf_add_str(out, shown % 2 == 1 ? "\n" : "");
}

int ulmctl_status_head(const struct ulm_term *term, struct ulm_pull status, struct ulm_buf *out)
{
    struct ulm_pull model = ulm_pull_member(status, "model"), key, value;
    struct ulm_pull cloud = ulm_pull_member(status, "cloud");
    struct ulm_pull_walk walk = ulm_pull_walk(cloud);
    int r = ulm_buf_add_str(out, "ulmd ");
    if (r == 0)
        r = add_text(out, ulm_pull_member(status, "version"), "?");
    if (r == 0)
        r = ulm_buf_add_fmt(out, ", up %.0f s, %.0f of %.0f requests open, %.0f clients\n",
                            number(status, "uptime_s"),
                            ulm_pull_number(at(status, "requests", "open"), 0),
                            ulm_pull_number(at(status, "requests", "max"), 0),
                            ulm_pull_number(at(status, "requests", "clients"), 0));
    if (r == 0)
        r = add_model(model, ulm_pull_next(&walk, &key, &value), out);
    return r < 0 ? r : add_cloud(term, cloud, ulm_pull_kind(model) == '{', out);
}

int ulmctl_status_text(const struct ulm_term *term, struct ulm_pull status, struct ulm_buf *out)
{
    int r = ulmctl_status_head(term, status, out);
    if (r == 0)
        r = add_latency(ulm_pull_member(status, "latency"), out);
    return r < 0 ? r : add_counters(ulm_pull_member(status, "counters"), out);
}

static int hello_text(struct ulm_pull hello, struct ulm_buf *out)
{
    int r = ulm_buf_add_str(out, "ulmd ");
    if (r == 0)
        r = add_text(out, ulm_pull_member(hello, "version"), "?");
    if (r == 0)
        r = ulm_buf_add_fmt(out, ", protocol %.0f\n", number(hello, "protocol"));
    struct ulm_pull model = ulm_pull_member(hello, "model");
    if (r == 0 && ulm_pull_kind(model) == '{') {
        r = ulm_buf_add_str(out, "model    ");
        if (r == 0)
            r = add_text(out, ulm_pull_member(model, "name"), "?");
        if (r == 0)
            r = ulm_buf_add_fmt(out, ", %.1f M parameters, ", number(model, "parameters") / 1e6);
        if (r == 0)
            r = add_text(out, ulm_pull_member(model, "quantisation"), "?");
        if (r == 0)
            r = ulm_buf_add_fmt(out, ", context %.0f\n", number(model, "context"));
    }
    struct ulm_pull_walk walk = ulm_pull_walk(ulm_pull_member(hello, "capabilities"));
    struct ulm_pull key = {0}, value;
    const char *between = "can      ";
    while (r == 0 && ulm_pull_next(&walk, &key, &value)) {
        if (walk.object && ulm_pull_kind(value) == 'f')
            continue;
        r = ulm_buf_add_str(out, between);
        if (r == 0)
            r = add_text(out, walk.object ? key : value, "?");
        between = ", ";
    }
    return r < 0 || *between == 'c' ? r : ulm_buf_add(out, "\n", 1);
}

/* prometheus and session: where the command has that option, and this argument, or NULL. */
static int parse(struct ulmctl *ctl, int argc, char **argv, bool *prometheus, const char **session)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"prometheus", no_argument, NULL, 'p'},
        {"socket", required_argument, NULL, 'S'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        if (c == 'j') {
            ctl->json = true;
        } else if (c == 'S') {
            ctl->socket = optarg;
        } else if (c == 'p' && prometheus) {
            *prometheus = true;
        } else {
            if (c == 'p')
                ulmctl_complain("%s has no --prometheus", ctl->command);
            return ULMCTL_USAGE;
        }
    }
    if (session && optind + 1 == argc)
        *session = argv[optind++];
    if (optind != argc || (session && !*session)) {
        ulmctl_complain(session ? "%s: one SESSION is wanted" : "%s takes no text", ctl->command);
        return ULMCTL_USAGE;
    }
    if (session && (!**session || strlen(*session) > ULM_SESSION_NAME_MAX)) {
        ulmctl_complain("a SESSION has 1 to %u bytes", ULM_SESSION_NAME_MAX);
        return ULMCTL_USAGE;
    }
    if (ctl->json && prometheus && *prometheus) {
        ulmctl_complain("%s: --json or --prometheus", ctl->command);
        return ULMCTL_USAGE;
    }
    return ULMCTL_OK;
}

/* Asks, and writes the answer as it is wanted. */
static int show(struct ulmctl *ctl, enum ulmctl_query query, const char *session)
{
    struct ulm_client *client = NULL;
    int r = ulmctl_connect(ctl, &client);
    if (r != ULMCTL_OK)
        return r;
    ULM_CLEANUP_BUF struct ulm_buf line = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    ULM_CLEANUP_BUF struct ulm_buf out = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    r = ulmctl_fetch(client, query, session, &line);
    ulm_client_free(client);

    struct ulm_pull event = {0};
    if (r == 0)
        event = ulm_pull_text(line.data, line.len);
    if (r == 0 && ctl->json)
        r = ulm_buf_add_fmt(&out, "%s\n", ulm_buf_str(&line));
    else if (r == 0 && query == ULMCTL_STATUS_PROMETHEUS)
        r = add_text(&out, ulm_pull_member(event, "prometheus"), "");
    else if (r == 0 && query == ULMCTL_HELLO)
        r = hello_text(event, &out);
    else if (r == 0 && query != ULMCTL_RESET)
        r = ulmctl_status_text(&ctl->term, event, &out);
    if (r != 0) {
        ulmctl_complain("%s", r > 0 ? ulm_buf_str(&line) : ulmctl_reason(r));
        return ULMCTL_ERROR;
    }
    (void)fputs(ulm_buf_str(&out), stdout);
    return ULMCTL_OK;
}

int ulmctl_status(struct ulmctl *ctl, int argc, char **argv)
{
    bool prometheus = false;
    int r = parse(ctl, argc, argv, &prometheus, NULL);
    return r != ULMCTL_OK ? r
                          : show(ctl, prometheus ? ULMCTL_STATUS_PROMETHEUS : ULMCTL_STATUS, NULL);
}

int ulmctl_hello(struct ulmctl *ctl, int argc, char **argv)
{
    int r = parse(ctl, argc, argv, NULL, NULL);
    return r != ULMCTL_OK ? r : show(ctl, ULMCTL_HELLO, NULL);
}

int ulmctl_reset(struct ulmctl *ctl, int argc, char **argv)
{
    const char *session = NULL;
    int r = parse(ctl, argc, argv, NULL, &session);
    return r != ULMCTL_OK ? r : show(ctl, ULMCTL_RESET, session);
}
