// Joins libFuzzer (this process) to the .NET target (a child of it), which runs one input at a time.
//
// What the SharpFuzz library expects of its parent:
// - __LIBFUZZER_SHM_ID names a System V shared memory segment: 64 KiB of branch counters, then the input;
// - __LIBFUZZER_CONTROL_PIPE_ID is the descriptor that brings it the length of each input,
//   __LIBFUZZER_STATUS_PIPE_ID the one that takes its answers, both as 32-bit integers;
// - it answers 0 once when it is ready, then once an input: 0 for fine, anything else for an exception.
//
// The environment says what to start: FUZZ_PROGRAM with the one argument FUZZ_TARGET.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <unistd.h>

enum { COUNTER_BYTES = 1 << 16, INPUT_BYTES_MAX = 1 << 20 };

// libFuzzer looks at this section as if a compiler had put the counters there. Not static: the compiler would find that
// nobody reads them and leave them out.
__attribute__((section("__libfuzzer_extra_counters"))) uint8_t counters[COUNTER_BYTES];

static uint8_t *shared;
static int to_target, from_target;

static void fail(const char *what)
{
    fprintf(stderr, "fuzz driver: %s: %s\n", what, strerror(errno));
    exit(3);
}

// One 32-bit integer over a pipe: all of it or, if the target is gone, nothing.
static int send_number(uint32_t number)
{
    ssize_t sent;
    do
        sent = write(to_target, &number, sizeof number);
    while (sent < 0 && errno == EINTR);
    return sent == sizeof number;
}

static int receive_number(uint32_t *number)
{
    ssize_t received;
    do
        received = read(from_target, number, sizeof *number);
    while (received < 0 && errno == EINTR);
    return received == sizeof *number;
}

static void set_number(const char *name, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv(name, text, 1);
}

static void become_target(int reads, int writes, int segment)
{
    const char *program = getenv("FUZZ_PROGRAM"), *target = getenv("FUZZ_TARGET");
    // A target in an endless loop must not outlive the driver that libFuzzer ends for it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    set_number("__LIBFUZZER_SHM_ID", segment);
    set_number("__LIBFUZZER_CONTROL_PIPE_ID", reads);
    set_number("__LIBFUZZER_STATUS_PIPE_ID", writes);
    if (program != NULL && target != NULL)
        execl(program, program, target, (char *)NULL);
    fail("cannot start FUZZ_PROGRAM with FUZZ_TARGET");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    int down[2], up[2];
    int segment = shmget(IPC_PRIVATE, COUNTER_BYTES + INPUT_BYTES_MAX, IPC_CREAT | 0600);
    if (segment < 0 || pipe(down) < 0 || pipe(up) < 0)
        fail("cannot make pipes and shared memory");
    shared = shmat(segment, NULL, 0);
    if (shared == (void *)-1)
        fail("shmat");
    signal(SIGPIPE, SIG_IGN);

    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        close(down[1]);
        close(up[0]);
        become_target(down[0], up[1], segment);
    }
    close(down[0]);
    close(up[1]);
    to_target = down[1];
    from_target = up[0];

    uint32_t ready;
    int is_ready = receive_number(&ready);
    // Both sides have it attached, or never will: it vanishes with the last of them, however they end.
    shmctl(segment, IPC_RMID, NULL);
    if (!is_ready)
        fail("the target did not start");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
    if (bytes > INPUT_BYTES_MAX)
        return -1;
    memset(shared, 0, COUNTER_BYTES);
    memcpy(shared + COUNTER_BYTES, input, bytes);
    uint32_t answer = 1;
    int alive = send_number((uint32_t)bytes) && receive_number(&answer);
    memcpy(counters, shared, COUNTER_BYTES);
    // An exception, or the end of the process: libFuzzer saves the input and ends.
    if (!alive || answer != 0)
        abort();
    return 0;
}
