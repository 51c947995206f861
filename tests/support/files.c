/* SPDX-License-Identifier: MIT */
/* Files and directories of tests. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keep.h"
#include "support.h"

void sup_mkdir(const char *path)
{
    cr_assert(mkdir(path, 0777) == 0 || errno == EEXIST, "mkdir %s: %m", path);
}

void sup_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    cr_assert_geq(fd, 0, "open %s: %m", path);
    for (size_t done = 0; done < size;) {
        ssize_t count = write(fd, (const char *)data + done, size - done);
        cr_assert_gt(count, 0, "write %s: %m", path);
        done += (size_t)count;
    }
    cr_assert_eq(close(fd), 0, "close %s: %m", path);
}

void sup_write_text(const char *path, const char *text)
{
    sup_write(path, text, strlen(text));
}

char *sup_read(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "open %s: %m", path);
    struct stat status;
    cr_assert_eq(fstat(fd, &status), 0);
    size_t size = (size_t)status.st_size;
    char *data = sup_keep(size);
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(fd, data + done, size - done);
        cr_assert_geq(count, 0, "read %s: %m", path);
        if (count == 0)
            break;
        done += (size_t)count;
    }
    close(fd);
    if (ret_size)
        *ret_size = done;
    return data;
}

bool sup_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

const char *sup_test_data(const char *name)
{
    const char *directory = getenv("SW_TEST_DATA");
    const char *path = sup_format("%s/%s", directory ? directory : SW_TEST_DATA_DEFAULT, name);
    if (!sup_exists(path))
        cr_skip_test("no %s in SW_TEST_DATA", name);
    return path;
}

void sup_copy_tree(const char *from, const char *to)
{
    (void)sup_run_ok(SUP_ARGS("/bin/cp", "-a", from, to));
}

size_t sup_count_entries(const char *path)
{
    DIR *directory = opendir(path);
    cr_assert_not_null(directory, "opendir %s: %m", path);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count;
}

void sup_private_dev_shm(const char *size)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, sup_format("size=%s", size)) < 0)
        cr_skip_test("cannot mount a private /dev/shm here: %m");
}
