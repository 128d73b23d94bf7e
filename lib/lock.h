/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A lock that costs two atomic instructions when nobody else wants it, inlined: a message of 64 bytes
 * passes three of them, and pthread_mutex was a tenth of its user instructions. Contended, it sleeps
 * in the kernel (futex(2)). Not recursive, not fair. Zeroed memory is a free lock.
 */
#ifndef RSK_LOCK_H
#define RSK_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RSK_LOCK_FREE, RSK_LOCK_HELD, RSK_LOCK_WANTED };

struct rsk_lock {
	_Atomic(uint32_t) state;
};

void rsk_lock_slowly(struct rsk_lock *lock);
/* For who cannot wait for ever: 0, or as the next says. */
int rsk_lock_until(struct rsk_lock *lock, int64_t deadline);

/* Sleeps while *word is @value, until woken or until @deadline (ns of the monotonic clock, INT64_MAX:
 * for ever). 0, -EAGAIN (the deadline), or -EINTR. May return early. */
int rsk_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t deadline);
void rsk_futex_wake(_Atomic(uint32_t) *word, int count);

static inline bool rsk_trylock(struct rsk_lock *lock)
{
	uint32_t expected = RSK_LOCK_FREE;

	/* In one order with other sequentially consistent accesses, also when it fails: see
	 * rsk_sock_take_turn(). */
	return atomic_compare_exchange_strong(&lock->state, &expected, RSK_LOCK_HELD);
}

static inline void rsk_lock(struct rsk_lock *lock)
{
	if (!rsk_trylock(lock))
		rsk_lock_slowly(lock);
}

static inline void rsk_unlock(struct rsk_lock *lock)
{
	if (atomic_exchange(&lock->state, RSK_LOCK_FREE) == RSK_LOCK_WANTED)
		rsk_futex_wake(&lock->state, 1);
}

#endif
