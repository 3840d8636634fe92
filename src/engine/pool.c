/* SPDX-License-Identifier: MIT */
/*
 * A task's number and its next free part stand in one atomic word, `ticket` = task << 32 | part, so
 * that claiming a part is one compare-and-swap that can succeed only while that very task runs. The
 * caller waits for parts done, not for threads arrived: a worker that the kernel has put aside, and
 * that holds no part, is not waited for.
 *
 * A worker that finds nothing spins for about SPIN_NS, the time between two phases or two tokens,
 * then sleeps on `wake`. The caller makes the system call only when somebody sleeps.
 */
#include "engine/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/cores.h"
#include "util/relax.h"

#define THREADS_MAX 16u
#define SPIN_NS 50000 /* 50 us */

struct ulm_pool {
    struct ulm_cores cores;
    unsigned threads;
    unsigned started; /* workers to join */
    pthread_t workers[THREADS_MAX];

    /* The task: written before the ticket is, read after it. A reader may see the next task's when
     * its claim comes too late, so they are atomic, and the claim then fails. */
    _Atomic(ulm_task_fn *) task;
    _Atomic(void *) arg;
    atomic_uint parts;

    alignas(64) _Atomic uint64_t ticket;
    alignas(64) atomic_uint done;
    alignas(64) _Atomic uint32_t wake; /* changes with every task, and at the end */
    atomic_uint sleepers;
    atomic_bool quit;
};

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
    (void)syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Runs one part, if one is free. */
static bool work(struct ulm_pool *pool)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    ulm_task_fn *task = atomic_load_explicit(&pool->task, memory_order_relaxed);
    void *arg = atomic_load_explicit(&pool->arg, memory_order_relaxed);
    unsigned parts = atomic_load_explicit(&pool->parts, memory_order_relaxed);
    unsigned part = (unsigned)(ticket & UINT32_MAX);
    if (part >= parts)
        return false;
    atomic_thread_fence(memory_order_acquire); /* pairs with the one in ulm_pool_run */
    if (!atomic_compare_exchange_strong_explicit(&pool->ticket, &ticket, ticket + 1,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return true; /* somebody was faster: look again */
    task(arg, part);
    atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
    return true;
}

/* Until there is a new task: a while on the core, then in the kernel. */
static void wait_for_task(struct ulm_pool *pool, uint32_t seen)
{
    int64_t until = now_ns() + SPIN_NS;
    do {
        for (unsigned i = 0; i < 64; i++) {
            if (atomic_load_explicit(&pool->wake, memory_order_acquire) != seen)
                return;
            ulm_relax();
        }
    } while (now_ns() < until);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->wake) == seen)
        futex(&pool->wake, FUTEX_WAIT, seen);
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void *worker(void *data)
{
    struct ulm_pool *pool = data;
    ulm_pool_bind(pool);
    while (!atomic_load(&pool->quit)) {
        uint32_t seen = atomic_load_explicit(&pool->wake, memory_order_acquire);
        while (work(pool))
            ;
        wait_for_task(pool, seen);
    }
    return NULL;
}

static void announce(struct ulm_pool *pool)
{
    atomic_fetch_add(&pool->wake, 1);
    if (atomic_load(&pool->sleepers) > 0)
        futex(&pool->wake, FUTEX_WAKE, THREADS_MAX);
}

void ulm_pool_run(struct ulm_pool *pool, ulm_task_fn *task, void *arg, unsigned parts)
{
    if (pool->threads == 1 || parts <= 1) {
        for (unsigned part = 0; part < parts; part++)
            task(arg, part);
        return;
    }
    /* Between tasks the ticket's part is beyond any number of parts, so nothing can be claimed. */
    uint64_t next = ((atomic_load_explicit(&pool->ticket, memory_order_relaxed) >> 32) + 1) << 32;
    atomic_store_explicit(&pool->ticket, next | UINT32_MAX, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* closed before the rest changes */
    atomic_store_explicit(&pool->task, task, memory_order_relaxed);
    atomic_store_explicit(&pool->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&pool->parts, parts, memory_order_relaxed);
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->ticket, (next + ((uint64_t)1 << 32)) & ~(uint64_t)UINT32_MAX,
                          memory_order_release);
    announce(pool);
    while (work(pool))
        ;
    while (atomic_load_explicit(&pool->done, memory_order_acquire) < parts)
        ulm_relax();
}

/* Half a symmetric machine, never more than four: beyond that these models gain nothing. On x86,
 * where one core is fast enough and others have work, one. */
static unsigned pick_threads(const struct ulm_cores *cores)
{
#if defined(__x86_64__)
    return 1;
#else
    unsigned suited = cores->bound ? cores->count : (cores->count + 1) / 2;
    return suited < 4 ? suited : 4;
#endif
}

static int start_worker(struct ulm_pool *pool)
{
    /* Signals are for the thread that the program meant to have them. */
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&pool->workers[pool->started], NULL, worker, pool);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return -r;
    pool->started++;
    return 0;
}

int ulm_pool_new(unsigned threads, const char *cores, struct ulm_pool **ret_pool)
{
    struct ulm_pool *pool = aligned_alloc(64, sizeof *pool);
    if (pool == NULL)
        return -ENOMEM;
    *pool = (struct ulm_pool){0};
    int r = ulm_cores_read(cores, &pool->cores);
    if (r == 0) {
        pool->threads = threads > 0 ? threads : pick_threads(&pool->cores);
        if (pool->threads > THREADS_MAX)
            pool->threads = THREADS_MAX;
        if (pool->threads > pool->cores.count)
            pool->threads = pool->cores.count;
    }
    while (r == 0 && pool->started + 1 < pool->threads)
        r = start_worker(pool);
    if (r < 0) {
        ulm_pool_free(pool);
        return r;
    }
    *ret_pool = pool;
    return 0;
}

struct ulm_pool *ulm_pool_free(struct ulm_pool *pool)
{
    if (pool == NULL)
        return NULL;
    atomic_store(&pool->quit, true);
    announce(pool);
    while (pool->started > 0)
        (void)pthread_join(pool->workers[--pool->started], NULL);
    free(pool);
    return NULL;
}

unsigned ulm_pool_threads(const struct ulm_pool *pool)
{
    return pool->threads;
}

void ulm_pool_bind(const struct ulm_pool *pool)
{
    if (pool->cores.bound)
        (void)sched_setaffinity(0, sizeof pool->cores.set, &pool->cores.set);
}
