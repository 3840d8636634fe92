/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <sys/mman.h>

#include "engine/model_data.h"

#define HUGE_PAGE ((size_t)2 << 20)

void *ulm_pages_new(size_t bytes, bool huge)
{
    /* Weights are streamed once a token: with 4 KiB pages the translation misses show. */
    size_t slack = huge && bytes >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *map =
        mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (slack == 0)
        return map;
    size_t page = 4096; /* a larger real page only makes these two calls fail, which is harmless */
    size_t before = (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    uint8_t *start = map + before;
    size_t used = (bytes + page - 1) / page * page;
    if (before > 0)
        (void)munmap(map, before);
    if (before + used < bytes + slack)
        (void)munmap(start + used, slack - before - (used - bytes));
    (void)madvise(start, used, MADV_HUGEPAGE);
    return start;
}

void ulm_pages_free(void *pages, size_t bytes)
{
    if (pages != NULL)
        (void)munmap(pages, bytes);
}
