/* SPDX-License-Identifier: MIT */
/* chunk_info.json: what is rendered can be read; what could lead the broker astray is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/manifest.h"

static struct swi_error error;

#define DIGEST "0123456789abcdef0123456789abcdef"
#define CHUNK(name, ordinal, file, bytes)                                                          \
    "\"" name "\":{\"ordinal\":" ordinal ",\"file\":\"" file "\",\"bytes\":" bytes                 \
    ",\"xxh3_128\":\"" DIGEST "\"}"
#define HEAD                                                                                       \
    "\"format_version\":1,\"model_name\":\"m\",\"model_type\":\"bert\",\"layout\":\"panel\","      \
    "\"dtype\":\"F16\",\"num_layers\":2"
#define MANIFEST(chunks, total) "{" HEAD ",\"chunks\":{" chunks "},\"total_bytes\":" total "}"

static int parse(const char *json, struct swi_manifest *ret)
{
    /* memory of exactly this length, so that a sanitizer sees a byte too many */
    size_t size = strlen(json);
    char *copy = malloc(size ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, json, size);
    error = (struct swi_error){0};
    int result = swi_manifest_parse(copy, size, ret, &error);
    free(copy);
    return result;
}

static void refuse(const char *json, int code, const char *message)
{
    struct swi_manifest manifest = {.count = 4711};
    cr_assert_eq(parse(json, &manifest), code, "%s", json);
    cr_assert_eq(manifest.count, 4711, "the output is untouched");
    cr_assert_not_null(strstr(error.text, message), "\"%s\" for %s", error.text, json);
    cr_assert_eq(strncmp(error.text, SWI_MANIFEST_FILE ": ", 17), 0, "%s", error.text);
}

Test(manifest, chunks_come_in_the_order_of_their_ordinals, .timeout = 10)
{
    struct swi_manifest manifest;
    cr_assert_eq(
        parse(MANIFEST(CHUNK("b", "2", "b.st", "3") "," CHUNK("a", "0", "a.st", "1") "," CHUNK(
                           "c", "1", "c.st", "281474976710655"),
                       "281474976710659"),
              &manifest),
        0, "%s", error.text);
    cr_assert_eq(manifest.count, 3);
    cr_assert_str_eq(manifest.chunks[0].name, "a");
    cr_assert_str_eq(manifest.chunks[1].name, "c");
    cr_assert_str_eq(manifest.chunks[2].file, "b.st");
    cr_assert_eq(manifest.chunks[1].bytes, 281474976710655ull, "the largest there may be");
    cr_assert_eq(manifest.total_bytes, 281474976710659ull);
    cr_assert_eq(manifest.num_layers, 2);
    char digest[SWI_DIGEST_HEX];
    swi_digest_format(manifest.chunks[0].digest, digest);
    cr_assert_str_eq(digest, DIGEST);
    swi_manifest_fini(&manifest);
    swi_manifest_fini(&manifest);
}

Test(manifest, what_is_rendered_reads_the_same, .timeout = 10)
{
    struct swi_manifest manifest, back;
    cr_assert_eq(
        parse(MANIFEST(CHUNK("layer_0", "1", "b.st", "3") "," CHUNK("a", "0", "a.st", "1"), "4"),
              &manifest),
        0);
    char *text;
    cr_assert_eq(swi_manifest_render(&manifest, &text), 0);
    cr_assert_eq(parse(text, &back), 0, "%s", error.text);
    cr_assert_eq(back.count, 2);
    cr_assert_str_eq(back.chunks[1].name, "layer_0");
    cr_assert_str_eq(back.model_name, "m");
    cr_assert_str_eq(back.layout, "panel");
    cr_assert_str_eq(back.dtype, "F16");
    cr_assert(swi_digest_equal(back.chunks[1].digest, manifest.chunks[1].digest));
    cr_assert_not_null(strstr(text, "\"size_mb\""), "for readers of the older format");
    cr_assert_not_null(strstr(text, "\"total_size_mb\""));
    free(text);
    swi_manifest_fini(&back);
    swi_manifest_fini(&manifest);
    char broken[] = "\xff", bert[] = "bert", rows[] = "rows", f32[] = "F32";
    struct swi_manifest bad = {
        .model_name = broken, .model_type = bert, .layout = rows, .dtype = f32};
    cr_assert_eq(swi_manifest_render(&bad, &text), SW_EFORMAT);
}

