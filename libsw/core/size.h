/* SPDX-License-Identifier: MIT */
/* Sizes as people write them. */
#ifndef SWI_CORE_SIZE_H
#define SWI_CORE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "512" (MB, as the ancestor had it), "512M", "2G", "64K", "1.5G", "4096B": binary multiples. Returns false for
 * anything else, for 0 and for an overflow. */
bool swi_size_parse(const char *text, uint64_t *ret_bytes);

/* "1.5 GiB", "832 KiB", "17 B": for people. */
void swi_size_format(uint64_t bytes, char *text, size_t size);

#endif
