/* SPDX-License-Identifier: MIT */
#include "engine/prompt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ulmd/limits.h>

#include "util/buf.h"
#include "util/json.h"
#include "util/text.h"
#include "util/unicode.h"

/* A control character in a fact becomes six bytes of JSON; nothing grows more. */
#define SCRATCH_IDS (6 * ULM_INPUT_MAX + 4096)
#define SHOUTED_MIN 6 /* letters */

/* Ids of one piece of text in the scratch. */
struct part {
    size_t at, n;
};

struct ulm_chat {
    const struct ulm_tokenizer *tokenizer;
    size_t room;
    int32_t start, end;
    struct part system; /* fixed pieces stand at the start of the scratch */
    struct part newline, system_role, user_role, assistant_role;
    size_t fixed;     /* where they end */
    int32_t *scratch; /* [SCRATCH_IDS] pieces of the prompt, in any order */
    size_t used;
    int32_t *ids; /* [room] the rendered prompt */
    size_t n;
    struct ulm_buf json;    /* a fact */
    struct ulm_buf lowered; /* a turn that was said in capitals */
};

static int encode(struct ulm_chat *chat, const char *text, size_t len, struct part *ret)
{
    size_t at = chat->used;
    int r = ulm_tokenizer_encode(chat->tokenizer, text, len, false, chat->scratch, SCRATCH_IDS,
                                 &chat->used);
    if (r < 0)
        return r == -ENOBUFS ? -E2BIG : r;
    *ret = (struct part){at, chat->used - at};
    return 0;
}

/* Whether it is several words in capitals alone, which a model this small takes for strange words;
 * one word may be an acronym, and so may capitals among letters that have no case. */
static bool is_shouted(const char *text, size_t len)
{
    size_t capitals = 0;
    if (len > ULM_INPUT_MAX)
        return false;
    for (size_t i = 0; i < len;) {
        uint32_t code;
        int n = ulm_utf8_decode(text + i, len - i, &code);
        if (n <= 0 || (ulm_is_letter(code) && !ulm_is_upper(code)))
            return false;
        capitals += ulm_is_upper(code);
        i += (size_t)n;
    }
    return capitals >= SHOUTED_MIN && ulm_count_words(text) > 1;
}

static int add_lowered(struct ulm_buf *out, const char *text)
{
    size_t len = strlen(text);
    int r = ulm_buf_reserve(out, 2 * len); /* lower case may take more bytes; none is left behind */
    while (len && r == 0) {
        uint32_t code;
        char bytes[4];
        size_t n = (size_t)ulm_utf8_decode(text, len, &code);
        r = ulm_buf_add(out, bytes, ulm_utf8_encode(ulm_to_lower(code), bytes));
        text += n;
        len -= n;
    }
    return r;
}

/* Without white space around it, so that pieces may be tokenised one by one: the pre-tokenizer
 * never joins a line break with a visible character. */
static int encode_trimmed(struct ulm_chat *chat, const char *text, struct part *ret)
{
    size_t len = strlen(text);
    while (len && ulm_is_space(text[len - 1]))
        len--;
    while (len && ulm_is_space(*text)) {
        text++;
        len--;
    }
    return encode(chat, text, len, ret);
}

static int encode_turn(struct ulm_chat *chat, const char *text, struct part *ret)
{
    if (!is_shouted(text, strlen(text)))
        return encode_trimmed(chat, text, ret);
    ulm_buf_clear(&chat->lowered);
    int r = add_lowered(&chat->lowered, text);
    return r == 0 ? encode_trimmed(chat, chat->lowered.data, ret) : r;
}

static int encode_fixed(struct ulm_chat *chat, const char *system)
{
    int r = encode_trimmed(chat, system, &chat->system);
    if (r == 0)
        r = encode(chat, "\n", 1, &chat->newline);
    if (r == 0)
        r = encode(chat, "system\n", 7, &chat->system_role);
    if (r == 0)
        r = encode(chat, "user\n", 5, &chat->user_role);
    if (r == 0)
        r = encode(chat, "assistant\n", 10, &chat->assistant_role);
    chat->fixed = chat->used;
    return r;
}

