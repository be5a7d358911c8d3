/* Crash-safe writing and checked reading of files. Every system call goes through a small shim that tests can make
 * fail. Nothing here knows a format. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/checked.h"

#define BUFFER_BYTES (64 * 1024)
#define OPEN_TRIES 64
#define LOCK_PAUSE_MS 20 /* between two looks whether a file's other writer has finished */
#define LOCK_TRIES 500

/* ---- faults for tests ---- */

static atomic_llong fault_at, fault_calls;
static atomic_int fault_error;
static atomic_bool fault_persist;

void pk_file_fail_at(int64_t n, int error, bool persist) {
    fault_calls = 0;
    fault_error = error;
    fault_persist = persist;
    fault_at = n;
}

int64_t pk_file_calls(void) { return fault_calls; }

/* Is this call the one to fail? Then errno is set. */
static bool fault(void) {
    long long call = atomic_fetch_add(&fault_calls, 1) + 1, at = fault_at;
    if (at == 0 || !(call == at || (fault_persist && call > at))) return false;
    errno = fault_error;
    return true;
}

static int try_open(const char *path, int flags, mode_t mode) {
    int fd;
    do {
        fd = fault() && errno ? -1 : open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static ssize_t try_write(int fd, const uint8_t *data, size_t bytes) {
    if (fault()) {
        if (errno) return -1;
        bytes = (bytes + 1) / 2;
    }
    return write(fd, data, bytes);
}

static ssize_t try_read(int fd, void *out, size_t bytes, int64_t offset) {
    return fault() && errno ? -1 : pread(fd, out, bytes, (off_t)offset);
}

static int try_fsync(int fd) {
    int r;
    do {
        r = fault() && errno ? -1 : fsync(fd);
    } while (r < 0 && errno == EINTR);
    return r;
}

static int try_rename(const char *from, const char *to) { return fault() && errno ? -1 : rename(from, to); }

/* The descriptor is gone whatever close says; only the report can fail. */
static int try_close(int fd) {
    bool failed = fault() && errno && errno != EINTR;
    int error = errno;
    int r = close(fd);
    if (failed) errno = error;
    return failed || (r < 0 && errno != EINTR) ? -1 : 0;
}

static pk_status fail_errno(const char *path) { return pk_fail(PK_EIO, "%s: %s", path, strerror(errno)); }

/* ---- writing ---- */

/* "dir/name" to "dir/.name.pelk-new". Null when there is no memory. */
static char *temporary_name(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    int64_t size = (int64_t)strlen(path) + 16;
    char *name = pk_alloc(size);
    if (name) snprintf(name, (size_t)size, "%.*s.%s.pelk-new", (int)(base - path), path, base);
    return name;
}

/* Where a symbolic link whose file is not there yet points, or null. */
static const char *dangling(const char *path, char buffer[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    char target[PATH_MAX];
    const ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0) return NULL;
    target[n] = '\0';
    const int folder = slash && *target != '/' ? (int)(slash + 1 - path) : 0;
    const int size = snprintf(buffer, PATH_MAX, "%.*s%s", folder, path, target);
    return size > 0 && size < PATH_MAX ? buffer : NULL;
}

/* Through a symbolic link to what it names, so that the link stays one. */
static pk_status resolve(const char *path, char **out) {
    struct stat st;
    char buffer[PATH_MAX];
    const char *real = NULL;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        real = realpath(path, buffer);
        if (!real) real = dangling(path, buffer);
    }
    *out = pk_strdup(real ? real : path);
    return *out ? PK_OK : pk_no_memory((int64_t)strlen(path) + 1);
}

/* Wait for another writer of the same path, but not for ever: it may be of this process. */
static pk_status wait_for_lock(pk_writer *f) {
    for (int i = 0; flock(f->fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR) break;
        PK_RETURN_IF(i >= LOCK_TRIES, PK_EIO, "%s: another writer has had it open for %d seconds", f->path,
                     LOCK_TRIES * LOCK_PAUSE_MS / 1000);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_MS * 1000000L}, NULL);
    }
    return PK_OK;
}

