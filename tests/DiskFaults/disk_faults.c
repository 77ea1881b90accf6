/* Makes the disk below one directory fail, for the process that this is preloaded into; and steps its wall clock.

   gcc -shared -fPIC -O2 -Wall -Wextra -o disk_faults.so disk_faults.c
   LD_PRELOAD=./disk_faults.so DISK_FAULTS_BELOW=/dir DISK_FAULTS_RULES=/rules DISK_FAULTS_LOG=/log program

   DISK_FAULTS_RULES  a text file, looked at again at every call; while it is missing nothing fails. A line is

       CALL ACTION FROM TO [END]  CALL:   pwrite write sync open create read rename unlink truncate mkdir list, change
                                          (all that change something), or any
                                  ACTION: EIO ENOSPC EROFS EMFILE EACCES, delay=MILLISECONDS (the call happens after it),
                                          short (half of what is to be written is), nothing (the call is only counted)
                                  FROM TO: the calls that it strikes, from 1; TO 0: for good. Counted since the rules
                                          were last changed
                                  END: only paths that end so, or only those that do not: !END
       trace                      every call goes to the log, also when nothing is wrong with it

   DISK_FAULTS_LOG    a line for every call struck, or all with trace: CALL ACTION BYTES RESULT PATH; BYTES is negative
                      when they are all zeros (room made in advance); RESULT is the errno, 0 when it went well
   DISK_FAULTS_CLOCK  a file of 8 bytes: nanoseconds, added to CLOCK_REALTIME

   Programs on .NET find libc's functions with dlsym in a handle of libc itself, past every preloaded library:
   dlsym is ours too. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define RULES_MAX 32
#define NO_RULE (-1)

enum action { FAIL, DELAY, SHORT, NOTHING };

struct rule {
    char call[16];
    char end[64];
    char word[24];
    enum action action;
    int number; /* errno, or milliseconds */
    long from, to, seen;
};

static struct rule rules[RULES_MAX];
static int rules_count, is_tracing;
static struct timespec rules_changed;
static ino_t rules_inode;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static const char *below, *rules_path;
static size_t below_length;
static int log_descriptor = -1;
static const volatile int64_t *clock_offset;

static void *(*real_dlsym)(void *, const char *);

static void find_dlsym(void)
{
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    for (size_t at = 0; at < sizeof versions / sizeof *versions && !real_dlsym; at++)
        real_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", versions[at]);
    if (!real_dlsym)
        abort();
}

static void *next(const char *name)
{
    if (!real_dlsym)
        find_dlsym();
    return real_dlsym(RTLD_NEXT, name);
}

/* Declares "real", libc's own function of this name. */
#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))next(#name)

__attribute__((constructor)) static void start(void)
{
    below = getenv("DISK_FAULTS_BELOW");
    rules_path = getenv("DISK_FAULTS_RULES");
    below_length = below ? strlen(below) : 0;
    const char *log = getenv("DISK_FAULTS_LOG"), *clock = getenv("DISK_FAULTS_CLOCK");
    if (log)
        log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (clock) {
        int file = (int)syscall(SYS_openat, AT_FDCWD, clock, O_RDONLY | O_CLOEXEC, 0);
        void *there = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        if (there == MAP_FAILED)
            abort();
        clock_offset = there;
        syscall(SYS_close, file);
    }
}

