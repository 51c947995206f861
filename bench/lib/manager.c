/* SPDX-License-Identifier: MIT */
/* One service and its descriptors. One thread, poll. */
#include "lib/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX      4096u
#define NAME_SIZE     256u
#define LINE_SIZE     512u
#define FDS_A_MESSAGE 64u
#define READY_MS      30000.0
#define EXIT_MS       30000.0
#define FIRST_FD      3

struct kept {
    int fd;
    char name[NAME_SIZE];
};

struct manager {
    const struct manager_options *options;
    unsigned max;
    int in, out;
    int notify, listener;
    char address[64];
    pid_t pid; /* 0: not running */
    int pidfd;
    bool ready, deaf;
    double slow_ms, deaf_until; /* slow_ms: after the next start */
    struct kept kept[KEPT_MAX];
    unsigned count;
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* ---- the store ------------------------------------------------------------------------------- */

static bool same_file(int a, int b)
{
    return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

/* Takes the descriptor. */
static void keep(struct manager *manager, const char *name, int fd, unsigned max)
{
    bool known = false;
    for (unsigned i = 0; i < manager->count; i++)
        known = known || same_file(manager->kept[i].fd, fd);
    if (known || manager->count >= max || manager->count >= KEPT_MAX) {
        close(fd);
        return;
    }
    struct kept *kept = &manager->kept[manager->count++];
    kept->fd = fd;
    (void)snprintf(kept->name, sizeof kept->name, "%s", name);
}

static void drop_at(struct manager *manager, unsigned at)
{
    close(manager->kept[at].fd);
    memmove(&manager->kept[at], &manager->kept[at + 1],
            (manager->count - at - 1) * sizeof manager->kept[0]);
    manager->count--;
}

static unsigned drop_named(struct manager *manager, const char *name)
{
    unsigned dropped = 0;
    for (unsigned i = manager->count; i > 0; i--) {
        if (strcmp(manager->kept[i - 1].name, name) != 0)
            continue;
        drop_at(manager, i - 1);
        dropped++;
    }
    return dropped;
}

static void drop_hung_up(struct manager *manager)
{
    for (unsigned i = manager->count; i > 0; i--) {
        struct pollfd poller = {.fd = manager->kept[i - 1].fd};
        if (poll(&poller, 1, 0) > 0 && (poller.revents & (POLLHUP | POLLERR)))
            drop_at(manager, i - 1);
    }
}

/* ---- notifications --------------------------------------------------------------------------- */

/* The value of KEY= in a text of lines; false: there is none. */
static bool find_value(const char *text, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) != 0 || line[length] != '=')
            continue;
        const char *from = line + length + 1;
        (void)snprintf(value, size, "%.*s", (int)strcspn(from, "\n"), from);
        return true;
    }
    return false;
}

static bool says(const char *text, const char *key)
{
    char value[8];
    return find_value(text, key, value, sizeof value) && strcmp(value, "1") == 0;
}

static void obey(struct manager *manager, const char *text, int *fds, unsigned count)
{
    char name[NAME_SIZE] = "stored";
    (void)find_value(text, "FDNAME", name, sizeof name);
    if (says(text, "FDSTOREREMOVE"))
        (void)drop_named(manager, name);
    bool store = says(text, "FDSTORE");
    for (unsigned i = 0; i < count; i++) {
        if (store)
            keep(manager, name, fds[i], manager->max);
        else
            close(fds[i]); /* BARRIER=1: this closing is the answer */
    }
    if (says(text, "READY"))
        manager->ready = true;
}

/* The descriptors of a received message; returns their number. *ret_pid: the sender. */
static unsigned unpack(struct msghdr *message, int *fds, pid_t *ret_pid)
{
    unsigned count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET)
            continue;
        if (header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
            *ret_pid = credentials.pid;
        } else if (header->cmsg_type == SCM_RIGHTS) {
            unsigned part = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds + count, CMSG_DATA(header), part * sizeof(int));
            count += part;
        }
    }
    return count;
}

