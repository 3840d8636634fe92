/* SPDX-License-Identifier: MIT */
#include "tools/ulmctl.h"

#define WORD_MS 400.0 /* 150 words a minute, as the protocol counts `gap` */

enum phase { WAIT, OPENER, GAP, CLOUD, PHASES };

static const struct {
    const char *utf8, *ascii;
    enum ulm_style style;
} marks[PHASES] = {
    [WAIT] = {" ", " ", ULM_STYLE_DIM},
    [OPENER] = {"\xE2\x94\x81", "#", ULM_STYLE_OPENER}, /* heavy line */
    [GAP] = {"\xE2\x94\x84", ".", ULM_STYLE_BAD},       /* dashes */
    [CLOUD] = {"\xE2\x94\x81", "=", ULM_STYLE_GOOD},
};

/* What a listener has at a time: the opener is heard as long as its words take. */
static enum phase phase_at(const struct ulm_client_timing *t, double heard_until, double ms)
{
    if (t->cloud_first_text >= 0 && ms >= t->cloud_first_text)
        return ms >= heard_until ? CLOUD : OPENER;
    if (t->first_word < 0 || ms < t->first_word)
        return WAIT;
    return ms < heard_until ? OPENER : GAP;
}

int ulmctl_timeline(const struct ulm_term *term, const struct ulm_client_timing *timing,
                    unsigned opener_words, unsigned width, struct ulm_buf *out)
{
    double heard_until = timing->first_word < 0 ? 0 : timing->first_word + opener_words * WORD_MS;
    double end = timing->total > heard_until ? timing->total : heard_until;
    enum phase before = PHASES;
    int r = ulm_buf_add_str(out, term->utf8 ? "\xE2\x94\x9C" : "|");
    for (unsigned i = 0; r == 0 && i < width; i++) {
        enum phase phase = phase_at(timing, heard_until, end * i / width);
        if (phase != before)
            r = ulm_buf_add_str(out, ulm_term_style(term, marks[phase].style));
        before = phase;
        if (r == 0)
            r = ulm_buf_add_str(out, term->utf8 ? marks[phase].utf8 : marks[phase].ascii);
    }
    if (r == 0)
        r = ulm_buf_add_str(out, ulm_term_style(term, ULM_STYLE_PLAIN));
    return r < 0 ? r : ulm_buf_add_str(out, term->utf8 ? "\xE2\x94\xA4" : "|");
}
