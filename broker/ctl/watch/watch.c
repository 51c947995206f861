/* SPDX-License-Identifier: MIT */
/* swctl watch: ask the broker at an interval, and draw its answers (ctl/watch/frame.h) on the
 * terminal.
 *
 * The terminal is restored however this ends: by q, by a signal, by a crash. While the broker is
 * away the last frame stays, and it is tried again.
 */
#include "ctl/watch/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "core/deadline.h"
#include "ctl/lib/ask.h"
#include "ctl/lib/table.h"
#include "ctl/lib/text.h"
#include "ctl/watch/frame.h"

#define ROWS         24u
#define COLUMNS      80u
#define ASK_MS       3000 /* a broker slower than this counts as hung */
#define INTERVAL_MIN 0.05
#define INTERVAL_MAX 3600.0
#define ENTER        "\033[?1049h\033[?25l\033[2J"
#define LEAVE        "\033[0m\033[?25h\033[?1049l"

struct answers {
    json_t *replies[3]; /* stats, ls, clients */
    struct ctl_snapshot snapshot;
};

/* ---- asking ---------------------------------------------------------------------------------- */

static double now_s(void)
{
    return (double)swi_now() / 1e9;
}

static void answers_free(struct answers *answers)
{
    for (size_t i = 0; i < 3; i++)
        json_decref(answers->replies[i]);
    *answers = (struct answers){.replies = {NULL}};
}

/* Returns 0, or a negative code; the peer is then closed and NULL. */
static int ask_all(const struct ctl_call *call, struct ctl_peer **peer, struct answers *ret,
                   struct swi_error *error)
{
    static const char *const verbs[] = {"stats", "ls", "clients"};
    struct answers answers = {.replies = {NULL}};
    int result = *peer ? 0 : ctl_connect(call->socket_path, ASK_MS, peer, error);
    for (size_t i = 0; i < 3 && result == 0; i++) {
        json_t *request = json_pack("{s:s}", "verb", verbs[i]);
        result = request ? ctl_ask(*peer, request, ASK_MS, NULL, &answers.replies[i], error)
                         : swi_fail(error, -ENOMEM, "out of memory");
        json_decref(request);
        if (result == 0 && !json_is_true(json_object_get(answers.replies[i], "ok"))) {
            const char *why = json_string_value(json_object_get(answers.replies[i], "error"));
            result = swi_fail(error, SW_EUNSUPPORTED, "%s: %s", verbs[i],
                              why ? why : "the broker reports a failure");
        }
    }
    if (result < 0) {
        answers_free(&answers);
        ctl_disconnect(*peer);
        *peer = NULL;
        return result;
    }
    for (size_t i = 0; i < 3; i++)
        ctl_json_clean(answers.replies[i]);
    answers.snapshot = (struct ctl_snapshot){
        .stats = answers.replies[0],
        .chunks = json_object_get(answers.replies[1], "chunks"),
        .clients = json_object_get(answers.replies[2], "clients"),
        .at_s = now_s(),
    };
    *ret = answers;
    return 0;
}

/* ---- the terminal ---------------------------------------------------------------------------- */

static struct termios cooked;
static volatile sig_atomic_t raw, resized, ended;

/* Async-signal-safe. */
static void give_back(void)
{
    if (!raw)
        return;
    raw = 0;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
    (void)!write(STDOUT_FILENO, LEAVE, sizeof LEAVE - 1);
}

static void take_terminal(void)
{
    struct termios mode = cooked;
    mode.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    mode.c_cc[VMIN] = 0;
    mode.c_cc[VTIME] = 0;
    raw = 1;
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &mode);
    (void)!write(STDOUT_FILENO, ENTER, sizeof ENTER - 1);
}

static void on_resize(int number)
{
    (void)number;
    resized = 1;
}

static void on_end(int number)
{
    ended = number;
    ctl_interrupted = 1;
}

/* The default action follows: SA_RESETHAND. */
static void on_crash(int number)
{
    give_back();
    (void)raise(number);
}