/* A temporary of ours that a killed process left when it had been given the mode of a file that may not be written. One
 * that is locked is its writer's: we wait. False when there is none. */
static bool remove_unwritable(const char *temporary) {
    struct stat open_file, named;
    const int fd = open(temporary, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    const bool ours = fstat(fd, &open_file) == 0 && open_file.st_uid == geteuid();
    if (ours && flock(fd, LOCK_EX | LOCK_NB) < 0) nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_MS * 1000000L}, NULL);
    else if (ours && lstat(temporary, &named) == 0 && named.st_ino == open_file.st_ino) unlink(temporary);
    close(fd);
    return ours;
}

/* Open and lock the temporary. Only a plain file with this one name will do: anything else in its place is removed
 * (the name, not what it may point to). Between open and lock its last writer may have renamed it away: then again. */
static pk_status open_temporary(pk_writer *f, mode_t mode) {
    for (int i = 0; i < OPEN_TRIES; i++) {
        f->fd = try_open(f->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode);
        const int why = errno;
        if (f->fd < 0 && (why == ELOOP || why == ENXIO) && unlink(f->temporary) == 0) continue;
        if (f->fd < 0 && why == EACCES && remove_unwritable(f->temporary)) continue;
        errno = why;
        if (f->fd < 0) return fail_errno(f->path);
        PK_TRY(wait_for_lock(f)); /* no locks on this file system: goes on without */
        struct stat open_file, named;
        bool same = fstat(f->fd, &open_file) == 0 && lstat(f->temporary, &named) == 0 &&
                    open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
        if (same && S_ISREG(open_file.st_mode) && open_file.st_nlink == 1) {
            if (ftruncate(f->fd, 0) == 0) return PK_OK;
            return fail_errno(f->path);
        }
        if (same && unlink(f->temporary) < 0) return fail_errno(f->path);
        close(f->fd);
        f->fd = -1;
    }
    return pk_fail(PK_EIO, "%s: its temporary %s is contested by other processes", f->path, f->temporary);
}

pk_status pk_writer_open(pk_writer *f, const char *path) {
    memset(f, 0, sizeof *f);
    f->fd = -1;
    PK_RETURN_IF(!path || !*path, PK_EINVAL, "the path of a file to write is empty");
    struct stat st;
    PK_TRY(resolve(path, &f->path));
    bool exists = stat(f->path, &st) == 0;
    PK_RETURN_IF(exists && !S_ISREG(st.st_mode), PK_EIO, "%s: is %s, not a regular file", path,
                 S_ISDIR(st.st_mode) ? "a directory" : "a device, pipe or socket");
    f->temporary = temporary_name(f->path);
    f->buffer = pk_alloc(BUFFER_BYTES);
    if (!f->temporary || !f->buffer) return pk_no_memory(BUFFER_BYTES);
    f->mode = exists ? (int)(st.st_mode & 07777) : -1;
    return open_temporary(f, exists ? (st.st_mode & 0777) | S_IWUSR : 0666);
}

