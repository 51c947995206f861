/* SPDX-License-Identifier: MIT */
/* The generator: the same values as the formula in sw-chunk(5), worked out elsewhere; a vocabulary
 * that cuts text. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chunk/fixture.h"
#include "programs/chunk/source/synth_random.h"
#include "programs/chunk/source/synth_vocabulary.h"
#include "support/support.h"

/* First, second and last element as a NumPy program computes them from the manual page, seed
 * 1234567890123456789. */
static const struct {
    const char *name;
    uint32_t bits[3];
} known[] = {
    {"embeddings.word_embeddings.weight", {0xbd56d8e2, 0xbd408e16, 0x3d06fb22}},
    {"embeddings.position_embeddings.weight", {0x3c9899f4, 0x3c39dc38, 0xbb591610}},
    {"embeddings.LayerNorm.weight", {0x3f828455, 0x3f617170, 0x3f85c135}},
    {"embeddings.LayerNorm.bias", {0x3cda4c0c, 0x3b21db90, 0xbcfc36f8}},
    {"encoder.layer.0.attention.self.query.weight", {0x3eea06a8, 0xbe9ea9de, 0x3e267788}},
    {"encoder.layer.1.attention.self.value.weight", {0x3e3885e8, 0x3e7ef6de, 0xbe4fb15a}},
    {"encoder.layer.1.attention.output.dense.weight", {0x3de79772, 0xbddb2fac, 0x3cdcb830}},
    {"encoder.layer.0.output.dense.weight", {0x3dd0737a, 0xbdcd6852, 0xbdf23c3c}},
    {"pooler.dense.bias", {0x3c512714, 0xbc63014c, 0xbce99012}},
    {"classifier.weight", {0xbe3a3cfc, 0xbca39dc0, 0xbe21b482}},
};

Test(synth, values_are_those_of_the_formula, .timeout = 60)
{
    const char *model =
        fixture_model("model", SUP_ARGS("--seed", "1234567890123456789", "--labels", "3"));
    struct checkpoint checkpoint = checkpoint_load(sup_format("%s/model.safetensors", model));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *prefix = strncmp(known[i].name, "classifier", 10) == 0 ? "" : "bert.";
        const struct checkpoint_tensor *tensor =
            checkpoint_find(&checkpoint, sup_format("%s%s", prefix, known[i].name));
        uint32_t bits[3];
        memcpy(bits, tensor->data, 8);
        memcpy(bits + 2, tensor->data + tensor->bytes - 4, 4);
        for (size_t j = 0; j < 3; j++)
            cr_assert_eq(bits[j], known[i].bits[j], "%s: %08x", known[i].name, bits[j]);
    }
}

Test(synth, any_run_of_a_stream_is_the_same, .timeout = 20)
{
    struct synth_stream stream = synth_stream_of(7, "encoder.layer.3.output.dense.weight", 3072);
    static float whole[5000], part[5000];
    synth_fill(&stream, 0, 5000, whole);
    for (size_t at = 0, step = 1; at + step <= 5000; at += step, step = step * 2 + 1) {
        synth_fill(&stream, at, step, part);
        cr_assert_eq(memcmp(part, whole + at, step * sizeof *part), 0);
    }
    double sum = 0, squares = 0;
    for (size_t i = 0; i < 5000; i++) {
        cr_assert(whole[i] >= -0x1p-5F && whole[i] < 0x1p-5F);
        sum += (double)whole[i];
        squares += (double)whole[i] * (double)whole[i];
    }
    cr_assert(fabs(sum / 5000) < 0x1p-5 * 0.05, "mean");
    cr_assert(fabs(squares / 5000 / (0x1p-10 / 3) - 1) < 0.05, "variance of a uniform");
}

Test(synth, seeds_and_names_give_other_values, .timeout = 20)
{
    struct synth_stream a = synth_stream_of(1, "pooler.dense.bias", 0);
    struct synth_stream b = synth_stream_of(2, "pooler.dense.bias", 0);
    struct synth_stream c = synth_stream_of(1, "pooler.dense.biat", 0);
    float values[3][100];
    synth_fill(&a, 0, 100, values[0]);
    synth_fill(&b, 0, 100, values[1]);
    synth_fill(&c, 0, 100, values[2]);
    for (size_t i = 0; i < 3; i++) {
        size_t same = 0;
        for (size_t j = 0; j < 100; j++)
            same += memcmp(&values[i][j], &values[(i + 1) % 3][j], sizeof(float)) == 0;
        cr_assert_leq(same, 1);
    }
}

