/* SPDX-License-Identifier: MIT */
/* ulm quantize: the matrices of a model file in another type. */
#include <string.h>
#include <strings.h>

#include "tools/ulm.h"

int ulm_cmd_quantize(int argc, char **argv)
{
    static const enum ulm_type types[] = {ULM_TYPE_F32, ULM_TYPE_F16, ULM_TYPE_Q8_0, ULM_TYPE_Q4_0};
    if (argc != 4)
        return ulm_usage_error("quantize wants IN OUT TYPE");
    size_t k = 0;
    while (k < sizeof types / sizeof *types && strcasecmp(argv[3], ulm_type_name(types[k])) != 0)
        k++;
    if (k == sizeof types / sizeof *types)
        return ulm_usage_error("quantize: the type is F32, F16, Q8_0 or Q4_0");
    char err[256];
    struct ulm_gguf *gguf;
    if (ulm_gguf_open(argv[1], &gguf, err, sizeof err) < 0)
        return ulm_fail("%s: %s", argv[1], err);
    int r = ulm_gguf_quantize(gguf, argv[2], types[k]);
    ulm_gguf_free(gguf);
    if (r < 0)
        return ulm_fail("cannot write %s: %s", argv[2], strerror(-r));
    return ULM_EXIT_OK;
}
