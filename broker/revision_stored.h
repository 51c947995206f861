/* A revision without a directory: made of a bundle (bundle.h) that came from a Redis. Its chunks
 * have no files and come from the cache's remote; its small files are sealed memory. */
#ifndef SWB_REVISION_STORED_H
#define SWB_REVISION_STORED_H

#include "revision.h"

struct revision_stored;

/* digest: of the bundle, whose bytes are not needed any more afterwards. */
int revision_create_stored(struct cache *cache, const char *name, const void *data, size_t size,
                           struct swi_digest digest, uint64_t incarnation, struct revision **ret,
                           struct swi_error *error);

/* Under which digest it is kept for a successor (kept.h). */
void revision_stored_note_kept(struct revision_stored *stored, struct swi_digest digest);
/* False: it is not. */
bool revision_stored_kept(const struct revision_stored *stored, struct swi_digest *ret);

/* For revision.c. */
void revision_stored_free(struct revision_stored *stored);
struct swi_digest revision_stored_digest(const struct revision_stored *stored);
/* As revision_open_file. */
int revision_stored_open(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                         struct swi_error *error);

#endif
