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

#endif
