/* SPDX-License-Identifier: MIT */
/* swctl with peers that are not a broker; its completion, its doctor and its tables. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/socket.h"
#include "support/raw.h"

TestSuite(swctl_peers, .timeout = 120);

/* ---- peers ----------------------------------------------------------------------------------- */

enum manner {
    GARBAGE,    /* random bytes */
    SILENT,     /* reads everything, sends nothing */
    HANGS_UP,   /* closes at once */
    NO_JSON,    /* a well-formed packet without JSON */
    NO_OBJECT,  /* JSON that is not an object */
    DEEP,       /* deeply nested JSON */
    PROGRESSES, /* nothing but progress */
    NEVER_ENDS, /* parts without end */
    STEERS,     /* a failure whose message would clear the screen */
    MANNERS
};

#define STEERING "\\u001b[2J\\u007f\\u009b1mgone\\u202e\\udb40\\udc01"

static void say(int fd, uint64_t tag, const char *text, size_t size, uint32_t more)
{
    static uint8_t packet[SWI_WIRE_MAX];
    struct swi_wire_text head = {.more = more, .text_length = (uint32_t)size};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_CONTROL_PART, tag);
    swi_wire_put(&out, &head, sizeof head);
    swi_wire_put(&out, text, size);
    (void)swi_socket_send(fd, packet, swi_wire_end(&out), NULL, 0);
}

static void steer(int fd, uint64_t tag)
{
    static const char text[] = "{\"ok\":false,\"error\":\"" STEERING "\"}";
    say(fd, tag, text, sizeof text - 1, 0);
}

static void speak(int fd, enum manner manner, unsigned round)
{
    static uint8_t packet[SWI_WIRE_MAX];
    static char text[60000];
    uint64_t tag = 1;
    if (manner == HANGS_UP)
        return;
    if (swi_socket_receive(fd, packet, sizeof packet, NULL, NULL) <= 0)
        return;
    memset(text, '[', sizeof text);
    switch (manner) {
    case GARBAGE:
        for (size_t i = 0; i < 4096; i++)
            packet[i] = (uint8_t)(rand() >> 7);
        (void)swi_socket_send(fd, packet, 1 + round * 977 % 4096, NULL, 0);
        break;
    case NO_JSON:
        say(fd, tag, "hello", 5, 0);
        break;
    case NO_OBJECT:
        say(fd, tag, "[true]", 6, 0);
        break;
    case DEEP:
        say(fd, tag, text, sizeof text, 0);
        break;
    case PROGRESSES:
        for (int i = 0; i < 20; i++)
            say(fd, tag, "{\"progress\":{\"bytes\":-1,\"of_bytes\":\"x\"}}", 40, 0);
        break;
    case NEVER_ENDS:
        for (;;) {
            char byte;
            say(fd, tag, text, sizeof text, 1);
            if (recv(fd, &byte, 1, MSG_DONTWAIT) == 0)
                return;
        }
    case STEERS:
        steer(fd, tag);
        break;
    default:
        break;
    }
    char byte;
    if (manner == SILENT)
        (void)recv(fd, &byte, 1, 0);
}

static pid_t start_peer(const char *path, enum manner manner)
{
    struct swi_error error;
    int listener = swi_socket_listen(path, 0600, &error);
    cr_assert_geq(listener, 0, "%s", error.text);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        srand(7);
        for (unsigned round = 0;; round++) {
            int fd = accept(listener, NULL, NULL);
            if (fd < 0) {
                usleep(2000);
                continue;
            }
            speak(fd, manner, round);
            close(fd);
        }
    }
    close(listener);
    return pid;
}

Test(swctl_peers, survives_them)
{
    static const char *const verbs[] = {"ping", "stats", "ls", "warm", "warm", "verify", "watch"};
    for (int manner = 0; manner < MANNERS; manner++) {
        const char *path = sup_path("peer%d", manner);
        pid_t pid = start_peer(path, (enum manner)manner);
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
            const char *extra = strcmp(verbs[i], "warm") == 0    ? i % 2 ? "model" : "--all"
                                : strcmp(verbs[i], "watch") == 0 ? "--once"
                                                                 : NULL;
            const char *argv[] = {"swctl", "--socket", path,  "--timeout",
                                  "0.5",   verbs[i],   extra, NULL};
            struct sup_result result = sup_run(argv);
            int expected = manner == STEERS && i < 6 ? 1 : 3;
            if (manner == GARBAGE && strstr(result.err, "version"))
                expected = 1; /* some garbage looks like a broker of another release */
            cr_assert_eq(result.exit_code, expected, "manner %d, %s: exit %d: %s", manner, verbs[i],
                         result.exit_code, result.err);
            cr_assert_null(strpbrk(result.err, "\033\r"), "%s", result.err);
            cr_assert_null(strstr(result.err, "\xc2\x9b"), "%s", result.err);
            cr_assert_eq(result.err[result.err_size - 1], '\n');
        }
        cr_assert_eq(kill(pid, SIGKILL), 0);
        (void)sup_wait(pid, 10000);
    }
}

