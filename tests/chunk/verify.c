/* SPDX-License-Identifier: MIT */
/* verify names what is bad, each on its own line; info describes without reading everything. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "chunk/fixture.h"
#include "core/manifest.h"
#include "support/support.h"

static const char *model;

static void make_model(void)
{
    model = sup_path("model");
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", model, "--hidden", "40", "--heads",
                              "4", "--intermediate", "72", "--vocab-size", "500", "--labels", "3"));
}

static size_t lines_of(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

/* verify exits 1 and says this many lines, each text among them; the other programs refuse as well.
 */
static void expect_bad(size_t lines, const char *const texts[])
{
    struct sup_result result = SWCHUNK("verify", model);
    cr_assert_eq(result.exit_code, 1);
    cr_assert_eq(result.out_size, 0);
    cr_assert_eq(lines_of(result.err), lines, "%s", result.err);
    for (; *texts; texts++)
        cr_assert_not_null(strstr(result.err, *texts), "\"%s\" in: %s", *texts, result.err);
    cr_assert_eq(SWCHUNK("export", model, sup_path("export")).exit_code, 1,
                 "bad chunks are not exported");
    cr_assert_not(sup_exists(sup_path("export")));
}

static const char *file_of(const char *name)
{
    return sup_format("%s/%s.safetensors", model, name);
}

static void flip(const char *path, off_t offset)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char byte;
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    (void)close(fd);
}

Test(verify, good_chunks_are_good, .init = make_model, .timeout = 60)
{
    const char *out = sup_run_ok(SUP_ARGS("swchunk", "verify", model));
    cr_assert_eq(strncmp(out, "model: 5 chunks, ", 17), 0, "%s", out);
    cr_assert_not_null(strstr(out, "all good"));
}

Test(verify, every_bad_chunk_is_named, .init = make_model, .timeout = 60)
{
    flip(file_of("layer_0"), 5000);
    size_t size;
    char *bytes = sup_read(file_of("layer_1"), &size);
    sup_write(file_of("layer_1"), bytes, size - 1);
    sup_write(file_of("pooler"), "", 0);
    sup_remove_tree(file_of("head"));
    expect_bad(4, TEXTS(sup_format("%s: layer_0.safetensors: ", model), "do not match the digest",
                        sup_format("%s: layer_1.safetensors: ", model), "says",
                        sup_format("%s: pooler.safetensors: 0 bytes", model),
                        sup_format("%s: head.safetensors: No such file", model)));
}

Test(verify, a_flipped_bit_is_found_wherever_it_is, .init = make_model, .timeout = 100)
{
    size_t size;
    (void)sup_read(file_of("pooler"), &size);
    /* not in the length or the JSON, which other checks see first */
    for (off_t at = 4095; at < (off_t)size; at += 331) {
        flip(file_of("pooler"), at);
        cr_assert_eq(SWCHUNK("verify", model).exit_code, 1, "offset %ld", (long)at);
        flip(file_of("pooler"), at);
    }
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", model));
}

Test(verify, a_broken_header_is_named, .init = make_model, .timeout = 60)
{
    flip(file_of("pooler"), 7);
    expect_bad(1, TEXTS("pooler.safetensors: ", "header"));
}

/* Rewrites a chunk and makes the manifest agree with it, so that only its content can give it away.
 */
static void replace_chunk(const char *name, const void *bytes, size_t size)
{
    sup_write(file_of(name), bytes, size);
    const char *path = sup_format("%s/chunk_info.json", model);
    json_t *root = json_load_file(path, 0, NULL);
    json_t *chunk = json_object_get(json_object_get(root, "chunks"), name);
    char digest[SWI_DIGEST_HEX];
    swi_digest_format(swi_digest_of(bytes, size), digest);
    json_int_t before = json_integer_value(json_object_get(chunk, "bytes"));
    json_int_t total = json_integer_value(json_object_get(root, "total_bytes"));
    (void)json_object_set_new(chunk, "bytes", json_integer((json_int_t)size));
    (void)json_object_set_new(chunk, "xxh3_128", json_string(digest));
    (void)json_object_set_new(root, "total_bytes", json_integer(total - before + (json_int_t)size));
    cr_assert_eq(json_dump_file(root, path, JSON_INDENT(2)), 0);
    json_decref(root);
}

