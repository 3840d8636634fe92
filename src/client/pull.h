/* SPDX-License-Identifier: MIT */
/* A pull reader over JSON text that ulm_json_check() has passed: no tree, no allocation. */
#ifndef ULM_CLIENT_PULL_H
#define ULM_CLIENT_PULL_H

#include <stdbool.h>
#include <stddef.h>

struct ulm_buf;

/* One value, as a piece of the checked text. `len` 0 = no value. */
struct ulm_pull {
    const char *at;
    size_t len;
};

/* Walks the members of an object, or the elements of an array. */
struct ulm_pull_walk {
    const char *at, *end;
    bool object;
};

/* The value that the text is, white space left off. */
struct ulm_pull ulm_pull_text(const char *text, size_t len);

/* '{', '[', '"', 't', 'f', 'n', '0' (a number), or 0 for no value. */
char ulm_pull_kind(struct ulm_pull value);

/* A value that is neither object nor array has nothing to walk. */
struct ulm_pull_walk ulm_pull_walk(struct ulm_pull container);
/* False at the end. ret_name is set for objects. */
bool ulm_pull_next(struct ulm_pull_walk *walk, struct ulm_pull *ret_name,
                   struct ulm_pull *ret_value);

/* The last member of that name; no value where there is none. */
struct ulm_pull ulm_pull_member(struct ulm_pull object, const char *name);

bool ulm_pull_is(struct ulm_pull string, const char *text);
/* A number's value; `otherwise` for any other kind. */
double ulm_pull_number(struct ulm_pull value, double otherwise);

/* Writes a string's characters and a NUL to dest, which has room for value.len bytes; returns how
 * many bytes stand before the NUL. */
size_t ulm_pull_copy(struct ulm_pull string, char *dest);
/* The same, appended to a buffer. 0, -ENOBUFS, -ENOMEM; other kinds append nothing. */
int ulm_pull_add(struct ulm_pull string, struct ulm_buf *buf) __attribute__((warn_unused_result));

#endif
