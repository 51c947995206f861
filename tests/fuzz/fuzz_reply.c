/* SPDX-License-Identifier: MIT */
/* A broker's answer, as swctl prints it: any JSON whatever under any verb comes out as lines of
 * text that cannot steer a terminal. The first byte is the verb, the second tells which of its
 * options are given; the rest is the answer. */
#include <jansson.h>

#include "ctl/verb.h"
#include "input.h"

/* The stream's place is taken by memory while something prints to it. */
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

/* for_people: a terminal may show it. JSON is for programs, and escapes what JSON must. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char word[] = "good", *words[] = {word, word};
    if (size < 2)
        return 0;
    json_t *reply = json_loadb((const char *)data + 2, size - 2, 0, NULL);
    const struct ctl_verb *verb = &ctl_verbs[data[0] % ctl_verb_count];
    struct ctl_call call = {.verb = verb,
                            .socket_path = "/nowhere",
                            .json = data[1] & 0x80,
                            .operands = words,
                            .operand_count = data[1] >> 6 & 1};
    for (unsigned i = 0; i < CTL_OPTIONS && verb->options[i].name; i++)
        if (data[1] >> i & 1)
            call.values[i] = verb->options[i].value ? "size" : "";
    /* ctl_ask hands on nothing else */
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
