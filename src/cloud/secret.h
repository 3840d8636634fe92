/* SPDX-License-Identifier: MIT */
/* A short secret on pages of its own: not in core dumps, not in a child, not swapped where the
 * system allows, wiped when it is given up. */
#ifndef ULM_CLOUD_SECRET_H
#define ULM_CLOUD_SECRET_H

#include <stddef.h>

struct ulm_secret {
    char *text; /* NUL-terminated; NULL = none */
    size_t size;
};

/* text = a then b. 0 or -errno. */
int ulm_secret_init(struct ulm_secret *secret, const char *a, const char *b);
void ulm_secret_deinit(struct ulm_secret *secret); /* safe twice */

/* curl_global_init() with an allocator that wipes what is freed: libcurl copies the key's header
 * and the question into its send buffers. 0 or -ENOMEM; curl_global_cleanup() undoes it. */
int ulm_secret_curl_init(void);

#endif
