/* SPDX-License-Identifier: MIT */
/* The daemon's settings: their sources, what is refused, and what a reload changes. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/support.h"

static const char *catalog(void)
{
    const char *path = sup_path("models");
    sup_mkdir(path);
    return path;
}

static const char *write_config(const char *name, const char *text)
{
    const char *path = sup_path("%s", name);
    sup_write_text(path, text);
    return path;
}

/* "VALUE ; SOURCE" of one setting in the output of --check-config, without the padding. */
static const char *shown(const char *printed, const char *name)
{
    const char *at = strstr(printed, sup_format("\n%s = ", name));
    cr_assert_not_null(at, "no %s in:\n%s", name, printed);
    at += strlen(name) + 4;
    char line[512];
    size_t used = 0;
    for (; *at && *at != '\n' && used < sizeof line - 1; at++)
        if (*at != ' ' || (used > 0 && line[used - 1] != ' '))
            line[used++] = *at;
    line[used] = 0;
    return sup_format("%s", line);
}

static void expect_shown(const char *printed, const char *name, const char *expected)
{
    cr_assert_str_eq(shown(printed, name), expected);
}

Test(settings, stronger_sources_win, .timeout = 60)
{
    const char *path = write_config("a.conf", "# a comment\n"
                                              "[catalog]\n"
                                              "chunks-dir = /file\n"
                                              "\n"
                                              "[cache]\n"
                                              "   cache-size = 20   ; indented\n"
                                              "policy: lru\n"
                                              "max-cache-size = 40\n"
                                              "[clients]\n"
                                              "max-sessions = 5\n");
    cr_assert_eq(setenv("SWBROKERD_CACHE_SIZE", "30", 1), 0);
    cr_assert_eq(setenv("SWBROKERD_MAX_SESSIONS", "6", 1), 0);
    cr_assert_eq(setenv("SWBROKERD_POLICY", "", 1), 0); /* empty: not set */
    cr_assert_eq(setenv("SW_SOCKET", "/from/environment", 1), 0);
    const char *text = sup_run_ok(SUP_ARGS("swbrokerd", "--config", path, "--max-sessions", "7",
                                           "--verbose", "--check-config"));
    expect_shown(text, "chunks-dir", sup_format("/file ; %s:3", path));
    expect_shown(text, "policy", sup_format("lru ; %s:7", path));
    expect_shown(text, "max-cache-size", sup_format("40 ; %s:8", path));
    expect_shown(text, "cache-size", "30 ; $SWBROKERD_CACHE_SIZE");
    expect_shown(text, "socket", "/from/environment ; $SW_SOCKET");
    expect_shown(text, "max-sessions", "7 ; --max-sessions");
    expect_shown(text, "log-level", "debug ; --log-level");
    expect_shown(text, "io-engine", "auto ; default");
}

Test(settings, the_file_may_come_from_the_environment, .timeout = 60)
{
    const char *path = write_config("a.conf", "[catalog]\nchunks-dir = /here\n");
    cr_assert_eq(setenv("SWBROKERD_CONFIG", path, 1), 0);
    expect_shown(sup_run_ok(SUP_ARGS("swbrokerd", "--check-config")), "chunks-dir",
                 sup_format("/here ; %s:2", path));
    const char *other = write_config("b.conf", "[catalog]\nchunks-dir = /there\n");
    expect_shown(sup_run_ok(SUP_ARGS("swbrokerd", "--check-config", "--config", other)),
                 "chunks-dir", sup_format("/there ; %s:2", other));
}

Test(settings, the_output_of_check_config_is_a_configuration, .timeout = 60)
{
    const char *first =
        sup_run_ok(SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/a", "--cache-size",
                            "2G", "--max-pinned", "1G", "--admin-group", "0", "--trace", "/t"));
    const char *path = write_config("printed.conf", first);
    const char *second = sup_run_ok(SUP_ARGS("swbrokerd", "--check-config", "--config", path));
    static const char *const names[] = {"chunks-dir", "cache-size", "max-pinned", "admin-group",
                                        "trace",      "policy",     "socket",     "socket-mode"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *a = shown(first, names[i]), *b = shown(second, names[i]);
        size_t length = strcspn(a, ";");
        cr_assert_eq(strncmp(a, b, length + 1), 0, "%s, then %s", a, b);
    }
}

