/* SPDX-License-Identifier: MIT */
/* ulm info, ulm tokenize: what needs no forward pass. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kernels.h"
#include "engine/tokenizer.h"
#include "tools/ulm.h"
#include "util/text.h"

#define STDIN_CAP (64u * 1024 * 1024)

static int open_file(const char *path, struct ulm_gguf **ret_gguf)
{
    char err[256];
    if (ulm_gguf_open(path, ret_gguf, err, sizeof err) < 0)
        return ulm_fail("%s: %s", path, err);
    return ULM_EXIT_OK;
}

static void print_number(const struct ulm_gguf *gguf, const char *key, const char *label)
{
    uint64_t value;
    double real;
    if (ulm_gguf_get_u64(gguf, key, &value) == 0)
        printf("%-14s %llu\n", label, (unsigned long long)value);
    else if (ulm_gguf_get_f64(gguf, key, &real) == 0)
        printf("%-14s %g\n", label, real);
}

/* A text out of the file, with what a terminal would act on taken out. */
static void print_text(const struct ulm_gguf *gguf, const char *key, const char *label)
{
    const char *value;
    char shown[201];
    if (ulm_gguf_get_string(gguf, key, &value) < 0)
        return;
    (void)snprintf(shown, sizeof shown, "%s", value);
    shown[ulm_utf8_whole(shown, strlen(shown))] = '\0'; /* nor half a character, nor what is none */
    ulm_tame(shown);
    printf("%-14s %s\n", label, shown);
}

/* What a model would run with here. */
static void print_kernels(void)
{
    const struct ulm_kernels *kernels;
    if (ulm_kernels_pick("auto", &kernels) == 0)
        printf("%-14s %s\n", "kernels", kernels->name);
}

static void print_tensors(const struct ulm_gguf *gguf)
{
    static const enum ulm_type types[] = {ULM_TYPE_F32, ULM_TYPE_F16, ULM_TYPE_Q8_0, ULM_TYPE_Q4_0};
    uint64_t parameters = 0, bytes = 0;
    for (size_t i = 0; i < ulm_gguf_tensor_count(gguf); i++) {
        const struct ulm_tensor *tensor = ulm_gguf_tensor_at(gguf, i);
        parameters += (uint64_t)tensor->rows * tensor->cols;
        bytes += tensor->bytes;
    }
    printf("%-14s %llu\n", "parameters", (unsigned long long)parameters);
    printf("%-14s %llu\n", "weight bytes", (unsigned long long)bytes);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        size_t n = 0;
        for (size_t i = 0; i < ulm_gguf_tensor_count(gguf); i++)
            n += ulm_gguf_tensor_at(gguf, i)->type == types[k];
        if (n)
            printf("%-14s %zu\n", ulm_type_name(types[k]), n);
    }
}

int ulm_cmd_info(int argc, char **argv)
{
    if (argc != 2)
        return ulm_usage_error("info wants one file");
    struct ulm_gguf *gguf;
    int status = open_file(argv[1], &gguf);
    if (status)
        return status;
    print_text(gguf, "general.name", "name");
    print_text(gguf, "general.architecture", "architecture");
    print_text(gguf, "general.license", "license");
    print_number(gguf, "llama.context_length", "context");
    print_number(gguf, "llama.embedding_length", "hidden");
    print_number(gguf, "llama.block_count", "layers");
    print_number(gguf, "llama.attention.head_count", "heads");
    print_number(gguf, "llama.attention.head_count_kv", "kv heads");
    print_number(gguf, "llama.feed_forward_length", "ffn");
    print_number(gguf, "llama.rope.freq_base", "rope theta");
    const struct ulm_gguf_string *strings;
    size_t n;
    if (ulm_gguf_get_strings(gguf, "tokenizer.ggml.tokens", &strings, &n) == 0)
        printf("%-14s %zu\n", "vocabulary", n);
    print_text(gguf, "tokenizer.ggml.model", "tokenizer");
    print_text(gguf, "tokenizer.ggml.pre", "pre-tokenizer");
    if (ulm_gguf_get_strings(gguf, "ulm.lexicon", &strings, &n) == 0)
        printf("%-14s %zu words\n", "lexicon", n);
    if (ulm_gguf_get_strings(gguf, "ulm.neutral", &strings, &n) == 0)
        printf("%-14s %zu texts\n", "neutral", n);
    double confidence;
    if (ulm_gguf_get_f64(gguf, "ulm.min_confidence", &confidence) == 0)
        printf("%-14s %g\n", "min confidence", confidence);
    print_text(gguf, "ulm.system", "system text");
    print_tensors(gguf);
    print_kernels();
    ulm_gguf_free(gguf);
    return ULM_EXIT_OK;
}

static int print_ids(const struct ulm_tokenizer *tokenizer, const char *text, size_t len,
                     bool special)
{
    size_t cap = 3 * len + 1, n = 0;
    int32_t *ids = malloc(cap * sizeof *ids);
    if (!ids || ulm_tokenizer_encode(tokenizer, text, len, special, ids, cap, &n) < 0) {
        free(ids);
        return ulm_fail("out of memory");
    }
    putchar('[');
    for (size_t i = 0; i < n; i++)
        printf("%s%d", i ? "," : "", ids[i]);
    puts("]");
    free(ids);
    return ULM_EXIT_OK;
}

static int print_lines(const struct ulm_tokenizer *tokenizer, bool special)
{
    char *text;
    size_t len;
    int r = ulm_read_stdin(STDIN_CAP, &text, &len);
    if (r < 0)
        return ulm_fail("cannot read standard input: %s", strerror(-r));
    int status = ULM_EXIT_OK;
    for (size_t at = 0; status == ULM_EXIT_OK && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line = end ? (size_t)(end - text) - at : len - at;
        status = print_ids(tokenizer, text + at, line, special);
        at += line + 1;
    }
    free(text);
    return status;
}

int ulm_cmd_tokenize(int argc, char **argv)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'}, {"special", no_argument, NULL, 's'}, {0}};
    const char *path = NULL;
    bool special = false;
    for (int c; (c = getopt_long(argc, argv, "m:", options, NULL)) >= 0;) {
        if (c == 'm')
            path = optarg;
        else if (c == 's')
            special = true;
        else
            return ulm_usage_error("tokenize: unknown option");
    }
    if (!path || optind + 1 != argc)
        return ulm_usage_error("tokenize wants -m FILE and one text");
    struct ulm_gguf *gguf;
    int status = open_file(path, &gguf);
    if (status)
        return status;
    char err[256];
    struct ulm_tokenizer *tokenizer = NULL;
    if (ulm_tokenizer_new(gguf, &tokenizer, err, sizeof err) < 0)
        status = ulm_fail("%s: %s", path, err);
    ulm_gguf_free(gguf);
    if (status)
        return status;
    const char *text = argv[optind];
    status = !strcmp(text, "-") ? print_lines(tokenizer, special)
                                : print_ids(tokenizer, text, strlen(text), special);
    ulm_tokenizer_free(tokenizer);
    return status;
}
