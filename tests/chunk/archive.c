/* SPDX-License-Identifier: MIT */
/* Archives that no writer of zip makes: entries that lie about what and where they are. Whatever
 * cannot be what torch.save wrote is refused, and no size that an entry claims is believed. */
#include <criterion/criterion.h>
#include <string.h>

#include "chunk/fixture.h"
#include "support/keep.h"
#include "support/support.h"
#include "support/zip.h"

#define ARCHIVE_BYTES (1u << 16)

/* A dictionary of one tensor, "a": two floats in the storage 0. */
#define SMALL_PICKLE                                                                               \
    "\x80\x02}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"             \
    "FloatStorage\nX\1\0\0\0"                                                                      \
    "0X\3\0\0\0cpuK\2tQK\0K\2\x85K\1\x85\x89"                                                      \
    "ccollections\nOrderedDict\n"                                                                  \
    ")RtRs."
static const char floats[8] = "\0\0\x80?\0\0\0@";

static const char *model;
static struct sup_zip zip;

static void begin_archive(void)
{
    sup_zip_begin(&zip, sup_keep(ARCHIVE_BYTES), ARCHIVE_BYTES);
}

/* A model's directory without weights, and an archive to be filled. */
static void begin(void)
{
    model = fixture_model("model", NULL);
    sup_remove_tree(sup_format("%s/model.safetensors", model));
    begin_archive();
}

static struct sup_zip_entry entry(const char *name, const void *data, size_t size)
{
    return (struct sup_zip_entry){
        .name = name, .name_size = strlen(name), .data = data, .size = size};
}

static void add(const char *name, const void *data, size_t size)
{
    const struct sup_zip_entry plain = entry(name, data, size);
    sup_zip_add(&zip, &plain);
}

static void add_pickle(void)
{
    add("archive/data.pkl", SMALL_PICKLE, sizeof SMALL_PICKLE - 1);
}

static void add_lie(unsigned lies, uint32_t value)
{
    struct sup_zip_entry wrong = entry("archive/data/0", floats, sizeof floats);
    wrong.lies = lies;
    wrong.central_size = wrong.local_size = wrong.place = value;
    sup_zip_add(&zip, &wrong);
}

static void expect_refused(const char *text)
{
    sup_zip_end(&zip);
    cr_assert_lt(zip.size, ARCHIVE_BYTES);
    sup_write(sup_format("%s/pytorch_model.bin", model), zip.bytes, zip.size);
    fixture_expect_import_refused(model, NULL, TEXTS("pytorch_model.bin: ", text));
}

/* What the others differ from: it is read, and only then found to be no BERT. */
Test(archive, what_is_not_wrong_is_read, .init = begin, .timeout = 60)
{
    add_pickle();
    add("archive/data/0", floats, sizeof floats);
    sup_zip_end(&zip);
    sup_write(sup_format("%s/pytorch_model.bin", model), zip.bytes, zip.size);
    fixture_expect_import_refused(model, NULL, TEXTS("is missing; config.json requires it"));
}

Test(archive, compressed_entries_are_not_unpacked, .init = begin, .timeout = 60)
{
    add_pickle();
    add_lie(SUP_ZIP_COMPRESSED, 0);
    expect_refused("is compressed or encrypted");
}

Test(archive, a_compressed_pickle_is_not_unpacked, .init = begin, .timeout = 60)
{
    struct sup_zip_entry bomb = entry("archive/data.pkl", SMALL_PICKLE, sizeof SMALL_PICKLE - 1);
    bomb.lies = SUP_ZIP_COMPRESSED;
    sup_zip_add(&zip, &bomb);
    expect_refused("is compressed or encrypted");
}

Test(archive, encrypted_entries, .init = begin, .timeout = 60)
{
    add_pickle();
    add_lie(SUP_ZIP_ENCRYPTED, 0);
    expect_refused("is compressed or encrypted");
}