Test(swctl_peers, json_escapes_terminal_controls_and_loses_nothing)
{
    const char *path = sup_path("peer");
    pid_t pid = start_peer(path, STEERS);
    struct sup_result result = sup_run(SUP_ARGS("swctl", "--socket", path, "--json", "stats"));
    cr_assert_eq(result.exit_code, 1, "exit %d: %s", result.exit_code, result.err);
    for (size_t i = 0; i < result.out_size; i++) {
        unsigned char byte = (unsigned char)result.out[i];
        cr_assert(byte == '\n' || (byte >= 0x20 && byte < 0x7f), "byte %02x", byte);
    }
    json_t *reply = json_loads(result.out, 0, NULL);
    json_t *sent = json_loads("\"" STEERING "\"", JSON_DECODE_ANY, NULL);
    cr_assert(json_equal(json_object_get(reply, "error"), sent), "%s", result.out);
    json_decref(reply);
    json_decref(sent);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)sup_wait(pid, 10000);
}

Test(swctl_peers, names_what_is_wrong_with_a_command_line)
{
    const char *file = sup_path("file");
    sup_write_text(file, "");
    struct sup_result result = sup_run(SUP_ARGS("swctl", "--socket", file, "ping"));
    cr_assert_eq(result.exit_code, 3);
    cr_assert_str_eq(result.err, sup_format("swctl: %s is not a socket; name the broker's with "
                                            "--socket or $SW_SOCKET\n",
                                            file));
    result = sup_run(SUP_ARGS("swctl", "warm", ""));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "swctl warm: '' is neither"), "%s", result.err);
    result = sup_run(SUP_ARGS("swctl", "pin"));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "swctl pin: missing argument: it takes MODEL"), "%s",
                       result.err);
}

/* ---- completion ------------------------------------------------------------------------------ */

/* What bash offers for a command line: one candidate per line. */
static char *complete(const char *words)
{
    const char *script = sup_format("source '%s/broker/deploy/completion/swctl.bash'\n"
                                    "COMP_WORDS=(%s)\n"
                                    "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                                    "COMP_WORDS[0]='%s/swctl'\n"
                                    "_swctl\n"
                                    "((${#COMPREPLY[@]})) && printf '%%s\\n' \"${COMPREPLY[@]}\"\n"
                                    "exit 0\n",
                                    SW_SOURCE_DIR, words, SW_BUILD_DIR);
    return sup_run_ok(SUP_ARGS("/bin/bash", "--norc", "-uc", script));
}

Test(swctl_peers, completes_commands_options_and_names)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "2"));
    (void)sup_synth(models, "two words", SUP_ARGS("--layers", "1"));
    const char *trap = sup_path("trap");
    const char *hostile = "$(touch trap)";
    (void)sup_synth(models, hostile, SUP_ARGS("--layers", "1"));
    cr_assert_eq(chdir(sup_dir()), 0);
    struct sup_broker broker = sup_broker_start(models, "32", NULL);
    cr_assert_str_eq(complete("swctl wa"), "watch\nwarm\n");
    cr_assert_str_eq(complete("swctl --json verif"), "verify\n");
    cr_assert_str_eq(complete("swctl warm ti"), "tiny\n");
    cr_assert_str_eq(complete("swctl pin tw"), "two\\ words\n");
    cr_assert_str_eq(complete("swctl verify tiny/layer"), "tiny/layer_0\ntiny/layer_1\n");
    cr_assert_str_eq(complete("swctl ls --so"), "--socket\n--sort\n");
    cr_assert_str_eq(complete("swctl ls --sort h"), "hits\n");
    cr_assert_str_eq(complete("swctl trace sta"), "status\n");
    cr_assert_str_eq(complete("swctl ping t"), "");
    cr_assert_not_null(strstr(complete("swctl warm ''"), "touch"), "the hostile name is offered");
    cr_assert_not(sup_exists(trap), "a model's name was run as a command");
    cr_assert_eq(sup_broker_stop(&broker), 0);
    cr_assert_str_eq(complete("swctl warm ti"), "", "nobody answers");
}

/* ---- doctor ---------------------------------------------------------------------------------- */

/* One check of doctor --json. */
static const json_t *check_of(const json_t *reply, const char *name)
{
    size_t i;
    json_t *check;
    json_array_foreach(json_object_get(reply, "checks"), i, check)
    {
        if (strcmp(json_string_value(json_object_get(check, "name")), name) == 0)
            return check;
    }
    cr_assert_fail("doctor has no check %s", name);
    return NULL;
}