static ssize_t receive(int fd, char *text, size_t size, int *fds, unsigned *ret_count,
                       pid_t *ret_pid, int flags)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {.iov_base = text, .iov_len = size - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | flags);
    *ret_count = 0;
    if (length < 0)
        return -errno;
    text[length] = 0;
    *ret_count = unpack(&message, fds, ret_pid);
    return length;
}

static void hear(struct manager *manager)
{
    char text[4096];
    int fds[FDS_A_MESSAGE];
    unsigned count;
    pid_t pid = 0;
    while (receive(manager->notify, text, sizeof text, fds, &count, &pid, MSG_DONTWAIT) >= 0) {
        if (pid == manager->pid) {
            obey(manager, text, fds, count);
            continue;
        }
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
    }
}

static int open_notify(struct manager *manager)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(manager->address, sizeof manager->address, "@sw-manager-%d-%llx",
                          (int)getpid(), (unsigned long long)now_ms());
    memcpy(address.sun_path, manager->address, (size_t)length);
    address.sun_path[0] = 0;
    int on = 1;
    manager->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (manager->notify < 0 ||
        setsockopt(manager->notify, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
        bind(manager->notify, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length)) < 0)
        return -errno;
    return 0;
}

static int open_listener(struct manager *manager)
{
    manager->listener = -1;
    if (!manager->options->listen_path)
        return 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", manager->options->listen_path);
    manager->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (manager->listener < 0 ||
        bind(manager->listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(manager->listener, 128) < 0)
        return -errno;
    return 0;
}

/* ---- the service ----------------------------------------------------------------------------- */

/* In the child: the descriptors from FIRST_FD on, and their environment variables. */
static void hand_over(const struct manager *manager)
{
    static int fds[KEPT_MAX + 1];
    static char names[(KEPT_MAX + 1) * NAME_SIZE];
    unsigned count = 0;
    size_t used = 0;
    if (manager->listener >= 0) {
        fds[count++] = manager->listener;
        used += (size_t)snprintf(names, sizeof names, "%s", "swbrokerd.socket");
    }
    for (unsigned i = 0; i < manager->count; i++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", count ? ":" : "",
                                 manager->kept[i].name);
        fds[count++] = manager->kept[i].fd;
    }
    for (unsigned i = 0; i < count; i++)
        fds[i] = fcntl(fds[i], F_DUPFD, FIRST_FD + (int)count);
    for (unsigned i = 0; i < count; i++) {
        if (dup2(fds[i], FIRST_FD + (int)i) < 0)
            _exit(126);
    }
    (void)close_range(FIRST_FD + count, ~0u, 0);
    char text[32];
    (void)setenv("NOTIFY_SOCKET", manager->address, 1);
    if (manager->max) {
        (void)snprintf(text, sizeof text, "%u", manager->max);
        (void)setenv("FDSTORE", text, 1);
    }
    if (count == 0)
        return;
    (void)snprintf(text, sizeof text, "%u", count);
    (void)setenv("LISTEN_FDS", text, 1);
    (void)setenv("LISTEN_FDNAMES", names, 1);
    (void)snprintf(text, sizeof text, "%d", (int)getpid());
    (void)setenv("LISTEN_PID", text, 1);
}

static void become_service(const struct manager *manager, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    const char *log = manager->options->log;
    int messages = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : nothing;
    if (getppid() != parent || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 ||
        dup2(messages, 2) < 0)
        _exit(126);
    hand_over(manager);
    (void)execv(manager->options->argv[0], manager->options->argv);
    _exit(127);
}

