/* SPDX-License-Identifier: MIT */
/* The disk alone: reads the model's chunk files as the broker's loader does (io_uring, O_DIRECT,
 * 1 MiB, 16 at once) and does nothing with them. */
#ifndef SWBENCH_LIB_DISK_H
#define SWBENCH_LIB_DISK_H

#include <stddef.h>
#include <stdint.h>

struct disk;

/* Opens every chunk file of a directory. NULL where O_DIRECT or io_uring is refused. */
struct disk *disk_open(const char *model_path);
/* Nanoseconds to read about so many bytes: files one after the other, going on where the last call
 * stopped. NaN for no bytes. */
double disk_read_ns(struct disk *disk, uint64_t bytes);
void disk_close(struct disk *disk);

#endif
