/* SPDX-License-Identifier: MIT */
/* The memory limits of a process's control groups. */
#include "memory/cgroup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/size.h"

static bool read_limit(const char *path, uint64_t *ret)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    unsigned long long value;
    bool known = fscanf(file, "%llu", &value) == 1; /* "max" is not a number: no limit */
    (void)fclose(file);
    if (known)
        *ret = value;
    return known;
}

/* Lowers *least to the smallest limit of root/group and of every group above it. */
static void climb(const char *root, const char *group, const char *file, uint64_t *least,
                  char *path, size_t path_size)
{
    char at[1024];
    (void)snprintf(at, sizeof at, "%s", strcmp(group, "/") == 0 ? "" : group);
    for (;;) {
        char candidate[2048];
        (void)snprintf(candidate, sizeof candidate, "%s%s/%s", root, at, file);
        uint64_t limit;
        /* without a limit, cgroup v1 shows a huge number */
        if (read_limit(candidate, &limit) && limit < *least && limit < (UINT64_C(1) << 60)) {
            *least = limit;
            if (path)
                (void)snprintf(path, path_size, "%s", candidate);
        }
        char *slash = strrchr(at, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

uint64_t cgroup_memory_limit(const char *proc_cgroup, const char *sys_root, char *path,
                             size_t path_size)
{
    uint64_t least = UINT64_MAX;
    for (const char *line = proc_cgroup; *line;) {
        size_t length = strcspn(line, "\n");
        char text[1024];
        (void)snprintf(text, sizeof text, "%.*s", (int)length, line);
        line += length + (line[length] == '\n');
        /* HIERARCHY:CONTROLLERS:GROUP; the unified hierarchy is "0::GROUP" */
        char *controllers = strchr(text, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        char root[1024];
        if (strcmp(controllers + 1, "memory") == 0) {
            (void)snprintf(root, sizeof root, "%s/memory", sys_root);
            climb(root, group, "memory.limit_in_bytes", &least, path, path_size);
        } else if (controllers[1] == 0) {
            climb(sys_root, group, "memory.max", &least, path, path_size);
            climb(sys_root, group, "memory.high", &least, path, path_size);
        }
    }
    return least;
}

static uint64_t own_limit(char *path, size_t path_size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file)
        return UINT64_MAX;
    char text[8192];
    size_t length = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[length] = 0;
    return cgroup_memory_limit(text, "/sys/fs/cgroup", path, path_size);
}

int cgroup_check_memory(uint64_t goal_bytes, struct swi_error *error)
{
    char path[1100] = "", have_text[32], goal_text[32];
    uint64_t limit = own_limit(path, sizeof path);
    if (limit >= CGROUP_HEADROOM_BYTES && limit - CGROUP_HEADROOM_BYTES >= goal_bytes)
        return 0;
    swi_size_format(limit, have_text, sizeof have_text);
    swi_size_format(goal_bytes, goal_text, sizeof goal_text);
    return swi_fail(error, -ENOMEM,
                    "an arena of %s plus 64M do not fit the memory limit of %s in %.200s; lower "
                    "--cache-size or raise that limit (systemd: MemoryMax=, MemoryHigh=)",
                    goal_text, have_text, path);
}
