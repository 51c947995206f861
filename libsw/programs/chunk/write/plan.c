/* SPDX-License-Identifier: MIT */
/* Cutting a model into chunks, on paper. */
#include "programs/chunk/write/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest.h"
#include "core/panel.h"
#include "core/safetensors.h"

/* One tensor of a table below: sizes are given as fields of the config. */
enum size_of { ONE, HIDDEN, INNER, VOCAB, POSITIONS, TYPES, LABELS, SPANS, TWO };

struct row {
    const char *name;
    enum size_of n, k; /* k ONE: a vector */
};

static const struct row embeddings[] = {
    {"word_embeddings.weight", VOCAB, HIDDEN},
    {"position_embeddings.weight", POSITIONS, HIDDEN},
    {"token_type_embeddings.weight", TYPES, HIDDEN},
    {"LayerNorm.weight", HIDDEN, ONE},
    {"LayerNorm.bias", HIDDEN, ONE},
};

static const struct row query_key_value[] = {
    {"attention.self.query.weight", HIDDEN, HIDDEN}, {"attention.self.query.bias", HIDDEN, ONE},
    {"attention.self.key.weight", HIDDEN, HIDDEN},   {"attention.self.key.bias", HIDDEN, ONE},
    {"attention.self.value.weight", HIDDEN, HIDDEN}, {"attention.self.value.bias", HIDDEN, ONE},
};

static const struct row layer_rest[] = {
    {"attention.output.dense.weight", HIDDEN, HIDDEN},
    {"attention.output.dense.bias", HIDDEN, ONE},
    {"attention.output.LayerNorm.weight", HIDDEN, ONE},
    {"attention.output.LayerNorm.bias", HIDDEN, ONE},
    {"intermediate.dense.weight", INNER, HIDDEN},
    {"intermediate.dense.bias", INNER, ONE},
    {"output.dense.weight", HIDDEN, INNER},
    {"output.dense.bias", HIDDEN, ONE},
    {"output.LayerNorm.weight", HIDDEN, ONE},
    {"output.LayerNorm.bias", HIDDEN, ONE},
};

static const struct row pooler[] = {
    {"dense.weight", HIDDEN, HIDDEN},
    {"dense.bias", HIDDEN, ONE},
};

