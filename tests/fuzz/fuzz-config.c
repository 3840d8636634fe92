/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "app/config.h"
#include "tests/fuzz/fuzz.h"

/* Any text is a configuration or gets one line that says why not. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reterr[ULM_CONFIG_ERROR_MAX] = "";
    struct ulm_config *config;
    int r = ulm_config_parse("fuzz", (const char *)data, size, &config, reterr);
    if (r == 0) {
        struct ulm_cloud_config cloud;
        if (ulm_config_cloud(config, &cloud) != (cloud.n_endpoints > 0))
            abort();
        ulm_config_free(config);
    } else if (!*reterr || strchr(reterr, '\n')) {
        abort();
    }
    return 0;
}
