/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ulmctl.h"
#include "util/text.h"

#define ASK_ID         "ask"
#define TIMELINE_CELLS 60u
#define DEADLINE_MAX   (UINT_MAX / 1000) /* milliseconds: what the wire carries */

struct asking {
    struct ulmctl *ctl;
    struct ulm_client_ask ask;
    const char *facts[ULM_FACTS_MAX];
    struct ulm_buf input; /* TEXT where it came from standard input */

    struct ulm_paint paint;
    bool stream;         /* plain output, and nothing can be taken back */
    enum ulm_style tint; /* of the next delta */
    unsigned opener_words;
    size_t withdrawn; /* characters */
    bool ended;
    int result; /* enum ulmctl_exit */
};

static int read_input(struct ulm_buf *input)
{
    for (;;) {
        int r = ulm_buf_reserve(input, 4096);
        if (r < 0)
            return r == -ENOBUFS ? -EMSGSIZE : r;
        size_t n = fread(input->data + input->len, 1, 4096, stdin);
        input->len += n;
        input->data[input->len] = '\0';
        if (n == 0)
            break;
    }
    if (ferror(stdin))
        return -EIO;
    while (input->len > 0 && ulm_is_space(input->data[input->len - 1]))
        ulm_buf_truncate(input, input->len - 1);
    return strlen(ulm_buf_str(input)) == input->len ? 0 : -EILSEQ; /* no U+0000 */
}

static int parse_deadline(const char *text, unsigned *ret_ms)
{
    char *end;
    unsigned long ms = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || ms < 1 || ms > DEADLINE_MAX) {
        ulmctl_complain("--deadline-ms is a whole number, 1 to %u", DEADLINE_MAX);
        return ULMCTL_USAGE;
    }
    *ret_ms = (unsigned)ms;
    return ULMCTL_OK;
}

static int parse(struct asking *a, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},         {"session", required_argument, NULL, 's'},
        {"medium", required_argument, NULL, 'm'}, {"context", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 'S'}, {"deadline-ms", required_argument, NULL, 'd'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        switch (c) {
        case 'j':
            a->ctl->json = true;
            break;
        case 's':
            a->ask.session = optarg;
            break;
        case 'm':
            a->ask.medium = optarg;
            break;
        case 'c':
            if (a->ask.n_context == ULM_FACTS_MAX) {
                ulmctl_complain("no more than %u facts", ULM_FACTS_MAX);
                return ULMCTL_USAGE;
            }
            a->facts[a->ask.n_context++] = optarg;
            break;
        case 'd':
            if (parse_deadline(optarg, &a->ask.deadline_ms) != ULMCTL_OK)
                return ULMCTL_USAGE;
            break;
        case 'S':
            a->ctl->socket = optarg;
            break;
        default:
            return ULMCTL_USAGE;
        }
    }
    if (optind + 1 != argc) {
        ulmctl_complain("ask: one TEXT is wanted, or - for standard input");
        return ULMCTL_USAGE;
    }
    if (a->ask.medium && strcmp(a->ask.medium, "display") != 0 &&
        strcmp(a->ask.medium, "speech") != 0) {
        ulmctl_complain("--medium is display or speech");
        return ULMCTL_USAGE;
    }
    a->ask.text = argv[optind];
    if (strcmp(argv[optind], "-") == 0) {
        int r = read_input(&a->input);
        if (r < 0) {
            ulmctl_complain("standard input: %s", r == -EMSGSIZE ? "too long" : strerror(-r));
            return ULMCTL_ERROR;
        }
        a->ask.text = ulm_buf_str(&a->input);
    }
    return ULMCTL_OK;
}

/* A correction is tinted up to the end of its first sentence: there the answer is back on course.
 */
