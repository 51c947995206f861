/* SPDX-License-Identifier: MIT */
/* Sizes as people write and read them. */
#ifndef SWI_CORE_SIZE_H
#define SWI_CORE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number with an optional unit: "512", "512M", "512MB" and "512MiB" are the same number of 2^20
 * bytes; K, G and T likewise; "4096B" counts bytes; "1.5G" has a fraction. Returns false for
 * anything else, for 0 and for an overflow. */
bool swi_size_parse(const char *text, uint64_t *ret_bytes);

/* Formats a size for people: "1.5 GiB", "832 KiB", "17 B". */
void swi_size_format(uint64_t bytes, char *text, size_t size);

#endif
