/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cloud/sse.h"
#include "tests/fuzz/fuzz.h"

/* Reads all of it in steps of n bytes; a checksum of the events. */
static unsigned read_in_steps(const char *bytes, size_t size, size_t n)
{
    struct ulm_sse sse;
    unsigned sum = 0;
    ulm_sse_init(&sse);
    for (size_t at = 0, used; at < size; at += used) {
        size_t len = size - at < n ? size - at : n;
        if (ulm_sse_feed(&sse, bytes + at, len, &used) == 1)
            sum = sum * 31 + (unsigned)(sse.data.len + 7 * sse.event.len + 1);
        if (used == 0 || used > len)
            abort();
    }
    sum = sum * 31 + (unsigned)ulm_sse_finish(&sse);
    ulm_sse_deinit(&sse);
    return sum;
}

/* However it is cut, the same events come out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned whole = read_in_steps((const char *)data, size, size + 1);
    if (read_in_steps((const char *)data, size, 1) != whole ||
        read_in_steps((const char *)data, size, 7) != whole)
        abort();
    return 0;
}
