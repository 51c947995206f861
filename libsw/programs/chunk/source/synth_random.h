/* SPDX-License-Identifier: MIT */
/* The generator of synthetic weights: simple enough to be repeated exactly by a few lines of
 * Python.
 *
 * All integers are 64 bits wide and wrap. Element i (row-major, from 0) of the tensor whose Hugging
 * Face name (without "bert.") is `name`, in a model with seed `seed`:
 *
 *   state = seed XOR fnv1a64(name)
 *   z     = state + (i + 1) · 0x9E3779B97F4A7C15               splitmix64's i-th output …
 *   z     = (z XOR z >> 30) · 0xBF58476D1CE4E5B9
 *   z     = (z XOR z >> 27) · 0x94D049BB133111EB
 *   z     = z XOR z >> 31                                      … from that state
 *   u     = (z >> 40) − 2^23                                   an integer in −2^23 … 2^23 − 1
 *   x     = u · 2^−(23 + e)                                    exact in f32: uniform in ±2^−e
 *   x     = 1 + x, rounded once to f32                         only for LayerNorm.weight
 *
 *   fnv1a64: h = 0xCBF29CE484222325; for each byte b: h = (h XOR b) · 0x100000001B3
 *
 * The exponent e depends on name and shape:
 *
 *   …LayerNorm.weight                                  3
 *   any other vector (biases, LayerNorm.bias)          5
 *   embeddings.word_embeddings.weight                  4
 *   embeddings.position_embeddings.weight              5
 *   embeddings.token_type_embeddings.weight            5
 *   any other matrix [N, K]                            the least e ≥ 0 with 3 · 4^e ≥ K
 *     …attention.self.query.weight and …key.weight     one less than that, but not under 0
 *     …attention.output.dense.weight                   one more than that
 *
 * 3 · 4^e ≥ K makes the outputs of a linear layer vary by about 1 for inputs that do (a uniform in
 * ±a has variance a²/3). The exceptions keep attention from being flat (queries times keys vary by
 * 1 to 4 before the softmax) and tokens from becoming all alike over many layers (what attention
 * mixes in stays small beside the residual).
 */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_SYNTH_RANDOM_H
#define SWI_PROGRAMS_CHUNK_SOURCE_SYNTH_RANDOM_H

#include <stdint.h>

struct synth_stream {
    uint64_t state;
    float scale;  /* 2^−(23 + e) */
    float centre; /* 1 for LayerNorm.weight, else 0 */
};

/* k: columns of a matrix, 0 for a vector. */
struct synth_stream synth_stream_of(uint64_t seed, const char *name, uint64_t k);

/* Elements first … first+count-1. */
void synth_fill(const struct synth_stream *stream, uint64_t first, uint64_t count, float *out);

#endif
