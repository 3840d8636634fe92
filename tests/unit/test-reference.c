/* SPDX-License-Identifier: MIT */
/* Token ids and logits against those that tests/reference/make computed on its own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/tokenizer.h"
#include "tests/unit/unit.h"

#define IDS_MAX   64
#define VOCAB_MAX 1024

static FILE *open_data(const char *name)
{
    char path[4096];
    const char *data = getenv("DATA");
    ck_assert_ptr_nonnull(data);
    snprintf(path, sizeof path, "%s/reference/%s", data, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    return file;
}

static struct ulm_gguf *open_gguf(const char *name)
{
    char path[4096], err[256] = "";
    struct ulm_gguf *gguf = NULL;
    snprintf(path, sizeof path, "%s/reference/%s", getenv("DATA"), name);
    ck_assert_msg(ulm_gguf_open(path, &gguf, err, sizeof err) == 0, "%s: %s", path, err);
    return gguf;
}

static size_t read_floats(char *line, float *ret, size_t cap)
{
    size_t n = 0;
    for (char *end; n < cap; line = end) {
        float value = strtof(line, &end);
        if (end == line)
            break;
        ret[n++] = value;
    }
    return n;
}

/* A \uXXXX or a plain character of a JSON string; what json.dumps writes. */
static size_t unescape(const char *json, char *ret)
{
    size_t n = 0;
    for (json++; *json != '"'; json++) {
        if (*json != '\\') {
            ret[n++] = *json;
            continue;
        }
        const char *plain = "\"\\bfnrt", *meaning = "\"\\\b\f\n\r\t";
        if (*++json != 'u') {
            ret[n++] = meaning[strchr(plain, *json) - plain];
            continue;
        }
        unsigned code, low;
        ck_assert_int_eq(sscanf(json + 1, "%4x", &code), 1);
        json += 4;
        if (code >= 0xD800 && code < 0xDC00) {
            ck_assert_int_eq(sscanf(json + 1, "\\u%4x", &low), 1);
            json += 6;
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        if (code < 0x80) {
            ret[n++] = (char)code;
            continue;
        }
        if (code >= 0x10000) {
            ret[n++] = (char)(0xF0 | code >> 18);
            ret[n++] = (char)(0x80 | (code >> 12 & 63));
        } else if (code >= 0x800) {
            ret[n++] = (char)(0xE0 | code >> 12);
        }
        ret[n++] = (char)(code >= 0x800 ? 0x80 | (code >> 6 & 63) : 0xC0 | code >> 6);
        ret[n++] = (char)(0x80 | (code & 63));
    }
    return n;
}

START_TEST(test_tokens)
{
    struct ulm_gguf *gguf = open_gguf("tiny-q4_0.gguf");
    struct ulm_tokenizer *tokenizer = NULL;
    char err[256], line[8192], text[8192];
    ck_assert_int_eq(ulm_tokenizer_new(gguf, &tokenizer, err, sizeof err), 0);
    ulm_gguf_free(gguf);
    FILE *file = open_data("tokens.txt");
    unsigned lines = 0;
    while (fgets(line, sizeof line, file)) {
        size_t len = unescape(line, text), n = 0;
        int32_t ids[512];
        ck_assert_int_eq(ulm_tokenizer_encode(tokenizer, text, len, false, ids, 512, &n), 0);
        char *at = strchr(line, '\t');
        size_t k = 0;
        for (char *end; at; at = end, k++) {
            long id = strtol(at, &end, 10);
            if (end == at)
                break;
            ck_assert_msg(k < n && ids[k] == id, "token %zu of %s", k, line);
        }
        ck_assert_msg(k == n, "%zu tokens, not %zu: %s", n, k, line);
        lines++;
    }
    ck_assert_uint_gt(lines, 40);
    fclose(file);
    ulm_tokenizer_free(tokenizer);
}
END_TEST

static float worst(const float *a, const float *b, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

/* All positions in one batch, and one by one: both must agree with the reference. */
static void check_model(const char *name, const int32_t *ids, size_t n, const float *wanted,
                        size_t at, size_t vocabulary)
{
    char err[256] = "";
    static float logits[VOCAB_MAX];
    struct ulm_gguf *gguf = open_gguf(name);
    struct ulm_model *model = NULL;
    struct ulm_runner *runner = NULL;
    ck_assert_msg(ulm_model_new(gguf, "auto", &model, err, sizeof err) == 0, "%s", err);
    ulm_gguf_free(gguf);
    ck_assert_uint_eq(ulm_model_shape(model)->vocabulary, vocabulary);
    ck_assert_int_eq(ulm_runner_new(model, 1, "auto", &runner), 0);
    enum ulm_type type = ulm_model_shape(model)->type;
    for (int batched = 0; batched < 2; batched++) {
        struct ulm_kv *kv = NULL;
        struct ulm_row rows[IDS_MAX];
        ck_assert_int_eq(ulm_kv_new(model, IDS_MAX, &kv), 0);
        for (size_t i = 0; i <= at; i++) {
            rows[i] = (struct ulm_row){kv, ids[i], i == at};
            if (!batched)
                ulm_forward(runner, &rows[i], 1, logits);
        }
        if (batched)
            ulm_forward(runner, rows, at + 1, logits);
        float difference = worst(logits, wanted, vocabulary);
        /* One activation that rounds the other way shifts the quantised types by a little. */
        float bound = type == ULM_TYPE_Q8_0 || type == ULM_TYPE_Q4_0 ? 1e-2f : 1e-3f;
        printf("%s %s position %zu: difference %.2g of %.2g\n", ulm_model_kernels(model), name, at,
               (double)difference, (double)bound);
        ck_assert_msg(difference <= bound, "%s position %zu batched %d: %g > %g", name, at, batched,
                      (double)difference, (double)bound);
        ulm_kv_free(kv);
    }
    ulm_runner_free(runner);
    ulm_model_free(model);
}

START_TEST(test_logits)
{
    static char line[65536];
    char name[64] = "";
    int32_t ids[IDS_MAX];
    size_t n_ids = 0;
    unsigned models = 0;
    static float numbers[VOCAB_MAX + 1];
    FILE *file = open_data("logits.txt");
    while (fgets(line, sizeof line, file)) {
        if (line[0] == 't') {
            char *rest = strchr(line, ' ');
            *rest = '\0';
            snprintf(name, sizeof name, "%.63s", line);
            n_ids = read_floats(rest + 1, numbers, IDS_MAX);
            for (size_t i = 0; i < n_ids; i++)
                ids[i] = (int32_t)numbers[i];
            models++;
        } else {
            size_t n = read_floats(line, numbers, VOCAB_MAX + 1);
            ck_assert_uint_gt(n, 256);
            check_model(name, ids, n_ids, numbers + 1, (size_t)numbers[0], n - 1);
        }
    }
    ck_assert_uint_eq(models, 4);
    fclose(file);
}
END_TEST

UNIT_MAIN("reference", test_tokens, test_logits)