Test(manifest, file_names_cannot_leave_the_directory, .timeout = 10)
{
    static const char *const bad[] = {"../a", "/etc/passwd", "a/b",       ".",         "..",
                                      "",     ".hidden",     "a\\u0001b", "a\\u007fb", "a\\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char json[1024];
        (void)snprintf(json, sizeof json,
                       "{" HEAD ",\"chunks\":{\"a\":{\"ordinal\":0,\"file\":\"%s\",\"bytes\":1,"
                       "\"xxh3_128\":\"" DIGEST "\"}},\"total_bytes\":1}",
                       bad[i]);
        refuse(json, SW_EFORMAT, "plain file name");
        (void)snprintf(json, sizeof json,
                       "{" HEAD ",\"chunks\":{\"%s\":{\"ordinal\":0,\"file\":\"a\",\"bytes\":1,"
                       "\"xxh3_128\":\"" DIGEST "\"}},\"total_bytes\":1}",
                       bad[i]);
        refuse(json, SW_EFORMAT, "plain name");
    }
    char longer[400], json[1024];
    memset(longer, 'x', 256);
    longer[256] = 0;
    (void)snprintf(json, sizeof json,
                   "{" HEAD ",\"chunks\":{\"a\":{\"ordinal\":0,\"file\":\"%s\",\"bytes\":1,"
                   "\"xxh3_128\":\"" DIGEST "\"}},\"total_bytes\":1}",
                   longer);
    refuse(json, SW_EFORMAT, "too long");
    cr_assert(swi_manifest_name_ok("layer_0"));
    cr_assert(swi_manifest_name_ok("größe 1.safetensors"));
    longer[255] = 0;
    cr_assert(swi_manifest_name_ok(longer));
}

Test(manifest, ordinals_are_a_permutation, .timeout = 10)
{
    refuse(MANIFEST(CHUNK("a", "0", "a", "1") "," CHUNK("b", "0", "b", "1"), "2"), SW_EFORMAT,
           "has ordinal 0, and so does");
    refuse(MANIFEST(CHUNK("a", "0", "a", "1") "," CHUNK("b", "2", "b", "1"), "2"), SW_EFORMAT,
           "ordinal");
    refuse(MANIFEST(CHUNK("a", "-1", "a", "1"), "1"), SW_EFORMAT, "ordinal");
    refuse(MANIFEST(CHUNK("a", "0.0", "a", "1"), "1"), SW_EFORMAT, "ordinal");
}

Test(manifest, one_file_one_chunk, .timeout = 10)
{
    refuse(MANIFEST(CHUNK("a", "0", "f", "1") "," CHUNK("b", "1", "f", "1"), "2"), SW_EFORMAT,
           "two chunks name the file \"f\"");
    refuse(MANIFEST(CHUNK("a", "0", "f", "1") "," CHUNK("a", "1", "g", "1"), "2"), SW_EFORMAT,
           "duplicate");
}

Test(manifest, sizes_and_digests_are_checked, .timeout = 10)
{
    refuse(MANIFEST(CHUNK("a", "0", "a", "0"), "0"), SW_EFORMAT, "\"bytes\" is 0");
    refuse(MANIFEST(CHUNK("a", "0", "a", "-1"), "1"), SW_EFORMAT, "bytes");
    refuse(MANIFEST(CHUNK("a", "0", "a", "1e3"), "1"), SW_EFORMAT, "bytes");
    refuse(MANIFEST(CHUNK("a", "0", "a", "281474976710657"), "1"), SW_EFORMAT, "bytes");
    refuse(MANIFEST(CHUNK("a", "0", "a", "99999999999999999999"), "1"), SW_EFORMAT, "big");
    refuse(MANIFEST(CHUNK("a", "0", "a", "1"), "2"), SW_EFORMAT, "total_bytes");
    refuse("{" HEAD ",\"chunks\":{" CHUNK("a", "0", "a", "1") "}}", SW_EFORMAT, "total_bytes");
    static const char *const bad[] = {"", "0", DIGEST "0", "z123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char json[1024];
        (void)snprintf(json, sizeof json,
                       "{" HEAD ",\"chunks\":{\"a\":{\"ordinal\":0,\"file\":\"a\",\"bytes\":1,"
                       "\"xxh3_128\":\"%s\"}},\"total_bytes\":1}",
                       bad[i]);
        refuse(json, SW_EFORMAT, "32 hex digits");
    }
}