static void patch_chunk(const char *name, const char *from, const char *to)
{
    size_t size;
    char *bytes = sup_read(file_of(name), &size);
    char *at = memmem(bytes, size, from, strlen(from));
    cr_assert_not_null(at, "%s", from);
    cr_assert_eq(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    replace_chunk(name, bytes, size);
}

Test(verify, whole_files_that_are_the_wrong_ones_are_named, .init = make_model, .timeout = 60)
{
    size_t size;
    char *bytes = sup_read(file_of("layer_0"), &size);
    replace_chunk("layer_1", bytes, size);
    expect_bad(1, TEXTS("layer_1.safetensors: its component is layer_0, expected layer_1"));
}

Test(verify, tensors_are_held_against_the_config, .init = make_model, .timeout = 60)
{
    patch_chunk("pooler", "[3,40,16]", "[40,3,16]");
    patch_chunk("layer_0", "intermediate.dense.bias", "intermediate.dense.bios");
    patch_chunk("layer_1", "\"layout\":\"panel\"", "\"layout\":\"pan l\"");
    expect_bad(3, TEXTS("pooler.safetensors: tensor dense.weight has another shape",
                        "layer_0.safetensors: tensor intermediate.dense.bias is missing",
                        "layer_1.safetensors: its layout is pan l, expected panel"));
}

Test(verify, config_and_manifest_must_agree, .init = make_model, .timeout = 60)
{
    fixture_config(model, "num_hidden_layers", json_integer(1));
    expect_bad(1, TEXTS("chunk_info.json: 2 layers", "config.json has 1"));
    fixture_config(model, "num_hidden_layers", json_integer(2));
    fixture_config(model, "hidden_size", json_integer(48));
    expect_bad(5, TEXTS("embeddings.safetensors", "layer_0.safetensors", "head.safetensors"));
}

Test(verify, a_directory_that_is_none_is_said_to_be, .init = make_model, .timeout = 60)
{
    fixture_expect_refusal(1, SUP_ARGS("verify", sup_path("absent")),
                           TEXTS(sup_path("absent"), "No such file"));
    fixture_expect_refusal(1, SUP_ARGS("verify", sup_dir()),
                           TEXTS("chunk_info.json", "is this a chunk directory?"));
    fixture_expect_refusal(1, SUP_ARGS("info", file_of("pooler")), TEXTS("Not a directory"));
    sup_write_text(sup_format("%s/chunk_info.json", model), "{\"chunks\": {}}");
    fixture_expect_refusal(1, SUP_ARGS("verify", model), TEXTS("swchunk import"));
}

/* ---- info ------------------------------------------------------------------------------------ */

Test(info, is_a_table_with_aligned_columns, .init = make_model, .timeout = 60)
{
    const char *out = sup_run_ok(SUP_ARGS("swchunk", "info", model));
    cr_assert_eq(strncmp(out, "model: bert, 2 layers, hidden 40, 4 heads, ", 43), 0, "%s", out);
    const char *head = strstr(out, "\nchunk ");
    cr_assert_not_null(head);
    cr_assert_eq(lines_of(head), 1 + 1 + 5);
    size_t column = (size_t)(strstr(head, "dtype") - head);
    for (const char *line = head; strchr(line + 1, '\n'); line = strchr(line + 1, '\n'))
        cr_assert(line == head || strncmp(line + column, "F16", 3) == 0, "%s", line);
}

Test(info, as_json_holds_every_tensor, .init = make_model, .timeout = 60)
{
    json_t *info = json_loads(sup_run_ok(SUP_ARGS("swchunk", "info", "--json", model)), 0, NULL);
    cr_assert_not_null(info);
    json_t *chunks = json_object_get(info, "chunks"), *chunk;
    static const struct {
        const char *name;
        size_t tensors;
    } expected[] = {
        {"embeddings", 5}, {"layer_0", 12}, {"layer_1", 12}, {"pooler", 2}, {"head", 2}};
    cr_assert_eq(json_array_size(chunks), 5);
    size_t i;
    json_int_t sum = 0;
    json_array_foreach(chunks, i, chunk)
    {
        cr_assert_str_eq(json_string_value(json_object_get(chunk, "name")), expected[i].name);
        json_t *tensors = json_object_get(chunk, "tensors"), *tensor;
        cr_assert_eq(json_array_size(tensors), expected[i].tensors, "%s", expected[i].name);
        size_t j;
        json_array_foreach(tensors, j, tensor)
            cr_assert_eq(json_integer_value(json_object_get(tensor, "offset")) % 64, 0);
        sum += json_integer_value(json_object_get(chunk, "bytes"));
    }
    cr_assert_eq(json_integer_value(json_object_get(info, "total_bytes")), sum);
    json_decref(info);
}

/* ---- the manual ------------------------------------------------------------------------------ */

/* The long options in a text, as "--name\n" each, in order and once. */
static bool mentions(const char *text, const char *option, const char *before)
{
    for (const char *at = text; (at = strstr(at, option)); at++) {
        const char *end = at + strlen(option);
        bool whole = !(*end == '-' || (*end >= 'a' && *end <= 'z'));
        size_t lead = strlen(before);
        if (whole && at >= text + lead && strncmp(at - lead, before, lead) == 0)
            return true;
    }
    return false;
}

Test(manual, names_the_same_options_as_help, .timeout = 60)
{
    const char *page = sup_read(SW_SOURCE_DIR "/man/swchunk.1", NULL);
    static const char *const commands[] = {"import", "synth", "info", "verify", "export"};
    const char *help = sup_run_ok(SUP_ARGS("swchunk", "--help"));
    for (size_t i = 0; i < 5; i++) {
        help = sup_format("%s%s", help, sup_run_ok(SUP_ARGS("swchunk", commands[i], "--help")));
        cr_assert_not_null(strstr(page, sup_format(".Ss swchunk %s", commands[i])));
    }
    size_t options = 0;
    for (const char *at = help; (at = strstr(at, "--")); at += 2) {
        int length = (int)strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-");
        const char *name = sup_format("-%.*s", length, at + 2);
        options++;
        cr_assert(mentions(page, name, "Fl ") || mentions(page, name, "| "), "-%s is not in man",
                  name);
    }
    cr_assert_gt(options, 20);
    for (const char *at = page; (at = strstr(at, "Fl -")); at += 4) {
        int length = (int)strspn(at + 4, "abcdefghijklmnopqrstuvwxyz-");
        const char *name = sup_format("--%.*s", length, at + 4);
        cr_assert(mentions(help, name, ""), "%s is not in --help", name);
    }
}
