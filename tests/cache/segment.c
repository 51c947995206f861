/* SPDX-License-Identifier: MIT */
/* Shared memory: who may write it, how much of it is backed, and what happens without memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/cache.h"
#include "memory/cgroup.h"
#include "memory/segment.h"
#include "support/support.h"

#define MIB UINT64_C(1048576)

static void create(struct segment *segment, uint64_t max_bytes)
{
    struct swi_error error = {.code = 0};
    cr_assert_eq(segment_create(segment, max_bytes, &error), 0, "%s", error.text);
}

static void reserve(struct segment *segment, uint64_t goal, unsigned blocks)
{
    struct swi_error error = {.code = 0};
    cr_assert_eq(segment_reserve(segment, goal, blocks, &error), 0, "%s", error.text);
}

static uint64_t backed_bytes(const struct segment *segment)
{
    struct stat st;
    cr_assert_eq(fstat(segment->fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

Test(segment, has_no_name_and_only_its_owner_may_open_it, .timeout = 60)
{
    struct segment segment;
    create(&segment, 3 * MIB);
    cr_assert_eq(segment.max_bytes, 4 * MIB, "whole blocks");
    cr_assert_eq((uintptr_t)segment.base % SWI_BLOCK_BYTES, 0);
    struct stat st;
    cr_assert_eq(fstat(segment.fd, &st), 0);
    cr_assert_eq(st.st_nlink, 0, "it still has a name");
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq((uint64_t)st.st_size, segment.max_bytes);
    segment_destroy(&segment);
    segment_destroy(&segment); /* a second time is harmless */
}

Test(segment, clients_get_a_descriptor_they_cannot_write_through, .timeout = 60)
{
    struct segment segment;
    create(&segment, 2 * MIB);
    reserve(&segment, 2 * MIB, 1);
    segment.base[5] = 42;
    cr_assert_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, segment.client_fd, 0),
                 MAP_FAILED);
    cr_assert_eq(errno, EACCES);
    const uint8_t *seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, segment.client_fd, 0);
    cr_assert_neq(seen, MAP_FAILED);
    cr_assert_eq(seen[5], 42);
    cr_assert_eq(ftruncate(segment.client_fd, 0), -1);
    segment_destroy(&segment);
}

/* The exit code of a child of another user that tries to open the descriptor for writing. */
static int writes_as_nobody(int fd)
{
    pid_t child = fork();
    if (child == 0) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(2);
        _exit(open(path, O_RDWR) < 0 && errno == EACCES ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(segment, another_user_cannot_reopen_it_for_writing, .timeout = 60)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become another user");
    struct segment segment;
    struct index_segment index;
    struct swi_error error;
    create(&segment, 2 * MIB);
    cr_assert_eq(index_segment_create(&index, &error), 0);
    cr_assert_eq(writes_as_nobody(segment.client_fd), 0);
    cr_assert_eq(writes_as_nobody(index.client_fd), 0);
    index_segment_destroy(&index);
    segment_destroy(&segment);
}

Test(segment, memory_is_reserved_in_steps_and_returned_from_the_end, .timeout = 60)
{
    struct segment segment;
    create(&segment, 20 * MIB);
    cr_assert_eq(backed_bytes(&segment), 0);
    reserve(&segment, 20 * MIB, 3);
    cr_assert_eq(segment.reserved_bytes, 6 * MIB);
    cr_assert_geq(backed_bytes(&segment), 6 * MIB);
    cr_assert_eq(segment.huge_blocks + segment.collapse_refused, 3);
    cr_assert_eq(segment.refused_errno != 0, segment.collapse_refused > 0);
    reserve(&segment, 9 * MIB, 100); /* ends within a block */
    cr_assert_eq(segment.reserved_bytes, 9 * MIB);
    cr_assert_eq(backed_bytes(&segment), 9 * MIB, "not a byte more than the budget");
    memset(segment.base, 7, 9 * MIB);
    reserve(&segment, 20 * MIB, 100);
    cr_assert_eq(segment.reserved_bytes, 20 * MIB);
    cr_assert_eq(segment.base[9 * MIB - 1], 7, "what was there stays");
    segment_trim(&segment, 9 * MIB);
    cr_assert_eq(segment.reserved_bytes, 10 * MIB, "whole blocks go");
    cr_assert_eq(backed_bytes(&segment), 10 * MIB);
    cr_assert_leq(segment.huge_blocks, 5);
    segment_trim(&segment, 15 * MIB); /* nothing to do */
    cr_assert_eq(segment.reserved_bytes, 10 * MIB);
    cr_assert_eq(segment.base[9 * MIB - 1], 7);
    segment_destroy(&segment);
}

Test(segment, a_pinned_block_is_counted_and_populated, .timeout = 60)
{
    struct segment segment;
    create(&segment, 4 * MIB);
    /* a page of the first block held by a pipe: the kernel cannot collapse it */
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    segment.base[0] = 1;
    struct iovec piece = {.iov_base = segment.base, .iov_len = 4096};
    cr_assert_eq(vmsplice(pipe_fds[1], &piece, 1, 0), 4096);
    reserve(&segment, 4 * MIB, 2);
    cr_assert_eq(segment.reserved_bytes, 4 * MIB);
    cr_assert_eq(segment.collapse_refused, 1, "%lu", segment.collapse_refused);
    cr_assert_neq(segment.refused_errno, 0);
    cr_assert_eq(segment.huge_blocks, 1);
    cr_assert_eq(backed_bytes(&segment), 4 * MIB);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    segment_destroy(&segment);
}

Test(segment, the_index_cannot_be_resized, .timeout = 60)
{
    struct index_segment index;
    struct swi_error error;
    cr_assert_eq(index_segment_create(&index, &error), 0);
    cr_assert_eq(ftruncate(index.fd, 4096), -1);
    cr_assert_eq(ftruncate(index.fd, (off_t)sizeof(struct swi_index) + 4096), -1);
    struct stat st;
    cr_assert_eq(fstat(index.client_fd, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq((size_t)st.st_size, sizeof(struct swi_index));
    cr_assert_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, index.client_fd, 0), MAP_FAILED);
    index_segment_destroy(&index);
}

/* ---- too little memory ----------------------------------------------------------------------- */

Test(segment, a_small_dev_shm_is_an_error_that_names_the_remedy, .timeout = 60)
{
    sup_private_dev_shm("8M");
    struct swi_error error = {.code = 0};
    struct cache *cache = NULL;
    const struct cache_options options = {
        .budget_bytes = 64 * MIB, .max_bytes = 64 * MIB, .policy = POLICY_LRU};
    cr_assert_eq(cache_create(&options, &cache, &error), -ENOSPC);
    cr_assert_null(cache);
    cr_assert_not_null(strstr(error.text, "/dev/shm"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "mount -o remount,size="), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "--cache-size"), "%s", error.text);
}

