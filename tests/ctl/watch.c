/* SPDX-License-Identifier: MIT */
/* swctl watch: the contents of a frame, its legibility at 80x24, and the terminal around it. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/lib/text.h"
#include "ctl/watch/frame.h"
#include "support/raw.h"

#define MODELS  5
#define CLIENTS 8

TestSuite(swctl_watch, .timeout = 120);

/* ---- the screen of 40 chunks and 8 clients --------------------------------------------------- */

/* Replaces what differs between runs: numbers become N, sizes "N B", blanks one. */
static char *normalized(const char *text)
{
    char *out = strdup(text), *to = out;
    for (const char *from = text; *from;) {
        if (isdigit((unsigned char)*from)) {
            while (isdigit((unsigned char)*from) || *from == '.' || *from == ':')
                from++;
            *to++ = 'N';
            if (strncmp(from, " B", 2) == 0 || strncmp(from, " KiB", 4) == 0 ||
                strncmp(from, " MiB", 4) == 0 || strncmp(from, " GiB", 4) == 0) {
                from += from[1] == 'B' ? 2 : 4;
                memcpy(to, " B", 2); /* a number and its unit take at least three bytes */
                to += 2;
            }
        } else if (strncmp(from, "io_uring", 8) == 0 || strncmp(from, "threads", 7) == 0) {
            from += *from == 'i' ? 8 : 7;
            memcpy(to, "ENGINE", 6);
            to += 6;
        } else if (*from == ' ') {
            from += strspn(from, " ");
            *to++ = ' ';
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
    return out;
}

static size_t count_lines(const char *text, size_t *ret_widest)
{
    size_t lines = 0;
    *ret_widest = 0;
    while (*text) {
        size_t bytes = strcspn(text, "\n");
        char *line = strndup(text, bytes);
        size_t width = ctl_text_width(line);
        *ret_widest = width > *ret_widest ? width : *ret_widest;
        free(line);
        lines++;
        text += bytes + (text[bytes] == '\n');
    }
    return lines;
}

static struct sup_broker start_full(void)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    for (int i = 0; i < MODELS; i++)
        (void)sup_synth(models, sup_format("model-%c", 'a' + i), SUP_ARGS("--layers", "6"));
    struct sup_broker broker = sup_broker_start(models, "64", NULL);
    for (int i = 0; i < MODELS; i++)
        (void)sup_run_ok(SUP_ARGS("swctl", "warm", sup_format("model-%c", 'a' + i)));
    return broker;
}

Test(swctl_watch, is_legible_with_40_chunks_and_8_clients)
{
    struct sup_broker broker = start_full();
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 40);
    struct raw clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = raw_attach(&broker, sup_format("worker-%u", i));
        struct raw_model model = raw_open(&clients[i], sup_format("model-%c", 'a' + i % MODELS));
        (void)raw_pin(&clients[i], &model, i % 8);
        const struct swi_cursor_value cursor = {
            .incarnation = model.opened.incarnation, .pass = 3, .component = i, .step_ns = 1000000};
        swi_cursor_put(clients[i].page, clients[i].index, 0, &cursor);
    }
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "model-e/pooler"));
    const char *screen = sup_run_ok(SUP_ARGS("swctl", "watch", "--once", "--size", "80x24"));
    size_t widest;
    cr_assert_eq(count_lines(screen, &widest), 24, "%s", screen);
    cr_assert_leq(widest, 80, "%s", screen);
    cr_assert_null(strchr(screen, '\033'));
    for (unsigned i = 0; i < CLIENTS; i++)
        cr_assert_not_null(strstr(screen, sup_format("worker-%u", i)), "%s", screen);
    const char *kept = sup_read(SW_SOURCE_DIR "/tests/ctl/screens/watch-80x24.txt", NULL);
    char *a = normalized(screen), *b = normalized(kept);
    cr_assert_str_eq(a, b, "the screen differs from the one kept in tests/ctl/screens:\n%s",
                     screen);
    free(a);
    free(b);
    /* JSON: the answers that it is drawn from */
    json_t *all = sup_swctl(&broker, SUP_ARGS("watch", "--once"));
    cr_assert_eq(json_array_size(json_object_get(all, "chunks")), 40);
    cr_assert_eq(json_array_size(json_object_get(all, "clients")), CLIENTS);
    json_decref(all);
    for (unsigned i = 0; i < CLIENTS; i++)
        raw_close(&clients[i]);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(swctl_watch, refuses_wrong_options_and_pipes)
{
    struct sup_result result = sup_run(SUP_ARGS("swctl", "watch"));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "--once"));
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "watch", "--interval", "0")).exit_code, 2);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "watch", "--size", "80", "--once")).exit_code, 2);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "watch", "--size", "9999x1", "--once")).exit_code, 2);
    result = sup_run(SUP_ARGS("swctl", "--socket", sup_path("nobody"), "watch", "--once"));
    cr_assert_eq(result.exit_code, 3);
}

