/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Send memory: registered once, then lent to whichever connection has bytes in flight. A chunk
 * belongs to one connection at a time and is never writable by a peer. Any thread.
 */
#ifndef RSK_POOL_H
#define RSK_POOL_H

#include "qp.h"

struct rsk_chunk {
	struct rsk_chunk *next;
	struct rsk_mem mem;
};

/* Borrows @len bytes. NULL with errno when memory cannot be had or registered. */
struct rsk_chunk *rsk_pool_borrow(struct rsk_device *dev, size_t len);
void rsk_pool_return(struct rsk_device *dev, struct rsk_chunk *chunk);
/* Frees what nobody has borrowed. */
void rsk_pool_trim(struct rsk_device *dev);

#endif
