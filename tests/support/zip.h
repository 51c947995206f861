/* SPDX-License-Identifier: MIT */
/* Write zip archives that are wrong on purpose: checksums and offsets are right except where an
 * entry overrides them. Nothing is compressed, whatever method an entry claims. An archive beyond
 * the limits is truncated, which makes one more wrong archive. */
#ifndef SWT_SUPPORT_ZIP_H
#define SWT_SUPPORT_ZIP_H

#include <stddef.h>
#include <stdint.h>

enum sup_zip_lie {
    SUP_ZIP_COMPRESSED = 1, /* it says deflate */
    SUP_ZIP_ENCRYPTED = 2,  /* it says so */
    SUP_ZIP_CENTRAL = 4,    /* other sizes in the central directory */
    SUP_ZIP_LOCAL = 8,      /* other sizes in the local header */
    SUP_ZIP_PLACE = 16,     /* the local header is elsewhere */
    SUP_ZIP_SUM = 32,       /* another checksum */
    SUP_ZIP_EXTRA = 64,     /* an extra field in both headers */
    SUP_ZIP_NAME = 128,     /* the local header's name ends with another character */
};

struct sup_zip_entry {
    const void *name, *data;
    size_t name_size, size;
    unsigned lies;
    uint32_t central_size, local_size, place; /* of the lies */
    uint16_t extra_kind;
    const void *extra;
    size_t extra_size;
};

struct sup_zip {
    uint8_t *bytes; /* [capacity]; the caller's */
    size_t capacity, size;
    uint8_t directory[1u << 16];
    size_t directory_size;
    uint16_t count;
};

void sup_zip_begin(struct sup_zip *zip, void *bytes, size_t capacity);
void sup_zip_add(struct sup_zip *zip, const struct sup_zip_entry *entry);
/* Leaves the archive in bytes[0 … size). */
void sup_zip_end(struct sup_zip *zip);

#endif
