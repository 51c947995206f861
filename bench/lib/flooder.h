/* SPDX-License-Identifier: MIT */
/* Clients that do random things, a tenth of them forbidden: what swbench flood throws at a broker.
 *
 * They speak the wire protocol themselves, because libsw would not say any of this.
 */
#ifndef SWBENCH_LIB_FLOODER_H
#define SWBENCH_LIB_FLOODER_H

#include <stdatomic.h>

#include "lib/crew.h"

/* Shared between swbench and the flooding processes. */
struct flood_board {
    _Atomic int go; /* 1: flood; 0: stand still; 2: end */
    struct flood_count {
        _Atomic uint64_t operations, malformed, connects;
        _Atomic uint64_t least; /* operations of the client that has done fewest */
        _Atomic int standing;   /* has seen go == 0 */
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
