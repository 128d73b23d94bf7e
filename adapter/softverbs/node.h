/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * This process as a node of the fabric: the device lock, the engine thread, descriptors it watches and
 * timers it runs. Each process that uses the device is one node, with a number of its own.
 *
 * One lock guards all of the device. Functions of the adapter are called with it held unless they say
 * otherwise; nobody sleeps with it. The engine thread does what a card does by itself: it takes in what
 * peers send when no application thread polls, and runs the timers. It sleeps when there is nothing.
 */
#ifndef SOFT_NODE_H
#define SOFT_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOFT_MS UINT64_C(1000000)

void soft_lock(void);
void soft_unlock(void);

/* Events that an object has given and that have been acknowledged: who destroys it waits for the rest. */
struct soft_acks {
	uint32_t given, acked;
};

/* Drops the lock while it waits. */
void soft_acks_await(const struct soft_acks *acks);
/* Called without the lock. */
void soft_acks_add(struct soft_acks *acks, unsigned n);

/* Starts the engine and claims a number, if that has not been done. 0 or -errno. */
int soft_node_start(void);
/* This process's number, 1 to SOFT_NODES - 1. */
uint32_t soft_node_number(void);

enum { SOFT_NODES = 4096 };

/* Has the process this capability (linux/capability.h)? Needs no lock. */
bool soft_node_may(int capability);

/* Embedded; zeroed memory is an idle one. */
struct soft_timer {
	void (*fn)(struct soft_timer *);
	uint64_t at;
	struct soft_timer *next, **slot;
};

/* The first member of something calloc()ed that owns a descriptor. */
struct soft_io {
	int fd;
	bool ended;
	void (*fn)(struct soft_io *, uint32_t events);
	struct soft_io *next;
	struct soft_timer rest;
};

/* Calls io->fn, on the engine thread, whenever io->fd is readable or broken. 0 or -errno. */
int soft_io_start(struct soft_io *io);
/* Also when it is writable. */
void soft_io_want_write(struct soft_io *io, bool want);
/* Leaves it alone for a while: it is readable, but what reading takes is not there, and nobody says when it is. */
void soft_io_rest(struct soft_io *io);
/* Closes the descriptor; the engine frees the memory, as it may just be on its way to fn. */
void soft_io_end(struct soft_io *io);

void soft_timer_start(struct soft_timer *timer, uint64_t ns, void (*fn)(struct soft_timer *));
void soft_timer_stop(struct soft_timer *timer);

static inline bool soft_timer_runs(const struct soft_timer *timer)
{
	return timer->slot;
}

/* After fork, in the child: what the parent was connected to is not ours. Defined where it is known. */
void soft_link_forget(void);
void soft_qp_forget(void);
void soft_cm_forget(void);
void soft_async_forget_all(void);

#endif
