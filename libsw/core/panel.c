/* SPDX-License-Identifier: MIT */
/* From rows [N, K] to panels [ceil(N/16), K, 16]. */
#include "core/panel.h"

#include <assert.h>
#include <string.h>

#include <sw/base.h>

uint64_t swi_panel_elements(uint64_t n, uint64_t k)
{
    return (n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH * SW_PANEL_WIDTH * k;
}

#define DEFINE_COPIES(type, suffix)                                                                \
    static void from_rows_##suffix(type *panels, const type *rows, uint64_t n, uint64_t k)         \
    {                                                                                              \
        for (uint64_t first = 0; first < n; first += SW_PANEL_WIDTH) {                             \
            type *panel = panels + first * k;                                                      \
            for (uint64_t lane = 0; lane < SW_PANEL_WIDTH; lane++)                                 \
                for (uint64_t column = 0; column < k; column++)                                    \
                    panel[column * SW_PANEL_WIDTH + lane] =                                        \
                        first + lane < n ? rows[(first + lane) * k + column] : 0;                  \
        }                                                                                          \
    }
DEFINE_COPIES(uint16_t, u16)
DEFINE_COPIES(uint32_t, u32)

void swi_panel_from_rows(void *panels, const void *rows, uint64_t n, uint64_t k,
                         size_t element_bytes)
{
    assert(element_bytes == 2 || element_bytes == 4);
    if (element_bytes == 2)
        from_rows_u16(panels, rows, n, k);
    else
        from_rows_u32(panels, rows, n, k);
}