Test(settings, secrets_are_shown_nowhere, .timeout = 60)
{
    cr_assert_eq(setenv("SW_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0", 1), 0);
    const struct sup_result result =
        sup_run(SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/a", "--config",
                         write_config("a.conf", "[redis]\nredis-url = redis://:hunter3@h\n")));
    cr_assert_null(strstr(result.out, "hunter"), "%s", result.out);
    cr_assert_null(strstr(result.err, "hunter"), "%s", result.err);
    if (strstr(result.err, "built without Redis support")) /* and refuses every URL */
        return;
    cr_assert_eq(result.exit_code, 0, "%s", result.err);
    cr_assert_not_null(strstr(result.out, "$SW_REDIS_URL"), "%s", result.out);
}

static bool one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end && end[1] == 0;
}

/* A file, the wrong line, and words that the message must contain. */
Test(settings, every_mistake_is_named_with_its_place, .timeout = 60)
{
    static const char long_value[] = "[cache]\ntrace = /%0300d\n";
    const struct {
        const char *text;
        unsigned line;
        const char *words[2];
    } cases[] = {
        {"[cahce]\ncache-size = 1G\n", 1, {"[cahce]", "[cache]"}},
        {"[cahce]\n", 1, {"[cahce]", "[cache]"}},
        {"cache-size = 1G\n", 1, {"cache-size", "[cache]"}},
        {"[cache]\nchache-size = 1G\n", 2, {"chache-size", "--help"}},
        {"[socket]\n\ncache-size = 1G\n", 3, {"cache-size", "[cache]"}},
        {"[cache]\ncache-size = 1G\n# again\ncache-size = 1G\n", 4, {"line 2", "cache-size"}},
        {"[cache]\ncache-size = 1G\n[cache]\n  cache-size = 1G\n", 4, {"line 2", "cache-size"}},
        {"[cache]\ncache-size = lots\n", 2, {"lots", "512M"}},
        {"[cache]\ncache-size = -1\n", 2, {"-1", "512M"}},
        {"[cache]\ncache-size =\n", 2, {"\"\"", "512M"}},
        {"[cache]\npolicy = lfu\n", 2, {"lfu", "lru or next-use"}},
        {"[clients]\nmax-sessions = 1025\n", 2, {"1025", "from 1 to 1024"}},
        {"[clients]\nmax-sessions = 5x\n", 2, {"5x", "from 1 to 1024"}},
        {"[socket]\nsocket-mode = 0888\n", 2, {"0888", "octal"}},
        {"[socket]\nadmin-group = no-such-group-here\n", 2, {"no-such-group-here", "exists"}},
        {"[log]\nlog-level = loud\n", 2, {"loud", "debug"}},
        {"[log]\nnonsense\n", 2, {"[section]", "NAME = VALUE"}},
        {"\n\n[log\n", 3, {"[section]", "NAME = VALUE"}},
        {"[log]\nlog-level = \x01info\n", 2, {"control character", ""}},
        {sup_format(long_value, 1), 2, {"longer than 198 bytes", "flag"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_config("bad.conf", cases[i].text);
        /* even where a flag would win */
        struct sup_result result = sup_run(
            SUP_ARGS("swbrokerd", "--config", path, "--chunks-dir", "/", "--cache-size", "16"));
        cr_assert_eq(result.exit_code, 2, "case %zu: exit %d: %s", i, result.exit_code, result.err);
        cr_assert(one_line(result.err), "case %zu: %s", i, result.err);
        cr_assert_not_null(strstr(result.err, sup_format("%s:%u: ", path, cases[i].line)),
                           "case %zu: %s", i, result.err);
        for (int k = 0; k < 2; k++)
            cr_assert_not_null(strstr(result.err, cases[i].words[k]), "case %zu: %s", i,
                               result.err);
        cr_assert_eq(result.out_size, 0);
    }
}

Test(settings, other_sources_are_checked_too, .timeout = 60)
{
    struct sup_result result = sup_run(
        SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/", "--config", sup_path("none")));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, sup_path("none")), "%s", result.err);
    result = sup_run(
        SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/", "--config", sup_dir()));
    cr_assert_eq(result.exit_code, 2, "a directory is not a configuration");
    result = sup_run(
        SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/", "--config", "/dev/zero"));
    cr_assert_eq(result.exit_code, 2, "an endless file is not a configuration");
    cr_assert_eq(setenv("SWBROKERD_CACHE_SIZE", "huge", 1), 0);
    result = sup_run(SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/", "--cache-size",
                              "16", "--config", "/dev/null"));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "$SWBROKERD_CACHE_SIZE takes"), "%s", result.err);
    cr_assert_eq(unsetenv("SWBROKERD_CACHE_SIZE"), 0);
    cr_assert_eq(setenv("SWBROKERD_CACHESIZE", "16", 1), 0);
    result = sup_run(
        SUP_ARGS("swbrokerd", "--check-config", "--chunks-dir", "/", "--config", "/dev/null"));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "unknown variable $SWBROKERD_CACHESIZE"), "%s",
                       result.err);
}

