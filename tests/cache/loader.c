/* SPDX-License-Identifier: MIT */
/* The loader on both engines, and on one that injects faults. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loader/engine.h"
#include "loader/loader.h"

#define MIB UINT64_C(1048576)

static const enum loader_engine engines[] = {LOADER_URING, LOADER_THREADS};
#define EACH_ENGINE(i) for (unsigned i = 0; i < 2; i++)

/* ---- files and loads ------------------------------------------------------------------------- */

struct job {
    struct load load;
    bool done;
    uint64_t capacity;
    uint8_t *expected;
    char path[64];
};

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)((at / 509) * 31 + at);
}

static void done(struct load *load)
{
    struct job *job = load->context;
    cr_assert_not(job->done, "done came twice");
    cr_assert_eq(load->outstanding, 0, "a read was still under way");
    job->done = true;
}

/* A file of file_bytes, and a load of load_bytes of it, whose target ends at a guard page. */
static struct job *job_create(uint64_t file_bytes, uint64_t load_bytes)
{
    struct job *job = calloc(1, sizeof *job);
    strcpy(job->path, "/tmp/sw-loader-XXXXXX");
    int fd = mkostemp(job->path, O_CLOEXEC);
    cr_assert_geq(fd, 0);
    uint64_t most = file_bytes > load_bytes ? file_bytes : load_bytes;
    job->expected = malloc(most);
    for (uint64_t at = 0; at < most; at++)
        job->expected[at] = byte_at(at);
    for (uint64_t at = 0; at < file_bytes;) {
        ssize_t wrote = write(fd, job->expected + at, file_bytes - at);
        cr_assert_gt(wrote, 0);
        at += (uint64_t)wrote;
    }
    (void)close(fd);
    job->capacity = (load_bytes + 4095) / 4096 * 4096;
    uint8_t *target = mmap(NULL, job->capacity + 4096, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(target, MAP_FAILED);
    memset(target, 0xee, job->capacity);
    cr_assert_eq(mprotect(target + job->capacity, 4096, PROT_NONE), 0);
    job->load = (struct load){
        .fd = open(job->path, O_RDONLY | O_CLOEXEC),
        .target = target,
        .bytes = load_bytes,
        .digest = swi_digest_of(job->expected, load_bytes),
        .done = done,
        .context = job,
    };
    cr_assert_geq(job->load.fd, 0);
    return job;
}

static void job_destroy(struct job *job)
{
    (void)munmap(job->load.target, job->capacity + 4096);
    (void)unlink(job->path);
    free(job->expected);
    free(job);
}

static void check_bytes(const struct job *job)
{
    cr_assert_eq(job->load.status, 0, "%s", job->load.error.text);
    cr_assert_arr_eq(job->load.target, job->expected, job->load.bytes);
    for (uint64_t at = job->load.bytes; at < job->capacity; at++)
        cr_assert_eq(job->load.target[at], 0);
}

static void run_until_idle(struct loader *loader)
{
    while (loader_active(loader) > 0) {
        if (loader_turn(loader))
            continue;
        struct pollfd poll_fd = {.fd = loader_poll_fd(loader), .events = POLLIN};
        if (loader_active(loader) > 0)
            cr_assert_eq(poll(&poll_fd, 1, 20000), 1, "a read did not complete");
    }
}

static struct loader *create(enum loader_engine engine)
{
    struct loader *loader;
    struct swi_error error;
    cr_assert_eq(loader_create(engine, &loader, &error), 0, "%s", error.text);
    return loader;
}

/* One load from start to end. Returns its status. */
static int run_one(struct loader *loader, struct job *job)
{
    loader_start(loader, &job->load);
    run_until_idle(loader);
    cr_assert(job->done);
    return job->load.status;
}

/* ---- both engines ---------------------------------------------------------------------------- */

Test(loader, reads_any_length, .timeout = 60)
{
    static const uint64_t sizes[] = {1,       511,     4095,        4096,        4097,
                                     MIB - 1, MIB,     MIB + 1,     5 * MIB + 3, 40 * MIB + 5,
                                     2 * MIB, 4 * MIB, 16 * MIB + 1};
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct job *job = job_create(sizes[i], sizes[i]);
            cr_assert_eq(run_one(loader, job), 0, "%s", job->load.error.text);
            check_bytes(job);
            job_destroy(job);
        }
        loader_destroy(loader);
    }
}

