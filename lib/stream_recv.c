/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Receiving: see stream.h. A call holds rx.lock from its first byte to its last. Bytes lie in the
 * segments in the order they came; how many have arrived is looked up under the state lock only when
 * those seen before are used up.
 */
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "iov.h"
#include "sock.h"

enum {
	SEGMENT_MAX = 64 << 10,      /* what a segment grows to under load: upstream's default */
};

/* No data is there: 0 is end of file, -EAGAIN not yet, else the errno of the call. State lock held. */
static int why_not(const struct rsk_sock *sk)
{
	if (sk->closed)
		return -ECONNABORTED;
	switch (sk->state) {
	case RSK_CONNECTED:
	case RSK_ENDED:
		return sk->shut_by_peer || sk->shut_rd ? 0 : -EAGAIN;
	case RSK_FAILED:
		/* An end that came in order before the failure is an end. Otherwise every read says
		 * what happened: a failure must never pass for an end. */
		if (sk->shut_by_peer || sk->shut_rd)
			return 0;
		return -sk->failure;
	case RSK_IDLE:
	case RSK_LISTENING:
		return -ENOTCONN;
	default:
		return -EAGAIN;
	}
}

/* Has more arrived than the caller has seen? It holds rx.lock, too. State lock held. */
static inline bool has_more(const struct rsk_sock *sk)
{
	return rsk_rx_arrived(sk) != sk->rx.seen;
}

/* 1: data is there. */
static inline int check_state(struct rsk_sock *sk)
{
	return has_more(sk) ? 1 : why_not(sk);
}

static bool can_recv(struct rsk_sock *sk)
{
	rsk_stream_progress(sk);
	switch (sk->state) {
	case RSK_CONNECTED:
		return has_more(sk) || sk->shut_by_peer || sk->shut_rd || sk->closed;
	case RSK_RESOLVE_ADDR:
	case RSK_RESOLVE_ROUTE:
	case RSK_CONNECTING:
		return sk->closed;
	default:
		return true;
	}
}

static __attribute__((noinline)) int wait_for_data(struct rsk_sock *sk, int flags,
						    int64_t *deadline)
{
	bool nonblock = rsk_sock_nonblocking(sk, flags), looked = false;
	int ret;

	for (;;) {
		ret = check_state(sk);
		if (ret != -EAGAIN)
			return ret;
		if (nonblock) {
			/* What was peeked at is there to be read, and nothing more. */
			if (looked || !rsk_sock_poll(sk, POLLIN, RSK_LOOK_AND_ARM_LAZILY))
				return ret;
			looked = true;
			continue;
		}
		if (!*deadline)
			*deadline = rsk_deadline(&sk->options.rcvtimeo);
		ret = rsk_sock_wait(sk, can_recv, false, *deadline);
		if (ret)
			return ret;
	}
}

/* Of one call. */
struct looks {
	unsigned made;
	int64_t deadline;
};

/* 1 when there is data to be seen; else as why_not() says. */
static inline int look_for_data(struct rsk_sock *sk, int flags, int64_t *deadline)
{
	int ret = 1;

	rsk_lock(&sk->lock);
	rsk_stream_progress(sk);
	if (!has_more(sk))
		ret = wait_for_data(sk, flags, deadline);
	/* Also by the end, which is there for ever. */
	if (ret != -EAGAIN)
		rsk_sock_answered(sk, POLLIN, flags);
	if (ret == 1)
		sk->rx.seen = rsk_rx_arrived(sk);
	rsk_unlock(&sk->lock);
	return ret;
}

/* What was seen by an earlier call is taken, and there is room for more. Fewer bytes than were asked for
 * mean that there are no more (epoll(7) promises it to those who wait for edges): look. Returns 1. */
static __attribute__((noinline)) int look_once_more(struct rsk_sock *sk)
{
	rsk_lock(&sk->lock);
	rsk_stream_progress(sk);
	sk->rx.seen = rsk_rx_arrived(sk);
	rsk_unlock(&sk->lock);
	return 1;
}

/* Under load a segment is replaced by a larger one. Not to get it is no failure. */
static void grow(struct rsk_sock *sk, struct rsk_mem *mem)
{
	struct rsk_mem larger;

	if (sk->options.rcvbuf || mem->len >= SEGMENT_MAX || sk->qp.grow_failed)
		return;
	if (rsk_mem_alloc(&larger, sk->qp.dev, SEGMENT_MAX, true)) {
		sk->qp.grow_failed = true;
		return;
	}
	rsk_mem_free(mem);
	*mem = larger;
}

