/* SPDX-License-Identifier: MIT */
/* The kernels for x86-64 with AVX2, FMA and F16C. Compiled with those flags; called only if the
 * CPU supports them. */
#define SWI_LANES      8
#define SWI_TABLE      swi_kernels_avx2
#define SWI_TABLE_NAME "avx2"
#include "kernels/kernels_body.h"

#define SWI_TILE_ROWS   6
#define SWI_TILE_PANELS 1
#include "kernels/tile_body.h"

static const struct swi_tiler tiler = {
    .rows = SWI_TILE_ROWS, .panels = SWI_TILE_PANELS, .k_block = 384, .run = run_tile};
#define SWI_TILER &tiler
#include "kernels/kernels_table.h"
