/* SPDX-License-Identifier: MIT */
/* SW_AUTOSTART: a private broker for those who find none. Real brokers, real processes, real
 * deaths. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sw/client.h>

#include "support/support.h"

TestSuite(autostart, .timeout = 110);

#define RACERS  100
#define ENDS_MS 30000 /* two seconds, on a loaded machine */

/* ---- the world of a test --------------------------------------------------------------------- */

static const char *runtime(void)
{
    return sup_path("run");
}

/* A catalog with one model, a place for sockets, no broker anywhere. */
static void prepare(void)
{
    sup_mkdir(runtime());
    cr_assert_eq(chmod(runtime(), 0700), 0);
    sup_mkdir(sup_path("models"));
    (void)sup_synth(sup_path("models"), "toy", NULL);
    setenv("XDG_RUNTIME_DIR", runtime(), 1);
    setenv("SW_SOCKET", sup_path("nobody.sock"), 1);
    setenv("SW_AUTOSTART", "1", 1);
    setenv("SW_CHUNKS_DIR", sup_path("models"), 1);
    setenv("SW_CACHE_SIZE", "16M", 1);
    setenv("SW_BROKER", SW_BUILD_DIR "/swbrokerd", 1);
}

static char message[512];

static int try_open(sw_client **ret)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.error = message;
    options.error_size = sizeof message;
    options.timeout_ms = 60000;
    message[0] = 0;
    return sw_client_open(&options, ret);
}

static sw_client *open_one(void)
{
    sw_client *client = NULL;
    cr_assert_eq(try_open(&client), 0, "%s", message);
    return client;
}

static void expect_failure(int code, const char *part)
{
    sw_client *client = NULL;
    int result = try_open(&client);
    cr_expect_eq(result, code, "%d: %s", result, message);
    cr_expect_not_null(strstr(message, part), "\"%s\" should say %s", message, part);
    if (result == 0)
        sw_client_close(client);
}

/* 0 when a chunk can be leased and released. */
static int use(sw_client *client)
{
    sw_model *model;
    struct sw_lease lease;
    int result = sw_model_open(client, "toy", &model);
    if (result < 0)
        return result;
    result = sw_lease_acquire(model, 0, &lease);
    if (result == 0)
        result = sw_lease_release(&lease);
    sw_model_close(model);
    return result;
}

/* ---- brokers of this test, as /proc shows them ----------------------------------------------- */

/* Whether a process runs swbrokerd for a socket under this test's directory. */
static bool is_broker(const char *pid)
{
    char line[4096];
    FILE *file = fopen(sup_format("/proc/%s/cmdline", pid), "re");
    if (!file)
        return false;
    size_t size = fread(line, 1, sizeof line - 1, file);
    (void)fclose(file);
    line[size] = 0;
    if (!strstr(line, "swbrokerd"))
        return false;
    for (size_t i = 0; i < size; i += strlen(line + i) + 1)
        if (strcmp(line + i, "--socket") == 0 && i + 9 < size)
            return strncmp(line + i + 9, runtime(), strlen(runtime())) == 0;
    return false;
}

static int count_brokers(pid_t *ret_pid)
{
    DIR *processes = opendir("/proc");
    cr_assert_not_null(processes);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(processes));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !is_broker(entry->d_name))
            continue;
        count++;
        if (ret_pid)
            *ret_pid = atoi(entry->d_name);
    }
    closedir(processes);
    return count;
}

static pid_t the_broker(void)
{
    pid_t pid = 0;
    cr_assert_eq(count_brokers(&pid), 1);
    return pid;
}

static bool no_broker(void *context)
{
    (void)context;
    return count_brokers(NULL) == 0;
}

/* ... and socket and lock file are gone with it. */
static void expect_end(void)
{
    cr_expect(sup_until(no_broker, NULL, ENDS_MS), "the broker goes on");
    cr_expect_eq(sup_count_entries(sup_format("%s/swbroker", runtime())), 0, "it left files");
}

static int64_t stat_of(sw_client *client, const char *key)
{
    char path[256];
    cr_assert_eq(sw_client_socket_path(client, path, sizeof path), 0);
    struct sup_broker broker = {.socket = path};
    return sup_stat(&broker, key);
}

/* ---- starting and ending --------------------------------------------------------------------- */

