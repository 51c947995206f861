/* SPDX-License-Identifier: MIT */
/* Fields of the broker's answers. A field that is missing, or of another type, is 0 or "". */
#ifndef SWB_CTL_LIB_ANSWER_H
#define SWB_CTL_LIB_ANSWER_H

#include <jansson.h>
#include <stddef.h>

unsigned long long ctl_count_of(const json_t *object, const char *key);
const char *ctl_text_of(const json_t *object, const char *key);
/* "1.5 GiB", in static storage that is reused after three more calls. */
const char *ctl_size_of(const json_t *object, const char *key);
/* "12 ms", "3.4 s", "5 min", "7 h", "9 d". */
void ctl_duration(double ms, char *text, size_t size);
/* "" for one, else "s". */
const char *ctl_plural(unsigned long long count);

#endif
