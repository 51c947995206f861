/* SPDX-License-Identifier: MIT */
/* Stress of the broker and the library together: worker processes lease and verify while they are
 * killed, the arena is smaller than the models, chunks are cleared, the cache grows and shrinks,
 * and the broker is killed in the middle of loads and restarted.
 *
 * At the end there must be no wrong byte under a lease that its release confirmed, no pin without
 * an owner, no request past its deadline, and no process, socket, segment or descriptor left.
 *
 * A plain program, because it must be single-threaded when it forks and runs as long as requested.
 *   torture [--kills N] [--seconds S] [--seed X] [--io-engine auto|uring|threads] [--managed]
 * N kills are spread over S seconds, or more on a slow machine; every BROKER_EVERY-th kills the
 * broker. With --managed, a service manager with an fd store runs the broker, and every other kill
 * of the broker is an orderly restart instead.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/socket.h"
#include "lib/manager.h"
#include "stress/torture.h"

#define BROKER_EVERY     10u
#define LEAST_CACHE_MB   18u /* the largest chunk takes 12, a reader may hold another */
#define MOST_CACHE_MB    40u /* all models together: about 52 */
#define MAX_PINNED_MB    "8" /* small, so that hoarders lose their leases */
#define STUCK_AFTER_MS   (TORTURE_TIMEOUT_MS + 10000)
#define FDS_OF_AN_ANSWER 2     /* connection and process of a swctl that is ending */
#define SETTLE_MS        20000 /* for the broker to notice that all clients are gone */

struct conductor {
    struct torture torture;
    char directory[32];
    char log[64];
    const char *engine;
    uint64_t kills, seconds, seed, random;
    bool managed;
    int control; /* the manager's control socket */
    pid_t broker, operator, manager;
    uint64_t worker_kills, broker_kills, kills_while_loading;
    int broker_fds; /* open in an idle broker that has opened every model's files */
};

static uint32_t below(struct conductor *conductor, uint32_t bound)
{
    return (uint32_t)(torture_random(&conductor->random) % bound);
}

static bool failed(const struct conductor *conductor)
{
    return atomic_load(&conductor->torture.board->failures) > 0;
}

/* ---- programs -------------------------------------------------------------------------------- */

#define RUN(...) torture_run((const char *const[]){__VA_ARGS__, NULL}, -1, -1)

/* Runs swctl; returns its JSON, or NULL. */
static json_t *ask(const struct conductor *conductor, const char *verb)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s/answer", conductor->directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return NULL;
    const char *argv[] = {"swctl", "--json", "--socket", conductor->torture.socket, verb, NULL};
    int code = torture_run(argv, fd, -1);
    close(fd);
    return code == 0 ? json_load_file(path, 0, NULL) : NULL;
}

static int64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static int64_t stat_of(const struct conductor *conductor, const char *key)
{
    json_t *stats = ask(conductor, "stats");
    int64_t value = number_of(stats, key);
    json_decref(stats);
    return value;
}

/* ---- the broker ------------------------------------------------------------------------------ */

/* Sends the manager a command; its answer is the broker's process number. */
static void manage(struct conductor *conductor, const char *command)
{
    char answer[256];
    int pid = 0;
    size_t count;
    ssize_t length = -1;
    if (swi_socket_send(conductor->control, command, strlen(command), NULL, 0) == 0)
        length = swi_socket_receive(conductor->control, answer, sizeof answer - 1, NULL, &count);
    answer[length > 0 ? length : 0] = 0;
    if (sscanf(answer, "ok %d", &pid) != 1)
        torture_fail(conductor->torture.board, "the manager answers %s: %s", command, answer);
    conductor->broker = pid;
}

static void start_manager(struct conductor *conductor, const char *const argv[])
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        torture_fail(conductor->torture.board, "socketpair: %s", strerror(errno));
        return;
    }
    pid_t parent = getpid();
    conductor->control = ends[0];
    conductor->manager = fork();
    if (conductor->manager == 0) {
        union {
            const char *const *given;
            char *const *wanted;
        } service = {.given = argv};
        const struct manager_options options = {
            .max = 512, .log = conductor->log, .argv = service.wanted};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        _exit(getppid() == parent ? manager_serve(&options, ends[1], ends[1]) : 126);
    }
    close(ends[1]);
    manage(conductor, "start");
}