static const struct row head_mlm[] = {
    {"cls.predictions.transform.dense.weight", HIDDEN, HIDDEN},
    {"cls.predictions.transform.dense.bias", HIDDEN, ONE},
    {"cls.predictions.transform.LayerNorm.weight", HIDDEN, ONE},
    {"cls.predictions.transform.LayerNorm.bias", HIDDEN, ONE},
    {"cls.predictions.bias", VOCAB, ONE},
};
static const struct row head_mlm_decoder[] = {{"cls.predictions.decoder.weight", VOCAB, HIDDEN}};
static const struct row head_next[] = {
    {"cls.seq_relationship.weight", TWO, HIDDEN},
    {"cls.seq_relationship.bias", TWO, ONE},
};
static const struct row head_classifier[] = {
    {"classifier.weight", LABELS, HIDDEN},
    {"classifier.bias", LABELS, ONE},
};
static const struct row head_spans[] = {
    {"qa_outputs.weight", SPANS, HIDDEN},
    {"qa_outputs.bias", SPANS, ONE},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
/* the most tensors one chunk can have: a layer in rows; a head has fewer */
#define TENSORS_MAX (COUNT(query_key_value) + COUNT(layer_rest))
_Static_assert(TENSORS_MAX >= COUNT(head_mlm) + COUNT(head_mlm_decoder) + COUNT(head_next) +
                                  COUNT(head_classifier) + COUNT(head_spans),
               "a head with everything fits");

struct maker {
    const struct swi_encoder_config *config;
    const struct model_features *features;
    struct plan *plan;
};

static uint64_t size_of(const struct maker *maker, enum size_of what)
{
    switch (what) {
    case ONE:
        return 1;
    case TWO:
        return 2;
    case HIDDEN:
        return maker->config->hidden;
    case INNER:
        return maker->config->intermediate;
    case VOCAB:
        return maker->config->vocab;
    case POSITIONS:
        return maker->config->positions;
    case TYPES:
        return maker->config->types;
    case LABELS:
        return maker->features->labels;
    case SPANS:
        return maker->features->spans;
    }
    return 0;
}

/* The chunk has room for TENSORS_MAX tensors; plan_make has counted the chunks before. */
static struct plan_chunk *add_chunk(const struct maker *maker, const char *name)
{
    struct plan_chunk *chunk = &maker->plan->chunks[maker->plan->count];
    chunk->tensors = calloc(TENSORS_MAX, sizeof *chunk->tensors);
    if (!chunk->tensors)
        return NULL;
    maker->plan->count++;
    (void)snprintf(chunk->name, sizeof chunk->name, "%s", name);
    (void)snprintf(chunk->file, sizeof chunk->file, "%.60s.safetensors", name);
    return chunk;
}

/* How n, k, vector and linear look in the file. */
static void settle(const struct maker *maker, struct plan_tensor *tensor)
{
    tensor->dtype = tensor->vector ? SW_DTYPE_F32 : maker->plan->format.dtype;
    tensor->shape[0] = tensor->n;
    tensor->rank = 1;
    if (tensor->vector)
        return;
    tensor->shape[1] = tensor->k;
    tensor->rank = 2;
    if (!tensor->linear || maker->plan->format.layout != SW_LAYOUT_PANEL)
        return;
    tensor->shape[0] = (tensor->n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH;
    tensor->shape[2] = SW_PANEL_WIDTH;
    tensor->rank = 3;
}

/* Adds the tensors of a table; prefix is what their names in the checkpoint begin with. */
static void add_rows(const struct maker *maker, struct plan_chunk *chunk, const char *prefix,
                     const struct row *rows, size_t count, bool linear)
{
    for (size_t i = 0; i < count; i++) {
        struct plan_tensor *tensor = &chunk->tensors[chunk->count++];
        struct plan_part *part = &tensor->parts[0];
        (void)snprintf(tensor->name, sizeof tensor->name, "%s", rows[i].name);
        (void)snprintf(part->name, sizeof part->name, "%s%s", prefix, rows[i].name);
        tensor->part_count = 1;
        tensor->n = part->rows = size_of(maker, rows[i].n);
        tensor->k = size_of(maker, rows[i].k);
        tensor->vector = rows[i].k == ONE;
        tensor->linear = linear && !tensor->vector;
        settle(maker, tensor);
    }
}

/* query, key and value as one tensor: every second row of the table, from `first`. */
static void add_fused(const struct maker *maker, struct plan_chunk *chunk, const char *prefix,
                      const char *name, size_t first)
{
    struct plan_tensor *tensor = &chunk->tensors[chunk->count++];
    (void)snprintf(tensor->name, sizeof tensor->name, "%s", name);
    for (size_t i = first; i < COUNT(query_key_value); i += 2) {
        struct plan_part *part = &tensor->parts[tensor->part_count++];
        (void)snprintf(part->name, sizeof part->name, "%s%s", prefix, query_key_value[i].name);
        part->rows = size_of(maker, query_key_value[i].n);
        tensor->n += part->rows;
    }
    tensor->k = size_of(maker, query_key_value[first].k);
    tensor->vector = query_key_value[first].k == ONE;
    tensor->linear = !tensor->vector;
    settle(maker, tensor);
}

/* Blocks of the word table; 0: it stays in the embeddings chunk. */
static uint64_t block_count(const struct maker *maker)
{
    uint64_t row_bytes = maker->config->hidden * sw_dtype_size(maker->plan->format.dtype);
    uint64_t table_bytes = maker->config->vocab * row_bytes;
    if (maker->plan->format.whole || table_bytes <= PLAN_BLOCK_MAX)
        return 0;
    uint64_t rows_most = (PLAN_BLOCK_MAX - SWI_DATA_ALIGN) / row_bytes;
    return (maker->config->vocab + rows_most - 1) / rows_most;
}

static int add_blocks(const struct maker *maker, uint64_t blocks)
{
    uint64_t vocab = maker->config->vocab;
    for (uint64_t i = 0; i < blocks; i++) {
        char name[PLAN_NAME];
        (void)snprintf(name, sizeof name, "embeddings_words_%llu", (unsigned long long)i);
        struct plan_chunk *chunk = add_chunk(maker, name);
        if (!chunk)
            return -ENOMEM;
        add_rows(maker, chunk, "embeddings.", embeddings, 1, false);
        chunk->block = true;
        chunk->first_row = vocab * i / blocks;
        chunk->rows = vocab * (i + 1) / blocks - chunk->first_row;
        struct plan_tensor *table = &chunk->tensors[0];
        table->n = table->parts[0].rows = chunk->rows;
        table->parts[0].first = chunk->first_row;
        settle(maker, table);
    }
    return 0;
}

static int add_embeddings(const struct maker *maker, uint64_t blocks)
{
    struct plan_chunk *chunk = add_chunk(maker, "embeddings");
    if (!chunk)
        return -ENOMEM;
    size_t skip = blocks ? 1 : 0; /* the word table is the first */
    add_rows(maker, chunk, "embeddings.", embeddings + skip, COUNT(embeddings) - skip, false);
    return add_blocks(maker, blocks);
}

static int add_layer(const struct maker *maker, uint32_t layer)
{
    char name[PLAN_NAME], prefix[PLAN_NAME];
    (void)snprintf(name, sizeof name, "layer_%u", layer);
    (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.", layer);
    struct plan_chunk *chunk = add_chunk(maker, name);
    if (!chunk)
        return -ENOMEM;
    if (maker->plan->format.layout == SW_LAYOUT_PANEL) {
        add_fused(maker, chunk, prefix, "attention.qkv.weight", 0);
        add_fused(maker, chunk, prefix, "attention.qkv.bias", 1);
    } else {
        add_rows(maker, chunk, prefix, query_key_value, COUNT(query_key_value), true);
    }
    add_rows(maker, chunk, prefix, layer_rest, COUNT(layer_rest), true);
    return 0;
}

bool plan_has_head(const struct model_features *features)
{
    return features->mlm || features->next_sentence || features->labels || features->spans;
}

static int add_head(const struct maker *maker)
{
    const struct model_features *features = maker->features;
    struct plan_chunk *chunk = add_chunk(maker, "head");
    if (!chunk)
        return -ENOMEM;
    if (features->mlm)
        add_rows(maker, chunk, "", head_mlm, COUNT(head_mlm), true);
    if (features->mlm && features->mlm_decoder)
        add_rows(maker, chunk, "", head_mlm_decoder, COUNT(head_mlm_decoder), true);
    if (features->next_sentence)
        add_rows(maker, chunk, "", head_next, COUNT(head_next), true);
    if (features->labels)
        add_rows(maker, chunk, "", head_classifier, COUNT(head_classifier), true);
    if (features->spans)
        add_rows(maker, chunk, "", head_spans, COUNT(head_spans), true);
    return 0;
}

/* ---- sentence-transformers' modules --------------------------------------------------------- */

static void add_module_tensor(const struct maker *maker, struct plan_chunk *chunk,
                              const struct swi_module *module, const char *name, bool vector)
{
    struct plan_tensor *tensor = &chunk->tensors[chunk->count++];
    struct plan_part *part = &tensor->parts[0];
    (void)snprintf(tensor->name, sizeof tensor->name, "%s", name);
    (void)snprintf(part->name, sizeof part->name, "%u.%s", module->number, name);
    tensor->part_count = 1;
    tensor->n = part->rows = module->out;
    tensor->k = vector ? 1 : module->in;
    tensor->vector = vector;
    tensor->linear = !vector;
    settle(maker, tensor);
}

static int add_module(const struct maker *maker, const struct swi_module *module)
{
    char name[PLAN_NAME];
    (void)snprintf(name, sizeof name, "module_%u", module->number);
    struct plan_chunk *chunk = add_chunk(maker, name);
    if (!chunk)
        return -ENOMEM;
    if (module->kind == SWI_MODULE_LAYER_NORM) {
        add_module_tensor(maker, chunk, module, "norm.weight", true);
        add_module_tensor(maker, chunk, module, "norm.bias", true);
        return 0;
    }
    add_module_tensor(maker, chunk, module, "linear.weight", false);
    if (module->bias)
        add_module_tensor(maker, chunk, module, "linear.bias", true);
    if (module->residual && module->in != module->out)
        add_module_tensor(maker, chunk, module, "residual.weight", false);
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int make(const struct maker *maker)
{
    uint64_t blocks = block_count(maker);
    uint64_t chunks = 1 + blocks + maker->config->layers + 2 + SWI_MODULES_MAX;
    const struct swi_modules *modules = maker->features->modules;
    if (chunks > SWI_MANIFEST_CHUNKS_MAX)
        return SW_EUNSUPPORTED;
    maker->plan->chunks = calloc(chunks, sizeof *maker->plan->chunks);
    if (!maker->plan->chunks)
        return -ENOMEM;
    int result = add_embeddings(maker, blocks);
    for (uint32_t layer = 0; layer < maker->config->layers && result == 0; layer++)
        result = add_layer(maker, layer);
    if (result == 0 && maker->features->pooler) {
        struct plan_chunk *chunk = add_chunk(maker, "pooler");
        result = chunk ? 0 : -ENOMEM;
        if (chunk)
            add_rows(maker, chunk, "pooler.", pooler, COUNT(pooler), true);
    }
    if (result == 0 && plan_has_head(maker->features))
        result = add_head(maker);
    for (uint32_t i = 0; modules && i < modules->count && result == 0; i++)
        if (swi_module_has_weights(&modules->after[i]))
            result = add_module(maker, &modules->after[i]);
    return result;
}

int plan_make(const struct swi_encoder_config *config, const struct model_features *features,
              struct chunk_format format, struct plan *ret, struct swi_error *error)
{
    struct plan plan = {.format = format};
    struct maker maker = {.config = config, .features = features, .plan = &plan};
    int result = make(&maker);
    if (result < 0) {
        plan_fini(&plan);
        return result == SW_EUNSUPPORTED
                   ? swi_fail(error, result, "the model needs more than %u chunks",
                              SWI_MANIFEST_CHUNKS_MAX)
                   : swi_fail(error, result, "out of memory");
    }
    *ret = plan;
    return 0;
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->chunks[i].tensors);
    free(plan->chunks);
    *plan = (struct plan){0};
}

uint64_t plan_bytes(const struct plan *plan)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan->count; i++)
        for (size_t j = 0; j < plan->chunks[i].count; j++) {
            const struct plan_tensor *tensor = &plan->chunks[i].tensors[j];
            uint64_t elements = tensor->rank == 3 ? swi_panel_elements(tensor->n, tensor->k)
                                                  : tensor->n * tensor->k;
            bytes += elements * sw_dtype_size(tensor->dtype);
        }
    return bytes;
}
