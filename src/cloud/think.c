/* SPDX-License-Identifier: MIT */
#include "cloud/think.h"

#include <stdbool.h>
#include <string.h>

#include "util/text.h"

static const char open_tag[] = "<think>", close_tag[] = "</think>";

/* Makes the held bytes visible and everything after them. */
static int release(struct ulm_think *think, struct ulm_buf *out)
{
    int r = ulm_buf_add(out, think->held, think->n_held);
    think->n_held = 0;
    think->state = ULM_THINK_PASS;
    return r;
}

/* LEAD and OPENS: holds c while a block may still begin. True = it was taken. */
static bool hold(struct ulm_think *think, char c)
{
    if (think->n_held == sizeof think->held)
        return false;
    if (think->state == ULM_THINK_LEAD && ulm_is_space(c)) {
        think->held[think->n_held++] = c;
        return true;
    }
    if (c != open_tag[think->matched])
        return false;
    think->state = ULM_THINK_OPENS;
    think->held[think->n_held++] = c;
    if (open_tag[++think->matched] == '\0') {
        think->state = ULM_THINK_INSIDE;
        think->matched = 0;
        think->n_held = 0;
    }
    return true;
}

static void skip_thought(struct ulm_think *think, char c)
{
    /* '<' begins the tag and stands nowhere else in it, so a mismatch restarts simply. */
    if (c == close_tag[think->matched])
        think->matched++;
    else
        think->matched = c == close_tag[0];
    if (close_tag[think->matched] == '\0')
        think->state = ULM_THINK_AFTER;
}

int ulm_think_feed(struct ulm_think *think, const char *text, size_t len, struct ulm_buf *out)
{
    size_t i = 0;

    for (; i < len && think->state != ULM_THINK_PASS; i++) {
        char c = text[i];
        if (think->state == ULM_THINK_INSIDE) {
            skip_thought(think, c);
        } else if (think->state == ULM_THINK_AFTER) {
            if (ulm_is_space(c))
                continue;
            think->state = ULM_THINK_PASS;
            break;
        } else if (!hold(think, c)) {
            int r = release(think, out);
            if (r < 0)
                return r;
            break;
        }
    }
    return i < len ? ulm_buf_add(out, text + i, len - i) : 0;
}

int ulm_think_finish(struct ulm_think *think, struct ulm_buf *out)
{
    return release(think, out);
}
