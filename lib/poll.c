/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk_poll() and its kin: looks at each socket; if none is ready, has each one's descriptor report the
 * next change, and sleeps in ppoll(2) on all of them. Descriptors that are not ours are polled as they are.
 * rsk_select() turns its sets into an array of these, and back.
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

/* Sleeps on everything until @deadline; takes over what poll(2) says of descriptors that are not ours.
 * Returns how many of those are ready, or -errno. */
static int poll_kernel(struct set *set, int64_t deadline, const sigset_t *sigmask)
{
	int64_t left = deadline ? deadline - rsk_now() : 0;
	struct timespec ts = { 0 };
	int ready = 0;

	if (left > 0)
		ts = (struct timespec){ left / 1000000000, left % 1000000000 };

	for (nfds_t i = 0; i < set->count; i++) {
		set->sleep[i] = set->fds[i];
		if (set->socks[i])
			set->sleep[i].events = POLLIN;
	}
	if (ppoll(set->sleep, set->count, deadline == RSK_NEVER ? NULL : &ts, sigmask) < 0)
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

/* @deadline 0: looks once. */
static int poll_set(struct set *set, int64_t deadline, const sigset_t *sigmask)
{
	int64_t spin_until = deadline ? rsk_now() + rsk_spin_ns() : 0;
	bool foreign = has_foreign(set);
	int ready, others = 0;

	do {
		/* One look is what a loop on the descriptors does after each event: they report the
		 * next change. */
		ready = look_at_socks(set, deadline ? RSK_LOOK : RSK_LOOK_AND_ARM_LAZILY);
		if (foreign)
			others = poll_kernel(set, 0, NULL);
		if (others < 0)
			return others;
		if (ready + others || !deadline)
			return ready + others;
	} while (!foreign && rsk_now() < spin_until);

	for (;;) {
		bool over = rsk_now() >= deadline;

		ready = look_at_socks(set, RSK_LOOK_AND_ARM);
		others = poll_kernel(set, ready ? 0 : deadline, sigmask);
		if (others < 0)
			return others;
		if (ready + others)
			return ready + others;
		/* A socket's descriptor said something, or the time has passed. */
		ready = look_at_socks(set, RSK_LOOK);
		if (ready || over)
			return ready;
	}
}

static int poll_fds(struct pollfd *fds, nfds_t nfds, int64_t deadline, const sigset_t *sigmask)
{
	struct rsk_sock *few_socks[ON_STACK];
	struct pollfd few_sleep[ON_STACK];
	struct set set = { fds, nfds, few_socks, few_sleep };
	int ret = -ENOMEM;

	if (nfds > ON_STACK) {
		set.socks = malloc(nfds * sizeof(set.socks[0]));
		set.sleep = malloc(nfds * sizeof(set.sleep[0]));
		if (!set.socks || !set.sleep)
			goto free_set;
	}
	for (nfds_t i = 0; i < nfds; i++) {
		fds[i].revents = 0;
		set.socks[i] = rsk_fd_get(fds[i].fd);
	}
	rsk_sock_waiting = true;
	ret = poll_set(&set, deadline, sigmask);
	rsk_sock_waiting = false;
	for (nfds_t i = 0; i < nfds; i++) {
		if (set.socks[i])
			rsk_fd_put(set.socks[i]);
	}
free_set:
	if (nfds > ON_STACK) {
		free(set.socks);
		free(set.sleep);
	}
	return ret;
}

static int result(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

static int checked_poll(struct pollfd *fds, nfds_t nfds, int64_t deadline, const sigset_t *sigmask)
{
	struct rlimit limit;

	if (!fds && nfds)
		return result(-EFAULT);
	if (!getrlimit(RLIMIT_NOFILE, &limit) && nfds > limit.rlim_cur)
		return result(-EINVAL);
	return result(poll_fds(fds, nfds, deadline, sigmask));
}

int rsk_poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
	int64_t deadline = timeout < 0 ? RSK_NEVER : timeout ? rsk_now() + timeout * INT64_C(1000000) : 0;

	return checked_poll(fds, nfds, deadline, NULL);
}

int rsk_ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout, const sigset_t *sigmask)
{
	int64_t deadline = rsk_deadline_of(timeout);

	if (deadline < 0)
		return result(-EINVAL);
	if (timeout && !timeout->tv_sec && !timeout->tv_nsec && !sigmask)
		deadline = 0;
	return checked_poll(fds, nfds, deadline, sigmask);
}

/* select: bit by bit, as a set may have more bits than FD_SETSIZE */

enum { WORD = 8 * sizeof(unsigned long) };

