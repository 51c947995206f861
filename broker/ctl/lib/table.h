/* SPDX-License-Identifier: MIT */
/* Tables for people: columns as wide as their widest cell, numbers right-aligned. */
#ifndef SWB_CTL_LIB_TABLE_H
#define SWB_CTL_LIB_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_tone { CTL_PLAIN, CTL_GOOD, CTL_BUSY, CTL_BAD, CTL_FAINT };

struct ctl_table;

/* headers: separated by '|', one per column; a leading '>' aligns the column to the right. Nothing
 * is printed before ctl_table_print, which also frees the table. Out of memory ends the program. */
struct ctl_table *ctl_table_create(const char *headers);
void ctl_table_cell(struct ctl_table *table, enum ctl_tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ctl_table_size(struct ctl_table *table, uint64_t bytes);
void ctl_table_print(struct ctl_table *table);
void ctl_table_free(struct ctl_table *table);

/* Whether to colour standard output: it is a terminal, and $NO_COLOR is not set. */
bool ctl_colour(void);

#endif
