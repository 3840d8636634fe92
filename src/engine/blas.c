/* SPDX-License-Identifier: MIT */
#include "engine/blas.h"

#if HAVE_OPENBLAS

#include <cblas.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct ulm_blas {
    void *library;
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(cblas_sgemv) *sgemv;
};

/* ISO C has no cast from an object pointer to a function's. */
static bool find(void *library, const char *name, void *ret_function)
{
    void *symbol = dlsym(library, name);
    memcpy(ret_function, &symbol, sizeof symbol);
    return symbol != NULL;
}

struct ulm_blas *ulm_blas_new(void)
{
    __typeof__(openblas_set_num_threads) *set_threads;
    struct ulm_blas *blas = calloc(1, sizeof *blas);
    if (blas == NULL)
        return NULL;
    blas->library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (blas->library == NULL || !find(blas->library, "cblas_sgemm", &blas->sgemm) ||
        !find(blas->library, "cblas_sgemv", &blas->sgemv) ||
        !find(blas->library, "openblas_set_num_threads", &set_threads))
        return ulm_blas_free(blas);
    set_threads(1);
    return blas;
}

struct ulm_blas *ulm_blas_free(struct ulm_blas *blas)
{
    if (blas != NULL && blas->library != NULL)
        (void)dlclose(blas->library);
    free(blas);
    return NULL;
}

void ulm_blas_matmul(const struct ulm_matrix *w, unsigned first, unsigned last,
                     const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
    int from = (int)(first * ULM_GROUP), to = (int)(last * ULM_GROUP), cols = (int)w->cols;
    if (to > (int)w->rows)
        to = (int)w->rows;
    const float *rows = (const float *)(const void *)w->data + (size_t)from * w->cols;
    if (n == 1)
        w->blas->sgemv(CblasRowMajor, CblasNoTrans, to - from, cols, 1.0f, rows, cols, a->x, 1,
                       0.0f, out + from, 1);
    else
        w->blas->sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, to - from, cols, 1.0f,
                       a->x, cols, rows, cols, 0.0f, out + from, (int)stride);
}

#else

struct ulm_blas *ulm_blas_new(void)
{
    return NULL;
}

struct ulm_blas *ulm_blas_free(struct ulm_blas *blas)
{
    return NULL;
}

void ulm_blas_matmul(const struct ulm_matrix *w, unsigned first, unsigned last,
                     const struct ulm_acts *a, unsigned n, float *out, size_t stride)
{
}

#endif