static pk_status write_all(int fd, const char *path, const uint8_t *data, int64_t bytes) {
    while (bytes > 0) {
        ssize_t n = try_write(fd, data, (size_t)pk_min(bytes, 1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO;
        if (n <= 0) return fail_errno(path);
        data += n;
        bytes -= n;
    }
    return PK_OK;
}

static pk_status flush(pk_writer *f) {
    int64_t bytes = f->used;
    f->used = 0;
    return write_all(f->fd, f->path, f->buffer, bytes);
}

pk_status pk_writer_write(pk_writer *f, const void *data, int64_t bytes) {
    PK_RETURN_IF(f->fd < 0, PK_EINVAL, "this file is not open for writing");
    if (bytes <= 0) return PK_OK; /* data may be null then */
    if (bytes > BUFFER_BYTES - f->used) PK_TRY(flush(f));
    if (bytes >= BUFFER_BYTES) return write_all(f->fd, f->path, data, bytes);
    memcpy(f->buffer + f->used, data, (size_t)bytes);
    f->used += bytes;
    return PK_OK;
}

/* Without it a power loss may undo the rename. File systems that cannot are taken at their word. */
static pk_status sync_directory(const char *path) {
    const char *slash = strrchr(path, '/');
    char *directory = pk_strdup(slash ? path : ".");
    if (!directory) return pk_no_memory((int64_t)strlen(path) + 1);
    if (slash) directory[slash == path ? 1 : slash - path] = '\0';
    int fd = try_open(directory, O_RDONLY | O_DIRECTORY, 0);
    pk_free(directory);
    if (fd < 0) return errno == EACCES ? PK_OK : fail_errno(path); /* may be written to but not read */
    pk_status status = PK_OK;
    if (try_fsync(fd) < 0 && errno != EINVAL && errno != ENOTSUP) status = fail_errno(path);
    close(fd);
    return status;
}

pk_status pk_writer_commit(pk_writer *f) {
    PK_TRY(flush(f));
    if (f->mode >= 0 && fchmod(f->fd, (mode_t)f->mode) < 0) return fail_errno(f->path); /* last: it may forbid writing */
    if (try_fsync(f->fd) < 0) return fail_errno(f->path);
    if (try_rename(f->temporary, f->path) < 0) return fail_errno(f->path);
    pk_free(f->temporary); /* it is the file now: nothing to remove */
    f->temporary = NULL;
    int r = try_close(f->fd);
    f->fd = -1;
    if (r < 0) return fail_errno(f->path);
    return sync_directory(f->path);
}

void pk_writer_discard(pk_writer *f) {
    if (f->fd >= 0 && f->temporary) unlink(f->temporary); /* before close: the lock still holds */
    if (f->fd >= 0) close(f->fd);
    pk_free(f->path);
    pk_free(f->temporary);
    pk_free(f->buffer);
    memset(f, 0, sizeof *f);
    f->fd = -1;
}

pk_status pk_file_write(const char *path, const void *data, int64_t bytes) {
    pk_writer f;
    pk_status status = pk_writer_open(&f, path);
    if (status == PK_OK) status = pk_writer_write(&f, data, bytes);
    if (status == PK_OK) status = pk_writer_commit(&f);
    pk_writer_discard(&f);
    return status;
}

/* ---- appending ---- */

/* Where the last whole line ends. */
static pk_status end_of_lines(const pk_appender *a, int64_t *end) {
    char chunk[4096];
    for (*end = a->size; *end > 0;) {
        int64_t n = pk_min(*end, (int64_t)sizeof chunk);
        ssize_t got = try_read(a->fd, chunk, (size_t)n, *end - n);
        if (got < 0 && errno == EINTR) continue;
        if (got != n) return got < 0 ? fail_errno(a->path) : pk_fail(PK_EIO, "%s: changes while it is read", a->path);
        while (n > 0 && chunk[n - 1] != '\n') n--, (*end)--;
        if (n > 0) break;
    }
    return PK_OK;
}

static pk_status lock(const pk_appender *a, bool *taken) {
    while (flock(a->fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return PK_OK; /* no locks on this file system: go on without */
        *taken = true;
        return pk_fail(PK_EIO, "%s: another process has it open", a->path);
    }
    return PK_OK;
}

pk_status pk_appender_open(pk_appender *a, const char *path, bool *taken) {
    struct stat st;
    int64_t end;
    *taken = false;
    *a = (pk_appender){.fd = -1, .path = pk_strdup(path)};
    if (!a->path) return pk_no_memory((int64_t)strlen(path) + 1);
    a->fd = try_open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK, 0666);
    if (a->fd < 0 || fstat(a->fd, &st) < 0) return fail_errno(path);
    PK_RETURN_IF(!S_ISREG(st.st_mode), PK_EIO, "%s: is not a regular file", path);
    PK_TRY(lock(a, taken));
    if (fstat(a->fd, &st) < 0) return fail_errno(path); /* its last writer may have added something */
    a->size = st.st_size;
    PK_TRY(end_of_lines(a, &end));
    if (end < a->size && ftruncate(a->fd, (off_t)end) < 0) return fail_errno(path);
    a->size = end;
    return sync_directory(path);
}

pk_status pk_appender_write(pk_appender *a, const void *data, int64_t bytes) {
    PK_RETURN_IF(a->fd < 0, PK_EINVAL, "this file is not open for appending");
    pk_status status = write_all(a->fd, a->path, data, bytes);
    if (status == PK_OK && try_fsync(a->fd) < 0) status = fail_errno(a->path);
    if (status == PK_OK) {
        a->size += bytes;
    } else if (ftruncate(a->fd, (off_t)a->size) < 0) {
        close(a->fd); /* half a line may be there: nothing may follow it; the next opening cuts it off */
        a->fd = -1;
    }
    return status;
}

void pk_appender_close(pk_appender *a) {
    if (a->fd >= 0) close(a->fd);
    pk_free(a->path);
    *a = (pk_appender){.fd = -1};
}

/* ---- reading ---- */

pk_status pk_source_open(pk_source *s, const char *path) {
    *s = (pk_source){.name = path, .fd = -1};
    PK_RETURN_IF(!path || !*path, PK_EINVAL, "the path of a file to read is empty");
    struct stat st;
    s->fd = try_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0); /* a pipe must not make us wait */
    if (s->fd < 0) return fail_errno(path);
    pk_status status = PK_OK;
    if (fstat(s->fd, &st) < 0)
        status = fail_errno(path);
    else if (!S_ISREG(st.st_mode))
        status = pk_fail(PK_EIO, "%s: is %s, not a regular file", path,
                         S_ISDIR(st.st_mode) ? "a directory" : "a device, pipe or socket");
    else
        s->size = (int64_t)st.st_size;
    if (status != PK_OK) pk_source_close(s);
    return status;
}

void pk_source_memory(pk_source *s, const char *name, const void *data, int64_t size) {
    *s = (pk_source){.name = name, .fd = -1, .data = data, .size = size};
}

pk_status pk_source_read(pk_source *s, int64_t offset, void *out, int64_t bytes) {
    int64_t end;
    PK_RETURN_IF(!pk_add_ok(offset, bytes, &end) || end > s->size, PK_EFORMAT,
                 "%s: cut short: %lld bytes, %lld more wanted at %lld", s->name, (long long)s->size, (long long)bytes,
                 (long long)offset);
    if (bytes == 0) return PK_OK;
    if (s->data) {
        memcpy(out, s->data + offset, (size_t)bytes);
        return PK_OK;
    }
    uint8_t *to = out;
    while (bytes > 0) {
        ssize_t n = try_read(s->fd, to, (size_t)pk_min(bytes, 1 << 30), offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(s->name);
        PK_RETURN_IF(n == 0, PK_EFORMAT, "%s: became shorter while it was read", s->name);
        to += n;
        offset += n;
        bytes -= n;
    }
    return PK_OK;
}

void pk_source_close(pk_source *s) {
    if (s->mapping) pk_mapping_drop(s->mapping);
    s->mapping = NULL;
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

/* ---- mapping ---- */

struct pk_mapping {
    atomic_int refs;
    void *at;
    size_t size;
};

void pk_source_map(pk_source *s) {
    if (s->fd < 0 || s->mapping || s->size == 0) return;
    struct pk_mapping *m = pk_alloc(sizeof *m);
    if (!m) return;
    atomic_init(&m->refs, 1);
    m->size = (size_t)s->size;
    m->at = fault() && errno ? MAP_FAILED
                             : mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, s->fd, 0);
    if (m->at == MAP_FAILED) {
        pk_free(m);
        return;
    }
    s->mapping = m;
    s->data = m->at;
}

struct pk_mapping *pk_mapping_hold(struct pk_mapping *m) {
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void pk_mapping_drop(void *mapping) {
    struct pk_mapping *m = mapping;
    if (atomic_fetch_sub(&m->refs, 1) != 1) return;
    munmap(m->at, m->size);
    pk_free(m);
}
