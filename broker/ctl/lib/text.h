/* SPDX-License-Identifier: MIT */
/* Text of others (names are whatever directories and clients are called) on a terminal. */
#ifndef SWB_CTL_LIB_TEXT_H
#define SWB_CTL_LIB_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* Columns of a UTF-8 text on a screen: wide characters two, combining ones none. */
size_t ctl_text_width(const char *text);
/* Bytes of text that fill at most `columns`; *ret_columns, if not NULL, is how many they fill. */
size_t ctl_text_fit(const char *text, size_t columns, size_t *ret_columns);
/* Replaces, in place, every character that could steer a terminal or reverse what is around it
 * (controls, format characters, line separators), and every byte that is not UTF-8, by '?'. */
void ctl_text_clean(char *text);
/* The same in every string of a JSON value, keys apart. */
void ctl_json_clean(json_t *value);
/* A JSON value, indented, and a line's end. Nothing is lost: the same characters are written as
 * \uXXXX. */
void ctl_json_print(const json_t *value, FILE *out);

#endif
