/* SPDX-License-Identifier: MIT */
/* The broker's figures as Prometheus reads them (text exposition format 0.0.4).
 *
 * Made from the answer to the verb "stats", not inside the daemon: swctl stats --format=prometheus
 * and swctl export share it. Which metrics there are is one table in metrics.c. */
#ifndef SWB_EXPORTER_METRICS_H
#define SWB_EXPORTER_METRICS_H

#include <jansson.h>
#include <stdbool.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* stats: the broker's answer, borrowed; NULL: no broker answers, and swbroker_up 0 is all there is.
 * What an older broker does not tell is left out. Returns text to be freed, or NULL: out of memory.
 */
char *metrics_format(const json_t *stats);

#endif
