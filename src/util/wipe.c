/* SPDX-License-Identifier: MIT */
/*
 * Memory is overwritten when it is given back: what people say, answers and the key pass through
 * buffers of libraries as well, which free them as they are. These two stand before the C library's
 * own in the whole program, its libraries included. Not with a sanitizer, which brings its own, nor
 * with a C library that does not let itself be called behind its back.
 */
#include <features.h>
#ifdef __GLIBC__

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define EVERYWHERE __attribute__((visibility("default")))

/* glibc's own name. NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void __libc_free(void *block);

EVERYWHERE void free(void *block)
{
    if (!block)
        return;
    explicit_bzero(block, malloc_usable_size(block));
    __libc_free(block);
}

/* A block that shrinks stays as it is; one that grows moves, so that nothing is left behind. */
EVERYWHERE void *realloc(void *block, size_t size)
{
    if (!block)
        return malloc(size);
    if (size == 0) {
        free(block);
        return NULL;
    }
    size_t old = malloc_usable_size(block);
    if (size <= old)
        return block;
    void *fresh = malloc(size);
    if (!fresh)
        return NULL;
    memcpy(fresh, block, old);
    free(block);
    return fresh;
}

#endif
