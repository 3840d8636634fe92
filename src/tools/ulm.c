/* SPDX-License-Identifier: MIT */
/* ulm: a model file without a daemon. */
#include "tools/ulm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *purpose;
} commands[] = {
    {"info", ulm_cmd_info, "FILE", "what a model file holds"},
    {"tokenize", ulm_cmd_tokenize, "-m FILE [--special] TEXT|-", "token ids, a JSON array a line"},
    {"logits", ulm_cmd_logits, "-m FILE --ids 1,2,3", "logits after the last id, a JSON array"},
    {"opener", ulm_cmd_opener,
     "-m FILE [--json] [--context FACT]... [--min-words N] [--max-words N] [--beam N]\n"
     "        [--temperature T] [--top-p P] [--seed N] [--no-guard] [--system TEXT] TEXT|-",
     "the first words of a reply, for each line"},
    {"generate", ulm_cmd_generate, "-m FILE --raw TEXT [-n 32] [--ids]",
     "greedy continuation; special tokens are read"},
    {"bench",
     ulm_cmd_bench,
     "-m FILE [-t THREADS] [-c CORES] [-k KERNELS] [-p PROMPT] [-n TOKENS] [-r RUNS] "
     "[--json]",
     "how fast a model file runs here, as JSON"},
    {"quantize", ulm_cmd_quantize, "IN OUT F32|F16|Q8_0|Q4_0", "the matrices in another type"},
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static void say(FILE *file, const char *format, va_list args)
{
    (void)fputs("ulm: ", file);
    (void)vfprintf(file, format, args);
    (void)fputc('\n', file);
}

int ulm_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(stderr, format, args);
    va_end(args);
    return ULM_EXIT_FAILURE;
}

int ulm_usage_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(stderr, format, args);
    va_end(args);
    (void)fputs("ulm: see ulm --help\n", stderr);
    return ULM_EXIT_USAGE;
}

int ulm_parse_number(const char *text, long low, long high, long *ret_value)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

int ulm_read_stdin(size_t cap, char **ret_text, size_t *ret_len)
{
    size_t size = 4096, len = 0;
    char *text = malloc(size);
    while (text) {
        ssize_t n = read(STDIN_FILENO, text + len, size - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || len + (size_t)n > cap) {
            if (n == 0) {
                text[len] = '\0';
                *ret_text = text;
                *ret_len = len;
                return 0;
            }
            free(text);
            return n < 0 ? -EIO : -E2BIG;
        }
        len += (size_t)n;
        if (size - len < 2) {
            char *more = realloc(text, size *= 2);
            if (!more)
                free(text);
            text = more;
        }
    }
    return -ENOMEM;
}

static void help(void)
{
    puts("usage: ulm COMMAND ...");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  ulm %s %s\n        %s\n", commands[i].name, commands[i].arguments,
               commands[i].purpose);
    puts("  ulm --version | --help\n"
         "What runs a model also takes [-t THREADS] [--kernels NAME].");
}

/* What was printed counts only when it was written. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    return ulm_fail("cannot write: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return ulm_usage_error("a command is missing");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        help();
        return finish(ULM_EXIT_OK);
    }
    if (!strcmp(argv[1], "--version")) {
        puts("ulm " ULMD_VERSION);
        return finish(ULM_EXIT_OK);
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (!strcmp(argv[1], commands[i].name))
            return finish(commands[i].run(argc - 1, argv + 1));
    }
    return ulm_usage_error("there is no command %s", argv[1]);
}
