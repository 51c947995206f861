/* SPDX-License-Identifier: MIT */
/* A safetensors file: whatever is accepted lies inside it, and can be rendered and read again. */
#include <string.h>

#include "core/safetensors.h"
#include "fuzz.h"

/* Every tensor in its place, in order, of the length that its shape makes. */
static void check(const struct swi_safetensors *file, uint64_t file_bytes)
{
    uint64_t end = file->data_offset;
    for (size_t i = 0; i < file->count; i++) {
        const struct swi_tensor *tensor = &file->tensors[i];
        uint64_t bytes = sw_dtype_size(tensor->dtype);
        FUZZ_CHECK(tensor->rank <= SW_RANK_MAX);
        for (uint32_t j = 0; j < tensor->rank; j++)
            FUZZ_CHECK(!__builtin_mul_overflow(bytes, tensor->shape[j], &bytes));
        FUZZ_CHECK(bytes == tensor->bytes);
        FUZZ_CHECK(tensor->offset >= end && tensor->offset + bytes <= file_bytes);
        end = tensor->offset + bytes;
        FUZZ_CHECK(swi_safetensors_find(file, tensor->name) == tensor);
    }
}

static void render(struct swi_safetensors *file, uint32_t align)
{
    char *header;
    size_t size;
    uint64_t bytes;
    struct swi_safetensors again;
    if (swi_safetensors_render(file, align, &header, &size, &bytes, NULL) < 0)
        return; /* reserved names are read but not written */
    FUZZ_CHECK(swi_safetensors_parse(header, size, bytes, &again, NULL, NULL) == 0);
    FUZZ_CHECK(again.count == file->count && again.metadata_count == file->metadata_count);
    check(&again, bytes);
    for (size_t i = 0; i < again.count; i++)
        FUZZ_CHECK(again.tensors[i].offset % align == 0);
    swi_safetensors_fini(&again);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct swi_safetensors file;
    struct swi_error error = {0};
    uint64_t needed = 0;
    /* with less of the file than the header needs it asks for more, and for no more than there is
     */
    if (swi_safetensors_parse(data, size / 2, size, &file, &needed, &error) == 0)
        swi_safetensors_fini(&file);
    FUZZ_CHECK(needed <= size || size < 8);
    if (swi_safetensors_parse(data, size, size, &file, NULL, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    check(&file, size);
    render(&file, SWI_TENSOR_ALIGN);
    render(&file, 1);
    swi_safetensors_fini(&file);
    return 0;
}