static void on_stop(int number)
{
    (void)number;
    give_back();
    (void)raise(SIGSTOP);
    take_terminal();
    resized = 1;
}

static void catch_signals(void)
{
    static const struct {
        int number;
        void (*handler)(int number);
        int flags;
    } catches[] = {
        {SIGWINCH, on_resize, 0},
        {SIGINT, on_end, 0},
        {SIGTERM, on_end, 0},
        {SIGHUP, on_end, 0},
        {SIGQUIT, on_end, 0},
        {SIGTSTP, on_stop, 0},
        {SIGPIPE, on_end, 0},
        {SIGSEGV, on_crash, (int)SA_RESETHAND},
        {SIGBUS, on_crash, (int)SA_RESETHAND},
        {SIGABRT, on_crash, (int)SA_RESETHAND},
        {SIGFPE, on_crash, (int)SA_RESETHAND},
        {SIGILL, on_crash, (int)SA_RESETHAND},
    };
    for (size_t i = 0; i < sizeof catches / sizeof catches[0]; i++) {
        struct sigaction action = {.sa_handler = catches[i].handler, .sa_flags = catches[i].flags};
        sigemptyset(&action.sa_mask);
        (void)sigaction(catches[i].number, &action, NULL);
    }
}

/* ---- drawing --------------------------------------------------------------------------------- */

struct size {
    unsigned rows, columns;
};

static struct size terminal_size(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        return (struct size){size.ws_row, size.ws_col};
    return (struct size){ROWS, COLUMNS};
}

/* malloc'd; NULL: out of memory. */
static char *draw(struct size size, const struct answers *now, const struct answers *before,
                  const char *notice, bool terminal)
{
    struct ctl_screen *screen = ctl_screen_create(size.rows, size.columns);
    if (!screen)
        return NULL;
    ctl_frame_draw(screen, &now->snapshot, before->snapshot.stats ? &before->snapshot : NULL,
                   notice);
    char *text = ctl_screen_text(screen, terminal, ctl_colour());
    ctl_screen_destroy(screen);
    return text;
}

/* Writes all of text, however slow the terminal is. False: the terminal is gone, or a signal
 * came. */
static bool show(const char *text)
{
    const char *const parts[] = {"\033[H", text};
    for (size_t i = 0; i < 2; i++) {
        size_t size = strlen(parts[i]);
        for (const char *from = parts[i]; size > 0;) {
            ssize_t count = write(STDOUT_FILENO, from, size);
            if (count < 0 && errno != EINTR)
                return false;
            if (count > 0) {
                from += count;
                size -= (size_t)count;
            }
            if (ended)
                return false;
        }
    }
    return true;
}

/* Waits for the next frame. False: the user or a signal ends the program. */
static bool wait_until(double at_s)
{
    while (!ended && !resized) {
        double rest_s = at_s - now_s();
        if (rest_s <= 0)
            return true;
        struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
        /* in short steps: a signal between the check and the wait does not interrupt the wait */
        if (poll(&keys, 1, rest_s > 0.2 ? 200 : (int)(rest_s * 1000) + 1) <= 0)
            continue;
        char key;
        ssize_t count = read(STDIN_FILENO, &key, 1);
        if (count == 0 || (count < 0 && errno != EINTR) || key == 'q' || key == 'Q' || key == 4)
            return false; /* the terminal hung up, or q, or Ctrl-D */
    }
    return !ended;
}

static void watch(const struct ctl_call *call, double interval_s, struct size fixed)
{
    struct answers now = {.replies = {NULL}}, before = {.replies = {NULL}};
    struct ctl_peer *peer = NULL;
    bool going = true;
    while (going) {
        double next_s = now_s() + interval_s;
        struct answers fresh;
        struct swi_error error = {0};
        char notice[SWI_ERROR_TEXT + 64] = "";
        int result = ask_all(call, &peer, &fresh, &error);
        if (result == 0) {
            answers_free(&before);
            before = now;
            now = fresh;
        } else {
            (void)snprintf(notice, sizeof notice, "retrying: %s", error.text);
            ctl_text_clean(notice);
        }
        do {
            resized = 0;
            char *text = draw(fixed.rows ? fixed : terminal_size(), &now, &before,
                              result < 0 ? notice : NULL, true);
            going = !ended && text && show(text);
            free(text);
            going = going && wait_until(next_s);
        } while (going && resized);
    }
    ctl_disconnect(peer);
    answers_free(&now);
    answers_free(&before);
}

