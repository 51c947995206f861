/* SPDX-License-Identifier: MIT */
/* chunk_info.json: whatever is accepted names plain files, and renders to what reads the same. */
#include <string.h>

#include "core/manifest.h"
#include "fuzz.h"

static void check(const struct swi_manifest *manifest)
{
    uint64_t total = 0;
    FUZZ_CHECK(manifest->count > 0 && manifest->count <= SWI_MANIFEST_CHUNKS_MAX);
    for (size_t i = 0; i < manifest->count; i++) {
        const struct swi_manifest_chunk *chunk = &manifest->chunks[i];
        FUZZ_CHECK(swi_manifest_name_ok(chunk->name) && swi_manifest_name_ok(chunk->file));
        FUZZ_CHECK(!strchr(chunk->file, '/') && strcmp(chunk->file, "..") != 0);
        FUZZ_CHECK(chunk->bytes > 0);
        total += chunk->bytes;
    }
    FUZZ_CHECK(total == manifest->total_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct swi_manifest manifest, again;
    struct swi_error error = {0};
    if (swi_manifest_parse(data, size, &manifest, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    check(&manifest);
    char *text;
    FUZZ_CHECK(swi_manifest_render(&manifest, &text) == 0);
    FUZZ_CHECK(swi_manifest_parse(text, strlen(text), &again, &error) == 0);
    FUZZ_CHECK(again.count == manifest.count && again.total_bytes == manifest.total_bytes);
    for (size_t i = 0; i < again.count; i++) {
        FUZZ_CHECK(strcmp(again.chunks[i].name, manifest.chunks[i].name) == 0);
        FUZZ_CHECK(swi_digest_equal(again.chunks[i].digest, manifest.chunks[i].digest));
    }
    free(text);
    swi_manifest_fini(&again);
    swi_manifest_fini(&manifest);
    return 0;
}
