/* SPDX-License-Identifier: MIT */
/*
 * ulm bench: what a model file costs on this machine. Medians over many short runs, because other
 * programs come and go; the spread says how much they did. One JSON object on standard output.
 */
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

#define RUNS_MAX 1000

struct arguments {
    struct ulm_engine_config config;
    long prompt, tokens, runs;
};

/* Times of the runs, in milliseconds. */
struct sample {
    double ms[RUNS_MAX];
    size_t n;
};

struct results {
    double load_ms;
    struct sample prefill, decode; /* decode: one token's share */
    struct sample first_word, opener, drafted_word;
    unsigned new_tokens, generated_tokens; /* of the last opener */
    unsigned threads;
    uint64_t parameters, weight_bytes;
    char kernels[16], quantisation[16];
};

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const struct sample *s, double q)
{
    return s->n > 0 ? s->ms[(size_t)(q * (double)(s->n - 1) + 0.5)] : 0;
}

static void add(struct sample *s, double ms)
{
    if (s->n < RUNS_MAX)
        s->ms[s->n++] = ms;
}

/* The bare forward pass: `prompt` rows in one batch, then `tokens` rows one by one. The ids do not
 * matter for the time; each run has others. */
static int bench_forward(struct arguments *a, struct results *results)
{
    char err[256];
    struct ulm_gguf *gguf;
    struct ulm_model *model = NULL;
    struct ulm_runner *runner = NULL;
    struct ulm_kv *kv = NULL;
    float *logits = NULL;
    if (ulm_gguf_open(a->config.path, &gguf, err, sizeof err) < 0)
        return ulm_fail("%s: %s", a->config.path, err);
    int r = ulm_model_new(gguf, a->config.kernels, &model, err, sizeof err);
    ulm_gguf_free(gguf);
    if (r < 0)
        return ulm_fail("%s: %s", a->config.path, err);
    unsigned vocabulary = ulm_model_shape(model)->vocabulary;
    logits = calloc(vocabulary, sizeof *logits);
    if (logits == NULL || ulm_kv_new(model, (unsigned)(a->prompt + a->tokens), &kv) < 0 ||
        ulm_runner_new(model, a->config.threads, a->config.cores, &runner) < 0) {
        r = ulm_fail("cannot make the cache and the compute threads");
        goto out;
    }
    ulm_runner_bind(runner);
    for (long run = -2; run < a->runs; run++) { /* two to warm up */
        struct ulm_row rows[ULM_BATCH_MAX];
        ulm_kv_truncate(kv, 0);
        for (long i = 0; i < a->prompt; i++)
            rows[i] = (struct ulm_row){kv, (int32_t)((i * 7919 + run + 2) % vocabulary),
                                       i + 1 == a->prompt};
        double start = now_ms();
        ulm_forward(runner, rows, (size_t)a->prompt, logits);
        double middle = now_ms();
        for (long i = 0; i < a->tokens; i++) {
            rows[0] = (struct ulm_row){kv, (int32_t)((i * 31 + run + 2) % vocabulary), true};
            ulm_forward(runner, rows, 1, logits);
        }
        if (run >= 0) {
            add(&results->prefill, middle - start);
            add(&results->decode, (now_ms() - middle) / (double)a->tokens);
        }
    }
out:
    free(logits);
    ulm_kv_free(kv);
    ulm_runner_free(runner);
    ulm_model_free(model);
    return r < 0 ? ULM_EXIT_FAILURE : r;
}

static void note_info(const struct ulm_model_info *info, struct results *results)
{
    results->threads = info->threads;
    results->parameters = info->parameters;
    results->weight_bytes = info->weight_bytes;
    (void)snprintf(results->kernels, sizeof results->kernels, "%s", info->kernels);
    (void)snprintf(results->quantisation, sizeof results->quantisation, "%s", info->quantisation);
}

static bool never(void *data)
{
    return false;
}