/* A segment that was used up goes back to the peer at once, from the reading call, or a reader that
 * never sleeps would starve it. */
static __attribute__((noinline)) void give_back(struct rsk_sock *sk, uint32_t segment)
{
	grow(sk, &sk->rx.segment[segment % RSK_SEGMENTS]);
	rsk_lock(&sk->lock);
	sk->rx.ready++;
	rsk_stream_send_control(sk);
	rsk_unlock(&sk->lock);
}

static struct rsk_place next_segment(const struct rsk_rx *rx, uint32_t segment)
{
	const struct rsk_mem *mem = &rx->segment[++segment % RSK_SEGMENTS];

	return (struct rsk_place){ segment, (uint32_t)mem->len, mem->addr };
}

/* Copies at most @len bytes from one segment, at @place, to one buffer, and moves on in both. Returns how
 * many. */
static inline uint32_t copy_piece(struct rsk_place *place, uint64_t len, struct rsk_cursor *to, int flags)
{
	struct iovec piece = rsk_cursor_piece(to);

	if (len > place->left)
		len = place->left;
	if (len > piece.iov_len)
		len = piece.iov_len;
	if (!(flags & MSG_TRUNC))
		memcpy(piece.iov_base, place->at, len);
	place->at += len;
	place->left -= (uint32_t)len;
	rsk_cursor_skip(to, len);
	return (uint32_t)len;
}

/* All that was seen is taken. 1: now there is more to be seen; else the call ends, with what it has or with
 * 0 or -errno. */
static inline int look(struct rsk_sock *sk, const struct rsk_cursor *to, int flags, struct looks *looks)
{
	bool first = looks->made++ == 0;

	if (!to->done || flags & MSG_WAITALL ||
	    to->done < (size_t)__atomic_load_n(&sk->options.rcvlowat, __ATOMIC_RELAXED))
		return look_for_data(sk, flags, &looks->deadline);
	return first ? look_once_more(sk) : 0;
}

/* MSG_PEEK: nothing is taken. */
static __attribute__((noinline)) int peek(struct rsk_sock *sk, struct rsk_cursor *to, int flags,
					  struct looks *looks)
{
	struct rsk_rx *rx = &sk->rx;
	uint64_t start = atomic_load_explicit(&rx->drained, memory_order_relaxed);
	int ret = rx->seen != start ? 1 : look(sk, to, flags, looks);
	struct rsk_place place;

	if (ret <= 0)
		return ret;
	/* Now there is a connection: before, the engine may be making its segments. */
	place = rx->place;
	while (ret > 0 && to->done != to->total) {
		uint64_t len = rx->seen - start - to->done;

		if (len)
			copy_piece(&place, len, to, flags);
		/* What was peeked at stays, and the peer has no room for more. */
		else if (place.segment - rx->place.segment == RSK_SEGMENTS)
			break;
		else
			ret = look(sk, to, flags, looks);
		if (!place.left)
			place = next_segment(rx, place.segment);
	}
	return ret;
}

static inline int take(struct rsk_sock *sk, struct rsk_cursor *to, int flags, struct looks *looks)
{
	struct rsk_rx *rx = &sk->rx;
	uint64_t position = atomic_load_explicit(&rx->drained, memory_order_relaxed);

	while (to->done != to->total) {
		uint64_t len = rx->seen - position;

		if (!len) {
			int ret = look(sk, to, flags, looks);

			if (ret <= 0)
				return ret;
			continue;
		}
		position += copy_piece(&rx->place, len, to, flags);
		atomic_store_explicit(&rx->drained, position, memory_order_relaxed);
		if (!rx->place.left) {
			uint32_t used_up = rx->place.segment;

			rx->place = next_segment(rx, used_up);
			give_back(sk, used_up);
		}
	}
	return 0;
}

ssize_t rsk_stream_recv(struct rsk_sock *sk, struct rsk_cursor *to, int flags)
{
	struct looks looks = { 0 };
	int ret = rsk_sock_take_turn(sk, &sk->rx.lock, flags, &looks.deadline);

	if (ret)
		return ret;
	ret = flags & MSG_PEEK ? peek(sk, to, flags, &looks) : take(sk, to, flags, &looks);
	rsk_sock_give_turn(sk, &sk->rx.lock);
	return to->done ? (ssize_t)to->done : rsk_sock_report(sk, ret);
}
