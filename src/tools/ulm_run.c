/* SPDX-License-Identifier: MIT */
/* ulm logits, ulm generate: the bare forward pass, to be held against other programs. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/tokenizer.h"
#include "tools/ulm.h"

#define CONTEXT_MAX 65536u

struct session {
    const char *path, *kernels;
    long threads;
    struct ulm_tokenizer *tokenizer;
    struct ulm_model *model;
    struct ulm_runner *runner;
    struct ulm_kv *kv;
    float *logits; /* [vocabulary] behind the last token that was run */
};

static void close_session(struct session *s)
{
    ulm_kv_free(s->kv);
    ulm_runner_free(s->runner);
    ulm_model_free(s->model);
    ulm_tokenizer_free(s->tokenizer);
    free(s->logits);
}

static int open_session(struct session *s)
{
    char err[256];
    struct ulm_gguf *gguf;
    if (ulm_gguf_open(s->path, &gguf, err, sizeof err) < 0)
        return ulm_fail("%s: %s", s->path, err);
    int r = ulm_tokenizer_new(gguf, &s->tokenizer, err, sizeof err);
    if (r == 0)
        r = ulm_model_new(gguf, s->kernels, &s->model, err, sizeof err);
    ulm_gguf_free(gguf);
    if (r < 0)
        return ulm_fail("%s: %s", s->path, err);
    if (ulm_runner_new(s->model, (unsigned)s->threads, "auto", &s->runner) < 0)
        return ulm_fail("cannot start the compute threads");
    ulm_runner_bind(s->runner);
    s->logits = calloc(ulm_model_shape(s->model)->vocabulary, sizeof *s->logits);
    return s->logits ? ULM_EXIT_OK : ulm_fail("out of memory");
}

/* Runs n > 0 tokens behind those of the cache, which is made for `context` tokens first. */
static int run(struct session *s, const int32_t *ids, size_t n, size_t context)
{
    if (!s->kv && ulm_kv_new(s->model, (unsigned)context, &s->kv) < 0)
        return ulm_fail("out of memory");
    for (size_t at = 0; at < n;) {
        struct ulm_row rows[ULM_BATCH_MAX];
        size_t k = 0;
        for (; k < ULM_BATCH_MAX && at < n; k++, at++)
            rows[k] = (struct ulm_row){s->kv, ids[at], at + 1 == n};
        ulm_forward(s->runner, rows, k, s->logits);
    }
    return ULM_EXIT_OK;
}

/* Options that both commands have; `wanted` is the command's own. */
static int parse(int argc, char **argv, const char *own, struct session *s, const char **ret_text,
                 long *ret_n, bool *ret_ids)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'},   {"threads", required_argument, NULL, 't'},
        {"kernels", required_argument, NULL, 'k'}, {"raw", required_argument, NULL, 'r'},
        {"ids", optional_argument, NULL, 'i'},     {0}};
    bool logits = !strcmp(own, "logits");
    *s = (struct session){.kernels = "auto"};
    for (int c; (c = getopt_long(argc, argv, "m:t:n:", options, NULL)) >= 0;) {
        bool good = true;
        if (c == 'm')
            s->path = optarg;
        else if (c == 'k')
            s->kernels = optarg;
        else if (c == 't')
            good = ulm_parse_number(optarg, 1, 64, &s->threads) == 0;
        else if (c == 'n' && !logits)
            good = ulm_parse_number(optarg, 1, 4096, ret_n) == 0;
        else if (c == 'r' && !logits)
            *ret_text = optarg;
        else if (c == 'i' && logits)
            *ret_text = optarg ? optarg : optind < argc ? argv[optind++] : NULL;
        else if (c == 'i' && !optarg)
            *ret_ids = true;
        else
            good = false;
        if (!good)
            return ulm_usage_error("%s: a wrong option or value", own);
    }
    if (s->path && *ret_text && optind == argc)
        return ULM_EXIT_OK;
    return ulm_usage_error("%s wants -m FILE and %s", own, logits ? "--ids" : "--raw TEXT");
}