Test(settings, a_long_comment_is_accepted, .timeout = 60)
{
    const char *path =
        write_config("a.conf", sup_format("# %0500d\n;%0500d\n[catalog]\nchunks-dir = /a", 1, 2));
    expect_shown(sup_run_ok(SUP_ARGS("swbrokerd", "--check-config", "--config", path)),
                 "chunks-dir", sup_format("/a ; %s:4", path));
}

/* ---- the table, the manual and the sample ---------------------------------------------------- */

struct names {
    char name[64][40];
    size_t count;
};

static void add_name(struct names *names, const char *at)
{
    size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
    cr_assert(length > 0 && length < 40 && names->count < 64, "%.40s", at);
    memcpy(names->name[names->count], at, length);
    names->name[names->count++][length] = 0;
}

static bool has_name(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->name[i], name) == 0)
            return true;
    return false;
}

/* Names in lines that begin with lead; keys: only those followed by " =". */
static struct names names_after(const char *text, const char *lead, bool keys)
{
    struct names names = {.count = 0};
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *at = line;
        if (strncmp(at, lead, strlen(lead)) == 0)
            at += strlen(lead);
        else if (!keys)
            continue;
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
        if (length > 0 && (!keys || strncmp(at + length, " =", 2) == 0))
            add_name(&names, at);
    }
    return names;
}

Test(settings, the_manual_and_the_sample_list_every_setting, .timeout = 60)
{
    const char *sample_path = SW_SOURCE_DIR "/broker/deploy/swbrokerd.conf";
    struct names flags =
        names_after(sup_run_ok(SUP_ARGS("swbrokerd", "--help")), "      --", false);
    struct names table = names_after(
        sup_run_ok(SUP_ARGS("swbrokerd", "--check-config", "--config", sample_path)), "; ", true);
    struct names manual =
        names_after(sup_read(SW_SOURCE_DIR "/man/swbrokerd.conf.5", NULL), ".It Ic ", false);
    struct names sample = names_after(sup_read(sample_path, NULL), "; ", true);
    cr_assert_geq(table.count, 20);
    cr_assert_eq(flags.count, table.count + 3, "the others are: verbose, config, check-config");
    cr_assert_eq(manual.count, table.count);
    cr_assert_eq(sample.count, table.count);
    for (size_t i = 0; i < table.count; i++) {
        cr_assert(has_name(&flags, table.name[i]), "no flag --%s", table.name[i]);
        cr_assert(has_name(&manual, table.name[i]), "no %s in the manual", table.name[i]);
        cr_assert(has_name(&sample, table.name[i]), "no %s in the sample", table.name[i]);
    }
}

/* ---- reloading ------------------------------------------------------------------------------- */

static const char *config_text(const char *cache_size, const char *more)
{
    return sup_format("[cache]\ncache-size = %s\nmax-cache-size = 64\n%s", cache_size, more);
}