/* ---- any size, any answer -------------------------------------------------------------------- */

static char *frame(const char *stats, const char *chunks, const char *clients, unsigned rows,
                   unsigned columns)
{
    struct ctl_screen *screen = ctl_screen_create(rows, columns);
    json_t *parts[] = {json_loads(stats, JSON_DECODE_ANY, NULL),
                       json_loads(chunks, JSON_DECODE_ANY, NULL),
                       json_loads(clients, JSON_DECODE_ANY, NULL)};
    for (size_t i = 0; i < 3; i++)
        ctl_json_clean(parts[i]);
    const struct ctl_snapshot now = {
        .stats = parts[0], .chunks = parts[1], .clients = parts[2], .at_s = 1};
    ctl_frame_draw(screen, &now, &now, NULL);
    ctl_frame_draw(screen, &now, NULL, NULL);
    char *text = ctl_screen_text(screen, false, false);
    size_t widest;
    cr_assert_eq(count_lines(text, &widest), rows);
    cr_assert_leq(widest, columns);
    ctl_screen_destroy(screen);
    for (size_t i = 0; i < 3; i++)
        json_decref(parts[i]);
    return text;
}

Test(swctl_watch, draws_any_answer_at_any_size)
{
    static const char *const stats[] = {
        "{}",
        "null",
        "[]",
        "{\"arena_bytes\": -5, \"version\": 3}",
        "{\"arena_bytes\": 9223372036854775807, \"reserved_bytes\": 1, \"hit_rate\": 1e300}",
        "{\"arena_bytes\": 1048576, \"reserved_bytes\": 9223372036854775807}"};
    static const char *const chunks[] = {
        "[]", "{}", "[1, null, {}]",
        ("[{\"model\": \"\\u0000\", \"offset\": 9223372036854775807, \"bytes\": "
         "9223372036854775807, \"state\": \"loading\"}]"),
        "[{\"model\": \"m\", \"offset\": 0, \"bytes\": 0, \"state\": \"resident\", \"pins\": -1}]"};
    static const char *const clients[] = {
        "[]", "[3]",
        ("[{\"name\": \"\\u001b[2J\\u4f60\\u597d\\u4f60\\u597d\\u4f60\\u597d\\u4f60\\u597d\", "
         "\"cursors\": [{\"at\": 9223372036854775807, \"components\": 1}, {\"at\": 5}]}]")};
    static const unsigned sizes[][2] = {{1, 1}, {2, 400}, {24, 80}, {5, 3}, {200, 400}, {12, 25}};
    for (size_t i = 0; i < sizeof stats / sizeof stats[0]; i++)
        for (size_t k = 0; k < sizeof chunks / sizeof chunks[0]; k++)
            for (size_t n = 0; n < sizeof clients / sizeof clients[0]; n++)
                for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                    char *text = frame(stats[i], chunks[k], clients[n], sizes[s][0], sizes[s][1]);
                    cr_assert_null(strchr(text, '\033'));
                    free(text);
                }
}

Test(swctl_watch, marks_chunks_by_model_and_state)
{
    char *text =
        frame("{\"arena_bytes\": 655360, \"reserved_bytes\": 524288}",
              "[{\"model\": \"m\", \"offset\": 0, \"bytes\": 12288, \"state\": \"resident\"},"
              "{\"model\": \"m\", \"offset\": 12288, \"bytes\": 8192, \"state\": "
              "\"resident\", \"pins\": 1},"
              "{\"model\": \"n\", \"offset\": 20480, \"bytes\": 8192, \"state\": "
              "\"loading\"},"
              "{\"model\": \"n\", \"offset\": 28672, \"bytes\": 8192, \"state\": "
              "\"resident\", \"pinned_by_operator\": true},"
              "{\"model\": \"n\", \"state\": \"absent\"}]",
              "[]", 24, 40);
    cr_assert_not_null(strstr(text, "\nA==A#b-B@...."), "%s", text);
    cr_assert_not_null(strstr(text, "A m 2/2"), "%s", text);
    cr_assert_not_null(strstr(text, "B n 1/3"), "%s", text);
    free(text);
}

/* The figures' row of a frame two seconds after another. */
static char *rates(const char *before_stats, const char *now_stats)
{
    struct ctl_screen *screen = ctl_screen_create(24, 80);
    json_t *before = json_loads(before_stats, 0, NULL), *now = json_loads(now_stats, 0, NULL);
    const struct ctl_snapshot earlier = {.stats = before, .at_s = 1},
                              later = {.stats = now, .at_s = 3};
    ctl_frame_draw(screen, &later, &earlier, NULL);
    char *text = ctl_screen_text(screen, false, false);
    ctl_screen_destroy(screen);
    json_decref(before);
    json_decref(now);
    return text;
}

