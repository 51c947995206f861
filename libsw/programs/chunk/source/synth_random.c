/* SPDX-License-Identifier: MIT */
/* See the header for the formula. */
#include "programs/chunk/source/synth_random.h"

#include <stdbool.h>
#include <string.h>

static uint64_t fnv1a64(const char *text)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001B3u;
    return hash;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* k = 0: a vector. */
static int exponent_of(const char *name, uint64_t k)
{
    if (ends_with(name, "LayerNorm.weight"))
        return 3;
    if (ends_with(name, "word_embeddings.weight"))
        return 4;
    if (k == 0 || ends_with(name, "position_embeddings.weight") ||
        ends_with(name, "token_type_embeddings.weight"))
        return 5;
    int exponent = 0;
    while (3ull << (2 * exponent) < k)
        exponent++;
    if (ends_with(name, "attention.self.query.weight") ||
        ends_with(name, "attention.self.key.weight"))
        return exponent > 0 ? exponent - 1 : 0;
    return ends_with(name, "attention.output.dense.weight") ? exponent + 1 : exponent;
}

struct synth_stream synth_stream_of(uint64_t seed, const char *name, uint64_t k)
{
    float scale = 0x1p-23f;
    for (int exponent = exponent_of(name, k); exponent > 0; exponent--)
        scale /= 2;
    return (struct synth_stream){
        .state = seed ^ fnv1a64(name),
        .scale = scale,
        .centre = ends_with(name, "LayerNorm.weight") ? 1 : 0,
    };
}

void synth_fill(const struct synth_stream *stream, uint64_t first, uint64_t count, float *out)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t z = stream->state + (first + i + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        int32_t u = (int32_t)(z >> 40) - (1 << 23);
        out[i] = stream->centre + (float)u * stream->scale;
    }
}
