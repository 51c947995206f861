/* SPDX-License-Identifier: MIT */
/* What callers tell the policy: which one they want, and what a chunk is. */
#ifndef SWB_POLICY_TYPES_H
#define SWB_POLICY_TYPES_H

#include <stdint.h>

enum policy_kind { POLICY_LRU, POLICY_NEXT_USE };

struct policy_chunk {
    uint64_t incarnation; /* of its model */
    uint32_t ordinal;     /* below model_size */
    uint32_t model_size;  /* the same for all chunks of one incarnation; at most SWI_CHUNKS */
    uint64_t bytes;
};

#endif
