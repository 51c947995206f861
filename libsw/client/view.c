/* SPDX-License-Identifier: MIT */
/* From a safetensors header to a view. */
#include "client/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"

static const struct swi_strings *copy_strings(const struct swi_safetensors *file)
{
    size_t count = file->count + 2 * file->metadata_count;
    size_t size = sizeof(struct swi_strings) + count * sizeof(char *);
    size_t text = size;
    for (size_t i = 0; i < file->count; i++)
        size += strlen(file->tensors[i].name) + 1;
    for (size_t i = 0; i < file->metadata_count; i++)
        size += strlen(file->metadata[i].key) + strlen(file->metadata[i].value) + 2;
    struct swi_strings *strings = malloc(size);
    if (!strings)
        return NULL;
    strings->tensors = file->count;
    strings->metadata = file->metadata_count;
    strings->bytes = size;
    char *to = (char *)strings + text;
    for (size_t i = 0; i < count; i++) {
        size_t pair = i < file->count ? 0 : (i - file->count) / 2;
        const char *from = i < file->count              ? file->tensors[i].name
                           : (i - file->count) % 2 == 0 ? file->metadata[pair].key
                                                        : file->metadata[pair].value;
        strings->at[i] = to;
        to = stpcpy(to, from) + 1;
    }
    return strings;
}

static bool same_strings(const struct swi_strings *known, const struct swi_safetensors *file)
{
    if (known->tensors != file->count || known->metadata != file->metadata_count)
        return false;
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(known->at[i], file->tensors[i].name) != 0)
            return false;
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(known->at[file->count + 2 * i], file->metadata[i].key) != 0 ||
            strcmp(known->at[file->count + 2 * i + 1], file->metadata[i].value) != 0)
            return false;
    return true;
}

static int compare_names(const void *left, const void *right, void *context)
{
    const struct swi_strings *strings = context;
    uint32_t a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return strcmp(strings->at[a], strings->at[b]);
}

static int sort_names(struct swi_view *view)
{
    uint32_t *order = malloc((view->count ? view->count : 1) * sizeof *order);
    if (!order)
        return -ENOMEM;
    for (uint32_t i = 0; i < view->count; i++)
        order[i] = i;
    struct swi_strings *strings = (struct swi_strings *)(uintptr_t)view->strings; /* read only */
    qsort_r(order, view->count, sizeof *order, compare_names, strings);
    for (size_t i = 0; i < view->count; i++)
        view->tensor[i].by_name = order[i];
    free(order);
    return 0;
}

static int fill(struct swi_view *view, const struct swi_safetensors *file, struct swi_error *error)
{
    const char *layout = swi_safetensors_metadata(file, "layout");
    bool panels = layout && strcmp(layout, sw_layout_name(SW_LAYOUT_PANEL)) == 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct swi_tensor *from = &file->tensors[i];
        if (from->offset % SWI_TENSOR_ALIGN != 0)
            return swi_fail(error, SW_EFORMAT,
                            "tensor %s starts at byte %" PRIu64
                            ", which is not a multiple of %u; import the model again with swchunk",
                            from->name, from->offset, SWI_TENSOR_ALIGN);
        struct swi_view_tensor *to = &view->tensor[i];
        to->offset = from->offset;
        to->bytes = from->bytes;
        memcpy(to->shape, from->shape, sizeof to->shape);
        to->rank = from->rank;
        to->dtype = from->dtype;
        /* In a panel chunk only linear weights have a third dimension, of one panel. */
        to->layout = panels && from->rank == 3 && from->shape[2] == SW_PANEL_WIDTH ? SW_LAYOUT_PANEL
                                                                                   : SW_LAYOUT_ROWS;
    }
    return 0;
}

static int build(const struct swi_safetensors *file, const struct swi_strings *known,
                 struct swi_view **ret, const struct swi_strings **ret_strings,
                 struct swi_error *error)
{
    if (known && !same_strings(known, file))
        return swi_fail(error, SW_EFORMAT, "its tensors have changed although its digest has not");
    size_t size = sizeof(struct swi_view) + file->count * sizeof(struct swi_view_tensor);
    struct swi_view *view = calloc(1, size);
    const struct swi_strings *strings = known ? known : copy_strings(file);
    int result = 0;
    if (!view || !strings) {
        result = swi_fail(error, -ENOMEM, "out of memory");
    } else {
        view->strings = strings;
        view->count = file->count;
        view->cached.private_bytes = size + strings->bytes;
        result = fill(view, file, error);
        if (result == 0 && sort_names(view) < 0)
            result = swi_fail(error, -ENOMEM, "out of memory");
    }
    if (result < 0) {
        free(view);
        if (!known)
            free((void *)(uintptr_t)strings);
        return result;
    }
    *ret = view;
    *ret_strings = strings;
    return 0;
}

int swi_view_parse(const void *chunk, uint64_t bytes, const struct swi_strings *known,
                   struct swi_view **ret, const struct swi_strings **ret_strings,
                   struct swi_error *error)
{
    struct swi_safetensors file;
    int result = swi_safetensors_parse(chunk, bytes, bytes, &file, NULL, error);
    if (result < 0)
        return result == -EAGAIN ? swi_fail(error, SW_EFORMAT, "its header is longer than the file")
                                 : result;
    result = build(&file, known, ret, ret_strings, error);
    if (result == 0)
        (*ret)->cached.mapped_bytes = bytes;
    swi_safetensors_fini(&file);
    return result;
}

int64_t swi_view_find(const struct swi_view *view, const char *name)
{
    size_t low = 0, high = view->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint32_t index = view->tensor[middle].by_name;
        int order = strcmp(name, view->strings->at[index]);
        if (order == 0)
            return index;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}
