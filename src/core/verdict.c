/* SPDX-License-Identifier: MIT */
#include "core/verdict.h"

#include <string.h>
#include <strings.h>

#include "util/text.h"

void ulm_verdict_init(struct ulm_verdict_matcher *m)
{
    *m = (struct ulm_verdict_matcher){.state = ULM_VERDICT_LEAD};
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* False where what stands there is text. */
static bool close_tag(struct ulm_verdict_matcher *m)
{
    static const struct {
        const char *name;
        enum ulm_tag tag;
    } tags[] = {
        {"ok", ULM_TAG_OK},
        {"pivot", ULM_TAG_PIVOT},
        {"fix", ULM_TAG_FIX},
        {"redo", ULM_TAG_REDO},
    };

    const char *name = m->held + m->n_lead + 2;
    size_t len = m->n_held - m->n_lead - 3; /* without [[ and the first ] */
    enum ulm_tag tag = ULM_TAG_UNKNOWN;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (strlen(tags[i].name) == len && strncasecmp(tags[i].name, name, len) == 0)
            tag = tags[i].tag;
    }
    if (tag == ULM_TAG_UNKNOWN && m->known_only)
        return false;
    m->tag = tag;
    m->n_held = 0;
    m->state = ULM_VERDICT_AFTER;
    return true;
}

/* Where c leads from a state before the tag; DECIDED where it is no part of a tag. */
static enum ulm_verdict_state next_state(const struct ulm_verdict_matcher *m, char c)
{
    size_t n_tag = m->n_held - m->n_lead;
    switch (m->state) {
    case ULM_VERDICT_LEAD:
        if (ulm_is_space(c))
            return ULM_VERDICT_LEAD;
        if (c == '`')
            return ULM_VERDICT_TICKS;
        return c == '[' ? ULM_VERDICT_OPEN : ULM_VERDICT_DECIDED;
    case ULM_VERDICT_TICKS:
        if (c != '`')
            return ULM_VERDICT_DECIDED;
        return m->n_held >= 2 && m->held[m->n_held - 2] == '`' ? ULM_VERDICT_LANG
                                                               : ULM_VERDICT_TICKS;
    case ULM_VERDICT_LANG:
        if (is_letter(c))
            return ULM_VERDICT_LANG;
        /* fall through */
    case ULM_VERDICT_FENCED:
        if (ulm_is_space(c))
            return ULM_VERDICT_FENCED;
        return c == '[' ? ULM_VERDICT_OPEN : ULM_VERDICT_DECIDED;
    case ULM_VERDICT_OPEN:
        return c == '[' ? ULM_VERDICT_LETTERS : ULM_VERDICT_DECIDED;
    case ULM_VERDICT_LETTERS:
        if (is_letter(c) && n_tag + 3 <= ULM_TAG_MAX)
            return ULM_VERDICT_LETTERS;
        return c == ']' && n_tag > 2 ? ULM_VERDICT_CLOSE : ULM_VERDICT_DECIDED;
    case ULM_VERDICT_CLOSE:
        return c == ']' ? ULM_VERDICT_AFTER : ULM_VERDICT_DECIDED;
    case ULM_VERDICT_AFTER:
    case ULM_VERDICT_AFTER_CR:
    case ULM_VERDICT_DECIDED:
        break;
    }
    return ULM_VERDICT_DECIDED;
}

/* Behind the tag: one space, or one newline in any of its spellings. Returns whether c is it. */
static bool take_after(struct ulm_verdict_matcher *m, char c)
{
    bool after_cr = m->state == ULM_VERDICT_AFTER_CR;
    m->state = ULM_VERDICT_DECIDED;
    if (after_cr)
        return c == '\n';
    if (c == '\r')
        m->state = ULM_VERDICT_AFTER_CR;
    return ulm_is_space(c);
}

size_t ulm_verdict_feed(struct ulm_verdict_matcher *m, const char *text, size_t len)
{
    size_t used = 0;
    while (used < len && m->state != ULM_VERDICT_DECIDED) {
        char c = text[used];
        if (m->state >= ULM_VERDICT_AFTER) {
            used += take_after(m, c);
            continue;
        }
        enum ulm_verdict_state next = next_state(m, c);
        if (next < ULM_VERDICT_OPEN && m->n_lead == ULM_TAG_MAX)
            next = ULM_VERDICT_DECIDED; /* too much in front of it */
        if (next == ULM_VERDICT_AFTER && !close_tag(m))
            next = ULM_VERDICT_DECIDED;
        if (next == ULM_VERDICT_DECIDED) {
            m->state = next;
            break;
        }
        if (next != ULM_VERDICT_AFTER) {
            m->held[m->n_held++] = c;
            m->n_lead += next < ULM_VERDICT_OPEN;
            m->state = next;
        }
        used++;
    }
    return used;
}

void ulm_verdict_release(struct ulm_verdict_matcher *m)
{
    m->state = ULM_VERDICT_DECIDED;
}

void ulm_verdict_end(struct ulm_verdict_matcher *m)
{
    if (!m->known_only && (m->state == ULM_VERDICT_LETTERS || m->state == ULM_VERDICT_CLOSE))
        m->n_held = 0;
    ulm_verdict_release(m);
}