Test(segment, running_out_while_growing_is_an_error_and_no_signal, .timeout = 60)
{
    sup_private_dev_shm("7M");
    struct segment segment;
    struct swi_error error = {.code = 0};
    create(&segment, 64 * MIB);
    int result = segment_reserve(&segment, 64 * MIB, 100, &error);
    cr_assert_eq(result, -ENOSPC);
    cr_assert_not_null(strstr(error.text, "remount,size="), "%s", error.text);
    cr_assert_eq(segment.reserved_bytes, 6 * MIB);
    memset(segment.base, 1, segment.reserved_bytes); /* reserved memory is usable */
    cr_assert_eq(segment_reserve(&segment, 64 * MIB, 1, &error), -ENOSPC, "and again");
    segment_trim(&segment, 2 * MIB);
    cr_assert_eq(segment.reserved_bytes, 2 * MIB);
    reserve(&segment, 6 * MIB, 100);
    segment_destroy(&segment);
}

/* ---- memory limits of cgroups ---------------------------------------------------------------- */

static char root[64];

static void put(const char *path, const char *text)
{
    char full[256];
    (void)snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert_not_null(file, "%s: %s", full, strerror(errno));
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

Test(segment, the_smallest_memory_limit_of_any_cgroup_counts, .timeout = 60)
{
    strcpy(root, "/tmp/sw-cgroup-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    put("a/b/memory.max", "max\n");
    put("a/memory.max", "1000000\n");
    put("a/b/c/memory.max", "3000000\n");
    char path[256] = "";
    cr_assert_eq(cgroup_memory_limit("0::/a/b/c\n", root, path, sizeof path), 1000000);
    cr_assert_not_null(strstr(path, "/a/memory.max"), "%s", path);
    put("a/b/memory.high", "700000\n"); /* where the kernel begins to throttle */
    cr_assert_eq(cgroup_memory_limit("0::/a/b/c\n", root, path, sizeof path), 700000);
    cr_assert_not_null(strstr(path, "/a/b/memory.high"), "%s", path);
    cr_assert_eq(cgroup_memory_limit("0::/other\n", root, NULL, 0), UINT64_MAX);
    cr_assert_eq(cgroup_memory_limit("0::/\n", root, NULL, 0), UINT64_MAX);
    put("memory/x/memory.limit_in_bytes", "500000\n");
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert_eq(cgroup_memory_limit("9:name=systemd:/\n4:memory:/x\n0::/\n", root, NULL, 0),
                 500000);
    cr_assert_eq(cgroup_memory_limit("4:memory:/\n", root, NULL, 0), UINT64_MAX);
    cr_assert_eq(cgroup_memory_limit("garbage\n::\n:\n\n", root, NULL, 0), UINT64_MAX);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", root);
    cr_assert_eq(system(command), 0);
}
