/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sending: see stream.h. A call holds tx.lock from its first byte to its last. For each message it
 * takes room, credit and target under the state lock, copies without it, and posts.
 */
#include "stream.h"

#include <errno.h>
#include <poll.h>

#include "iov.h"
#include "sock.h"

enum {
	INLINE_BUFFER = 512,         /* small pieces from several buffers are put together here */
	FIRST_MESSAGE = 8 << 10,     /* bytes of a call's first message; see rsk_stream_send() */
};

/* Why this socket cannot send: -EAGAIN, not yet, or the errno of the call. State lock held. */
static int why_not(const struct rsk_sock *sk)
{
	if (sk->closed)
		return -ECONNABORTED;
	switch (sk->state) {
	case RSK_CONNECTED:          /* shut down, or left by the peer */
	case RSK_ENDED:
		return -EPIPE;
	case RSK_FAILED:
		return sk->pending_error ? -sk->pending_error : -EPIPE;
	case RSK_IDLE:
	case RSK_LISTENING:
		return -ENOTCONN;
	default:
		return -EAGAIN;
	}
}

static inline bool is_open(const struct rsk_sock *sk)
{
	return sk->state == RSK_CONNECTED && !sk->shut_wr && !sk->left_by_peer && !sk->closed;
}

int rsk_stream_check_send(const struct rsk_sock *sk)
{
	return is_open(sk) ? 0 : why_not(sk);
}

/* What a sender needs room for. */
enum purpose { MESSAGE, DIRECT_WRITE };

static inline uint32_t room_for(const struct rsk_sock *sk, enum purpose purpose, uint32_t want)
{
	return purpose == MESSAGE ? rsk_tx_room(sk, want) : rsk_tx_write_room(sk, want);
}

static bool can_go_on(struct rsk_sock *sk, enum purpose purpose)
{
	rsk_stream_progress(sk);
	switch (sk->state) {
	case RSK_CONNECTED:
		return !is_open(sk) || room_for(sk, purpose, RSK_SEND_USEFUL);
	case RSK_RESOLVE_ADDR:
	case RSK_RESOLVE_ROUTE:
	case RSK_CONNECTING:
		return sk->closed;
	default:
		return true;
	}
}

static bool can_send(struct rsk_sock *sk)
{
	return can_go_on(sk, MESSAGE);
}

static bool can_write(struct rsk_sock *sk)
{
	return can_go_on(sk, DIRECT_WRITE);
}

static bool fits_inline(const struct rsk_sock *sk, uint32_t len)
{
	return len <= sk->qp.max_inline && len <= INLINE_BUFFER;
}

/* The ring's memory is borrowed by the first message that needs it. State lock held, but not while
 * memory is being registered; only the holder of tx.lock comes here. */
static __attribute__((noinline)) int borrow_ring(struct rsk_sock *sk)
{
	struct rsk_chunk *chunk;

	if (sk->tx.chunk)
		return 0;
	rsk_unlock(&sk->lock);
	chunk = rsk_pool_borrow(sk->qp.dev, sk->tx.ring.size);
	rsk_lock(&sk->lock);
	if (!chunk) {
		rsk_sock_explain(sk, errno, "send: no memory to send from: is the memory-lock limit "
				 "(ulimit -l) too low?");
		return -ENOMEM;
	}
	sk->tx.chunk = chunk;
	return 0;
}

/* A completion frees the ring up to its message: enough of them must be asked for that a full ring
 * always has one to wait for. */
static bool must_signal(struct rsk_tx *tx)
{
	return tx->ring.head - tx->ring_signalled >= tx->ring.size / 4 ||
	       (int32_t)(tx->ring.tail - tx->ring_signalled) >= 0;
}

/* Waits for room; see take_room(). Out of line, as nearly no call comes here. */
static __attribute__((noinline)) int64_t wait_for_room(struct rsk_sock *sk, enum purpose purpose,
						       uint32_t want, int flags, int64_t *deadline)
{
	bool (*look)(struct rsk_sock *) = purpose == MESSAGE ? can_send : can_write;
	bool nonblock = rsk_sock_nonblocking(sk, flags), looked = false;
	uint32_t room;
	int ret;

	for (;;) {
		ret = rsk_stream_check_send(sk);
		if (!ret) {
			room = room_for(sk, purpose, want);
			if (room) {
				rsk_sock_answered(sk, POLLOUT, flags);
				return room;
			}
			ret = -EAGAIN;
		}
		if (ret != -EAGAIN)
			break;
		if (nonblock) {
			if (looked || !rsk_sock_poll(sk, POLLOUT, RSK_LOOK_AND_ARM_LAZILY))
				break;
			looked = true;
			continue;
		}
		if (sk->options.user_timeout)
			rsk_keepalive_sent(sk);
		if (!*deadline)
			*deadline = rsk_deadline(&sk->options.sndtimeo);
		ret = look(sk) ? 0 : rsk_sock_wait(sk, look, true, *deadline);
		if (ret)
			break;
	}
	if (ret != -EAGAIN)
		rsk_sock_answered(sk, POLLOUT, flags);
	rsk_unlock(&sk->lock);
	return ret;
}

