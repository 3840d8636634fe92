/* SPDX-License-Identifier: MIT */
/* Fails each allocation in turn while the fixtures' scripts run: every ask still ends with exactly
 * one terminal event, nothing is lost of the invariants the world checks, and nothing leaks. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/core_world.h"

static struct {
    bool armed;
    long until; /* allocations that still succeed */
    long live;  /* blocks made while armed and not freed yet */
    bool failed;
} torture;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);

static bool must_fail(void)
{
    if (!torture.armed || torture.until-- != 0)
        return false;
    torture.failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    if (must_fail())
        return NULL;
    void *block = __real_malloc(size);
    torture.live += block != NULL;
    return block;
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (must_fail())
        return NULL;
    void *block = __real_calloc(n, size);
    torture.live += block != NULL;
    return block;
}

void *__wrap_realloc(void *old, size_t size)
{
    if (must_fail())
        return NULL;
    void *block = __real_realloc(old, size);
    torture.live += !old && block;
    return block;
}

char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = __wrap_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void __wrap_free(void *block)
{
    torture.live -= block != NULL;
    __real_free(block);
}

/* Runs the script with allocation number `at` failing. Returns whether there was one. */
static bool run(const char *name, const char *script, long at)
{
    long before = torture.live;
    struct world world;
    world_init(&world);
    world_reserve(&world);
    torture.until = at;
    torture.failed = false;
    torture.armed = true;
    world_run(&world, script);
    if (world.core)
        ulm_core_shutdown(world.core, world.now_us);
    torture.armed = false;
    size_t open = world_leaks();
    world_deinit(&world);
    if (open == 0 && torture.live == before)
        return torture.failed;
    fprintf(stderr, "%s: allocation %ld failed: %zu asks without an end, %ld blocks lost\n", name,
            at, open, torture.live - before);
    exit(EXIT_FAILURE);
}

static long run_file(const char *dir, const char *name)
{
    static char script[64 * 1024];
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    size_t n = fread(script, 1, sizeof script - 1, file);
    fclose(file);
    script[n] = '\0';
    char *log = strstr(script, "\n---\n");
    if (log)
        log[1] = '\0';
    long at = 0;
    while (run(name, script, at))
        at++;
    return at;
}

int main(int argc, char **argv)
{
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: test-core-torture DIR\n");
        return EXIT_FAILURE;
    }
    long files = 0, failures = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        failures += run_file(argv[1], entry->d_name);
        files++;
    }
    closedir(dir);
    printf("%ld scripts, %ld allocations failed\n", files, failures);
    return files > 0 && failures > files ? EXIT_SUCCESS : EXIT_FAILURE;
}
