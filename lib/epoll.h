/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sets of descriptors: what rsk_epoll_*() and rsk_watch() are made of.
 *
 * An instance is an epoll instance of the kernel. Kernel descriptors are the members of another one, which is
 * one of its members: so the kernel alone decides what becomes of them, of closed ones with duplicates, say. A
 * socket's descriptor is an edge-triggered member: it wakes the instance, which then looks at the socket.
 * What is found, by whomever, is told to the item, the socket's observer, which goes on the ready list. A
 * level-triggered item stays there until a look finds nothing. While the list is not empty, the instance's
 * descriptor is kept readable. So a wait costs what is ready, not what is watched.
 *
 * Locks: ctl_lock (of an instance), then the state lock of a socket, then lock (of an instance).
 */
#ifndef RSK_EPOLL_H
#define RSK_EPOLL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <rsk/rsk.h>

#include "lock.h"
#include "sock.h"

struct rsk_item {
	struct rsk_observer observer; /* first */
	struct rsk_epoll *ep;
	struct rsk_sock *sk;
	int fd;
	uint32_t serial;             /* tells it from an earlier item of the same number */
	atomic_uint refs;            /* of the table, of the ready list, of who looks at it */

	/* The socket's state lock: */
	uint32_t arrived;            /* bits told and not yet reported */
	bool once;                   /* one report, then none until it is modified */
	bool exclusive;              /* may not be modified, as in Linux; ctl_lock */
	epoll_data_t data;
	rsk_watch_fn *fn;            /* of a watch; data.ptr is its argument */

	/* The instance's lock: */
	bool gone, queued;
	struct rsk_item *next;       /* on the ready list */
};

struct rsk_epoll {
	int fd;                      /* its descriptor */
	int bell;                    /* an eventfd, its member: readable while raised */
	bool raised;                 /* an item waits */
	struct rsk_slot *slot;
	pthread_mutex_t ctl_lock;    /* one change at a time */
	int kernel_fd;               /* the instance of the kernel's descriptors; -1 without any */

	struct rsk_lock lock;
	struct rsk_item **items;     /* by descriptor */
	unsigned size;
	uint32_t serial;
	struct rsk_item *first, **last; /* ready, oldest first */
	unsigned nready;
	bool closed;
	bool kernel_next;            /* whose turn it is when there is room for one */
};

/* A report, with a reference to its item. */
struct rsk_hit {
	struct rsk_item *item;       /* NULL: of a kernel descriptor */
	uint32_t events;
	epoll_data_t data;
	rsk_watch_fn *fn;
};

/* NULL and errno. */
struct rsk_epoll *rsk_epoll_new(bool cloexec);
/* Nobody else uses it any more. */
void rsk_epoll_free(struct rsk_epoll *ep);

/* rsk_close() of an instance's descriptor; false when it is none. */
bool rsk_epoll_close(int fd);

/* What to do with a socket, and what comes of it. */
struct rsk_interest {
	uint32_t events;             /* with EPOLLET, EPOLLONESHOT; 0: none */
	epoll_data_t data;
	rsk_watch_fn *fn;
};

/* Adds, changes, or, with @interest NULL, removes a socket that the caller holds. ctl_lock held. Returns the
 * bits that are there now, or -errno. They are reported unless @quiet. */
int rsk_epoll_set(struct rsk_epoll *ep, int fd, struct rsk_sock *sk, const struct rsk_interest *interest,
		  bool quiet);

/* Takes up to @max reports; sleeps until @deadline for the first. Returns how many, or -errno. */
int rsk_epoll_take(struct rsk_epoll *ep, struct rsk_hit *hits, int max, int64_t deadline,
		   const sigset_t *sigmask);
void rsk_item_put(struct rsk_item *item);

#endif