static void expect_check(const json_t *reply, const char *name, const char *result)
{
    const json_t *check = check_of(reply, name);
    cr_assert_str_eq(json_string_value(json_object_get(check, "result")), result, "%s: %s", name,
                     json_string_value(json_object_get(check, "found")));
    if (strcmp(result, "warn") == 0 || strcmp(result, "fail") == 0)
        cr_assert_neq(json_string_value(json_object_get(check, "remedy"))[0], 0, "%s has no remedy",
                      name);
}

static json_t *examine(const char *const argv[], int exit_code)
{
    struct sup_result result = sup_run(argv);
    cr_assert_eq(result.exit_code, exit_code, "exit %d: %s%s", result.exit_code, result.out,
                 result.err);
    json_t *reply = json_loads(result.out, 0, NULL);
    cr_assert(json_is_object(reply), "%s", result.out);
    return reply;
}

Test(swctl_peers, doctor_checks_a_machine_without_a_broker)
{
    const char *models = sup_path("models"), *nobody = sup_path("nobody");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    json_t *reply = examine(SUP_ARGS("swctl", "--socket", nobody, "--json", "doctor",
                                     "--chunks-dir", models, "--cache-size", "1M"),
                            4);
    expect_check(reply, "broker", "warn");
    expect_check(reply, "release", "unknown");
    expect_check(reply, "/dev/shm", "ok");
    expect_check(reply, "chunks dir", "ok");
    json_decref(reply);
    /* a cache that does not fit and a file that anyone can write fail */
    cr_assert_eq(chmod(sup_format("%s/tiny/layer_0.safetensors", models), 0666), 0);
    reply = examine(SUP_ARGS("swctl", "--socket", nobody, "--json", "doctor", "--chunks-dir",
                             models, "--cache-size", "900T"),
                    1);
    expect_check(reply, "/dev/shm", "fail");
    expect_check(reply, "memory", "fail");
    expect_check(reply, "chunks dir", "fail");
    json_decref(reply);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "doctor", "--cache-size", "x")).exit_code, 2);
}

Test(swctl_peers, doctor_checks_a_broker)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", SUP_ARGS("--io-engine", "threads"));
    struct sup_result result = sup_run(SUP_ARGS("swctl", "doctor", "--json"));
    json_t *reply = json_loads(result.out, 0, NULL);
    expect_check(reply, "broker", "ok");
    expect_check(reply, "release", "ok");
    expect_check(reply, "catalog", "ok");
    expect_check(reply, "damage", "ok");
    expect_check(reply, "socket", "ok");
    expect_check(reply, "io_uring", "warn");
    json_decref(reply);
    const char *table = sup_run(SUP_ARGS("swctl", "doctor")).out;
    cr_assert_not_null(strstr(table, "io_uring"), "%s", table);
    cr_assert_null(strchr(table, '\033'));
    /* a chunk that cannot be read, and a socket that anyone can use */
    cr_assert_eq(truncate(sup_format("%s/tiny/layer_0.safetensors", models), 100), 0);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "warm", "tiny")).exit_code, 1);
    cr_assert_eq(chmod(broker.socket, 0666), 0);
    result = sup_run(SUP_ARGS("swctl", "doctor", "--json"));
    reply = json_loads(result.out, 0, NULL);
    expect_check(reply, "damage", "warn");
    expect_check(reply, "socket", "warn");
    cr_assert(json_is_false(json_object_get(reply, "ok")));
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- tables ---------------------------------------------------------------------------------- */

Test(swctl_peers, aligns_names_of_any_script_and_strips_terminal_controls)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "ascii", SUP_ARGS("--layers", "1"));
    (void)sup_synth(models, "\xe4\xbd\xa0\xe5\xa5\xbd", SUP_ARGS("--layers", "1"));
    /* swchunk refuses such a name, other tools may not */
    sup_copy_tree(sup_format("%s/ascii", models), sup_format("%s/\033[31mred", models));
    struct sup_broker broker = sup_broker_start(models, "32", NULL);
    const char *text = sup_run_ok(SUP_ARGS("swctl", "models"));
    cr_assert_null(strchr(text, '\033'), "%s", text);
    /* two wide characters fill four columns of eight */
    cr_assert_not_null(strstr(text, "\n\xe4\xbd\xa0\xe5\xa5\xbd      bert  "), "%s", text);
    cr_assert_not_null(strstr(text, "\nascii     bert  "), "%s", text);
    cr_assert_not_null(strstr(text, "\n?[31mred  bert  "), "%s", text);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
