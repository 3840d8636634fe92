/* SPDX-License-Identifier: MIT */
#include "util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "util/text.h"

static void log_to_stderr(enum ulm_log_level level, uint64_t request, const char *line)
{
    (void)request;
    fprintf(stderr, "ulmd: %s: %s\n", ulm_log_level_name(level), line);
}

static _Atomic(enum ulm_log_level) log_level = ULM_LOG_INFO;
static _Atomic(ulm_log_sink_fn *) log_sink = log_to_stderr;
static atomic_bool log_text_allowed;

static const struct {
    const char *name;
    enum ulm_log_level level;
} level_names[] = {
    {"error", ULM_LOG_ERROR}, {"warning", ULM_LOG_WARNING}, {"notice", ULM_LOG_NOTICE},
    {"info", ULM_LOG_INFO},   {"debug", ULM_LOG_DEBUG},
};

void ulm_log_set_level(enum ulm_log_level level)
{
    log_level = level;
}

enum ulm_log_level ulm_log_level(void)
{
    return log_level;
}

void ulm_log_set_sink(ulm_log_sink_fn *sink)
{
    log_sink = sink ? sink : log_to_stderr;
}

void ulm_log_allow_text(bool allow)
{
    log_text_allowed = allow;
}

int ulm_log_level_from_name(const char *name, enum ulm_log_level *ret_level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (strcmp(name, level_names[i].name) == 0) {
            *ret_level = level_names[i].level;
            return 0;
        }
    }
    return -EINVAL;
}

const char *ulm_log_level_name(enum ulm_log_level level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++) {
        if (level == level_names[i].level)
            return level_names[i].name;
    }
    return "info";
}

static void log_line(enum ulm_log_level level, uint64_t request, const char *format, va_list args)
{
    char line[1024];
    (void)vsnprintf(line, sizeof line, format, args);
    /* One event is one line, whatever a file name or a peer put into it. */
    ulm_tame(line);
    ulm_log_sink_fn *sink = log_sink;
    sink(level, request, line);
}

void ulm_log(enum ulm_log_level level, const char *format, ...)
{
    if (level > log_level)
        return;
    va_list args;
    va_start(args, format);
    log_line(level, 0, format, args);
    va_end(args);
}

void ulm_log_request(enum ulm_log_level level, uint64_t request, const char *format, ...)
{
    if (level > log_level)
        return;
    va_list args;
    va_start(args, format);
    log_line(level, request, format, args);
    va_end(args);
}

void ulm_log_text(uint64_t request, const char *what, const char *text)
{
    if (log_text_allowed)
        ulm_log_request(ULM_LOG_INFO, request, "%s: %s", what, text);
}
