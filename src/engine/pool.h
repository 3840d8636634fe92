/* SPDX-License-Identifier: MIT */
/*
 * A few threads that share the parts of one task. Parts are claimed one by one, so a thread that
 * the kernel does not run just now holds up nothing it has not claimed. Workers spin briefly for
 * the next task, then park in the kernel: an idle pool makes no wakeups.
 */
#ifndef ULM_ENGINE_POOL_H
#define ULM_ENGINE_POOL_H

struct ulm_pool;

typedef void ulm_task_fn(void *arg, unsigned part);

/* threads counts the caller of ulm_pool_run; 0 = as many as suit this machine. cores: "auto" (the
 * largest cores of an unequal machine, else no binding) or a list as in taskset: "0,4-7".
 * -EINVAL (a list that does not read), -ENOMEM, or what starting a thread gave. */
int ulm_pool_new(unsigned threads, const char *cores, struct ulm_pool **ret_pool);
struct ulm_pool *ulm_pool_free(struct ulm_pool *pool);
unsigned ulm_pool_threads(const struct ulm_pool *pool);

/* Binds the calling thread to the pool's cores, where there are any. */
void ulm_pool_bind(const struct ulm_pool *pool);

/* Calls task(arg, part) for each part of 0..parts, on any thread, each part once; returns when
 * all are done. One caller at a time. */
void ulm_pool_run(struct ulm_pool *pool, ulm_task_fn *task, void *arg, unsigned parts);

#endif