/* "1,2,3" -> ids; the caller frees. NULL = no such list. */
static int32_t *parse_ids(const char *text, size_t vocabulary, size_t *ret_n)
{
    int32_t *ids = malloc((strlen(text) / 2 + 1) * sizeof *ids);
    size_t n = 0;
    while (ids) {
        char *end;
        long id = strtol(text, &end, 10);
        if (end == text || id < 0 || (size_t)id >= vocabulary || n == CONTEXT_MAX ||
            (*end && *end != ','))
            break;
        ids[n++] = (int32_t)id;
        if (!*end) {
            *ret_n = n;
            return ids;
        }
        text = end + 1;
    }
    free(ids);
    return NULL;
}

static int print_logits(struct session *s, const char *list)
{
    size_t n, vocabulary = ulm_model_shape(s->model)->vocabulary;
    int32_t *ids = parse_ids(list, vocabulary, &n);
    if (!ids)
        return ulm_usage_error("logits: --ids wants numbers below %zu with commas between",
                               vocabulary);
    int status = run(s, ids, n, n);
    free(ids);
    if (status)
        return status;
    putchar('[');
    for (size_t i = 0; i < vocabulary; i++) {
        /* JSON has no word for what is not a number. */
        if (s->logits[i] - s->logits[i] != 0)
            return ulm_fail("%s: the model computes no finite numbers", s->path);
        printf("%s%.7g", i ? "," : "", (double)s->logits[i]);
    }
    puts("]");
    return ULM_EXIT_OK;
}

int ulm_cmd_logits(int argc, char **argv)
{
    struct session s;
    const char *list = NULL;
    int status = parse(argc, argv, "logits", &s, &list, NULL, NULL);
    if (status)
        return status;
    status = open_session(&s);
    if (status == ULM_EXIT_OK)
        status = print_logits(&s, list);
    close_session(&s);
    return status;
}

static int print_greedy(struct session *s, const char *text, long wanted, bool as_ids)
{
    size_t cap = 3 * strlen(text) + 2, n = 0;
    int32_t *ids = malloc(cap * sizeof *ids);
    if (!ids)
        return ulm_fail("out of memory");
    if (ulm_tokenizer_bos(s->tokenizer) >= 0)
        ids[n++] = ulm_tokenizer_bos(s->tokenizer);
    int r = ulm_tokenizer_encode(s->tokenizer, text, strlen(text), true, ids, cap, &n);
    int status = r < 0 ? ulm_fail("out of memory") : ULM_EXIT_OK;
    if (r == 0 && (!n || n > CONTEXT_MAX))
        status = ulm_usage_error("generate: the text has no tokens, or too many");
    if (status == ULM_EXIT_OK)
        status = run(s, ids, n, n + (size_t)wanted);
    free(ids);
    if (status)
        return status;
    if (as_ids)
        putchar('[');
    for (long i = 0; i < wanted; i++) {
        int32_t id;
        size_t len;
        (void)ulm_model_log_sum(s->model, s->logits, &id);
        const char *piece = ulm_tokenizer_piece(s->tokenizer, id, &len);
        if (as_ids)
            printf("%s%d", i ? "," : "", id);
        else if (!ulm_tokenizer_is_control(s->tokenizer, id))
            (void)fwrite(piece, 1, len, stdout);
        if (id == ulm_tokenizer_eos(s->tokenizer) ||
            id == ulm_tokenizer_control(s->tokenizer, "<|im_end|>") ||
            id == ulm_tokenizer_control(s->tokenizer, "<|endoftext|>"))
            break;
        run(s, &id, 1, 0);
    }
    puts(as_ids ? "]" : "");
    return ULM_EXIT_OK;
}

int ulm_cmd_generate(int argc, char **argv)
{
    struct session s;
    const char *text = NULL;
    long n = 32;
    bool as_ids = false;
    int status = parse(argc, argv, "generate", &s, &text, &n, &as_ids);
    if (status || !text)
        return status;
    status = open_session(&s);
    if (status == ULM_EXIT_OK &&
        ulm_tokenizer_size(s.tokenizer) != ulm_model_shape(s.model)->vocabulary)
        status = ulm_fail("%s: the vocabulary and the embedding differ in size", s.path);
    if (status == ULM_EXIT_OK)
        status = print_greedy(&s, text, n, as_ids);
    close_session(&s);
    return status;
}
