/* SPDX-License-Identifier: MIT */
/*
 * Reading a cJSON tree the way the wire is defined: of a duplicate member the last counts, names
 * match by case, a member of another type is as good as absent. Only for text that passed
 * ulm_json_check(). The util library itself does not link cJSON: these are inline for its users.
 */
#ifndef ULM_UTIL_CJSON_H
#define ULM_UTIL_CJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cjson/cJSON.h>

/* The last member of that name, or NULL; also NULL when object is NULL or no object. */
static inline const cJSON *ulm_json_member(const cJSON *object, const char *name)
{
    const cJSON *found = NULL;
    if (!object || !cJSON_IsObject(object))
        return NULL;
    for (const cJSON *item = object->child; item; item = item->next) {
        if (item->string && strcmp(item->string, name) == 0)
            found = item;
    }
    return found;
}

/* Its text, or NULL when it is absent or no string. Borrowed from the tree. */
static inline const char *ulm_json_text(const cJSON *object, const char *name)
{
    const cJSON *item = ulm_json_member(object, name);
    return item && cJSON_IsString(item) ? item->valuestring : NULL;
}

/* Its number, or `fallback` when it is absent or no number. */
static inline double ulm_json_number(const cJSON *object, const char *name, double fallback)
{
    const cJSON *item = ulm_json_member(object, name);
    return item && cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

#endif
