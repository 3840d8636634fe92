/* SPDX-License-Identifier: MIT */
/* The opener policy on a fake model: what is said, in which pieces, and what never is. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/decoder.h"
#include "engine/sampler.h"
#include "tests/unit/engine_fake.h"
#include "tests/unit/unit.h"

static struct ulm_decoder *decoder;
static char words[1024]; /* as they came, a bar behind each */
static int stop_after;   /* looks at stop until it says so; -1 = never */

static bool stop(void *data)
{
    return stop_after >= 0 && stop_after-- == 0;
}

static void word(void *data, const char *text, size_t len)
{
    ck_assert_uint_lt(strlen(words) + len + 2, sizeof words);
    strncat(words, text, len);
    strcat(words, "|");
}

static const struct ulm_watch watch = {.stop = stop, .word = word};

static const struct ulm_opener_options plain = {.min_words = 4,
                                                .max_words = 8,
                                                .guard = true,
                                                .beam = 1,
                                                .top_p = 1,
                                                .min_confidence = -INFINITY};

/* Nothing leaves before the whole is known and judged. */
static struct ulm_opener_options held_for(double min_confidence)
{
    struct ulm_opener_options held = plain;
    held.hold = true;
    held.min_confidence = min_confidence;
    return held;
}

static void open_decoder(const char *system)
{
    char err[256] = "";
    struct ulm_engine_config config = {.path = fake_path(), .context = 512, .system = system};
    fake_reset(NULL, 0);
    stop_after = -1;
    ck_assert_msg(ulm_decoder_new(&config, &decoder, err, sizeof err) == 0, "%s", err);
}

static int ask(const char *request, const struct ulm_opener_options *options,
               struct ulm_outcome *ret)
{
    const struct ulm_prompt prompt = {.text = request};
    words[0] = '\0';
    return ulm_decoder_opener(decoder, 7, &prompt, options, &watch, ret);
}

/* What is said to a request when the model would say `first`, or else `second`. */
static const char *said(const char *request, const char *first, const char *second)
{
    static struct ulm_outcome outcome;
    const struct fake_reply replies[] = {{first, 10, false}, {second, 5, false}};
    fake_reset(replies, second ? 2 : 1);
    ck_assert_int_eq(ask(request, &plain, &outcome), 0);
    return outcome.text;
}

START_TEST(test_words)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"The way to say it,", 10, false}};
    fake_reset(replies, 1);
    ck_assert_int_eq(ask("say it", &plain, &outcome), 0);
    ck_assert_str_eq(words, "The| way| to| say| it,|");
    ck_assert_str_eq(outcome.text, "The way to say it,");
    ck_assert_uint_eq(outcome.words, 5);
    ck_assert_uint_eq(outcome.guard_hits, 0);
    ck_assert_double_le(outcome.confidence, 0);
    ck_assert_double_gt(outcome.confidence, -0.01);
    /* Held: nothing before the end. */
    const struct ulm_opener_options held = held_for(-INFINITY);
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert_str_eq(words, "");
    ck_assert_str_eq(outcome.text, "The way to say it,");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* Where greedy came upon a fork, several beginnings at once find the way that has none. */
START_TEST(test_second_look)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"What is it to say", 10, false},
                                         {"What way to say it", 10, false},
                                         {"What thing to say it", 10, false},
                                         {"What then to say it", 10, false},
                                         {"The way to say it", 9.9f, false}};
    struct ulm_opener_options held = held_for(-INFINITY);
    fake_reset(replies, 5);
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert_msg(!strncmp(outcome.text, "What ", 5), "%s", outcome.text);
    double greedy = outcome.confidence;
    held.min_confidence = greedy + 1e-6;
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert_str_eq(outcome.text, "The way to say it");
    ck_assert(!outcome.neutral && outcome.confidence > greedy);
    ck_assert_uint_eq(outcome.words, 5);
    /* Less sure than wanted all the same. */
    held.min_confidence = outcome.confidence + 1e-6;
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert(outcome.neutral);
    ck_assert_str_eq(outcome.text, "What is it then");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* An opener that is less sure than wanted is replaced by the file's text that the model is led to;
 * the fake's second reply makes the first less sure: of two equal ones each has half. */
