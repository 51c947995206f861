/* SPDX-License-Identifier: MIT */
/* The broker's log: where lines go, what they contain, and that writing never blocks the broker. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "support/raw.h"

TestSuite(log, .timeout = 60);

static struct sup_broker broker;

/* log_path NULL: a file. */
static void start(const char *log_path, const char *level)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    broker =
        (struct sup_broker){.socket = sup_path("s"), .log = log_path ? log_path : sup_path("log")};
    cr_assert_eq(setenv("SW_SOCKET", broker.socket, 1), 0);
    broker.pid = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "16",
                                    "--config", "/dev/null", "--log-level", level),
                           NULL, broker.log);
    for (int i = 0; i < 2000 && sup_run(SUP_ARGS("swctl", "ping")).exit_code != 0; i++) {
        cr_assert_eq(sup_wait(broker.pid, 0), -1, "swbrokerd ended at once");
        sup_sleep_ms(10);
    }
}

static void stop(void)
{
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* Causes one line of the log: a client that breaks the protocol. */
static void misbehave(int times)
{
    static const char nonsense[64] = "nonsense";
    for (int i = 0; i < times; i++) {
        struct raw raw = raw_connect(&broker);
        (void)raw_send_bytes(&raw, nonsense, sizeof nonsense, NULL, 0);
        raw_expect_hangup(&raw);
        raw_close(&raw);
    }
}

/* Causes lines of the log that no limit suppresses. */
static void clear(int times)
{
    for (int i = 0; i < times; i++)
        (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
}

static size_t count(const char *text, const char *word)
{
    size_t found = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        found++;
    return found;
}

/* Reads what is available from a descriptor. */
static const char *drain(int fd)
{
    static char text[1 << 20];
    size_t size = 0;
    for (ssize_t got; (got = read(fd, text + size, sizeof text - 1 - size)) > 0;)
        size += (size_t)got;
    text[size] = 0;
    return text;
}

Test(log, into_a_file_with_the_level_in_words)
{
    start(NULL, "debug");
    misbehave(1);
    clear(1);
    struct raw raw = raw_attach(&broker, "visitor");
    raw_close(&raw);
    stop();
    const char *text = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(text, "swbrokerd: info: serving 0 models"), "%s", text);
    cr_assert_not_null(strstr(text, "swbrokerd: warning: a connection (pid "), "%s", text);
    cr_assert_not_null(strstr(text, "swbrokerd: debug: client "), "%s", text);
    cr_assert_null(strchr(text, '\033'), "%s", text);
    cr_assert_eq(text[0], 's');
}

Test(log, suppresses_less_urgent_lines)
{
    start(NULL, "error");
    misbehave(3);
    clear(3);
    stop();
    size_t size;
    (void)sup_read(broker.log, &size);
    cr_assert_eq(size, 0);
}

Test(log, limits_each_cause_and_reports_what_it_suppressed)
{
    start(NULL, "warning");
    misbehave(400);
    struct raw raw = raw_attach(&broker, "giver");
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    struct swi_wire_head head = {0};
    (void)raw_send_bytes(&raw, &head, sizeof head, &fd, 1); /* another cause */
    raw_expect_hangup(&raw);
    raw_close(&raw);
    sup_sleep_ms(2100);
    int64_t left_out = sup_stat(&broker, "log_lines_left_out");
    stop();
    const char *text = sup_read(broker.log, NULL);
    size_t told = count(text, "closing it\n");
    cr_assert_geq(told, 5);
    cr_assert_geq(left_out, 1);
    cr_assert_eq((int64_t)told + left_out, 401, "%zu told, %d left out", told, (int)left_out);
    cr_assert_eq(count(text, "sent 1 descriptors"), 1, "%s", text);
    int64_t sum = 0;
    for (const char *at = text; (at = strstr(at, "suppressed "));)
        sum += strtol(at += strlen("suppressed "), NULL, 10);
    cr_assert_eq(sum, left_out, "%s", text);
}

Test(log, a_pipe_without_a_reader_blocks_nothing)
{
    const char *path = sup_path("fifo");
    cr_assert_eq(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_geq(fcntl(fd, F_SETPIPE_SZ, 4096), 4096);
    start(path, "info");
    clear(150); /* some 50 bytes each */
    int64_t dropped = sup_stat(&broker, "log_lines_dropped");
    cr_assert_gt(dropped, 0);
    const char *text = drain(fd);
    cr_assert_not_null(strstr(text, "swbrokerd: info: serving"), "%s", text);
    size_t lines = count(text, "cleared");
    cr_assert_eq((int64_t)lines + dropped, 150);
    clear(1);
    text = drain(fd);
    cr_assert_not_null(strstr(text, sup_format("warning: %d lines were lost here", (int)dropped)),
                       "%s", text);
    cr_assert_eq(count(text, "cleared"), 1, "%s", text);
    cr_assert_eq(sup_stat(&broker, "log_lines_dropped"), dropped);
    /* nor does a pipe whose reader has gone */
    close(fd);
    clear(3);
    cr_assert_eq(sup_stat(&broker, "log_lines_dropped"), dropped + 3);
    stop();
}

Test(log, does_not_change_an_open_file_that_it_shares)
{
    const char *path = sup_path("fifo");
    cr_assert_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    int shared = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(shared, 0);
    int before = fcntl(shared, F_GETFL);
    start(sup_format("/proc/%d/fd/%d", (int)getpid(), shared), "info");
    cr_assert_eq(fcntl(shared, F_GETFL), before);
    stop();
}

Test(log, a_manager_gets_its_form_of_levels)
{
    const char *path = sup_path("fifo");
    cr_assert_eq(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef", 1), 0);
    start(path, "info");
    misbehave(1);
    const char *text = drain(fd);
    cr_assert_not_null(strstr(text, "<6>serving 0 models"), "%s", text);
    cr_assert_not_null(strstr(text, "\n<4>a connection"), "%s", text);
    stop();
    close(fd);
}

/* ---- a terminal ------------------------------------------------------------------------------ */

static const char *on_a_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    cr_assert_geq(master, 0);
    cr_assert(grantpt(master) == 0 && unlockpt(master) == 0);
    const char *path = sup_format("%s", ptsname(master));
    int slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC); /* its output lives as long as this */
    cr_assert_geq(slave, 0);
    start(path, "info");
    misbehave(1);
    stop();
    return drain(master);
}

Test(log, a_terminal_gets_colours)
{
    cr_assert_eq(setenv("TERM", "xterm", 1), 0);
    cr_assert_eq(unsetenv("NO_COLOR"), 0);
    const char *text = on_a_terminal();
    cr_assert_not_null(strstr(text, "swbrokerd: \033[32minfo:\033[0m serving"), "%s", text);
    cr_assert_not_null(strstr(text, "swbrokerd: \033[33mwarning:\033[0m a connection"), "%s", text);
}

Test(log, a_terminal_gets_no_colours_with_no_color)
{
    cr_assert_eq(setenv("TERM", "xterm", 1), 0);
    cr_assert_eq(setenv("NO_COLOR", "1", 1), 0);
    const char *text = on_a_terminal();
    cr_assert_not_null(strstr(text, "swbrokerd: info: serving"), "%s", text);
    cr_assert_null(strchr(text, '\033'), "%s", text);
}

/* ---- the journal ----------------------------------------------------------------------------- */

#define JOURNAL "/run/systemd/journal/socket"

static int listen_as_journal(void)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Creates a journal in a private mount namespace. Returns its socket. */
static int make_journal(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0)
        cr_skip_test("needs a mount namespace of its own\n");
    sup_mkdir("/run/systemd");
    sup_mkdir("/run/systemd/journal");
    return listen_as_journal();
}