Test(synth, the_same_call_gives_the_same_directory, .timeout = 60)
{
    sup_mkdir(sup_path("a"));
    sup_mkdir(sup_path("b"));
    static const char *const folders[] = {"a", "b"};
    for (size_t i = 0; i < 2; i++)
        (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", sup_path("%s/model", folders[i]),
                                  "--seed", "9", "--mlm"));
    (void)sup_run_ok(SUP_ARGS("/usr/bin/diff", "-r", sup_path("a"), sup_path("b")));
}

Test(synth, shapes_are_what_their_names_say, .timeout = 100)
{
    static const struct {
        const char *name;
        int layers, hidden, heads, intermediate;
    } shapes[] = {
        {"bert-tiny", 2, 128, 2, 512},
        {"minilm-l6", 6, 384, 12, 1536},
        {"bert-base", 12, 768, 12, 3072},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const char *out = sup_path("%s", shapes[i].name);
        (void)sup_run_ok(SUP_ARGS("swchunk", "synth", shapes[i].name, out));
        json_t *info = json_loads(sup_run_ok(SUP_ARGS("swchunk", "info", out, "--json")), 0, NULL);
        cr_assert_not_null(info);
        cr_assert_eq(json_integer_value(json_object_get(info, "num_layers")), shapes[i].layers);
        cr_assert_eq(json_integer_value(json_object_get(info, "hidden_size")), shapes[i].hidden);
        cr_assert_eq(json_integer_value(json_object_get(info, "num_attention_heads")),
                     shapes[i].heads);
        cr_assert_eq(json_integer_value(json_object_get(info, "intermediate_size")),
                     shapes[i].intermediate);
        cr_assert_eq(json_integer_value(json_object_get(info, "vocab_size")), 30522);
        cr_assert_eq(json_integer_value(json_object_get(info, "max_position_embeddings")), 512);
        json_decref(info);
        (void)sup_run_ok(SUP_ARGS("swchunk", "verify", out));
        cr_assert_eq(sup_exists(sup_format("%s/1_Pooling/config.json", out)),
                     strcmp(shapes[i].name, "minilm-l6") == 0);
        sup_remove_tree(out);
    }
}

/* ---- vocabulary ------------------------------------------------------------------------------ */

static bool has_line(const char *text, const char *line)
{
    return strstr(text, sup_format("\n%s\n", line)) != NULL;
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void check_vocabulary(uint32_t tokens)
{
    char *text;
    size_t size;
    cr_assert_eq(synth_vocabulary(tokens, &text, &size), 0);
    cr_assert_eq(strncmp(text, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", 31), 0);
    cr_assert_eq(text[size - 1], '\n');
    const char **lines = calloc(tokens + 1, sizeof *lines);
    cr_assert_not_null(lines);
    uint32_t count = 0;
    for (char *line = strtok(text, "\n"); line && count <= tokens; line = strtok(NULL, "\n"))
        lines[count++] = line;
    cr_assert_eq(count, tokens);
    qsort(lines, count, sizeof *lines, compare);
    for (uint32_t i = 1; i < count; i++)
        cr_assert_str_neq(lines[i - 1], lines[i]);
    free(lines);
    free(text);
}

Test(synth, a_vocabulary_has_exactly_as_many_different_tokens, .timeout = 60)
{
    static const uint32_t sizes[] = {5, 6, 98, 99, 193, 194, 1000, 5000, 28996, 30522, 120000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_vocabulary(sizes[i]);
}

Test(synth, a_vocabulary_of_the_usual_size_cuts_any_ascii_text, .timeout = 60)
{
    char *text;
    size_t size;
    cr_assert_eq(synth_vocabulary(30522, &text, &size), 0);
    for (char character = '!'; character <= '~'; character++) {
        cr_assert(has_line(text, sup_format("%c", character)));
        cr_assert(has_line(text, sup_format("##%c", character)));
    }
    static const char *const words[] = {"the", "memory", "weight", "##s", "##ing", "##ed", "##ly"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        cr_assert(has_line(text, words[i]), "%s", words[i]);
    free(text);
}
