/* SPDX-License-Identifier: MIT */
/* Checks that need no broker: kernel, memory, limits. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/layout.h"
#include "core/size.h"
#include "ctl/doctor/check.h"
#include "memory/cgroup.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define BLOCK (2u << 20)

/* The first line, cut to size; false: there is no such file. */
static bool read_line(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    bool good = file && fgets(text, (int)size, file);
    if (file)
        (void)fclose(file);
    if (good)
        text[strcspn(text, "\n")] = 0;
    return good;
}

/* The rest of the first line that begins with a word. */
static bool read_field(const char *path, const char *word, char *text, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "re");
    bool good = false;
    while (file && !good && fgets(line, sizeof line, file)) {
        if (strncmp(line, word, strlen(word)) != 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        const char *rest = line + strlen(word);
        (void)snprintf(text, size, "%s", rest + strspn(rest, " \t:="));
        good = true;
    }
    if (file)
        (void)fclose(file);
    return good;
}

static bool kernel_at_least(unsigned major, unsigned minor)
{
    struct utsname name;
    unsigned a = 0, b = 0;
    return uname(&name) == 0 && sscanf(name.release, "%u.%u", &a, &b) == 2 &&
           (a > major || (a == major && b >= minor));
}

void ctl_check_kernel(const struct ctl_subject *subject, struct ctl_check *check)
{
    (void)subject;
    struct utsname name;
    if (uname(&name) < 0)
        return;
    enum ctl_result result = kernel_at_least(6, 1)    ? CTL_CHECK_OK
                             : kernel_at_least(5, 10) ? CTL_CHECK_WARN
                                                      : CTL_CHECK_FAIL;
    ctl_check_set(check, result,
                  result == CTL_CHECK_OK ? NULL
                  : result == CTL_CHECK_WARN
                      ? "Linux 6.1 or later can put the arena in huge pages"
                      : "use Linux 6.1 or later: openat2 and io_uring are required",
                  "Linux %s", name.release);
}

void ctl_check_uring(const struct ctl_subject *subject, struct ctl_check *check)
{
    char disabled[16] = "";
    (void)read_line("/proc/sys/kernel/io_uring_disabled", disabled, sizeof disabled);
    struct io_uring_params params = {0};
    long fd = syscall(SYS_io_uring_setup, 4, &params);
    int code = fd < 0 ? errno : 0;
    if (fd >= 0)
        (void)close((int)fd);
    const char *engine = json_string_value(json_object_get(subject->stats, "io_engine"));
    if (code == 0 && engine && strcmp(engine, "io_uring") != 0)
        ctl_check_set(check, CTL_CHECK_WARN,
                      "check whether its unit (SystemCallFilter=) or --io-engine forbids it",
                      "available here, but the broker uses %s", engine);
    else if (code == 0)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "available");
    else if (code == EPERM && disabled[0] && disabled[0] != '0')
        ctl_check_set(
            check, CTL_CHECK_WARN,
            "sysctl kernel.io_uring_disabled=0; until then the broker reads with threads, "
            "which is slower",
            "forbidden: kernel.io_uring_disabled is %s", disabled);
    else
        ctl_check_set(check, CTL_CHECK_WARN,
                      "allow io_uring_setup in this container's seccomp profile; until then the "
                      "broker reads with threads, which is slower",
                      "refused: %s", strerror(code));
}

/* Mount options of /dev/shm. */
static void shm_options(char *text, size_t size)
{
    char line[512], point[256], options[256];
    FILE *mounts = fopen("/proc/self/mounts", "re");
    text[0] = 0;
    while (mounts && fgets(line, sizeof line, mounts))
        if (sscanf(line, "%*s %255s %*s %255s", point, options) == 2 &&
            strcmp(point, "/dev/shm") == 0)
            (void)snprintf(text, size, "%.190s", options);
    if (mounts)
        (void)fclose(mounts);
}