/* Waits until there is room for at least a byte of @want; returns for how many, with the state lock held,
 * or -errno without. *deadline is set by the first wait of a call. */
static inline int64_t take_room(struct rsk_sock *sk, enum purpose purpose, uint32_t want, int flags,
				int64_t *deadline)
{
	uint32_t room;

	rsk_lock(&sk->lock);
	room = is_open(sk) ? room_for(sk, purpose, want) : 0;
	/* Not yet is anybody answered: others who were told that there is no room still wait for it. */
	if (!room)
		return wait_for_room(sk, purpose, want, flags, deadline);
	rsk_sock_answered(sk, POLLOUT, flags);
	return room;
}

static inline int post_data(struct rsk_sock *sk, enum purpose purpose, const void *bytes,
			    const struct rsk_entry *to)
{
	struct ibv_sge sge = { (uintptr_t)bytes, to->length, 0 };

	if (purpose == DIRECT_WRITE)
		return rsk_qp_write_silently(&sk->qp, &sge, 1, to, RSK_POST_INLINE);
	return rsk_qp_write(&sk->qp, &sge, 1, to, rsk_wire_msg(WIRE_OP_DATA, to->length), RSK_POST_INLINE);
}

/* Pieces of several buffers are put together first. */
static __attribute__((noinline)) int send_gathered(struct rsk_sock *sk, enum purpose purpose,
						   struct rsk_cursor *from, const struct rsk_entry *to)
{
	uint8_t buffer[INLINE_BUFFER];

	rsk_cursor_gather(from, buffer, to->length);
	return post_data(sk, purpose, buffer, to);
}

/* Small messages go straight from the caller's memory. State lock held on entry, not on return. */
static inline int send_inline(struct rsk_sock *sk, enum purpose purpose, struct rsk_cursor *from,
			      const struct rsk_entry *to)
{
	struct iovec piece = rsk_cursor_piece(from);

	rsk_unlock(&sk->lock);
	if (piece.iov_len < to->length)
		return send_gathered(sk, purpose, from, to);
	rsk_cursor_skip(from, to->length);
	return post_data(sk, purpose, piece.iov_base, to);
}

/* Larger ones are copied into the send ring. State lock held on entry, not on return. */
static __attribute__((noinline)) int send_copied(struct rsk_sock *sk, enum purpose purpose,
						 struct rsk_cursor *from, const struct rsk_entry *to)
{
	struct rsk_tx *tx = &sk->tx;
	struct rsk_span span = rsk_ring_take(&tx->ring, to->length);
	const struct rsk_mem *mem = &tx->chunk->mem;
	struct ibv_sge sge[2];
	unsigned flags = 0;

	if (must_signal(tx)) {
		flags = RSK_POST_SIGNALLED;
		tx->ring_signalled = tx->ring.head;
	}
	rsk_unlock(&sk->lock);
	for (int i = 0; i < span.pieces; i++) {
		uint8_t *at = mem->addr + span.offset[i];

		rsk_cursor_gather(from, at, span.len[i]);
		sge[i] = (struct ibv_sge){ (uintptr_t)at, span.len[i], mem->mr->lkey };
	}
	if (purpose == DIRECT_WRITE)
		return rsk_qp_write_silently(&sk->qp, sge, span.pieces, to, flags);
	return rsk_qp_write(&sk->qp, sge, span.pieces, to, rsk_wire_msg(WIRE_OP_DATA, to->length), flags);
}

/* What was taken for a message cannot be given back, as the peer counts on it: the connection is lost. */
static __attribute__((noinline)) int post_failed(struct rsk_sock *sk, struct rsk_cursor *from, int64_t len,
						 int err)
{
	int ret;

	from->done -= (size_t)len;
	rsk_lock(&sk->lock);
	rsk_stream_post_failed(sk, err, "a send");
	ret = why_not(sk);
	rsk_unlock(&sk->lock);
	return ret;
}

/* How much of it the next piece may be. */
static inline uint32_t piece_of(const struct rsk_cursor *from, uint32_t max)
{
	size_t left = rsk_cursor_left(from);

	return left < max ? (uint32_t)left : max;
}

/* Sends a message of @len bytes, for which there is room. State lock held on entry, not on return. */
static inline int send_message(struct rsk_sock *sk, struct rsk_cursor *from, int64_t len)
{
	struct rsk_entry to;
	int ret;

	if (fits_inline(sk, (uint32_t)len)) {
		to = rsk_tx_credit_take(&sk->tx.credit, (uint32_t)len);
		ret = send_inline(sk, MESSAGE, from, &to);
	} else {
		ret = borrow_ring(sk);
		if (ret) {
			rsk_unlock(&sk->lock);
			return ret;
		}
		to = rsk_tx_credit_take(&sk->tx.credit, (uint32_t)len);
		ret = send_copied(sk, MESSAGE, from, &to);
	}
	return ret ? post_failed(sk, from, len, -ret) : 0;
}

/* Sends it all. Few large messages cost the least, but while the first is copied the wire is idle: it is small,
 * and each next one twice as large. Not so with what the peer should see as one record: see hold.h. */
