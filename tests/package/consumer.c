/* SPDX-License-Identifier: MIT */
/* What a program outside this project does with an installed libsw; compiled as C and as C++. */
#include <stdio.h>
#include <string.h>

#include <sw/sw.h>

int main(void)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    char error[256] = "";
    options.socket_path = "/nonexistent/broker.sock";
    options.error = error;
    options.error_size = sizeof error;
    sw_client *client = NULL;
    int result = sw_client_open(&options, &client);
    /* something of each part: client, tokenizer, encoder */
    sw_tokenizer *tokenizer = NULL;
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n";
    files.vocab = vocab;
    files.vocab_size = strlen(vocab);
    int made = sw_tokenizer_create(&files, error, sizeof error, &tokenizer);
    printf("%s %d %d\n", sw_version(), result == -2 && client == NULL,
           made == 0 && sw_tokenizer_id(tokenizer, "hello") == 5);
    sw_tokenizer_destroy(tokenizer);
    sw_encoder_close(NULL);
    return 0;
}
