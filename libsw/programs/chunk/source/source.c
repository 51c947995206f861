/* SPDX-License-Identifier: MIT */
/* What all sources share: names, features, checks against a plan, reading by rows. */
#include "programs/chunk/source/source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPARE_ELEMENTS 65536u

/* ---- names ----------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* What wrappers of a model put in front of its names: torch's DataParallel, other programs' saves,
 * and sentence-transformers' list of modules, whose first is the Transformer. */
static const char *without_prefixes(const char *name)
{
    static const char *const prefixes[] = {"module.", "model.", "0.auto_model.", "0.model.",
                                           "bert."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncmp(name, prefixes[i], length) == 0)
            name += length;
    }
    return name;
}

/* The one spelling of a name; malloc'd. */
static char *settled_name(const char *name)
{
    static const char *const old[][2] = {{"LayerNorm.gamma", "LayerNorm.weight"},
                                         {"LayerNorm.beta", "LayerNorm.bias"}};
    name = without_prefixes(name);
    for (size_t i = 0; i < 2; i++)
        if (ends_with(name, old[i][0])) {
            char *text = NULL;
            int kept = (int)(strlen(name) - strlen(old[i][0]));
            return asprintf(&text, "%.*s%s", kept, name, old[i][1]) < 0 ? NULL : text;
        }
    return strdup(name);
}

/* Buffers that older checkpoints carry along; their values follow from the config. */
static bool is_buffer(const char *name)
{
    return strcmp(name, "embeddings.position_ids") == 0 ||
           strcmp(name, "embeddings.token_type_ids") == 0;
}

int source_add(struct source *source, const struct source_tensor *tensor, const char *name,
               struct swi_error *error)
{
    char *settled = settled_name(name);
    if (!settled)
        return swi_fail(error, -ENOMEM, "out of memory");
    if (is_buffer(settled)) {
        free(settled);
        return 0;
    }
    if (source->count == source->capacity) {
        size_t capacity = source->capacity ? source->capacity * 2 : 64;
        struct source_tensor *grown =
            reallocarray(source->tensors, capacity, sizeof *source->tensors);
        if (!grown) {
            free(settled);
            return swi_fail(error, -ENOMEM, "out of memory");
        }
        source->tensors = grown;
        source->capacity = capacity;
    }
    source->tensors[source->count] = *tensor;
    if (!tensor->owner)
        source->tensors[source->count].owner = source;
    source->tensors[source->count++].name = settled;
    return 0;
}

int source_add_part(struct source *source, struct source *part, const char *prefix,
                    struct swi_error *error)
{
    int result = 0;
    source->parts[source->part_count++] = part;
    for (size_t i = 0; i < part->count && result == 0; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s%s", prefix, part->tensors[i].name) < 0)
            return swi_fail(error, -ENOMEM, "out of memory");
        result = source_add(source, &part->tensors[i], name, error);
        free(name);
    }
    return result;
}

int source_read(const struct source_tensor *tensor, uint64_t first, uint64_t count, float *out,
                struct swi_error *error)
{
    return tensor->owner->ops->read(tensor->owner, tensor, first, count, out, error);
}

void source_fini(struct source *source)
{
    for (size_t i = 0; i < source->count; i++)
        free(source->tensors[i].name);
    for (size_t i = 0; i < source->part_count; i++)
        source_close(source->parts[i]);
    source->part_count = 0;
    if (source->directory >= 0)
        (void)close(source->directory);
    source->directory = -1;
    swi_description_fini(&source->description);
    free(source->tensors);
    free(source->path);
    source->path = NULL;
    source->tensors = NULL;
    source->count = source->capacity = 0;
}

void source_close(struct source *source)
{
    if (source)
        source->ops->close(source);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct source_tensor *)left)->name,
                  ((const struct source_tensor *)right)->name);
}

const struct source_tensor *source_find(const struct source *source, const char *name)
{
    struct source_tensor key = {.name = (char *)(uintptr_t)name};
    return source->count ? bsearch(&key, source->tensors, source->count, sizeof key, by_name)
                         : NULL;
}