START_TEST(test_neutral)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    const struct ulm_model_info *info = ulm_decoder_info(decoder);
    ck_assert_double_eq_tol(info->min_confidence, -0.5, 1e-6);
    ck_assert_uint_eq(info->neutral, 3);
    const struct fake_reply replies[] = {{"The way to say it", 10, false},
                                         {"Then to say it is", 10, false},
                                         {"What is it", 9, true}};
    struct ulm_opener_options held = held_for(-INFINITY);
    fake_reset(replies, 3);
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert(!outcome.neutral && outcome.confidence < -0.01);
    ck_assert_str_ne(outcome.text, "What is it then");
    double sure = outcome.confidence;
    held.min_confidence = sure;
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert(!outcome.neutral);
    held.min_confidence = sure + 1e-6;
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert(outcome.neutral);
    ck_assert_str_eq(outcome.text, "What is it then");
    ck_assert_uint_eq(outcome.words, 4);
    ck_assert_double_eq(outcome.confidence, sure);
    /* None of the texts has as many words as are wanted. */
    held.min_words = 7;
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert(!outcome.neutral);
    held.min_words = plain.min_words;
    /* The sequence is whole afterwards: the same question again, as if nothing had been. */
    held.min_confidence = -INFINITY;
    ck_assert_int_eq(ask("say it", &held, &outcome), 0);
    ck_assert(!outcome.neutral);
    ck_assert_double_eq(outcome.confidence, sure);
    /* Words that leave one by one cannot be taken back. */
    struct ulm_opener_options streamed = plain;
    streamed.min_confidence = 0;
    ck_assert_int_eq(ask("say it", &streamed, &outcome), 0);
    ck_assert(!outcome.neutral);
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_length)
{
    open_decoder(NULL);
    /* Too short an end is passed over, too long a text is cut between words. */
    ck_assert_str_eq(said("x", "The way", "The way to say it"), "The way to say it");
    ck_assert_str_eq(said("x", "The way to say it is to say that thing", NULL),
                     "The way to say it is to say");
    struct ulm_outcome outcome;
    struct ulm_opener_options two = plain;
    two.min_words = two.max_words = 2;
    ck_assert_int_eq(ask("x", &two, &outcome), 0);
    ck_assert_str_eq(outcome.text, "The way");
    ck_assert_str_eq(words, "The| way|");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_guard)
{
    open_decoder(NULL);
    const char *safe = "The way to say it";
    static const char *const refused[] = {
        "Yes the way to say",                                   /* polarity */
        "No the way to say",          "I can't say that thing", /* refusal */
        "The 7 way to say",                                     /* figures that were not said */
        "The seven way to say",       "The way Ana to say",     /* a name that was not said */
        "The way The to say",         "The the way to say",     /* repeats */
        "The way\nto say it",                                   /* white space, markup, controls */
        "The  way to say it",         "The *way* to say it",
        "The\xe2\x80\xae way to say", "The wayz to say it", /* no word of the lexicon */
        "The way-to-say-it is to",  /* joined without end, or to itself */
        "The way-way to say",
        "What to say to say",                               /* a dangling repeat is no way out */
    };
    for (size_t i = 0; i + 1 < sizeof refused / sizeof *refused; i++)
        ck_assert_msg(strcmp(said("what?", refused[i], safe), refused[i]), "%s", refused[i]);
    /* The same, out of the request. */
    ck_assert_str_eq(said("at 7 or 7:30 then", "The way to say 7:30", NULL), "The way to say 7:30");
    ck_assert_str_eq(said("wait 7 minutes", "The seven minutes to say", NULL),
                     "The seven minutes to say");
    ck_assert_str_eq(said("seven", "The way to 7", NULL), "The way to 7");
    ck_assert_str_eq(said("who is ana?", "The way Ana is", NULL), "The way Ana is");
    ck_assert_str_eq(said("who is Ana?", "Ana's way is that", NULL), "Ana's way is that");
    ck_assert_str_eq(said("the wayz", "The wayz to say", NULL), "The wayz to say");
    ck_assert_str_eq(said("x", "What I say is", NULL), "What I say is");
    ck_assert_str_eq(said("x", "The \"thing\" you say", NULL), "The \"thing\" you say");
    /* "a" and "an"; a word of content twice; capitals of common words. */
    ck_assert_str_ne(said("x", "What a it is then", safe), "What a it is then");
    ck_assert_str_eq(said("one wolf", "What a wolf is to say", NULL), "What a wolf is to say");
    ck_assert_str_ne(said("x", "Think what you think is", safe), "Think what you think is");
    ck_assert_str_eq(said("do i think or think", "Think what you think is", NULL),
                     "Think what you think is");
    ck_assert_str_ne(said("the way", "Say what the Way is", safe), "Say what the Way is");
    ck_assert_str_eq(said("the hanseatic way", "Say what the Hanseatic Way is", NULL),
                     "Say what the Hanseatic Way is");
    /* Half of a figure is another figure; more of it too. */
    ck_assert_str_ne(said("at 7:30", "The way to 7", safe), "The way to 7");
    ck_assert_str_ne(said("at 7", "The way to 75", safe), "The way to 75");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_facts_and_history_count_as_said)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"The way Ana say 12", 10, false}};
    const char *facts[] = {"it is 12 there"};
    const struct ulm_turn history[] = {{ULM_ROLE_USER, "who?"}, {ULM_ROLE_ASSISTANT, "Ana"}};
    const struct ulm_prompt prompt = {"what", facts, 1, history, 2};
    fake_reset(replies, 1);
    ck_assert_int_eq(ulm_decoder_opener(decoder, 1, &prompt, &plain, &watch, &outcome), 0);
    ck_assert_str_eq(outcome.text, "The way Ana say 12");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* Control tokens and cut characters are kept back even without a guard. */
