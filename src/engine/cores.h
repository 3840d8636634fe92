/* SPDX-License-Identifier: MIT */
/* Which cores compute. */
#ifndef ULM_ENGINE_CORES_H
#define ULM_ENGINE_CORES_H

#include <sched.h>
#include <stdbool.h>

struct ulm_cores {
    cpu_set_t set;
    unsigned count; /* of the set */
    bool bound;     /* threads are to be bound to it; else the set only counts */
};

/* cores: NULL or "auto" (where the kernel says that cores differ in capacity, the largest ones; else
 * all that this process may use, unbound), or a list as in taskset: "0,4-7". -EINVAL: the list does
 * not read, or names no core that this process may use. */
int ulm_cores_read(const char *cores, struct ulm_cores *ret_cores);

#endif
