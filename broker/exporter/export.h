/* SPDX-License-Identifier: MIT */
/* swctl export: the broker's metrics over HTTP, for Prometheus to fetch.
 *
 * A process of its own, so that the daemon speaks no HTTP: it asks the broker as any swctl does.
 * One thread answers one request after the other, so that however many scrapers there are, the
 * broker is asked one question at a time. */
#ifndef SWB_EXPORTER_EXPORT_H
#define SWB_EXPORTER_EXPORT_H

#include <stdbool.h>

#define CTL_EXPORT_LISTEN "127.0.0.1:9119"

/* Serves until SIGTERM or SIGINT. address: "127.0.0.1:9119", "[::1]:9119"; port 0: any that is
 * free. anywhere: also where other machines can connect. Returns 0, or an exit code of swctl's
 * after having said what is wrong. */
int ctl_export(const char *socket_path, const char *address, bool anywhere);

#endif
