/* SPDX-License-Identifier: MIT */
/* What model.h promises of any file and any kernels: rows, caches and threads do not touch each
 * other. Whether the numbers are right is for test-reference and test-kernels. */
#include "engine/model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/kernels.h"
#include "tests/unit/unit.h"

#define LENGTH 40u

static const char *const files[] = {"tiny-f32", "tiny-f16", "tiny-q8_0", "tiny-q4_0"};

static struct ulm_model *model_new(const char *name, const char *kernels)
{
    char path[512], err[256] = "";
    struct ulm_gguf *gguf;
    struct ulm_model *model = NULL;
    snprintf(path, sizeof path, "%s/reference/%s.gguf", getenv("DATA"), name);
    ck_assert_msg(ulm_gguf_open(path, &gguf, err, sizeof err) == 0, "%s: %s", path, err);
    ck_assert_msg(ulm_model_new(gguf, kernels, &model, err, sizeof err) == 0, "%s", err);
    ulm_gguf_free(gguf);
    ck_assert_str_eq(ulm_model_kernels(model), kernels);
    return model;
}

struct world {
    struct ulm_model *model;
    struct ulm_runner *runner;
    struct ulm_kv *kv, *other;
    unsigned vocabulary;
    float *batch, *single; /* [LENGTH][vocabulary] */
};

static struct world world_new(const char *name, const char *kernels, unsigned threads)
{
    struct world w = {.model = model_new(name, kernels)};
    w.vocabulary = ulm_model_shape(w.model)->vocabulary;
    ck_assert_int_eq(ulm_runner_new(w.model, threads, "auto", &w.runner), 0);
    ck_assert_int_eq(ulm_kv_new(w.model, 64, &w.kv), 0);
    ck_assert_int_eq(ulm_kv_new(w.model, 50, &w.other), 0);
    w.batch = calloc(LENGTH * w.vocabulary, sizeof *w.batch);
    w.single = calloc(LENGTH * w.vocabulary, sizeof *w.single);
    return w;
}

static void world_free(struct world *w)
{
    ulm_kv_free(w->kv);
    ulm_kv_free(w->other);
    ulm_runner_free(w->runner);
    ulm_model_free(w->model);
    free(w->batch);
    free(w->single);
}

static int32_t token(const struct world *w, unsigned i)
{
    return (int32_t)((i * 37 + 11) % w->vocabulary);
}

/* Positions [from, to) of the sequence in one call; logits of all of them. */
static void run(struct world *w, struct ulm_kv *kv, unsigned from, unsigned to, float *logits)
{
    struct ulm_row rows[ULM_BATCH_MAX];
    for (unsigned i = from; i < to; i++)
        rows[i - from] = (struct ulm_row){kv, token(w, i), true};
    ulm_forward(w->runner, rows, to - from, logits);
}

static void same(const struct world *w, const float *a, const float *b, unsigned rows)
{
    ck_assert_int_eq(memcmp(a, b, (size_t)rows * w->vocabulary * sizeof *a), 0);
}

START_TEST(test_a_row_stands_alone)
{
    const struct ulm_kernels *kernels;
    for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
        for (size_t f = 0; f < 4; f++) {
            struct world w = world_new(files[f], kernels->name, 1);
            run(&w, w.kv, 0, LENGTH, w.batch);
            ck_assert_uint_eq(ulm_kv_len(w.kv), LENGTH);
            /* One by one, then in uneven batches. */
            ulm_kv_truncate(w.kv, 0);
            for (unsigned i = 0; i < LENGTH; i++)
                run(&w, w.kv, i, i + 1, w.single + (size_t)i * w.vocabulary);
            same(&w, w.batch, w.single, LENGTH);
            ulm_kv_truncate(w.kv, 7);
            run(&w, w.kv, 7, 20, w.single);
            same(&w, w.batch + 7 * w.vocabulary, w.single, 13);
            /* A copied cache goes on like its source, mixed with it in one call. */
            ulm_kv_copy(w.other, w.kv, 17);
            ulm_kv_truncate(w.kv, 17);
            const struct ulm_row mixed[] = {{w.other, token(&w, 17), true},
                                            {w.kv, token(&w, 17), false},
                                            {w.other, token(&w, 18), true},
                                            {w.kv, token(&w, 18), true}};
            ulm_forward(w.runner, mixed, 4, w.single);
            same(&w, w.batch + 17 * w.vocabulary, w.single, 2);
            same(&w, w.batch + 18 * w.vocabulary, w.single + 2 * w.vocabulary, 1);
            ck_assert_uint_eq(ulm_kv_len(w.other), 19);
            world_free(&w);
        }
}
END_TEST

