/* Files: written so that a crash leaves the old content or the new one, never a mixture, and read with checked sizes.
 * Messages are "path: reason". */
#ifndef PK_IO_FILE_H
#define PK_IO_FILE_H

#include "core/status.h"

/* A file being written. It appears under its name only at pk_writer_commit; until then its bytes are in a hidden
 * temporary beside it, which is locked (a second writer of the same file waits) and reused if a crash left one. */
typedef struct pk_writer {
    int fd; /* -1: closed */
    char *path;
    char *temporary;
    uint8_t *buffer;
    int64_t used;
    int mode; /* of the file that is replaced, or -1 */
} pk_writer;

/* Whatever pk_writer_open returns, pk_writer_discard may follow. */
pk_status pk_writer_open(pk_writer *f, const char *path);
pk_status pk_writer_write(pk_writer *f, const void *data, int64_t bytes);
pk_status pk_writer_commit(pk_writer *f); /* flush, fsync, rename, fsync of the directory */
void pk_writer_discard(pk_writer *f); /* after a commit it only frees; else the temporary goes and the old file stays */

/* Open, write, commit. */
pk_status pk_file_write(const char *path, const void *data, int64_t bytes);

/* A file of lines that only grows, with one writer: locked while it is open, and what was appended is on the disk when
 * pk_appender_write returns. */
typedef struct pk_appender {
    int fd; /* -1: closed */
    char *path;
    int64_t size;
} pk_appender;

/* Opens or makes the file. A last line without an end, which a crash left, is cut off. *taken: another has it open; then
 * the status is PK_EIO. Whatever this returns, pk_appender_close may follow. */
pk_status pk_appender_open(pk_appender *a, const char *path, bool *taken);
/* Whole lines: after a failure none of these bytes is in the file. */
pk_status pk_appender_write(pk_appender *a, const void *data, int64_t bytes);
void pk_appender_close(pk_appender *a);

/* Something to read at any place: a regular file, or memory. */
typedef struct pk_source {
    const char *name;    /* for messages; borrowed */
    int fd;              /* -1: memory */
    const uint8_t *data; /* memory, or the file mapped into it; null: the file is read */
    int64_t size;
    struct pk_mapping *mapping; /* of pk_source_map; null: none */
} pk_source;

/* path and data are borrowed until pk_source_close. What is no regular file is PK_EIO. */
pk_status pk_source_open(pk_source *s, const char *path);
void pk_source_memory(pk_source *s, const char *name, const void *data, int64_t size);
/* Exactly these bytes, or a failure: reading past size is PK_EFORMAT. */
pk_status pk_source_read(pk_source *s, int64_t offset, void *out, int64_t bytes);
void pk_source_close(pk_source *s);

/* Map an open file, so that pk_mapping_hold can lend its bytes. Where that cannot be, it is read as before. Writes into
 * the bytes stay private; a file that another process cuts short while it is mapped ends the program (SIGBUS), so what
 * is written here replaces files by new ones and never cuts them. */
void pk_source_map(pk_source *s);
/* One more holder of the mapping, which lives until all have let go (pk_mapping_drop) and the source is closed. */
struct pk_mapping *pk_mapping_hold(struct pk_mapping *m);
void pk_mapping_drop(void *m);

/* For tests: let the n-th system call on files from now fail with errno `error`, 1 the next; every one after it too if
 * persist. error 0: a write takes only half of what it was given. n 0 ends it. */
void pk_file_fail_at(int64_t n, int error, bool persist);
/* How many were made since pk_file_fail_at was last called. */
int64_t pk_file_calls(void);

#endif
