/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A socket's descriptor: see ready.h. */
#include "ready.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * An eventfd that is always readable, a member of several descriptors. Not of all: the kernel refuses to
 * nest more than 500 epoll instances that share a member (100 one level deeper, 50 two levels deeper), as
 * an event of it would have to wake them all. Nobody writes to it, so it never does.
 */
struct rsk_bell {
	int fd;
	unsigned users;
	struct rsk_bell *next;       /* the next that has room */
};

enum {
	BELL_USERS = 50,
	MEMBERS = 2,                 /* of a descriptor */
};

static pthread_mutex_t bells_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rsk_bell *bells;       /* those with room */

static struct rsk_bell *new_bell(void)
{
	struct rsk_bell *bell = malloc(sizeof(*bell));

	if (!bell)
		return NULL;
	*bell = (struct rsk_bell){ .fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK), .next = bells };
	if (bell->fd < 0) {
		free(bell);
		return NULL;
	}
	bells = bell;
	return bell;
}

/* NULL and errno. */
static struct rsk_bell *get_bell(void)
{
	struct rsk_bell *bell;

	pthread_mutex_lock(&bells_lock);
	bell = bells ? bells : new_bell();
	if (bell && ++bell->users == BELL_USERS)
		bells = bell->next;
	pthread_mutex_unlock(&bells_lock);
	return bell;
}

static void put_bell(struct rsk_bell *bell)
{
	struct rsk_bell **at = &bells;

	pthread_mutex_lock(&bells_lock);
	if (bell->users-- == BELL_USERS) {
		bell->next = bells;
		bells = bell;
	}
	if (!bell->users) {
		while (*at != bell)
			at = &(*at)->next;
		*at = bell->next;
		close(bell->fd);
		free(bell);
	}
	pthread_mutex_unlock(&bells_lock);
}

void rsk_ready_forget(void)
{
	pthread_mutex_init(&bells_lock, NULL);
	bells = NULL;
}

int rsk_ready_open(struct rsk_ready *ready, bool cloexec)
{
	struct rsk_bell *bell = get_bell();
	int fd, err;

	if (!bell)
		return -errno;
	fd = epoll_create1(cloexec ? EPOLL_CLOEXEC : 0);
	if (fd < 0) {
		err = errno;
		put_bell(bell);
		return -err;
	}
	*ready = (struct rsk_ready){ .fd = fd, .bell = bell };
	return 0;
}

int rsk_ready_start(struct rsk_ready *ready)
{
	struct epoll_event off = { 0 };

	return epoll_ctl(ready->fd, EPOLL_CTL_ADD, ready->bell->fd, &off) ? -errno : 0;
}

void rsk_ready_lose(struct rsk_ready *ready)
{
	if (ready->fd >= 0)
		put_bell(ready->bell);
	*ready = (struct rsk_ready){ .fd = -1 };
}

void rsk_ready_close(struct rsk_ready *ready)
{
	if (ready->fd >= 0)
		close(ready->fd);
	rsk_ready_lose(ready);
}

int rsk_ready_add(struct rsk_ready *ready, int fd)
{
	struct epoll_event on = { .events = EPOLLIN };

	return epoll_ctl(ready->fd, EPOLL_CTL_ADD, fd, &on) ? -errno : 0;
}

void rsk_ready_remove(struct rsk_ready *ready, int fd)
{
	if (ready->fd >= 0)
		epoll_ctl(ready->fd, EPOLL_CTL_DEL, fd, NULL);
}

static void ring(struct rsk_ready *ready, bool on)
{
	struct epoll_event event = { .events = on ? EPOLLIN : 0 };

	epoll_ctl(ready->fd, EPOLL_CTL_MOD, ready->bell->fd, &event);
}

void rsk_ready_raise_for(struct rsk_ready *ready, uint32_t news)
{
	uint32_t raised = ready->raised | news;

	if (raised == ready->raised || ready->fd < 0)
		return;
	rsk_ready_lower(ready);      /* or it would be no edge */
	ready->raised = raised;
	ring(ready, true);
}

void rsk_ready_raise(struct rsk_ready *ready)
{
	rsk_ready_raise_for(ready, RSK_READY_ANYTHING);
}

void rsk_ready_lower(struct rsk_ready *ready)
{
	struct epoll_event events[MEMBERS];

	if (!ready->raised)
		return;
	ready->raised = 0;
	ring(ready, false);
	/* The kernel still has the bell on its list of what may be ready, until somebody looks; while it is
	 * there, to switch it on is no edge. */
	epoll_wait(ready->fd, events, MEMBERS, 0);
}
