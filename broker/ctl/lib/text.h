/* SPDX-License-Identifier: MIT */
/* Untrusted text on a terminal: names come from directories and clients. */
#ifndef SWB_CTL_LIB_TEXT_H
#define SWB_CTL_LIB_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* Columns of a UTF-8 text on a screen: two per wide character, none per combining one. */
size_t ctl_text_width(const char *text);
/* Bytes of text that fit into `columns`; *ret_columns, unless NULL, is how many columns they
 * take. */
size_t ctl_text_fit(const char *text, size_t columns, size_t *ret_columns);
/* Replaces in place by '?': every character that could control a terminal or reorder text
 * (controls, format characters, line separators), and every byte that is not UTF-8. */
void ctl_text_clean(char *text);
/* The same in every string of a JSON value, except keys. */
void ctl_json_clean(json_t *value);
/* Prints a JSON value, indented, and a line end. Characters that ctl_text_clean would replace are
 * written as \uXXXX. */
void ctl_json_print(const json_t *value, FILE *out);

#endif
