/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What both directions of a stream need: see stream.h. */
#include "stream.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "progress.h"
#include "sock.h"

enum {
	/* First receive segments: they are replaced by larger ones when used up. An idle connection
	 * has two of these registered, and its target list. */
	SEGMENT_FIRST = 16 << 10,
	LIST_SIZE = RSK_SEGMENTS * WIRE_ENTRY_SIZE,
	/* Room for what is on its way to the peer's list, where the device has no inline sends: an
	 * entry or a mapping for each control message. */
	OUT_SIZE = RSK_QP_CTRL * WIRE_MAPPING_SIZE,
};

/* Setting up and tearing down */

static uint32_t first_segment(const struct rsk_options *options)
{
	return options->rcvbuf ? (uint32_t)options->rcvbuf / RSK_SEGMENTS : SEGMENT_FIRST;
}

/* The list's entries, the table of mappings, which must follow them, and what goes out. */
static int make_list(struct rsk_sock *sk, unsigned mappings)
{
	struct rsk_rx *rx = &sk->rx;
	size_t out = LIST_SIZE + (size_t)mappings * WIRE_MAPPING_SIZE;
	int ret = rsk_maps_setup(sk, mappings);

	if (!ret)
		ret = rsk_mem_alloc(&rx->list, sk->qp.dev, out + OUT_SIZE, true);
	if (!ret) {
		rx->mappings = rx->list.addr + LIST_SIZE;
		rx->out = rx->list.addr + out;
	}
	return ret;
}

static void limit_hold(struct rsk_work *work);

int rsk_stream_setup(struct rsk_sock *sk, struct ibv_context *verbs, struct ibv_qp_init_attr *attr)
{
	const struct rsk_options *options = &sk->options;
	struct rsk_device *dev = rsk_device_get(verbs);
	int ret;

	if (!dev)
		return -ENOMEM;
	ret = rsk_qp_prepare(&sk->qp, dev, (uint16_t)options->sq_size, (uint16_t)options->rq_size,
			     (uint32_t)options->inline_size, attr);
	if (ret)
		return ret;
	ret = make_list(sk, (unsigned)options->iomap_size);
	for (int i = 0; i < RSK_SEGMENTS && !ret; i++)
		ret = rsk_mem_alloc(&sk->rx.segment[i], dev, first_segment(options), true);
	sk->hold_work.fn = limit_hold;
	rsk_lock(&sk->lock);
	if (!ret && sk->ready.fd >= 0)
		ret = rsk_ready_add(&sk->ready, sk->qp.channel->fd);
	rsk_unlock(&sk->lock);
	return ret;
}

int rsk_stream_attach(struct rsk_sock *sk, struct ibv_qp *qp, uint32_t max_inline,
		      struct rsk_hello *hello)
{
	struct rsk_mem *first = &sk->rx.segment[0];
	uint32_t ring_size = 4096;
	uint16_t credits;
	int ret;

	ret = rsk_qp_attach(&sk->qp, qp, max_inline);
	if (ret)
		return ret;

	credits = (uint16_t)(sk->qp.rq_size - RSK_QP_SPARE_RECVS);
	while (ring_size < (uint32_t)sk->options.sndbuf)
		ring_size *= 2;
	/* Others may be looking at a socket that connects. */
	rsk_lock(&sk->lock);
	rsk_rx_credit_init(&sk->rx.credit, credits, (uint32_t)first->len);
	sk->rx.ready = RSK_SEGMENTS;
	sk->rx.place = (struct rsk_place){ 0, (uint32_t)first->len, first->addr };
	/* The first segment goes with the private data; the peer writes the next to entry 1. */
	sk->rx.list_index = 1;
	sk->tx.ring = (struct rsk_ring){ .size = ring_size };
	rsk_unlock(&sk->lock);

