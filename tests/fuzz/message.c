/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void must(int r)
{
    if (r < 0)
        abort();
}

/* A message needs a bus; this one has nobody at its other end. */
static sd_bus *lonely_bus(void)
{
    static sd_bus *bus;
    int fds[2];
    if (!bus) {
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
        must(sd_bus_new(&bus));
        must(sd_bus_set_fd(bus, fds[0], fds[0]));
        must(sd_bus_start(bus));
    }
    return bus;
}

sd_bus_message *message_begin(void)
{
    sd_bus_message *m;
    must(sd_bus_message_new_method_call(lonely_bus(), &m, "a.b", "/a", "a.b", "Ask"));
    must(sd_bus_message_open_container(m, 'a', "{sv}"));
    return m;
}

static void add_list(sd_bus_message *m, const char *type, const char *text)
{
    const char *role = strchr("ua", text[0]) ? (text[0] == 'a' ? "assistant" : "user") : text;
    must(sd_bus_message_open_container(m, 'a', type));
    for (unsigned i = 0; i < (uint8_t)text[0]; i++)
        must(*type == 's' ? sd_bus_message_append(m, "s", text)
                          : sd_bus_message_append(m, "(ss)", role, text));
    must(sd_bus_message_close_container(m));
}

static void add_value(sd_bus_message *m, const char *type, const char *text)
{
    uint64_t bits = 0;
    int truth = text[0] & 1;
    memcpy(&bits, text, strlen(text) < sizeof bits ? strlen(text) : sizeof bits);
    if (*type == 's' || *type == 'b')
        must(sd_bus_message_append_basic(m, *type, *type == 's' ? (const void *)text : &truth));
    else if (*type != 'a' && *type != 'v')
        must(sd_bus_message_append_basic(m, *type, &bits));
    else if (strcmp(type, "v") == 0)
        must(sd_bus_message_append(m, "v", "s", text));
    else
        add_list(m, type + 1, text);
}

void message_add(sd_bus_message *m, uint8_t name, uint8_t type, const char *text)
{
    static const char *const names[] = {"id",        "session",     "medium",  "retractable",
                                        "min_words", "max_words",   "context", "history",
                                        "unknown",   "deadline_ms", ""};
    static const char *const types[] = {"s", "b", "y", "n",  "q",     "i", "u",
                                        "x", "t", "d", "as", "a(ss)", "v"};
    const char *of_type = types[type % (sizeof types / sizeof *types)];
    must(sd_bus_message_open_container(m, 'e', "sv"));
    must(sd_bus_message_append(m, "s", names[name % (sizeof names / sizeof *names)]));
    must(sd_bus_message_open_container(m, 'v', of_type));
    add_value(m, of_type, text);
    must(sd_bus_message_close_container(m));
    must(sd_bus_message_close_container(m));
}

void message_end(sd_bus_message *m)
{
    must(sd_bus_message_close_container(m));
    must(sd_bus_message_seal(m, /* cookie */ 1, 0));
    must(sd_bus_message_rewind(m, true));
}