START_TEST(test_form_without_guard)
{
    struct ulm_outcome outcome;
    struct ulm_opener_options open = plain;
    open.guard = false;
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"Yes 7 \xe6\x9d\xb1 Ana *x*", 10, false}};
    fake_reset(replies, 1);
    ck_assert_int_eq(ask("x", &open, &outcome), 0);
    ck_assert_str_eq(outcome.text, "Yes 7 \xe6\x9d\xb1 Ana *x*");
    ck_assert_str_eq(words, "Yes| 7| \xe6\x9d\xb1| Ana| *x*|");
    const struct fake_reply lines[] = {{"Yes\nno\nthe way to", 10, false}};
    fake_reset(lines, 1);
    ck_assert_int_eq(ask("x", &open, &outcome), 0);
    ck_assert_ptr_null(strpbrk(outcome.text, "\n\t"));
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_beam)
{
    struct ulm_outcome outcome;
    struct ulm_opener_options beam = plain;
    open_decoder(NULL);
    beam.beam = 4;
    /* The likelier beginning leads nowhere: its only way on is no word. */
    const struct fake_reply replies[] = {{"The thinq to say is", 10, true},
                                         {"The way to say it", 9.5f, false}};
    fake_reset(replies, 2);
    ck_assert_int_eq(ask("x", &beam, &outcome), 0);
    ck_assert_str_eq(outcome.text, "The way to say it");
    ck_assert_str_eq(words, "");
    ck_assert_uint_eq(outcome.words, 5);
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* The guard's objection inside a word leads back to its beginning; what has left stays. */
START_TEST(test_search_on)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"The way to thinq it", 10, false},
                                         {"The way to say it", 9, false},
                                         {"What you think is that", 9.9f, false}};
    fake_reset(replies, 3);
    ck_assert_int_eq(ask("x", &plain, &outcome), 0);
    ck_assert_str_eq(outcome.text, "The way to say it");
    ck_assert_str_eq(words, "The| way| to| say| it|");
    ck_assert_uint_eq(outcome.guard_hits, 1);
    /* Nothing had left: the whole opener is open. */
    const struct fake_reply first[] = {{"Thinqs to say it", 10, false},
                                       {"What you think is that", 9, false}};
    fake_reset(first, 2);
    ck_assert_int_eq(ask("x", &plain, &outcome), 0);
    ck_assert_str_eq(outcome.text, "What you think is that");
    ck_assert_str_eq(words, "What| you| think| is| that|");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_sampling)
{
    struct ulm_outcome outcome;
    struct ulm_opener_options warm = plain;
    char first[ULM_OPENER_MAX + 1] = "";
    bool differs = false;
    open_decoder(NULL);
    warm.temperature = 1;
    const struct fake_reply replies[] = {{"The way to say it", 10, false},
                                         {"What you say is that", 10, false}};
    fake_reset(replies, 2);
    for (uint64_t seed = 0; seed < 20; seed++) {
        warm.seed = seed;
        ck_assert_int_eq(ask("x", &warm, &outcome), 0);
        char again[ULM_OPENER_MAX + 1];
        strcpy(again, outcome.text);
        ck_assert_int_eq(ask("x", &warm, &outcome), 0);
        ck_assert_str_eq(outcome.text, again);
        if (seed == 0)
            strcpy(first, again);
        differs |= strcmp(first, again) != 0;
    }
    ck_assert(differs);
    warm.top_p = 1e-6;
    ck_assert_int_eq(ask("x", &warm, &outcome), 0);
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* Words of the request are guessed and run along: the same text in fewer passes, also where the
 * guesses are wrong or the guard sends the decoder back. */
START_TEST(test_lookup)
{
    static const struct {
        const char *request, *first, *second, *text;
    } cases[] = {
        {"the way to say it now", "The way to say it", NULL, "The way to say it"},
        {"the way to see it now", "The way to say it", NULL, "The way to say it"},
        {"the way to say 7 things", "The way to say 8", "The way to say it", "The way to say it"},
    };
    struct ulm_outcome outcome;
    open_decoder("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_str_eq(said(cases[i].request, cases[i].first, cases[i].second), cases[i].text);
    const struct fake_reply replies[] = {{cases[0].first, 10, false}};
    fake_reset(replies, 1);
    ck_assert_int_eq(ask(cases[0].request, &plain, &outcome), 0);
    ck_assert_uint_lt(atomic_load(&fake.calls), outcome.generated_tokens * 2 / 3);
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* An ask that equals its last draft runs one token before its first word. */
START_TEST(test_reuse)
{
    struct ulm_outcome outcome;
    const struct ulm_prompt prompt = {.text = "what is the way to get there"};
    const struct ulm_prompt longer = {.text = "what is the way to get there then"};
    open_decoder("say it");
    const struct fake_reply replies[] = {{"The way to say", 10, false}};
    fake_reset(replies, 1);
    ck_assert_int_eq(ulm_decoder_draft(decoder, 3, &prompt, &watch), 0);
    ck_assert_uint_gt(atomic_load(&fake.forwards), 1);
    ck_assert_int_eq(ulm_decoder_opener(decoder, 3, &prompt, &plain, &watch, &outcome), 0);
    ck_assert_uint_eq(outcome.prompt_tokens - outcome.reused_tokens, 1);
    /* Another ticket begins where the first one agrees. */
    unsigned whole = outcome.prompt_tokens;
    ck_assert_int_eq(ulm_decoder_opener(decoder, 4, &longer, &plain, &watch, &outcome), 0);
    ck_assert_uint_gt(outcome.reused_tokens, whole / 2);
    ck_assert_str_eq(outcome.text, "The way to say");
    /* Many tickets later the head of all prompts is still there. */
    for (uint64_t ticket = 10; ticket < 20; ticket++) {
        const struct ulm_prompt other = {.text = "zzz"};
        ck_assert_int_eq(ulm_decoder_opener(decoder, ticket, &other, &plain, &watch, &outcome), 0);
        ck_assert_uint_gt(outcome.reused_tokens, 4);
        ck_assert_str_eq(outcome.text, "The way to say");
    }
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_stop)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"The way to say it", 10, false}};
    fake_reset(replies, 1);
    for (int looks = 0; looks < 4; looks++) {
        stop_after = looks;
        ck_assert_int_eq(ask("what is it", &plain, &outcome), ULM_STOPPED);
    }
    /* In the second look, too. */
    const struct ulm_opener_options held = held_for(0);
    const struct fake_reply unsure[] = {replies[0], {"What is it to say", 9, false}};
    fake_reset(unsure, 2);
    int stopped[2] = {0};
    for (int looks = 0; looks < 60; looks++) {
        stop_after = looks;
        stopped[0] += ask("what is it", &plain, &outcome) == ULM_STOPPED;
        stop_after = looks;
        stopped[1] += ask("what is it", &held, &outcome) == ULM_STOPPED;
    }
    ck_assert_int_gt(stopped[0], 4);
    ck_assert_int_gt(stopped[1], stopped[0] + 4);
    fake_reset(replies, 1);
    /* And the next one starts clean. */
    stop_after = -1;
    ck_assert_int_eq(ask("what is it", &plain, &outcome), 0);
    ck_assert_str_eq(outcome.text, "The way to say it");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_long_prompt)
{
    static char text[ULM_INPUT_MAX + 1];
    struct ulm_outcome outcome;
    open_decoder(NULL);
    for (size_t i = 0; i + 6 < sizeof text; i += 6)
        memcpy(text + i, "there ", 6);
    const struct fake_reply replies[] = {{"The way to say it", 10, false}};
    fake_reset(replies, 1);
    ck_assert_int_eq(ask(text, &plain, &outcome), 0);
    ck_assert(outcome.prompt_shortened);
    ck_assert_uint_le(outcome.prompt_tokens, 512 - 128);
    ck_assert_str_eq(outcome.text, "The way to say it");
    ck_assert_int_eq(ask("short", &plain, &outcome), 0);
    ck_assert(!outcome.prompt_shortened);
    /* One word of 16 KiB. */
    memset(text, 'a', sizeof text - 1);
    ck_assert_int_eq(ask(text, &plain, &outcome), 0);
    ck_assert(outcome.prompt_shortened);
    decoder = ulm_decoder_free(decoder);
}
END_TEST

