/* SPDX-License-Identifier: MIT */
#include "engine/pool.h"

#include <errno.h>
#include <stdlib.h>

struct ulm_pool {
    unsigned threads;
};

int ulm_pool_new(unsigned threads, const char *cores, struct ulm_pool **ret_pool)
{
    struct ulm_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return -ENOMEM;
    pool->threads = 1;
    *ret_pool = pool;
    return 0;
}

struct ulm_pool *ulm_pool_free(struct ulm_pool *pool)
{
    free(pool);
    return NULL;
}

unsigned ulm_pool_threads(const struct ulm_pool *pool)
{
    return pool->threads;
}

void ulm_pool_bind(const struct ulm_pool *pool)
{
}

void ulm_pool_run(struct ulm_pool *pool, ulm_task_fn *task, void *arg, unsigned parts)
{
    for (unsigned part = 0; part < parts; part++)
        task(arg, part);
}
