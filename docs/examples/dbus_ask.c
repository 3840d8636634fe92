/* SPDX-License-Identifier: MIT */
/* cc dbus_ask.c $(pkg-config --cflags --libs libsystemd)
 * A user's own ulmd: DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS dbus_ask QUESTION */
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

static int on_signal(sd_bus_message *m, void *data, sd_bus_error *error)
{
    const char *name = sd_bus_message_get_member(m), *id, *text;
    if (strcmp(name, "Opener") == 0 || strcmp(name, "Delta") == 0) {
        if (sd_bus_message_read(m, "ss", &id, &text) >= 0)
            printf("%s", text);
        fflush(stdout);
    } else if (strcmp(name, "Done") == 0 || strcmp(name, "Error") == 0) {
        *(int *)data = 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus *bus = NULL;
    int ended = 0;
    int r = argc == 2 ? sd_bus_open_system(&bus) : -22;
    if (r >= 0)
        r = sd_bus_match_signal(bus, NULL, "org.ulmd.Assistant1", "/org/ulmd/Assistant1",
                                "org.ulmd.Assistant1", NULL, on_signal, &ended);
    /* Not retractable: what stands on a terminal stays there. */
    if (r >= 0)
        r = sd_bus_call_method(bus, "org.ulmd.Assistant1", "/org/ulmd/Assistant1",
                               "org.ulmd.Assistant1", "Ask", &error, NULL, "sa{sv}", argv[1], 1,
                               "retractable", "b", 0);
    while (r >= 0 && !ended) {
        r = sd_bus_process(bus, NULL);
        if (r == 0)
            r = sd_bus_wait(bus, UINT64_MAX);
    }
    puts("");
    if (r < 0)
        fprintf(stderr, "%s\n", error.message ? error.message : strerror(-r));
    sd_bus_error_free(&error);
    sd_bus_flush_close_unref(bus);
    return r < 0;
}
