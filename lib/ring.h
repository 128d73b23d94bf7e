/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Positions in a ring buffer of outgoing bytes. Pure: it knows offsets, not memory. Positions are
 * free-running 32-bit counters; the size is a power of two, so they wrap by themselves.
 *
 * One thread advances the head (the sender), one the tail (whoever reaps completions).
 */
#ifndef RSK_RING_H
#define RSK_RING_H

#include <stdint.h>

struct rsk_ring {
	uint32_t size;               /* bytes, a power of two; 0 while it has no memory */
	uint32_t head;               /* next byte to fill */
	uint32_t tail;               /* oldest byte still in flight */
};

/* Where a run of bytes lies: one piece, or two when it wraps. */
struct rsk_span {
	uint32_t offset[2];
	uint32_t len[2];
	int pieces;
};

static inline uint32_t rsk_ring_used(const struct rsk_ring *ring)
{
	return ring->head - ring->tail;
}

static inline uint32_t rsk_ring_free(const struct rsk_ring *ring)
{
	return ring->size - rsk_ring_used(ring);
}

/* Takes @len bytes, which must be free, at the head. */
static inline struct rsk_span rsk_ring_take(struct rsk_ring *ring, uint32_t len)
{
	struct rsk_span span = { .pieces = 1 };
	uint32_t start = ring->head & (ring->size - 1);
	uint32_t room = ring->size - start;

	span.offset[0] = start;
	span.len[0] = len < room ? len : room;
	if (len > room) {
		span.len[1] = len - room;
		span.pieces = 2;
	}
	ring->head += len;
	return span;
}

/* Everything before position @tail has left. A position outside what is in flight is ignored. */
static inline void rsk_ring_release(struct rsk_ring *ring, uint32_t tail)
{
	if (tail - ring->tail <= rsk_ring_used(ring))
		ring->tail = tail;
}

#endif
