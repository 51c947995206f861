/* SPDX-License-Identifier: MIT */
/* Opening files by names that others chose, never outside a directory. */
#ifndef SWB_CATALOG_OPEN_BENEATH_H
#define SWB_CATALOG_OPEN_BENEATH_H

/* Opens path for reading, beneath directory. "..", absolute paths and symbolic links that lead
 * out of it, and the kernel's magic links, are refused with -EXDEV or -ELOOP. Never waits for a
 * FIFO's other end. flags are added: O_DIRECTORY, O_PATH and so on. Works without openat2 too,
 * which some containers forbid. Returns a close-on-exec descriptor or -errno. */
int open_beneath(int directory, const char *path, int flags);

/* Clears O_NONBLOCK of a descriptor that was opened with it only in case the name was a FIFO's:
 * reads of regular files may fail with EAGAIN under it on some storage. Does nothing for other
 * kinds of file. Returns fd. */
int open_settle(int fd);

#endif