Test(swctl_watch, warns_of_a_low_hit_rate_unless_uses_are_few)
{
    char *text = rates("{\"hits\": 0, \"misses\": 0}", "{\"hits\": 20, \"misses\": 80}");
    cr_assert_not_null(strstr(text, "(now 20.00 %, low)  hits/s 10 "), "%s", text);
    free(text);
    text = rates("{\"hits\": 0, \"misses\": 0}", "{\"hits\": 60, \"misses\": 40}");
    cr_assert_not_null(strstr(text, "(now 60.00 %)"), "%s", text);
    free(text);
    text = rates("{\"hits\": 7, \"misses\": 7}", "{\"hits\": 7, \"misses\": 8}");
    cr_assert_not_null(strstr(text, "(now 0.00 %)"), "%s", text);
    free(text);
}

/* ---- a terminal ------------------------------------------------------------------------------ */

struct terminal {
    int fd;
    pid_t pid;
    char *text;
    size_t size;
};

static struct terminal open_terminal(const char *socket)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct terminal terminal = {.text = calloc(1, 1)};
    const char *program = sup_format("%s/swctl", SW_BUILD_DIR);
    terminal.pid = forkpty(&terminal.fd, NULL, NULL, &size);
    cr_assert_geq(terminal.pid, 0);
    if (terminal.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigset_t none;
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)setenv("TERM", "xterm", 1);
        (void)execl(program, "swctl", "--socket", socket, "watch", "--interval", "0.1",
                    (char *)NULL);
        _exit(127);
    }
    return terminal;
}

/* Reads until the text shows up, and forgets the output up to its end. False: it does not in
 * time. */
static bool shows(struct terminal *terminal, const char *word, int timeout_ms)
{
    for (int waited_ms = 0;; waited_ms += 50) {
        char *at = strstr(terminal->text, word);
        if (at) {
            size_t rest = strlen(at) - strlen(word);
            memmove(terminal->text, at + strlen(word), rest + 1);
            terminal->size = rest;
            return true;
        }
        if (waited_ms > timeout_ms)
            return false;
        struct pollfd wait = {.fd = terminal->fd, .events = POLLIN};
        char bytes[4096];
        ssize_t count = poll(&wait, 1, 50) > 0 ? read(terminal->fd, bytes, sizeof bytes) : 0;
        if (count > 0) {
            terminal->text = realloc(terminal->text, terminal->size + (size_t)count + 1);
            memcpy(terminal->text + terminal->size, bytes, (size_t)count);
            terminal->size += (size_t)count;
            terminal->text[terminal->size] = 0;
        }
    }
}

static tcflag_t modes(const struct terminal *terminal)
{
    struct termios mode;
    cr_assert_eq(tcgetattr(terminal->fd, &mode), 0);
    return mode.c_lflag & (tcflag_t)(ICANON | ECHO);
}

#define LEAVE "\033[?1049l"

Test(swctl_watch, restores_the_terminal_however_it_ends)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    static const struct {
        int signal; /* 0: the key q */
        int exit_code;
    } ends[] = {{0, 0}, {SIGINT, 0}, {SIGTERM, 128 + SIGTERM}, {SIGABRT, 128 + SIGABRT}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct terminal terminal = open_terminal(broker.socket);
        cr_assert(shows(&terminal, "q quits", 20000), "case %zu: %s", i, terminal.text);
        cr_assert_eq(modes(&terminal), 0);
        if (ends[i].signal)
            cr_assert_eq(kill(terminal.pid, ends[i].signal), 0);
        else
            cr_assert_eq(write(terminal.fd, "q", 1), 1);
        cr_assert(shows(&terminal, LEAVE, 20000), "case %zu", i);
        cr_assert_eq(modes(&terminal), ICANON | ECHO, "case %zu", i);
        cr_assert_eq(sup_wait(terminal.pid, 20000), ends[i].exit_code, "case %zu", i);
        close(terminal.fd);
        free(terminal.text);
    }
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(swctl_watch, follows_the_terminals_size_and_waits_for_a_broker)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    struct terminal terminal = open_terminal(broker.socket);
    cr_assert(shows(&terminal, "no clients", 20000));
    /* 16 MiB on one row of forty cells */
    const struct winsize small = {.ws_row = 10, .ws_col = 40};
    cr_assert_eq(ioctl(terminal.fd, TIOCSWINSZ, &small), 0);
    cr_assert(shows(&terminal, "one cell is 412 KiB", 20000), "%s", terminal.text);
    sup_broker_kill(&broker);
    cr_assert(shows(&terminal, "retrying: no broker", 20000), "%s", terminal.text);
    pid_t again = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "16",
                                     "--socket", broker.socket),
                            NULL, NULL);
    cr_assert(shows(&terminal, "swbrokerd 1", 30000), "%s", terminal.text);
    cr_assert_eq(write(terminal.fd, "q", 1), 1);
    cr_assert(shows(&terminal, LEAVE, 20000));
    cr_assert_eq(sup_wait(terminal.pid, 20000), 0);
    cr_assert_eq(kill(again, SIGTERM), 0);
    cr_assert_eq(sup_wait(again, 20000), 0);
    free(terminal.text);
    close(terminal.fd);
}
