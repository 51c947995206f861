/* SPDX-License-Identifier: MIT */
/* Programs on machines as people have them: filters of system calls, limits, closed descriptors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/deny.h"
#include "support/support.h"

static const char *make_catalog(void)
{
    const char *catalog = sup_path("models");
    sup_mkdir(catalog);
    (void)sup_synth(catalog, "m", NULL);
    return catalog;
}

/* A shell command that finds the programs by name. */
static struct sup_result shell(const char *command)
{
    return sup_run(
        SUP_ARGS("/bin/sh", "-c", sup_format("PATH=%s:$PATH; %s", SW_BUILD_DIR, command)));
}

Test(machines, no_openat2, .timeout = 60)
{
    const char *catalog = make_catalog();
    cr_assert_eq(sup_deny(SYS_openat2, EPERM), 0);
    struct sup_broker broker = sup_broker_start(catalog, "64M", NULL);
    sup_run_ok(SUP_ARGS("swctl", "warm", "m"));
    cr_expect_gt(sup_stat(&broker, "chunks_resident"), 0);
    cr_expect_eq(sup_stat(&broker, "load_errors"), 0);
    sup_broker_stop(&broker);
}

Test(machines, shm_no_memory, .timeout = 60)
{
    if (geteuid() != 0)
        cr_skip_test("needs root, for a mount of its own");
    const char *catalog = make_catalog();
    sup_mkdir(sup_path("disk"));
    struct sup_result run = shell(sup_format("exec unshare -m sh -c 'mount --bind %s /dev/shm || "
                                             "exit 77; exec swbrokerd --chunks-dir %s "
                                             "--cache-size 64M --socket %s'",
                                             sup_path("disk"), catalog, sup_path("s")));
    if (run.exit_code == 77)
        cr_skip_test("mounting is not allowed here");
    struct stat status;
    cr_assert_eq(stat(sup_path("disk"), &status), 0);
    cr_expect_eq(run.exit_code, 1, "%s", run.err);
    cr_expect(strstr(run.err, "/dev/shm is not in memory"), "%s", run.err);
    cr_expect(strstr(run.err, "mount -t tmpfs tmpfs /dev/shm"), "%s", run.err);
}

/* A file that reaches RLIMIT_FSIZE is an error of write, never a signal. */
Test(machines, file_size_limit, .timeout = 60)
{
    const char *catalog = make_catalog();
    struct sup_broker broker = sup_broker_start(catalog, "64M", NULL);
    struct sup_result run = shell(sup_format(
        "yes a | head -n 500 | (ulimit -f 1; exec swbert embed --model m --format npy >%s)",
        sup_path("vectors")));
    cr_expect_eq(run.exit_code, 1, "%d: %s", run.exit_code, run.err);
    cr_expect(strstr(run.err, "File too large"), "%s", run.err);
    run = shell(sup_format("(ulimit -f 0; exec swctl --json stats >%s)", sup_path("stats")));
    cr_expect_eq(run.exit_code, 1, "%d: %s", run.exit_code, run.err);
    sup_broker_stop(&broker);

    /* the log is a file that is full already, beside an arena that is no file */
    run = shell(
        sup_format("(ulimit -f 0; exec swbrokerd --chunks-dir %s --cache-size 16M --socket %s "
                   "2>%s & echo $!; for i in $(seq 100); do swctl --socket %s ping && break; "
                   "sleep 0.1; done; kill $!; wait $!)",
                   catalog, sup_path("limited"), sup_path("full-log"), sup_path("limited")));
    cr_expect_neq(run.exit_code, 128 + SIGXFSZ, "%s", run.err);
}

/* What a program was started without stays closed to it, and never becomes the broker's socket. */
Test(machines, closed_descriptors, .timeout = 60)
{
    const char *catalog = make_catalog();
    struct sup_broker broker = sup_broker_start(catalog, "64M", NULL);
    struct sup_result run = shell("exec swbert embed --model m <&-");
    cr_expect_eq(run.exit_code, 1);
    cr_expect(strstr(run.err, "Bad file descriptor"), "%s", run.err);
    run = shell("seq 300 | swbert embed --model m >&-");
    cr_expect_eq(run.exit_code, 1, "%s", run.err);
    run = shell("echo hi | swbert embed --model m --stats 2>&- >/dev/null");
    cr_expect_leq(run.exit_code, 1);
    run = shell("exec swctl stats >&-");
    cr_expect_eq(run.exit_code, 1, "%s", run.err);
    cr_expect_eq(sup_stat(&broker, "protocol_errors"), 0);
    sup_broker_stop(&broker);
}

/* Somebody listens on the path, and the descriptors went to the shell in between. */
Test(machines, activation_by_shell, .timeout = 60)
{
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, sup_path("s"), sizeof address.sun_path - 1);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 8), 0);
    const char *catalog = make_catalog();
    struct sup_result run =
        shell(sup_format("export LISTEN_FDS=1 LISTEN_PID=$$; swbrokerd --chunks-dir "
                         "%s --cache-size 16M --socket %s; exit $?",
                         catalog, sup_path("s")));
    cr_expect_eq(run.exit_code, 1);
    cr_expect(strstr(run.err, "start swbrokerd with exec"), "%s", run.err);
}