Test(archive, an_entry_longer_than_the_file, .init = begin, .timeout = 60)
{
    add_pickle();
    add_lie(SUP_ZIP_CENTRAL | SUP_ZIP_LOCAL, 1u << 30);
    expect_refused("zip");
}

Test(archive, sizes_that_differ_between_the_headers, .init = begin, .timeout = 60)
{
    add_pickle();
    add_lie(SUP_ZIP_LOCAL, 4);
    expect_refused("zip");
}

Test(archive, names_that_differ_between_the_headers, .init = begin, .timeout = 60)
{
    add_pickle();
    add_lie(SUP_ZIP_NAME, 0);
    expect_refused("zip");
}

Test(archive, a_header_outside_the_file, .init = begin, .timeout = 60)
{
    add_pickle();
    add_lie(SUP_ZIP_PLACE, 1u << 30);
    expect_refused("zip");
}

Test(archive, a_name_that_is_there_twice, .init = begin, .timeout = 60)
{
    add_pickle();
    add("archive/data/0", floats, sizeof floats);
    add("archive/data/0", floats, sizeof floats);
    expect_refused("zip");
}

/* Local headers and data of one entry inside the data of another: many of them would make a large
 * model of a small file. */
Test(archive, entries_inside_each_other, .init = begin, .timeout = 60)
{
    static uint8_t inner[8192];
    struct sup_zip within;
    char name[32];
    sup_zip_begin(&within, inner, sizeof inner);
    for (int i = 0; i < 16; i++) {
        (void)snprintf(name, sizeof name, "archive/data/%d", i);
        struct sup_zip_entry small = entry(name, inner, 0);
        sup_zip_add(&within, &small);
    }
    add_pickle();
    uint32_t start = (uint32_t)zip.size + 30 + (uint32_t)strlen("archive/outer");
    add("archive/outer", inner, sizeof inner);
    /* each reaches from its header inside the outer entry to that one's end */
    for (uint32_t i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof name, "archive/data/%u", i);
        struct sup_zip_entry part = entry(name, inner, sizeof inner);
        uint32_t size = (uint32_t)sizeof inner - (i + 1) * (30 + (uint32_t)strlen(name));
        part.lies = SUP_ZIP_PLACE | SUP_ZIP_CENTRAL;
        part.place = start + i * (30 + (uint32_t)strlen(name));
        part.central_size = size;
        uint8_t *header = zip.bytes + part.place;
        memcpy(header + 18, &size, sizeof size);
        memcpy(header + 22, &size, sizeof size);
        size_t before = zip.size;
        sup_zip_add(&zip, &part);
        zip.size = before; /* its central header alone is wanted */
        memcpy(header + 14, zip.directory + zip.directory_size - 46 - strlen(name) + 16, 4);
    }
    expect_refused("overlap");
}

Test(archive, an_entry_in_another_folder, .init = begin, .timeout = 60)
{
    add_pickle();
    add("other/data.pkl", SMALL_PICKLE, sizeof SMALL_PICKLE - 1);
    add("archive/data/0", floats, sizeof floats);
    expect_refused("other/data.pkl is outside the folder archive");
}

Test(archive, paths_that_lead_elsewhere, .init = begin, .timeout = 100)
{
    static const char *const paths[] = {"../evil",          "/etc/passwd",     "archive/../../evil",
                                        "archive/./data/0", "archive//data/0", "archive/data/.."};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        begin_archive();
        add_pickle();
        add(paths[i], floats, sizeof floats);
        expect_refused("is outside the folder archive");
    }
    static const char *const pickles[] = {"../data.pkl", "/data.pkl", "./data.pkl"};
    for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++) {
        begin_archive();
        add(pickles[i], SMALL_PICKLE, sizeof SMALL_PICKLE - 1);
        expect_refused(i == 1 ? "no data.pkl inside" : "is outside the folder");
    }
}

Test(archive, a_zip_with_nothing_in_it, .init = begin, .timeout = 60)
{
    expect_refused("torch.save did not write this file");
}
