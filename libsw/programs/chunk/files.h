/* SPDX-License-Identifier: MIT */
/* Reading and writing whole small files, and exact reads and writes of parts of large ones. */
#ifndef SWI_PROGRAMS_CHUNK_FILES_H
#define SWI_PROGRAMS_CHUNK_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Opens a regular file for reading. Returns the descriptor, *ret_bytes its length. Errors: -errno,
 * SW_EFORMAT (a directory, a FIFO …), with a message that begins with the name. */
int files_open(int directory, const char *name, uint64_t *ret_bytes, struct swi_error *error);

/* Names a file that is not what its name says by its first bytes: see swi_foreign_check. */
int files_check(int fd, const char *name, struct swi_error *error);

/* A whole file of at most `most` bytes; *ret_data is malloc'd and zero-terminated one byte past
 * *ret_size. */
int files_read(int directory, const char *name, size_t most, char **ret_data, size_t *ret_size,
               struct swi_error *error);

/* Exactly size bytes at offset, or -errno; -EIO when the file ends before. */
int files_pread(int fd, void *data, size_t size, uint64_t offset);

/* All of it, or -errno. */
int files_write(int fd, const void *data, size_t size);

/* Creates a file that must not be there yet, writes it, syncs it. */
int files_create(int directory, const char *name, const void *data, size_t size,
                 struct swi_error *error);

#endif
