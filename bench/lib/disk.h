/* SPDX-License-Identifier: MIT */
/* The disk alone: reads the model's chunk files like the broker's loader (io_uring, O_DIRECT, 16
 * reads of 1 MiB in flight) and discards the data. */
#ifndef SWBENCH_LIB_DISK_H
#define SWBENCH_LIB_DISK_H

#include <stddef.h>
#include <stdint.h>

struct disk;

/* Opens every chunk file of a directory. NULL if O_DIRECT or io_uring is not available. */
struct disk *disk_open(const char *model_path);
/* The time to read about so many bytes in nanoseconds: files one after the other, continuing where
 * the last call stopped. NaN for no bytes. */
double disk_read_ns(struct disk *disk, uint64_t bytes);
void disk_close(struct disk *disk);

#endif
