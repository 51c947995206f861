/* SPDX-License-Identifier: MIT */
/* Command lines by their tables: what is read, what is refused and in which words, what --help
 * says. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cli/program.h"

static bool flag;
static const char *text;
static uint32_t number;
static uint64_t large, bytes;
static unsigned choice;
static char taken[8];

static bool take_short(const char *value, void *place)
{
    if (strlen(value) >= sizeof taken)
        return false;
    strcpy(place, value);
    return true;
}

static const char *const kinds[] = {"jsonl", "npy", "csv", NULL};
static const struct cli_option own[] = {
    {"force", NULL, "replace what is there", .flag = &flag},
    {"name", "TEXT", "call it TEXT", .text = &text},
    {"threads", "N", "compute with N threads\n(default: 1)", .number = &number, .least = 1,
     .most = 64},
    {"seed", "N", "other weights", .large = &large},
    {.help = "Sizes:"},
    {"budget", "SIZE", "keep within SIZE", .bytes = &bytes},
    {"format", "KIND", "jsonl, npy or csv", .choice = &choice, .choices = kinds},
    {"cell", "CELL", "a short word", .take = take_short, .place = taken,
     .expected = "a short word"},
    {0},
};
static const struct cli_option common[] = {
    {"socket", "PATH", "the socket", .text = &text},
    {0},
};
static const struct cli_command command = {.program = "prog",
                                           .name = "do",
                                           .operands = "SRC [OUT]",
                                           .least = 1,
                                           .most = 2,
                                           .about = "Do something.",
                                           .more = "Nothing else.",
                                           .options = own,
                                           .common = common};

#define WORDS(...) ((const char *const[]){"do", __VA_ARGS__, NULL})

static struct swi_error error;
static struct cli_operands operands;

/* getopt permutes what it reads: a copy, valid until the next one. */
static char **copy_words(const char *const *words, int *ret_count)
{
    static char room[32][128];
    static char *copies[32];
    int count = 0;
    for (; words[count]; count++) {
        cr_assert(count < 31 && strlen(words[count]) < sizeof room[0]);
        copies[count] = strcpy(room[count], words[count]);
    }
    copies[count] = NULL;
    *ret_count = count;
    return copies;
}

static enum cli_outcome read_words(const struct cli_command *what, const char *const *words)
{
    int count;
    char **copies = copy_words(words, &count);
    error = (struct swi_error){0};
    return cli_read(what, count, copies, &operands, &error);
}

static void expect_wrong(const char *const *words, const char *message)
{
    cr_assert_eq(read_words(&command, words), CLI_WRONG, "%s", message);
    cr_assert_str_eq(error.text, message);
}

Test(options, puts_every_kind_of_value_in_its_place, .timeout = 10)
{
    cr_assert_eq(read_words(&command, WORDS("--force", "in", "--name", "x", "--threads=64",
                                            "--seed", "18446744073709551615", "out", "--budget",
                                            "2GiB", "--format", "npy", "--cell", "1x16")),
                 CLI_RUN, "%s", error.text);
    cr_assert(flag);
    cr_assert_str_eq(text, "x");
    cr_assert_eq(number, 64);
    cr_assert_eq(large, UINT64_MAX);
    cr_assert_eq(bytes, 2ull << 30);
    cr_assert_eq(choice, 1);
    cr_assert_str_eq(taken, "1x16");
    cr_assert_eq(operands.count, 2);
    cr_assert_str_eq(operands.at[0], "in");
    cr_assert_str_eq(operands.at[1], "out");
}

Test(options, leaves_alone_what_is_not_given, .timeout = 10)
{
    number = 7;
    cr_assert_eq(read_words(&command, WORDS("--", "--force")), CLI_RUN, "%s", error.text);
    cr_assert_eq(number, 7);
    cr_assert_not(flag, "behind -- there are no options");
    cr_assert_str_eq(operands.at[0], "--force");
}

Test(options, says_what_is_wrong_and_what_would_be_right, .timeout = 10)
{
#define SEE "; see prog do --help"
    expect_wrong(WORDS("in", "--wrong"), "unknown option '--wrong'" SEE);
    expect_wrong(WORDS("in", "--thread-s", "3"),
                 "unknown option '--thread-s' (did you mean '--threads'?)" SEE);
    expect_wrong(WORDS("in", "-x"), "unknown option '-x'" SEE);
    expect_wrong(WORDS("in", "--force=yes"), "--force=yes: the option takes no value" SEE);
    expect_wrong(WORDS("in", "--help=yes"), "--help=yes: the option takes no value" SEE);
    expect_wrong(WORDS("in", "--threads"), "--threads needs a value" SEE);
    static const char *const numbers[] = {
        "0", "65", "-1", "+1", " 1", "1x", "", "0x1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char message[128];
        (void)snprintf(message, sizeof message,
                       "--threads takes a number from 1 to 64, not '%s'" SEE, numbers[i]);
        expect_wrong(WORDS("in", "--threads", numbers[i]), message);
    }
    expect_wrong(WORDS("in", "--budget", "lots"),
                 "--budget takes a size such as 512M or 2G, not 'lots'" SEE);
    expect_wrong(WORDS("in", "--format", "xml"), "--format takes jsonl, npy or csv, not 'xml'" SEE);
    expect_wrong(WORDS("in", "--cell", "far too long"),
                 "--cell takes a short word, not 'far too long'" SEE);
    expect_wrong(WORDS("--force"), "missing argument: it takes SRC [OUT]" SEE);
    expect_wrong(WORDS("a", "b", "c"), "unexpected argument 'c'" SEE);
}