Test(manifest, versions_and_kinds_are_checked, .timeout = 10)
{
    refuse("{\"chunks\":{}}", SW_EVERSION, "swchunk import");
    refuse("{\"format_version\":2,\"chunks\":{}}", SW_EVERSION, "format_version is 2");
    refuse("{\"format_version\":\"1\",\"chunks\":{}}", SW_EFORMAT, "format_version");
    refuse("{}", SW_EFORMAT, "format_version");
    refuse("[]", SW_EFORMAT, "not a JSON object");
    refuse("", SW_EFORMAT, "line");
    refuse("{\"format_version\":1}", SW_EFORMAT, "model_name");
    refuse("{" HEAD "}", SW_EFORMAT, "chunks");
    refuse("{" HEAD ",\"chunks\":[]}", SW_EFORMAT, "chunks");
    refuse("{" HEAD ",\"chunks\":{}}", SW_EFORMAT, "chunks");
    refuse("{" HEAD ",\"chunks\":{\"a\":1}}", SW_EFORMAT, "ordinal");
    refuse(
        "{\"format_version\":1,\"model_name\":\"m\",\"model_type\":\"bert\",\"layout\":\"tiles\"}",
        SW_EFORMAT, "layout");
    refuse("{\"format_version\":1,\"model_name\":\"m\",\"model_type\":\"bert\",\"layout\":\"rows\","
           "\"dtype\":\"I64\"}",
           SW_EFORMAT, "dtype");
    refuse("{\"format_version\":1,\"format_version\":1}", SW_EFORMAT, "duplicate");
    refuse("{\"\xff\":1}", SW_EFORMAT, "decode byte");
}

Test(manifest, counts_are_limited, .timeout = 30)
{
    size_t room = (SWI_MANIFEST_CHUNKS_MAX + 1) * 128ull, at = 0;
    char *json = malloc(room);
    cr_assert_not_null(json);
    at += (size_t)snprintf(json, room, "{" HEAD ",\"chunks\":{");
    for (unsigned i = 0; i <= SWI_MANIFEST_CHUNKS_MAX; i++)
        at +=
            (size_t)snprintf(json + at, room - at, "%s\"%u\":{\"ordinal\":%u}", i ? "," : "", i, i);
    (void)snprintf(json + at, room - at, "}}");
    refuse(json, SW_EFORMAT, "more than 4096 chunks");
    free(json);
    struct swi_manifest manifest;
    cr_assert_eq(swi_manifest_parse("", SWI_MANIFEST_MAX + 1u, &manifest, &error), SW_EFORMAT,
                 "refused before it is looked at");
}

/* ---- from a directory ------------------------------------------------------------------------ */

static char directory[] = "/tmp/sw-manifest-XXXXXX";

static void make_directory(void)
{
    cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/" SWI_MANIFEST_FILE, directory);
    (void)unlink(path);
    (void)rmdir(path);
    (void)rmdir(directory);
}

static int read_directory(struct swi_manifest *ret)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    int result = swi_manifest_read(fd, ret, &error);
    (void)close(fd);
    return result;
}

Test(manifest, is_read_from_a_regular_file_only, .timeout = 20, .init = make_directory,
     .fini = remove_directory)
{
    struct swi_manifest manifest;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/" SWI_MANIFEST_FILE, directory);
    cr_assert_eq(read_directory(&manifest), -ENOENT);
    cr_assert_not_null(strstr(error.text, "is this a chunk directory?"));
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(read_directory(&manifest), SW_EFORMAT, "and does not hang");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(read_directory(&manifest), SW_EFORMAT);
    cr_assert_eq(rmdir(path), 0);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fputs(MANIFEST(CHUNK("a", "0", "a.st", "1"), "1"), file);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(read_directory(&manifest), 0, "%s", error.text);
    cr_assert_eq(manifest.count, 1);
    swi_manifest_fini(&manifest);
    cr_assert_eq(truncate(path, (off_t)SWI_MANIFEST_MAX + 1), 0);
    cr_assert_eq(read_directory(&manifest), SW_EFORMAT);
}
