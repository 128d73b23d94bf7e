/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A socket's descriptor: see ready.h. */
#include "ready.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t bell_lock = PTHREAD_MUTEX_INITIALIZER;
static int bell = -1;                /* the eventfd that is always readable */

static int get_bell(void)
{
	int fd;

	pthread_mutex_lock(&bell_lock);
	if (bell < 0)
		bell = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	fd = bell < 0 ? -errno : bell;
	pthread_mutex_unlock(&bell_lock);
	return fd;
}

void rsk_ready_forget(void)
{
	pthread_mutex_init(&bell_lock, NULL);
	bell = -1;
}

int rsk_ready_open(struct rsk_ready *ready, bool cloexec)
{
	struct epoll_event off = { .data.u64 = RSK_READY_RAISED };
	int fd, sound = get_bell();

	if (sound < 0)
		return sound;
	fd = epoll_create1(cloexec ? EPOLL_CLOEXEC : 0);
	if (fd < 0)
		return -errno;
	if (epoll_ctl(fd, EPOLL_CTL_ADD, sound, &off)) {
		int err = errno;

		close(fd);
		return -err;
	}
	ready->fd = fd;
	ready->raised = false;
	return 0;
}

void rsk_ready_close(struct rsk_ready *ready)
{
	if (ready->fd >= 0)
		close(ready->fd);
	ready->fd = -1;
}

int rsk_ready_add(struct rsk_ready *ready, int fd)
{
	struct epoll_event on = { .events = EPOLLIN, .data.u64 = RSK_READY_CHANNEL };

	return epoll_ctl(ready->fd, EPOLL_CTL_ADD, fd, &on) ? -errno : 0;
}

void rsk_ready_remove(struct rsk_ready *ready, int fd)
{
	if (ready->fd >= 0)
		epoll_ctl(ready->fd, EPOLL_CTL_DEL, fd, NULL);
}

static void ring(struct rsk_ready *ready, bool on)
{
	struct epoll_event event = { .events = on ? EPOLLIN : 0, .data.u64 = RSK_READY_RAISED };

	if (ready->fd >= 0)
		epoll_ctl(ready->fd, EPOLL_CTL_MOD, bell, &event);
	ready->raised = on;
}

void rsk_ready_raise(struct rsk_ready *ready)
{
	if (!ready->raised)
		ring(ready, true);
}

void rsk_ready_lower(struct rsk_ready *ready)
{
	if (ready->raised)
		ring(ready, false);
}

int rsk_ready_sleep(struct rsk_ready *ready, int ms)
{
	struct epoll_event events[2];
	int n = epoll_wait(ready->fd, events, 2, ms), sources = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		sources |= (int)events[i].data.u64;
	return sources;
}
