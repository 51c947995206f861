/* SPDX-License-Identifier: MIT */
/* The chunks that a policy knows, and the models they belong to. */
#ifndef SWB_POLICY_MODELS_H
#define SWB_POLICY_MODELS_H

#include <stdbool.h>

#include "core/layout.h"
#include "policy/types.h"

#define MODEL_BUCKETS 1024u
#define NO_CHUNK      UINT32_MAX

struct policy_component {
    uint32_t id; /* NO_CHUNK: not registered */
    /* Time until the next use, as of the last policy_prepare that reached this model; infinite: no
     * live cursor leads here. */
    double until_ns;  /* within the bytes that the cursors' sessions may guard */
    double beyond_ns; /* regardless of that bound */
    uint32_t steps;   /* the number of steps behind beyond_ns, for the cursor that arrives first */
};

struct policy_model {
    struct policy_model *next; /* in its bucket */
    uint64_t incarnation;
    uint32_t last_use; /* tick of the last use of any component */
    uint64_t foreseen; /* number of the policy_prepare that computed until_ns */
    double pass_ns;    /* longest pass of its live cursors */
    uint32_t size;
    uint32_t chunks; /* registered */
    struct policy_component component[];
};

struct known_chunk {
    uint64_t bytes;
    uint64_t last_use_ns;
    struct policy_model *model; /* NULL: no such chunk */
    uint32_t ordinal;
    uint32_t last_use; /* tick; 0: never */
    bool resident;
};

struct models {
    struct policy_model *bucket[MODEL_BUCKETS];
    struct known_chunk chunk[SWI_CHUNKS]; /* by id */
};

/* -EINVAL: the ordinal is taken or out of range; -ENOMEM. */
int models_add(struct models *models, uint32_t id, const struct policy_chunk *chunk);
/* Frees the model with its last chunk. */
void models_remove(struct models *models, uint32_t id);
/* NULL if no chunk of that incarnation is known. */
struct policy_model *models_find(const struct models *models, uint64_t incarnation);
void models_fini(struct models *models);

#endif
