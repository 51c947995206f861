/* SPDX-License-Identifier: MIT */
/* The broker's answers, printed for people. Each takes an answer that is "ok". */
#ifndef SWB_CTL_SHOW_H
#define SWB_CTL_SHOW_H

#include "ctl/verb.h"

void ctl_show_ping(const struct ctl_call *call, const json_t *reply);
void ctl_show_stats(const struct ctl_call *call, const json_t *reply);
int ctl_stats(const struct ctl_call *call);
void ctl_show_chunks(const struct ctl_call *call, const json_t *reply);
void ctl_show_models(const struct ctl_call *call, const json_t *reply);
void ctl_show_clients(const struct ctl_call *call, const json_t *reply);
void ctl_show_clear(const struct ctl_call *call, const json_t *reply);
void ctl_show_resize(const struct ctl_call *call, const json_t *reply);
void ctl_show_warm(const struct ctl_call *call, const json_t *reply);
void ctl_show_push(const struct ctl_call *call, const json_t *reply);
void ctl_show_pin(const struct ctl_call *call, const json_t *reply);
void ctl_show_unpin(const struct ctl_call *call, const json_t *reply);
/* Also an answer that is not "ok" but has "chunks". */
void ctl_show_verify(const struct ctl_call *call, const json_t *reply);
void ctl_show_trace(const struct ctl_call *call, const json_t *reply);
void ctl_show_reload(const struct ctl_call *call, const json_t *reply);

/* Whether ls --sort knows this word. */
bool ctl_show_knows_sort(const char *name);

/* Fields of an answer; what is missing, or of another type, is 0 or "". */
unsigned long long ctl_count_of(const json_t *object, const char *key);
const char *ctl_text_of(const json_t *object, const char *key);
/* "1.5 GiB". */
void ctl_size_of(const json_t *object, const char *key, char *text, size_t size);
/* "12 ms", "3.4 s", "5 min", "7 h", "9 d". */
void ctl_duration(double ms, char *text, size_t size);

#endif