Test(loader, engines_have_names, .timeout = 60)
{
    struct loader *loader = create(LOADER_URING);
    cr_assert_str_eq(loader_engine_name(loader), "io_uring");
    loader_destroy(loader);
    loader = create(LOADER_THREADS);
    cr_assert_str_eq(loader_engine_name(loader), "threads");
    loader_destroy(loader);
}

Test(loader, a_flipped_bit_is_found_anywhere, .timeout = 60)
{
    static const uint64_t places[] = {0, MIB - 1, MIB, 3 * MIB + 17, 5 * MIB + 2};
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
            struct job *job = job_create(5 * MIB + 3, 5 * MIB + 3);
            int fd = open(job->path, O_WRONLY);
            uint8_t wrong = job->expected[places[i]] ^ 4;
            cr_assert_eq(pwrite(fd, &wrong, 1, (off_t)places[i]), 1);
            (void)close(fd);
            cr_assert_eq(run_one(loader, job), SW_EDIGEST);
            cr_assert_not_null(strstr(job->load.error.text, "hash"), "%s", job->load.error.text);
            job_destroy(job);
        }
        loader_destroy(loader);
    }
}

Test(loader, a_file_truncated_after_the_check_is_an_error, .timeout = 60)
{
    static const uint64_t lengths[] = {0, 1, 4096, MIB, 2 * MIB + 5};
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            struct job *job = job_create(lengths[i], 3 * MIB);
            cr_assert_eq(run_one(loader, job), SW_ELOAD, "%s", job->load.error.text);
            cr_assert_not_null(strstr(job->load.error.text, "ends at byte"), "%s",
                               job->load.error.text);
            job_destroy(job);
        }
        loader_destroy(loader);
    }
}

Test(loader, a_file_that_grew_inside_its_last_page_is_an_error, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        struct job *job = job_create(MIB + 2000, MIB + 1000);
        int status = run_one(loader, job);
        /* read through the page cache, nothing past the wanted length is asked for */
        if (job->load.direct || status != 0)
            cr_assert_not_null(strstr(job->load.error.text, "grew"), "%s", job->load.error.text);
        else
            check_bytes(job);
        job_destroy(job);
        loader_destroy(loader);
    }
}

Test(loader, checks_type_and_length_of_the_file, .timeout = 60)
{
    struct load_identity identity;
    struct swi_error error;
    struct job *job = job_create(1000, 1000);
    cr_assert_eq(loader_check_file(job->load.fd, 1000, &identity, &error), 0);
    cr_assert_eq(identity.size, 1000);
    cr_assert_eq(loader_check_file(job->load.fd, 999, &identity, &error), SW_ELOAD);
    cr_assert_not_null(strstr(error.text, "has 1000 bytes"), "%s", error.text);
    cr_assert_eq(loader_check_file(job->load.fd, 1001, &identity, &error), SW_ELOAD);
    int directory = open("/tmp", O_RDONLY | O_DIRECTORY);
    cr_assert_eq(loader_check_file(directory, 4096, &identity, &error), SW_ELOAD);
    cr_assert_not_null(strstr(error.text, "regular"), "%s", error.text);
    (void)close(directory);
    (void)close(job->load.fd);
    job_destroy(job);
}

/* procfs refuses O_DIRECT when it is set. */
Test(loader, reads_through_the_page_cache_where_direct_reads_are_refused, .timeout = 60)
{
    char text[4096];
    int fd = open("/proc/version", O_RDONLY);
    ssize_t length = read(fd, text, sizeof text);
    (void)close(fd);
    cr_assert_gt(length, 0);
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        struct job *job = job_create((uint64_t)length, (uint64_t)length);
        (void)close(job->load.fd);
        job->load.fd = open("/proc/version", O_RDONLY);
        cr_assert_eq(fcntl(job->load.fd, F_SETFL, O_DIRECT), -1, "this kernel allows it");
        job->load.digest = swi_digest_of(text, (size_t)length);
        cr_assert_eq(run_one(loader, job), 0, "%s", job->load.error.text);
        cr_assert_arr_eq(job->load.target, text, (size_t)length);
        job_destroy(job);
        loader_destroy(loader);
    }
}