Test(autostart, a_private_broker_serves_and_ends_after_its_last_client)
{
    prepare();
    sw_client *first = open_one();
    sw_client *second = open_one();
    pid_t broker = the_broker();
    char path[256], short_path[4];
    cr_expect_eq(sw_client_socket_path(first, path, sizeof path), 0);
    cr_expect_eq(sw_client_socket_path(first, short_path, sizeof short_path), -ERANGE);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "%s: %m", path);
    cr_expect_eq(status.st_mode & 0777, 0600);
    cr_expect_eq(stat(sup_format("%s/swbroker", runtime()), &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0700);
    cr_expect_eq(stat_of(first, "arena_bytes"), 16 << 20);
    cr_expect_eq(use(first), 0);
    sw_client_close(first);
    sup_sleep_ms(4000); /* longer than it stays without any */
    cr_expect_eq(the_broker(), broker, "it ended under a client");
    cr_expect_eq(use(second), 0);
    sw_client_close(second);
    expect_end();
}

Test(autostart, nothing_is_started_where_a_broker_answers)
{
    prepare();
    struct sup_broker broker = sup_broker_start(sup_path("models"), "16M", NULL);
    sw_client *client = open_one();
    char path[256];
    cr_expect_eq(sw_client_socket_path(client, path, sizeof path), 0);
    cr_expect_str_eq(path, broker.socket);
    cr_expect_eq(count_brokers(NULL), 0);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

Test(autostart, options_win_over_the_environment)
{
    prepare();
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    sw_client *client = NULL;
    options.autostart = -1;
    cr_expect_eq(sw_client_open(&options, &client), -ENOENT);
    setenv("SW_AUTOSTART", "0", 1);
    options.autostart = 0;
    cr_expect_eq(sw_client_open(&options, &client), -ENOENT);
    cr_expect_eq(count_brokers(NULL), 0);
    setenv("SW_CHUNKS_DIR", "/nowhere", 1);
    setenv("SW_CACHE_SIZE", "nothing", 1);
    setenv("SW_BROKER", "/nowhere/swbrokerd", 1);
    options.autostart = 1;
    options.chunks_dir = sup_path("models");
    options.cache_size = "8M";
    options.broker_path = SW_BUILD_DIR "/swbrokerd";
    options.error = message;
    options.error_size = sizeof message;
    cr_assert_eq(sw_client_open(&options, &client), 0, "%s", message);
    cr_expect_eq(stat_of(client, "arena_bytes"), 8 << 20);
    sw_client_close(client);
    setenv("SW_AUTOSTART", "yes", 1);
    expect_failure(-EINVAL, "SW_AUTOSTART");
    expect_end();
}

Test(autostart, other_models_are_another_broker)
{
    prepare();
    sup_copy_tree(sup_path("models"), sup_path("others"));
    sw_client *one = open_one();
    setenv("SW_CHUNKS_DIR", sup_path("models/../models"), 1); /* the same place by another name */
    sw_client *same = open_one();
    cr_expect_eq(count_brokers(NULL), 1);
    setenv("SW_CHUNKS_DIR", sup_path("others"), 1);
    sw_client *other = open_one();
    cr_expect_eq(count_brokers(NULL), 2);
    sw_client_close(one);
    sw_client_close(same);
    sw_client_close(other);
    expect_end();
}

/* ---- races ----------------------------------------------------------------------------------- */

/* Opens when start is closed, uses it, says so, and stays until stop is closed. */
static void racer(int start, int ready, int stop)
{
    char byte;
    sw_client *client;
    (void)!read(start, &byte, 1);
    if (try_open(&client) < 0 || use(client) < 0) {
        (void)fprintf(stderr, "a racer: %s\n", message);
        _exit(1);
    }
    (void)!write(ready, "", 1);
    (void)!read(stop, &byte, 1);
    sw_client_close(client);
    _exit(0);
}

static void race(int count)
{
    int start[2], ready[2], stop[2];
    cr_assert(pipe(start) == 0 && pipe(ready) == 0 && pipe(stop) == 0, "pipe: %m");
    pid_t children[RACERS];
    for (int i = 0; i < count; i++) {
        children[i] = fork();
        cr_assert_geq(children[i], 0, "fork: %m");
        if (children[i] == 0) {
            close(start[1]);
            close(ready[0]);
            close(stop[1]);
            racer(start[0], ready[1], stop[0]);
        }
    }
    close(ready[1]);
    close(start[1]); /* now */
    char byte;
    int arrived = 0;
    for (ssize_t got; arrived < count && (got = read(ready[0], &byte, 1)) != 0;)
        arrived += got == 1;
    cr_expect_eq(arrived, count, "%d of %d got a session", arrived, count);
    cr_expect_eq(count_brokers(NULL), 1);
    sw_client *client = open_one();
    cr_expect_eq(stat_of(client, "clients"), count + 1, "all on the same one");
    sw_client_close(client);
    close(stop[1]);
    for (int i = 0; i < count; i++)
        cr_expect_eq(sup_wait(children[i], 60000), 0);
    close(start[0]);
    close(ready[0]);
    close(stop[0]);
}

Test(autostart, two_processes_racing_get_one_broker)
{
    prepare();
    for (int round = 0; round < 3; round++) {
        race(2);
        expect_end();
    }
}

Test(autostart, a_hundred_processes_racing_get_one_broker)
{
    prepare();
    race(RACERS);
    expect_end();
}

/* Comes back at times around that at which the broker goes. */
static void comer_and_goer(unsigned seed)
{
    for (int i = 0; i < 5; i++) {
        sw_client *client;
        if (try_open(&client) < 0 || use(client) < 0) {
            (void)fprintf(stderr, "comer and goer: %s\n", message);
            _exit(1);
        }
        sw_client_close(client);
        sup_sleep_ms(1900 + rand_r(&seed) % 700); /* two seconds, seen twice a second */
    }
    _exit(0);
}

Test(autostart, a_broker_that_ends_turns_nobody_away)
{
    prepare();
    pid_t children[4];
    for (unsigned i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0)
            comer_and_goer(i + 1);
    }
    for (int i = 0; i < 4; i++)
        cr_expect_eq(sup_wait(children[i], 80000), 0);
    expect_end();
}

