/* SPDX-License-Identifier: MIT */
/* A method call made of bytes, as a bus would hand it over: `a{sv}`, entry by entry. */
#ifndef ULM_TESTS_FUZZ_MESSAGE_H
#define ULM_TESTS_FUZZ_MESSAGE_H

#include <stdint.h>
#include <systemd/sd-bus.h>

sd_bus_message *message_begin(void);
/* An option whose name and type the bytes choose. Its value is of text: the text, its first bytes
 * as a number, or as many copies of it as its first byte says. */
void message_add(sd_bus_message *m, uint8_t name, uint8_t type, const char *text);
/* Sealed and at its first option. */
void message_end(sd_bus_message *m);

#endif
