/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * relay - carry a command's output and exit status out of a virtual machine.
 *
 * The guest side is the machine's process 1: it runs the command and sends what happens as frames through
 * one virtio port. The host side starts the machine, keeps the time and turns frames into output again.
 *
 * Everything travels in one ordered stream, and the machine is killed only after the EXIT frame has been
 * read: a guest that powers itself off would lose what the port has not delivered yet.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum kind { STARTED = 0x72736b30, OUT, ERR, EXIT };

struct frame {
    uint32_t kind;
    uint32_t len;   /* bytes that follow; for EXIT the status, and none follow */
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void check(int result, const char *what)
{
    if (result < 0)
        fail(what);
}

/* ---- guest ---- */

static void port_write(int port, const void *data, size_t len)
{
    const char *from = data;

    while (len) {
        ssize_t n = write(port, from, len);

        if (n < 0 && errno != EINTR)
            fail("port");
        if (n > 0) {
            from += n;
            len -= n;
        }
    }
}

static void send_frame(int port, enum kind kind, const void *data, uint32_t len)
{
    struct frame f = { kind, len };

    port_write(port, &f, sizeof(f));
    if (data)
        port_write(port, data, len);
}

/* Sends at most @max bytes that wait in the pipe; returns their number, 0 at end of file. */
static size_t send_some(int port, enum kind kind, int from, size_t max)
{
    char buf[32768];
    ssize_t n = read(from, buf, max < sizeof(buf) ? max : sizeof(buf));

    if (n <= 0)
        return 0;
    send_frame(port, kind, buf, n);
    return n;
}

/* What the command wrote before it ended; not what a process it left behind goes on writing. */
static void send_rest(int port, enum kind kind, int from)
{
    int left = 0;
    size_t n;

    if (from < 0 || ioctl(from, FIONREAD, &left) < 0)
        return;
    while (left > 0 && (n = send_some(port, kind, from, left)))
        left -= n;
}

static pid_t start_command(char **argv, int out, int err, const sigset_t *mask)
{
    pid_t pid = fork();

    check(pid, "fork");
    if (pid)
        return pid;
    sigprocmask(SIG_UNBLOCK, mask, NULL);
    setsid();
    check(dup2(open("/dev/null", O_RDONLY), 0), "/dev/null");
    check(dup2(out, 1), "stdout");
    check(dup2(err, 2), "stderr");
    execvp(argv[0], argv);
    fail(argv[0]);
}

/* As process 1 we inherit every orphan; only the command's own end counts. */
static int reap(pid_t command, int *status)
{
    pid_t pid;
    int how;

    while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
        if (pid != command)
            continue;
        *status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
        return 1;
    }
    return 0;
}

static _Noreturn void guest(char **argv)
{
    int port = open(argv[0], O_RDWR | O_CLOEXEC);
    int out[2], err[2], status;
    struct pollfd p[3];
    sigset_t chld;
    pid_t pid;

    check(port, argv[0]);
    check(pipe2(out, O_CLOEXEC), "pipe");
    check(pipe2(err, O_CLOEXEC), "pipe");
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    p[0] = (struct pollfd){ .fd = signalfd(-1, &chld, SFD_CLOEXEC), .events = POLLIN };
    p[1] = (struct pollfd){ .fd = out[0], .events = POLLIN };
    p[2] = (struct pollfd){ .fd = err[0], .events = POLLIN };
    check(p[0].fd, "signalfd");

    send_frame(port, STARTED, NULL, 0);
    pid = start_command(argv + 1, out[1], err[1], &chld);
    close(out[1]);
    close(err[1]);
    for (;;) {
        struct signalfd_siginfo info;

        check(poll(p, 3, -1), "poll");
        for (int i = 1; i < 3; i++)
            if (p[i].revents && !send_some(port, i == 1 ? OUT : ERR, p[i].fd, SIZE_MAX))
                p[i].fd = -1;
        if (p[0].revents && read(p[0].fd, &info, sizeof(info)) > 0 && reap(pid, &status))
            break;
    }
    send_rest(port, OUT, p[1].fd);
    send_rest(port, ERR, p[2].fd);
    sync();
    send_frame(port, EXIT, NULL, status);
    for (;;)
        pause();
}

/* ---- host ---- */

static pid_t vm;
static const char *result_path;
static struct timespec deadline;   /* of the current phase */
static const char *late;           /* the verdict if it passes, */
static const char *lost;           /* and if the machine ends before */

static void stop_vm(void)
{
    kill(vm, SIGKILL);
    waitpid(vm, NULL, 0);
}

static void on_signal(int sig)
{
    stop_vm();
    _exit(128 + sig);
}

