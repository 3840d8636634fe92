/* SPDX-License-Identifier: MIT */
/*
 * inih splits lines near 200 bytes and ends a value at " ;", and where a build of it can be told
 * otherwise cannot be known here. It is therefore given short lines: the section's header as it
 * is, and `key = v` where the true value waits beside it. What is longer than inih's names is no
 * key of ours and is refused before.
 */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "app/config_parts.h"
#include "util/text.h"

#define NAME_MAX_LEN 48u /* below inih's 50 */

struct feed {
    struct ulm_config *config;
    const char *p, *end; /* what is left of the text */
    struct ulm_config_at at;
    char line[ULM_CONFIG_LINE_MAX + 1]; /* the present one, stripped */
    const char *value;                  /* of the present key, in line */
    int err;
    char *reterr;
};

static void fail(struct feed *f, const char *what)
{
    f->err = ulm_config_fault(f->reterr, &f->at, "%s", what);
}

/* The next line that says something, stripped, into f->line. false: none, or a mistake. */
static bool next_line(struct feed *f)
{
    while (f->p < f->end && f->err == 0) {
        const char *lf = memchr(f->p, '\n', (size_t)(f->end - f->p));
        const char *from = f->p, *to = lf ? lf : f->end;
        f->p = lf ? lf + 1 : f->end;
        f->at.line++;

        while (from < to && ulm_is_space(*from))
            from++;
        while (from < to && ulm_is_space(to[-1]))
            to--;
        size_t len = (size_t)(to - from);
        if (len == 0 || *from == ';' || *from == '#')
            continue;
        if (len > ULM_CONFIG_LINE_MAX)
            fail(f, "the line is longer than 4096 bytes");
        else if (memchr(from, '\0', len) || !ulm_utf8_valid(from, len))
            fail(f, "the line is not UTF-8 text");
        memcpy(f->line, from, f->err == 0 ? len : 0);
        f->line[f->err == 0 ? len : 0] = '\0';
        return f->err == 0;
    }
    return false;
}

/* A header goes to inih as it is, after a look at what inih would pass over. */
static void feed_section(struct feed *f, char *str, int num)
{
    size_t len = strlen(f->line);
    char *close = strchr(f->line, ']');
    if (close != f->line + len - 1 || len > NAME_MAX_LEN) {
        fail(f, "a section is [name], alone in its line");
        return;
    }
    snprintf(str, (size_t)num, "%s\n", f->line);
    *close = '\0';
    f->err = ulm_config_section(f->config, &f->at, f->line + 1, f->reterr);
}

static void feed_key(struct feed *f, char *str, int num)
{
    size_t len = strcspn(f->line, "=:");
    if (f->line[len] == '\0') {
        fail(f, "is neither [section], key = value nor a comment");
        return;
    }
    f->value = f->line + len + 1;
    while (ulm_is_space(*f->value))
        f->value++;
    f->line[len] = '\0';
    while (len > 0 && ulm_is_space(f->line[len - 1]))
        f->line[--len] = '\0';
    if (len == 0 || len > NAME_MAX_LEN || strpbrk(f->line, ";[]")) {
        fail(f, "is no key");
        return;
    }
    snprintf(str, (size_t)num, "%s = v\n", f->line);
}

/* As fgets: what inih reads from. */
static char *feed(char *str, int num, void *stream)
{
    struct feed *f = stream;
    if (!next_line(f))
        return NULL;
    if (*f->line == '[')
        feed_section(f, str, num);
    else
        feed_key(f, str, num);
    return f->err == 0 ? str : NULL;
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct feed *f = user;
    (void)value; /* "v" */
    if (f->err == 0)
        f->err = ulm_config_set(f->config, &f->at, section, name, f->value, f->reterr);
    return f->err == 0;
}

int ulm_config_read_text(struct ulm_config *config, const char *file, const char *text, size_t len,
                         char *reterr)
{
    struct feed f = {.config = config, .p = text, .end = text + len, .reterr = reterr};
    f.at.file = ulm_config_keep(config, file, strlen(file));
    if (!f.at.file)
        return -ENOMEM;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        f.p += 3;
    int r = ini_parse_stream(feed, &f, on_value, &f);
    if (f.err == 0 && r != 0)
        f.err = ulm_config_fault(reterr, &f.at, "is no line of a configuration");
    return f.err;
}