/* Its exit code or 128 + signal; -1 while it runs. */
static int reap(struct manager *manager)
{
    int status;
    if (manager->pid == 0 || waitpid(manager->pid, &status, WNOHANG) != manager->pid)
        return -1;
    hear(manager); /* what it said last */
    close(manager->pidfd);
    manager->pid = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The notification socket, unless it is deaf. */
static int ear(const struct manager *manager)
{
    return manager->deaf || now_ms() < manager->deaf_until ? -1 : manager->notify;
}

/* Handles the service's messages for a moment. */
static void attend(struct manager *manager, int timeout_ms)
{
    struct pollfd pollers[] = {{.fd = manager->pid ? manager->pidfd : -1, .events = POLLIN},
                               {.fd = ear(manager), .events = POLLIN}};
    if (poll(pollers, 2, manager->deaf_until > now_ms() ? 100 : timeout_ms) > 0 &&
        pollers[1].revents)
        hear(manager);
}

static bool launch(struct manager *manager)
{
    drop_hung_up(manager);
    double began = now_ms();
    pid_t parent = getpid();
    manager->deaf_until = began + manager->slow_ms;
    manager->slow_ms = 0;
    manager->ready = false;
    manager->pid = fork();
    if (manager->pid == 0)
        become_service(manager, parent);
    return manager->pid > 0 && (manager->pidfd = pidfd_open(manager->pid, 0)) >= 0;
}

static bool start(struct manager *manager, double *ret_ready_ms)
{
    double began = now_ms();
    if (!launch(manager))
        return false;
    while (!manager->ready && now_ms() - began < READY_MS) {
        attend(manager, 1000);
        if (manager->ready)
            break;
        if (reap(manager) >= 0)
            return false;
    }
    *ret_ready_ms = now_ms() - began;
    return manager->ready;
}

static int stop(struct manager *manager, int signal_number, double *ret_exit_ms)
{
    double began = now_ms();
    int code = reap(manager);
    if (manager->pid == 0)
        return code;
    (void)kill(manager->pid, signal_number);
    while ((code = reap(manager)) < 0 && now_ms() - began < EXIT_MS)
        attend(manager, 1000);
    *ret_exit_ms = now_ms() - began;
    return code;
}

/* ---- what it is told ------------------------------------------------------------------------- */

static void answer(const struct manager *manager, const char *text, const int *fds, unsigned count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
    } control;
    char line[LINE_SIZE * 64];
    int length = snprintf(line, sizeof line, "%s\n", text);
    if (count == 0) {
        if (write(manager->out, line, (size_t)length) != length)
            _exit(1);
        return;
    }
    struct iovec part = {.iov_base = line, .iov_len = (size_t)length};
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    if (sendmsg(manager->out, &message, MSG_NOSIGNAL) != length)
        _exit(1);
}

