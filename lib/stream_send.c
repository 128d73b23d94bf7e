/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sending: see stream.h. A call holds tx.lock from its first byte to its last. For each message it
 * takes room, credit and target under the state lock, copies without it, and posts.
 */
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "iov.h"
#include "sock.h"

enum {
	INLINE_BUFFER = 512,         /* small pieces from several buffers are put together here */
};

/* One message: how much, where to, and from which part of the ring. */
struct message {
	uint32_t len;
	struct rsk_entry to;
	struct rsk_span span;
	bool is_inline;
	unsigned flags;
};

/* Can this socket send at all? 0, -EAGAIN: not yet, or the errno of the call. State lock held. */
static int check_state(struct rsk_sock *sk)
{
	int err;

	if (sk->closed)
		return -ECONNABORTED;
	switch (sk->state) {
	case RSK_CONNECTED:
		return sk->shut_wr || sk->left_by_peer ? -EPIPE : 0;
	case RSK_ENDED:
		return -EPIPE;
	case RSK_FAILED:
		err = sk->pending_error ? sk->pending_error : EPIPE;
		sk->pending_error = 0;
		return -err;
	case RSK_IDLE:
	case RSK_LISTENING:
		return -ENOTCONN;
	default:
		return -EAGAIN;
	}
}

static bool can_send(struct rsk_sock *sk)
{
	rsk_stream_progress(sk);
	switch (sk->state) {
	case RSK_CONNECTED:
		return sk->closed || sk->shut_wr || sk->left_by_peer || rsk_stream_writable(sk);
	case RSK_RESOLVE_ADDR:
	case RSK_RESOLVE_ROUTE:
	case RSK_CONNECTING:
		return sk->closed;
	default:
		return true;
	}
}

static bool fits_inline(const struct rsk_sock *sk, uint32_t len)
{
	return len <= sk->qp.max_inline && len <= INLINE_BUFFER;
}

/* The ring's memory is borrowed by the first message that needs it. State lock held, but not while
 * memory is being registered; only the holder of tx.lock comes here. */
static int borrow_ring(struct rsk_sock *sk)
{
	struct rsk_chunk *chunk;

	if (sk->tx.chunk)
		return 0;
	pthread_mutex_unlock(&sk->lock);
	chunk = rsk_pool_borrow(sk->qp.dev, sk->tx.ring.size);
	pthread_mutex_lock(&sk->lock);
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

/* Reserves what a message of at most @want bytes needs. 0, or -EAGAIN: nothing to be had now. */
static int reserve(struct rsk_sock *sk, uint32_t want, struct message *msg)
{
	struct rsk_tx *tx = &sk->tx;
	int ret;

	msg->len = rsk_stream_room(sk, want);
	if (!msg->len)
		return -EAGAIN;
	msg->is_inline = fits_inline(sk, msg->len);
	msg->flags = RSK_POST_INLINE;
	if (!msg->is_inline) {
		ret = borrow_ring(sk);
		if (ret)
			return ret;
		msg->span = rsk_ring_take(&tx->ring, msg->len);
		msg->flags = 0;
		if (must_signal(tx)) {
			msg->flags = RSK_POST_SIGNALLED;
			tx->ring_signalled = tx->ring.head;
		}
	}
	msg->to = rsk_tx_credit_take(&tx->credit, msg->len);
	return 0;
}

/* Waits until there is something to reserve. *deadline is set by the first wait of a call. */
static int take_room(struct rsk_sock *sk, size_t left, bool nonblock, int64_t *deadline,
		     struct message *msg)
{
	uint32_t want = left < WIRE_DATA_MAX ? (uint32_t)left : WIRE_DATA_MAX;
	int ret;

	pthread_mutex_lock(&sk->lock);
	for (;;) {
		ret = check_state(sk);
		if (!ret) {
			ret = reserve(sk, want, msg);
			if (ret == -EAGAIN) {
				rsk_stream_progress(sk);
				ret = check_state(sk);
				if (!ret)
					ret = reserve(sk, want, msg);
			}
		}
		if (ret != -EAGAIN)
			break;
		if (nonblock) {
			if (!rsk_sock_poll(sk, POLLOUT, RSK_LOOK_AND_ARM_LAZILY))
				break;
			continue;
		}
		if (!*deadline)
			*deadline = rsk_deadline(&sk->options.sndtimeo);
		ret = rsk_sock_wait(sk, can_send, true, *deadline);
		if (ret)
			break;
	}
	pthread_mutex_unlock(&sk->lock);
	return ret;
}

static int post_inline(struct rsk_sock *sk, struct rsk_cursor *from, const struct message *msg)
{
	struct iovec piece = rsk_cursor_piece(from);
	uint8_t buffer[INLINE_BUFFER];
	struct ibv_sge sge = { .length = msg->len };

	if (piece.iov_len >= msg->len) {
		sge.addr = (uintptr_t)piece.iov_base;
		rsk_cursor_skip(from, msg->len);
	} else {
		sge.addr = (uintptr_t)buffer;
		rsk_cursor_gather(from, buffer, msg->len);
	}
	return rsk_qp_write(&sk->qp, &sge, 1, &msg->to, rsk_wire_msg(WIRE_OP_DATA, msg->len),
			    msg->flags, 0);
}

static int post_copied(struct rsk_sock *sk, struct rsk_cursor *from, const struct message *msg)
{
	const struct rsk_mem *mem = &sk->tx.chunk->mem;
	struct ibv_sge sge[2];

	for (int i = 0; i < msg->span.pieces; i++) {
		uint8_t *to = mem->addr + msg->span.offset[i];

		rsk_cursor_gather(from, to, msg->span.len[i]);
		sge[i] = (struct ibv_sge){ (uintptr_t)to, msg->span.len[i], mem->mr->lkey };
	}
	return rsk_qp_write(&sk->qp, sge, msg->span.pieces, &msg->to,
			    rsk_wire_msg(WIRE_OP_DATA, msg->len), msg->flags, msg->len);
}

static int post(struct rsk_sock *sk, struct rsk_cursor *from, const struct message *msg)
{
	int ret = msg->is_inline ? post_inline(sk, from, msg) : post_copied(sk, from, msg);

	if (!ret)
		return 0;
	/* What was reserved cannot be given back: the peer counts on it. */
	pthread_mutex_lock(&sk->lock);
	rsk_sock_fail(sk, -ret, "cannot post a send: %s", strerror(-ret));
	ret = check_state(sk);
	pthread_mutex_unlock(&sk->lock);
	return ret;
}

ssize_t rsk_stream_send(struct rsk_sock *sk, const struct iovec *iov, int iovcnt, int flags)
{
	struct rsk_cursor from = rsk_cursor(iov, iovcnt);
	bool nonblock = flags & MSG_DONTWAIT || atomic_load(&sk->nonblock);
	size_t total = from.left;
	int64_t deadline = 0;
	struct message msg;
	size_t sent = 0;
	int ret = 0;

	pthread_mutex_lock(&sk->tx.lock);
	while (sent < total) {
		ret = take_room(sk, total - sent, nonblock, &deadline, &msg);
		if (!ret)
			ret = post(sk, &from, &msg);
		if (ret)
			break;
		sent += msg.len;
	}
	pthread_mutex_unlock(&sk->tx.lock);
	return sent ? (ssize_t)sent : ret;
}