/* stderr as systemd connects it to the journal, with a pipe instead of a socket. */
static int journal_stream(const char **ret_path)
{
    const char *path = sup_path("stream");
    cr_assert_eq(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(setenv("JOURNAL_STREAM",
                        sup_format("%llu:%llu", (unsigned long long)status.st_dev,
                                   (unsigned long long)status.st_ino),
                        1),
                 0);
    *ret_path = path;
    return fd;
}

/* The next entry whose text begins with that; NULL if none comes. */
static const char *entry_of(int journal, const char *message)
{
    static char text[8192];
    for (int tries = 0; tries < 2000;) {
        ssize_t size = recv(journal, text, sizeof text - 1, 0);
        if (size < 0) {
            sup_sleep_ms(5);
            tries++;
            continue;
        }
        text[size] = 0;
        if (strncmp(text, "MESSAGE=", 8) == 0 && strncmp(text + 8, message, strlen(message)) == 0)
            return text;
    }
    return NULL;
}

Test(log, the_journal_gets_fields)
{
    int journal = make_journal();
    const char *path;
    int stream = journal_stream(&path);
    /* a name that would forge a field, for a model that does not exist */
    sup_mkdir(sup_path("models"));
    sup_mkdir(sup_path("models/bad\nPRIORITY=0"));
    sup_write_text(sup_path("models/bad\nPRIORITY=0/chunk_info.json"), "{}");
    start(path, "debug");
    const char *entry = entry_of(journal, "model bad");
    cr_assert_not_null(entry);
    cr_assert_not_null(strstr(entry, "\nSW_MODEL=bad?PRIORITY=0\n"), "%s", entry);
    cr_assert_not_null(strstr(entry, "\nPRIORITY=4\n"), "%s", entry);
    cr_assert_null(strstr(entry, "\nPRIORITY=0"), "%s", entry);
    entry = entry_of(journal, "serving 0 models");
    cr_assert_not_null(entry);
    cr_assert_not_null(strstr(entry, "\nPRIORITY=6\n"), "%s", entry);
    cr_assert_not_null(strstr(entry, "\nSYSLOG_IDENTIFIER=swbrokerd\n"), "%s", entry);
    cr_assert_not_null(strstr(entry, "\nMESSAGE_ID="), "%s", entry);
    struct raw raw = raw_attach(&broker, "visitor");
    entry = entry_of(journal, "client ");
    cr_assert_not_null(entry);
    cr_assert_not_null(strstr(entry, "\nSW_CLIENT=visitor\n"), "%s", entry);
    cr_assert_not_null(strstr(entry, sup_format("\nSW_CLIENT_PID=%d\n", (int)getpid())), "%s",
                       entry);
    raw_close(&raw);
    stop();
    cr_assert_str_eq(drain(stream), "", "the same lines twice");
}

Test(log, a_bad_chunk_is_named_in_fields)
{
    int journal = make_journal();
    const char *path;
    (void)journal_stream(&path);
    sup_mkdir(sup_path("models"));
    const char *model = sup_synth(sup_path("models"), "tiny", SUP_ARGS("--layers", "1"));
    const char *file = sup_format("%s/layer_0.safetensors", model);
    size_t size;
    char *bytes = sup_read(file, &size);
    bytes[size - 1] = (char)(bytes[size - 1] ^ 1);
    sup_write(file, bytes, size);
    start(path, "info");
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "warm", "tiny")).exit_code, 1);
    const char *entry = entry_of(journal, "tiny/layer_0: ");
    cr_assert_not_null(entry);
    cr_assert_not_null(strstr(entry, "\nSW_MODEL=tiny\n"), "%s", entry);
    cr_assert_not_null(strstr(entry, "\nSW_CHUNK=layer_0\n"), "%s", entry);
    stop();
}