	*hello = (struct rsk_hello){
		.big_endian = rsk_wire_host_big_endian(),
		.iomap = true,
		.iomap_size = sk->maps.room,
		.credits = credits,
		.target_list = { (uintptr_t)sk->rx.list.addr, sk->rx.list.mr->rkey, RSK_SEGMENTS },
		.segment = { (uintptr_t)first->addr, first->mr->rkey, (uint32_t)first->len },
	};
	return 0;
}

void rsk_stream_destroy(struct rsk_sock *sk)
{
	rsk_io_stop(&sk->channel_io);
	rsk_timer_stop(&sk->hold_limit);
	rsk_keepalive_stop(&sk->keepalive);
	rsk_cork_stop(&sk->cork);
	if (sk->tx.chunk)
		rsk_pool_return(sk->qp.dev, sk->tx.chunk);
	sk->tx.chunk = NULL;
	for (int i = 0; i < RSK_SEGMENTS; i++)
		rsk_mem_free(&sk->rx.segment[i]);
	rsk_mem_free(&sk->rx.list);
	rsk_maps_destroy(sk);
	if (sk->qp.channel)
		rsk_ready_remove(&sk->ready, sk->qp.channel->fd);
	rsk_qp_destroy(&sk->qp);
}

void rsk_stream_open(struct rsk_sock *sk, const struct rsk_hello *peer)
{
	struct rsk_tx *tx = &sk->tx;

	rsk_tx_credit_init(&tx->credit, peer->credits, &peer->segment);
	tx->peer_list = peer->target_list;
	tx->peer_index = 1 % peer->target_list.length;
	tx->swap = peer->big_endian != rsk_wire_host_big_endian();
	sk->maps.peer_room = peer->iomap_size;
	rsk_qp_set_rnr_timer(&sk->qp);
	sk->state = RSK_CONNECTED;
	sk->opened = true;
	sk->error_text[0] = '\0';    /* of an earlier attempt */
	/* On failure the channel blocks, which costs non-blocking calls a system call, no more. */
	(void)rsk_sock_set_nonblock(sk, atomic_load(&sk->nonblock));
	rsk_stream_send_control(sk);
	rsk_keepalive_restart(sk);
	rsk_cork_open(sk);
}

/* On iWARP segments and credits for the peer wait until it has begun. It may need them before the application
 * looks at this socket, so the engine looks. Events it leaves for others. */

static bool await_peer(struct rsk_sock *sk)
{
	bool waits;

	rsk_lock(&sk->lock);
	do {
		rsk_stream_progress(sk);
		waits = sk->state == RSK_CONNECTED && !rsk_qp_may_begin(&sk->qp);
	} while (waits && rsk_sock_arm(sk, false));
	if (!waits)
		rsk_sock_tell_followers(sk);
	rsk_unlock(&sk->lock);
	return waits;
}

static void look_for_peer(struct rsk_io *io)
{
	if (!await_peer((struct rsk_sock *)((char *)io - offsetof(struct rsk_sock, channel_io))))
		rsk_io_stop(io);
}

void rsk_stream_await_peer(struct rsk_sock *sk)
{
	if (!rsk_qp_may_begin(&sk->qp) && await_peer(sk))
		rsk_io_start(&sk->channel_io, sk->qp.channel->fd, look_for_peer);
}

/* Control messages */

/* Control messages cost no credit, only an entry of the send queue; some are kept for them. */
bool rsk_stream_can_control(const struct rsk_sock *sk)
{
	return sk->qp.ctrl_in_flight < RSK_QP_CTRL;
}

static int take_messages(struct rsk_sock *sk);

/* What arrived before a failure is not lost with it. No receives are posted meanwhile, so this ends. */
static void take_what_arrived(struct rsk_sock *sk)
{
	while (take_messages(sk))
		;
}

void rsk_stream_post_failed(struct rsk_sock *sk, int err, const char *what)
{
	take_what_arrived(sk);
	rsk_sock_fail(sk, err, "cannot post %s: %s", what, strerror(err));
	/* If the peer has ended the stream, nothing failed, but there is something to be seen. */
	rsk_sock_wake(sk);
}

