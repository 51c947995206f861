/* The kernels for x86-64 with AVX-512 F, BW, DQ and VL. Compiled with those flags; called only after
 * asking the CPU. */
#define SWI_LANES 16
#define SWI_TABLE swi_kernels_avx512
#define SWI_TABLE_NAME "avx512"
#include "bert/kernels_body.h"

#define SWI_TILE_ROWS 12
#define SWI_TILE_PANELS 2
#include "bert/tile_body.h"

static const struct swi_tiler tiler = {.rows = SWI_TILE_ROWS, .panels = SWI_TILE_PANELS, .k_block = 768, .run = run_tile};
#define SWI_TILER &tiler
#include "bert/kernels_table.h"
