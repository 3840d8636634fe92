/* SPDX-License-Identifier: MIT */
/* ulm opener: what the daemon would say first. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/decoder.h"
#include "tools/ulm.h"
#include "util/buf.h"
#include "util/json.h"
#include "util/text.h"

struct arguments {
    struct ulm_engine_config config;
    struct ulm_opener_options options;
    const char *facts[ULM_FACTS_MAX];
    size_t n_facts;
    bool json;
    const char *text;
};

/* Times of one opener, in microseconds. */
struct clock {
    int64_t start, ready;
};

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static bool never(void *data)
{
    (void)data;
    return false;
}

static void ignore_word(void *data, const char *text, size_t len)
{
    (void)data;
    (void)text;
    (void)len;
}

static void note_ready(void *data)
{
    struct clock *clock = data;
    clock->ready = now_us();
}

static int print_json(const struct ulm_outcome *outcome, const struct clock *clock, int64_t end)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(16 * ULM_OPENER_MAX);
    if (ulm_buf_add_str(&buf, "{\"opener\":") < 0 || ulm_json_add_string(&buf, outcome->text) < 0 ||
        ulm_buf_add_fmt(
            &buf,
            ",\"words\":%u,\"neutral\":%s,\"confidence\":%.4f,\"tokens\":%u,"
            "\"prefill_ms\":%.3f,\"total_ms\":%.3f,\"prompt_tokens\":%u,\"guard_hits\":%u,"
            "\"prompt_shortened\":%s}",
            outcome->words, outcome->neutral ? "true" : "false", outcome->confidence,
            outcome->generated_tokens, (double)(clock->ready - clock->start) / 1000,
            (double)(end - clock->start) / 1000, outcome->prompt_tokens, outcome->guard_hits,
            outcome->prompt_shortened ? "true" : "false") < 0)
        return ulm_fail("out of memory");
    puts(ulm_buf_str(&buf));
    return ULM_EXIT_OK;
}

static int say_one(struct ulm_decoder *decoder, const struct arguments *a, const char *text)
{
    struct clock clock;
    const struct ulm_prompt prompt = {.text = text, .facts = a->facts, .n_facts = a->n_facts};
    const struct ulm_watch watch = {never, ignore_word, note_ready, &clock};
    struct ulm_outcome outcome;
    if (strlen(text) > ULM_INPUT_MAX || !ulm_utf8_valid(text, strlen(text)))
        return ulm_fail("the text is not UTF-8, or longer than %u bytes", ULM_INPUT_MAX);
    clock.start = now_us();
    /* One ticket for all: the next text starts from what the last has left in the cache. */
    int r = ulm_decoder_opener(decoder, 1, &prompt, &a->options, &watch, &outcome);
    int64_t end = now_us();
    if (r < 0)
        return ulm_fail("no opener: %s",
                        r == -EDOM ? "the model computes no finite numbers" : strerror(-r));
    if (a->json)
        return print_json(&outcome, &clock, end);
    ulm_tame(outcome.text);
    puts(outcome.text);
    return ULM_EXIT_OK;
}

static int say_lines(struct ulm_decoder *decoder, const struct arguments *a)
{
    char *text, *rest;
    size_t len;
    int r = ulm_read_stdin(64u * 1024 * 1024, &text, &len);
    if (r < 0)
        return ulm_fail("cannot read standard input: %s", strerror(-r));
    int status = ULM_EXIT_OK;
    rest = text;
    for (char *line; status == ULM_EXIT_OK && *rest && (line = strsep(&rest, "\n"));) {
        status = say_one(decoder, a, line);
        if (!rest)
            break;
    }
    free(text);
    return status;
}

static bool parse_real(const char *text, double low, double high, double *ret)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        return false;
    *ret = value;
    return true;
}

static bool parse_number(const char *text, long low, long high, unsigned *ret)
{
    long value;
    if (ulm_parse_number(text, low, high, &value) < 0)
        return false;
    *ret = (unsigned)value;
    return true;
}