/* A broker whose sizes come from the file: sup_broker_start gives --cache-size, which would win. */
static struct sup_broker start_with(const char *path)
{
    struct sup_broker broker = {.socket = sup_path("s"), .log = sup_path("log")};
    cr_assert_eq(setenv("SW_SOCKET", broker.socket, 1), 0);
    broker.pid = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", catalog(), "--config", path), NULL,
                           broker.log);
    for (int i = 0; i < 1000 && sup_run(SUP_ARGS("swctl", "ping")).exit_code != 0; i++) {
        cr_assert_eq(sup_wait(broker.pid, 0), -1, "%s", sup_read(broker.log, NULL));
        sup_sleep_ms(10);
    }
    return broker;
}

static bool holds(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
            return true;
    return false;
}

static int64_t model_bytes(const struct sup_broker *broker)
{
    json_t *reply = sup_swctl(broker, SUP_ARGS("models"));
    const json_t *list = json_object_get(reply, "models");
    int64_t bytes = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        bytes += json_integer_value(json_object_get(json_array_get(list, i), "bytes"));
    json_decref(reply);
    return bytes;
}

/* Twice the models' size, in whole pages. */
static int64_t fitting(const struct sup_broker *broker)
{
    return 2 * model_bytes(broker) / 4096 * 4096;
}

