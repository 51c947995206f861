/* SPDX-License-Identifier: MIT */
/* A broker without its daemon: catalog, cache, sessions and recorder, turned by hand. It lives as
 * long as the process; between inputs it is brought back to where it was. */
#ifndef SWT_FUZZ_BROKER_WORLD_H
#define SWT_FUZZ_BROKER_WORLD_H

#include "daemon/broker.h"
#include "session/session.h"

#define WORLD_CHUNKS 4u /* of each model */
#define WORLD_CHUNK  (128u << 10)
#define WORLD_BUDGET (512u << 10) /* less than the two models together */

extern const char *const world_models[2]; /* the second has a chunk with a wrong digest */

/* The one broker; made at the first call. */
struct broker *world_broker(void);
/* A new connection to it, or -1. */
int world_connect(void);
/* One turn: sockets, loads, the dead. Waits so long where there is nothing to do. True: there is
 * more to do at once. */
bool world_turn(int timeout_ms);
/* Whether chunks are being read, or wait to be. */
bool world_busy(void);
/* Starts and ends a recording; what was recorded must be a trace that swbench reads. */
void world_trace_start(void);
void world_trace_end(void);
/* After the last client has gone: waits for what is under way, and checks that nothing is left. */
void world_settle(void);

#endif