START_TEST(test_threads_change_nothing)
{
    for (size_t f = 0; f < 4; f++) {
        const struct ulm_kernels *best = &ulm_kernels_scalar, *kernels;
        for (size_t k = 0; (kernels = ulm_kernels_at(k)) != NULL; k++)
            best = kernels;
        struct world one = world_new(files[f], best->name, 1);
        run(&one, one.kv, 0, LENGTH, one.batch);
        run(&one, one.kv, LENGTH, LENGTH + 1, one.single);
        for (unsigned threads = 2; threads <= 4; threads++) {
            struct world many = world_new(files[f], best->name, threads);
            ulm_runner_bind(many.runner);
            run(&many, many.kv, 0, LENGTH, many.batch);
            same(&one, one.batch, many.batch, LENGTH);
            run(&many, many.kv, LENGTH, LENGTH + 1, many.single);
            same(&one, one.single, many.single, 1);
            world_free(&many);
        }
        world_free(&one);
    }
}
END_TEST

/* Beyond the table of rotations and beyond one span of attention scores. */
START_TEST(test_a_long_context)
{
    struct world w = world_new("tiny-q8_0", "scalar", 1);
    struct ulm_kv *kv;
    ck_assert_int_eq(ulm_kv_new(w.model, 700, &kv), 0);
    for (unsigned i = 0; i < 690; i += 46)
        run(&w, kv, i, i + (i < 644 ? 46 : 40), w.batch = realloc(w.batch, 46 * w.vocabulary * 4));
    const struct ulm_kernels *kernels;
    for (size_t k = 1; (kernels = ulm_kernels_at(k)) != NULL; k++) {
        struct world v = world_new("tiny-q8_0", kernels->name, 1);
        struct ulm_kv *kv2;
        double apart = 0, size = 0;
        ck_assert_int_eq(ulm_kv_new(v.model, 700, &kv2), 0);
        v.batch = realloc(v.batch, 46 * v.vocabulary * sizeof *v.batch);
        for (unsigned i = 0; i < 690; i += 46)
            run(&v, kv2, i, i + (i < 644 ? 46 : 40), v.batch);
        for (size_t c = 0; c < 40 * (size_t)w.vocabulary; c++) {
            apart = fmax(apart, fabs((double)w.batch[c] - (double)v.batch[c]));
            size = fmax(size, fabs((double)w.batch[c]));
        }
        ck_assert_double_lt(apart / size, 1e-2);
        ulm_kv_free(kv2);
        world_free(&v);
    }
    ulm_kv_free(kv);
    world_free(&w);
}
END_TEST

START_TEST(test_unknown_kernels_are_refused)
{
    char path[512], err[256] = "";
    struct ulm_gguf *gguf;
    struct ulm_model *model;
    snprintf(path, sizeof path, "%s/reference/tiny-q8_0.gguf", getenv("DATA"));
    ck_assert_int_eq(ulm_gguf_open(path, &gguf, err, sizeof err), 0);
    ck_assert_int_lt(ulm_model_new(gguf, "abacus", &model, err, sizeof err), 0);
    ck_assert_str_ne(err, "");
    ulm_gguf_free(gguf);
}
END_TEST

UNIT_MAIN("model", test_a_row_stands_alone, test_threads_change_nothing, test_a_long_context,
          test_unknown_kernels_are_refused)
