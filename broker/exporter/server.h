/* SPDX-License-Identifier: MIT */
/* The broker's metrics over HTTP.
 *
 * One thread answers one request after the other, so that the broker is asked one question at a
 * time, however many scrapers there are. */
#ifndef SWB_EXPORTER_SERVER_H
#define SWB_EXPORTER_SERVER_H

#include <stdbool.h>

#define EXPORTER_LISTEN "127.0.0.1:9119"

enum exporter_exit { EXPORTER_DONE = 0, EXPORTER_FAILED = 1, EXPORTER_USAGE = 2 };

/* Prints the URL, and serves until SIGTERM or SIGINT. address: "127.0.0.1:9119" or "[::1]:9119";
 * port 0 is any free one. allow_remote: also an address that other machines can reach. Returns the
 * exit code, after a message on standard error where something is wrong. */
int exporter_serve(const char *socket_path, const char *address, bool allow_remote);

#endif