/* ---- deaths ---------------------------------------------------------------------------------- */

Test(autostart, a_client_that_is_killed_does_not_keep_it_alive)
{
    prepare();
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        sw_client *client;
        if (try_open(&client) == 0 && use(client) == 0)
            (void)!write(ready[1], "", 1);
        for (;;)
            pause();
    }
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    (void)the_broker();
    kill(child, SIGKILL);
    cr_expect_eq(sup_wait(child, 10000), 128 + SIGKILL);
    expect_end();
}

static bool is_dead(void *context)
{
    const pid_t *pid = context;
    return kill(*pid, 0) < 0 || !is_broker(sup_format("%d", (int)*pid));
}

static void kill_broker(pid_t pid)
{
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert(sup_until(is_dead, &pid, 10000));
}

Test(autostart, what_a_killed_broker_left_is_replaced)
{
    prepare();
    sw_client *client = open_one();
    sw_client_close(client);
    pid_t old = the_broker();
    kill_broker(old);
    cr_expect_eq(sup_count_entries(sup_format("%s/swbroker", runtime())), 2, "socket and lock");
    client = open_one();
    cr_expect_neq(the_broker(), old);
    cr_expect_eq(use(client), 0);
    sw_client_close(client);
    expect_end();
}

Test(autostart, a_client_whose_broker_was_killed_starts_the_next)
{
    prepare();
    sw_client *client = open_one();
    cr_expect_eq(use(client), 0);
    pid_t old = the_broker();
    kill_broker(old);
    cr_expect_eq(use(client), 0);
    cr_expect_neq(the_broker(), old);
    sw_client_close(client);
    expect_end();
}

Test(autostart, a_forked_child_finds_the_same_one)
{
    prepare();
    sw_client *client = open_one();
    pid_t child = fork();
    if (child == 0)
        _exit(use(client) == 0 && stat_of(client, "clients") == 2 ? 0 : 1);
    cr_expect_eq(sup_wait(child, 60000), 0);
    cr_expect_eq(count_brokers(NULL), 1);
    sw_client_close(client);
    expect_end();
}

/* ---- the host notices nothing ---------------------------------------------------------------- */

static volatile sig_atomic_t child_signals;

static void count_signal(int number)
{
    (void)number;
    child_signals++;
}