/* Ends the machine and the relay; the verdict goes to a file since every exit status may be the command's. */
static _Noreturn void finish(const char *verdict, unsigned int status)
{
    FILE *f = fopen(result_path, "w");

    if (!f || fprintf(f, "%s %u\n", verdict, status) < 0 || fclose(f))
        fail(result_path);
    stop_vm();
    exit(0);
}

static void begin_phase(long seconds, const char *if_late, const char *if_lost)
{
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += seconds;
    late = if_late;
    lost = if_lost;
}

/* Waits for any of @p, but never past the deadline. */
static void wait_for(struct pollfd *p, nfds_t n)
{
    struct timespec now;
    long ms;

    clock_gettime(CLOCK_MONOTONIC, &now);
    ms = (deadline.tv_sec - now.tv_sec) * 1000 + (deadline.tv_nsec - now.tv_nsec) / 1000000;
    if (ms <= 0)
        finish(late, 0);
    if (poll(p, n, ms < 60000 ? ms : 60000) < 0 && errno != EINTR)
        fail("poll");
}

/* A reader that stalls must not stall the deadline: a pipe that polls writable takes PIPE_BUF without blocking. */
static void put(int fd, const char *data, size_t len)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    while (len) {
        ssize_t n;

        wait_for(&p, 1);
        if (!p.revents)
            continue;
        n = write(fd, data, len < 4096 ? len : 4096);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            fail("write");
        if (n > 0) {
            data += n;
            len -= n;
        }
    }
}

static void frame_begins(const struct frame *f, long run_seconds)
{
    switch (f->kind) {
    case STARTED:
        begin_phase(run_seconds, "timeout", "died");
        break;
    case OUT:
    case ERR:
        break;
    case EXIT:
        finish("exit", f->len);
    default:
        finish("garbled", f->kind);
    }
}

/* Takes what arrived, however the stream was cut. */
static void take(const char *data, size_t len, long run_seconds)
{
    static struct frame f;
    static size_t have, left;   /* bytes of the header so far; of the payload to come */

    while (len) {
        size_t n;

        if (left) {
            n = len < left ? len : left;
            put(f.kind == OUT ? 1 : 2, data, n);
            left -= n;
        } else {
            n = len < sizeof(f) - have ? len : sizeof(f) - have;
            memcpy((char *)&f + have, data, n);
            have += n;
            if (have == sizeof(f)) {
                have = 0;
                frame_begins(&f, run_seconds);
                left = f.len;
            }
        }
        data += n;
        len -= n;
    }
}

/* The machine finds its port as descriptor 3 and its console as 1 and 2. It dies with us, whatever happens. */
static void start_vm(char **argv, int port, int console)
{
    pid_t parent = getpid();

    vm = fork();
    check(vm, "fork");
    if (vm)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(125);
    check(dup2(open("/dev/null", O_RDONLY), 0), "/dev/null");
    check(dup2(console, 1), "console");
    check(dup2(console, 2), "console");
    check(dup2(port, 3), "port");
    check(fcntl(3, F_SETFD, 0), "port");   /* it may have been 3 already */
    execvp(argv[0], argv);
    fail(argv[0]);
}

static _Noreturn void host(char **argv)
{
    long boot_seconds = atol(argv[0]), run_seconds = atol(argv[1]);
    int port[2], console[2], log;
    struct pollfd p[2];
    char buf[65536];

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    log = strcmp(argv[2], "-") ? open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : 2;
    check(log, argv[2]);
    result_path = argv[3];
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, port), "socketpair");
    check(pipe2(console, O_CLOEXEC), "pipe");
    start_vm(argv + 4, port[1], console[1]);
    close(port[1]);
    close(console[1]);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);

    begin_phase(boot_seconds, "noboot", "noboot");
    p[0] = (struct pollfd){ .fd = port[0], .events = POLLIN };
    p[1] = (struct pollfd){ .fd = console[0], .events = POLLIN };
    for (;;) {
        ssize_t n;

        p[0].revents = p[1].revents = 0;
        wait_for(p, 2);
        if (p[1].revents) {
            n = read(p[1].fd, buf, sizeof(buf));
            if (n > 0)
                put(log, buf, n);
            else
                p[1].fd = -1;
        }
        if (p[0].revents) {
            n = read(p[0].fd, buf, sizeof(buf));
            if (n <= 0)
                finish(lost, 0);
            take(buf, n, run_seconds);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "guest"))
        guest(argv + 2);
    if (argc > 6 && !strcmp(argv[1], "host"))
        host(argv + 2);
    fputs("usage: relay host BOOT-SECONDS RUN-SECONDS LOG|- RESULT-FILE MACHINE...\n"
          "       relay guest PORT COMMAND...\n", stderr);
    return 125;
}
