/* SPDX-License-Identifier: MIT */
#include "engine/guard.h"

#include <string.h>

#include "util/text.h"
#include "util/unicode.h"

#define WORD_MAX 96 /* bytes of a word that an opener may hold */

/* --- form --- */

/* Characters that no opener holds: controls, white space, what is unseen or turns text around. */
static bool is_unfit(uint32_t code)
{
    return code < 0x21 || (code >= 0x7F && code < 0xA0) || code == 0xAD ||
           code == ULM_REPLACEMENT || ulm_is_white_space(code) ||
           (code >= 0x200B && code <= 0x200F) || (code >= 0x202A && code <= 0x202E) ||
           (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF ||
           (code >= 0xE000 && code <= 0xF8FF) || code >= 0xE0000;
}

/* Bytes of a character that the text ends inside of; 0 = it ends whole. */
static size_t cut_character(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];
        if (c >= 0xC0) {
            uint32_t code;
            return ulm_utf8_decode(text + len - back, back, &code) == 0 ? back : 0;
        }
        if (c < 0x80)
            return 0;
    }
    return 0;
}

/* Whether the bytes are fit characters, the last of which may be cut. */
bool ulm_guard_is_fit(const char *text, size_t len)
{
    while (len) {
        uint32_t code;
        int used = ulm_utf8_decode(text, len, &code);
        if (used == 0)
            return true;
        if (used < 0 || is_unfit(code))
            return false;
        text += used;
        len -= (size_t)used;
    }
    return true;
}

/* --- words --- */

/* Where a word stands decides whether it may begin with a capital. */
struct place {
    const struct ulm_guard *guard;
    bool starts_sentence;
    bool after_name; /* the word before has a capital that no sentence gave it */
};

static bool is_one_of(const char *const *names, const char *word, size_t len)
{
    for (; *names; names++) {
        if (strlen(*names) == len && !memcmp(*names, word, len))
            return true;
    }
    return false;
}

/* The word in lower case, first letter only: another capital makes it a name. false = a name, or
 * no word of letters. */
static bool fold_word(const char *word, size_t len, bool capital_allowed, char *ret_lower)
{
    size_t out = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code;
        int used = ulm_utf8_decode(word + i, len - i, &code);
        if (used <= 0) {
            /* A cut character at the end: its bytes as they are. */
            memcpy(ret_lower + out, word + i, len - i);
            return used == 0;
        }
        if (ulm_is_upper(code) && (i > 0 || !capital_allowed))
            return false;
        if (!ulm_is_letter(code) && code != '\'' && !(code >= 0x300 && code < 0x370))
            return false;
        /* Only ASCII changes its case here, so that the length stays: other scripts have no
         * capitals in a lexicon, and the request's words are known in every form. */
        if (code < 0x80)
            ret_lower[out++] = (char)ulm_to_lower(code);
        else {
            memcpy(ret_lower + out, word + i, (size_t)used);
            out += (size_t)used;
        }
        i += (size_t)used;
    }
    return true;
}

/* "I" and what hangs on it are written with a capital anywhere. */
static bool is_self(const char *word, size_t len, bool whole)
{
    static const char *const self[] = {"I", "I'm", "I'd", "I'll", "I've", NULL};
    if (whole)
        return is_one_of(self, word, len);
    for (size_t i = 0; self[i]; i++) {
        if (len <= strlen(self[i]) && !memcmp(self[i], word, len))
            return true;
    }
    return false;
}

static bool known(const struct place *place, const char *word, size_t len, bool whole)
{
    const struct ulm_words *said = &place->guard->said;
    const struct ulm_words *lexicon = &place->guard->lexicon;
    if (whole ? ulm_words_has(said, word, len) : ulm_words_begins(said, word, len))
        return true;
    if (is_self(word, len, whole))
        return true;
    /* Names that the model file lists, with their capital: those of languages. */
    if (*word >= 'A' && *word <= 'Z' &&
        (whole ? ulm_words_has(lexicon, word, len) : ulm_words_begins(lexicon, word, len)))
        return true;
    char lower[WORD_MAX];
    /* "Hanseatic" takes "league" out of the request with its capital. */
    if (place->after_name && fold_word(word, len, true, lower) &&
        (whole ? ulm_words_has(said, lower, len) : ulm_words_begins(said, lower, len)))
        return true;
    if (!fold_word(word, len, place->starts_sentence, lower))
        return false;
    /* "One" is a pronoun more often than a figure. */
    int number = ulm_number_word(lower, len);
    if (number >= 0 && number != 1)
        return false;
    if (!lexicon->n)
        return true;
    return whole ? ulm_words_has(lexicon, lower, len) : ulm_words_begins(lexicon, lower, len);
}

