/* SPDX-License-Identifier: MIT */
/* The pickle of a torch archive: whatever is accepted describes tensors inside their storages. */
#include <string.h>

#include "fuzz.h"
#include "programs/chunk/source/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pickle pickle;
    struct swi_error error = {0};
    if (pickle_parse(data, size, &pickle, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    const char *start = (const char *)data, *end = start + size;
    for (size_t i = 0; i < pickle.count; i++) {
        const struct pickle_tensor *tensor = &pickle.tensors[i];
        uint64_t elements = 1;
        FUZZ_CHECK(tensor->rank <= SW_RANK_MAX);
        for (uint32_t j = 0; j < tensor->rank; j++)
            FUZZ_CHECK(!__builtin_mul_overflow(elements, tensor->shape[j], &elements));
        FUZZ_CHECK(elements <= tensor->storage_elements &&
                   tensor->offset <= tensor->storage_elements - elements);
        FUZZ_CHECK(tensor->name >= start && tensor->name + tensor->name_length <= end);
        FUZZ_CHECK(tensor->storage >= start && tensor->storage + tensor->storage_length <= end);
        FUZZ_CHECK(!memchr(tensor->name, 0, tensor->name_length));
    }
    pickle_fini(&pickle);
    return 0;
}
