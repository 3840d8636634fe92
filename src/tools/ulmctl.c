/* SPDX-License-Identifier: MIT */
#include "tools/ulmctl.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: ulmctl [--socket PATH] COMMAND ...\n"
    "\n"
    "  ask [--json] [--session S] [--medium display|speech] [--context FACT]...\n"
    "      [--deadline-ms N] TEXT|-\n"
    "                          ask a question (-: read it from standard input)\n"
    "  status [--json | --prometheus]\n"
    "                          what the daemon did so far, and how fast\n"
    "  watch [--interval SECONDS] [--count N]\n"
    "                          the same, live\n"
    "  hello [--json]          version, model and capabilities\n"
    "  reset [--json] SESSION  forget what was said in this session\n"
    "\n"
    "  --socket PATH           default: $ULMD_SOCKET, or where that is not set\n"
    "                          /run/ulmd/ulmd.sock, else $XDG_RUNTIME_DIR/ulmd.sock\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 answered, 1 error, 2 usage, 3 no daemon, 4 answered, but not completely.\n";

static const struct {
    const char *name;
    int (*run)(struct ulmctl *ctl, int argc, char **argv);
} commands[] = {
    {"ask", ulmctl_ask},
    {"status", ulmctl_status},
    {"watch", ulmctl_watch},
    {"hello", ulmctl_hello},
    {"reset", ulmctl_reset},
};

volatile sig_atomic_t ulmctl_interrupted;

static void on_signal(int number)
{
    ulmctl_interrupted = number;
}

void ulmctl_catch_signals(void)
{
    /* Without SA_RESTART, so that a wait ends; once, so that a second ^C always works. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

void ulmctl_complain(const char *format, ...)
{
    char said[4096]; /* no longer than a path may be; a longer line is cut */
    ULM_CLEANUP_BUF struct ulm_buf safe = ULM_BUF_INIT(4 * sizeof said);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(said, sizeof said, format, args);
    va_end(args);
    (void)!ulm_safe_add(&safe, said, strlen(said));
    (void)fprintf(stderr, "ulmctl: %s\n", ulm_buf_str(&safe));
}

int ulmctl_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return ULMCTL_OK;
    ulmctl_complain("cannot write: %s", strerror(errno));
    clearerr(stdout); /* it is said once */
    return ULMCTL_ERROR;
}

const char *ulmctl_reason(int result)
{
    switch (result) {
    case 1:
    case -ECONNRESET:
        return "the daemon closed the connection";
    case -EPROTO:
    case -EMSGSIZE:
        return "the daemon's answer is not understood";
    case -ENOENT:
    case -ECONNREFUSED:
        return "no daemon listens there";
    case -EACCES:
        return "permission denied (its socket is open to one group)";
    default:
        return strerror(-result);
    }
}

int ulmctl_connect(const struct ulmctl *ctl, struct ulm_client **ret_client)
{
    int r = ulm_client_connect(ctl->socket, ret_client);
    if (r == 0)
        return ULMCTL_OK;
    /* What ulm_client_connect looked at. */
    const char *set = getenv("ULMD_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
    const char *path = ctl->socket ? ctl->socket : set && *set ? set : NULL;
    bool two = !path && runtime && *runtime == '/';
    ulmctl_complain("%s%s%s%s: %s", path ? path : "/run/ulmd/ulmd.sock", two ? ", " : "",
                    two ? runtime : "", two ? "/ulmd.sock" : "", ulmctl_reason(r));
    return ULMCTL_NO_DAEMON;
}

/* What was printed counts only when it was written. */
static int finish(int status)
{
    return ulmctl_flush() == ULMCTL_OK ? status : ULMCTL_ERROR;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    (void)setlocale(LC_CTYPE, "");
    struct ulmctl ctl = {.term = ulm_term_of(stdout)};

    for (int c; (c = getopt_long(argc, argv, "+h", options, NULL)) >= 0;) {
        switch (c) {
        case 's':
            ctl.socket = optarg;
            break;
        case 'h':
            (void)fputs(usage, stdout);
            return finish(ULMCTL_OK);
        case 'v':
            (void)puts("ulmctl " ULMD_VERSION);
            return finish(ULMCTL_OK);
        default:
            return ULMCTL_USAGE;
        }
    }
    if (optind == argc) {
        (void)fputs(usage, stderr);
        return ULMCTL_USAGE;
    }
    ctl.command = argv[optind];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(ctl.command, commands[i].name) == 0) {
            argv[optind] = argv[0]; /* by which getopt begins its complaints */
            argc -= optind;
            argv += optind;
            optind = 0; /* glibc: begin anew with another argv */
            return finish(commands[i].run(&ctl, argc, argv));
        }
    }
    ulmctl_complain("there is no command %s", ctl.command);
    ulmctl_complain("see ulmctl --help");
    return ULMCTL_USAGE;
}
