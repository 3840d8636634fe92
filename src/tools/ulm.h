/* SPDX-License-Identifier: MIT */
/* The commands of `ulm`, and what they share. Each gets its own argv (argv[0] is its name) and
 * returns the exit status. */
#ifndef ULM_TOOLS_ULM_H
#define ULM_TOOLS_ULM_H

#include <stddef.h>
#include <stdint.h>

#include "engine/gguf.h"

enum ulm_exit {
    ULM_EXIT_OK = 0,
    ULM_EXIT_FAILURE = 1,
    ULM_EXIT_USAGE = 2,
};

int ulm_cmd_info(int argc, char **argv);
int ulm_cmd_tokenize(int argc, char **argv);
int ulm_cmd_logits(int argc, char **argv);
int ulm_cmd_opener(int argc, char **argv);
int ulm_cmd_generate(int argc, char **argv);
int ulm_cmd_quantize(int argc, char **argv);
int ulm_cmd_bench(int argc, char **argv);

/* One line to stderr, "ulm: ...". The int is ULM_EXIT_FAILURE, for `return ulm_fail(...)`. */
int ulm_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As above, with a pointer to --help; ULM_EXIT_USAGE. */
int ulm_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole decimal number within [low, high]; -EINVAL otherwise. */
int ulm_parse_number(const char *text, long low, long high, long *ret_value);

/* All of stdin, at most cap bytes, NUL-terminated; the caller frees. -E2BIG, -EIO, -ENOMEM. */
int ulm_read_stdin(size_t cap, char **ret_text, size_t *ret_len);

#endif