enum {
    OPT_CONTEXT = 256,
    OPT_KERNELS,
    OPT_MIN,
    OPT_MAX,
    OPT_BEAM,
    OPT_TEMPERATURE,
    OPT_TOP_P,
    OPT_SEED,
    OPT_NO_GUARD,
    OPT_SYSTEM,
    OPT_JSON,
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"threads", required_argument, NULL, 't'},
    {"kernels", required_argument, NULL, OPT_KERNELS},
    {"context", required_argument, NULL, OPT_CONTEXT},
    {"min-words", required_argument, NULL, OPT_MIN},
    {"max-words", required_argument, NULL, OPT_MAX},
    {"beam", required_argument, NULL, OPT_BEAM},
    {"temperature", required_argument, NULL, OPT_TEMPERATURE},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"seed", required_argument, NULL, OPT_SEED},
    {"no-guard", no_argument, NULL, OPT_NO_GUARD},
    {"system", required_argument, NULL, OPT_SYSTEM},
    {"json", no_argument, NULL, OPT_JSON},
    {0},
};

static bool take_option(struct arguments *a, int c)
{
    unsigned number;
    switch (c) {
    case 'm':
        a->config.path = optarg;
        return true;
    case 't':
        return parse_number(optarg, 1, 64, &a->config.threads);
    case OPT_KERNELS:
        a->config.kernels = optarg;
        return true;
    case OPT_CONTEXT:
        if (a->n_facts == ULM_FACTS_MAX || !ulm_utf8_valid(optarg, strlen(optarg)))
            return false;
        a->facts[a->n_facts++] = optarg;
        return true;
    case OPT_MIN:
        return parse_number(optarg, 1, ULM_WORDS_MAX, &a->options.min_words);
    case OPT_MAX:
        return parse_number(optarg, 1, ULM_WORDS_MAX, &a->options.max_words);
    case OPT_BEAM:
        return parse_number(optarg, 1, ULM_BEAM_MAX, &a->options.beam);
    case OPT_TEMPERATURE:
        return parse_real(optarg, 0, 10, &a->options.temperature);
    case OPT_TOP_P:
        return parse_real(optarg, 1e-6, 1, &a->options.top_p);
    case OPT_SEED:
        if (!parse_number(optarg, 0, INT32_MAX, &number))
            return false;
        a->options.seed = number;
        return true;
    case OPT_NO_GUARD:
        a->options.guard = false;
        return true;
    case OPT_SYSTEM:
        a->config.system = optarg;
        return true;
    case OPT_JSON:
        a->json = true;
        return true;
    default:
        return false;
    }
}

int ulm_cmd_opener(int argc, char **argv)
{
    struct arguments a = {
        .options = {.min_words = 4, .max_words = 8, .guard = true, .beam = 1, .top_p = 1},
    };
    int index = 0;
    for (int c; (c = getopt_long(argc, argv, "m:t:", long_options, &index)) >= 0;) {
        if (!take_option(&a, c))
            return ulm_usage_error("opener: a wrong option or value");
    }
    if (!a.config.path || optind + 1 != argc || a.options.min_words > a.options.max_words)
        return ulm_usage_error("opener wants -m FILE, one text, and no more least than most words");
    char err[256];
    struct ulm_decoder *decoder;
    if (ulm_decoder_new(&a.config, &decoder, err, sizeof err) != 0)
        return ulm_fail("%s: %s", a.config.path, err);
    ulm_decoder_bind(decoder);
    a.options.hold = true; /* as the daemon does with this file, unless it is told otherwise */
    a.options.min_confidence = ulm_decoder_info(decoder)->min_confidence;
    const char *text = argv[optind];
    int status = !strcmp(text, "-") ? say_lines(decoder, &a) : say_one(decoder, &a, text);
    ulm_decoder_free(decoder);
    return status;
}