static void sent(struct rsk_sock *sk, int ret, const char *what)
{
	if (ret)
		rsk_stream_post_failed(sk, -ret, what);
}

/* Round and round: what went out so many control messages ago has arrived. */
uint8_t *rsk_stream_out_slot(struct rsk_sock *sk)
{
	return sk->rx.out + sk->tx.out_slot++ % RSK_QP_CTRL * WIRE_MAPPING_SIZE;
}

void rsk_stream_write_list(struct rsk_sock *sk, uint64_t at, const uint8_t *bytes, uint32_t len,
			   uint32_t msg, const char *what)
{
	struct rsk_entry to = { sk->tx.peer_list.addr + at, sk->tx.peer_list.key, len };
	struct ibv_sge sge = { (uintptr_t)bytes, len, sk->rx.list.mr->lkey };
	unsigned flags = sk->qp.max_inline >= len ? RSK_POST_INLINE : 0;

	sent(sk, rsk_qp_write_ctrl(&sk->qp, &sge, 1, &to, msg, flags), what);
}

static void send_segment(struct rsk_sock *sk)
{
	struct rsk_rx *rx = &sk->rx;
	struct rsk_tx *tx = &sk->tx;
	struct rsk_mem *mem = &rx->segment[rx->credit.advertised % RSK_SEGMENTS];
	struct rsk_entry entry = { (uintptr_t)mem->addr, mem->mr->rkey, (uint32_t)mem->len };
	uint32_t at = WIRE_ENTRY_SIZE * tx->peer_index;
	uint8_t *bytes = rsk_stream_out_slot(sk);

	rsk_rx_credit_advertise(&rx->credit, entry.length);
	rsk_wire_put_entry(bytes, &entry, tx->swap);
	tx->peer_index = (tx->peer_index + 1) % tx->peer_list.length;
	rsk_stream_write_list(sk, at, bytes, WIRE_ENTRY_SIZE,
			      rsk_wire_msg(WIRE_OP_SGL, rsk_rx_credit_grant(&rx->credit)), "a segment");
}

static void send_bare(struct rsk_sock *sk, uint32_t msg, const char *what)
{
	static const struct rsk_entry nowhere;

	sent(sk, rsk_qp_write_ctrl(&sk->qp, NULL, 0, &nowhere, msg, 0), what);
}

static void send_end(struct rsk_sock *sk)
{
	/* With both directions ended, the connection is; else only this one. */
	enum rsk_wire_ctrl end = sk->shut_rd || sk->shut_by_peer ? WIRE_CTRL_DISCONNECT :
								   WIRE_CTRL_SHUTDOWN;

	sk->tx.due &= ~RSK_DUE_END;
	sk->tx.end_sent = true;
	if (end == WIRE_CTRL_DISCONNECT || sk->shut_by_peer)
		sk->state = RSK_ENDED;
	send_bare(sk, rsk_wire_msg(WIRE_OP_CTRL, end), "the end of the stream");
}

static bool segment_due(const struct rsk_sock *sk)
{
	return sk->rx.credit.advertised != sk->rx.ready && !sk->shut_by_peer;
}

static inline bool control_due(const struct rsk_sock *sk)
{
	return segment_due(sk) || rsk_rx_credit_due(&sk->rx.credit) || sk->tx.due;
}

static void send_credits(struct rsk_sock *sk)
{
	sk->tx.due &= ~RSK_DUE_CREDITS;
	send_bare(sk, rsk_wire_msg(WIRE_OP_SGL, rsk_rx_credit_grant(&sk->rx.credit)), "credits");
}

bool rsk_stream_control_waits(const struct rsk_sock *sk)
{
	return sk->state == RSK_CONNECTED && !rsk_stream_can_control(sk) && control_due(sk);
}

