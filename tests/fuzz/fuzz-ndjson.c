/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cloud/ndjson.h"
#include "tests/fuzz/fuzz.h"

static unsigned read_in_steps(const char *bytes, size_t size, size_t n)
{
    struct ulm_ndjson nd;
    unsigned sum = 0;
    ulm_ndjson_init(&nd);
    for (size_t at = 0, used; at < size; at += used) {
        size_t len = size - at < n ? size - at : n;
        if (ulm_ndjson_feed(&nd, bytes + at, len, &used) == 1)
            sum = sum * 31 + (unsigned)nd.line.len + 1;
        if (used == 0 || used > len)
            abort();
    }
    sum = sum * 31 + (unsigned)ulm_ndjson_finish(&nd);
    ulm_ndjson_deinit(&nd);
    return sum;
}

/* However it is cut, the same lines come out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (read_in_steps((const char *)data, size, size + 1) !=
        read_in_steps((const char *)data, size, 1))
        abort();
    return 0;
}
