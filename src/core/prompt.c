/* SPDX-License-Identifier: MIT */
#include "core/prompt.h"

#include <stdlib.h>
#include <string.h>

/* One block: this, the arrays, the strings. */
struct block {
    struct ulm_prompt prompt; /* first, so that the prompt's address is the block's */
    size_t size;
};

static const char *put(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

struct ulm_prompt *ulm_prompt_copy(const struct ulm_prompt *prompt, const struct ulm_turn *history,
                                   size_t n_history)
{
    size_t size = sizeof(struct block) + n_history * sizeof *history +
                  prompt->n_facts * sizeof(char *) + strlen(prompt->text) + 1;
    for (size_t i = 0; i < n_history; i++)
        size += strlen(history[i].content) + 1;
    for (size_t i = 0; i < prompt->n_facts; i++)
        size += strlen(prompt->facts[i]) + 1;

    struct block *block = malloc(size);
    if (!block)
        return NULL;
    struct ulm_turn *turns = (struct ulm_turn *)(block + 1);
    const char **facts = (const char **)(turns + n_history);
    char *at = (char *)(facts + prompt->n_facts);
    for (size_t i = 0; i < n_history; i++)
        turns[i] = (struct ulm_turn){history[i].role, put(&at, history[i].content)};
    for (size_t i = 0; i < prompt->n_facts; i++)
        facts[i] = put(&at, prompt->facts[i]);
    *block = (struct block){
        .prompt = {.text = put(&at, prompt->text),
                   .facts = facts,
                   .n_facts = prompt->n_facts,
                   .history = turns,
                   .n_history = n_history},
        .size = size,
    };
    return &block->prompt;
}

struct ulm_prompt *ulm_prompt_free(struct ulm_prompt *prompt)
{
    if (prompt) {
        struct block *block = (struct block *)prompt;
        explicit_bzero(block, block->size);
        free(block);
    }
    return NULL;
}
