/* What the broker says about itself, as JSON. Each returns a new reference, or NULL when memory is
 * out. */
#ifndef SWB_REPORT_H
#define SWB_REPORT_H

#include <jansson.h>

#include "broker.h"

json_t *report_stats(struct broker *broker);
json_t *report_chunks(struct broker *broker);
json_t *report_models(struct broker *broker);
json_t *report_clients(struct broker *broker);

/* A string; what is not UTF-8 in it (file names may be anything) becomes '?'. */
json_t *report_text(const char *text);

#endif
