/* SPDX-License-Identifier: MIT */
/* A redis-server with one value, to compare a copy over a socket with a lease. */
#ifndef SWBENCH_LIB_REDIS_H
#define SWBENCH_LIB_REDIS_H

#include "lib/bench.h"

struct redis {
    pid_t server;
    int fd;
    uint8_t *buffer; /* the copy of the value from a GET */
    uint64_t bytes;
};

/* Starts a server in the directory, with a Unix socket and without persistence, and stores the
 * value. False: redis-server is not installed. */
bool redis_start(struct redis *redis, const char *directory, const void *value, uint64_t bytes);
/* The time of one GET into the buffer. */
double redis_get_ns(struct redis *redis);
void redis_stop(struct redis *redis);

#endif