void ctl_check_shm(const struct ctl_subject *subject, struct ctl_check *check)
{
    struct statvfs status;
    char all[32], left[32], need[32], options[200];
    if (statvfs("/dev/shm", &status) < 0) {
        ctl_check_set(check, CTL_CHECK_FAIL, "mount a tmpfs at /dev/shm", "no /dev/shm: %s",
                      strerror(errno));
        return;
    }
    uint64_t total = (uint64_t)status.f_blocks * status.f_frsize;
    uint64_t room = (uint64_t)status.f_bavail * status.f_frsize;
    /* what the broker has reserved counts as available */
    room += (uint64_t)json_integer_value(json_object_get(subject->stats, "reserved_bytes"));
    swi_size_format(total, all, sizeof all);
    swi_size_format(room, left, sizeof left);
    swi_size_format(subject->cache_bytes, need, sizeof need);
    shm_options(options, sizeof options);
    if (subject->cache_bytes > room)
        ctl_check_set(check, CTL_CHECK_FAIL,
                      "mount -o remount,size=SIZE /dev/shm (docker: --shm-size), or use a smaller "
                      "--cache-size",
                      "%s, %s for the arena, which needs %s", all, left, need);
    else if (subject->cache_bytes == 0)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%s, %s free (%s)", all, left, options);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%s, %s for an arena of %s (%s)", all, left, need,
                      options);
}

/* Tries what the broker does with a shared object of one huge page. Returns 0, an errno, or -1 if
 * there is no memory to try it with. */
static int probe_collapse(void)
{
    char name[64];
    (void)snprintf(name, sizeof name, "/swctl-doctor-%d", (int)getpid());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    (void)shm_unlink(name);
    int result = -1;
    /* reserved first: a full /dev/shm would be a SIGBUS */
    if (ftruncate(fd, BLOCK) == 0 && fallocate(fd, 0, 0, 4096) == 0) {
        uint8_t *room =
            mmap(NULL, 2 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room != MAP_FAILED) {
            uint8_t *base = room + (BLOCK - (uintptr_t)room % BLOCK) % BLOCK;
            if (mmap(base, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == base) {
                base[0] = 1;
                result = madvise(base, BLOCK, MADV_COLLAPSE) == 0 ? 0 : errno;
            }
            (void)munmap(room, 2 * BLOCK);
        }
    }
    (void)close(fd);
    return result;
}

void ctl_check_huge(const struct ctl_subject *subject, struct ctl_check *check)
{
    uint64_t huge = (uint64_t)json_integer_value(json_object_get(subject->stats, "huge_bytes"));
    uint64_t reserved =
        (uint64_t)json_integer_value(json_object_get(subject->stats, "reserved_bytes"));
    char a[32], b[32];
    swi_size_format(huge, a, sizeof a);
    swi_size_format(reserved, b, sizeof b);
    int code = probe_collapse();
    if (code == 0 && reserved > 0 && huge < reserved / 2)
        ctl_check_set(check, CTL_CHECK_WARN,
                      "memory was fragmented when the broker started: restart it after "
                      "sysctl vm.compact_memory=1",
                      "MADV_COLLAPSE works now; %s of the broker's %s are in huge pages", a, b);
    else if (code == 0 && reserved > 0)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "MADV_COLLAPSE works; %s of %s are in huge pages",
                      a, b);
    else if (code == 0)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "MADV_COLLAPSE works on /dev/shm");
    else if (code == -1)
        ctl_check_set(check, CTL_CHECK_UNKNOWN, "free some space in /dev/shm",
                      "no memory in /dev/shm to try MADV_COLLAPSE with");
    else if (code == EINVAL)
        ctl_check_set(check, CTL_CHECK_WARN, "use Linux 6.1 or later with transparent huge pages",
                      "this kernel has no MADV_COLLAPSE: pages stay small");
    else
        ctl_check_set(check, CTL_CHECK_WARN, "sysctl vm.compact_memory=1, or free some memory",
                      "MADV_COLLAPSE: %s: pages stay small", strerror(code));
}

void ctl_check_memory(const struct ctl_subject *subject, struct ctl_check *check)
{
    char text[64], left[32], need[32];
    if (!read_field("/proc/meminfo", "MemAvailable", text, sizeof text)) {
        ctl_check_set(check, CTL_CHECK_UNKNOWN, NULL, "/proc/meminfo cannot be read");
        return;
    }
    uint64_t room = strtoull(text, NULL, 10) << 10;
    room += (uint64_t)json_integer_value(json_object_get(subject->stats, "reserved_bytes"));
    swi_size_format(room, left, sizeof left);
    swi_size_format(subject->cache_bytes, need, sizeof need);
    if (subject->cache_bytes > room)
        ctl_check_set(check, CTL_CHECK_FAIL, "use a smaller --cache-size, or add memory",
                      "%s available, the arena needs %s", left, need);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%s available", left);
}

