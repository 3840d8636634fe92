/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "front/wire.h"
#include "tests/fuzz/fuzz.h"

/* Any bytes, in pieces of the size that the first byte says: what is taken is a request within its
 * limits, and a fault can be told to the client. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ulm_wire wire;
    struct ulm_buf out = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    size_t step = size > 0 && data[0] > 0 ? data[0] : ULM_LINE_MAX;
    ulm_wire_init(&wire);
    for (size_t at = 1; at <= size; at += step) {
        size_t n = size - at < step ? size - at : step;
        if (ulm_wire_feed(&wire, (const char *)data + at, n) < 0)
            abort();
        struct ulm_request request;
        struct ulm_fault fault;
        for (int r; (r = ulm_wire_next(&wire, at + step > size, &request, &fault)) != 0;) {
            if (r == ULM_WIRE_REQUEST) {
                bool ask = request.op == ULM_OP_ASK || request.op == ULM_OP_DRAFT;
                if (ask && !ulm_ask_check(&request.ask, &fault))
                    abort();
                ulm_request_deinit(&request);
            } else if (r < 0 || (ulm_wire_add_fault(&out, &fault) < 0 && out.len == 0)) {
                abort();
            }
        }
    }
    ulm_wire_deinit(&wire);
    ulm_buf_deinit(&out);
    return 0;
}