static int errno_of(const char *word)
{
    static const struct { const char *word; int number; } known[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EMFILE", EMFILE}, {"EACCES", EACCES}, {"ENODEV", ENODEV}};
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (!strcmp(known[at].word, word))
            return known[at].number;
    static const char what[] = "disk_faults: the rules have an unknown action\n";
    syscall(SYS_write, 2, what, sizeof what - 1);
    abort();
}

static void read_rule(const char *line)
{
    struct rule made = {0};
    if (!strcmp(line, "trace"))
        is_tracing = 1;
    if (rules_count == RULES_MAX || sscanf(line, "%15s %23s %ld %ld %63s", made.call, made.word, &made.from, &made.to,
                                           made.end) < 4)
        return;
    if (!strncmp(made.word, "delay=", 6))
        made.action = DELAY, made.number = atoi(made.word + 6);
    else if (!strcmp(made.word, "short"))
        made.action = SHORT;
    else if (!strcmp(made.word, "nothing"))
        made.action = NOTHING;
    else
        made.number = errno_of(made.word);
    rules[rules_count++] = made;
}

static void read_rules_needs_gate(void)
{
    struct stat now;
    if (!rules_path || syscall(SYS_newfstatat, AT_FDCWD, rules_path, &now, 0)) {
        rules_count = is_tracing = 0;
        rules_inode = 0;
        return;
    }
    if (now.st_ino == rules_inode && now.st_mtim.tv_sec == rules_changed.tv_sec &&
        now.st_mtim.tv_nsec == rules_changed.tv_nsec)
        return;
    rules_inode = now.st_ino;
    rules_changed = now.st_mtim;
    rules_count = is_tracing = 0;
    char text[4096];
    int file = (int)syscall(SYS_openat, AT_FDCWD, rules_path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return;
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    text[length < 0 ? 0 : length] = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        read_rule(line);
}

static int is_below(const char *path)
{
    return below_length && !strncmp(path, below, below_length) &&
           (path[below_length] == '/' || path[below_length] == 0 || path[below_length] == ' ');
}

static int is_of(const struct rule *rule, const char *call, int changes, const char *path)
{
    if (strcmp(rule->call, call) && strcmp(rule->call, "any") && !(changes && !strcmp(rule->call, "change")))
        return 0;
    const char *end = rule->end;
    int wanted = *end != '!';
    end += !wanted;
    size_t length = strlen(path), tail = strlen(end);
    return (length >= tail && !strcmp(path + length - tail, end)) == wanted;
}

static int is_all_zeros(const char *bytes, size_t length)
{
    return length && !*bytes && !memcmp(bytes, bytes + 1, length - 1);
}

static void tell(const char *call, const char *word, const char *bytes, size_t length, int result, const char *path)
{
    char line[PATH_MAX + 128];
    long signed_length = bytes && is_all_zeros(bytes, length) ? -(long)length : (long)length;
    int end = snprintf(line, sizeof line, "%s %s %ld %d %s\n", call, word, signed_length, result, path);
    if (log_descriptor >= 0 && end > 0)
        syscall(SYS_write, log_descriptor, line, (size_t)end < sizeof line ? (size_t)end : sizeof line - 1);
}

static void wait_milliseconds(int milliseconds)
{
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    while (syscall(SYS_nanosleep, &left, &left) && errno == EINTR)
        ;
}

/* What happens to a call: 0 it goes on, else the errno it fails with. *length is what may be written of it. */
static int strike(const char *call, int changes, const char *path, const char *bytes, size_t *length)
{
    if (!is_below(path))
        return 0;
    int saved = errno, failure = 0, milliseconds = 0;
    size_t whole = length ? *length : 0;
    const char *word = NULL;
    pthread_mutex_lock(&gate);
    read_rules_needs_gate();
    int tracing = is_tracing;
    char said[sizeof rules->word] = "-";
    for (int at = 0; at < rules_count; at++) {
        struct rule *rule = &rules[at];
        if (!is_of(rule, call, changes, path) || (rule->seen++, rule->seen < rule->from) ||
            (rule->to && rule->seen > rule->to))
            continue;
        word = strcpy(said, rule->word);
        if (rule->action == FAIL)
            failure = rule->number;
        else if (rule->action == DELAY)
            milliseconds = rule->number;
        else if (rule->action == SHORT && length && *length > 1)
            *length /= 2;
        if (failure)
            break;
    }
    pthread_mutex_unlock(&gate);
    if (word || tracing)
        tell(call, said, bytes, whole, failure, path);
    if (milliseconds)
        wait_milliseconds(milliseconds);
    errno = saved;
    return failure;
}

static void path_of(int descriptor, char *path)
{
    char link[64];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = below_length ? syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1) : 0;
    path[length < 0 ? 0 : length] = 0;
    errno = saved;
}

static int strike_file(const char *call, int changes, int descriptor, const char *bytes, size_t *length)
{
    char path[PATH_MAX];
    path_of(descriptor, path);
    return strike(call, changes, path, bytes, length);
}

static int strike_path(const char *call, int changes, const char *path)
{
    char whole[2 * PATH_MAX];
    if (*path == '/')
        return strike(call, changes, path, NULL, NULL);
    if (!getcwd(whole, PATH_MAX))
        return 0;
    size_t length = strlen(whole);
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return strike(call, changes, whole, NULL, NULL);
}

#define FAIL_IF(expression) \
    do { \
        int failure_ = (expression); \
        if (failure_) { \
            errno = failure_; \
            return -1; \
        } \
    } while (0)

static int strike_open(const char *path, int flags)
{
    if (flags & O_CREAT)
        return strike_path("create", 1, path);
    return strike_path("open", (flags & O_ACCMODE) != O_RDONLY, path);
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { \
        va_list more; \
        va_start(more, last); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

EXPORT int open(const char *path, int flags, ...)
{
    REAL(open);
    MODE(flags, flags)
    FAIL_IF(strike_open(path, flags));
    return real(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    REAL(open64);
    MODE(flags, flags)
    FAIL_IF(strike_open(path, flags));
    return real(path, flags, mode);
}

EXPORT int openat(int directory, const char *path, int flags, ...)
{
    REAL(openat);
    MODE(flags, flags)
    FAIL_IF(directory == AT_FDCWD || *path == '/' ? strike_open(path, flags) : 0);
    return real(directory, path, flags, mode);
}

EXPORT ssize_t write(int file, const void *bytes, size_t length)
{
    REAL(write);
    FAIL_IF(strike_file("write", 1, file, bytes, &length));
    return real(file, bytes, length);
}

EXPORT ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset)
{
    REAL(pwrite);
    FAIL_IF(strike_file("pwrite", 1, file, bytes, &length));
    return real(file, bytes, length, offset);
}

EXPORT ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset)
{
    REAL(pwrite64);
    FAIL_IF(strike_file("pwrite", 1, file, bytes, &length));
    return real(file, bytes, length, offset);
}

static size_t length_of(const struct iovec *parts, int count)
{
    size_t length = 0;
    for (int at = 0; at < count; at++)
        length += parts[at].iov_len;
    return length;
}

EXPORT ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
    REAL(pwritev);
    size_t length = length_of(parts, count);
    FAIL_IF(strike_file("pwrite", 1, file, NULL, &length));
    return real(file, parts, count, offset);
}

EXPORT ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset)
{
    REAL(pwritev64);
    size_t length = length_of(parts, count);
    FAIL_IF(strike_file("pwrite", 1, file, NULL, &length));
    return real(file, parts, count, offset);
}