void ctl_check_cgroup(const struct ctl_subject *subject, struct ctl_check *check)
{
    char path[64], text[4096] = "", where[256] = "", limit_text[32], need[32];
    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", (int)subject->pid);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        (void)fclose(file);
    text[size] = 0;
    if (size == 0) {
        ctl_check_set(check, CTL_CHECK_UNKNOWN, "run doctor as root", "cannot read %s", path);
        return;
    }
    uint64_t limit = cgroup_memory_limit(text, "/sys/fs/cgroup", where, sizeof where);
    swi_size_format(limit, limit_text, sizeof limit_text);
    swi_size_format(subject->cache_bytes, need, sizeof need);
    if (limit == UINT64_MAX)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "no memory limit");
    else if (subject->cache_bytes > 0 && limit < subject->cache_bytes + CGROUP_HEADROOM_BYTES)
        ctl_check_set(
            check, CTL_CHECK_FAIL,
            "raise MemoryMax= of its unit (docker: --memory): the arena and 64 MiB must fit",
            "%.160s is %s, the arena needs %s", where, limit_text, need);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%.200s is %s", where, limit_text);
}

/* The hard limit on a resource, of the broker or of this process; UINT64_MAX: none. False: it
 * cannot be read. */
static bool hard_limit(const struct ctl_subject *subject, const char *name, uint64_t *ret)
{
    char path[64], text[128], soft[32], hard[32];
    (void)snprintf(path, sizeof path, "/proc/%d/limits", (int)subject->pid);
    if (!read_field(path, name, text, sizeof text) || sscanf(text, "%31s %31s", soft, hard) != 2)
        return false;
    *ret = strcmp(hard, "unlimited") == 0 ? UINT64_MAX : strtoull(hard, NULL, 10);
    return true;
}

void ctl_check_files(const struct ctl_subject *subject, struct ctl_check *check)
{
    uint64_t limit;
    json_t *most = json_object_get(subject->stats, "sessions_max");
    uint64_t sessions = most ? (uint64_t)json_integer_value(most) : 256;
    uint64_t need = (sessions + 32) * 2 + 256;
    if (!hard_limit(subject, "Max open files", &limit))
        ctl_check_set(check, CTL_CHECK_UNKNOWN, "run doctor as root", "the limit cannot be read");
    else if (limit < need)
        ctl_check_set(check, CTL_CHECK_WARN,
                      "raise LimitNOFILE= of its unit, or lower --max-sessions",
                      "%llu, but %llu sessions can need %llu", (unsigned long long)limit,
                      (unsigned long long)sessions, (unsigned long long)need);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%llu, enough for %llu sessions",
                      (unsigned long long)limit, (unsigned long long)sessions);
}

void ctl_check_memlock(const struct ctl_subject *subject, struct ctl_check *check)
{
    uint64_t limit;
    char text[32];
    if (!hard_limit(subject, "Max locked memory", &limit)) {
        ctl_check_set(check, CTL_CHECK_UNKNOWN, "run doctor as root", "the limit cannot be read");
        return;
    }
    swi_size_format(limit, text, sizeof text);
    /* before 5.12 the rings of io_uring counted */
    if (!kernel_at_least(5, 12) && limit < (1u << 20))
        ctl_check_set(check, CTL_CHECK_WARN, "set LimitMEMLOCK=8M in its unit",
                      "%s, and this kernel counts io_uring's rings", text);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%s; the broker does not depend on it",
                      limit == UINT64_MAX ? "no limit" : text);
}

void ctl_check_processor(const struct ctl_subject *subject, struct ctl_check *check)
{
    (void)subject;
    const char *variable = getenv("SW_CPU") ? "SW_CPU" : "BLIS_ARCH_TYPE";
    const char *chosen = getenv(variable);
#if defined __x86_64__
    const char *isa = __builtin_cpu_supports("avx512f")                                 ? "AVX-512"
                      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "AVX2"
                                                                                        : NULL;
    if (chosen)
        ctl_check_set(check, CTL_CHECK_WARN, "unset it unless it is intended",
                      "%s, but %s=%.40s chooses other kernels",
                      isa ? isa : "neither AVX2 nor AVX-512", variable, chosen);
    else if (isa)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%s", isa);
    else
        ctl_check_set(check, CTL_CHECK_WARN, "a processor with AVX2 is several times faster",
                      "neither AVX2 nor AVX-512: workers use the kernels of BLIS");
#else
    ctl_check_set(check, chosen ? CTL_CHECK_WARN : CTL_CHECK_OK, NULL,
                  "workers use the kernels of BLIS for this processor");
#endif
}
