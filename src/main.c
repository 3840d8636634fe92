/* SPDX-License-Identifier: MIT */
/* ulmd: arguments, then the daemon (app/daemon.c). */
#include <fcntl.h>
#include <getopt.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon.h"
#include "app/journal.h"
#include "util/log.h"

enum { EXIT_USAGE = 2 };

static void print_usage(FILE *out)
{
    (void)fputs("usage: ulmd [--config FILE] [--model FILE] [--socket PATH]\n"
                "            [--check-config] [--version] [--help]\n",
                out);
}

/* Nobody reads this process's memory: neither a core dump nor a debugger of the same user. Should
 * somebody who may make a dump of it, no mapping is in it: every buffer, the stacks and the model's
 * state are kept out, as MADV_DONTDUMP would keep out single ones. */
static void harden(void)
{
    const struct rlimit no_core = {0, 0};
    int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    if (filter >= 0) {
        (void)!write(filter, "0", 1);
        (void)close(filter);
    }
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* A client is a descriptor; the soft limit is one for programs that use select(2). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int check_config(const struct ulm_daemon_options *options)
{
    char reterr[ULM_CONFIG_ERROR_MAX];
    int r = ulm_daemon_check(options, reterr);
    if (r < 0) {
        fprintf(stderr, "ulmd: %s\n", reterr);
        return EXIT_FAILURE;
    }
    puts(r == 0 ? "ulmd: the configuration is fine" : "ulmd: the configuration can be used");
    return EXIT_SUCCESS;
}

static int run(const struct ulm_daemon_options *options)
{
    char reterr[ULM_CONFIG_ERROR_MAX];
    struct ulm_daemon *daemon;
    ulm_journal_setup();
    raise_descriptors();
    if (ulm_daemon_new(options, &daemon, reterr) < 0) {
        ulm_log(ULM_LOG_ERROR, "%s", reterr);
        return EXIT_FAILURE;
    }
#ifdef __GLIBC__
    (void)malloc_trim(0); /* what loading left behind */
#endif
    ulm_daemon_run(daemon);
    ulm_daemon_free(daemon);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"model", required_argument, NULL, 'm'},
        {"socket", required_argument, NULL, 's'},
        {"check-config", no_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct ulm_daemon_options options = {0};
    bool check = false;

    harden();
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            options.config = optarg;
            break;
        case 'm':
            options.model = optarg;
            break;
        case 's':
            options.socket = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'v':
            puts("ulmd " ULMD_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default:
            print_usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "ulmd: unexpected argument %s\n", argv[optind]);
        print_usage(stderr);
        return EXIT_USAGE;
    }
    return check ? check_config(&options) : run(&options);
}
