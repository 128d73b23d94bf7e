/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Lock, engine thread, timers: see node.h. */
#include "node.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "link.h"

#define REST_NS (100 * SOFT_MS)

static pthread_mutex_t device = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t acked = PTHREAD_COND_INITIALIZER;

static struct {
	bool running;
	uint32_t number;
	int poll_fd, bell_fd;
	uint64_t sleeps_until;       /* 0: it does not sleep */
	struct soft_timer *timers;   /* the earliest first */
	struct soft_io *ended;
} node;

void soft_lock(void)
{
	pthread_mutex_lock(&device);
}

void soft_unlock(void)
{
	pthread_mutex_unlock(&device);
}

void soft_acks_await(const struct soft_acks *acks)
{
	while (acks->acked != acks->given)
		pthread_cond_wait(&acked, &device);
}

void soft_acks_add(struct soft_acks *acks, unsigned n)
{
	soft_lock();
	acks->acked += n;
	pthread_cond_broadcast(&acked);
	soft_unlock();
}

uint32_t soft_node_number(void)
{
	return node.number;
}

bool soft_node_may(int capability)
{
	struct __user_cap_header_struct self = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { 0 };

	return !syscall(SYS_capget, &self, sets) && sets[capability / 32].effective & 1u << capability % 32;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 * SOFT_MS + (uint64_t)t.tv_nsec;
}

static void ring_bell(void)
{
	const uint64_t one = 1;

	/* Can only fail when the counter is full: then it is readable, too. */
	if (write(node.bell_fd, &one, sizeof(one)) < 0)
		return;
}

static void answer_bell(void)
{
	uint64_t rung;

	if (read(node.bell_fd, &rung, sizeof(rung)) < 0)
		return;
}

/* Timers */

void soft_timer_stop(struct soft_timer *timer)
{
	if (!timer->slot)
		return;
	*timer->slot = timer->next;
	if (timer->next)
		timer->next->slot = timer->slot;
	timer->slot = NULL;
}

void soft_timer_start(struct soft_timer *timer, uint64_t ns, void (*fn)(struct soft_timer *))
{
	struct soft_timer **slot = &node.timers;

	soft_timer_stop(timer);
	timer->fn = fn;
	timer->at = now() + ns;
	while (*slot && (*slot)->at <= timer->at)
		slot = &(*slot)->next;
	timer->next = *slot;
	timer->slot = slot;
	if (timer->next)
		timer->next->slot = &timer->next;
	*slot = timer;
	if (timer->at < node.sleeps_until) {
		node.sleeps_until = timer->at;
		ring_bell();
	}
}

static void run_timers(void)
{
	struct soft_timer *timer;

	while ((timer = node.timers) && timer->at <= now()) {
		soft_timer_stop(timer);
		timer->fn(timer);
	}
}

/* Nanoseconds to the next timer; UINT64_MAX: there is none. */
static uint64_t until_next_timer(void)
{
	uint64_t t = now();

	node.sleeps_until = node.timers ? node.timers->at : UINT64_MAX;
	if (!node.timers)
		return UINT64_MAX;
	return node.timers->at <= t ? 0 : node.timers->at - t;
}

/* Descriptors */

int soft_io_start(struct soft_io *io)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = io };

	return epoll_ctl(node.poll_fd, EPOLL_CTL_ADD, io->fd, &event) ? -errno : 0;
}

static void wait_for(struct soft_io *io, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = io };

	epoll_ctl(node.poll_fd, EPOLL_CTL_MOD, io->fd, &event);
}

void soft_io_want_write(struct soft_io *io, bool want)
{
	wait_for(io, EPOLLIN | (want ? EPOLLOUT : 0));
}

static void has_rested(struct soft_timer *timer)
{
	wait_for((struct soft_io *)((char *)timer - offsetof(struct soft_io, rest)), EPOLLIN);
}

void soft_io_rest(struct soft_io *io)
{
	wait_for(io, 0);
	soft_timer_start(&io->rest, REST_NS, has_rested);
}

void soft_io_end(struct soft_io *io)
{
	soft_timer_stop(&io->rest);
	epoll_ctl(node.poll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	close(io->fd);
	io->fd = -1;
	io->ended = true;
	io->next = node.ended;
	node.ended = io;
}

static void free_ended(void)
{
	struct soft_io *io;

	while ((io = node.ended)) {
		node.ended = io->next;
		free(io);
	}
}

static bool wait_for_event(int poll_fd, struct epoll_event *event, uint64_t ns)
{
	struct pollfd fd = { .fd = poll_fd, .events = POLLIN };
	struct timespec limit = { .tv_sec = (time_t)(ns / (1000 * SOFT_MS)),
				  .tv_nsec = (long)(ns % (1000 * SOFT_MS)) };

	/* epoll_wait() counts in milliseconds, and timers in microseconds. */
	if (ns != UINT64_MAX && ppoll(&fd, 1, &limit, NULL) != 1)
		return false;
	return epoll_wait(poll_fd, event, 1, ns != UINT64_MAX ? 0 : -1) == 1;
}

/* One event at a time: handling one may end the object of the next. */
static void *run_engine(void *arg)
{
	int poll_fd = node.poll_fd;

	(void)arg;
	for (;;) {
		struct epoll_event event;
		uint64_t limit;

		soft_lock();
		node.sleeps_until = 0;
		run_timers();
		free_ended();
		limit = until_next_timer();
		soft_unlock();

		if (!wait_for_event(poll_fd, &event, limit))
			continue;
		soft_lock();
		if (event.data.ptr) {
			struct soft_io *io = event.data.ptr;

			if (!io->ended)
				io->fn(io, event.events);
		} else {
			answer_bell();
		}
		soft_unlock();
	}
	return NULL;
}

/* Signals are the application's: its handlers never run on the engine thread. */
static int start_thread(void)
{
	pthread_t thread;
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, NULL, run_engine, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret)
		pthread_detach(thread);
	return -ret;
}

static void lock_for_fork(void)
{
	soft_lock();
}

/* The engine has stayed in the parent, and so have its connections. */
static void begin_child(void)
{
	pthread_mutex_init(&device, NULL);
	pthread_cond_init(&acked, NULL);
	if (!node.running)
		return;
	/* First: what is taken out of it would be taken out of the parent's. */
	close(node.poll_fd);
	close(node.bell_fd);
	node.poll_fd = -1;
	soft_qp_forget();
	soft_cm_forget();
	soft_link_forget();
	soft_async_forget_all();
	free_ended();
	while (node.timers)
		soft_timer_stop(node.timers);
	node.running = false;
}

static void watch_forks(void)
{
	pthread_atfork(lock_for_fork, soft_unlock, begin_child);
}

static int open_descriptors(void)
{
	struct epoll_event event = { .events = EPOLLIN };

	node.poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (node.poll_fd < 0)
		return -errno;
	node.bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (node.bell_fd < 0 || epoll_ctl(node.poll_fd, EPOLL_CTL_ADD, node.bell_fd, &event)) {
		int ret = -errno;

		if (node.bell_fd >= 0)
			close(node.bell_fd);
		close(node.poll_fd);
		return ret;
	}
	return 0;
}

int soft_node_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int number, ret;

	if (node.running)
		return 0;
	pthread_once(&once, watch_forks);
	ret = open_descriptors();
	if (ret)
		return ret;
	number = soft_link_claim_number();
	ret = number < 0 ? number : start_thread();
	if (ret) {
		if (number >= 0)
			soft_link_forget();
		close(node.bell_fd);
		close(node.poll_fd);
		return ret;
	}
	node.number = (uint32_t)number;
	node.running = true;
	return 0;
}