int ulm_chat_new(const struct ulm_tokenizer *tokenizer, const char *system, size_t room,
                 struct ulm_chat **ret_chat, char *reterr, size_t reterr_size)
{
    struct ulm_chat *chat = calloc(1, sizeof *chat);
    int r = -ENOMEM;
    if (chat) {
        chat->tokenizer = tokenizer;
        chat->room = room;
        chat->json = ULM_BUF_INIT(6 * ULM_INPUT_MAX + 3);
        chat->lowered = ULM_BUF_INIT(2 * ULM_INPUT_MAX);
        chat->scratch = malloc(SCRATCH_IDS * sizeof *chat->scratch);
        chat->ids = malloc(room * sizeof *chat->ids);
        chat->start = ulm_tokenizer_control(tokenizer, "<|im_start|>");
        chat->end = ulm_tokenizer_control(tokenizer, "<|im_end|>");
        r = chat->scratch && chat->ids ? encode_fixed(chat, system) : -ENOMEM;
    }
    if (r == 0 && (chat->start < 0 || chat->end < 0)) {
        snprintf(reterr, reterr_size, "the vocabulary lacks <|im_start|> or <|im_end|>");
        r = -EBADMSG;
    } else if (r == -E2BIG || (r == 0 && chat->system.n > room / 2)) {
        snprintf(reterr, reterr_size, "the system text is longer than half the context");
        r = 1;
    } else if (r < 0) {
        snprintf(reterr, reterr_size, "%s", strerror(-r));
    }
    if (r != 0) {
        ulm_chat_free(chat);
        return r;
    }
    *ret_chat = chat;
    return 0;
}

struct ulm_chat *ulm_chat_free(struct ulm_chat *chat)
{
    if (!chat)
        return NULL;
    ulm_buf_wipe(&chat->json);
    ulm_buf_wipe(&chat->lowered);
    free(chat->scratch);
    free(chat->ids);
    free(chat);
    return NULL;
}

const char *ulm_chat_default_system(const struct ulm_gguf *gguf)
{
    static const char *const inserted[] = {"You are a helpful assistant.",
                                           "You are a helpful assistant"};
    const char *text;
    if (ulm_gguf_get_string(gguf, "ulm.system", &text) == 0)
        return text;
    if (ulm_gguf_get_string(gguf, "tokenizer.chat_template", &text) == 0) {
        for (size_t i = 0; i < sizeof inserted / sizeof *inserted; i++) {
            if (strstr(text, inserted[i]))
                return inserted[i];
        }
    }
    return "";
}

/* --- what fits --- */

struct pieces {
    struct part facts[ULM_FACTS_MAX];
    size_t first_fact, n_facts;
    struct part turns[ULM_TURNS_MAX];
    const struct ulm_turn *history; /* of turns[0] */
    size_t first_turn, n_turns;
    struct part text;
    bool shortened;
};

static int encode_pieces(struct ulm_chat *chat, const struct ulm_prompt *prompt,
                         struct pieces *pieces)
{
    chat->used = chat->fixed;
    if (prompt->n_facts > ULM_FACTS_MAX)
        return -E2BIG;
    for (size_t i = 0; i < prompt->n_facts; i++) {
        ulm_buf_clear(&chat->json);
        int r = ulm_json_add_string(&chat->json, prompt->facts[i]);
        if (r == 0)
            r = encode(chat, chat->json.data, chat->json.len, &pieces->facts[i]);
        if (r < 0)
            return r == -ENOBUFS ? -E2BIG : r;
    }
    pieces->n_facts = prompt->n_facts;
    pieces->history = prompt->history;
    pieces->n_turns = prompt->n_history;
    if (pieces->n_turns > ULM_TURNS_MAX) {
        pieces->history += pieces->n_turns - ULM_TURNS_MAX;
        pieces->n_turns = ULM_TURNS_MAX;
        pieces->shortened = true;
    }
    for (size_t i = 0; i < pieces->n_turns; i++) {
        int r = encode_turn(chat, pieces->history[i].content, &pieces->turns[i]);
        if (r < 0)
            return r;
    }
    return encode_turn(chat, prompt->text, &pieces->text);
}

/* Tokens of a turn around its content: start, role, end, line break. */
static size_t frame(const struct ulm_chat *chat, enum ulm_role role)
{
    const struct part *name = role == ULM_ROLE_USER ? &chat->user_role : &chat->assistant_role;
    return 2 + name->n + chat->newline.n;
}