int source_fail(const struct source *source, const struct source_tensor *tensor, int code,
                struct swi_error *error, const char *format, ...)
{
    char text[SWI_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return swi_fail(error, code, "%s%s%s%stensor %.200s%s", source->path ? source->path : "",
                    source->path ? ": " : "", tensor->file ? tensor->file : "",
                    tensor->file ? ": " : "", tensor->name, text);
}

/* ---- settling -------------------------------------------------------------------------------- */

static void drop(struct source *source, const char *name)
{
    const struct source_tensor *found = source_find(source, name);
    if (!found)
        return;
    size_t at = (size_t)(found - source->tensors);
    free(source->tensors[at].name);
    memmove(&source->tensors[at], &source->tensors[at + 1],
            (source->count - at - 1) * sizeof *source->tensors);
    source->count--;
}

static uint64_t elements_of(const struct source_tensor *tensor)
{
    uint64_t elements = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        elements *= tensor->shape[i];
    return elements;
}

static bool same_shape(const struct source_tensor *a, const struct source_tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

/* Weights are floats. Anything else is a buffer, which nobody misses. */
static bool is_weight(const struct source_tensor *tensor)
{
    return tensor->element == ELEMENT_DTYPE ? tensor->dtype != SW_DTYPE_I64
                                            : tensor->element != ELEMENT_OTHER;
}

static int refuse_integers(const struct source *source, const struct source_tensor *tensor,
                           struct swi_error *error)
{
    return is_weight(tensor)
               ? 0
               : source_fail(source, tensor, SW_EUNSUPPORTED, error,
                             " holds %s, not F32, F16, BF16, F64 or F8",
                             tensor->type ? tensor->type : sw_dtype_name(tensor->dtype));
}

/* 1 when all elements are equal, 0 when not, or a negative code. */
static int equal(struct source *source, const struct source_tensor *a,
                 const struct source_tensor *b, struct swi_error *error)
{
    int refused = refuse_integers(source, a, error);
    if (refused == 0)
        refused = refuse_integers(source, b, error);
    if (refused < 0)
        return refused;
    if (!same_shape(a, b))
        return 0;
    float *buffer = malloc(2 * COMPARE_ELEMENTS * sizeof *buffer);
    if (!buffer)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = 1;
    uint64_t elements = elements_of(a);
    for (uint64_t first = 0; first < elements && result == 1; first += COMPARE_ELEMENTS) {
        uint64_t count = elements - first < COMPARE_ELEMENTS ? elements - first : COMPARE_ELEMENTS;
        int code = source_read(a, first, count, buffer, error);
        if (code == 0)
            code = source_read(b, first, count, buffer + COMPARE_ELEMENTS, error);
        if (code < 0)
            result = code;
        else if (memcmp(buffer, buffer + COMPARE_ELEMENTS, count * sizeof *buffer) != 0)
            result = 0;
    }
    free(buffer);
    return result;
}

/* `copy` may be there as a second copy of `original`, to which it is tied: left out, as Hugging
 * Face's loader does it, and noted where it differs. */
static int drop_copy(struct source *source, const char *copy, const char *original,
                     struct swi_error *error)
{
    const struct source_tensor *a = source_find(source, copy);
    const struct source_tensor *b = source_find(source, original);
    if (!a || !b)
        return 0;
    int result = equal(source, a, b, error);
    if (result < 0)
        return result;
    if (result == 0)
        (void)snprintf(source->note, sizeof source->note,
                       "tensor %s is tied to %s, but differs from it: %s counts; set "
                       "\"tie_word_embeddings\" to false in " SWI_CONFIG_FILE " if both are meant",
                       copy, original, original);
    drop(source, copy);
    return 0;
}

static int settle_mlm(struct source *source, struct swi_error *error)
{
    int result = drop_copy(source, "cls.predictions.decoder.bias", "cls.predictions.bias", error);
    struct source_tensor *bias =
        (struct source_tensor *)(uintptr_t)source_find(source, "cls.predictions.decoder.bias");
    if (result == 0 && bias) {
        /* the bias under the name that its decoder layer gives it, and under no other */
        char *name = strdup("cls.predictions.bias");
        if (!name)
            return swi_fail(error, -ENOMEM, "out of memory");
        free(bias->name);
        bias->name = name;
        qsort(source->tensors, source->count, sizeof *source->tensors, by_name);
    }
    if (result == 0 && !source->description.config.untied)
        result = drop_copy(source, "cls.predictions.decoder.weight",
                           "embeddings.word_embeddings.weight", error);
    source->features.mlm_decoder = source->features.mlm && source->description.config.untied;
    return result;
}

/* Rows of a head's weight, 0 when it is not there. */
static uint32_t rows_of(const struct source *source, const char *name)
{
    const struct source_tensor *tensor = source_find(source, name);
    if (!tensor || tensor->rank == 0 || tensor->shape[0] > 1u << 20)
        return 0;
    return (uint32_t)tensor->shape[0];
}

int source_settle(struct source *source, struct swi_error *error)
{
    if (source->count)
        qsort(source->tensors, source->count, sizeof *source->tensors, by_name);
    for (size_t i = 1; i < source->count; i++)
        if (strcmp(source->tensors[i - 1].name, source->tensors[i].name) == 0) {
            return source_fail(source, &source->tensors[i], SW_EFORMAT, error,
                               " appears twice, under two spellings");
        }
    struct model_features *features = &source->features;
    features->pooler = source_find(source, "pooler.dense.weight") != NULL;
    features->mlm = source_find(source, "cls.predictions.transform.dense.weight") != NULL;
    features->next_sentence = source_find(source, "cls.seq_relationship.weight") != NULL;
    features->labels = rows_of(source, "classifier.weight");
    features->spans = rows_of(source, "qa_outputs.weight");
    features->modules = &source->description.modules;
    return settle_mlm(source, error);
}

/* ---- checking against a plan ----------------------------------------------------------------- */

static void format_shape(char *text, size_t size, const uint64_t *shape, uint32_t rank)
{
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%llu", i ? ", " : "",
                               (unsigned long long)shape[i]);
}

static int check_part(const struct source *source, const struct plan_tensor *tensor,
                      const struct plan_part *part, uint64_t rows, struct swi_error *error)
{
    const struct source_tensor *found = source_find(source, part->name);
    if (!found) {
        struct source_tensor missing = {.name = (char *)(uintptr_t)part->name};
        return source_fail(source, &missing, SW_EFORMAT, error,
                           " is missing; " SWI_CONFIG_FILE " requires it");
    }
    uint64_t expected[2] = {rows, tensor->k};
    uint32_t rank = tensor->vector ? 1 : 2;
    if (found->rank != rank || memcmp(found->shape, expected, rank * sizeof expected[0]) != 0) {
        char has[96], wants[96];
        format_shape(has, sizeof has, found->shape, found->rank);
        format_shape(wants, sizeof wants, expected, rank);
        return source_fail(source, found, SW_EFORMAT, error,
                           " has the shape [%s], but " SWI_CONFIG_FILE " requires [%s]", has,
                           wants);
    }
    return refuse_integers(source, found, error);
}

/* Marks the tensors that the plan uses, then looks for one that is not. */
static int check_leftover(const struct source *source, const struct plan *plan,
                          struct swi_error *error)
{
    bool *used = calloc(source->count ? source->count : 1, sizeof *used);
    if (!used)
        return swi_fail(error, -ENOMEM, "out of memory");
    for (size_t i = 0; i < plan->count; i++)
        for (size_t j = 0; j < plan->chunks[i].count; j++) {
            const struct plan_tensor *tensor = &plan->chunks[i].tensors[j];
            for (uint32_t p = 0; p < tensor->part_count; p++)
                used[source_find(source, tensor->parts[p].name) - source->tensors] = true;
        }
    int result = 0;
    for (size_t i = 0; i < source->count && result == 0; i++)
        if (!used[i] && is_weight(&source->tensors[i]))
            result = source_fail(source, &source->tensors[i], SW_EFORMAT, error,
                                 " does not belong to the BERT that " SWI_CONFIG_FILE
                                 " describes (%u layers); --drop-extra leaves such tensors out",
                                 source->description.config.layers);
    free(used);
    return result;
}

int source_check(const struct source *source, const struct plan *plan, bool drop_extra,
                 struct swi_error *error)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_chunk *chunk = &plan->chunks[i];
        for (size_t j = 0; j < chunk->count; j++) {
            const struct plan_tensor *tensor = &chunk->tensors[j];
            for (uint32_t p = 0; p < tensor->part_count; p++) {
                /* a block is a part of the whole table's rows */
                uint64_t rows =
                    chunk->block ? source->description.config.vocab : tensor->parts[p].rows;
                int result = check_part(source, tensor, &tensor->parts[p], rows, error);
                if (result < 0)
                    return result;
            }
        }
    }
    uint32_t labels = source->features.labels, named = source->description.labels.count;
    if (labels && labels != named)
        return source_fail(source, source_find(source, "classifier.weight"), SW_EFORMAT, error,
                           " has %u rows, but " SWI_CONFIG_FILE " has %u labels%s", labels, named,
                           source->description.config.labels ? "" : ", the default");
    return drop_extra ? 0 : check_leftover(source, plan, error);
}

/* ---- reading --------------------------------------------------------------------------------- */

int source_read_rows(struct source *source, const struct plan_tensor *tensor, uint64_t first,
                     uint64_t count, float *out, struct swi_error *error)
{
    for (uint32_t p = 0; p < tensor->part_count && count > 0; p++) {
        const struct plan_part *part = &tensor->parts[p];
        if (first >= part->rows) {
            first -= part->rows;
            continue;
        }
        uint64_t rows = part->rows - first < count ? part->rows - first : count;
        const struct source_tensor *found = source_find(source, part->name);
        int result =
            source_read(found, (part->first + first) * tensor->k, rows * tensor->k, out, error);
        if (result < 0)
            return result;
        out += rows * tensor->k;
        count -= rows;
        first = 0;
    }
    return 0;
}

const struct source_tensor *source_locate(const struct source *source,
                                          const struct plan_tensor *tensor, uint64_t row,
                                          uint64_t *ret_row)
{
    const struct plan_part *part = tensor->parts;
    for (; row >= part->rows; part++)
        row -= part->rows;
    *ret_row = part->first + row;
    return source_find(source, part->name);
}
