/* SPDX-License-Identifier: MIT */
/* Structs that begin with their own size, so that caller and library may be of different releases.
 */
#ifndef SWI_CORE_SIZED_H
#define SWI_CORE_SIZED_H

#include <stddef.h>

#include "core/error.h"

/* Copies a caller's options into known (zeroed, known_size long). What an older caller lacks stays
 * zero, the default; a newer caller's unknown members must be zero. given NULL: all defaults.
 * Errors: -EINVAL (size not set), SW_EUNSUPPORTED. */
int swi_sized_in(void *known, size_t known_size, const void *given, size_t given_size,
                 struct swi_error *error);

/* Copies an answer into a caller's struct of given_size bytes, as much as it has room for; its size
 * member stays and what the library does not know becomes zero. Errors: -EINVAL (size not set). */
int swi_sized_out(void *given, size_t given_size, const void *known, size_t known_size);

#endif