Test(loader, a_cancelled_load_is_done_once_its_reads_have_completed, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        struct job *job = job_create(20 * MIB, 20 * MIB);
        loader_start(loader, &job->load);
        (void)loader_turn(loader);
        loader_cancel(loader, &job->load);
        run_until_idle(loader);
        cr_assert(job->done);
        cr_assert_eq(job->load.status, -ECANCELED);
        job_destroy(job);
        loader_destroy(loader);
    }
}

Test(loader, destroying_waits_for_reads_under_way, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        struct job *jobs[6];
        for (unsigned i = 0; i < 6; i++) {
            jobs[i] = job_create(5 * MIB + i, 5 * MIB + i);
            loader_start(loader, &jobs[i]->load);
        }
        (void)loader_turn(loader);
        loader_destroy(loader);
        for (unsigned i = 0; i < 6; i++) {
            cr_assert(jobs[i]->done);
            cr_assert_eq(jobs[i]->load.status, -ECANCELED);
            job_destroy(jobs[i]);
        }
    }
}

Test(loader, many_loads_share_the_queue, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct loader *loader = create(engines[e]);
        struct job *jobs[24];
        for (unsigned i = 0; i < 24; i++) {
            jobs[i] = job_create(MIB * (i % 5) + 1 + i * 777, MIB * (i % 5) + 1 + i * 777);
            loader_start(loader, &jobs[i]->load);
        }
        run_until_idle(loader);
        for (unsigned i = 0; i < 24; i++) {
            check_bytes(jobs[i]);
            job_destroy(jobs[i]);
        }
        loader_destroy(loader);
    }
}

/* ---- an engine that injects faults ----------------------------------------------------------- */

enum fault {
    FAULT_NONE,
    FAULT_SHORT,
    FAULT_EINTR,
    FAULT_EAGAIN,
    FAULT_EINVAL_DIRECT,
    FAULT_EIO,
    FAULT_STALL
};

static struct script {
    enum fault fault;
    uint64_t at;    /* the fault affects reads at this offset or later */
    unsigned times; /* how often; UINT_MAX: always */
    unsigned submitted;
    uint64_t random;
    uint64_t order[256]; /* offsets in the order of submission */
    void *loads[256];
    struct loader_reads queue;
} script;

static int script_create(unsigned depth, void **ret, struct swi_error *error)
{
    (void)depth;
    (void)error;
    STAILQ_INIT(&script.queue);
    *ret = &script;
    return 0;
}

static void script_destroy(void *engine)
{
    (void)engine;
    cr_assert(STAILQ_EMPTY(&script.queue), "reads were left behind");
}

static int script_poll_fd(void *engine)
{
    (void)engine;
    return -1;
}

static void script_submit(void *engine, struct loader_read *read)
{
    (void)engine;
    if (script.submitted < 256) {
        script.order[script.submitted] = read->offset;
        script.loads[script.submitted] = read->load;
    }
    script.submitted++;
    STAILQ_INSERT_TAIL(&script.queue, read, link);
}

static bool script_flush(void *engine)
{
    (void)engine;
    return !STAILQ_EMPTY(&script.queue);
}

static int64_t perform(struct loader_read *read)
{
    uint32_t length = read->length;
    bool strike = script.times > 0 && read->offset >= script.at;
    if (strike && script.times != UINT_MAX)
        script.times--;
    bool direct = (fcntl(read->fd, F_GETFL) & O_DIRECT) != 0;
    if (strike && script.fault == FAULT_EINTR)
        return -EINTR;
    if (strike && script.fault == FAULT_EAGAIN)
        return -EAGAIN;
    if (strike && script.fault == FAULT_EIO)
        return -EIO;
    if (strike && script.fault == FAULT_EINVAL_DIRECT && direct)
        return -EINVAL;
    if (strike && script.fault == FAULT_SHORT) {
        script.random = script.random * 6364136223846793005u + 1442695040888963407u;
        length = 1 + (uint32_t)(script.random >> 33) % length;
    }
    int flags = fcntl(read->fd, F_GETFL);
    (void)fcntl(read->fd, F_SETFL, flags & ~O_DIRECT); /* so that any length can be returned */
    ssize_t got = pread(read->fd, read->buffer, length, (off_t)read->offset);
    (void)fcntl(read->fd, F_SETFL, flags);
    return got < 0 ? -errno : got;
}