/* What may hang on a known word behind an apostrophe; a beginning of it while not whole. */
static bool known_with_suffix(const struct place *place, const char *word, size_t len, bool whole)
{
    static const char *const suffixes[] = {"s", "re", "ve", "ll", "d", NULL};
    const char *apostrophe = memchr(word, '\'', len);
    if (!apostrophe || apostrophe == word)
        return false;
    size_t base = (size_t)(apostrophe - word);
    size_t rest = len - base - 1;
    if (!known(place, word, base, true))
        return false;
    if (rest == 0)
        return !whole || word[base - 1] == 's';
    if (whole)
        return is_one_of(suffixes, apostrophe + 1, rest);
    for (size_t i = 0; suffixes[i]; i++) {
        if (rest <= strlen(suffixes[i]) && !memcmp(suffixes[i], apostrophe + 1, rest))
            return true;
    }
    return false;
}

/* A model that runs in a circle joins and joins: three words at most, and none to itself. */
static bool joins_on(const char *word, size_t len)
{
    unsigned joints = 0;
    const char *part = word, *before = NULL;
    size_t before_len = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && word[i] != '-')
            continue;
        size_t n = (size_t)(word + i - part);
        joints += i < len;
        if (before && n && n == before_len && !memcmp(part, before, n))
            return true;
        before = part;
        before_len = n;
        part = word + i + 1;
    }
    return joints > 2;
}

/* A word without the punctuation around it: known, or known words joined by hyphens. */
static bool core_fits(const struct place *place, const char *word, size_t len, bool whole)
{
    if (known(place, word, len, whole) || known_with_suffix(place, word, len, whole))
        return true;
    const char *hyphen = memrchr(word, '-', len);
    if (!hyphen || hyphen == word || joins_on(word, len))
        return false;
    size_t left = (size_t)(hyphen - word);
    if (!core_fits(place, word, left, true))
        return false;
    const struct place behind = {.guard = place->guard};
    size_t right = len - left - 1;
    return right ? core_fits(&behind, hyphen + 1, right, whole) : !whole;
}

/* Bytes of closing punctuation at the end; at most one mark and one quote. */
static size_t closing(const char *word, size_t len)
{
    size_t n = 0;
    if (n < len && word[len - 1] == '"')
        n++;
    if (n < len && strchr(",;:.!?", word[len - n - 1]))
        n++;
    if (n < len && n == 1 && word[len - 1] != '"' && word[len - 2] == '"')
        n++;
    return n;
}

/* The core of a word: without an opening quote and closing punctuation. */
static void trim(const char **word, size_t *len)
{
    if (*len && **word == '"') {
        (*word)++;
        (*len)--;
    }
    *len -= closing(*word, *len);
}

/* Whether a word is whole, or (whole false) may become one. */
static bool word_fits(const struct place *place, const char *word, size_t len, bool whole)
{
    const char *core = word;
    size_t n = len;
    if (len > WORD_MAX)
        return false;
    if (n && *core == '"') {
        core++;
        n--;
    }
    if (!n)
        return !whole;
    if (core_fits(place, core, n, whole))
        return true;
    size_t marks = closing(core, n);
    return marks && marks < n && core_fits(place, core, n - marks, true);
}

/* --- phrases --- */

static size_t word_at(const struct ulm_line *line, unsigned i, const char **ret_word)
{
    size_t start = line->starts[i];
    size_t end = i + 1u < line->words ? line->starts[i + 1] - 1u : line->len;
    *ret_word = line->text + start;
    return end - start;
}

static bool same_word(const struct ulm_line *line, unsigned i, const char *word, size_t len)
{
    const char *other;
    size_t other_len = word_at(line, i, &other);
    trim(&other, &other_len);
    if (other_len != len)
        return false;
    for (size_t k = 0; k < len; k++) {
        if (ulm_to_lower((unsigned char)other[k]) != ulm_to_lower((unsigned char)word[k]))
            return false;
    }
    return true;
}

/* The word in small letters without "'s"; true when it carries content: four letters or more, and
 * none of the words that hold any sentence together. */
