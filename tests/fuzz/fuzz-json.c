/* SPDX-License-Identifier: MIT */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "client/pull.h"
#include "tests/fuzz/fuzz.h"
#include "util/json.h"

/* The clients' reader sees what the daemon's does. text: room for any string of it. */
static bool alike(const cJSON *tree, struct ulm_pull value, char *text)
{
    struct ulm_pull_walk walk = ulm_pull_walk(value);
    struct ulm_pull name = {0}, item;
    if (cJSON_IsString(tree) && ulm_pull_copy(value, text) != strlen(tree->valuestring))
        return false;
    if (cJSON_IsString(tree))
        return strcmp(text, tree->valuestring) == 0 && ulm_pull_is(value, text);
    for (const cJSON *e = tree->child; e; e = e->next)
        if (!ulm_pull_next(&walk, &name, &item) || !alike(e, item, text) ||
            (e->string && !ulm_pull_is(name, e->string)))
            return false;
    return !ulm_pull_next(&walk, &name, &item);
}

/* What passed once passes again (the rewrite of surrogates leaves JSON behind), and every reader. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(2, size + 1);
    memcpy(text, data, size);
    if (ulm_json_check(text, size, 32) == 0) {
        cJSON *tree = cJSON_ParseWithLength(text, size);
        if (!tree || ulm_json_check(text, size, 32) != 0 ||
            !alike(tree, ulm_pull_text(text, size), text + size + 1))
            abort();
        cJSON_Delete(tree);
    }
    free(text);
    return 0;
}
