/* The broker's log. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES      1024
#define PEER_LINES_A_SECOND 10u

/* syslog's numbers, as the journal reads them before a line */
enum level { LEVEL_ERROR = 3, LEVEL_WARNING = 4, LEVEL_INFO = 6, LEVEL_DETAIL = 7 };

static enum log_level least_urgent = LOG_LEVEL_INFO;
static bool to_journal;

/* Whether stderr is the stream that systemd connected to the journal. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    unsigned long long device, inode;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_start(enum log_level level)
{
    least_urgent = level;
    to_journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
    least_urgent = level;
}

__attribute__((format(printf, 2, 0))) static void write_line(enum level level, const char *format,
                                                             va_list arguments)
{
    char line[LINE_MAX_BYTES];
    int lead = to_journal ? snprintf(line, sizeof line, "<%d>", (int)level)
                          : snprintf(line, sizeof line, "swbrokerd: ");
    int body = vsnprintf(line + lead, sizeof line - (size_t)lead - 1, format, arguments);
    if (body < 0)
        return;
    size_t size = strnlen(line, sizeof line - 1);
    for (size_t i = (size_t)lead; i < size; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[size] = '\n';
    /* One write a line, so that lines of several processes do not mix. Nobody can be told of a
     * failure. */
    ssize_t written = write(STDERR_FILENO, line, size + 1);
    (void)written;
}

#define WRITE(level)                                                                               \
    do {                                                                                           \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        write_line(level, format, arguments);                                                      \
        va_end(arguments);                                                                         \
    } while (0)

void log_error(const char *format, ...)
{
    WRITE(LEVEL_ERROR);
}

void log_warning(const char *format, ...)
{
    if (least_urgent >= LOG_LEVEL_WARNING)
        WRITE(LEVEL_WARNING);
}

void log_info(const char *format, ...)
{
    if (least_urgent >= LOG_LEVEL_INFO)
        WRITE(LEVEL_INFO);
}

void log_detail(const char *format, ...)
{
    if (least_urgent >= LOG_LEVEL_DEBUG)
        WRITE(LEVEL_DETAIL);
}

void log_peer(const char *format, ...)
{
    static time_t second;
    static unsigned lines, left_out;
    if (least_urgent < LOG_LEVEL_WARNING)
        return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != second) {
        if (left_out)
            log_warning("%u more lines about clients were left out", left_out);
        second = now.tv_sec;
        lines = left_out = 0;
    }
    if (lines >= PEER_LINES_A_SECOND) {
        left_out++;
        return;
    }
    lines++;
    WRITE(LEVEL_WARNING);
}
