/* SPDX-License-Identifier: MIT */
/*
 * Half characters. A gateway that cuts its text by UTF-16 units ends one event in "\ud83d" and
 * begins the next with "\ude00". Before JSON is read, such a lone half is written as a character
 * of the private use area, which can be told in the text afterwards and joined with its other half.
 * (A true U+E000..U+E7FF in such an event is taken for a half character too: nobody sends both.)
 */
#ifndef ULM_CLOUD_SURROGATE_H
#define ULM_CLOUD_SURROGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

/* Rewrites the lone surrogate escapes of a JSON text in place; returns how many. */
size_t ulm_surrogates_mark(char *json, size_t len);

/* Appends a text that came out of JSON with half characters (`marked`) or without. *half: a first
 * half that waits for its second, 0 = none; one that gets another character instead becomes
 * U+FFFD. 0, -ENOBUFS, -ENOMEM. */
int ulm_surrogates_join(const char *text, bool marked, uint32_t *half, struct ulm_buf *out);

#endif