/* One frame as text. With an interval it has rates, which take two snapshots. */
static int once(const struct ctl_call *call, double interval_s, struct size size)
{
    struct answers now = {.replies = {NULL}}, before = {.replies = {NULL}};
    struct ctl_peer *peer = NULL;
    struct swi_error error = {0};
    int result = 0;
    if (interval_s > 0) {
        result = ask_all(call, &peer, &before, &error);
        if (result == 0)
            (void)poll(NULL, 0, (int)(interval_s * 1000));
    }
    if (result == 0)
        result = ask_all(call, &peer, &now, &error);
    int exit_code = result < 0 ? ctl_no_answer(&error) : CTL_DONE;
    if (result == 0 && call->json) {
        json_t *all = json_pack("{s:b, s:O, s:O, s:O}", "ok", 1, "stats", now.replies[0], "chunks",
                                now.snapshot.chunks, "clients", now.snapshot.clients);
        ctl_json_print(all, stdout);
        json_decref(all);
    } else if (result == 0) {
        char *text = draw(size.rows ? size : terminal_size(), &now, &before, NULL, false);
        (void)fputs(text ? text : "", stdout);
        free(text);
    }
    ctl_disconnect(peer);
    answers_free(&now);
    answers_free(&before);
    return exit_code;
}

/* ---- command line ---------------------------------------------------------------------------- */

static bool take_interval(const char *word, void *place)
{
    char *end;
    double value = strtod(word, &end);
    if (word[0] < '0' || word[0] > '9' || *end || !(value >= INTERVAL_MIN) || value > INTERVAL_MAX)
        return false;
    *(double *)place = value;
    return true;
}

static bool take_size(const char *word, void *place)
{
    struct size size;
    char rest;
    if (sscanf(word, "%3ux%3u%c", &size.columns, &size.rows, &rest) != 2 || size.rows == 0 ||
        size.rows > CTL_SCREEN_ROWS || size.columns == 0 || size.columns > CTL_SCREEN_COLUMNS)
        return false;
    *(struct size *)place = size;
    return true;
}

static bool only_once;
static double given_interval_s; /* 0: not given */
static struct size given_size;  /* 0x0: not given */

static const struct cli_option options[] = {
    {"interval", "SECONDS", "time between frames; default 1", .take = take_interval,
     .place = &given_interval_s, .expected = "seconds from 0.05 to 3600"},
    {"once", NULL, "print one frame as text; with --interval it has rates", .flag = &only_once},
    {"size", "COLSxROWS", "size of the frame; default the terminal's, or 80x24", .take = take_size,
     .place = &given_size, .expected = "columns and rows, such as 80x24, at most 400x200"},
    {0},
};
_Static_assert(CTL_SCREEN_COLUMNS == 400 && CTL_SCREEN_ROWS == 200, "as the message says");

static int run(const struct ctl_call *call)
{
    if (only_once)
        return once(call, given_interval_s, given_size);
    if (call->json)
        return cli_usage(call->command, "--json needs --once");
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &cooked) < 0)
        return cli_usage(call->command, "it needs a terminal; --once prints one frame");
    catch_signals();
    take_terminal();
    watch(call, given_interval_s > 0 ? given_interval_s : 1, given_size);
    give_back();
    return ended && ended != SIGINT ? 128 + ended : CTL_DONE;
}

const struct ctl_verb ctl_verb_watch = {.name = "watch",
                                        .help =
                                            "show the arena, rates and clients' passes, refreshed",
                                        .more = "q or Ctrl-C quits. The view fits 80x24. While the "
                                                "broker is away, the view keeps reconnecting.",
                                        .options = options,
                                        .run = run};
