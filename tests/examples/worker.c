/* SPDX-License-Identifier: MIT */
/* A worker: one sentence in, its embedding out, computed on the broker's copy of the weights.
 * The README shows this program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sw/sw.h>

static int embed(sw_encoder *encoder, const char *sentence, float *vector, size_t capacity)
{
    const sw_tokenizer *tokenizer;
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    struct sw_encoding text = {0};
    int result = sw_encoder_tokenizer(encoder, &tokenizer);
    if (result == 0)
        result =
            sw_tokenizer_encode(tokenizer, sentence, strlen(sentence), NULL, 0, &options, &text);
    batch.sequences = 1, batch.lengths = &text.count, batch.ids = text.ids;
    if (result == 0)
        result = sw_encoder_embed(encoder, &batch, SW_POOLING_DEFAULT, SW_NORMALIZE_DEFAULT, vector,
                                  capacity);
    sw_encoding_fini(&text);
    return result;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "minilm";
    char why[512] = "";
    struct sw_client_options session = SW_INIT(struct sw_client_options);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    sw_client *client = NULL;
    sw_encoder *encoder = NULL;
    float *vector = NULL;
    session.error = options.error = why;
    session.error_size = options.error_size = sizeof why;

    int result = sw_client_open(&session, &client);
    if (result == 0)
        result = sw_encoder_open(client, name, &options, &encoder);
    if (result == 0)
        result = sw_encoder_get_config(encoder, &config);
    if (result == 0) {
        vector = malloc(config.embedding_size * sizeof *vector);
        result = vector ? embed(encoder, "Hello world", vector, config.embedding_size) : -ENOMEM;
    }
    if (result == 0)
        printf("%u numbers: %g %g %g ...\n", config.embedding_size, vector[0], vector[1],
               vector[2]);
    else {
        if (encoder)
            sw_encoder_message(encoder, why, sizeof why);
        fprintf(stderr, "worker: %s\n", *why ? why : sw_strerror(result));
    }
    free(vector);
    sw_encoder_close(encoder);
    sw_client_close(client);
    return result != 0;
}