Test(settings, a_size_that_is_not_given_fits_the_models, .timeout = 60)
{
    const char *path = write_config("a.conf", "[log]\nlog-level = info\n");
    const char *const wide[] = {"--hidden", "256", "--layers", "4", NULL};
    struct sup_broker broker = start_with(path);
    cr_expect_eq(sup_stat(&broker, "arena_bytes"), 16 << 20, "the least");
    cr_expect_eq(sup_stat(&broker, "max_bytes") % (1 << 20), 0);
    (void)sup_synth(catalog(), "a", wide);
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "a")); /* found by its name */
    cr_expect_gt(model_bytes(&broker), 8 << 20);
    cr_expect_eq(sup_stat(&broker, "arena_bytes"), fitting(&broker));
    cr_assert_eq(sup_broker_stop(&broker), 0);
    broker = start_with(path);
    cr_expect_eq(sup_stat(&broker, "arena_bytes"), fitting(&broker), "at start");
    (void)sup_synth(catalog(), "b", wide);
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_expect_eq(sup_stat(&broker, "arena_bytes"), fitting(&broker), "after a reload");
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "20"));
    (void)sup_synth(catalog(), "c", wide);
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_expect_eq(sup_stat(&broker, "arena_bytes"), 20 << 20, "as the operator said");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, a_reload_applies_what_it_can_and_names_the_rest, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    struct sup_broker broker = start_with(path);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 16 << 20);
    (void)write_config(
        "a.conf",
        config_text("24", "policy = lru\nio-engine = threads\n[socket]\nsocket-mode = 0600\n"
                          "[clients]\nmax-sessions = 9\n"));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    json_t *settings = json_object_get(reply, "settings");
    cr_assert_str_eq(json_string_value(json_object_get(settings, "file")), path);
    const json_t *applied = json_object_get(settings, "applied");
    cr_assert(holds(applied, "cache-size") && holds(applied, "socket-mode") &&
              holds(applied, "max-sessions") && holds(applied, "policy"));
    cr_assert_eq(json_array_size(applied), 4);
    const json_t *later = json_object_get(settings, "at_restart");
    cr_assert(json_array_size(later) == 1 && holds(later, "io-engine"));
    cr_assert_eq(json_array_size(json_object_get(settings, "refused")), 0);
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 24 << 20);
    struct stat status;
    cr_assert_eq(stat(broker.socket, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    cr_assert_str_eq(json_string_value(json_object_get(stats, "policy")), "lru");
    json_decref(stats);
    /* changes that wait for a restart are reported again; applied ones are not */
    reply = sup_swctl(&broker, SUP_ARGS("reload"));
    settings = json_object_get(reply, "settings");
    cr_assert_eq(json_array_size(json_object_get(settings, "applied")), 0);
    cr_assert(holds(json_object_get(settings, "at_restart"), "io-engine"));
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, a_value_that_cannot_be_applied_is_refused_alone, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    struct sup_broker broker = start_with(path);
    (void)write_config("a.conf", "[cache]\ncache-size = 128\n[log]\nlog-level = debug\n");
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    const json_t *settings = json_object_get(reply, "settings");
    const json_t *refused = json_array_get(json_object_get(settings, "refused"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(refused, "name")), "cache-size");
    cr_assert_not_null(strstr(json_string_value(json_object_get(refused, "error")), "restart"));
    cr_assert(holds(json_object_get(settings, "applied"), "log-level"));
    cr_assert(holds(json_object_get(settings, "at_restart"), "max-cache-size"));
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 16 << 20);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, a_bad_file_leaves_the_old_settings, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    struct sup_broker broker = start_with(path);
    (void)write_config("a.conf", config_text("24", "[clients]\nmax-sessions = none\n"));
    struct sup_result result = sup_run(SUP_ARGS("swctl", "reload"));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, sup_format("%s:5: max-sessions", path)), "%s",
                       result.err);
    cr_assert_not_null(strstr(result.err, "old settings stay"), "%s", result.err);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 16 << 20);
    cr_assert_eq(kill(broker.pid, SIGHUP), 0);
    for (int i = 0; i < 1000 && !strstr(sup_read(broker.log, NULL), "old settings stay"); i++)
        sup_sleep_ms(10);
    cr_assert_not_null(strstr(sup_read(broker.log, NULL), "old settings stay"));
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 16 << 20);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, applied_settings_are_reported_even_if_the_catalog_cannot_be_read, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    struct sup_broker broker = start_with(path);
    (void)write_config("a.conf", config_text("24", "[log]\nlog-level = debug\n"));
    sup_remove_tree(catalog());
    struct sup_result result = sup_run(SUP_ARGS("swctl", "--json", "reload"));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, "cache-size"), "%s", result.err);
    json_t *reply = json_loads(result.out, 0, NULL);
    cr_assert(json_is_false(json_object_get(reply, "ok")), "%s", result.out);
    const json_t *settings = json_object_get(reply, "settings");
    const json_t *applied = json_object_get(settings, "applied");
    cr_assert(holds(applied, "cache-size") && holds(applied, "log-level"), "%s", result.out);
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 24 << 20);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, sighup_applies_too, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    struct sup_broker broker = start_with(path);
    (void)write_config("a.conf", config_text("24", ""));
    cr_assert_eq(kill(broker.pid, SIGHUP), 0);
    for (int i = 0; i < 1000 && sup_stat(&broker, "arena_bytes") != 24 << 20; i++)
        sup_sleep_ms(10);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 24 << 20);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, a_reload_leaves_room_beyond_the_pins, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    (void)sup_synth(catalog(), "toy", SUP_ARGS("--layers", "2"));
    struct sup_broker broker = start_with(path);
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "toy/layer_0"));
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "toy/layer_1"));
    (void)write_config("a.conf", config_text("1", ""));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    const json_t *settings = json_object_get(reply, "settings");
    const json_t *refused = json_array_get(json_object_get(settings, "refused"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(refused, "name")), "cache-size");
    cr_assert_not_null(strstr(json_string_value(json_object_get(refused, "error")), "unpin"));
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 16 << 20);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "resize", "1")).exit_code, 1);
    (void)sup_run_ok(SUP_ARGS("swctl", "unpin", "toy"));
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 1 << 20);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, a_reload_keeps_the_size_set_by_swctl, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", ""));
    struct sup_broker broker = start_with(path);
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "32"));
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 32 << 20);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(settings, a_lower_limit_leaves_existing_sessions, .timeout = 60)
{
    const char *path = write_config("a.conf", config_text("16", "[clients]\nmax-sessions = 8\n"));
    struct sup_broker broker = start_with(path);
    (void)write_config("a.conf", config_text("16", "[clients]\nmax-sessions = 1\n"));
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    /* operators still have their room beyond --max-sessions */
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
