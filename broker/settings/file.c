/* SPDX-License-Identifier: MIT */
/* The configuration file. inih splits lines into sections, keys and values; the table says which of
 * them exist and what they accept.
 *
 * inih gets its lines from next_line, which counts them for messages, removes indentation (inih
 * would continue the previous key) and bounds the input. */
#include "settings/settings.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 10000u

struct reader {
    struct settings *settings;
    FILE *stream;
    const char *path;
    unsigned line;
    struct swi_error *error;
    bool failed; /* error holds the first mistake */
};

#define FAIL(reader, ...)                                                                          \
    do {                                                                                           \
        char why[SWI_ERROR_TEXT / 2];                                                              \
        (void)snprintf(why, sizeof why, __VA_ARGS__);                                              \
        (void)swi_fail((reader)->error, -EINVAL, "%s:%u: %s", (reader)->path, (reader)->line,      \
                       why);                                                                       \
        (reader)->failed = true;                                                                   \
    } while (0)

static bool known_section(const char *name, size_t length)
{
    for (size_t i = 0; i < settings_count; i++)
        if (strlen(settings_table[i].section) == length &&
            strncmp(settings_table[i].section, name, length) == 0)
            return true;
    return false;
}

/* "[catalog], [cache] …" */
static const char *list_sections(char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < settings_count && used < size; i++) {
        if (i > 0 && strcmp(settings_table[i].section, settings_table[i - 1].section) == 0)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s[%s]", i ? ", " : "",
                                 settings_table[i].section);
    }
    return text;
}

/* inih reports no section without keys, but its name may be the mistake. */
static void check_section(struct reader *reader, const char *line)
{
    const char *end = strchr(line, ']');
    char sections[128];
    if (end && !known_section(line + 1, (size_t)(end - line - 1)))
        FAIL(reader, "unknown section %.*s; the sections are %s", (int)(end - line + 1), line,
             list_sections(sections, sizeof sections));
}

/* Reads a line without its newline and indentation. False at the end of the file, or on failure. */
static bool take_line(struct reader *reader, char *buffer, size_t size)
{
    size_t length = 0;
    int c;
    while ((c = getc(reader->stream)) != EOF && c != '\n') {
        bool comment = length > 0 && (buffer[0] == ';' || buffer[0] == '#');
        if (c == 0x7f || (c < 0x20 && c != '\t' && c != '\r')) {
            FAIL(reader,
                 "the line contains a control character; a configuration file is plain text");
            return false;
        }
        if (comment || (length == 0 && (c == ' ' || c == '\t')))
            continue;
        if (length + 2 > size) {
            FAIL(reader,
                 "the line is longer than %zu bytes; use the flag or the variable for a longer "
                 "value",
                 size - 2);
            return false;
        }
        buffer[length++] = (char)c;
    }
    buffer[length] = 0;
    if (ferror(reader->stream)) {
        FAIL(reader, "cannot read further: %s", sw_strerror(-errno));
        return false;
    }
    return c != EOF || length > 0;
}

static char *next_line(char *buffer, int size, void *context)
{
    struct reader *reader = context;
    if (reader->failed)
        return NULL;
    if (reader->line++ >= LINES_MAX) {
        FAIL(reader, "the file has more than %u lines", LINES_MAX);
        return NULL;
    }
    if (!take_line(reader, buffer, (size_t)size))
        return NULL;
    if (buffer[0] == '[')
        check_section(reader, buffer);
    return reader->failed ? NULL : buffer;
}

/* Returns 0 on failure, as inih expects. */
static int take_key(void *context, const char *section, const char *name, const char *value)
{
    struct reader *reader = context;
    if (reader->failed)
        return 0;
    char sections[128];
    int found = settings_find(name);
    if (found < 0) {
        FAIL(reader, "unknown setting '%.60s'; see swbrokerd --help", name);
        return 0;
    }
    const struct setting *setting = &settings_table[found];
    const struct settings_value *known = &reader->settings->values[found];
    if (strcmp(section, setting->section) != 0) {
        if (*section)
            FAIL(reader, "%s belongs in section [%s], not in [%.60s]", name, setting->section,
                 section);
        else
            FAIL(reader,
                 "%s comes before the first section; it belongs in [%s] (the sections are %s)",
                 name, setting->section, list_sections(sections, sizeof sections));
        return 0;
    }
    if (known->origin == SETTINGS_FROM_FILE) {
        FAIL(reader, "%s was already set in line %u", name, known->line);
        return 0;
    }
    reader->failed = settings_set(reader->settings, (size_t)found, value, SETTINGS_FROM_FILE,
                                  reader->line, reader->error) < 0;
    return !reader->failed;
}

int settings_read_file(struct settings *settings, const char *path, bool optional,
                       struct swi_error *error)
{
    FILE *stream = fopen(path, "re");
    if (!stream && errno == ENOENT && optional)
        return 0;
    if (!stream)
        return swi_fail(error, -EINVAL, "cannot read the configuration file %s: %s", path,
                        sw_strerror(-errno));
    settings->file = strdup(path);
    if (!settings->file) {
        (void)fclose(stream);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    struct reader reader = {.settings = settings, .stream = stream, .path = path, .error = error};
    int line = ini_parse_stream(next_line, &reader, take_key, &reader);
    (void)fclose(stream);
    if (reader.failed)
        return -EINVAL;
    if (line > 0)
        return swi_fail(error, -EINVAL, "%s:%d: expected [section], or NAME = VALUE", path, line);
    return line < 0 ? swi_fail(error, -ENOMEM, "out of memory") : 0;
}
