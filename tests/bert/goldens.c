/* SPDX-License-Identifier: MIT */
/* swbert forward on published weights, against PyTorch's float32 results: through both layouts, and
 * from the older program's chunks of the same weights. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bert/fixture.h"
#include "core/safetensors.h"

#define MODEL sup_test_data("models/bert-tiny")
#define OLDER sup_test_data("models/bert-tiny-ancestor")

static struct swi_safetensors goldens;
static char *golden_bytes;

static const void *golden(int number, const char *what, const struct swi_tensor **ret)
{
    *ret = swi_safetensors_find(&goldens, sup_format("case%d.%s", number, what));
    return *ret ? golden_bytes + (*ret)->offset : NULL;
}

/* "5 6 7" of a row of 64-bit integers. */
static const char *numbers(int number, const char *what, size_t row, size_t count, size_t width)
{
    const struct swi_tensor *tensor;
    const char *data = golden(number, what, &tensor), *list = "";
    cr_assert(data && tensor->dtype == SW_DTYPE_I64);
    for (size_t i = 0; i < count; i++) {
        int64_t value;
        memcpy(&value, data + (row * width + i) * sizeof value, sizeof value);
        list = sup_format("%s %lld", list, (long long)value);
    }
    return list;
}

/* The largest absolute difference of two rows. */
static double distance(json_t *got, const char *want, size_t count)
{
    const float *values = swbert_floats(got);
    double most = json_array_size(got) == count ? 0 : INFINITY;
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, want + i * sizeof value, sizeof value);
        most = fmax(most, fabs((double)values[i] - (double)value));
    }
    return most;
}

/* Tokens of a row that its mask lets through; they come first. */
static size_t row_length(int number, size_t row, size_t width)
{
    const struct swi_tensor *tensor;
    const char *mask = golden(number, "attention_mask", &tensor);
    size_t length = 0;
    for (int64_t bit = 1; length < width; length++) {
        memcpy(&bit, mask + (row * width + length) * sizeof bit, sizeof bit);
        if (!bit)
            break;
    }
    return length;
}

static double check_row(const char *model, int number, size_t row)
{
    const struct swi_tensor *hidden, *pooled;
    const char *want = golden(number, "last_hidden_state", &hidden);
    const char *want_pooled = golden(number, "pooler_output", &pooled);
    cr_assert(want && want_pooled && hidden->rank == 3);
    size_t width = hidden->shape[1], columns = hidden->shape[2];
    size_t length = row_length(number, row, width);
    json_t *lines = SWBERT_LINES("", "forward", "--model", model, "--ids",
                                 numbers(number, "input_ids", row, length, width), "--type-ids",
                                 numbers(number, "token_type_ids", row, length, width));
    json_t *line = json_array_get(lines, 0), *states = json_object_get(line, "last_hidden_state");
    cr_assert_eq(json_array_size(states), length);
    double most = distance(json_object_get(line, "pooler_output"),
                           want_pooled + row * columns * sizeof(float), columns);
    for (size_t i = 0; i < length; i++)
        most = fmax(most, distance(json_array_get(states, i),
                                   want + (row * width + i) * columns * sizeof(float), columns));
    json_decref(lines);
    return most;
}

static void read_goldens(void)
{
    size_t size;
    golden_bytes = sup_read(sup_test_data("models/bert-tiny/goldens.safetensors"), &size);
    struct swi_error error = {0};
    cr_assert_eq(swi_safetensors_parse(golden_bytes, size, size, &goldens, NULL, &error), 0, "%s",
                 error.text);
}

/* Every row of every golden through these models of a catalog, none off by more than `most`. */
static void check_models(const char *catalog, const char *const names[], size_t count, double most)
{
    struct sup_broker broker = sup_broker_start(catalog, "64M", NULL);
    int cases = 0;
    const struct swi_tensor *ids;
    for (; golden(cases, "input_ids", &ids); cases++)
        for (size_t row = 0; row < ids->shape[0]; row++)
            for (size_t i = 0; i < count; i++) {
                double off = check_row(names[i], cases, row);
                cr_expect_leq(off, most, "case %d row %zu, %s: off by %g", cases, row, names[i],
                              off);
            }
    cr_expect_gt(cases, 0);
    cr_expect_eq(sup_broker_stop(&broker), 0);
    swi_safetensors_fini(&goldens);
}

Test(swbert_goldens, published_weights_in_both_layouts, .timeout = 300)
{
    read_goldens();
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    static const char *const layouts[] = {"rows", "panel"};
    for (size_t i = 0; i < 2; i++)
        (void)sup_run_ok(SUP_ARGS("swchunk", "import", MODEL,
                                  sup_format("%s/%s", catalog, layouts[i]), "--layout", layouts[i],
                                  "--dtype", "f32"));
    check_models(catalog, layouts, 2, 5e-6);
}

/* In half precision, which is what the older chunks hold: the same bytes, and so the same error. */
Test(swbert_goldens, the_older_programs_chunks, .timeout = 300)
{
    read_goldens();
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    static const char *const names[] = {"older", "published"};
    const char *const sources[] = {OLDER, MODEL};
    for (size_t i = 0; i < 2; i++)
        (void)sup_run_ok(
            SUP_ARGS("swchunk", "import", sources[i], sup_format("%s/%s", catalog, names[i])));
    check_models(catalog, names, 2, 2e-3);
}
