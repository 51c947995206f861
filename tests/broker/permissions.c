/* SPDX-License-Identifier: MIT */
/* Who may do what: a broker under a user of its own, and clients under others, inside and outside
 * of the socket's group and the admin group. Only root can become other users.
 *
 * The users and groups are numbers that nobody has: the kernel asks for no names. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/raw.h"

TestSuite(permissions, .timeout = 120);

enum { BROKER_USER = 61001, CLIENT_USER = 61002, CLIENTS = 61010, ADMINS = 61011, OTHERS = 61012 };

static struct sup_broker broker;

static const char *number(int value)
{
    return sup_format("%d", value);
}

/* Runs swctl as the client user; groups: its supplementary ones, separated by commas. */
static struct sup_result swctl_as(int group, const char *groups, const char *const words[])
{
    const char *argv[16] = {"/usr/bin/setpriv",
                            "--reuid",
                            number(CLIENT_USER),
                            "--regid",
                            number(group),
                            "--groups",
                            groups,
                            NULL};
    size_t count = 7;
    argv[count++] = sup_format("%s/swctl", SW_BUILD_DIR);
    for (size_t i = 0; words[i]; i++)
        argv[count++] = words[i];
    argv[count] = NULL;
    return sup_run(argv);
}

static void expect_exit(int group, const char *groups, const char *const words[], int code)
{
    struct sup_result result = swctl_as(group, groups, words);
    cr_assert_eq(result.exit_code, code, "groups %d, %s: swctl %s: exit %d: %s", group, groups,
                 words[0], result.exit_code, result.err);
}

static void start(const char *config)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become other users\n");
    if (access("/usr/bin/setpriv", X_OK) != 0)
        cr_skip_test("needs setpriv\n");
    const char *models = sup_path("models"), *run = sup_path("run");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    sup_mkdir(run);
    cr_assert_eq(chown(run, BROKER_USER, BROKER_USER), 0);
    cr_assert_eq(chmod(run, 0755), 0);
    cr_assert_eq(chmod(sup_dir(), 0755), 0);
    sup_write_text(sup_path("conf"), config);
    broker = (struct sup_broker){.socket = sup_path("run/s"), .log = sup_path("log")};
    cr_assert_eq(setenv("SW_SOCKET", broker.socket, 1), 0);
    /* the user may give its socket to groups that it is in; setting the signal again, because a
     * change of user forgets it */
    broker.pid = sup_spawn(SUP_ARGS("/usr/bin/setpriv", "--reuid", number(BROKER_USER), "--regid",
                                    number(BROKER_USER), "--groups",
                                    sup_format("%d,%d", CLIENTS, OTHERS), "--pdeathsig", "KILL",
                                    sup_format("%s/swbrokerd", SW_BUILD_DIR), "--chunks-dir",
                                    models, "--cache-size", "16", "--config", sup_path("conf")),
                           NULL, broker.log);
    for (int i = 0; i < 2000 && sup_run(SUP_ARGS("swctl", "ping")).exit_code != 0; i++) {
        cr_assert_eq(sup_wait(broker.pid, 0), -1, "%s", sup_read(broker.log, NULL));
        sup_sleep_ms(10);
    }
}

#define WITH_GROUPS "[socket]\nsocket-group = 61010\nadmin-group = 61011\n"

static const char *const *const reading[] = {
    SUP_ARGS("ping"), SUP_ARGS("stats"), SUP_ARGS("ls"), SUP_ARGS("models"), SUP_ARGS("clients"),
};
static const char *const *const changing[] = {
    SUP_ARGS("clear"),
    SUP_ARGS("resize", "8"),
    SUP_ARGS("warm", "tiny"),
    SUP_ARGS("reload"),
};
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

