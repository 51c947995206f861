/* SPDX-License-Identifier: MIT */
/* What the broker says about itself, as JSON. Each returns a new reference, or NULL when memory is
 * out. */
#ifndef SWB_OPERATOR_REPORT_H
#define SWB_OPERATOR_REPORT_H

#include <jansson.h>

#include "daemon/broker.h"
#include "stats/stats.h"

json_t *report_stats(struct broker *broker);
/* model and component NULL: all. */
json_t *report_chunks(struct broker *broker, const char *model, const char *component);
json_t *report_models(struct broker *broker);
json_t *report_clients(struct broker *broker);

/* {KEY:value} more; out of memory leaves it out. */
void report_put(json_t *object, const char *key, uint64_t value);
/* {"ok":true,KEY:list}; takes the list. */
json_t *report_list(const char *key, json_t *list);

#endif