static char *printed(void (*print)(const void *, FILE *), const void *what)
{
    char *buffer = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&buffer, &size);
    print(what, stream);
    cr_assert_eq(fclose(stream), 0);
    return buffer;
}

static void print_command(const void *what, FILE *stream)
{
    cli_print_help(what, stream);
}

static void print_program(const void *what, FILE *stream)
{
    cli_print_program_help(what, stream);
}

Test(options, misses_what_is_required, .timeout = 10)
{
    const struct cli_option table[] = {{"model", "NAME", "", .text = &text, .required = true}, {0}};
    struct cli_command needy = {.program = "prog", .options = table};
    cr_assert_eq(read_words(&needy, (const char *const[]){"prog", NULL}), CLI_WRONG);
    cr_assert_str_eq(error.text, "--model NAME is missing; see prog --help");
    cr_assert_eq(read_words(&needy, WORDS("--model", "m")), CLI_RUN);
    needy.about = "Do.";
    char *help = printed(print_command, &needy);
    cr_assert_eq(strncmp(help, "Usage: prog --model NAME [OPTION]...\n", 37), 0, "%s", help);
    free(help);
}

Test(options, answers_help_and_version_before_anything_else_is_missing, .timeout = 10)
{
    cr_assert_eq(read_words(&command, WORDS("-h")), CLI_HELP);
    cr_assert_eq(read_words(&command, WORDS("--help", "--wrong")), CLI_HELP);
    cr_assert_eq(read_words(&command, WORDS("-V")), CLI_VERSION);
    cr_assert_eq(read_words(&command, WORDS("--version")), CLI_VERSION);
}

Test(help, lists_options_in_columns, .timeout = 10)
{
    char *help = printed(print_command, &command);
    cr_assert_str_eq(help, "Usage: prog do [OPTION]... SRC [OUT]\n"
                           "Do something.\n"
                           "\n"
                           "      --force        replace what is there\n"
                           "      --name TEXT    call it TEXT\n"
                           "      --threads N    compute with N threads\n"
                           "                     (default: 1)\n"
                           "      --seed N       other weights\n"
                           "Sizes:\n"
                           "      --budget SIZE  keep within SIZE\n"
                           "      --format KIND  jsonl, npy or csv\n"
                           "      --cell CELL    a short word\n"
                           "      --socket PATH  the socket\n"
                           "  -h, --help         show this help and exit\n"
                           "  -V, --version      show the version and exit\n"
                           "\n"
                           "Nothing else.\n");
    free(help);
}

Test(help, gives_a_long_option_a_line_to_itself, .timeout = 10)
{
    const struct cli_option table[] = {
        {"an-option-with-a-long-name", "ARGUMENT", "does it", .text = &text}, {0}};
    const struct cli_command wide = {.program = "prog", .about = "Do.", .options = table};
    char *help = printed(print_command, &wide);
    cr_assert_not_null(strstr(help, "      --an-option-with-a-long-name ARGUMENT\n"
                                    "                 does it\n"
                                    "  -h, --help     show"));
    free(help);
}

/* ---- programs with commands ------------------------------------------------------------------ */

static int ran;

static int run_import(int argc, char **argv)
{
    cr_assert_str_eq(argv[0], "import");
    ran = argc;
    return 5;
}

static const struct cli_entry entries[] = {
    {"import", "SRC OUT", "import a model", run_import},
    {"verify", NULL, "read everything again", NULL},
};
static const struct cli_program program = {
    .name = "prog", .about = "Do things.", .common = common, .entries = entries, .count = 2};

Test(program, runs_the_command_with_its_arguments, .timeout = 10)
{
    int count;
    char **words = copy_words(WORDS("--socket", "s", "import", "--own", "x"), &count);
    cr_assert_eq(cli_run(&program, count, words), 5);
    cr_assert_eq(ran, 3);
    cr_assert_str_eq(text, "s");
}

Test(program, lists_its_commands, .timeout = 10)
{
    char *help = printed(print_program, &program);
    cr_assert_str_eq(help, "Usage: prog [OPTION]... COMMAND [ARGUMENT]...\n"
                           "Do things.\n"
                           "Use 'prog COMMAND --help' for the options of a command.\n"
                           "\n"
                           "  import  SRC OUT  import a model\n"
                           "  verify           read everything again\n"
                           "\n"
                           "      --socket PATH  the socket\n"
                           "  -h, --help         show this help and exit\n"
                           "  -V, --version      show the version and exit\n");
    free(help);
}

static void expect_said(const char *word, const char *expected)
{
    int count;
    char **words = copy_words(WORDS(word), &count);
    char *said = NULL;
    size_t size = 0;
    FILE *kept = stderr;
    stderr = open_memstream(&said, &size);
    int status = cli_run(&program, count, words);
    fclose(stderr);
    stderr = kept;
    cr_assert_eq(status, CLI_USAGE);
    cr_assert_str_eq(said, expected);
    free(said);
}

Test(program, suggests_a_command_that_is_near, .timeout = 10)
{
    expect_said("imprt",
                "prog: unknown command 'imprt' (did you mean 'import'?); see prog --help\n");
    expect_said("dance", "prog: unknown command 'dance'; see prog --help\n");
    expect_said("a\033[2Jb", "prog: unknown command 'a?[2Jb'; see prog --help\n");
    expect_said("--sockt",
                "prog: unknown option '--sockt' (did you mean '--socket'?); see prog --help\n");
    expect_said(NULL, "prog: missing command; see prog --help\n");
}