START_TEST(test_finish)
{
    struct ulm_outcome outcome;
    const struct ulm_prompt prompt = {.text = "what"};
    open_decoder(NULL);
    const struct fake_reply replies[] = {{"The way is to say it.", 10, false}};
    fake_reset(replies, 1);
    ck_assert_int_eq(
        ulm_decoder_finish(decoder, 1, &prompt, "The way is", &plain, &watch, &outcome), 0);
    ck_assert_str_eq(outcome.text, " to say it.");
    /* A model that would rather stop has nothing to add, */
    const struct fake_reply ends[] = {{"The way is", 10, false}, {"The way is to say.", 0, false}};
    fake_reset(ends, 2);
    ck_assert_int_eq(
        ulm_decoder_finish(decoder, 1, &prompt, "The way is", &plain, &watch, &outcome), 0);
    ck_assert_str_eq(outcome.text, "");
    /* nor one that finds no end. */
    const struct fake_reply endless[] = {{"The way is that you say it to the thing", 10, true}};
    fake_reset(endless, 1);
    ck_assert_int_eq(
        ulm_decoder_finish(decoder, 1, &prompt, "The way is", &plain, &watch, &outcome), 0);
    ck_assert_str_eq(outcome.text, "");
    decoder = ulm_decoder_free(decoder);
}
END_TEST

