/* SPDX-License-Identifier: MIT */
/* Reads with io_uring, in order, at a fixed depth. */
#include "lib/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/bench.h"

#define SEGMENT   (1u << 20)
#define DEPTH     16u
#define FILES_MAX 1024u

struct disk {
    struct io_uring ring;
    uint8_t *buffer; /* [DEPTH][SEGMENT] */
    int fd[FILES_MAX];
    uint64_t size[FILES_MAX];
    unsigned files;
    unsigned at; /* file to be read next */
    uint64_t offset;
};

static bool open_files(struct disk *disk, const char *model_path)
{
    DIR *directory = opendir(model_path);
    if (!directory)
        return false;
    bool open_all = true;
    for (struct dirent *entry; open_all && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".safetensors") != 0 || disk->files == FILES_MAX)
            continue;
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_DIRECT | O_CLOEXEC);
        struct stat status;
        open_all = fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0;
        if (fd >= 0)
            disk->fd[disk->files++] = fd;
        if (open_all)
            disk->size[disk->files - 1] = (uint64_t)status.st_size;
    }
    closedir(directory);
    return open_all && disk->files > 0;
}

struct disk *disk_open(const char *model_path)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        bench_die("out of memory");
    if (io_uring_queue_init(DEPTH, &disk->ring, 0) < 0) {
        free(disk);
        return NULL;
    }
    disk->buffer = mmap(NULL, (size_t)DEPTH * SEGMENT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (disk->buffer == MAP_FAILED)
        bench_die("out of memory");
    if (open_files(disk, model_path))
        return disk;
    disk_close(disk);
    return NULL;
}

void disk_close(struct disk *disk)
{
    if (!disk)
        return;
    for (unsigned i = 0; i < disk->files; i++)
        close(disk->fd[i]);
    munmap(disk->buffer, (size_t)DEPTH * SEGMENT);
    io_uring_queue_exit(&disk->ring);
    free(disk);
}

/* Queues the next segment into a buffer. Returns its bytes. */
static uint64_t issue(struct disk *disk, unsigned buffer)
{
    uint64_t left = disk->size[disk->at] - disk->offset;
    unsigned length = left < SEGMENT ? (unsigned)left : SEGMENT;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&disk->ring);
    io_uring_prep_read(sqe, disk->fd[disk->at], disk->buffer + (size_t)buffer * SEGMENT, SEGMENT,
                       disk->offset);
    io_uring_sqe_set_data64(sqe, buffer);
    disk->offset += length;
    if (disk->offset >= disk->size[disk->at]) {
        disk->at = (disk->at + 1) % disk->files;
        disk->offset = 0;
    }
    return length;
}

double disk_read_ns(struct disk *disk, uint64_t bytes)
{
    if (!disk || bytes == 0)
        return (double)NAN;
    uint64_t start = bench_now_ns();
    uint64_t issued = 0;
    unsigned under_way = 0;
    for (unsigned i = 0; i < DEPTH && issued < bytes; i++, under_way++)
        issued += issue(disk, i);
    while (under_way > 0) {
        struct io_uring_cqe *cqe;
        int result = io_uring_submit_and_wait(&disk->ring, 1);
        if (result < 0 && result != -EINTR)
            bench_die("io_uring: %s", strerror(-result));
        while (io_uring_peek_cqe(&disk->ring, &cqe) == 0) {
            unsigned buffer = (unsigned)io_uring_cqe_get_data64(cqe);
            if (cqe->res < 0)
                bench_die("cannot read a chunk file: %s", strerror(-cqe->res));
            io_uring_cqe_seen(&disk->ring, cqe);
            under_way--;
            if (issued < bytes) {
                issued += issue(disk, buffer);
                under_way++;
            }
        }
    }
    return (double)(bench_now_ns() - start);
}
