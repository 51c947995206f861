/* SPDX-License-Identifier: MIT */
/* open_beneath with openat2, and without it as in a container that forbids it: the same answers. */
#include "catalog/open_beneath.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/deny.h"
#include "support/support.h"

static const struct {
    const char *path;
    int result; /* 0: opens */
} cases[] = {
    {"file", 0},
    {"deep/er/file", 0},
    {"./deep//er/./file", 0},
    {"deep/../file", 0},
    {"deep/er/../../file", 0},
    {"deep/..", 0},
    {".", 0},
    {"link", 0},                 /* to file */
    {"deep/up", 0},              /* to ../file */
    {"folder/file", 0},          /* folder is a link to deep/er */
    {"folder/../file", -ENOENT}, /* which is deep/file */
    {"chain", 0},                /* to link */
    {"missing", -ENOENT},
    {"missing/file", -ENOENT},
    {"dangling", -ENOENT},
    {"file/more", -ENOTDIR},
    {"", -ENOENT},
    {"..", -EXDEV},
    {"../outside", -EXDEV},
    {"deep/../../outside", -EXDEV},
    {"/etc/passwd", -EXDEV},
    {"absolute", -EXDEV}, /* to /etc/passwd */
    {"out", -EXDEV},      /* to ../outside */
    {"deep/out", -EXDEV}, /* to ../../outside */
    {"loop", -ELOOP},
};

static int make_tree(void)
{
    sup_write_text(sup_path("outside"), "secret");
    sup_mkdir(sup_path("root"));
    sup_mkdir(sup_path("root/deep"));
    sup_mkdir(sup_path("root/deep/er"));
    sup_write_text(sup_path("root/file"), "top");
    sup_write_text(sup_path("root/deep/er/file"), "deep");
    static const char *const links[][2] = {
        {"file", "link"},      {"../file", "deep/up"},        {"deep/er", "folder"},
        {"link", "chain"},     {"nowhere", "dangling"},       {"/etc/passwd", "absolute"},
        {"../outside", "out"}, {"../../outside", "deep/out"}, {"loop", "loop"},
    };
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        cr_assert_eq(symlink(links[i][0], sup_path("root/%s", links[i][1])), 0);
    cr_assert_eq(mkfifo(sup_path("root/fifo"), 0600), 0);
    int root = open(sup_path("root"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(root, 0);
    return root;
}

static void check_all(int root, const char *how)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = open_beneath(root, cases[i].path, 0);
        cr_expect_eq(fd < 0 ? fd : 0, cases[i].result, "%s: \"%s\" gives %d", how, cases[i].path,
                     fd);
        if (fd >= 0)
            close(fd);
    }
    cr_expect_eq(open_beneath(root, "file", O_DIRECTORY), -ENOTDIR, "%s", how);
    int path_only = open_beneath(root, "file", O_PATH);
    cr_expect_geq(path_only, 0, "%s", how);
    close(path_only);
    char name[300];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    cr_expect_eq(open_beneath(root, name, 0), -ENAMETOOLONG, "%s", how);
    /* a regular file waits for its storage; a FIFO has nobody to wait for */
    int file = open_beneath(root, "file", 0), fifo = open_beneath(root, "fifo", 0);
    cr_expect_eq(fcntl(file, F_GETFL) & O_NONBLOCK, 0, "%s", how);
    cr_expect_eq(fcntl(fifo, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "%s", how);
    close(file);
    close(fifo);
}

static size_t open_descriptors(void)
{
    return sup_count_entries("/proc/self/fd");
}

Test(open_beneath, gives_the_same_answers_without_openat2, .timeout = 60)
{
    int root = make_tree();
    check_all(root, "openat2");
    cr_assert_eq(sup_deny(SYS_openat2, EPERM), 0);
    size_t before = open_descriptors();
    check_all(root, "by components");
    cr_expect_eq(open_descriptors(), before, "the walk leaves descriptors open");
}
