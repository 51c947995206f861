/* SPDX-License-Identifier: MIT */
/* The broker's figures for Prometheus (text exposition format 0.0.4).
 *
 * They are made from the answer to "stats" by the table of figures, outside the daemon: by
 * sw-exporter and by swctl stats --format=prometheus. Besides the table's there are up (whether the
 * broker answers) and build_info (its version, I/O engine and policy, as labels). */
#ifndef SWB_STATS_METRICS_H
#define SWB_STATS_METRICS_H

#include <jansson.h>

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* answer: the broker's, borrowed; NULL: no broker answers, and swbroker_up 0 is the only metric.
 * Figures that an older broker does not have are left out. Returns text to be freed, or NULL: out
 * of memory. */
char *metrics_format(const json_t *answer);

#endif
