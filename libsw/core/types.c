/* SPDX-License-Identifier: MIT */
/* Names and sizes of element types and layouts. */
#include <sw/base.h>

size_t sw_dtype_size(enum sw_dtype dtype)
{
    switch (dtype) {
    case SW_DTYPE_F32:
        return 4;
    case SW_DTYPE_F16:
    case SW_DTYPE_BF16:
        return 2;
    case SW_DTYPE_I64:
        return 8;
    }
    return 0;
}

const char *sw_dtype_name(enum sw_dtype dtype)
{
    switch (dtype) {
    case SW_DTYPE_F32:
        return "F32";
    case SW_DTYPE_F16:
        return "F16";
    case SW_DTYPE_BF16:
        return "BF16";
    case SW_DTYPE_I64:
        return "I64";
    }
    return "?";
}

const char *sw_layout_name(enum sw_layout layout)
{
    switch (layout) {
    case SW_LAYOUT_ROWS:
        return "rows";
    case SW_LAYOUT_PANEL:
        return "panel";
    }
    return "?";
}
