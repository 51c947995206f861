/* SPDX-License-Identifier: MIT */
/* The clients of swbench flood, which send random requests; a tenth of them violate the protocol.
 *
 * They implement the wire protocol themselves, because libsw sends no invalid messages.
 */
#ifndef SWBENCH_LIB_FLOODER_H
#define SWBENCH_LIB_FLOODER_H

#include <stdatomic.h>

#include "lib/crew.h"

/* Shared between swbench and the flooding processes. */
struct flood_board {
    _Atomic int go; /* 1: flood; 0: pause; 2: exit */
    struct flood_count {
        _Atomic uint64_t operations, malformed, connects;
        _Atomic uint64_t least; /* operations of the client with the fewest */
        _Atomic int standing;   /* the process has seen go == 0 */
    } process[16];
};

struct flood_plan {
    struct flood_board *board;
    const char *socket;
    const char *model;
    unsigned clients; /* of each process */
};

/* For crew_start; context is a struct flood_plan. */
void flood_run(struct seat *seat, void *context);

#endif
