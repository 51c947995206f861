/* SPDX-License-Identifier: MIT */
/* The files of torch.save since version 1.6: a zip archive that holds NAME/data.pkl and,
 * uncompressed, one NAME/data/KEY for each storage. Entries are read in place through libzip; their
 * checksums are compared when one has been read from end to end. */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_TORCH_ARCHIVE_H
#define SWI_PROGRAMS_CHUNK_SOURCE_TORCH_ARCHIVE_H

#include "programs/chunk/source/pickle.h"

struct torch_archive;

/* Takes its own hold of the file. Refuses, with a message that begins with the name: the format
 * before 1.6, archives of big-endian machines, compressed or encrypted entries, storages that are
 * missing or shorter than the tensors in them. */
int torch_archive_open(int directory, const char *name, struct torch_archive **ret,
                       struct swi_error *error);
void torch_archive_close(struct torch_archive *archive);

/* What the pickle describes; lives as long as the archive. */
const struct pickle *torch_archive_tensors(const struct torch_archive *archive);

/* Bytes first … first+size-1 of a tensor. */
int torch_archive_read(struct torch_archive *archive, const struct pickle_tensor *tensor,
                       uint64_t first, uint64_t size, void *out, struct swi_error *error);

#endif