static void script_reap(void *engine, struct loader_reads *completed, bool wait)
{
    (void)engine;
    if (script.fault == FAULT_STALL && !wait)
        return;
    struct loader_read *read;
    while ((read = STAILQ_FIRST(&script.queue))) {
        STAILQ_REMOVE_HEAD(&script.queue, link);
        read->result = perform(read);
        STAILQ_INSERT_HEAD(completed, read, link); /* youngest first: order must not matter */
    }
}

static const struct loader_engine_ops script_ops = {
    .name = "script",
    .create = script_create,
    .destroy = script_destroy,
    .poll_fd = script_poll_fd,
    .submit = script_submit,
    .flush = script_flush,
    .reap = script_reap,
};

static struct loader *create_scripted(enum fault fault, uint64_t at, unsigned times)
{
    script = (struct script){.fault = fault, .at = at, .times = times, .random = at + times};
    struct loader *loader;
    struct swi_error error;
    cr_assert_eq(loader_create_on(&script_ops, &loader, &error), 0);
    return loader;
}

static void turn_until_idle(struct loader *loader)
{
    for (unsigned turns = 0; loader_active(loader) > 0; turns++) {
        cr_assert_lt(turns, 1000000, "the loads never end");
        (void)loader_turn(loader);
    }
}

static int run_scripted(enum fault fault, uint64_t at, unsigned times, char *text)
{
    struct loader *loader = create_scripted(fault, at, times);
    struct job *job = job_create(5 * MIB + 1234, 5 * MIB + 1234);
    loader_start(loader, &job->load);
    turn_until_idle(loader);
    int status = job->load.status;
    if (status == 0)
        check_bytes(job);
    strcpy(text, job->load.error.text);
    loader_destroy(loader);
    job_destroy(job);
    return status;
}

Test(loader, short_reads_are_continued, .timeout = 60)
{
    char text[SWI_ERROR_TEXT];
    for (unsigned times = 1; times < 200; times += 13)
        cr_assert_eq(run_scripted(FAULT_SHORT, times * 1000, times, text), 0, "%s", text);
}

Test(loader, interrupted_reads_are_repeated_a_bounded_number_of_times, .timeout = 60)
{
    char text[SWI_ERROR_TEXT];
    cr_assert_eq(run_scripted(FAULT_EINTR, 0, 50, text), 0, "%s", text);
    cr_assert_eq(run_scripted(FAULT_EAGAIN, 2 * MIB, 7, text), 0, "%s", text);
    cr_assert_eq(run_scripted(FAULT_EAGAIN, 2 * MIB, UINT_MAX, text), SW_ELOAD);
    cr_assert_not_null(strstr(text, "unavailable"), "%s", text);
}

Test(loader, direct_reads_refused_at_read_time_are_repeated_through_the_page_cache, .timeout = 60)
{
    char text[SWI_ERROR_TEXT];
    cr_assert_eq(run_scripted(FAULT_EINVAL_DIRECT, 0, UINT_MAX, text), 0, "%s", text);
    cr_assert_eq(run_scripted(FAULT_EINVAL_DIRECT, 4 * MIB, UINT_MAX, text), 0, "%s", text);
}

Test(loader, an_io_error_names_its_offset, .timeout = 60)
{
    char text[SWI_ERROR_TEXT];
    cr_assert_eq(run_scripted(FAULT_EIO, 3 * MIB, UINT_MAX, text), SW_ELOAD);
    cr_assert_not_null(strstr(text, "Input/output error"), "%s", text);
    cr_assert_not_null(strstr(text, "at byte"), "%s", text);
}

Test(loader, destroying_reaps_the_reads_of_the_engine, .timeout = 60)
{
    struct loader *loader = create_scripted(FAULT_STALL, 0, 0);
    struct job *job = job_create(30 * MIB, 30 * MIB);
    loader_start(loader, &job->load);
    for (unsigned i = 0; i < 5; i++)
        (void)loader_turn(loader);
    cr_assert_eq(job->load.outstanding, LOADER_DEPTH);
    loader_cancel(loader, &job->load);
    (void)loader_turn(loader);
    cr_assert_not(job->done, "its range may still be written to");
    loader_destroy(loader);
    cr_assert(job->done);
    job_destroy(job);
}