static void start_broker(struct conductor *conductor)
{
    char size[16], most[16], program[4096];
    (void)snprintf(size, sizeof size, "%u",
                   LEAST_CACHE_MB + below(conductor, MOST_CACHE_MB - LEAST_CACHE_MB));
    (void)snprintf(most, sizeof most, "%u", MOST_CACHE_MB);
    const char *argv[] = {"swbrokerd",
                          "--chunks-dir",
                          conductor->torture.catalog,
                          "--cache-size",
                          size,
                          "--max-cache-size",
                          most,
                          "--socket",
                          conductor->torture.socket,
                          "--max-sessions",
                          "128",
                          "--max-pinned",
                          MAX_PINNED_MB,
                          "--io-engine",
                          conductor->engine,
                          below(conductor, 4) == 0 ? "--policy" : NULL,
                          "lru",
                          NULL};
    if (conductor->managed) {
        (void)snprintf(program, sizeof program, "%s/swbrokerd", SW_BUILD_DIR);
        argv[0] = program;
        start_manager(conductor, argv);
        return;
    }
    int log = open(conductor->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    conductor->broker = torture_start(argv, -1, log);
    close(log);
    if (conductor->broker < 0)
        torture_fail(conductor->torture.board, "fork: %s", strerror(errno));
}

static bool broker_answers(const struct conductor *conductor)
{
    for (uint64_t end = torture_now_ms() + SETTLE_MS; torture_now_ms() < end; torture_pause_ms(10))
        if (RUN("swctl", "--socket", conductor->torture.socket, "ping") == 0)
            return true;
    torture_fail(conductor->torture.board, "the broker does not answer");
    return false;
}

static int count_fds(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    int count = 0;
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

static void show_fds(pid_t pid)
{
    char path[300], target[256];
    for (int fd = 0; fd < 256; fd++) {
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length > 0)
            (void)fprintf(stderr, "torture: %d: %.*s\n", fd, (int)length, target);
    }
}

/* Clears the cache, so that every acquire misses, and waits until reads are in flight. */
static void kill_broker(struct conductor *conductor)
{
    (void)RUN("swctl", "--socket", conductor->torture.socket, "clear");
    for (int i = 0; i < 5; i++) {
        if (stat_of(conductor, "loading") <= 0)
            continue;
        conductor->kills_while_loading++;
        break;
    }
    if (conductor->managed) {
        manage(conductor, conductor->broker_kills++ % 2 ? "restart" : "crash");
        return;
    }
    (void)kill(conductor->broker, SIGKILL);
    int code = torture_finish(conductor->broker);
    if (code != 128 + SIGKILL)
        torture_fail(conductor->torture.board, "the broker had ended by itself: %d", code);
    conductor->broker_kills++;
    torture_pause_ms(below(conductor, 60));
    start_broker(conductor);
}

/* ---- the operator ---------------------------------------------------------------------------- */

/* Runs in a separate process: clears, resizes, warms and reloads at random. */
static int operate(struct conductor *conductor)
{
    const char *const targets[] = {"a", "b", "a/layer_0", "a/embeddings_words_0", "b/embeddings"};
    struct board *board = conductor->torture.board;
    const char *socket = conductor->torture.socket;
    while (!atomic_load(&board->ending)) {
        const char *target = targets[below(conductor, 5)];
        char size[16];
        (void)snprintf(size, sizeof size, "%u",
                       LEAST_CACHE_MB + below(conductor, MOST_CACHE_MB - LEAST_CACHE_MB + 1));
        uint32_t what = below(conductor, 16);
        int code = what < 5    ? RUN("swctl", "--socket", socket, "resize", size)
                   : what < 9  ? RUN("swctl", "--socket", socket, "clear", target)
                   : what < 11 ? RUN("swctl", "--socket", socket, "warm", target)
                   : what < 13 ? RUN("swctl", "--socket", socket, "ls")
                   : what < 14 ? RUN("swctl", "--socket", socket, "reload")
                   : what < 15 ? RUN("swctl", "--socket", socket, "clients")
                               : RUN("swctl", "--socket", socket, "clear");
        if (code != 0 && code != 1 && code != 3) /* done, refused, no broker */
            torture_fail(board, "swctl (action %u) ended with %d", what, code);
        torture_pause_ms(below(conductor, 50));
    }
    return 0;
}

/* ---- workers --------------------------------------------------------------------------------- */

static void start_worker(struct conductor *conductor, uint32_t number)
{
    struct seat *seat = &conductor->torture.board->seat[number];
    uint64_t seed = torture_random(&conductor->random);
    pid_t parent = getpid();
    atomic_store(&seat->busy_since_ms, 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
        exit(torture_work(&conductor->torture, seat, seed));
    }
    seat->pid = pid;
    if (pid < 0)
        torture_fail(conductor->torture.board, "fork: %s", strerror(errno));
}

static void kill_worker(struct conductor *conductor, uint32_t number)
{
    struct seat *seat = &conductor->torture.board->seat[number];
    (void)kill(seat->pid, SIGKILL);
    int code = torture_finish(seat->pid);
    if (code != 128 + SIGKILL)
        torture_fail(conductor->torture.board, "a worker had ended by itself: %d", code);
    seat->pid = 0;
    conductor->worker_kills++;
}

/* Children of killed workers become ours; no other child may end here. */
static void look_around(struct conductor *conductor)
{
    struct board *board = conductor->torture.board;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == conductor->broker || pid == conductor->manager)
            torture_fail(board, "the broker ended by itself: %#x", (unsigned)status);
        else if (pid == conductor->operator)
            torture_fail(board, "the operator ended by itself: %#x", (unsigned)status);
        for (uint32_t i = 0; i < TORTURE_SEATS; i++)
            if (pid == board->seat[i].pid)
                torture_fail(board, "worker %u ended by itself: %#x", i, (unsigned)status);
    }
    uint64_t now = torture_now_ms();
    for (uint32_t i = 0; i < TORTURE_SEATS; i++) {
        uint64_t since = atomic_load(&board->seat[i].busy_since_ms);
        if (since != 0 && now > since && now - since > STUCK_AFTER_MS)
            torture_fail(board, "worker %u has waited for %llu ms", i,
                         (unsigned long long)(now - since));
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

static void torment(struct conductor *conductor)
{
    uint64_t begin = torture_now_ms();
    uint64_t mean_ms = conductor->seconds * 1000 / conductor->kills;
    uint64_t due = begin;
    for (uint64_t done = 0; done < conductor->kills && !failed(conductor);) {
        look_around(conductor);
        if (torture_now_ms() < due) {
            torture_pause_ms(1);
            continue;
        }
        due += mean_ms / 2 + below(conductor, (uint32_t)mean_ms + 1);
        if (++done % BROKER_EVERY == 0) {
            kill_broker(conductor);
        } else {
            uint32_t seat = below(conductor, TORTURE_SEATS);
            kill_worker(conductor, seat);
            start_worker(conductor, seat);
        }
    }
    /* for the rest of the time; workers killed last are not replaced */
    while (torture_now_ms() < begin + conductor->seconds * 1000 && !failed(conductor)) {
        look_around(conductor);
        torture_pause_ms(1);
    }
}

static void end_workers(struct conductor *conductor)
{
    struct board *board = conductor->torture.board;
    for (uint32_t i = 0; i < TORTURE_SEATS / 2; i++) /* these die holding leases */
        kill_worker(conductor, i);
    atomic_store(&board->ending, true);
    for (uint32_t i = TORTURE_SEATS / 2; i < TORTURE_SEATS; i++) {
        int code = torture_finish(board->seat[i].pid);
        board->seat[i].pid = 0;
        if (code != 0)
            torture_fail(board, "worker %u ended with %d", i, code);
    }
    int code = torture_finish(conductor->operator);
    conductor->operator= 0;
    if (code != 0)
        torture_fail(board, "the operator ended with %d", code);
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void expect(struct conductor *conductor, const char *key, int64_t wanted)
{
    int64_t value = -1;
    for (uint64_t end = torture_now_ms() + SETTLE_MS; torture_now_ms() < end; torture_pause_ms(20))
        if ((value = stat_of(conductor, key)) == wanted)
            return;
    torture_fail(conductor->torture.board, "at the end %s is %lld, not %lld", key, (long long)value,
                 (long long)wanted);
}

static bool no_segment(void)
{
    DIR *directory = opendir("/dev/shm");
    bool found = false;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        found = found || strncmp(entry->d_name, "swbroker", strlen("swbroker")) == 0;
    if (directory)
        closedir(directory);
    return !found;
}

static void check_quiet(struct conductor *conductor)
{
    static const char *const none[] = {"clients", "pinned_bytes", "loading",
                                       "queued",  "load_errors",  "digest_errors"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        expect(conductor, none[i], 0);
    if (RUN("swctl", "--socket", conductor->torture.socket, "clear") != 0)
        torture_fail(conductor->torture.board, "the last clear failed");
    expect(conductor, "resident_bytes", 0);
    if (torture_read_all(&conductor->torture))
        expect(conductor, "clients", 0);
    int fds = count_fds(conductor->broker);
    if (fds > conductor->broker_fds) {
        show_fds(conductor->broker);
        torture_fail(conductor->torture.board, "the broker has %d descriptors open, idle it had %d",
                     fds, conductor->broker_fds);
    }
}

static void check_gone(struct conductor *conductor)
{
    struct board *board = conductor->torture.board;
    int code = 0;
    if (conductor->managed) {
        manage(conductor, "stop"); /* answers with the exit code instead of a process number */
        code = conductor->broker;
        close(conductor->control);
        code = code ? code : torture_finish(conductor->manager);
        conductor->manager = 0;
    } else {
        (void)kill(conductor->broker, SIGTERM);
        code = torture_finish(conductor->broker);
    }
    conductor->broker = 0;
    if (code != 0)
        torture_fail(board, "the broker ended with %d", code);
    if (!conductor->managed && access(conductor->torture.socket, F_OK) == 0)
        torture_fail(board, "the socket is still there");
    /* other brokers of this machine have a named segment briefly */
    bool gone = false;
    for (int i = 0; i < 1000 && !(gone = no_segment()); i++)
        torture_pause_ms(10);
    if (!gone)
        torture_fail(board, "a segment is left in /dev/shm");
    for (int i = 0; i < 1000 && waitpid(-1, NULL, WNOHANG) >= 0; i++)
        torture_pause_ms(10);
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
        torture_fail(board, "a process is left");
}

/* ---- setting up, giving up ------------------------------------------------------------------- */

static bool make_model(struct conductor *conductor, int number, const char *name,
                       const char *const argv[])
{
    struct torture *torture = &conductor->torture;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", torture->catalog, name);
    torture->model[number] = name;
    struct swi_error error = {0};
    int result = torture_run(argv, -1, 2);
    int directory = result == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (directory >= 0) {
        result = swi_manifest_read(directory, &torture->manifest[number], &error);
        close(directory);
    }
    if (directory < 0 || result != 0)
        torture_fail(torture->board, "cannot make a model: %d %s", result, error.text);
    return directory >= 0 && result == 0;
}

static bool set_up(struct conductor *conductor)
{
    struct torture *torture = &conductor->torture;
    strcpy(conductor->directory, "/tmp/sw-torture.XXXXXX");
    torture->board = mmap(NULL, sizeof *torture->board, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (torture->board == MAP_FAILED || !mkdtemp(conductor->directory))
        return false;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)snprintf(torture->socket, sizeof torture->socket, "%s/sock", conductor->directory);
    (void)snprintf(torture->catalog, sizeof torture->catalog, "%s/models", conductor->directory);
    (void)snprintf(conductor->log, sizeof conductor->log, "%s/log", conductor->directory);
    char a[128], b[128];
    (void)snprintf(a, sizeof a, "%s/a", torture->catalog);
    (void)snprintf(b, sizeof b, "%s/b", torture->catalog);
    return mkdir(torture->catalog, 0700) == 0 &&
           make_model(conductor, 0, "a",
                      (const char *const[]){"swchunk", "synth", "minilm-l6", a, NULL}) &&
           make_model(conductor, 1, "b",
                      (const char *const[]){"swchunk", "synth", "bert-tiny", b, "--layers", "12",
                                            "--vocab-size", "8192", "--seed", "7", NULL});
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static void clean_up(struct conductor *conductor)
{
    struct board *board = conductor->torture.board;
    pid_t left[TORTURE_SEATS + 3] = {conductor->broker, conductor->operator, conductor->manager };
    for (uint32_t i = 0; i < TORTURE_SEATS; i++)
        left[i + 3] = board->seat[i].pid;
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        if (left[i] > 0)
            (void)kill(left[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    if (failed(conductor)) {
        FILE *log = fopen(conductor->log, "r");
        char line[512];
        while (log && fgets(line, sizeof line, log))
            (void)fputs(line, stderr);
        if (log)
            (void)fclose(log);
    }
    (void)nftw(conductor->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (int i = 0; i < TORTURE_MODELS; i++)
        swi_manifest_fini(&conductor->torture.manifest[i]);
}

static void report(const struct conductor *conductor, uint64_t took_ms)
{
    const struct board *board = conductor->torture.board;
    printf(
        "torture: seed %llu, io-engine %s%s: %llu kills of workers, %llu of the broker (%llu with "
        "reads under way) in %.1f s\n",
        (unsigned long long)conductor->seed, conductor->engine,
        conductor->managed ? ", managed" : "", (unsigned long long)conductor->worker_kills,
        (unsigned long long)conductor->broker_kills,
        (unsigned long long)conductor->kills_while_loading, (double)took_ms / 1000);
    printf(
        "torture: %llu leases and %.1f GB verified, %llu revoked, %llu without room, %llu absent, "
        "%llu forks; longest acquire %llu ms; %u failures\n",
        (unsigned long long)board->leases, (double)board->bytes / 1e9,
        (unsigned long long)board->revoked, (unsigned long long)board->full,
        (unsigned long long)board->absent, (unsigned long long)board->forks,
        (unsigned long long)board->longest_ms, board->failures);
}

static void perform(struct conductor *conductor)
{
    uint64_t begin = torture_now_ms();
    start_broker(conductor);
    if (!broker_answers(conductor))
        return;
    if (!torture_read_all(&conductor->torture))
        return;
    expect(conductor, "clients", 0);
    conductor->broker_fds = count_fds(conductor->broker) + FDS_OF_AN_ANSWER;
    for (uint32_t i = 0; i < TORTURE_SEATS; i++)
        start_worker(conductor, i);
    conductor->operator= fork();
    if (conductor->operator== 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(operate(conductor));
    }
    torment(conductor);
    if (!failed(conductor))
        end_workers(conductor);
    if (!failed(conductor) && broker_answers(conductor))
        check_quiet(conductor);
    if (!failed(conductor))
        check_gone(conductor);
    report(conductor, torture_now_ms() - begin);
}

static bool parse(int argc, char **argv, struct conductor *conductor)
{
    static const struct option options[] = {
        {"kills", required_argument, NULL, 'k'}, {"seconds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'x'},  {"io-engine", required_argument, NULL, 'e'},
        {"managed", no_argument, NULL, 'm'},     {0}};
    for (int id; (id = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t value = optarg && id != 'e' ? strtoull(optarg, NULL, 10) : 0;
        if (id == 'k')
            conductor->kills = value;
        else if (id == 's')
            conductor->seconds = value;
        else if (id == 'x')
            conductor->seed = value;
        else if (id == 'm')
            conductor->managed = true;
        else if (id == 'e')
            conductor->engine = optarg;
        else
            return false;
    }
    return optind == argc && conductor->kills > 0 && conductor->seconds > 0;
}

int main(int argc, char **argv)
{
    static struct conductor conductor = {.kills = 60, .seconds = 8, .seed = 1, .engine = "auto"};
    if (!parse(argc, argv, &conductor)) {
        (void)fprintf(stderr,
                      "torture [--kills N] [--seconds S] [--seed X] [--io-engine E] [--managed]\n");
        return 2;
    }
    conductor.random = conductor.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    if (!set_up(&conductor)) {
        perror("torture: set up");
        return 1;
    }
    perform(&conductor);
    bool good = !failed(&conductor);
    clean_up(&conductor);
    return good ? 0 : 1;
}