/* When the first word came. */
static void note_word(void *data, const char *text, size_t len)
{
    double *first = data;
    if (*first == 0)
        *first = now_ms();
}

/* Whole openers to requests that share nothing but the template; then after a full draft. */
static int bench_opener(struct arguments *a, struct results *results)
{
    static const char *const things[] = {"lighthouse", "glacier", "violin", "bakery", "harbour"};
    char err[256], text[128];
    struct ulm_decoder *decoder;
    double start = now_ms();
    if (ulm_decoder_new(&a->config, &decoder, err, sizeof err) != 0)
        return ulm_fail("%s: %s", a->config.path, err);
    results->load_ms = now_ms() - start;
    note_info(ulm_decoder_info(decoder), results);
    ulm_decoder_bind(decoder);
    int r = 0;
    for (long run = 0; run < a->runs && r == 0; run++) {
        struct ulm_outcome outcome;
        const struct ulm_opener_options options = {
            .min_words = 4, .max_words = 8, .guard = true, .beam = 1, .top_p = 1};
        double first = 0;
        const struct ulm_watch watch = {never, note_word, NULL, &first};
        (void)snprintf(text, sizeof text, "%ld: how far is the old %s from the next town?", run,
                       things[run % 5]);
        const struct ulm_prompt prompt = {.text = text};
        start = now_ms();
        r = ulm_decoder_opener(decoder, (uint64_t)run * 2, &prompt, &options, &watch, &outcome);
        double end = now_ms();
        if (r != 0)
            break;
        add(&results->first_word, (first > 0 ? first : end) - start);
        add(&results->opener, end - start);
        results->new_tokens = outcome.prompt_tokens - outcome.reused_tokens;
        results->generated_tokens = outcome.generated_tokens;

        (void)snprintf(text, sizeof text, "what does %ld times the %s weigh, more or less?", run,
                       things[run % 5]);
        uint64_t ticket = (uint64_t)run * 2 + 1;
        r = ulm_decoder_draft(decoder, ticket, &prompt, &watch);
        first = 0;
        start = now_ms();
        if (r == 0)
            r = ulm_decoder_opener(decoder, ticket, &prompt, &options, &watch, &outcome);
        add(&results->drafted_word, (first > 0 ? first : now_ms()) - start);
    }
    ulm_decoder_free(decoder);
    return r != 0 ? ulm_fail("no opener could be made") : ULM_EXIT_OK;
}

/* ,"name":{"median_ms":..} with the spread; rate > 0 adds tokens a second, `rate` being tokens. */
static int add_sample(struct ulm_buf *buf, const char *name, struct sample *s, long rate)
{
    qsort(s->ms, s->n, sizeof *s->ms, by_size);
    int r = ulm_buf_add_fmt(buf,
                            ",\n \"%s\": {\"runs\": %zu, \"median_ms\": %.4f, \"p10_ms\": %.4f, "
                            "\"p90_ms\": %.4f, \"best_ms\": %.4f",
                            name, s->n, quantile(s, 0.5), quantile(s, 0.1), quantile(s, 0.9),
                            quantile(s, 0));
    if (r == 0 && rate > 0)
        r = ulm_buf_add_fmt(buf, ", \"tokens\": %ld, \"median_tokens_s\": %.1f", rate,
                            (double)rate * 1e3 / quantile(s, 0.5));
    return r < 0 ? r : ulm_buf_add_str(buf, "}");
}

/* The four figures a script asks for, by plain names. The samples are in order by now. */
static int add_medians(struct ulm_buf *buf, const struct arguments *a, const struct results *r)
{
    return ulm_buf_add_fmt(buf,
                           ",\n \"prefill_tok_s\": %.1f, \"decode_tok_s\": %.1f, "
                           "\"first_word_ms\": %.4f, \"opener_ms\": %.4f}",
                           (double)a->prompt * 1e3 / quantile(&r->prefill, 0.5),
                           1e3 / quantile(&r->decode, 0.5), quantile(&r->first_word, 0.5),
                           quantile(&r->opener, 0.5));
}

