/* SPDX-License-Identifier: MIT */
/* Which table of kernels runs here. */
#include "engine/kernels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct ulm_kernels *const tables[] = {
    &ulm_kernels_scalar,
};

static bool runs_here(const struct ulm_kernels *kernels)
{
    return kernels != NULL;
}

const struct ulm_kernels *ulm_kernels_at(size_t i)
{
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        if (runs_here(tables[k]) && i-- == 0)
            return tables[k];
    return NULL;
}

int ulm_kernels_pick(const char *name, const struct ulm_kernels **ret_kernels)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon", "dotprod"};
    const char *forced = secure_getenv("ULM_KERNELS");
    if (forced != NULL && *forced != '\0')
        name = forced;
    bool any = name == NULL || strcmp(name, "auto") == 0, known = any;
    for (size_t k = 0; k < sizeof names / sizeof *names && !known; k++)
        known = strcmp(name, names[k]) == 0;
    if (!known)
        return -EINVAL;
    const struct ulm_kernels *best = NULL, *table;
    for (size_t i = 0; (table = ulm_kernels_at(i)) != NULL; i++)
        if (any || strcmp(name, table->name) == 0)
            best = table;
    if (best == NULL)
        return -EOPNOTSUPP;
    *ret_kernels = best;
    return 0;
}

ulm_matmul_fn *ulm_kernels_matmul(const struct ulm_kernels *kernels, enum ulm_type type)
{
    switch (type) {
    case ULM_TYPE_F32:
        return kernels->f32;
    case ULM_TYPE_F16:
        return kernels->f16;
    case ULM_TYPE_Q4_0:
        return kernels->q4;
    case ULM_TYPE_Q8_0:
        return kernels->q8;
    }
    return NULL;
}
