/* SPDX-License-Identifier: MIT */
/* A broker's answer, as swctl prints it: any JSON under any command comes out as lines of text that
 * cannot control a terminal. The input is the command's name, a line end, a byte whose bits give
 * options, and the answer. */
#include <jansson.h>
#include <string.h>

#include "ctl/verbs.h"
#include "input.h"

/* Memory takes the place of the stream meanwhile. */
struct capture {
    FILE **place, *kept;
    char *text;
    size_t length;
};

static void begin(struct capture *capture, FILE **place)
{
    *capture = (struct capture){.place = place, .kept = *place};
    *place = open_memstream(&capture->text, &capture->length);
    FUZZ_CHECK(*place != NULL);
}

/* for_people: a terminal may show it. JSON is for programs, and escapes only what JSON must. */
static void end(struct capture *capture, bool for_people)
{
    FUZZ_CHECK(fclose(*capture->place) == 0);
    *capture->place = capture->kept;
    FUZZ_CHECK(capture->length == 0 || capture->text[capture->length - 1] == '\n');
    for (size_t i = 0; i < capture->length; i++) {
        unsigned char byte = (unsigned char)capture->text[i];
        unsigned char after = i + 1 < capture->length ? (unsigned char)capture->text[i + 1] : 0;
        FUZZ_CHECK(byte == '\n' || byte >= 0x20);
        FUZZ_CHECK(!for_people || byte != 0x7f);
        FUZZ_CHECK(!for_people || byte != 0xc2 || after >= 0xa0); /* more control characters */
    }
    free(capture->text);
}

static const struct ctl_verb *find_verb(const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < ctl_verb_count; i++)
        if (strlen(ctl_verbs[i]->name) == length && memcmp(ctl_verbs[i]->name, name, length) == 0)
            return ctl_verbs[i];
    return NULL;
}

/* Gives an option, or takes it back. */
static void give(const struct cli_option *option, bool given)
{
    unsigned count = 0;
    while (option->choices && option->choices[count])
        count++;
    if (option->flag)
        *option->flag = given;
    else if (option->choice)
        *option->choice = given ? count - 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char word[] = "good", *words[] = {word, word};
    const uint8_t *line_end = size ? memchr(data, '\n', size) : NULL;
    const struct ctl_verb *verb = line_end ? find_verb(data, (size_t)(line_end - data)) : NULL;
    if (!verb || line_end + 1 == data + size)
        return 0;
    uint8_t bits = line_end[1];
    json_t *reply =
        json_loadb((const char *)line_end + 2, (size_t)(data + size - line_end) - 2, 0, NULL);
    static const struct cli_command command = {.program = "swctl"};
    struct ctl_call call = {.verb = verb,
                            .command = &command,
                            .socket_path = "/nowhere",
                            .json = bits & 0x80,
                            .operands = words,
                            .operand_count = bits >> 6 & 1};
    for (unsigned i = 0; verb->options && verb->options[i].name; i++)
        give(&verb->options[i], bits >> i & 1);
    /* ctl_ask returns nothing else */
    if (verb->show && json_is_boolean(json_object_get(reply, "ok"))) {
        struct capture out, err;
        begin(&out, &stdout);
        begin(&err, &stderr);
        int result = ctl_print(&call, reply);
        end(&err, true);
        end(&out, !call.json);
        FUZZ_CHECK(result == CTL_DONE || result == CTL_REFUSED);
    }
    json_decref(reply);
    return 0;
}