static int print(const struct arguments *a, struct results *r)
{
    ULM_CLEANUP_BUF struct ulm_buf buf = ULM_BUF_INIT(16384);
    bool bad = ulm_buf_add_str(&buf, "{\"model\": ") < 0 ||
               ulm_json_add_string(&buf, a->config.path) < 0 ||
               ulm_buf_add_fmt(&buf,
                               ",\n \"quantisation\": \"%s\", \"parameters\": %llu, "
                               "\"weight_bytes\": %llu, \"kernels\": \"%s\", \"threads\": %u,\n "
                               "\"load_ms\": %.2f",
                               r->quantisation, (unsigned long long)r->parameters,
                               (unsigned long long)r->weight_bytes, r->kernels,
                               r->threads, r->load_ms) < 0 ||
               add_sample(&buf, "prefill", &r->prefill, a->prompt) < 0 ||
               add_sample(&buf, "decode", &r->decode, 1) < 0 ||
               add_sample(&buf, "first_word", &r->first_word, 0) < 0 ||
               add_sample(&buf, "opener", &r->opener, 0) < 0 ||
               add_sample(&buf, "first_word_after_draft", &r->drafted_word, 0) < 0 ||
               ulm_buf_add_fmt(&buf,
                               ",\n \"opener_new_tokens\": %u, \"opener_generated_tokens\": %u",
                               r->new_tokens, r->generated_tokens) < 0;
    if (bad || add_medians(&buf, a, r) < 0)
        return ulm_fail("out of memory");
    puts(ulm_buf_str(&buf));
    return ULM_EXIT_OK;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'},   {"threads", required_argument, NULL, 't'},
        {"kernels", required_argument, NULL, 'k'}, {"cores", required_argument, NULL, 'c'},
        {"prompt", required_argument, NULL, 'p'},  {"tokens", required_argument, NULL, 'n'},
        {"runs", required_argument, NULL, 'r'},    {"json", no_argument, NULL, 'j'},
        {0}};
    for (int c; (c = getopt_long(argc, argv, "m:t:k:c:p:n:r:", options, NULL)) >= 0;) {
        long threads;
        int r = 0;
        switch (c) {
        case 'm':
            a->config.path = optarg;
            break;
        case 'k':
            a->config.kernels = optarg;
            break;
        case 'c':
            a->config.cores = optarg;
            break;
        case 't':
            r = ulm_parse_number(optarg, 1, 64, &threads);
            if (r == 0)
                a->config.threads = (unsigned)threads;
            break;
        case 'j': /* it is JSON with or without */
            break;
        case 'p':
            r = ulm_parse_number(optarg, 1, ULM_BATCH_MAX, &a->prompt);
            break;
        case 'n':
            r = ulm_parse_number(optarg, 1, 256, &a->tokens);
            break;
        case 'r':
            r = ulm_parse_number(optarg, 1, RUNS_MAX, &a->runs);
            break;
        default:
            r = -1;
        }
        if (r < 0)
            return ulm_usage_error("bench: a wrong option or value");
    }
    if (a->config.path == NULL || optind != argc)
        return ulm_usage_error("bench wants -m FILE");
    return ULM_EXIT_OK;
}

int ulm_cmd_bench(int argc, char **argv)
{
    struct arguments a = {.config = {.kernels = "auto", .cores = "auto", .context = 512},
                          .prompt = 32, .tokens = 12, .runs = 20};
    int status = parse(argc, argv, &a);
    struct results *results = calloc(1, sizeof *results);
    if (results == NULL)
        return ulm_fail("out of memory");
    if (status == ULM_EXIT_OK)
        status = bench_opener(&a, results);
    if (status == ULM_EXIT_OK)
        status = bench_forward(&a, results);
    if (status == ULM_EXIT_OK)
        status = print(&a, results);
    free(results);
    return status;
}
