/* SPDX-License-Identifier: MIT */
/* The client page of one session.
 *
 * The memfd is sealed against resizing before anyone else gets it: a client that could shrink it could
 * kill the broker with SIGBUS. The set of seals is sealed too.
 */
#include "session/client_page.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/lease.h"
#include "core/memfd.h"

static int write_header(int fd)
{
    void *page = mmap(NULL, sizeof(struct swi_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    swi_page_init(page);
    (void)munmap(page, sizeof(struct swi_page));
    return 0;
}

int client_page_create(struct swi_page **ret_page, int *ret_fd, struct swi_error *error)
{
    int fd = swi_memfd_create("sw-page");
    void *page = MAP_FAILED;
    int result = fd < 0 ? fd : 0;
    if (result == 0 && ftruncate(fd, sizeof(struct swi_page)) < 0)
        result = -errno;
    if (result == 0)
        result = write_header(fd);
    if (result == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        result = -errno;
    if (result == 0) {
        page = mmap(NULL, sizeof(struct swi_page), PROT_READ, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED)
            result = -errno;
    }
    if (result < 0) {
        if (fd >= 0)
            close(fd);
        return swi_fail(error, result, "cannot create a client page: %s", sw_strerror(result));
    }
    *ret_page = page;
    *ret_fd = fd;
    return 0;
}

int client_page_adopt(int fd, struct swi_page **ret_page, struct swi_error *error)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & wanted) != wanted || fstat(fd, &status) < 0 ||
        status.st_size != (off_t)sizeof(struct swi_page))
        return swi_fail(error, SW_EVERSION, "its client page has another version");
    void *page = mmap(NULL, sizeof(struct swi_page), PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return swi_fail(error, -errno, "cannot map the client page: %s", sw_strerror(-errno));
    if (!swi_page_compatible(page)) {
        (void)munmap(page, sizeof(struct swi_page));
        return swi_fail(error, SW_EVERSION, "its client page is corrupt");
    }
    *ret_page = page;
    return 0;
}

void client_page_destroy(struct swi_page *page)
{
    if (page)
        (void)munmap(page, sizeof *page);
}
