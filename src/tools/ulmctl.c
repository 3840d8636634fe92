/* SPDX-License-Identifier: MIT */
#include "tools/ulmctl.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: ulmctl [--socket PATH] COMMAND ...\n"
    "\n"
    "  ask [--json] [--session S] [--medium display|speech] [--context FACT]... TEXT|-\n"
    "                          ask a question (-: read it from standard input)\n"
    "  status [--json | --prometheus]\n"
    "                          what the daemon did so far, and how fast\n"
    "  watch [--interval SECONDS] [--count N]\n"
    "                          the same, live\n"
    "  hello [--json]          version, model and capabilities\n"
    "\n"
    "  --socket PATH           default: /run/ulmd/ulmd.sock, else $XDG_RUNTIME_DIR/ulmd.sock\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 answered, 1 error, 2 usage, 3 no daemon.\n";

static const struct {
    const char *name;
    int (*run)(struct ulmctl *ctl, int argc, char **argv);
} commands[] = {
    {"ask", ulmctl_ask},
    {"status", ulmctl_status},
    {"watch", ulmctl_watch},
    {"hello", ulmctl_hello},
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
    va_list args;
    va_start(args, format);
    (void)fputs("ulmctl: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
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
    ulmctl_complain("%s: %s", ctl->socket ? ctl->socket : "the default socket", ulmctl_reason(r));
    return ULMCTL_NO_DAEMON;
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
            return ULMCTL_OK;
        case 'v':
            (void)puts("ulmctl " ULMD_VERSION);
            return ULMCTL_OK;
        default:
            return ULMCTL_USAGE;
        }
    }
    const char *name = optind < argc ? argv[optind] : "";
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            argc -= optind;
            argv += optind;
            optind = 0; /* glibc: begin anew with another argv */
            return commands[i].run(&ctl, argc, argv);
        }
    }
    (void)fputs(usage, stderr);
    return ULMCTL_USAGE;
}
