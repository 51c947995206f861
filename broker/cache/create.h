/* SPDX-License-Identifier: MIT */
/* The part of creation that a new cache and an adopted one share. */
#ifndef SWB_CACHE_CREATE_H
#define SWB_CACHE_CREATE_H

#include "cache/state.h"

/* Everything but the shared memory and the loader. */
int cache_prepare(const struct cache_options *options, struct cache **ret, struct swi_error *error);

#endif