/* What select(2) makes of poll(2)'s bits, in the order of its sets. */
static const struct {
	short ask, means;
} select_sets[3] = {
	{ POLLIN | POLLRDNORM, POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR },
	{ POLLOUT | POLLWRNORM, POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR },
	{ POLLPRI, POLLPRI },
};

static bool is_set(const fd_set *set, int fd)
{
	return set && ((const unsigned long *)set)[fd / WORD] >> fd % WORD & 1;
}

/* Returns how many descriptors the sets hold. */
static nfds_t from_sets(struct pollfd *fds, int nfds, fd_set *const sets[3])
{
	nfds_t count = 0;

	for (int fd = 0; fd < nfds; fd++) {
		short events = 0;

		for (int i = 0; i < 3; i++)
			events |= is_set(sets[i], fd) ? select_sets[i].ask : 0;
		if (events)
			fds[count++] = (struct pollfd){ .fd = fd, .events = events };
	}
	return count;
}

/* Does it belong into this set, of the three? */
static bool belongs(const struct pollfd *fd, int set)
{
	return fd->events & select_sets[set].ask && fd->revents & select_sets[set].means;
}

/* What belongs into no set does not end the wait: that the peer has left, say, where only exceptional
 * conditions were asked for. */
static int poll_for_sets(struct pollfd *fds, nfds_t count, int64_t deadline, const sigset_t *sigmask)
{
	int ready, beside;

	do {
		ready = poll_fds(fds, count, deadline, sigmask);
		beside = 0;
		for (nfds_t i = 0; ready > 0 && i < count; i++) {
			if (!fds[i].revents || fds[i].revents & POLLNVAL || belongs(&fds[i], 0) ||
			    belongs(&fds[i], 1) || belongs(&fds[i], 2))
				continue;
			fds[i].fd = -1;
			beside++;
		}
	} while (ready > 0 && ready == beside);
	return ready;
}

static int to_sets(const struct pollfd *fds, nfds_t count, int nfds, fd_set *const sets[3])
{
	size_t words = ((size_t)nfds + WORD - 1) / WORD;
	int bits = 0;

	for (nfds_t i = 0; i < count; i++) {
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
	}
	for (int i = 0; i < 3; i++) {
		unsigned long *set = (unsigned long *)sets[i];

		for (size_t word = 0; set && word < words; word++)
			set[word] = 0;
		for (nfds_t j = 0; set && j < count; j++) {
			if (!belongs(&fds[j], i))
				continue;
			set[fds[j].fd / WORD] |= 1UL << fds[j].fd % WORD;
			bits++;
		}
	}
	return bits;
}

static int select_until(int nfds, fd_set *const sets[3], int64_t deadline, const sigset_t *sigmask)
{
	struct pollfd *fds;
	nfds_t count;
	int ret;

	if (nfds < 0)
		return -EINVAL;
	fds = malloc(((size_t)nfds + 1) * sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	count = from_sets(fds, nfds, sets);
	ret = poll_for_sets(fds, count, deadline, sigmask);
	if (ret >= 0)
		ret = to_sets(fds, count, nfds, sets);
	free(fds);
	return ret;
}

int rsk_select(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, struct timeval *timeout)
{
	fd_set *const sets[3] = { readfds, writefds, exceptfds };
	struct timespec limit = { 0 };
	int64_t deadline, left;
	int ret;

	if (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0))
		return result(-EINVAL);
	/* As Linux does: more than a second may be given in microseconds. */
	if (timeout)
		limit = (struct timespec){ timeout->tv_sec, timeout->tv_usec % 1000000 * 1000 };
	if (timeout && timeout->tv_sec <= INT32_MAX)
		limit.tv_sec += timeout->tv_usec / 1000000;
	deadline = rsk_deadline_of(timeout ? &limit : NULL);
	ret = select_until(nfds, sets, limit.tv_sec || limit.tv_nsec || !timeout ? deadline : 0, NULL);
	if (timeout && deadline != RSK_NEVER) {
		left = deadline - rsk_now();
		if (left < 0)
			left = 0;
		*timeout = (struct timeval){ left / 1000000000, left % 1000000000 / 1000 };
	}
	return result(ret);
}

int rsk_pselect(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, const struct timespec *timeout,
		const sigset_t *sigmask)
{
	fd_set *const sets[3] = { readfds, writefds, exceptfds };
	int64_t deadline = rsk_deadline_of(timeout);

	if (deadline < 0)
		return result(-EINVAL);
	return result(select_until(nfds, sets, deadline, sigmask));
}
