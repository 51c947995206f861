/* SPDX-License-Identifier: MIT */
/* Answers of the reading verbs, as JSON. Each returns a new reference, or NULL: out of memory. */
#ifndef SWB_OPERATOR_REPORT_H
#define SWB_OPERATOR_REPORT_H

#include <jansson.h>

#include "operator/control.h"
#include "stats/stats.h"

json_t *report_stats(struct control *control);
/* model and component NULL: all. */
json_t *report_chunks(struct control *control, const char *model, const char *component);
json_t *report_models(struct control *control);
json_t *report_clients(struct control *control);

/* Adds {KEY:value}; left out if memory is out. */
void report_put(json_t *object, const char *key, uint64_t value);
/* {"ok":false,"code":…,"error":"…"} */
json_t *report_failure(int code, const char *message);
/* {"ok":true,KEY:list}; takes the list. */
json_t *report_list(const char *key, json_t *list);

#endif