/* Whether a process has this file open. */
static bool has_open(pid_t pid, const char *path)
{
    const char *directory = sup_format("/proc/%d/fd", (int)pid);
    DIR *descriptors = opendir(directory);
    cr_assert_not_null(descriptors);
    bool found = false;
    for (struct dirent *entry; (entry = readdir(descriptors));) {
        char target[4096];
        ssize_t size =
            readlink(sup_format("%s/%s", directory, entry->d_name), target, sizeof target - 1);
        if (size > 0) {
            target[size] = 0;
            found = found || strcmp(target, path) == 0;
        }
    }
    closedir(descriptors);
    return found;
}

static pid_t parent_of(pid_t pid)
{
    const char *status = sup_read(sup_format("/proc/%d/status", (int)pid), NULL);
    const char *line = strstr(status, "PPid:");
    return line ? atoi(line + 5) : -1;
}

Test(autostart, the_host_process_notices_nothing)
{
    prepare();
    sup_write_text(sup_path("marker"), "inherited descriptors lead here");
    int marker = open(sup_path("marker"), O_RDONLY); /* not close-on-exec */
    cr_assert_geq(marker, 0);
    (void)signal(SIGCHLD, count_signal);
    sigset_t mask, after;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    setenv("NOTIFY_SOCKET", sup_path("notify"), 1); /* the host's manager is not the broker's */
    sw_client *client = open_one();
    cr_expect_eq(child_signals, 0, "SIGCHLD was raised");
    cr_expect_leq(waitpid(-1, NULL, WNOHANG), 0, "there is a child that has ended");
    (void)sigprocmask(SIG_SETMASK, NULL, &after);
    cr_expect(sigismember(&after, SIGUSR2) && !sigismember(&after, SIGTERM));
    pid_t broker = the_broker();
    cr_expect_eq(getsid(broker), broker, "a session of its own");
    cr_expect_neq(parent_of(broker), getpid(), "it is a child of this process");
    cr_expect(!has_open(broker, sup_path("marker")), "it inherited a descriptor");
    char directory[16] = "";
    cr_expect_eq(readlink(sup_format("/proc/%d/cwd", (int)broker), directory, 15), 1);
    cr_expect_str_eq(directory, "/");
    sw_client_close(client);
    expect_end(); /* SIGUSR2 and SIGCHLD as they are: the broker has its own */
    cr_expect_eq(child_signals, 0);
    cr_expect_leq(waitpid(-1, NULL, WNOHANG), 0, "it is a zombie of this process");
    close(marker);
}

/* In a child: a host that has closed its standard streams. */
Test(autostart, a_host_without_standard_streams_can_start_one)
{
    prepare();
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        sw_client *client;
        if (try_open(&client) < 0)
            _exit(1);
        _exit(use(client) == 0 ? 0 : 2);
    }
    cr_expect_eq(sup_wait(child, 60000), 0);
    expect_end();
}

/* ---- failures -------------------------------------------------------------------------------- */

Test(autostart, says_what_kept_the_broker_from_starting)
{
    prepare();
    const char *file = sup_path("a-file");
    sup_write_text(file, "no directory");
    setenv("SW_CHUNKS_DIR", file, 1);
    expect_failure(-ECONNREFUSED, "swbrokerd: ");
    cr_expect_not_null(strstr(message, file), "%s", message);
    cr_expect_not_null(strstr(message, "SW_CHUNKS_DIR"), "%s", message);
    setenv("SW_CHUNKS_DIR", sup_path("nowhere"), 1);
    expect_failure(-ENOENT, "nowhere");
    unsetenv("SW_CHUNKS_DIR");
    expect_failure(-EINVAL, "SW_CHUNKS_DIR");
    setenv("SW_CHUNKS_DIR", sup_path("models"), 1);
    setenv("SW_CACHE_SIZE", "plenty", 1);
    expect_failure(-ECONNREFUSED, "--cache-size");
    expect_end(); /* no lock file stays */
}

