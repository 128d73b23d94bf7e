/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The descriptor table: see fdtab.h. */
#include "fdtab.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "sock.h"

_Atomic(struct rsk_slot *) rsk_fd_pages[RSK_FD_PAGES];
static pthread_mutex_t pages_lock = PTHREAD_MUTEX_INITIALIZER;

static int add_page(int fd)
{
	int ret = 0;

	if (fd < 0 || fd >= RSK_FD_PAGE * RSK_FD_PAGES)
		return -EMFILE;
	pthread_mutex_lock(&pages_lock);
	if (!rsk_fd_pages[fd / RSK_FD_PAGE]) {
		struct rsk_slot *page = calloc(RSK_FD_PAGE, sizeof(*page));

		if (page)
			atomic_store_explicit(&rsk_fd_pages[fd / RSK_FD_PAGE], page, memory_order_release);
		else
			ret = -ENOMEM;
	}
	pthread_mutex_unlock(&pages_lock);
	return ret;
}

int rsk_slot_fill(int fd, uint32_t kind, void *object, struct rsk_slot **own,
		  void (*closed)(void *object))
{
	struct rsk_slot *slot = rsk_fd_slot(fd);
	uint32_t users, open;

	if (!slot) {
		int ret = add_page(fd);

		if (ret)
			return ret;
		slot = rsk_fd_slot(fd);
	}
	/* Who closed the number before has read the slot when it counts as free. */
	users = atomic_load(&slot->users);
	*own = slot;
	slot->object = object;
	slot->closed = closed;
	/* It may be open: then the application has closed the number by close(2), and lost what it was. */
	do
		open = (users & ~RSK_FD_EPOLL) | RSK_FD_OPEN | kind;
	while (!atomic_compare_exchange_weak(&slot->users, &users, open));
	return 0;
}

int rsk_fd_insert(int fd, struct rsk_sock *sk, void (*closed)(void *sk))
{
	return rsk_slot_fill(fd, 0, sk, &sk->slot, closed);
}

void rsk_slot_last(struct rsk_slot *slot)
{
	uint32_t closing = RSK_FD_CLOSING;
	void (*closed)(void *);
	void *object;

	/* Latecomers may come and go now, too: exactly one of those who leave closes. */
	if (!atomic_compare_exchange_strong(&slot->users, &closing, RSK_FD_CLAIMED))
		return;
	closed = slot->closed;
	object = slot->object;
	/* Read: from here on the slot may be filled anew. */
	atomic_fetch_and(&slot->users, ~RSK_FD_CLAIMED);
	closed(object);
}

void rsk_fd_put(struct rsk_sock *sk)
{
	rsk_slot_leave(sk->slot);
}

bool rsk_slot_close(struct rsk_slot *slot)
{
	uint32_t users = atomic_load(&slot->users), closing;

	do {
		if (!(users & RSK_FD_OPEN))
			return false;
		closing = (users & ~(RSK_FD_OPEN | RSK_FD_EPOLL)) | RSK_FD_CLOSING;
	} while (!atomic_compare_exchange_weak(&slot->users, &users, closing));
	return true;
}

bool rsk_fd_close(struct rsk_sock *sk)
{
	return rsk_slot_close(sk->slot);
}

void rsk_fd_each(void (*fn)(struct rsk_sock *sk))
{
	for (int page = 0; page < RSK_FD_PAGES; page++) {
		if (!rsk_fd_pages[page])
			continue;
		for (int fd = page * RSK_FD_PAGE; fd < (page + 1) * RSK_FD_PAGE; fd++) {
			struct rsk_sock *sk = rsk_fd_get(fd);

			if (sk) {
				fn(sk);
				rsk_fd_put(sk);
			}
		}
	}
}

void rsk_fd_forget(void)
{
	pthread_mutex_init(&pages_lock, NULL);
	for (int page = 0; page < RSK_FD_PAGES; page++) {
		struct rsk_slot *slots = rsk_fd_pages[page];

		for (int i = 0; slots && i < RSK_FD_PAGE; i++)
			atomic_store(&slots[i].users, 0);
	}
}
