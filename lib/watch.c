/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk_watch(): the watched sockets are edge-triggered items of one instance (epoll.h) of the process, whose
 * reports the engine thread takes, and hands to the callbacks.
 */
#include "watch.h"

#include <errno.h>

#include "epoll.h"
#include "fdtab.h"
#include "progress.h"

enum {
	BATCH = 16,                  /* callbacks before the engine looks after its other work */
	EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLERR | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t callback_ended = PTHREAD_COND_INITIALIZER;
static struct rsk_epoll *watched;
static struct rsk_io watched_io;
static struct rsk_item *running;     /* whose callback is being called */

/* What the callback is to be told, after it may have been changed since it was found. lock held. */
static uint32_t still_wanted(const struct rsk_hit *hit)
{
	struct rsk_item *item = hit->item;
	uint32_t events = 0;

	rsk_lock(&item->sk->lock);
	if (item->fn == hit->fn && item->data.ptr == hit->data.ptr)
		events = hit->events & item->observer.events;
	rsk_unlock(&item->sk->lock);
	return events;
}

static void call_back(const struct rsk_hit *hit)
{
	uint32_t events;

	pthread_mutex_lock(&lock);
	events = still_wanted(hit);
	if (events) {
		running = hit->item;
		pthread_mutex_unlock(&lock);
		hit->fn(hit->item->fd, events, hit->data.ptr);
		pthread_mutex_lock(&lock);
		running = NULL;
		pthread_cond_broadcast(&callback_ended);
	}
	pthread_mutex_unlock(&lock);
}

static void run_watches(struct rsk_io *io)
{
	struct rsk_hit hits[BATCH];
	int count = rsk_epoll_take(watched, hits, BATCH, 0, NULL);

	(void)io;
	for (int i = 0; i < count; i++) {
		call_back(&hits[i]);
		rsk_item_put(hits[i].item);
	}
}

static int start(void *arg)
{
	(void)arg;
	rsk_io_start(&watched_io, watched->fd, run_watches);
	return 0;
}

static int need_instance(void)
{
	int ret = 0;

	pthread_mutex_lock(&lock);
	if (!watched) {
		watched = rsk_epoll_new(true);
		ret = watched ? rsk_progress_call(start, NULL) : -errno;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

/* Unless it is the callback that asks. */
static void await_callback(const struct rsk_sock *sk)
{
	if (rsk_progress_is_engine())
		return;
	pthread_mutex_lock(&lock);
	while (running && running->sk == sk)
		pthread_cond_wait(&callback_ended, &lock);
	pthread_mutex_unlock(&lock);
}

static int set_watch(struct rsk_sock *sk, int fd, uint32_t events, rsk_watch_fn *fn, void *arg)
{
	struct rsk_interest interest = { events | EPOLLET, { .ptr = arg }, fn };
	int ret = need_instance();

	if (ret)
		return ret;
	pthread_mutex_lock(&watched->ctl_lock);
	ret = rsk_epoll_set(watched, fd, sk, fn ? &interest : NULL, true);
	pthread_mutex_unlock(&watched->ctl_lock);
	await_callback(sk);
	return ret == -ENOENT ? 0 : ret;
}

int rsk_watch(int fd, uint32_t events, rsk_watch_fn *fn, void *arg)
{
	struct rsk_sock *sk = rsk_fd_get(fd);
	int ret = -EINVAL;

	if (!sk) {
		errno = EBADF;
		return -1;
	}
	if (!(events & ~(uint32_t)EVENTS) && (fn || !events))
		ret = set_watch(sk, fd, events, fn, arg);
	rsk_fd_put(sk);
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

void rsk_watch_forget(void)
{
	pthread_mutex_init(&lock, NULL);
	pthread_cond_init(&callback_ended, NULL);
	watched = NULL;
	watched_io = (struct rsk_io){ 0 };
	running = NULL;
}