Test(log, a_journal_that_does_not_read_blocks_nothing)
{
    (void)make_journal();
    const char *path;
    (void)journal_stream(&path);
    start(path, "info");
    int64_t dropped = 0;
    for (int i = 0; i < 100 && dropped == 0; i++) { /* its queue holds some hundred at most */
        clear(20);
        dropped = sup_stat(&broker, "log_lines_dropped");
    }
    cr_assert_gt(dropped, 0);
    stop();
}

Test(log, a_restarted_journal_is_found)
{
    int journal = make_journal();
    const char *path;
    int stream = journal_stream(&path);
    start(path, "info");
    cr_assert_not_null(entry_of(journal, "serving"));
    close(journal);
    cr_assert_eq(unlink(JOURNAL), 0);
    clear(1);
    cr_assert_not_null(strstr(drain(stream), "<6>cleared"));
    journal = listen_as_journal();
    clear(1);
    cr_assert_not_null(entry_of(journal, "cleared"));
    cr_assert_eq(sup_stat(&broker, "log_lines_dropped"), 0);
    stop();
}

/* Otherwise the next file that is opened would get the number of stderr. */
Test(log, without_stderr_nothing_else_gets_the_lines)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    const char *socket_path = sup_path("s");
    cr_assert_eq(setenv("SW_SOCKET", socket_path, 1), 0);
    broker.socket = socket_path;
    broker.pid = sup_spawn(SUP_ARGS("/bin/sh", "-c", "exec \"$0\" \"$@\" 0<&- 1>&- 2>&-",
                                    sup_format("%s/swbrokerd", SW_BUILD_DIR), "--chunks-dir",
                                    models, "--cache-size", "16", "--config", "/dev/null"),
                           NULL, NULL);
    for (int i = 0; i < 2000 && sup_run(SUP_ARGS("swctl", "ping")).exit_code != 0; i++)
        sup_sleep_ms(10);
    for (int fd = 0; fd < 3; fd++) {
        char target[64] = "";
        cr_assert_gt(
            readlink(sup_format("/proc/%d/fd/%d", (int)broker.pid, fd), target, sizeof target - 1),
            0);
        cr_assert_str_eq(target, "/dev/null");
    }
    clear(3);
    stop();
}

Test(log, without_a_journal_its_stream_still_gets_levels)
{
    int journal = make_journal();
    close(journal);
    const char *path;
    int stream = journal_stream(&path);
    start(path, "info");
    const char *text = drain(stream);
    cr_assert_not_null(strstr(text, "<6>serving 0 models"), "%s", text);
    stop();
}