EXPORT ssize_t pread(int file, void *bytes, size_t length, off_t offset)
{
    REAL(pread);
    FAIL_IF(strike_file("read", 0, file, NULL, &length));
    return real(file, bytes, length, offset);
}

EXPORT ssize_t pread64(int file, void *bytes, size_t length, off64_t offset)
{
    REAL(pread64);
    FAIL_IF(strike_file("read", 0, file, NULL, &length));
    return real(file, bytes, length, offset);
}

EXPORT int fdatasync(int file)
{
    REAL(fdatasync);
    FAIL_IF(strike_file("sync", 1, file, NULL, NULL));
    return real(file);
}

EXPORT int fsync(int file)
{
    REAL(fsync);
    FAIL_IF(strike_file("sync", 1, file, NULL, NULL));
    return real(file);
}

EXPORT int ftruncate(int file, off_t length)
{
    REAL(ftruncate);
    FAIL_IF(strike_file("truncate", 1, file, NULL, NULL));
    return real(file, length);
}

EXPORT int ftruncate64(int file, off64_t length)
{
    REAL(ftruncate64);
    FAIL_IF(strike_file("truncate", 1, file, NULL, NULL));
    return real(file, length);
}

EXPORT int fallocate64(int file, int mode, off64_t offset, off64_t length)
{
    REAL(fallocate64);
    FAIL_IF(strike_file("truncate", 1, file, NULL, NULL));
    return real(file, mode, offset, length);
}

EXPORT int rename(const char *from, const char *to)
{
    REAL(rename);
    FAIL_IF(strike_path("rename", 1, to));
    return real(from, to);
}

EXPORT int unlink(const char *path)
{
    REAL(unlink);
    FAIL_IF(strike_path("unlink", 1, path));
    return real(path);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    FAIL_IF(strike_path("mkdir", 1, path));
    return real(path, mode);
}

EXPORT DIR *opendir(const char *path)
{
    REAL(opendir);
    int failure = strike_path("list", 0, path);
    if (failure) {
        errno = failure;
        return NULL;
    }
    return real(path);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(clock_gettime);
    int result = real(clock, now);
    if (!result && clock_offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t moved = now->tv_sec * 1000000000LL + now->tv_nsec + *clock_offset;
        now->tv_sec = moved / 1000000000LL;
        now->tv_nsec = moved % 1000000000LL;
    }
    return result;
}

EXPORT int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec time;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return result;
}

EXPORT void *dlsym(void *handle, const char *name)
{
    static const struct { const char *name; void *ours; } known[] = {
        {"open", open}, {"open64", open64}, {"openat", openat}, {"write", write}, {"pwrite", pwrite},
        {"pwrite64", pwrite64}, {"pwritev", pwritev}, {"pwritev64", pwritev64}, {"pread", pread}, {"pread64", pread64},
        {"fdatasync", fdatasync}, {"fsync", fsync}, {"ftruncate", ftruncate}, {"ftruncate64", ftruncate64},
        {"fallocate64", fallocate64}, {"rename", rename}, {"unlink", unlink}, {"mkdir", mkdir}, {"opendir", opendir},
        {"clock_gettime", clock_gettime}, {"gettimeofday", gettimeofday}};
    if (!real_dlsym)
        find_dlsym();
    for (size_t at = 0; handle != RTLD_NEXT && at < sizeof known / sizeof *known; at++)
        if (!strcmp(known[at].name, name))
            return known[at].ours;
    return real_dlsym(handle, name);
}
