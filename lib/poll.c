/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk_poll(): looks at each socket; if none is ready, has each one's descriptor report the next
 * change, and sleeps in poll(2) on all of them. Descriptors that are not ours are polled as they are.
 */
#include <rsk/rsk.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "fdtab.h"
#include "sock.h"

enum { ON_STACK = 32 };

struct set {
	struct pollfd *fds;
	nfds_t count;
	struct rsk_sock **socks;     /* NULL: not ours, or negative */
	struct pollfd *sleep;        /* what poll(2) is given */
};

static short poll_one(struct rsk_sock *sk, short events, enum rsk_look look)
{
	short mask;

	rsk_lock(&sk->lock);
	mask = rsk_sock_poll(sk, events, look);
	rsk_unlock(&sk->lock);
	return mask;
}

/* Looks at the sockets; returns how many are ready. */
static int look_at_socks(struct set *set, enum rsk_look look)
{
	int ready = 0;

	for (nfds_t i = 0; i < set->count; i++) {
		if (!set->socks[i])
			continue;
		set->fds[i].revents = poll_one(set->socks[i], set->fds[i].events, look);
		ready += set->fds[i].revents != 0;
	}
	return ready;
}

/* Sleeps on everything, or only looks when @ms is 0; takes over what poll(2) says of descriptors
 * that are not ours. Returns how many of those are ready, or -errno. */
static int poll_kernel(struct set *set, int ms)
{
	int ready = 0;

	for (nfds_t i = 0; i < set->count; i++) {
		set->sleep[i] = set->fds[i];
		if (set->socks[i])
			set->sleep[i].events = POLLIN;
	}
	if (poll(set->sleep, set->count, ms) < 0)
		return -errno;
	for (nfds_t i = 0; i < set->count; i++) {
		if (set->socks[i])
			continue;
		set->fds[i].revents = set->sleep[i].revents;
		ready += set->fds[i].revents != 0;
	}
	return ready;
}

static bool has_foreign(const struct set *set)
{
	for (nfds_t i = 0; i < set->count; i++) {
		if (!set->socks[i] && set->fds[i].fd >= 0)
			return true;
	}
	return false;
}

static int poll_set(struct set *set, int timeout)
{
	int64_t deadline = timeout < 0 ? RSK_NEVER : rsk_now() + timeout * INT64_C(1000000);
	int64_t spin_until = timeout ? rsk_now() + rsk_spin_ns() : 0;
	bool foreign = has_foreign(set);
	int ready, others = 0;

	do {
		/* One look is what a loop on the descriptors does after each event: they report the
		 * next change. */
		ready = look_at_socks(set, timeout ? RSK_LOOK : RSK_LOOK_AND_ARM_LAZILY);
		if (foreign)
			others = poll_kernel(set, 0);
		if (others < 0)
			return others;
		if (ready + others || !timeout)
			return ready + others;
	} while (!foreign && rsk_now() < spin_until);

	for (;;) {
		int ms = rsk_ms_until(deadline);

		ready = look_at_socks(set, RSK_LOOK_AND_ARM);
		others = poll_kernel(set, ready ? 0 : ms);
		if (others < 0)
			return others;
		if (ready + others)
			return ready + others;
		/* A socket's descriptor said something, or the time has passed. */
		ready = look_at_socks(set, RSK_LOOK);
		if (ready || !ms)
			return ready;
	}
}

int rsk_poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
	struct rsk_sock *few_socks[ON_STACK];
	struct pollfd few_sleep[ON_STACK];
	struct set set = { fds, nfds, few_socks, few_sleep };
	struct rlimit limit;
	int ret;

	if (!fds && nfds) {
		errno = EFAULT;
		return -1;
	}
	if (!getrlimit(RLIMIT_NOFILE, &limit) && nfds > limit.rlim_cur) {
		errno = EINVAL;
		return -1;
	}
	if (nfds > ON_STACK) {
		set.socks = malloc(nfds * sizeof(set.socks[0]));
		set.sleep = malloc(nfds * sizeof(set.sleep[0]));
		if (!set.socks || !set.sleep) {
			ret = -ENOMEM;
			goto free_set;
		}
	}
	for (nfds_t i = 0; i < nfds; i++) {
		fds[i].revents = 0;
		set.socks[i] = rsk_fd_get(fds[i].fd);
	}
	ret = poll_set(&set, timeout);
	for (nfds_t i = 0; i < nfds; i++) {
		if (set.socks[i])
			rsk_fd_put(set.socks[i]);
	}
free_set:
	if (nfds > ON_STACK) {
		free(set.socks);
		free(set.sleep);
	}
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}
