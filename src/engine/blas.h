/* SPDX-License-Identifier: MIT */
/*
 * OpenBLAS for F32 matrices. The library is opened when such a model is loaded and not before: its
 * start-up (a thread a core, half a megabyte, 15 ms) is nothing that a quantised model should pay.
 */
#ifndef ULM_ENGINE_BLAS_H
#define ULM_ENGINE_BLAS_H

#include "engine/kernels.h"

struct ulm_blas;

/* NULL: not compiled in, or the library is not on this machine. It runs one thread. */
struct ulm_blas *ulm_blas_new(void);
struct ulm_blas *ulm_blas_free(struct ulm_blas *blas);

/* An ulm_matmul_fn for a matrix with w->blas set: its data is row-major. */
void ulm_blas_matmul(const struct ulm_matrix *w, unsigned first, unsigned last,
                     const struct ulm_acts *a, unsigned n, float *out, size_t stride);

#endif
