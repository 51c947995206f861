/* SPDX-License-Identifier: MIT */
/* See kernels/random.h. */
#include "kernels/random.h"

#include <stdlib.h>
#include <string.h>

#include "core/half.h"
#include "core/panel.h"

float random_float(uint64_t *state, float scale)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((float)(*state >> 40) * 0x1p-23f - 1.0f) * scale;
}

void *aligned_bytes(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 64, bytes ? bytes : 64))
        abort();
    return memory;
}

float *random_floats(uint64_t *state, size_t count, float scale)
{
    float *values = aligned_bytes(count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = random_float(state, scale);
    return values;
}

struct swi_matrix random_matrix(uint64_t *state, uint32_t n, uint32_t k, enum sw_layout layout,
                                enum sw_dtype dtype, float **ret_exact)
{
    size_t count = (size_t)n * k, size = sw_dtype_size(dtype);
    float *exact = random_floats(state, count, 0.1f);
    char *rows = aligned_bytes(count * size);
    for (size_t i = 0; i < count; i++) {
        uint16_t half = 0;
        if (dtype == SW_DTYPE_F16) {
            half = swi_f32_to_f16(exact[i]);
            exact[i] = swi_f16_to_f32(half);
        } else if (dtype == SW_DTYPE_BF16) {
            half = swi_f32_to_bf16(exact[i]);
            exact[i] = swi_bf16_to_f32(half);
        }
        memcpy(rows + i * size, size == 2 ? (const void *)&half : (const void *)&exact[i], size);
    }
    struct swi_matrix matrix = {.data = rows, .n = n, .k = k, .dtype = dtype, .layout = layout};
    if (layout == SW_LAYOUT_PANEL) {
        void *panels = aligned_bytes(swi_panel_elements(n, k) * size);
        swi_panel_from_rows(panels, rows, n, k, size);
        free(rows);
        matrix.data = panels;
    }
    *ret_exact = exact;
    return matrix;
}

void free_matrix(struct swi_matrix *matrix)
{
    free((void *)(uintptr_t)matrix->data);
    matrix->data = NULL;
}