void rsk_stream_send_control(struct rsk_sock *sk)
{
	while (sk->state == RSK_CONNECTED && !sk->left_by_peer && rsk_stream_can_control(sk)) {
		if (segment_due(sk))
			send_segment(sk);
		else if (rsk_rx_credit_due(&sk->rx.credit) || sk->tx.due & RSK_DUE_CREDITS)
			send_credits(sk);
		else if (sk->tx.due & RSK_DUE_MAPS && rsk_maps_tell_end(sk))
			continue;
		else if (sk->tx.due & RSK_DUE_END && !sk->cork.held)
			send_end(sk);
		else
			break;
	}
	if (sk->tx.due & RSK_DUE_HELD)
		rsk_cork_retry(sk);
}

/* Messages from the peer: one handler for each operation */

static inline int on_data(struct rsk_sock *sk, uint32_t len)
{
	int ret = rsk_rx_credit_message(&sk->rx.credit);

	if (!ret)
		ret = rsk_rx_credit_data(&sk->rx.credit, len);
	/* A message that is refused changes nothing: what was shown stays shown. */
	if (!ret)
		rsk_hold_message(&sk->rx.hold, len, !sk->rx.credit.filled);
	return ret;
}

/* An entry is complete once its length is there: the peer writes key and length as the later part of
 * one 16-byte write, and rewrites it only after we used up the segment and freed another. */
static int take_entries(struct rsk_sock *sk)
{
	for (;;) {
		uint8_t *bytes = sk->rx.list.addr + sk->rx.list_index * WIRE_ENTRY_SIZE;
		uint64_t *words = (uint64_t *)bytes;
		uint64_t last = __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);
		struct rsk_entry entry;
		int ret;

		memcpy(&entry.key, &last, 4);
		memcpy(&entry.length, (char *)&last + 4, 4);
		if (!entry.length)
			return 0;
		entry.addr = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
		ret = rsk_tx_credit_segment(&sk->tx.credit, &entry);
		if (ret)
			return ret;
		__atomic_store_n(&words[1], 0, __ATOMIC_RELAXED);
		sk->rx.list_index = (sk->rx.list_index + 1) % RSK_SEGMENTS;
	}
}

static int on_sgl(struct rsk_sock *sk, uint32_t operand)
{
	int ret = rsk_tx_credit_update(&sk->tx.credit, operand);

	return ret ? ret : take_entries(sk);
}

static void end_of_stream(struct rsk_sock *sk)
{
	if (sk->shut_by_peer)
		return;
	/* Data that a careless peer sends behind its end is counted, and never shown. */
	sk->rx.end = sk->rx.credit.arrived;
	sk->shut_by_peer = true;
}

static int on_ctrl(struct rsk_sock *sk, uint32_t operand)
{
	if (operand != WIRE_CTRL_DISCONNECT && operand != WIRE_CTRL_SHUTDOWN)
		return 0;            /* a later version's: nothing that must be understood */
	end_of_stream(sk);
	if (operand == WIRE_CTRL_DISCONNECT)
		sk->left_by_peer = true;
	if (sk->state == RSK_CONNECTED && (sk->left_by_peer || sk->tx.end_sent))
		sk->state = RSK_ENDED;
	return 0;
}

/* Its credit goes back at once: a peer that waits for it may send nothing else. */
static int on_iomap(struct rsk_sock *sk, uint32_t index)
{
	int ret = rsk_rx_credit_message(&sk->rx.credit);

	sk->tx.due |= RSK_DUE_CREDITS;
	return ret ? ret : rsk_maps_told(sk, index);
}

static int on_anything_else(struct rsk_sock *sk, uint32_t operand)
{
	(void)sk, (void)operand;
	return -EPROTO;              /* reserved */
}

static int (*const handlers[8])(struct rsk_sock *, uint32_t) = {
	[WIRE_OP_DATA] = on_data,
	[1] = on_anything_else,
	[WIRE_OP_WRITE] = on_anything_else,
	[3] = on_anything_else,
	[WIRE_OP_SGL] = on_sgl,
	[5] = on_anything_else,
	[WIRE_OP_IOMAP_SGL] = on_iomap,
	[WIRE_OP_CTRL] = on_ctrl,
};