Test(autostart, says_where_the_program_should_be)
{
    prepare();
    setenv("SW_BROKER", sup_path("nowhere/swbrokerd"), 1);
    expect_failure(-ENOENT, "nowhere/swbrokerd");
    setenv("SW_BROKER", "swbrokerd", 1);
    expect_failure(-EINVAL, "absolute");
    setenv("SW_BROKER", "/", 1);
    expect_failure(-ENOENT, "SW_BROKER");
    setenv("SW_BROKER", "/bin/true", 1);
    expect_failure(-ECONNREFUSED, "nothing");
    sup_write_text(sup_path("chatty"), "#!/bin/sh\nseq 100000 >&2\nprintf 'the last\\n\\n' >&2\n");
    cr_assert_eq(chmod(sup_path("chatty"), 0755), 0);
    setenv("SW_BROKER", sup_path("chatty"), 1);
    expect_failure(-ECONNREFUSED, "its last line: the last;");
    unsetenv("SW_BROKER"); /* then $PATH counts, its relative parts apart */
    cr_assert_eq(chdir(SW_BUILD_DIR), 0);
    setenv("PATH", ".:", 1);
    sup_mkdir(sup_path("bin"));
    const char *worker = sup_path("bin/swbert"); /* has no broker beside it */
    (void)sup_run_ok(SUP_ARGS("/bin/cp", SW_BUILD_DIR "/swbert", worker));
    struct sup_result result = sup_run(SUP_ARGS(worker, "tokenize", "--model", "toy"));
    cr_expect_eq(result.exit_code, access("/usr/local/sbin/swbrokerd", F_OK) < 0 ? 1 : 0);
    if (result.exit_code == 1)
        cr_expect_not_null(strstr(result.err, "in $PATH"), "%s", result.err);
    setenv("PATH", "relative:" SW_BUILD_DIR, 1);
    sw_client *client = open_one();
    sw_client_close(client);
    expect_end();
}

Test(autostart, finds_the_program_beside_the_caller_and_in_sbin)
{
    prepare();
    unsetenv("SW_BROKER");
    setenv("PATH", "/nowhere", 1);
    sw_client *client = open_one(); /* this test is beside it */
    sw_client_close(client);
    expect_end();
    sup_mkdir(sup_path("bin"));
    sup_mkdir(sup_path("sbin"));
    (void)sup_run_ok(SUP_ARGS("/bin/cp", SW_BUILD_DIR "/swbert", sup_path("bin/swbert")));
    cr_assert_eq(symlink(SW_BUILD_DIR "/swbrokerd", sup_path("sbin/swbrokerd")), 0);
    (void)sup_run_ok(SUP_ARGS(sup_path("bin/swbert"), "tokenize", "--model", "toy"));
    expect_end();
}

Test(autostart, its_cache_fits_the_models_unless_a_size_is_given)
{
    prepare();
    unsetenv("SW_CACHE_SIZE");
    (void)sup_run_ok(
        SUP_ARGS("swchunk", "synth", "bert-tiny", sup_path("models/wide"), "--hidden", "256"));
    sw_client *client = open_one();
    json_t *stats = json_loads(sup_run_ok(SUP_ARGS("swctl", "--json", "stats")), 0, NULL);
    json_int_t bytes = json_integer_value(json_object_get(stats, "arena_bytes"));
    cr_expect(bytes > 20 << 20 && bytes < 100 << 20, "%lld", (long long)bytes);
    json_decref(stats);
    sw_client_close(client);
    expect_end();
}

Test(autostart, swctl_finds_the_private_broker)
{
    prepare();
    cr_expect_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 3);
    sw_client *client = open_one();
    cr_expect_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "models", "--names")), "toy"));
    cr_expect_eq(sup_run(SUP_ARGS("swctl", "--socket", sup_path("nobody.sock"), "ping")).exit_code,
                 3, "a given socket is the only one");
    setenv("SW_AUTOSTART", "0", 1);
    cr_expect_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 3);
    setenv("SW_AUTOSTART", "1", 1);
    sup_mkdir(sup_path("others"));
    struct sup_broker usual = sup_broker_start(sup_path("others"), "16", NULL);
    cr_expect_str_eq(sup_run_ok(SUP_ARGS("swctl", "models", "--names")), "");
    cr_expect_eq(sup_broker_stop(&usual), 0);
    sw_client_close(client);
    expect_end();
}

