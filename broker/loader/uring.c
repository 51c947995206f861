/* SPDX-License-Identifier: MIT */
/* The loader's io_uring engine. It uses plain reads, because registered buffers would keep the
 * arena's blocks from becoming huge pages. The broker's loop polls the ring's descriptor.
 */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "loader/engine.h"

struct uring {
    struct io_uring ring;
    struct loader_reads unsubmitted; /* prepared, not yet seen by the kernel */
    struct loader_reads refused;     /* never passed to the kernel */
    int broken; /* -errno of a permanent refusal: the ring is not entered again */
};

/* Some sandboxes allow io_uring_setup and refuse io_uring_enter: tries one round trip. */
static int probe(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_nop(sqe);
    int result = io_uring_submit_and_wait(ring, 1);
    if (result < 0)
        return result;
    struct io_uring_cqe *cqe;
    result = io_uring_peek_cqe(ring, &cqe);
    if (result == 0)
        io_uring_cqe_seen(ring, cqe);
    return result;
}

static int uring_create(unsigned depth, void **ret, struct swi_error *error)
{
    struct uring *uring = calloc(1, sizeof *uring);
    if (!uring)
        return swi_fail(error, -ENOMEM, "out of memory");
    STAILQ_INIT(&uring->unsubmitted);
    STAILQ_INIT(&uring->refused);
    int result = io_uring_queue_init(depth, &uring->ring, 0);
    if (result == 0) {
        result = probe(&uring->ring);
        if (result < 0)
            io_uring_queue_exit(&uring->ring);
    }
    if (result < 0) {
        free(uring);
        return swi_fail(
            error, result,
            "io_uring is not available here: %s; allow it (sysctl kernel.io_uring_disabled, "
            "seccomp profile) or use --io-engine threads",
            strerror(-result));
    }
    (void)io_uring_ring_dontfork(&uring->ring);
    *ret = uring;
    return 0;
}

static void uring_destroy(void *engine)
{
    struct uring *uring = engine;
    io_uring_queue_exit(&uring->ring);
    free(uring);
}

static int uring_poll_fd(void *engine)
{
    struct uring *uring = engine;
    return uring->ring.ring_fd;
}

static void refuse(struct uring *uring, struct loader_read *read)
{
    read->result = uring->broken;
    STAILQ_INSERT_TAIL(&uring->refused, read, link);
}

static void uring_submit(void *engine, struct loader_read *read)
{
    struct uring *uring = engine;
    if (uring->broken) {
        refuse(uring, read);
        return;
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    assert(sqe && "the ring holds as many entries as there are slots");
    io_uring_prep_read(sqe, read->fd, read->buffer, read->length, read->offset);
    io_uring_sqe_set_data(sqe, read);
    STAILQ_INSERT_TAIL(&uring->unsubmitted, read, link);
}

static bool uring_flush(void *engine)
{
    struct uring *uring = engine;
    struct loader_read *read;
    while (!STAILQ_EMPTY(&uring->unsubmitted)) {
        int result = io_uring_submit(&uring->ring);
        if (result == -EINTR)
            continue;
        if (result == -EAGAIN || result == -EBUSY || result == 0)
            return true; /* the rest stays in the ring until the next flush */
        if (result < 0)
            uring->broken = result;
        for (int i = 0; (i < result || uring->broken) && !STAILQ_EMPTY(&uring->unsubmitted); i++) {
            read = STAILQ_FIRST(&uring->unsubmitted);
            STAILQ_REMOVE_HEAD(&uring->unsubmitted, link);
            if (uring->broken)
                refuse(uring, read);
        }
    }
    return !STAILQ_EMPTY(&uring->refused);
}

static void uring_reap(void *engine, struct loader_reads *completed, bool wait)
{
    struct uring *uring = engine;
    struct io_uring_cqe *cqe;
    if (wait && STAILQ_EMPTY(&uring->refused)) {
        int result;
        do {
            result = io_uring_wait_cqe(&uring->ring, &cqe);
        } while (result == -EINTR);
    }
    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
        struct loader_read *read = io_uring_cqe_get_data(cqe);
        read->result = cqe->res;
        io_uring_cqe_seen(&uring->ring, cqe);
        STAILQ_INSERT_TAIL(completed, read, link);
    }
    STAILQ_CONCAT(completed, &uring->refused);
}

const struct loader_engine_ops loader_uring_ops = {
    .name = "io_uring",
    .create = uring_create,
    .destroy = uring_destroy,
    .poll_fd = uring_poll_fd,
    .submit = uring_submit,
    .flush = uring_flush,
    .reap = uring_reap,
};
