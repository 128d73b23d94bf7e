/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Send memory: see pool.h. */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>

/* Kept for the next borrower, per device; what is returned beyond is given back to the system. */
static const size_t keep_bytes = 16 << 20;

struct rsk_chunk *rsk_pool_borrow(struct rsk_device *dev, size_t len)
{
	struct rsk_chunk *chunk, **link;
	int ret;

	pthread_mutex_lock(&dev->pool_lock);
	for (link = &dev->pool; *link && (*link)->mem.len != len; link = &(*link)->next)
		;
	chunk = *link;
	if (chunk) {
		*link = chunk->next;
		dev->pool_bytes -= len;
	}
	pthread_mutex_unlock(&dev->pool_lock);
	if (chunk)
		return chunk;

	chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return NULL;
	ret = rsk_mem_alloc(&chunk->mem, dev, len, false);
	if (!ret)
		return chunk;
	free(chunk);
	errno = -ret;
	return NULL;
}

static void discard(struct rsk_chunk *chunk)
{
	rsk_mem_free(&chunk->mem);
	free(chunk);
}

void rsk_pool_return(struct rsk_device *dev, struct rsk_chunk *chunk)
{
	pthread_mutex_lock(&dev->pool_lock);
	if (dev->pool_bytes + chunk->mem.len <= keep_bytes) {
		/* In front: the memory used last is the one still in the cache. */
		chunk->next = dev->pool;
		dev->pool = chunk;
		dev->pool_bytes += chunk->mem.len;
		chunk = NULL;
	}
	pthread_mutex_unlock(&dev->pool_lock);
	if (chunk)
		discard(chunk);
}

void rsk_pool_trim(struct rsk_device *dev)
{
	struct rsk_chunk *chunk, *next;

	pthread_mutex_lock(&dev->pool_lock);
	chunk = dev->pool;
	dev->pool = NULL;
	dev->pool_bytes = 0;
	pthread_mutex_unlock(&dev->pool_lock);
	for (; chunk; chunk = next) {
		next = chunk->next;
		discard(chunk);
	}
}
