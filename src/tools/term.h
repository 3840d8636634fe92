/* SPDX-License-Identifier: MIT */
/* A terminal, and how an answer that may be taken back is shown on it. */
#ifndef ULM_TOOLS_TERM_H
#define ULM_TOOLS_TERM_H

#include <stdbool.h>
#include <stdio.h>

#include "util/buf.h"

struct ulm_term {
    FILE *out;   /* borrowed */
    bool live;   /* a terminal that can be drawn on; else plain text */
    bool colour; /* live, and NO_COLOR is not set */
    bool utf8;   /* the locale writes UTF-8 */
    unsigned columns, rows;
};

enum ulm_style {
    ULM_STYLE_PLAIN,
    ULM_STYLE_OPENER,
    ULM_STYLE_REPAIR,
    ULM_STYLE_STRUCK, /* said, and corrected */
    ULM_STYLE_DIM,
    ULM_STYLE_GOOD,
    ULM_STYLE_BAD,
    ULM_STYLE_N,
};

/* out is borrowed. Call setlocale(LC_CTYPE, "") before. */
struct ulm_term ulm_term_of(FILE *out);
void ulm_term_measure(struct ulm_term *term); /* the window may have changed */

/* The escape that begins a style, "" without colour. */
const char *ulm_term_style(const struct ulm_term *term, enum ulm_style style);

/* Appends valid UTF-8 with what could steer a terminal or turn the reading direction (control
 * characters but LF and TAB, bidirectional marks, line separators) as U+FFFD. */
int ulm_safe_add(struct ulm_buf *buf, const char *text, size_t len)
    __attribute__((warn_unused_result));

/* An answer on a live terminal. The cursor stands behind it; nobody else writes meanwhile. */
struct ulm_paint {
    struct ulm_term *term; /* borrowed */
    struct ulm_buf text;   /* as it is shown, safe */
    struct ulm_buf styles; /* [text.len] one enum ulm_style a byte */
    int error;             /* the first failure of ulm_paint_add, which stays */
};

void ulm_paint_init(struct ulm_paint *paint, struct ulm_term *term);
void ulm_paint_deinit(struct ulm_paint *paint);
/* On -ENOBUFS or -ENOMEM nothing is shown, and `error` tells. */
void ulm_paint_add(struct ulm_paint *paint, const char *text, enum ulm_style style);
/* Characters [from, to) get the style; those beyond the end are left out. */
void ulm_paint_restyle(struct ulm_paint *paint, size_t from, size_t to, enum ulm_style style);
void ulm_paint_retract(struct ulm_paint *paint, size_t chars);

/* Rows the cursor stands below the first one, after text was written from column 0. */
unsigned ulm_paint_rows(const char *text, size_t len, unsigned columns);

#endif
