/* SPDX-License-Identifier: MIT */
/* See zip.h. The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
#include "zip.h"

#include <string.h>

struct bytes {
    uint8_t *at;
    size_t capacity, *size;
};

static void put(struct bytes to, const void *data, size_t size)
{
    if (size > to.capacity - *to.size)
        size = to.capacity - *to.size;
    if (size)
        memcpy(to.at + *to.size, data, size);
    *to.size += size;
}

static void put_number(struct bytes to, uint64_t number, unsigned bytes)
{
    put(to, &number, bytes);
}

static uint32_t checksum(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

/* The fields that a local header and the central directory share, after their signatures. */
static void put_common(struct bytes to, const struct sup_zip_entry *entry, uint32_t size)
{
    uint32_t sum = checksum(entry->data, entry->size) ^ (entry->lies & SUP_ZIP_SUM ? 1u : 0u);
    put_number(to, 20, 2); /* version needed */
    put_number(to, entry->lies & SUP_ZIP_ENCRYPTED ? 1 : 0, 2);
    put_number(to, entry->lies & SUP_ZIP_COMPRESSED ? 8 : 0, 2);
    put_number(to, 0, 4); /* time and date */
    put_number(to, sum, 4);
    put_number(to, size, 4);
    put_number(to, size, 4);
    put_number(to, entry->name_size, 2);
    put_number(to, entry->lies & SUP_ZIP_EXTRA ? entry->extra_size + 4 : 0, 2);
}

static void put_extra(struct bytes to, const struct sup_zip_entry *entry)
{
    if (!(entry->lies & SUP_ZIP_EXTRA))
        return;
    put_number(to, entry->extra_kind, 2);
    put_number(to, entry->extra_size, 2);
    put(to, entry->extra, entry->extra_size);
}

void sup_zip_begin(struct sup_zip *zip, void *bytes, size_t capacity)
{
    zip->bytes = bytes;
    zip->capacity = capacity;
    zip->size = zip->directory_size = 0;
    zip->count = 0;
}

void sup_zip_add(struct sup_zip *zip, const struct sup_zip_entry *entry)
{
    const struct bytes file = {zip->bytes, zip->capacity, &zip->size};
    const struct bytes directory = {zip->directory, sizeof zip->directory, &zip->directory_size};
    uint32_t size = (uint32_t)entry->size;
    uint32_t place = entry->lies & SUP_ZIP_PLACE ? entry->place : (uint32_t)zip->size;
    put(file, "PK\3\4", 4);
    put_common(file, entry, entry->lies & SUP_ZIP_LOCAL ? entry->local_size : size);
    put(file, entry->name, entry->name_size);
    if (entry->lies & SUP_ZIP_NAME && entry->name_size && zip->size < zip->capacity)
        zip->bytes[zip->size - 1] ^= 1;
    put_extra(file, entry);
    put(file, entry->data, entry->size);
    put(directory, "PK\1\2", 4);
    put_number(directory, 20, 2); /* made by */
    put_common(directory, entry, entry->lies & SUP_ZIP_CENTRAL ? entry->central_size : size);
    put_number(directory, 0, 6); /* comment, disk, internal attributes */
    put_number(directory, 0, 4); /* external attributes */
    put_number(directory, place, 4);
    put(directory, entry->name, entry->name_size);
    put_extra(directory, entry);
    zip->count++;
}

void sup_zip_end(struct sup_zip *zip)
{
    const struct bytes file = {zip->bytes, zip->capacity, &zip->size};
    size_t place = zip->size;
    put(file, zip->directory, zip->directory_size);
    put(file, "PK\5\6", 4);
    put_number(file, 0, 4); /* disks */
    put_number(file, zip->count, 2);
    put_number(file, zip->count, 2);
    put_number(file, zip->directory_size, 4);
    put_number(file, place, 4);
    put_number(file, 0, 2);
}