static void take_message(struct rsk_sock *sk, uint32_t msg)
{
	enum rsk_wire_op op = rsk_wire_op(msg);
	/* Nearly all are data: spare them the indirect call. */
	int ret = op == WIRE_OP_DATA ? on_data(sk, rsk_wire_value(msg)) :
				       handlers[op](sk, rsk_wire_value(msg));

	if (ret)
		rsk_sock_fail(sk, -ret, "the peer broke the protocol: message %#010x", msg);
}

/* Returns how many completions there were. */
static inline int take_messages(struct rsk_sock *sk)
{
	struct ibv_wc wc[RSK_QP_BATCH];
	int count = rsk_qp_poll_rx(&sk->qp, wc);
	uint32_t msg;

	for (int i = 0; i < count && sk->state != RSK_FAILED; i++) {
		if (rsk_qp_message(&sk->qp, &wc[i], &msg))
			take_message(sk, msg);
	}
	return count;
}

/* Holding back the first part of a record: see hold.h. On the engine thread but for the last. */

static void hold_too_long(struct rsk_timer *timer)
{
	struct rsk_sock *sk = (struct rsk_sock *)((char *)timer - offsetof(struct rsk_sock, hold_limit));

	rsk_lock(&sk->lock);
	rsk_stream_progress(sk);
	if (sk->rx.hold.bytes && sk->rx.hold_timed == sk->rx.credit.arrived) {
		rsk_log(RSK_LOG_DEBUG, "fd %d: the rest of a record did not come within %d ms", sk->ready.fd,
			rsk_hold_ms(&sk->rx.hold));
		rsk_hold_give_up(&sk->rx.hold);
		rsk_sock_wake(sk);
	}
	rsk_unlock(&sk->lock);
}

static void limit_hold(struct rsk_work *work)
{
	struct rsk_sock *sk = (struct rsk_sock *)((char *)work - offsetof(struct rsk_sock, hold_work));
	int ms;

	rsk_lock(&sk->lock);
	ms = rsk_hold_ms(&sk->rx.hold);
	rsk_unlock(&sk->lock);
	if (sk->qp.channel)
		rsk_timer_start(&sk->hold_limit, ms, hold_too_long);
	rsk_sock_unref(sk);
}

/* The rest is right behind it, as a rule: only if not, a limit is set. */
static __attribute__((noinline)) void wait_for_rest(struct rsk_sock *sk)
{
	int64_t until = rsk_now() + rsk_spin_ns();

	if (sk->rx.hold_timed == sk->rx.credit.arrived)
		return;
	do {
		take_messages(sk);
		if (!sk->rx.hold.bytes)
			return;
	} while (rsk_now() < until);
	sk->rx.hold_timed = sk->rx.credit.arrived;
	rsk_sock_ref(sk);
	if (!rsk_progress_post(&sk->hold_work))
		rsk_sock_unref(sk);
}

static __attribute__((noinline)) void check_failure(struct rsk_sock *sk)
{
	struct rsk_qp *qp = &sk->qp;

	take_what_arrived(sk);
	if (qp->error == -EPROTO)
		rsk_sock_fail(sk, EPROTO, "the peer sent something that is no message");
	else if (qp->error)
		rsk_sock_fail(sk, -qp->error, qp->error == -ETIMEDOUT ? "the peer no longer answers" :
			      qp->error == -ECONNRESET ? "the peer refused a transfer or broke off" :
							 "a transfer failed");
	else if (qp->flushed && sk->state == RSK_CONNECTED)
		rsk_sock_fail(sk, ECONNRESET, "the connection was lost");
}

