/* SPDX-License-Identifier: MIT */
/* Opening files by names that others chose: never outside of a directory. */
#ifndef SWB_CATALOG_OPEN_BENEATH_H
#define SWB_CATALOG_OPEN_BENEATH_H

/* Opens path for reading, beneath directory: "..", absolute paths and symbolic links that lead out
 * of it, and the kernel's magic links, are refused with -EXDEV or -ELOOP. Never waits (FIFOs).
 * flags: O_DIRECTORY, O_PATH … are added. Returns a descriptor or -errno. */
int open_beneath(int directory, const char *path, int flags);

#endif