Test(autostart, a_program_that_does_not_get_ready_meets_the_deadline)
{
    prepare();
    sup_write_text(sup_path("slow"), "#!/bin/sh\necho still thinking >&2\nsleep 5\n");
    cr_assert_eq(chmod(sup_path("slow"), 0755), 0);
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.broker_path = sup_path("slow");
    options.timeout_ms = 300;
    options.error = message;
    options.error_size = sizeof message;
    sw_client *client = NULL;
    cr_expect_eq(sw_client_open(&options, &client), -ETIMEDOUT, "%s", message);
    cr_expect_not_null(strstr(message, "still thinking"), "%s", message);
}

struct called_off {
    sw_model *model;
    int32_t word;
    int result;
};

static void *lease_until_called_off(void *argument)
{
    struct called_off *call = argument;
    struct sw_lease lease;
    struct sw_wait wait = SW_INIT(struct sw_wait);
    wait.timeout_ms = -1;
    wait.cancelled = &call->word;
    call->result = sw_lease_acquire_within(call->model, 0, &wait, &lease);
    return NULL;
}

/* The client's own deadline is a minute away, and this wait has none. */
static void expect_called_off(sw_model *model)
{
    struct called_off call = {.model = model, .result = 1};
    pthread_t thread;
    struct timespec until;
    cr_assert_eq(pthread_create(&thread, NULL, lease_until_called_off, &call), 0);
    sup_sleep_ms(200);
    __atomic_store_n(&call.word, 1, __ATOMIC_RELAXED);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    cr_assert_eq(pthread_timedjoin_np(thread, NULL, &until), 0, "it waits on");
    cr_expect_eq(call.result, -ECANCELED, "%d", call.result);
}

Test(autostart, a_wait_for_the_next_broker_is_called_off)
{
    prepare();
    sup_write_text(sup_path("program"), "#!/bin/sh\n[ -e \"$0.slow\" ] && exec sleep 40\n"
                                        "exec " SW_BUILD_DIR "/swbrokerd \"$@\"\n");
    cr_assert_eq(chmod(sup_path("program"), 0755), 0);
    setenv("SW_BROKER", sup_path("program"), 1);
    sw_client *client = open_one();
    sw_model *model;
    char path[256];
    cr_assert_eq(sw_model_open(client, "toy", &model), 0);
    cr_assert_eq(sw_client_socket_path(client, path, sizeof path), 0);
    kill_broker(the_broker());
    sup_write_text(sup_path("program.slow"), "");
    expect_called_off(model); /* of a program that does not get ready */
    const char *lock = sup_format("%s.lock", path);
    int held = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(held >= 0 && flock(held, LOCK_EX) == 0);
    expect_called_off(model); /* of somebody else who starts it */
    close(held);
    unlink(lock);
    sw_model_close(model);
    sw_client_close(client);
}

Test(autostart, trusts_no_directory_that_others_can_write)
{
    prepare();
    const char *place = sup_format("%s/swbroker", runtime());
    sup_mkdir(place);
    cr_assert_eq(chmod(place, 0770), 0);
    expect_failure(SW_EUNTRUSTED, place);
    sup_remove_tree(place);
    sup_write_text(place, "");
    expect_failure(SW_EUNTRUSTED, place);
    cr_assert_eq(unlink(place), 0);
    sup_mkdir(sup_path("elsewhere"));
    cr_assert_eq(chmod(sup_path("elsewhere"), 0700), 0);
    cr_assert_eq(symlink(sup_path("elsewhere"), place), 0);
    expect_failure(SW_EUNTRUSTED, place);
    cr_expect_eq(count_brokers(NULL), 0);
}

/* In a child without root's rights. */
Test(autostart, says_that_a_directory_cannot_be_written)
{
    prepare();
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (chown(runtime(), 65534, 65534) < 0 || chmod(sup_dir(), 0755) < 0 ||
                               setgid(65534) < 0 || setuid(65534) < 0))
            _exit(2);
        sw_client *client;
        bool said = chmod(runtime(), 0500) == 0 && try_open(&client) == -EACCES &&
                    strstr(message, "XDG_RUNTIME_DIR") && strstr(message, runtime());
        if (!said)
            (void)fprintf(stderr, "%s\n", message);
        _exit(said ? 0 : 1);
    }
    cr_expect_eq(sup_wait(child, 60000), 0);
    cr_expect_eq(count_brokers(NULL), 0);
}
