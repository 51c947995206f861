/* SPDX-License-Identifier: MIT */
/* A worker in ten lines: text in, an embedding out, on the broker's copy of the weights. */
#include <stdio.h>
#include <sw/sw.h>

int main(void)
{
    sw_client *client;
    sw_encoder *encoder;
    const sw_tokenizer *tokenizer;
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    struct sw_encoding text = {0};
    float vector[384];
    if (sw_client_open(NULL, &client) || sw_encoder_open(client, "minilm", NULL, &encoder) ||
        sw_encoder_tokenizer(encoder, &tokenizer) ||
        sw_tokenizer_encode(tokenizer, "Hello world", 11, NULL, 0, &options, &text))
        return 1;
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1, batch.lengths = &text.count, batch.ids = text.ids;
    int result = sw_encoder_embed(encoder, &batch, SW_POOLING_MEAN, 1, vector);
    printf(result ? "failed\n" : "%g %g %g ...\n", vector[0], vector[1], vector[2]);
    sw_encoding_fini(&text);
    sw_encoder_close(encoder);
    sw_client_close(client);
    return result != 0;
}