/* Against counting: so many are larger, or equal and before it. */
START_TEST(test_rank)
{
    enum { MOST = 500 };
    float logits[MOST];
    int32_t ids[MOST];
    uint32_t state = 7;
    unsigned wrong = 0;
    for (unsigned turn = 0; turn < 30; turn++) {
        size_t n = 1 + turn * 16u % MOST, k = 1 + turn * turn;
        for (size_t i = 0; i < n; i++) {
            state = state * 1664525u + 1013904223u;
            logits[i] = (float)(state >> (turn % 2 ? 28 : 9)); /* few values, or many */
        }
        size_t got = ulm_rank(logits, n, ids, k);
        ck_assert_uint_eq(got, k < n ? k : n);
        for (size_t at = 0; at < got; at++) {
            size_t ahead = 0;
            for (size_t i = 0; i < n; i++)
                ahead += logits[i] > logits[ids[at]] ||
                         (i < (size_t)ids[at] && logits[i] == logits[ids[at]]);
            wrong += ahead != at;
        }
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(test_broken_numbers)
{
    struct ulm_outcome outcome;
    open_decoder(NULL);
    fake.broken = true;
    ck_assert_int_eq(ask("x", &plain, &outcome), -EDOM);
    decoder = ulm_decoder_free(decoder);
}
END_TEST

UNIT_MAIN("opener", test_words, test_second_look, test_neutral, test_length, test_guard,
          test_facts_and_history_count_as_said, test_form_without_guard, test_beam, test_search_on,
          test_sampling, test_lookup, test_reuse, test_stop, test_long_prompt, test_finish,
          test_rank, test_broken_numbers)
