/* SPDX-License-Identifier: MIT */
#include "cloud/secret.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <curl/curl.h>

int ulm_secret_init(struct ulm_secret *secret, const char *a, const char *b)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t len_a = strlen(a), len_b = strlen(b);
    size_t size = (len_a + len_b + 1 + page - 1) / page * page;

    char *text = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED)
        return -errno;
    (void)madvise(text, size, MADV_DONTDUMP);
    (void)madvise(text, size, MADV_DONTFORK);
    (void)mlock(text, size); /* limited for a plain user; the rest of the promise holds without */
    memcpy(text, a, len_a); /* NOLINT(bugprone-not-null-terminated-result): b follows */
    memcpy(text + len_a, b, len_b + 1);
    *secret = (struct ulm_secret){.text = text, .size = size};
    return 0;
}

void ulm_secret_deinit(struct ulm_secret *secret)
{
    if (secret->text) {
        explicit_bzero(secret->text, secret->size);
        (void)munmap(secret->text, secret->size);
    }
    *secret = (struct ulm_secret){0};
}

static void wiping_free(void *memory)
{
    if (memory)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *wiping_realloc(void *memory, size_t size)
{
    size_t old = memory ? malloc_usable_size(memory) : 0;
    void *fresh = malloc(size);
    if (fresh && memory) {
        memcpy(fresh, memory, old < size ? old : size);
        wiping_free(memory);
    }
    return fresh;
}

int ulm_secret_curl_init(void)
{
    CURLcode r = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc,
                                      strdup, calloc);
    return r == CURLE_OK ? 0 : -ENOMEM;
}
