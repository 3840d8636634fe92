/* SPDX-License-Identifier: MIT */
/* JSON without a tree: the check before cJSON reads anything, and the escape for what is written. */
#ifndef ULM_UTIL_JSON_H
#define ULM_UTIL_JSON_H

#include <stddef.h>

struct ulm_buf;

/* cJSON accepts invalid UTF-8 and trailing text and cuts at \u0000; this pass makes it safe to
 * call. Checks that text[0..len) is exactly one JSON value (white space around it allowed): full
 * grammar, UTF-8, depth <= max_depth, no U+0000 raw or escaped, no number of more than
 * ULM_JSON_NUMBER_MAX characters. A lone surrogate escape is rewritten in place as \uFFFD.
 * 0, -EILSEQ (not UTF-8), -EINVAL (not JSON), -E2BIG (too deep, or more than ULM_JSON_VALUES_MAX
 * values). */
int ulm_json_check(char *text, size_t len, unsigned max_depth);

/* Appends text as a JSON string with its quotes. text is valid UTF-8; control characters
 * (U+0080 to U+009F too), quote and backslash are escaped, the rest stays as it is. 0, -ENOBUFS,
 * -ENOMEM. */
int ulm_json_add_string(struct ulm_buf *buf, const char *text) __attribute__((warn_unused_result));
int ulm_json_add_string_n(struct ulm_buf *buf, const char *text, size_t len)
    __attribute__((warn_unused_result));

#endif
