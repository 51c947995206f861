/* SPDX-License-Identifier: MIT */
/* Scalar f16 and bf16: the reference for vector code, and for importers. */
#ifndef SWI_CORE_HALF_H
#define SWI_CORE_HALF_H

#include <stdint.h>

float swi_f16_to_f32(uint16_t half);
uint16_t swi_f32_to_f16(float value); /* round to nearest even; overflow gives infinity */
float swi_bf16_to_f32(uint16_t bf16);
uint16_t swi_f32_to_bf16(float value); /* round to nearest even; NaN stays NaN */

#endif