static size_t total(const struct ulm_chat *chat, const struct pieces *pieces)
{
    size_t n = ulm_tokenizer_bos(chat->tokenizer) >= 0;
    size_t facts = 0;
    for (size_t i = pieces->first_fact; i < pieces->n_facts; i++)
        facts += pieces->facts[i].n + chat->newline.n;
    if (chat->system.n || facts)
        n += 2 + chat->system_role.n + chat->system.n + facts + chat->newline.n;
    for (size_t i = pieces->first_turn; i < pieces->n_turns; i++)
        n += frame(chat, pieces->history[i].role) + pieces->turns[i].n;
    n += frame(chat, ULM_ROLE_USER) + pieces->text.n;
    return n + 1 + chat->assistant_role.n;
}

/* The text from a later token on, at a word's beginning where one is near. */
static void cut_text(const struct ulm_chat *chat, struct part *text, size_t excess)
{
    size_t cut = excess < text->n ? excess : text->n;
    for (size_t i = cut; i < text->n && i < cut + 16; i++) {
        size_t len;
        const char *piece = ulm_tokenizer_piece(chat->tokenizer, chat->scratch[text->at + i], &len);
        if (len && *piece == ' ') {
            cut = i;
            break;
        }
    }
    text->at += cut;
    text->n -= cut;
}

static void shorten(struct ulm_chat *chat, struct pieces *pieces)
{
    while (total(chat, pieces) > chat->room) {
        pieces->shortened = true;
        if (pieces->first_turn < pieces->n_turns) {
            /* An answer does not stay without its question. */
            do {
                pieces->first_turn++;
            } while (pieces->first_turn < pieces->n_turns &&
                     pieces->history[pieces->first_turn].role == ULM_ROLE_ASSISTANT);
        } else if (pieces->first_fact < pieces->n_facts) {
            pieces->first_fact++;
        } else {
            cut_text(chat, &pieces->text, total(chat, pieces) - chat->room);
            return;
        }
    }
}

/* --- writing it down --- */

static void add_part(struct ulm_chat *chat, struct part part)
{
    memcpy(chat->ids + chat->n, chat->scratch + part.at, part.n * sizeof *chat->ids);
    chat->n += part.n;
}

static void open_turn(struct ulm_chat *chat, struct part role)
{
    chat->ids[chat->n++] = chat->start;
    add_part(chat, role);
}

static void close_turn(struct ulm_chat *chat)
{
    chat->ids[chat->n++] = chat->end;
    add_part(chat, chat->newline);
}

static void begin(struct ulm_chat *chat, const struct pieces *pieces)
{
    chat->n = 0;
    if (ulm_tokenizer_bos(chat->tokenizer) >= 0)
        chat->ids[chat->n++] = ulm_tokenizer_bos(chat->tokenizer);
    if (!chat->system.n && pieces->first_fact == pieces->n_facts)
        return;
    open_turn(chat, chat->system_role);
    add_part(chat, chat->system);
    for (size_t i = pieces->first_fact; i < pieces->n_facts; i++) {
        if (i > pieces->first_fact || chat->system.n)
            add_part(chat, chat->newline);
        add_part(chat, pieces->facts[i]);
    }
    close_turn(chat);
}

int ulm_chat_render(struct ulm_chat *chat, const struct ulm_prompt *prompt, const int32_t **ret_ids,
                    size_t *ret_n, bool *ret_shortened)
{
    struct pieces pieces = {0};
    int r = encode_pieces(chat, prompt, &pieces);
    if (r < 0)
        return r;
    shorten(chat, &pieces);
    begin(chat, &pieces);
    for (size_t i = pieces.first_turn; i < pieces.n_turns; i++) {
        open_turn(chat,
                  pieces.history[i].role == ULM_ROLE_USER ? chat->user_role : chat->assistant_role);
        add_part(chat, pieces.turns[i]);
        close_turn(chat);
    }
    open_turn(chat, chat->user_role);
    add_part(chat, pieces.text);
    close_turn(chat);
    open_turn(chat, chat->assistant_role);
    *ret_ids = chat->ids;
    *ret_n = chat->n;
    *ret_shortened = pieces.shortened;
    return 0;
}

static void forget(struct ulm_buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->size);
    ulm_buf_clear(buf);
}

void ulm_chat_forget(struct ulm_chat *chat)
{
    forget(&chat->json);
    forget(&chat->lowered);
}

void ulm_chat_head(struct ulm_chat *chat, const int32_t **ret_ids, size_t *ret_n)
{
    const struct pieces none = {0};
    begin(chat, &none);
    open_turn(chat, chat->user_role);
    *ret_ids = chat->ids;
    *ret_n = chat->n;
}

int32_t ulm_chat_end(const struct ulm_chat *chat)
{
    return chat->end;
}
