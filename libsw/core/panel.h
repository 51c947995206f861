/* SPDX-License-Identifier: MIT */
/* The panel layout: [ceil(N/16), K, 16]. Pure copying, any element of 2 or 4 bytes. */
#ifndef SWI_CORE_PANEL_H
#define SWI_CORE_PANEL_H

#include <stddef.h>
#include <stdint.h>

/* The number of elements of W[n][k] in panels. */
uint64_t swi_panel_elements(uint64_t n, uint64_t k);

/* Copies row-major rows [n, k] to panels; rows past n become zero. element_bytes is 2 or 4. */
void swi_panel_from_rows(void *panels, const void *rows, uint64_t n, uint64_t k,
                         size_t element_bytes);

#endif
