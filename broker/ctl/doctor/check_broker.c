/* SPDX-License-Identifier: MIT */
/* Checks of the broker: its answers, its files, its socket. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/layout.h"
#include "ctl/doctor/check.h"

#define ENTRIES_MOST 4096u /* examined */

static uint64_t count(const struct ctl_subject *subject, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(subject->stats, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* Whether there is no broker to check; then fills the check. */
static bool absent(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (!subject->stats)
        ctl_check_set(check, CTL_CHECK_UNKNOWN, NULL, "no broker answers");
    return !subject->stats;
}

void ctl_check_answer(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (subject->stats)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "pid %d answers", (int)subject->pid);
    else
        ctl_check_set(check, CTL_CHECK_WARN, "start swbrokerd, or name its socket with --socket",
                      "%s", subject->why);
}

void ctl_check_release(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (absent(subject, check))
        return;
    const char *version = json_string_value(json_object_get(subject->stats, "version"));
    uint64_t hash = count(subject, "layout_hash");
    if (hash != SWI_LAYOUT_HASH)
        ctl_check_set(check, CTL_CHECK_FAIL,
                      "install the broker, the library and the tools from one release, and restart "
                      "the broker",
                      "the broker's shared memory has another layout (%08llx, here %08x)",
                      (unsigned long long)hash, SWI_LAYOUT_HASH);
    else if (!version || strcmp(version, SW_VERSION_STRING) != 0)
        ctl_check_set(check, CTL_CHECK_WARN, "restart the broker to update it",
                      "broker %.40s, swctl " SW_VERSION_STRING "; they are compatible",
                      version ? version : "?");
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "broker and swctl are %s, layout %08x", version,
                      SWI_LAYOUT_HASH);
}

void ctl_check_isolation(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (absent(subject, check))
        return;
    const char *isolation = json_string_value(json_object_get(subject->stats, "isolation"));
    if (subject->uid == 0)
        ctl_check_set(check, CTL_CHECK_WARN, "run the broker as a dedicated user, as its unit does",
                      "the broker runs as root");
    else if (!isolation || strcmp(isolation, "uid") != 0)
        ctl_check_set(
            check, CTL_CHECK_WARN,
            "run workers as other users without privileges: these could write the weights",
            "%.200s", isolation ? isolation : "?");
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "only the broker runs as uid %u", subject->uid);
}

void ctl_check_socket(const struct ctl_subject *subject, struct ctl_check *check)
{
    struct stat status, folder;
    char path[512];
    if (lstat(subject->socket_path, &status) < 0) {
        ctl_check_set(check, subject->stats ? CTL_CHECK_FAIL : CTL_CHECK_UNKNOWN, NULL,
                      "%.180s: %s", subject->socket_path, strerror(errno));
        return;
    }
    (void)snprintf(path, sizeof path, "%s", subject->socket_path);
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = 0;
    const struct group *group = getgrgid(status.st_gid);
    unsigned mode = status.st_mode & 07777;
    if (slash && stat(path, &folder) == 0 && (folder.st_mode & S_IWOTH) &&
        !(folder.st_mode & S_ISVTX))
        ctl_check_set(check, CTL_CHECK_FAIL,
                      "put the socket in a directory that only the broker can write",
                      "any user can replace it: %.150s is writable by all", path);
    else if (mode & S_IWOTH)
        ctl_check_set(check, CTL_CHECK_WARN, "--socket-mode 0660 and --socket-group",
                      "mode %04o: every user of this machine can connect", mode);
    else if (subject->stats && status.st_uid != subject->uid && status.st_uid != 0)
        ctl_check_set(check, CTL_CHECK_WARN, "let the broker or its socket unit create it",
                      "it belongs to uid %u, but the broker runs as uid %u", status.st_uid,
                      subject->uid);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "mode %04o, group %s", mode,
                      group ? group->gr_name : "without a name");
}

/* Who besides root and the broker's user can write a file or directory; NULL: nobody. */
static const char *writers(const struct stat *status, uid_t broker)
{
    if (status->st_mode & S_IWOTH)
        return "every user";
    if (status->st_uid != 0 && status->st_uid != broker)
        return "its owner, another user,";
    return status->st_mode & S_IWGRP && status->st_gid != 0 ? "its group" : NULL;
}

struct finding {
    const char *who;
    char path[200];
    bool everybody;
};

static void look(int folder, const char *name, const char *shown, uid_t broker,
                 struct finding *finding)
{
    struct stat status;
    if (finding->everybody || fstatat(folder, name, &status, 0) < 0)
        return;
    const char *who = writers(&status, broker);
    if (!who || (finding->who && !(status.st_mode & S_IWOTH)))
        return;
    finding->who = who;
    finding->everybody = status.st_mode & S_IWOTH;
    (void)snprintf(finding->path, sizeof finding->path, "%.*s", (int)sizeof finding->path - 1,
                   shown);
}

