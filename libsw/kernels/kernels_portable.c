/* SPDX-License-Identifier: MIT */
/* The kernels for any CPU: 16-byte vectors, which every 64-bit target has. */
#define SWI_LANES      4
#define SWI_TABLE      swi_kernels_portable
#define SWI_TABLE_NAME "portable"
#include "kernels/kernels_body.h"

#define SWI_TILER NULL
#include "kernels/kernels_table.h"