Test(loader, urgent_loads_are_read_first, .timeout = 60)
{
    struct loader *loader = create_scripted(FAULT_NONE, 0, 0);
    struct job *guess = job_create(8 * MIB, 8 * MIB);
    struct job *heavy = job_create(3 * MIB, 3 * MIB);
    struct job *light = job_create(3 * MIB, 3 * MIB);
    guess->load.priority = 2;
    heavy->load.order = 5;
    loader_start(loader, &guess->load);
    loader_start(loader, &heavy->load);
    loader_start(loader, &light->load);
    turn_until_idle(loader);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(script.loads[i], &light->load);
        cr_assert_eq(script.loads[3 + i], &heavy->load);
        cr_assert_eq(script.loads[6 + i], &guess->load);
        cr_assert_eq(script.order[6 + i], i * MIB);
    }
    job_destroy(guess);
    job_destroy(heavy);
    job_destroy(light);
    loader_destroy(loader);
}

Test(loader, loads_take_turns_at_being_hashed_a_segment_at_a_time, .timeout = 60)
{
    struct loader *loader = create_scripted(FAULT_NONE, 0, 0);
    struct job *first = job_create(6 * MIB, 6 * MIB);
    struct job *second = job_create(6 * MIB, 6 * MIB);
    loader_start(loader, &first->load);
    loader_start(loader, &second->load);
    uint64_t before = 0;
    while (loader_active(loader) == 2) {
        (void)loader_turn(loader);
        if (loader_active(loader) < 2)
            break;
        uint64_t hashed = first->load.hashed + second->load.hashed;
        cr_assert_leq(hashed - before, LOADER_SEGMENT_BYTES, "too much in one turn");
        before = hashed;
        int64_t lead = (int64_t)first->load.hashed - (int64_t)second->load.hashed;
        cr_assert_leq(lead < 0 ? -lead : lead, LOADER_SEGMENT_BYTES, "one load got ahead");
    }
    turn_until_idle(loader);
    job_destroy(first);
    job_destroy(second);
    loader_destroy(loader);
}

/* ---- io_uring forbidden ---------------------------------------------------------------------- */

static void forbid(long call, int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        cr_skip_test("seccomp is not available here: %s", strerror(errno));
}

static void expect_threads_instead(void)
{
    struct loader *loader = NULL;
    struct swi_error error;
    cr_assert_lt(loader_create(LOADER_URING, &loader, &error), 0);
    cr_assert_not_null(strstr(error.text, "--io-engine threads"), "%s", error.text);
    loader = create(LOADER_AUTO);
    cr_assert_str_eq(loader_engine_name(loader), "threads");
    struct job *job = job_create(3 * MIB + 1, 3 * MIB + 1);
    cr_assert_eq(run_one(loader, job), 0);
    check_bytes(job);
    job_destroy(job);
    loader_destroy(loader);
}

Test(loader, falls_back_to_threads_where_io_uring_setup_is_refused, .timeout = 60)
{
    forbid(__NR_io_uring_setup, EPERM);
    expect_threads_instead();
}

Test(loader, falls_back_to_threads_where_the_kernel_has_no_io_uring, .timeout = 60)
{
    forbid(__NR_io_uring_setup, ENOSYS);
    expect_threads_instead();
}

Test(loader, falls_back_to_threads_where_only_io_uring_enter_is_refused, .timeout = 60)
{
    forbid(__NR_io_uring_enter, EPERM);
    expect_threads_instead();
}

Test(loader, reads_fail_when_io_uring_is_taken_away_later, .timeout = 60)
{
    struct loader *loader = create(LOADER_URING);
    struct job *job = job_create(3 * MIB, 3 * MIB);
    forbid(__NR_io_uring_enter, EPERM);
    cr_assert_eq(run_one(loader, job), SW_ELOAD);
    cr_assert_not_null(strstr(job->load.error.text, "not permitted"), "%s", job->load.error.text);
    job_destroy(job);
    loader_destroy(loader);
}
