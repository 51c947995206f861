/* SPDX-License-Identifier: MIT */
/* Structs that begin with their size, so that caller and library may be of different releases. */
#ifndef SWI_CORE_SIZED_H
#define SWI_CORE_SIZED_H

#include <stddef.h>

#include "core/error.h"

/* Copies a caller's options into known (zeroed, known_size long). Members that an older caller
 * lacks stay zero, the default; unknown members of a newer caller must be zero. given NULL: all
 * defaults. Errors: -EINVAL (size is not set), SW_EUNSUPPORTED (an unknown member is set). */
int swi_sized_in(void *known, size_t known_size, const void *given, size_t given_size,
                 struct swi_error *error);

/* Copies an answer into a caller's struct of given_size bytes, truncated to it. The size member
 * stays; members that the library does not know become zero. Errors: -EINVAL (size is not set). */
int swi_sized_out(void *given, size_t given_size, const void *known, size_t known_size);

#endif
