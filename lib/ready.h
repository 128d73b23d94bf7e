/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The descriptor of a socket: an epoll instance, because it is a kernel descriptor that is there from
 * the first day, that any loop can wait on, and that becomes readable when one of its members does.
 * Its members are the completion channel of the connection, and an eventfd that is always readable, which
 * some descriptors share: raising the descriptor is to switch that member on. So an established
 * connection costs little more than two descriptors.
 *
 * Readable means "look again", never less. Its owner (sock.c) calls this under the state lock.
 */
#ifndef RSK_READY_H
#define RSK_READY_H

#include <stdbool.h>
#include <stdint.h>

struct rsk_bell;

struct rsk_ready {
	int fd;                      /* -1 until the socket has a descriptor */
	struct rsk_bell *bell;       /* the eventfd */
	uint32_t raised;             /* for what: bits that only the owner knows, or RSK_READY_ANYTHING */
};

#define RSK_READY_ANYTHING (UINT32_C(1) << 31)

/* Creates the descriptor, then what raises it: between them, its number may have to be taken from who had it. 0 or
 * -errno. */
int rsk_ready_open(struct rsk_ready *ready, bool cloexec);
int rsk_ready_start(struct rsk_ready *ready);
void rsk_ready_close(struct rsk_ready *ready);
/* The descriptor was closed behind our back: its number is somebody else's. */
void rsk_ready_lose(struct rsk_ready *ready);
/* After fork: the eventfds are made anew. */
void rsk_ready_forget(void);

/* Lets the descriptor follow @fd, too. */
int rsk_ready_add(struct rsk_ready *ready, int fd);
void rsk_ready_remove(struct rsk_ready *ready, int fd);

void rsk_ready_raise(struct rsk_ready *ready);
/* The same for @news: what it was not raised for yet makes an edge, too. */
void rsk_ready_raise_for(struct rsk_ready *ready, uint32_t news);
void rsk_ready_lower(struct rsk_ready *ready);

#endif
