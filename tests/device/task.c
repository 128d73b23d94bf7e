/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "task.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How often, and how far apart, a thread must be seen asleep to count as blocked. */
#define ASLEEP_TIMES 5
#define SAMPLE_MS 2

/* -- threads ----------------------------------------------------------------------------------- */

static void *task_main(void *arg)
{
	struct task *t = arg;

	t->tid = syscall(SYS_gettid);
	t->body(t->arg);
	t->done = true;
	return NULL;
}

void task_start(struct task *t, void (*body)(void *arg), void *arg)
{
	t->body = body;
	t->arg = arg;
	t->tid = 0;
	t->done = false;
	ck_assert_int_eq(pthread_create(&t->thread, NULL, task_main, t), 0);
}

void task_join(struct task *t)
{
	struct timespec limit;
	int error;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 2 * LIMIT_MS / 1000;
	error = pthread_timedjoin_np(t->thread, NULL, &limit);
	ck_assert_msg(error == 0, "a thread does not end: %s", strerror(error));
}

static char state_of_thread(int tid)
{
	char path[64], text[512], *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return '?';
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return '?';
	text[n] = '\0';
	state = strrchr(text, ')');
	return state && state[1] == ' ' ? state[2] : '?';
}

void task_wait_asleep(struct task *t)
{
	uint64_t limit = now_ms() + LIMIT_MS;
	int asleep = 0;

	while (asleep < ASLEEP_TIMES && !t->done) {
		ck_assert_msg(now_ms() < limit, "a thread does not come to rest");
		asleep = t->tid && state_of_thread(t->tid) == 'S' ? asleep + 1 : 0;
		poll(NULL, 0, SAMPLE_MS);
	}
}

/* -- blocked calls ----------------------------------------------------------------------------- */

static void run_call(void *arg)
{
	struct call *c = arg;

	c->ret = c->make(c->fd);
	c->error = c->ret < 0 ? errno : 0;
}

void call_begins(struct call *c, ssize_t (*make)(int fd), int fd)
{
	c->make = make;
	c->fd = fd;
	task_start(&c->task, run_call, c);
}

void call_blocks(struct call *c, ssize_t (*make)(int fd), int fd)
{
	call_begins(c, make, fd);
	task_wait_asleep(&c->task);
	ck_assert_msg(!c->task.done, "a call that should block returned %zd (%s)", c->ret,
		      strerror(c->error));
}

void call_returns(struct call *c)
{
	task_join(&c->task);
}

ssize_t call_recv(int fd)
{
	char buf[4096];

	return rsk_recv(fd, buf, sizeof(buf), 0);
}

ssize_t call_send_4mib(int fd)
{
	static const char zeros[4 * MIB];

	return rsk_send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL);
}

ssize_t call_accept(int fd)
{
	return rsk_accept(fd, NULL, NULL);
}

ssize_t call_poll_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return rsk_poll(&p, 1, -1);
}

/* -- signals ----------------------------------------------------------------------------------- */

static atomic_int signal_count;

static void on_signal(int signal)
{
	(void)signal;
	signal_count++;
}

void count_signal(int signal, int sa_flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = sa_flags };

	ck_assert_int_eq(sigaction(signal, &act, NULL), 0);
}

int signals_counted(void)
{
	return signal_count;
}

static bool signals_reached(long goal)
{
	return signal_count >= goal;
}

void call_interrupt(struct call *c, int signal)
{
	long before = signal_count;

	ck_assert_int_eq(pthread_kill(c->task.thread, signal), 0);
	wait_until(signals_reached, before + 1, "signal handler");
}
