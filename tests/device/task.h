/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Threads, calls that are known to be blocked, and signals for them. */
#ifndef RSK_TEST_TASK_H
#define RSK_TEST_TASK_H

#include <pthread.h>
#include <stdatomic.h>

#include "fixture.h"

/* -- threads ----------------------------------------------------------------------------------- */

struct task {
	void (*body)(void *arg);
	void *arg;
	pthread_t thread;
	_Atomic int tid;
	atomic_bool done;
};

void task_start(struct task *t, void (*body)(void *arg), void *arg);
void task_join(struct task *t);

/* Waits until the thread sleeps in the kernel, or is done. */
void task_wait_asleep(struct task *t);

/* -- blocked calls ----------------------------------------------------------------------------- */

/* A call that blocks, made by a thread of its own. */
struct call {
	ssize_t (*make)(int fd);
	int fd;
	ssize_t ret;
	int error;
	struct task task;
};

/* Has a thread call make(fd). */
void call_begins(struct call *c, ssize_t (*make)(int fd), int fd);
/* The same; returns when the thread is blocked in it. */
void call_blocks(struct call *c, ssize_t (*make)(int fd), int fd);

/* Waits for its return; then c->ret and c->error tell how. */
void call_returns(struct call *c);

/* Calls for call_blocks(). */
ssize_t call_recv(int fd);
ssize_t call_send_4mib(int fd);
ssize_t call_accept(int fd);
ssize_t call_poll_in(int fd);

/* -- signals ----------------------------------------------------------------------------------- */

/* Counts a signal from now on. */
void count_signal(int signal, int sa_flags);
int signals_counted(void);

/* Interrupts the thread that makes the call, and waits until its handler ran. */
void call_interrupt(struct call *c, int signal);

#endif
