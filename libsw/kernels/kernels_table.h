/* SPDX-License-Identifier: MIT */
/* The table of the functions in kernels_body.h, and in tile_body.h unless SWI_TILER is NULL. The
 * last include of each kernels_<instruction set>.c. */
extern const struct swi_kernels SWI_TABLE;
const struct swi_kernels SWI_TABLE = {
    .name = SWI_TABLE_NAME,
    .exp = map_exp,
    .erf = map_erf,
    .tanh = map_tanh,
    .activate = activate,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .widen = widen,
    .widen_add = widen_add,
    .finish = finish,
    .interleave = interleave,
    .interleave_any = interleave_any,
    .copy_columns = copy_columns,
    .scale_columns = scale_columns,
    .tiler = SWI_TILER,
};