Test(permissions, outside_the_sockets_group_there_is_no_connection)
{
    start(WITH_GROUPS);
    struct stat status;
    cr_assert_eq(stat(broker.socket, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0660);
    cr_assert(status.st_uid == BROKER_USER && status.st_gid == CLIENTS);
    struct sup_result result = swctl_as(OTHERS, number(OTHERS), SUP_ARGS("ping"));
    cr_assert_eq(result.exit_code, 3);
    cr_assert_not_null(strstr(result.err, "Permission denied"), "%s", result.err);
    /* being an administrator does not open the socket */
    expect_exit(OTHERS, number(ADMINS), SUP_ARGS("ping"), 3);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(permissions, inside_the_sockets_group_only_reading_verbs)
{
    start(WITH_GROUPS);
    for (size_t i = 0; i < COUNT(reading); i++) {
        expect_exit(CLIENTS, number(CLIENTS), reading[i], 0);
        expect_exit(OTHERS, number(CLIENTS), reading[i], 0);
    }
    for (size_t i = 0; i < COUNT(changing); i++) {
        struct sup_result result = swctl_as(OTHERS, number(CLIENTS), changing[i]);
        cr_assert_eq(result.exit_code, 1, "swctl %s", changing[i][0]);
        cr_assert_not_null(strstr(result.err, "admin group"), "%s", result.err);
        cr_assert_not_null(strstr(result.err, number(CLIENT_USER)), "%s", result.err);
    }
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 16 << 20);
    cr_assert_eq(sup_stat(&broker, "loads"), 0);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(permissions, the_admin_group_may_change_things)
{
    start(WITH_GROUPS);
    const char *both = sup_format("%d,%d", CLIENTS, ADMINS);
    for (size_t i = 0; i < COUNT(changing); i++) {
        expect_exit(OTHERS, both, changing[i], 0);
        expect_exit(ADMINS, number(CLIENTS), changing[i], 0); /* as its first group */
    }
    /* so may root and the broker's own user, in whatever groups */
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "clear")).exit_code, 0);
    (void)sup_run_ok(SUP_ARGS("/usr/bin/setpriv", "--reuid", number(BROKER_USER), "--regid",
                              number(OTHERS), "--clear-groups",
                              sup_format("%s/swctl", SW_BUILD_DIR), "clear"));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(permissions, no_group_is_the_admin_group_unless_one_is_named)
{
    start("[socket]\nsocket-group = 61010\n");
    const char *many = sup_format("%d,%d,%d", CLIENTS, ADMINS, BROKER_USER);
    for (size_t i = 0; i < COUNT(changing); i++)
        expect_exit(OTHERS, many, changing[i], 1);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(permissions, a_reload_changes_the_groups)
{
    start(WITH_GROUPS);
    const char *both = sup_format("%d,%d", CLIENTS, ADMINS);
    sup_write_text(sup_path("conf"), "[socket]\nsocket-group = 61012\n");
    expect_exit(CLIENTS, both, SUP_ARGS("reload"), 0); /* gives its own right away */
    expect_exit(CLIENTS, both, SUP_ARGS("ping"), 3);
    expect_exit(OTHERS, both, SUP_ARGS("ping"), 0);
    expect_exit(OTHERS, both, SUP_ARGS("reload"), 1);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(permissions, a_group_that_the_broker_is_not_in_is_an_error_at_the_start)
{
    start("");
    cr_assert_eq(sup_broker_stop(&broker), 0);
    struct sup_result result = sup_run(
        SUP_ARGS("/usr/bin/setpriv", "--reuid", number(BROKER_USER), "--regid", number(BROKER_USER),
                 "--clear-groups", sup_format("%s/swbrokerd", SW_BUILD_DIR), "--chunks-dir",
                 sup_path("models"), "--socket-group", number(CLIENTS)));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, "must be a member"), "%s", result.err);
    cr_assert_not(sup_exists(broker.socket), "a broker that does not start leaves no socket");
}

/* ---- the arena and the index -------------------------------------------------------------------
 */

/* What a descriptor must refuse; returns the number of what it allowed, 0 when nothing. */
static int try_to_write(int fd, size_t size)
{
    if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
        return 1;
    void *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        return 2;
    if (mprotect(mapped, size, PROT_READ | PROT_WRITE) == 0)
        return 3;
    (void)munmap(mapped, size);
    if (pwrite(fd, "x", 1, 0) >= 0)
        return 4;
    if (ftruncate(fd, 0) == 0)
        return 5;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
        return 6;
    if (fchmod(fd, 0666) == 0)
        return 7;
    const char *path = sup_format("/proc/self/fd/%d", fd);
    static const int modes[] = {O_RDWR, O_WRONLY, O_RDWR | O_TRUNC};
    for (int i = 0; i < 3; i++)
        if (open(path, modes[i] | O_CLOEXEC) >= 0 || errno != EACCES)
            return 8 + i;
    return 0;
}

/* In a child: attaches as that user and returns what the kernel allowed it to do with the arena and
 * the index, or 100 and more when the test itself fails; *isolation is where stats are checked. */
static int attach_and_try(uid_t user, const char *isolation, bool writes)
{
    static const gid_t groups[] = {CLIENTS};
    if (setgroups(1, groups) || setresgid(OTHERS, OTHERS, OTHERS) || setresuid(user, user, user))
        return 100;
    struct raw raw = raw_attach(&broker, "visitor");
    struct raw_model model = raw_open(&raw, "tiny");
    (void)raw_pin(&raw, &model, 0);
    for (int i = 0; i < 2; i++) {
        int allowed = writes ? try_to_write(raw.fds[i], 4096) : 0;
        if (allowed)
            return 20 * i + allowed;
    }
    json_t *stats = raw_control(&raw, "{\"verb\":\"stats\"}");
    const char *told = json_string_value(json_object_get(stats, "isolation"));
    int result = told && strcmp(told, isolation) == 0 ? 0 : 101;
    json_decref(stats);
    raw_close(&raw);
    return result;
}

static int in_child(uid_t user, const char *isolation, bool writes)
{
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(attach_and_try(user, isolation, writes));
    return sup_wait(pid, 60000);
}

Test(permissions, the_kernel_keeps_the_arena_and_the_index_from_other_users)
{
    start(WITH_GROUPS);
    cr_assert_eq(in_child(CLIENT_USER, "uid", true), 0);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(permissions, isolation_says_who_could_write)
{
    start(WITH_GROUPS);
    cr_assert_eq(in_child(CLIENT_USER, "uid", false), 0);
    cr_assert_eq(in_child(BROKER_USER, "none: broker shares its uid with 1 client", false), 0);
    cr_assert_eq(in_child(0, "none: 1 client runs as root", false), 0);
    cr_assert_eq(in_child(CLIENT_USER, "uid", false), 0, "those that left are not counted");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
