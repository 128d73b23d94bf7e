/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The descriptor table: see fdtab.h. */
#include "fdtab.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum {
	PAGE = 1024,                 /* slots in a page; pages come on demand and stay */
	PAGES = 1024,
};

/* users counts the calls inside; a number that was never open, or is closed, may be counted for a
 * moment, which harms nobody. */
#define OPEN 0x80000000u
#define CLOSING 0x40000000u

struct slot {
	_Atomic uint32_t users;
	struct rsk_sock *sk;
	void (*closed)(struct rsk_sock *);
};

static _Atomic(struct slot *) pages[PAGES];
static pthread_mutex_t pages_lock = PTHREAD_MUTEX_INITIALIZER;

static struct slot *find(int fd)
{
	struct slot *page;

	if (fd < 0 || fd >= PAGE * PAGES)
		return NULL;
	page = atomic_load_explicit(&pages[fd / PAGE], memory_order_acquire);
	return page ? &page[fd % PAGE] : NULL;
}

static int add_page(int fd)
{
	int ret = 0;

	if (fd < 0 || fd >= PAGE * PAGES)
		return -EMFILE;
	pthread_mutex_lock(&pages_lock);
	if (!pages[fd / PAGE]) {
		struct slot *page = calloc(PAGE, sizeof(*page));

		if (page)
			atomic_store_explicit(&pages[fd / PAGE], page, memory_order_release);
		else
			ret = -ENOMEM;
	}
	pthread_mutex_unlock(&pages_lock);
	return ret;
}

int rsk_fd_insert(int fd, struct rsk_sock *sk, void (*closed)(struct rsk_sock *))
{
	struct slot *slot = find(fd);

	if (!slot) {
		int ret = add_page(fd);

		if (ret)
			return ret;
		slot = find(fd);
	}
	slot->sk = sk;
	slot->closed = closed;
	atomic_fetch_or(&slot->users, OPEN);
	return 0;
}

static void leave(struct slot *slot)
{
	uint32_t closing = CLOSING;

	if (atomic_fetch_sub(&slot->users, 1) - 1 != CLOSING)
		return;
	/* Latecomers may come and go now, too: exactly one of those who leave closes. */
	if (!atomic_compare_exchange_strong(&slot->users, &closing, 0))
		return;
	slot->closed(slot->sk);
}

struct rsk_sock *rsk_fd_get(int fd)
{
	struct slot *slot = find(fd);

	if (!slot)
		return NULL;
	if (atomic_fetch_add(&slot->users, 1) & OPEN)
		return slot->sk;
	leave(slot);
	return NULL;
}

void rsk_fd_put(int fd)
{
	leave(find(fd));
}

bool rsk_fd_close(int fd)
{
	struct slot *slot = find(fd);
	uint32_t users = atomic_load(&slot->users);

	do {
		if (!(users & OPEN))
			return false;
	} while (!atomic_compare_exchange_weak(&slot->users, &users, (users & ~OPEN) | CLOSING));
	return true;
}

void rsk_fd_each(void (*fn)(int fd, struct rsk_sock *sk))
{
	for (int page = 0; page < PAGES; page++) {
		if (!pages[page])
			continue;
		for (int fd = page * PAGE; fd < (page + 1) * PAGE; fd++) {
			struct rsk_sock *sk = rsk_fd_get(fd);

			if (sk) {
				fn(fd, sk);
				rsk_fd_put(fd);
			}
		}
	}
}

void rsk_fd_forget(void)
{
	pthread_mutex_init(&pages_lock, NULL);
	for (int page = 0; page < PAGES; page++) {
		struct slot *slots = pages[page];

		for (int i = 0; slots && i < PAGE; i++)
			atomic_store(&slots[i].users, 0);
	}
}