static void paint_delta(struct asking *a, const char *text)
{
    size_t tinted = a->tint == ULM_STYLE_REPAIR ? strcspn(text, ".!?\n") : 0;
    bool over = text[tinted] != '\0';
    if (a->tint == ULM_STYLE_REPAIR && tinted > 0) {
        char *head = strndup(text, tinted + over);
        if (head)
            ulm_paint_add(&a->paint, head, a->tint);
        text += head ? tinted + over : 0;
        free(head);
    }
    if (over)
        a->tint = ULM_STYLE_PLAIN;
    if (*text)
        ulm_paint_add(&a->paint, text, a->tint);
}

static void print_safe(const char *text)
{
    ULM_CLEANUP_BUF struct ulm_buf safe = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    if (ulm_safe_add(&safe, text, strlen(text)) == 0)
        (void)fwrite(ulm_buf_str(&safe), 1, safe.len, stdout);
}

static void print_ms(FILE *out, const char *name, double ms)
{
    if (ms >= 0)
        (void)fprintf(out, "%s %.0f ms  ", name, ms);
}

static void print_summary(const struct asking *a, const struct ulm_client_event *e)
{
    const struct ulm_term *term = &a->ctl->term;
    unsigned cells = term->columns < TIMELINE_CELLS + 4 ? term->columns - 4 : TIMELINE_CELLS;
    ULM_CLEANUP_BUF struct ulm_buf line = ULM_BUF_INIT(4096);
    bool drawn = e->timing.total > 0 && term->columns > 20 &&
                 ulmctl_timeline(term, &e->timing, a->opener_words, cells, &line) == 0;
    (void)fprintf(term->out, "\n%s%s%s", drawn ? ulm_buf_str(&line) : "", drawn ? "\n" : "",
                  ulm_term_style(term, ULM_STYLE_DIM));
    print_ms(term->out, "first word", e->timing.first_word);
    print_ms(term->out, "opener", e->timing.opener);
    print_ms(term->out, "cloud", e->timing.cloud_first_text);
    print_ms(term->out, "gap", e->timing.gap);
    print_ms(term->out, "total", e->timing.total);
    (void)fprintf(term->out, "%s, %s", e->reason ? e->reason : "?", e->source ? e->source : "?");
    if (e->verdict)
        (void)fprintf(term->out, ", %s", e->verdict);
    if (a->withdrawn > 0)
        (void)fprintf(term->out, " (%zu characters taken back)", a->withdrawn);
    (void)fprintf(term->out, "%s\n", ulm_term_style(term, ULM_STYLE_PLAIN));
}

static void show_live(struct asking *a, const struct ulm_client_event *e)
{
    switch (e->type) {
    case ULM_CLIENT_OPENER:
        if (e->text)
            ulm_paint_add(&a->paint, e->text, ULM_STYLE_OPENER);
        break;
    case ULM_CLIENT_OPENED:
        a->opener_words = e->words;
        break;
    case ULM_CLIENT_REPAIR:
        a->tint = ULM_STYLE_REPAIR;
        if (e->strategy && strcmp(e->strategy, "pivot") != 0)
            ulm_paint_restyle(&a->paint, e->from, e->to, ULM_STYLE_STRUCK);
        break;
    case ULM_CLIENT_RETRACT:
        a->withdrawn += e->chars;
        ulm_paint_retract(&a->paint, e->chars);
        break;
    case ULM_CLIENT_DELTA:
        if (e->text)
            paint_delta(a, e->text);
        break;
    case ULM_CLIENT_DONE:
        print_summary(a, e);
        break;
    case ULM_CLIENT_UNKNOWN:
    case ULM_CLIENT_NOTICE:
    case ULM_CLIENT_ERROR:
    case ULM_CLIENT_HELLO:
    case ULM_CLIENT_STATUS:
    case ULM_CLIENT_OK:
        break;
    }
}

