/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Descriptor number -> object: a socket, or an epoll instance. A call holds its descriptor's slot from
 * rsk_fd_get() to rsk_fd_put(); close marks the slot, and whoever leaves last, the closer or a call still
 * inside, runs the object's closing function. So no call sees freed memory, and the number is not reused by
 * the kernel while a call is inside.
 */
#ifndef RSK_FDTAB_H
#define RSK_FDTAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rsk_sock;

enum {
	RSK_FD_PAGE = 1024,          /* slots in a page; pages come on demand and stay */
	RSK_FD_PAGES = 1024,
};

/* users counts the calls inside; a number that was never open, or is closed, may be counted for a
 * moment, which harms nobody. */
#define RSK_FD_OPEN 0x80000000u
#define RSK_FD_CLOSING 0x40000000u
#define RSK_FD_CLAIMED 0x20000000u
#define RSK_FD_EPOLL 0x10000000u     /* with RSK_FD_OPEN: the object is an epoll instance */

struct rsk_slot {
	_Atomic(uint32_t) users;
	void *object;
	void (*closed)(void *object);
};

extern _Atomic(struct rsk_slot *) rsk_fd_pages[RSK_FD_PAGES];

static inline struct rsk_slot *rsk_fd_slot(int fd)
{
	unsigned number = (unsigned)fd; /* negative: beyond the end */
	struct rsk_slot *page;

	if (number >= RSK_FD_PAGE * RSK_FD_PAGES)
		return NULL;
	page = atomic_load_explicit(&rsk_fd_pages[number / RSK_FD_PAGE], memory_order_acquire);
	return page ? &page[number % RSK_FD_PAGE] : NULL;
}

/* The last to leave a closed slot closes the object. */
void rsk_slot_last(struct rsk_slot *slot);

static inline void rsk_slot_leave(struct rsk_slot *slot)
{
	if (atomic_fetch_sub(&slot->users, 1) - 1 == RSK_FD_CLOSING)
		rsk_slot_last(slot);
}

/* Marks a slot whose holder the caller is as closing: no further call gets in, and the last to leave
 * closes the object. False when another thread was first. */
bool rsk_slot_close(struct rsk_slot *slot);

/* Publishes @object as @fd; @kind is 0 or RSK_FD_EPOLL. @closed runs when it was closed and the last
 * call has left. *slot is set before anybody can find it. 0, -ENOMEM, or -EMFILE: the number is beyond
 * the table. */
int rsk_slot_fill(int fd, uint32_t kind, void *object, struct rsk_slot **slot,
		  void (*closed)(void *object));

/* The object, held until its slot is left, or NULL. */
static inline void *rsk_slot_enter(int fd, uint32_t kind)
{
	struct rsk_slot *slot = rsk_fd_slot(fd);

	if (!slot)
		return NULL;
	if ((atomic_fetch_add(&slot->users, 1) & (RSK_FD_OPEN | RSK_FD_EPOLL)) == (RSK_FD_OPEN | kind))
		return slot->object;
	rsk_slot_leave(slot);
	return NULL;
}

/* The same for sockets */

int rsk_fd_insert(int fd, struct rsk_sock *sk, void (*closed)(void *sk));

static inline struct rsk_sock *rsk_fd_get(int fd)
{
	return rsk_slot_enter(fd, 0);
}

void rsk_fd_put(struct rsk_sock *sk);

bool rsk_fd_close(struct rsk_sock *sk);

/* Calls @fn for each open socket, held. */
void rsk_fd_each(void (*fn)(struct rsk_sock *sk));

/* After fork: nothing is open. */
void rsk_fd_forget(void);

#endif