static inline int send_all(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline)
{
	uint32_t max = from->total < RSK_HOLD_MAX ? RSK_HOLD_MAX : FIRST_MESSAGE;
	int64_t len;
	int ret;

	while (from->done != from->total) {
		len = take_room(sk, MESSAGE, piece_of(from, max), flags, deadline);
		if (len < 0)
			return (int)len;
		ret = send_message(sk, from, len);
		if (ret)
			return ret;
		if (max < WIRE_DATA_MAX)
			max *= 2;
	}
	return 0;
}

int rsk_stream_send_all(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline)
{
	return send_all(sk, from, flags, deadline);
}

int rsk_stream_await_room(struct rsk_sock *sk, int flags, int64_t *deadline)
{
	int64_t room = take_room(sk, MESSAGE, 1, flags, deadline);

	if (room < 0)
		return (int)room;
	rsk_unlock(&sk->lock);
	return 0;
}

/* How much can be sent now, though the application may have shut down or closed. With the state lock held, or
 * -errno without. */
static int64_t take_room_now(struct rsk_sock *sk, uint32_t want)
{
	bool over;
	uint32_t room;

	rsk_lock(&sk->lock);
	rsk_stream_progress(sk);
	over = sk->state != RSK_CONNECTED || sk->left_by_peer;
	room = over ? 0 : rsk_tx_room(sk, want);
	if (room)
		return room;
	rsk_unlock(&sk->lock);
	return over ? -EPIPE : -EAGAIN;
}

int rsk_stream_send_now(struct rsk_sock *sk, struct rsk_cursor *from)
{
	int64_t len;
	int ret;

	while (from->done != from->total) {
		len = take_room_now(sk, piece_of(from, WIRE_DATA_MAX));
		if (len < 0)
			return (int)len;
		ret = send_message(sk, from, len);
		if (ret)
			return ret;
	}
	return 0;
}

/* TCP_USER_TIMEOUT: from now on the peer must confirm what was sent. */
static __attribute__((noinline)) void watch_sent(struct rsk_sock *sk)
{
	rsk_lock(&sk->lock);
	rsk_keepalive_sent(sk);
	rsk_unlock(&sk->lock);
}

/* The end of a call that has sent. */
static inline ssize_t finish(struct rsk_sock *sk, const struct rsk_cursor *from, int ret)
{
	if (__atomic_load_n(&sk->options.user_timeout, __ATOMIC_RELAXED))
		watch_sent(sk);
	rsk_sock_give_turn(sk, &sk->tx.lock);
	return from->done ? (ssize_t)from->done : rsk_sock_report(sk, ret);
}

/* Must this send look at cork.h? */
static inline bool joins(const struct rsk_sock *sk, int flags)
{
	flags |= __atomic_load_n(&sk->tx.joins, __ATOMIC_RELAXED);
	return __builtin_expect(flags & MSG_MORE, 0);
}

ssize_t rsk_stream_send(struct rsk_sock *sk, struct rsk_cursor *from, int flags)
{
	int64_t deadline = 0;
	int ret;

	ret = rsk_sock_take_turn(sk, &sk->tx.lock, flags, &deadline);
	if (ret)
		return ret;
	if (joins(sk, flags))
		ret = rsk_cork_join(sk, from, flags, &deadline);
	if (!ret)
		ret = send_all(sk, from, flags, &deadline);
	return finish(sk, from, ret);
}

/* Writes a piece of at most @max bytes to the mapping at @offset. 0 or -errno. */
static int write_piece(struct rsk_sock *sk, struct rsk_cursor *from, uint32_t max, uint64_t offset,
		       int flags, int64_t *deadline)
{
	int64_t len = take_room(sk, DIRECT_WRITE, piece_of(from, max), flags, deadline);
	struct rsk_entry to;
	bool small;
	int ret;

	if (len < 0)
		return (int)len;
	small = fits_inline(sk, (uint32_t)len);
	ret = small ? 0 : borrow_ring(sk);
	/* Last, as the ring may be borrowed without the lock, and mappings go. */
	if (!ret)
		ret = rsk_maps_find(sk, offset, (uint32_t)len, &to);
	if (ret) {
		rsk_unlock(&sk->lock);
		return ret;
	}
	ret = small ? send_inline(sk, DIRECT_WRITE, from, &to) :
		      send_copied(sk, DIRECT_WRITE, from, &to);
	return ret ? post_failed(sk, from, len, -ret) : 0;
}

ssize_t rsk_stream_write(struct rsk_sock *sk, struct rsk_cursor *from, uint64_t offset, int flags)
{
	uint32_t max = FIRST_MESSAGE;
	int64_t deadline = 0;
	int ret;

	ret = rsk_sock_take_turn(sk, &sk->tx.lock, flags, &deadline);
	if (ret)
		return ret;
	/* What was sent before arrives before. */
	ret = rsk_cork_send(sk, flags, &deadline);
	while (!ret && from->done != from->total) {
		ret = write_piece(sk, from, max, offset + from->done, flags, &deadline);
		if (max < WIRE_DATA_MAX)
			max *= 2;
	}
	return finish(sk, from, ret);
}