void rsk_stream_progress(struct rsk_sock *sk)
{
	uint32_t tail;

	if (sk->state != RSK_CONNECTED && sk->state != RSK_ENDED)
		return;
	while (take_messages(sk) == RSK_QP_BATCH)
		;
	if (sk->rx.hold.bytes)
		wait_for_rest(sk);
	/* A QP that has failed says why where it failed, also if no completion was asked for. */
	if (rsk_qp_completion_due(&sk->qp) || sk->qp.flushed) {
		while (rsk_qp_poll_tx(&sk->qp, &tail))
			rsk_ring_release(&sk->tx.ring, tail);
	}
	if (sk->qp.error || sk->qp.flushed)
		check_failure(sk);
	/* Receives first: the credits promise that they are there. */
	if (rsk_qp_refill_due(&sk->qp) && sk->state == RSK_CONNECTED)
		sent(sk, rsk_qp_refill(&sk->qp), "receives");
	if (control_due(sk))
		rsk_stream_send_control(sk);
	if (sk->observers)
		rsk_sock_tell(sk, false);
}

/* Questions and the end */

void rsk_stream_rest(struct rsk_sock *sk)
{
	if (sk->tx.chunk && !rsk_ring_used(&sk->tx.ring)) {
		/* The sender filled it without the state lock: its writes come before its next owner's. */
		atomic_load_explicit(&sk->qp.posted, memory_order_acquire);
		rsk_pool_return(sk->qp.dev, sk->tx.chunk);
		sk->tx.chunk = NULL;
	}
}

bool rsk_stream_writable(struct rsk_sock *sk)
{
	return rsk_tx_room(sk, RSK_SEND_USEFUL) > 0;
}

void rsk_stream_shutdown(struct rsk_sock *sk, int how)
{
	bool ends;

	rsk_lock(&sk->lock);
	if (how != SHUT_WR)
		sk->shut_rd = true;
	if (how != SHUT_RD)
		sk->shut_wr = true;
	ends = sk->shut_wr;
	rsk_sock_wake(sk);
	rsk_unlock(&sk->lock);
	if (!ends)
		return;

	/* A sender that is at it posts what it has accepted, sees shut_wr and leaves. */
	rsk_lock(&sk->tx.lock);
	if (how != SHUT_RD)
		rsk_cork_flush(sk);
	rsk_lock(&sk->lock);
	rsk_stream_progress(sk);
	/* Once for this direction, and once more when the other is given up, too. */
	if (sk->state == RSK_CONNECTED && (!sk->tx.end_sent || sk->shut_rd))
		sk->tx.due |= RSK_DUE_END;
	rsk_stream_send_control(sk);
	rsk_unlock(&sk->lock);
	rsk_sock_give_turn(sk, &sk->tx.lock);
}

bool rsk_stream_drained(struct rsk_sock *sk)
{
	if (sk->state == RSK_FAILED || sk->left_by_peer || sk->qp.error || sk->qp.flushed)
		return true;
	return !(sk->tx.due & RSK_DUE_END) && !sk->qp.ctrl_in_flight;
}

static int unconfirmed(struct rsk_sock *sk, bool may_mark)
{
	struct rsk_qp *qp = &sk->qp;
	uint32_t held;

	rsk_stream_progress(sk);
	if (sk->state != RSK_CONNECTED && sk->state != RSK_ENDED)
		return 0;
	held = sk->cork.held;
	if (!rsk_qp_data_in_flight(qp))
		return (int)held;
	if (may_mark && !rsk_qp_completion_due(qp))
		sent(sk, rsk_qp_mark(qp), "a mark");
	return (int)(held + rsk_ring_used(&sk->tx.ring) + rsk_qp_data_in_flight(qp) * qp->max_inline);
}

int rsk_stream_unconfirmed(struct rsk_sock *sk)
{
	/* Without a mark the last small messages would be in flight for ever. Who sends at this moment
	 * will have some signalled, sooner or later. */
	bool turn = rsk_trylock(&sk->tx.lock);
	int bytes;

	rsk_lock(&sk->lock);
	bytes = unconfirmed(sk, turn);
	rsk_unlock(&sk->lock);
	if (turn)
		rsk_sock_give_turn(sk, &sk->tx.lock);
	return bytes;
}
