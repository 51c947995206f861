/* SPDX-License-Identifier: MIT */
/* The small files of a model, wherever they are: in a directory that is imported, or behind the
 * broker. Both are read by the same readers. */
#ifndef SWI_ENCODER_FILES_H
#define SWI_ENCODER_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "core/error.h"

struct swi_files {
    /* A whole file by its path in the model's directory; *ret_data is malloc'd and zero-terminated
     * one byte past *ret_size. SW_ENOCOMPONENT, without a message, when there is no such file; any
     * other error has one. */
    int (*read)(void *context, const char *path, void **ret_data, size_t *ret_size,
                struct swi_error *error);
    void *context;
};

/* The same, but a file that is not there is NULL with size 0. */
int swi_files_read(const struct swi_files *files, const char *path, void **ret_data,
                   size_t *ret_size, struct swi_error *error);
/* A JSON object; *ret is NULL when there is no such file. */
int swi_files_read_object(const struct swi_files *files, const char *path, json_t **ret,
                          struct swi_error *error);

#endif
