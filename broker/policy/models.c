/* SPDX-License-Identifier: MIT */
/* A hash table of models by incarnation, and a table of chunks by id. */
#include "policy/models.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static unsigned bucket_of(uint64_t incarnation)
{
    return (unsigned)(incarnation * UINT64_C(0x9e3779b97f4a7c15) >> 54);
}
_Static_assert(MODEL_BUCKETS == 1 << (64 - 54), "the hash gives a bucket");

struct policy_model *models_find(const struct models *models, uint64_t incarnation)
{
    struct policy_model *model = models->bucket[bucket_of(incarnation)];
    while (model && model->incarnation != incarnation)
        model = model->next;
    return model;
}

static struct policy_model *add_model(struct models *models, uint64_t incarnation, uint32_t size)
{
    struct policy_model *model = calloc(1, sizeof *model + size * sizeof model->component[0]);
    if (!model)
        return NULL;
    model->incarnation = incarnation;
    model->size = size;
    for (uint32_t i = 0; i < size; i++)
        model->component[i] = (struct policy_component){.id = NO_CHUNK};
    struct policy_model **bucket = &models->bucket[bucket_of(incarnation)];
    model->next = *bucket;
    *bucket = model;
    return model;
}

int models_add(struct models *models, uint32_t id, const struct policy_chunk *chunk)
{
    if (chunk->ordinal >= chunk->model_size || chunk->model_size > SWI_CHUNKS)
        return -EINVAL;
    struct policy_model *model = models_find(models, chunk->incarnation);
    if (!model)
        model = add_model(models, chunk->incarnation, chunk->model_size);
    if (!model)
        return -ENOMEM;
    if (model->size != chunk->model_size || model->component[chunk->ordinal].id != NO_CHUNK)
        return -EINVAL;
    model->component[chunk->ordinal].id = id;
    model->chunks++;
    models->chunk[id] =
        (struct known_chunk){.bytes = chunk->bytes, .model = model, .ordinal = chunk->ordinal};
    return 0;
}

void models_remove(struct models *models, uint32_t id)
{
    struct policy_model *model = models->chunk[id].model;
    assert(model);
    model->component[models->chunk[id].ordinal].id = NO_CHUNK;
    models->chunk[id] = (struct known_chunk){.bytes = 0};
    if (--model->chunks > 0)
        return;
    struct policy_model **link = &models->bucket[bucket_of(model->incarnation)];
    while (*link != model)
        link = &(*link)->next;
    *link = model->next;
    free(model);
}

void models_fini(struct models *models)
{
    for (unsigned i = 0; i < MODEL_BUCKETS; i++) {
        struct policy_model *model = models->bucket[i];
        while (model) {
            struct policy_model *next = model->next;
            free(model);
            model = next;
        }
    }
}