/* The entries of a directory, down to depth more levels. */
static void look_through(int at, const char *name, const char *shown, unsigned depth, uid_t broker,
                         unsigned *left, struct finding *finding)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    for (struct dirent *entry; *left > 0 && (entry = readdir(list));) {
        if (entry->d_name[0] == '.')
            continue;
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/%s", shown, entry->d_name);
        (*left)--;
        look(fd, entry->d_name, path, broker, finding);
        if (depth > 0 && entry->d_type != DT_REG)
            look_through(fd, entry->d_name, path, depth - 1, broker, left, finding);
    }
    (void)closedir(list);
}

void ctl_check_chunks(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (!subject->chunks_dir) {
        ctl_check_set(check, CTL_CHECK_UNKNOWN, "give it with --chunks-dir DIR",
                      "no directory to check");
        return;
    }
    if (access(subject->chunks_dir, R_OK | X_OK) < 0) {
        ctl_check_set(check, errno == EACCES && subject->stats ? CTL_CHECK_UNKNOWN : CTL_CHECK_FAIL,
                      errno == EACCES ? "run doctor as root or the broker's user" : NULL,
                      "%.180s: %s", subject->chunks_dir, strerror(errno));
        return;
    }
    struct finding finding = {.who = NULL};
    unsigned left = ENTRIES_MOST;
    look(AT_FDCWD, subject->chunks_dir, subject->chunks_dir, subject->uid, &finding);
    look_through(AT_FDCWD, subject->chunks_dir, subject->chunks_dir, 1, subject->uid, &left,
                 &finding);
    if (finding.who)
        ctl_check_set(check, finding.everybody ? CTL_CHECK_FAIL : CTL_CHECK_WARN,
                      "anyone who can write there controls the weights: chown root, chmod go-w",
                      "%s can write %.170s", finding.who, finding.path);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "only root and the broker's user can write %.160s",
                      subject->chunks_dir);
}

/* Opens a chunk file of the directory, or of a model in it, with O_DIRECT. Returns the descriptor,
 * -1 with errno, or -2 if there is no chunk file. */
static int open_chunk(int at, const char *name, unsigned depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    int found = -2;
    if (!list) {
        if (fd >= 0)
            (void)close(fd);
        return -2;
    }
    for (struct dirent *entry; found == -2 && (entry = readdir(list));) {
        const char *end = strrchr(entry->d_name, '.');
        if (entry->d_name[0] != '.' && end && strcmp(end, ".safetensors") == 0)
            found = openat(fd, entry->d_name, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
        else if (entry->d_name[0] != '.' && depth > 0)
            found = open_chunk(fd, entry->d_name, depth - 1);
    }
    int code = errno;
    (void)closedir(list);
    errno = code;
    return found;
}

void ctl_check_direct(const struct ctl_subject *subject, struct ctl_check *check)
{
    int fd = subject->chunks_dir ? open_chunk(AT_FDCWD, subject->chunks_dir, 1) : -2;
    if (fd == -2) {
        ctl_check_set(check, CTL_CHECK_UNKNOWN, NULL, "no chunk file to try it with");
        return;
    }
    void *page = aligned_alloc(4096, 4096);
    ssize_t size = fd >= 0 && page ? pread(fd, page, 4096, 0) : -1;
    int code = errno;
    free(page);
    if (fd >= 0)
        (void)close(fd);
    if (size > 0)
        ctl_check_set(check, CTL_CHECK_OK, NULL, "chunk files can be read without the page cache");
    else if (code == EACCES)
        ctl_check_set(check, CTL_CHECK_UNKNOWN, "run doctor as root or the broker's user", "%s",
                      strerror(code));
    else
        ctl_check_set(check, CTL_CHECK_WARN,
                      "keep chunks on ext4, xfs or btrfs; until then reads use the page cache",
                      "O_DIRECT: %s", strerror(code));
}

void ctl_check_catalog(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (absent(subject, check))
        return;
    uint64_t bad = count(subject, "models_bad"), all = count(subject, "models");
    if (bad)
        ctl_check_set(check, CTL_CHECK_WARN, "see swctl models for the reasons",
                      "%llu of %llu models cannot be served", (unsigned long long)bad,
                      (unsigned long long)all);
    else if (all == 0)
        ctl_check_set(check, CTL_CHECK_WARN, "swchunk import MODEL DIR/NAME", "no models");
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "%llu models, all usable",
                      (unsigned long long)all);
}

void ctl_check_damage(const struct ctl_subject *subject, struct ctl_check *check)
{
    if (absent(subject, check))
        return;
    uint64_t digests = count(subject, "digest_errors"), loads = count(subject, "load_errors");
    if (digests)
        ctl_check_set(check, CTL_CHECK_FAIL,
                      "find the chunk with swctl ls and check its file with swchunk verify; if the "
                      "files are intact, test the memory",
                      "%llu digest errors", (unsigned long long)digests);
    else if (loads)
        ctl_check_set(check, CTL_CHECK_WARN,
                      "see swctl ls and the broker's log for the chunks and the reasons",
                      "%llu loads failed", (unsigned long long)loads);
    else
        ctl_check_set(check, CTL_CHECK_OK, NULL, "no load failed, all digests matched");
}
