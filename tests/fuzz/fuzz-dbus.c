/* SPDX-License-Identifier: MIT */
/* Options of Ask: of each a byte for its name, one for its type, one for the length of its value. */
#include <stdlib.h>
#include <string.h>

#include "front/dbus_parts.h"
#include "front/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "util/text.h"

/* What is read is whole and can be checked; what is not has an error of our own. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    __attribute__((cleanup(sd_bus_error_free))) sd_bus_error error = SD_BUS_ERROR_NULL;
    struct ulm_dbus_args args = {.ask = {.id = "a", .prompt = {.text = "why"}, .retractable = -1}};
    struct ulm_fault fault = {0};
    sd_bus_message *m = message_begin();
    while (size >= 3) {
        char text[256] = "";
        size_t n = data[2] < size - 3 ? data[2] : size - 3;
        memcpy(text, data + 3, n);
        message_add(m, data[0], data[1], ulm_utf8_valid(text, strlen(text)) ? text : "?");
        data += 3 + n;
        size -= 3 + n;
    }
    message_end(m);
    int r = ulm_dbus_read_options(m, &args, &error);
    bool ours = error.name && strncmp(error.name, "org.ulmd.Error.", 15) == 0;
    if (r < 0 ? !ours : error.name || sd_bus_message_at_end(m, true) <= 0)
        abort();
    if (r >= 0 && !ulm_ask_check(&args.ask, &fault) && !*fault.message)
        abort();
    if (args.ask.prompt.n_facts > ULM_FACTS_MAX || args.ask.prompt.n_history > ULM_TURNS_MAX)
        abort();
    sd_bus_message_unref(m);
    return 0;
}