/* What was written to a pipe cannot be taken back: an answer that may retract is written whole. */
static void show_plain(const struct asking *a, const struct ulm_client_event *e)
{
    bool text = e->type == ULM_CLIENT_OPENER || e->type == ULM_CLIENT_DELTA;
    if (e->text && (a->stream ? text : e->type == ULM_CLIENT_DONE))
        print_safe(e->text);
    if (e->type == ULM_CLIENT_DONE)
        (void)puts("");
}

/* The end: what it says of the answer, and the exit status. */
static void conclude(struct asking *a, const struct ulm_client_event *e)
{
    a->ended = true;
    if (e->type == ULM_CLIENT_ERROR) {
        a->result = ULMCTL_ERROR;
        if (!a->ctl->json)
            ulmctl_complain("%s: %s", e->code ? e->code : "error", e->message ? e->message : "");
    } else if (!e->reason || strcmp(e->reason, "complete") != 0) {
        a->result = ULMCTL_INCOMPLETE;
        if (!a->ctl->json && !a->ctl->term.live) /* there the last line has it */
            ulmctl_complain("the answer is not complete: %s", e->reason ? e->reason : "?");
    }
}

static void on_event(void *data, const struct ulm_client_event *e)
{
    struct asking *a = data;
    if (a->ended)
        return;
    if (a->ctl->json) {
        (void)fwrite(e->line, 1, e->line_len, stdout);
        (void)putchar('\n');
    } else if (a->ctl->term.live) {
        show_live(a, e);
    } else {
        show_plain(a, e);
    }
    if (e->type == ULM_CLIENT_ERROR && a->paint.text.len > 0)
        (void)puts("");
    int written = ulmctl_flush();
    if (e->type == ULM_CLIENT_ERROR || e->type == ULM_CLIENT_DONE)
        conclude(a, e);
    if (a->paint.error < 0) {
        ulmctl_complain("%s", ulmctl_reason(a->paint.error));
        a->result = ULMCTL_ERROR;
    }
    if (written != ULMCTL_OK) { /* nobody sees the rest: the daemon is told to leave off */
        a->ended = true;
        a->result = written;
    }
}

static int run(struct asking *a)
{
    struct ulm_client *client = NULL;
    int r = ulmctl_connect(a->ctl, &client);
    if (r != ULMCTL_OK)
        return r;
    ulm_client_set_handler(client, on_event, a);
    ulmctl_catch_signals();
    r = ulm_client_ask(client, &a->ask);
    if (r == -EILSEQ || r == -EMSGSIZE)
        ulmctl_complain("the question is %s", r == -EILSEQ ? "not UTF-8" : "too long");

    bool cancelled = false;
    if (r == 0)
        r = ulm_client_dispatch(client);
    while (r == 0 && !a->ended) {
        if (ulmctl_interrupted && !cancelled) {
            cancelled = true;
            (void)ulm_client_cancel(client, ASK_ID);
            r = ulm_client_dispatch(client);
            continue;
        }
        r = ulm_client_wait(client, -1);
        if (r == -EINTR)
            r = 0;
    }
    if (!a->ended && r != -EILSEQ && r != -EMSGSIZE)
        ulmctl_complain("%s", ulmctl_reason(r));
    ulm_client_free(client);
    if (!a->ended)
        return ULMCTL_ERROR;
    return ulmctl_interrupted ? 128 + ulmctl_interrupted : a->result;
}

int ulmctl_ask(struct ulmctl *ctl, int argc, char **argv)
{
    struct asking a = {.ctl = ctl, .ask = {ULM_CLIENT_ASK_INIT, .id = ASK_ID}};
    ulm_buf_init(&a.input, ULM_LINE_MAX);
    a.ask.context = a.facts;
    ulm_paint_init(&a.paint, &ctl->term);
    int r = parse(&a, argc, argv);
    a.stream = a.ask.medium && strcmp(a.ask.medium, "speech") == 0;
    if (r == ULMCTL_OK)
        r = run(&a);
    ulm_paint_deinit(&a.paint);
    ulm_buf_deinit(&a.input);
    return r;
}