static void list(const struct manager *manager)
{
    char text[LINE_SIZE * 63] = "ok";
    size_t used = 2;
    for (unsigned i = 0; i < manager->count && used + NAME_SIZE < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %s", manager->kept[i].name);
    answer(manager, text, NULL, 0);
}

static void give(const struct manager *manager, const char *name)
{
    int fds[FDS_A_MESSAGE];
    unsigned count = 0;
    for (unsigned i = 0; i < manager->count && count < FDS_A_MESSAGE; i++)
        if (strcmp(manager->kept[i].name, name) == 0)
            fds[count++] = manager->kept[i].fd;
    char text[32];
    (void)snprintf(text, sizeof text, "ok %u", count);
    answer(manager, text, fds, count);
}

static void turn_over(struct manager *manager, int signal_number)
{
    char text[LINE_SIZE];
    double exit_ms = 0, ready_ms = 0;
    int code = stop(manager, signal_number, &exit_ms);
    if (code != (signal_number == SIGKILL ? 128 + SIGKILL : 0))
        (void)snprintf(text, sizeof text, "failed: the service ended with %d", code);
    else if (!start(manager, &ready_ms))
        (void)snprintf(text, sizeof text, "failed: the service does not get ready");
    else if (signal_number == SIGKILL)
        (void)snprintf(text, sizeof text, "ok %d %.3f", (int)manager->pid, ready_ms);
    else
        (void)snprintf(text, sizeof text, "ok %d %.3f %.3f", (int)manager->pid, exit_ms, ready_ms);
    answer(manager, text, NULL, 0);
}

static void do_service(struct manager *manager, const char *verb)
{
    char text[LINE_SIZE];
    double ms = 0;
    if (strcmp(verb, "start") == 0) {
        if (manager->pid == 0 && start(manager, &ms))
            (void)snprintf(text, sizeof text, "ok %d %.3f", (int)manager->pid, ms);
        else
            (void)snprintf(text, sizeof text, "failed: the service does not get ready");
    } else if (strncmp(verb, "doomed ", 7) == 0) {
        double limit = now_ms() + strtod(verb + 7, NULL);
        if (manager->pid == 0 && launch(manager))
            for (double rest; (rest = limit - now_ms()) > 0;)
                attend(manager, (int)rest + 1);
        (void)stop(manager, SIGKILL, &ms);
        (void)snprintf(text, sizeof text, "ok");
    } else if (strcmp(verb, "stop") == 0) {
        int code = stop(manager, SIGTERM, &ms);
        (void)snprintf(text, sizeof text, "ok %d %.3f", code, ms);
    } else {
        (void)stop(manager, SIGKILL, &ms);
        (void)snprintf(text, sizeof text, "ok");
    }
    answer(manager, text, NULL, 0);
}

static void command(struct manager *manager, char *line, int *fds, unsigned count)
{
    char *word = line + strcspn(line, " ");
    if (*word)
        *word++ = 0;
    char text[LINE_SIZE] = "ok";
    if (strcmp(line, "restart") == 0) {
        turn_over(manager, SIGTERM);
        return;
    }
    if (strcmp(line, "crash") == 0) {
        turn_over(manager, SIGKILL);
        return;
    }
    if (strcmp(line, "doomed") == 0) {
        word[-1] = ' ';
        do_service(manager, line);
        return;
    }
    if (strcmp(line, "start") == 0 || strcmp(line, "stop") == 0 || strcmp(line, "kill") == 0) {
        do_service(manager, line);
        return;
    }
    hear(manager);
    drop_hung_up(manager);
    if (strcmp(line, "list") == 0) {
        list(manager);
        return;
    }
    if (strcmp(line, "give") == 0) {
        give(manager, word);
        return;
    }
    if (strcmp(line, "drop") == 0) {
        (void)snprintf(text, sizeof text, "ok %u", drop_named(manager, word));
    } else if (strcmp(line, "put") == 0) {
        for (unsigned i = 0; i < count; i++)
            keep(manager, word, fds[i], KEPT_MAX);
    } else if (strcmp(line, "max") == 0) {
        manager->max = (unsigned)strtoul(word, NULL, 10);
    } else if (strcmp(line, "deaf") == 0) {
        manager->deaf = word[0] == '1';
    } else if (strcmp(line, "slow") == 0) {
        manager->slow_ms = strtod(word, NULL);
    } else {
        (void)snprintf(text, sizeof text, "failed: no command %.100s", line);
    }
    answer(manager, text, NULL, 0);
}

/* Reads once from `in`, possibly several lines. False: end of input. */
static bool take_commands(struct manager *manager)
{
    char text[LINE_SIZE];
    int fds[FDS_A_MESSAGE];
    unsigned count = 0;
    pid_t sender = 0;
    ssize_t length = receive(manager->in, text, sizeof text, fds, &count, &sender, 0);
    if (length == -ENOTSOCK)
        length = read(manager->in, text, sizeof text - 1);
    if (length <= 0)
        return false;
    text[length] = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line)
            command(manager, line, fds, count);
    return true;
}

int manager_serve(const struct manager_options *options, int in, int out)
{
    static struct manager manager;
    manager = (struct manager){.options = options, .max = options->max, .in = in, .out = out};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (open_notify(&manager) < 0 || open_listener(&manager) < 0) {
        (void)fprintf(stderr, "manager: cannot create its sockets: %s\n", strerror(errno));
        return 1;
    }
    for (;;) {
        struct pollfd pollers[] = {{.fd = in, .events = POLLIN},
                                   {.fd = ear(&manager), .events = POLLIN}};
        if (poll(pollers, 2, manager.deaf_until > now_ms() ? 100 : -1) < 0 && errno != EINTR)
            break;
        if (pollers[1].revents)
            hear(&manager);
        if (pollers[0].revents && !take_commands(&manager))
            break;
    }
    double ms;
    (void)stop(&manager, SIGKILL, &ms);
    return 0;
}
