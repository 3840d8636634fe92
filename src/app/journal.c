/* SPDX-License-Identifier: MIT */
#include "app/journal.h"

#if HAVE_SYSTEMD

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "util/log.h"

static void log_to_journal(enum ulm_log_level level, uint64_t request, const char *line)
{
    if (request > 0)
        (void)sd_journal_send("MESSAGE=%s", line, "PRIORITY=%i", (int)level,
                              "SYSLOG_IDENTIFIER=ulmd", "ULMD_REQUEST=%" PRIu64, request, NULL);
    else
        (void)sd_journal_send("MESSAGE=%s", line, "PRIORITY=%i", (int)level,
                              "SYSLOG_IDENTIFIER=ulmd", NULL);
}

/* $JOURNAL_STREAM names the device and inode that stderr has when the journal reads it; a stderr
 * that was redirected since keeps the variable but not the file. */
void ulm_journal_setup(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t dev, ino;
    struct stat st;
    if (stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &dev, &ino) == 2 &&
        fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
        ulm_log_set_sink(log_to_journal);
}

#else

void ulm_journal_setup(void)
{
}

#endif
