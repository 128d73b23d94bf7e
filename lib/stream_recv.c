/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Receiving: see stream.h. A call holds rx.lock from its first byte to its last. Bytes lie in the
 * segments in the order they came; the position up to which they have arrived (the fill position) is
 * looked up under the state lock only when what was seen before is used up.
 */
#include "stream.h"

#include <errno.h>
#include <poll.h>

#include "iov.h"
#include "sock.h"

enum {
	SEGMENT_MAX = 64 << 10,      /* what a segment grows to under load: upstream's default */
};

/* 1: data is there. 0: end of file. -EAGAIN: not yet, or the errno of the call. State lock held. */
static int check_state(struct rsk_sock *sk)
{
	if (rsk_stream_has_data(sk))
		return 1;
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
		sk->pending_error = 0;
		return -sk->failure;
	case RSK_IDLE:
	case RSK_LISTENING:
		return -ENOTCONN;
	default:
		return -EAGAIN;
	}
}

static bool can_recv(struct rsk_sock *sk)
{
	rsk_stream_progress(sk);
	switch (sk->state) {
	case RSK_CONNECTED:
		return rsk_stream_has_data(sk) || sk->shut_by_peer || sk->shut_rd || sk->closed;
	case RSK_RESOLVE_ADDR:
	case RSK_RESOLVE_ROUTE:
	case RSK_CONNECTING:
		return sk->closed;
	default:
		return true;
	}
}

static int wait_for_data(struct rsk_sock *sk, bool nonblock, int64_t *deadline)
{
	int ret;

	pthread_mutex_lock(&sk->lock);
	for (;;) {
		rsk_stream_progress(sk);
		ret = check_state(sk);
		if (ret != -EAGAIN)
			break;
		if (nonblock) {
			if (!rsk_sock_poll(sk, POLLIN, RSK_LOOK_AND_ARM_LAZILY))
				break;
			continue;
		}
		if (!*deadline)
			*deadline = rsk_deadline(&sk->options.rcvtimeo);
		ret = rsk_sock_wait(sk, can_recv, false, *deadline);
		if (ret)
			break;
	}
	if (ret == 1) {
		sk->wanted &= ~POLLIN;
		sk->rx.seen = rsk_stream_fill(sk);
	}
	pthread_mutex_unlock(&sk->lock);
	return ret;
}

/* Bytes that lie in one piece at a position, of those seen to have arrived. */
static uint32_t piece_at(const struct rsk_rx *rx, struct rsk_position at)
{
	uint32_t end = rx->seen.offset;

	if (at.segment != rx->seen.segment)
		end = (uint32_t)rx->segment[at.segment % RSK_SEGMENTS].len;
	return end - at.offset;
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

/* Moves the drain position on. A segment that was used up goes back to the peer at once, from the
 * reading call, or a reader that never sleeps would starve it. */
static struct rsk_position drain(struct rsk_sock *sk, struct rsk_position at, uint32_t len)
{
	struct rsk_mem *mem = &sk->rx.segment[at.segment % RSK_SEGMENTS];

	at.offset += len;
	if (at.offset < mem->len) {
		rsk_stream_set_drained(sk, at);
		return at;
	}
	at = (struct rsk_position){ .segment = at.segment + 1 };
	rsk_stream_set_drained(sk, at);
	grow(sk, mem);
	pthread_mutex_lock(&sk->lock);
	sk->rx.ready++;
	rsk_stream_send_control(sk);
	pthread_mutex_unlock(&sk->lock);
	return at;
}

/* Where the next segment begins, for a look ahead that drains nothing. */
static struct rsk_position look_past(const struct rsk_rx *rx, struct rsk_position at, uint32_t len)
{
	at.offset += len;
	if (at.offset == rx->segment[at.segment % RSK_SEGMENTS].len)
		at = (struct rsk_position){ .segment = at.segment + 1 };
	return at;
}

ssize_t rsk_stream_recv(struct rsk_sock *sk, const struct iovec *iov, int iovcnt, int flags)
{
	struct rsk_cursor to = rsk_cursor(iov, iovcnt);
	bool nonblock = flags & MSG_DONTWAIT || atomic_load(&sk->nonblock);
	struct rsk_rx *rx = &sk->rx;
	struct rsk_position at;
	int64_t deadline = 0;
	ssize_t done = 0;
	int ret = 0;

	if (!to.left)
		return 0;
	pthread_mutex_lock(&rx->lock);
	at = rsk_stream_drained_to(sk);
	while (to.left) {
		uint32_t len = piece_at(rx, at);

		if (!len) {
			/* All that was seen is taken; wait for more only when asked to. */
			if (done && (!(flags & MSG_WAITALL) || flags & MSG_PEEK))
				break;
			ret = wait_for_data(sk, nonblock, &deadline);
			if (ret <= 0)
				break;
			continue;
		}
		if (len > to.left)
			len = (uint32_t)to.left;
		rsk_cursor_scatter(&to, rx->segment[at.segment % RSK_SEGMENTS].addr + at.offset, len);
		at = flags & MSG_PEEK ? look_past(rx, at, len) : drain(sk, at, len);
		done += len;
	}
	pthread_mutex_unlock(&rx->lock);
	return done ? done : ret;
}
