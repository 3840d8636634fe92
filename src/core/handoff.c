/* SPDX-License-Identifier: MIT */
/*
 * The hand-off: the cloud's text is cut from its verdict tag, the correction that follows from the
 * verdict is chosen and announced, and the text is joined to what stands there.
 */
#include <errno.h>
#include <string.h>

#include "core/chars.h"
#include "core/core.h"
#include "util/text.h"
#include "util/unicode.h"

struct ulm_repair_rules ulm_handoff_rules(const struct ulm_session *s)
{
    const struct ulm_core_config *config = &s->core->config;
    return (struct ulm_repair_rules){
        .allow_pivot = config->allow_pivot,
        .allow_fix = config->allow_fix,
        .allow_redo = config->allow_redo,
        .can_retract = s->retractable && s->played == 0,
    };
}

enum how { HOW_FEED, HOW_LATE, HOW_END };

static int stitch(struct ulm_session *s, enum how how, const char *text, size_t len,
                  struct ulm_buf *out)
{
    switch (how) {
    case HOW_FEED:
        return ulm_stitch_feed(&s->stitch, text, len, out);
    case HOW_LATE:
        return ulm_stitch_late(&s->stitch, out);
    case HOW_END:
        break;
    }
    return ulm_stitch_end(&s->stitch, out);
}

/* The correction is announced when there is text to follow it, not before. */
static void announce(struct ulm_session *s)
{
    struct ulm_core_counters *counters = &s->core->counters;
    enum ulm_verdict verdict = s->repair.verdict;
    if (s->stitch.restart) {
        struct ulm_repair_rules rules = ulm_handoff_rules(s);
        enum ulm_verdict instead = ulm_repair_allowed(ULM_VERDICT_PIVOT, &rules);
        verdict = instead != ULM_VERDICT_OK ? instead : verdict;
        counters->restart_suspected++;
    }
    counters->echo_stripped += s->stitch.echo_stripped;
    counters->redo_downgraded += s->repair.downgraded;
    s->applied = verdict;
    if (verdict > ULM_VERDICT_OK)
        ulm_voice_repair(s, verdict);
    if (s->repair.retract)
        ulm_voice_retract(s);
}

/* Until something can be seen, what the stitch lets out waits for the announcement. */
static int stream_first(struct ulm_session *s, enum how how, const char *text, size_t len)
{
    size_t before = s->repair.retract ? 0 : s->answer.len + s->phrase.len;
    struct ulm_buf ULM_CLEANUP_BUF first = ULM_BUF_INIT(ULM_ANSWER_MAX - before);
    int full = stitch(s, how, text, len, &first);
    if (full < 0 || !s->stitch.open)
        return full;

    announce(s);
    size_t from = s->answer.len;
    int r = s->repair.phrase ? ulm_buf_add(&s->answer, ulm_buf_str(&s->phrase), s->phrase.len) : 0;
    if (r == 0)
        r = ulm_buf_add(&s->answer, ulm_buf_str(&first), first.len);
    if (r < 0)
        return r;
    ulm_voice_delta(s, from);
    return full;
}

static int stream(struct ulm_session *s, enum how how, const char *text, size_t len)
{
    if (!s->stitch.open)
        return stream_first(s, how, text, len);
    size_t from = s->answer.len;
    int r = stitch(s, how, text, len, &s->answer);
    ulm_voice_delta(s, from);
    return r;
}

/* The phrase as it goes on from the opener, and the white space behind it. */
static int add_phrase(struct ulm_session *s, const char *phrase)
{
    int r = ulm_stitch_phrase(s->opener.data, phrase, &s->phrase);
    uint32_t last = ulm_char_last(ulm_buf_str(&s->phrase), s->phrase.len);
    if (r == 0 && !(last < 0x80 && ulm_is_space((char)last)) && !ulm_is_unspaced(last))
        r = ulm_buf_add_str(&s->phrase, " ");
    return r;
}

int ulm_handoff_plan(struct ulm_session *s)
{
    struct ulm_repair_rules rules = ulm_handoff_rules(s);
    ulm_buf_clear(&s->phrase);
    s->repair = (struct ulm_repair){.verdict = ULM_VERDICT_NONE};
    if (s->opener.len == 0)
        return 0;
    s->repair = ulm_repair_choose(s->tag, &rules);
    if (s->refusal && !ulm_stitch_sentence_ends(s->opener.data)) {
        /* A refusal is a sentence of its own: the opener's is broken off. */
        s->repair.phrase = true;
        return add_phrase(s, ulm_stitch_is_open(s->opener.data) ? "\xE2\x80\xA6" : "");
    }
    return s->repair.phrase ? add_phrase(s, s->core->config.redo_phrase) : 0;
}

static void count_tag(struct ulm_session *s)
{
    bool seen = s->verdict.tag != ULM_TAG_MISSING;
    s->core->counters.tag_missing += !seen;
    s->core->counters.tag_unknown += s->verdict.tag == ULM_TAG_UNKNOWN;
    if (s->transfer)
        ulm_transfer_report_tag(s->transfer, seen, s->uid);
}

/* The verdict is known, or known to be missing. */
static int judge(struct ulm_session *s)
{
    s->tag = s->verdict.tag;
    if (s->refusal)
        s->tag = ULM_TAG_FIX;
    else if (s->tagged)
        count_tag(s);
    int r = ulm_handoff_plan(s);
    if (r < 0)
        return r;
    bool joined = !s->repair.retract && !s->repair.phrase;
    ulm_stitch_init(&s->stitch, joined ? ulm_buf_str(&s->opener) : "", s->repair.strip,
                    s->repair.watch);
    s->judged = true;
    return stream(s, HOW_FEED, s->verdict.held, s->verdict.n_held);
}

int ulm_handoff_text(struct ulm_session *s, const char *text, size_t len)
{
    int r = 0;
    if (!s->judged) {
        s->verdict.known_only = !s->tagged;
        if (s->prefilled || s->refusal)
            ulm_verdict_release(&s->verdict);
        size_t used = ulm_verdict_feed(&s->verdict, text, len);
        text += used;
        len -= used;
        if (!ulm_verdict_decided(&s->verdict))
            return 0;
        r = judge(s);
    }
    return r == 0 && len > 0 ? stream(s, HOW_FEED, text, len) : r;
}

bool ulm_handoff_holds(const struct ulm_session *s)
{
    return s->judged ? ulm_stitch_holds(&s->stitch) : ulm_verdict_holds_fence(&s->verdict);
}

int ulm_handoff_late(struct ulm_session *s, bool tag)
{
    if (!s->judged) {
        if (!ulm_verdict_holds_fence(&s->verdict) && !(tag && ulm_verdict_holds_tag(&s->verdict)))
            return 0;
        ulm_verdict_release(&s->verdict);
        int r = judge(s);
        if (r != 0)
            return r;
    }
    return s->stitch.open ? 0 : stream(s, HOW_LATE, NULL, 0);
}

static bool is_blank(const char *text, size_t len)
{
    while (len > 0 && ulm_is_space(text[len - 1]))
        len--;
    return len == 0;
}

int ulm_handoff_end(struct ulm_session *s)
{
    if (!s->judged) {
        ulm_verdict_end(&s->verdict);
        if (s->verdict.tag == ULM_TAG_MISSING && is_blank(s->verdict.held, s->verdict.n_held))
            return 0;
        int r = judge(s);
        if (r != 0)
            return r;
    }
    return stream(s, HOW_END, NULL, 0);
}
