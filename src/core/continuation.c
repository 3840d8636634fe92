/* SPDX-License-Identifier: MIT */
#include "core/continuation.h"

#include <stddef.h>

#include <ulmd/request.h>

#include "util/buf.h"
#include "util/json.h"

static int add_facts(struct ulm_buf *out, const struct ulm_prompt *prompt)
{
    int r = ulm_buf_add_str(out, "[");
    for (size_t i = 0; i < prompt->n_facts && r == 0; i++) {
        if (i > 0)
            r = ulm_buf_add_str(out, ", ");
        if (r == 0)
            r = ulm_json_add_string(out, prompt->facts[i]);
    }
    return r < 0 ? r : ulm_buf_add_str(out, "]");
}

int ulm_continuation_json(struct ulm_buf *out, const struct ulm_prompt *prompt, const char *opener,
                          bool retractable)
{
    int r = ulm_buf_add_str(out, "{\"request\": ");
    if (r == 0)
        r = ulm_json_add_string(out, prompt->text);
    if (r == 0 && opener) {
        r = ulm_buf_add_str(out, ", \"opener\": ");
        if (r == 0)
            r = ulm_json_add_string(out, opener);
        if (r == 0)
            r = ulm_buf_add_fmt(out, ", \"retractable\": %s", retractable ? "true" : "false");
    }
    if (r == 0 && prompt->n_facts > 0) {
        r = ulm_buf_add_str(out, ", \"facts\": ");
        if (r == 0)
            r = add_facts(out, prompt);
    }
    return r < 0 ? r : ulm_buf_add_str(out, "}");
}

int ulm_continuation_question(struct ulm_buf *out, const struct ulm_prompt *prompt)
{
    int r = ulm_buf_add_str(out, prompt->text);
    if (r == 0 && prompt->n_facts > 0) {
        r = ulm_buf_add_str(out, "\n\nFacts from the device: ");
        if (r == 0)
            r = add_facts(out, prompt);
    }
    return r;
}
