/* SPDX-License-Identifier: MIT */
#include "engine/cores.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* musl's CPU_SETSIZE is the set's size in bytes. */
#define CPUS_MAX (8u * (unsigned)sizeof(cpu_set_t))

/* The kernel's measure of a core's speed, 1024 for the fastest; 0 = it does not say. */
static unsigned capacity(unsigned core)
{
    char path[64];
    unsigned value = 0;
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpu_capacity", core);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%u", &value) != 1)
        value = 0;
    (void)fclose(file);
    return value;
}

/* Keeps the cores whose capacity is at least 7/8 of the largest: a phone's prime core and its
 * equals, not the small ones. */
static bool keep_large(cpu_set_t *set)
{
    unsigned largest = 0, capacities[CPUS_MAX] = {0};
    for (unsigned c = 0; c < CPUS_MAX; c++)
        if (CPU_ISSET(c, set)) {
            capacities[c] = capacity(c);
            if (capacities[c] > largest)
                largest = capacities[c];
        }
    bool dropped = false;
    for (unsigned c = 0; c < CPUS_MAX; c++)
        if (CPU_ISSET(c, set) && capacities[c] < largest - largest / 8) {
            CPU_CLR(c, set);
            dropped = true;
        }
    return dropped;
}

/* One "4" or "4-7" at *text, which moves behind it. */
static int read_range(const char **text, cpu_set_t *set)
{
    char *end;
    if (**text < '0' || **text > '9')
        return -EINVAL;
    unsigned long first = strtoul(*text, &end, 10), last = first;
    if (*end == '-') {
        if (end[1] < '0' || end[1] > '9')
            return -EINVAL;
        last = strtoul(end + 1, &end, 10);
    }
    if (first > last || last >= CPUS_MAX)
        return -EINVAL;
    for (; first <= last; first++)
        CPU_SET(first, set);
    *text = end;
    return 0;
}

static int read_list(const char *text, cpu_set_t *ret_set)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (;;) {
        int r = read_range(&text, &set);
        if (r < 0)
            return r;
        if (*text == '\0')
            break;
        if (*text++ != ',')
            return -EINVAL;
    }
    *ret_set = set;
    return 0;
}

int ulm_cores_read(const char *cores, struct ulm_cores *ret_cores)
{
    cpu_set_t allowed, listed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        CPU_SET(0, &allowed); /* more cores than a cpu_set_t holds: count one, bind none */
    struct ulm_cores found = {.set = allowed};
    if (cores == NULL || strcmp(cores, "auto") == 0) {
        found.bound = keep_large(&found.set);
    } else {
        int r = read_list(cores, &listed);
        if (r < 0)
            return r;
        CPU_AND(&found.set, &allowed, &listed);
        found.bound = true;
    }
    found.count = (unsigned)CPU_COUNT(&found.set);
    if (found.count == 0)
        return -EINVAL;
    *ret_cores = found;
    return 0;
}
