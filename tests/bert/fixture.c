/* SPDX-License-Identifier: MIT */
/* Common ground of swbert's tests. */
#include "bert/fixture.h"

#include <criterion/criterion.h>
#include <string.h>

#include "support/keep.h"

static struct sup_broker broker;
static sw_client *client;
static sw_encoder *handles[8];
static size_t handle_count;

void swbert_start(void)
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    sup_synth(catalog, "tiny", NULL);
    sup_synth(catalog, "bare",
              SUP_ARGS("--no-pooler", "--max-positions", "16", "--hidden", "48", "--heads", "4"));
    broker = sup_broker_start(catalog, "64M", NULL);
}

void swbert_stop(void)
{
    while (handle_count > 0)
        sw_encoder_close(handles[--handle_count]);
    sw_client_close(client);
    client = NULL;
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

struct sup_result swbert_run(const char *input, size_t input_size, const char *const words[])
{
    return sup_run_input(words, input, input_size);
}

json_t *swbert_lines(const char *input, size_t input_size, const char *const words[])
{
    struct sup_result result = swbert_run(input, input_size, words);
    cr_assert(result.exit_code == 0, "exit %d: %s", result.exit_code, result.err);
    cr_assert_str_eq(result.err, "");
    json_t *lines = json_array();
    for (char *line = result.out, *end; line < result.out + result.out_size; line = end + 1) {
        end = strchr(line, '\n');
        cr_assert(end, "the last line has no end");
        json_error_t problem;
        json_t *object = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, &problem);
        cr_assert(object, "line %zu: %s", json_array_size(lines) + 1, problem.text);
        json_array_append_new(lines, object);
    }
    return lines;
}

const float *swbert_floats(json_t *array)
{
    cr_assert(json_is_array(array));
    float *values = sup_keep(json_array_size(array) * sizeof *values);
    for (size_t i = 0; i < json_array_size(array); i++)
        values[i] = (float)json_number_value(json_array_get(array, i));
    return values;
}

sw_encoder *swbert_open(const char *model)
{
    char message[512] = "";
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = broker.socket;
    options.error = message;
    options.error_size = sizeof message;
    if (!client)
        cr_assert_eq(sw_client_open(&options, &client), 0, "%s", message);
    cr_assert_lt(handle_count, sizeof handles / sizeof *handles);
    cr_assert_eq(sw_encoder_open(client, model, NULL, &handles[handle_count]), 0);
    return handles[handle_count++];
}