static bool content_word(const struct ulm_line *line, unsigned at, char ret_lower[static WORD_MAX],
                         size_t *ret_len)
{
    static const char *const glue[] = {
        "about", "also",   "been",  "before", "being", "could",  "does",   "each", "from",
        "have",  "here",   "into",  "it's",   "just",  "like",   "make",   "more", "most",
        "much",  "need",   "only",  "other",  "over",  "should", "some",   "such", "than",
        "that",  "that's", "their", "them",   "then",  "there",  "these",  "they", "this",
        "those", "until",  "very",  "want",   "well",  "were",   "what",   "when", "where",
        "which", "while",  "will",  "with",   "would", "you'll", "you're", "your", NULL};
    const char *word;
    size_t len = word_at(line, at, &word);
    trim(&word, &len);
    if (len > 2 && !memcmp(word + len - 2, "'s", 2))
        len -= 2;
    if (len < 4 || len > WORD_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        ret_lower[i] = (char)((unsigned char)word[i] < 0x80 ? ulm_to_lower((unsigned char)word[i])
                                                            : (unsigned char)word[i]);
    *ret_len = len;
    return !is_one_of(glue, ret_lower, len);
}

static bool repeats_content(const struct ulm_guard *guard, const struct ulm_line *line, unsigned at)
{
    char lower[WORD_MAX], other[WORD_MAX];
    size_t len, other_len;
    if (!content_word(line, at, lower, &len) || ulm_words_has(&guard->twice, lower, len))
        return false;
    for (unsigned i = 0; i < at; i++) {
        if (content_word(line, i, other, &other_len) && other_len == len &&
            !memcmp(other, lower, len))
            return true;
    }
    return false;
}

bool ulm_guard_grounded(const struct ulm_guard *guard, const struct ulm_line *line)
{
    char lower[WORD_MAX];
    size_t len;
    for (unsigned i = 0; i < line->words; i++) {
        if (content_word(line, i, lower, &len) && ulm_words_has(&guard->said, lower, len))
            return true;
    }
    return false;
}

/* Word `at` of the line would be the second in a row, or end the second run of three words, or say
 * the same thing again. */
static bool repeats(const struct ulm_guard *guard, const struct ulm_line *line, unsigned at)
{
    const char *word[3];
    size_t len[3];
    if (at == 0)
        return false;
    len[2] = word_at(line, at, &word[2]);
    trim(&word[2], &len[2]);
    if (same_word(line, at - 1, word[2], len[2]) || repeats_content(guard, line, at))
        return true;
    for (unsigned k = 0; at >= 3 && k < 2; k++) {
        len[k] = word_at(line, at - 2 + k, &word[k]);
        trim(&word[k], &len[k]);
    }
    for (unsigned i = 0; i + 3 <= at; i++) {
        if (same_word(line, i, word[0], len[0]) && same_word(line, i + 1, word[1], len[1]) &&
            same_word(line, i + 2, word[2], len[2]))
            return true;
    }
    return false;
}

/* One of the two begins with the other. */
static bool agree(const char *name, const char *word, size_t len)
{
    size_t n = strlen(name);
    return !memcmp(name, word, n < len ? n : len);
}

/* "a" before a vowel and "an" before a consonant, as far as letters tell it. The word may still be
 * growing. */
static bool article_fails(const struct ulm_line *line, unsigned at)
{
    static const char *const spoken_as_consonant[] = {"eu", "one", "once", "ewe", NULL};
    static const char *const silent_h[] = {"hour", "honest", "honor", "honour", "heir", NULL};
    const char *word;
    size_t len = word_at(line, at, &word);
    trim(&word, &len);
    if (at == 0 || !len || (unsigned char)*word >= 0x80 || !ulm_is_letter((unsigned char)*word) ||
        ulm_is_upper((unsigned char)*word))
        return false;
    if (same_word(line, at - 1, "a", 1) && strchr("aeio", *word)) {
        for (size_t i = 0; spoken_as_consonant[i]; i++) {
            if (agree(spoken_as_consonant[i], word, len))
                return false;
        }
        return true;
    }
    if (same_word(line, at - 1, "an", 2) && !strchr("aeiou", *word)) {
        for (size_t i = 0; silent_h[i]; i++) {
            if (agree(silent_h[i], word, len))
                return false;
        }
        return true;
    }
    return false;
}

/* Openings that say yes or no, refuse, or claim that something was done. */
static bool opens_badly(const struct ulm_line *line, unsigned at)
{
    static const char *const first[] = {"yes",         "no",         "yeah",       "yep",
                                        "yup",         "nope",       "nah",        "correct",
                                        "incorrect",   "true",       "false",      "never",
                                        "always",      "absolutely", "definitely", "certainly",
                                        "affirmative", "negative",   "indeed",     "unfortunately",
                                        "i've",        NULL};
    static const char *const after_i[] = {"can't",  "cannot",  "couldn't", "won't", "don't",
                                          "didn't", "haven't", "wouldn't", "am",    NULL};
    static const char *const after_im[] = {"not", "unable", "afraid", NULL};
    char lower[WORD_MAX];
    const char *word;
    size_t len = word_at(line, at, &word);
    trim(&word, &len);
    if (at > 1 || len > sizeof lower)
        return false;
    for (size_t i = 0; i < len; i++)
        lower[i] = (char)((unsigned char)word[i] < 0x80 ? ulm_to_lower((unsigned char)word[i])
                                                        : (unsigned char)word[i]);
    if (at == 0)
        return is_one_of(first, lower, len);
    if (same_word(line, 0, "i", 1))
        return is_one_of(after_i, lower, len);
    if (same_word(line, 0, "i'm", 3))
        return is_one_of(after_im, lower, len);
    return same_word(line, 0, "of", 2) && len == 6 && !memcmp(lower, "course", 6);
}

/* What a word at this place may be. */
static struct place place_of(const struct ulm_guard *guard, const struct ulm_line *line,
                             unsigned at)
{
    struct place place = {.guard = guard, .starts_sentence = at == 0};
    const char *before;
    size_t len = at ? word_at(line, at - 1, &before) : 0;
    if (!len)
        return place;
    place.starts_sentence = strchr(".!?", before[len - 1]) != NULL;
    place.after_name =
        at > 1 && *before >= 'A' && *before <= 'Z' && len > 1 && !place.starts_sentence;
    return place;
}

/* Whether the last word of the line is whole and stands well behind those before it. */
static bool last_word_fits(const struct ulm_guard *guard, const struct ulm_line *line)
{
    unsigned at = line->words - 1u;
    const char *word;
    size_t len = word_at(line, at, &word);
    const struct place place = place_of(guard, line, at);
    return word_fits(&place, word, len, true) && !repeats(guard, line, at) &&
           !opens_badly(line, at);
}

/* --- the questions --- */

void ulm_line_add(struct ulm_line *line, const char *piece, size_t len)
{
    if (!line->words)
        line->starts[line->words++] = 0;
    else if (*piece == ' ')
        line->starts[line->words++] = (uint16_t)(line->len + 1);
    memcpy(line->text + line->len, piece, len);
    line->len = (uint16_t)(line->len + len);
    line->text[line->len] = '\0';
}

void ulm_line_drop_word(struct ulm_line *line)
{
    if (!line->words)
        return;
    line->len = line->starts[--line->words];
    if (line->len)
        line->len--;
    line->text[line->len] = '\0';
}

bool ulm_guard_whole(const struct ulm_guard *guard, const struct ulm_line *line)
{
    if (!line->words || line->text[line->len - 1] == ' ' || cut_character(line->text, line->len))
        return false;
    return !guard->on || last_word_fits(guard, line);
}

bool ulm_guard_allows(const struct ulm_guard *guard, const struct ulm_line *line, const char *piece,
                      size_t len)
{
    bool opens = *piece == ' ';
    if (!len || line->len + len > line->cap)
        return false;
    size_t cut = cut_character(line->text, line->len);
    if (opens && (cut || !line->words || line->text[line->len - 1] == ' ' ||
                  line->words == sizeof line->starts / sizeof *line->starts))
        return false;
    struct ulm_line next = *line;
    ulm_line_add(&next, piece, len);
    if (!ulm_guard_is_fit(next.text + line->len - cut + opens, cut + len - opens))
        return false;
    if (!guard->on)
        return true;
    if (opens && !last_word_fits(guard, line))
        return false;
    unsigned at = next.words - 1u;
    const char *word;
    size_t n = word_at(&next, at, &word);
    const struct place place = place_of(guard, &next, at);
    if (!word_fits(&place, word, n, false) || article_fails(&next, at))
        return false;
    /* A piece that is a whole word already is no good when that word is not: it would have to
     * grow into something else. */
    return !word_fits(&place, word, n, true) ||
           (!repeats(guard, &next, at) && !opens_badly(&next, at));
}
