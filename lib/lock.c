/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The part of lock.h that sleeps. */
#include "lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int rsk_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t deadline)
{
	struct timespec until = { deadline / 1000000000, deadline % 1000000000 };

	/* WAIT_BITSET takes a point in time, not a duration. */
	if (!syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
		     deadline == INT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY))
		return 0;
	return errno == ETIMEDOUT ? -EAGAIN : errno == EINTR ? -EINTR : 0;
}

void rsk_futex_wake(_Atomic(uint32_t) *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

int rsk_lock_until(struct rsk_lock *lock, int64_t deadline)
{
	int ret = 0;

	/* Whoever comes here marks the lock wanted, also when it gets it: others may be asleep. */
	while (atomic_exchange_explicit(&lock->state, RSK_LOCK_WANTED, memory_order_acquire) !=
	       RSK_LOCK_FREE) {
		if (ret)
			return ret;
		ret = rsk_futex_wait(&lock->state, RSK_LOCK_WANTED, deadline);
	}
	return 0;
}

void rsk_lock_slowly(struct rsk_lock *lock)
{
	while (rsk_lock_until(lock, INT64_MAX))
		;
}
