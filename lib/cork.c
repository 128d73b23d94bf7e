/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Joining small sends: see cork.h. */
#include "cork.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"
#include "stream.h"

static const int64_t limit_ns = RSK_CORK_MS * INT64_C(1000000);

/* Sends look at this alone. State lock held. */
static void tell_senders(struct rsk_sock *sk)
{
	bool corked = __atomic_load_n(&sk->options.cork, __ATOMIC_RELAXED);

	__atomic_store_n(&sk->tx.joins, corked || sk->cork.held ? MSG_MORE : 0, __ATOMIC_RELAXED);
}

static void post(struct rsk_sock *sk)
{
	rsk_sock_ref(sk);
	if (!rsk_progress_post(&sk->cork.work))
		rsk_sock_unref(sk);
}

/* The timer goes on for as long as sends are joined, so that each costs the engine no wake-up. State lock. */
static void start_timer(struct rsk_sock *sk)
{
	if (sk->cork.timed)
		return;
	sk->cork.timed = true;
	post(sk);
}

/* @len bytes more are held. tx.lock held. */
static void count_held(struct rsk_sock *sk, size_t len)
{
	struct rsk_cork *cork = &sk->cork;

	rsk_lock(&sk->lock);
	if (!cork->held)
		cork->since = rsk_now();
	cork->held += (uint32_t)len;
	tell_senders(sk);
	start_timer(sk);
	rsk_unlock(&sk->lock);
}

/* The first @len bytes are not held any more. tx.lock held. */
static void take_off(struct rsk_sock *sk, size_t len)
{
	struct rsk_cork *cork = &sk->cork;
	size_t left = cork->held - len;

	if (left) {
		memmove(cork->bytes, cork->bytes + len, left);
	} else {
		free(cork->bytes);
		cork->bytes = NULL;
	}
	rsk_lock(&sk->lock);
	cork->held = (uint32_t)left;
	sk->tx.due &= ~RSK_DUE_HELD;
	tell_senders(sk);
	rsk_unlock(&sk->lock);
}

static int hold_back(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline)
{
	struct rsk_cork *cork = &sk->cork;
	size_t len = rsk_cursor_left(from);
	int ret = rsk_stream_await_room(sk, flags, deadline); /* a side that is full takes no more, as in TCP */

	if (ret)
		return ret;
	if (!cork->bytes)
		cork->bytes = malloc(RSK_HOLD_MAX);
	if (!cork->bytes)
		return 0;            /* then it goes by itself */
	rsk_cursor_gather(from, cork->bytes + cork->held, len);
	count_held(sk, len);
	return 0;
}

static int send_bytes(struct rsk_sock *sk, size_t len, int flags, int64_t *deadline, size_t *sent)
{
	struct iovec iov = { sk->cork.bytes, len };
	struct rsk_cursor all = { .iov = &iov, .total = len };
	int ret = rsk_stream_send_all(sk, &all, flags, deadline);

	*sent = all.done;
	return ret;
}

/* In one message, as long as it is one for the peer, too: see hold.h. Of more than that, a full one. What does
 * not go was not accepted, but for what was held before. */
static int send_joined(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline)
{
	uint32_t held = sk->cork.held;
	size_t len = rsk_cursor_left(from), sent;
	int ret;

	if (held + len >= RSK_HOLD_MAX)
		len = RSK_CORK_FULL - held;
	rsk_cursor_gather(from, sk->cork.bytes + held, len);
	ret = send_bytes(sk, held + len, flags, deadline, &sent);
	take_off(sk, sent < held ? sent : held);
	from->done = sent < held ? 0 : sent - held;
	return ret;
}

int rsk_cork_join(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline)
{
	bool more = flags & MSG_MORE || __atomic_load_n(&sk->options.cork, __ATOMIC_RELAXED);

	if (more && sk->cork.held + rsk_cursor_left(from) < RSK_CORK_FULL)
		return hold_back(sk, from, flags, deadline);
	return sk->cork.held ? send_joined(sk, from, flags, deadline) : 0;
}

int rsk_cork_send(struct rsk_sock *sk, int flags, int64_t *deadline)
{
	size_t sent;
	int ret;

	if (!sk->cork.held)
		return 0;
	ret = send_bytes(sk, sk->cork.held, flags, deadline, &sent);
	take_off(sk, sent);
	return ret;
}

/* Without a call that waits for it */

void rsk_cork_flush(struct rsk_sock *sk)
{
	struct rsk_cork *cork = &sk->cork;
	struct iovec iov = { cork->bytes, cork->held };
	struct rsk_cursor all = { .iov = &iov, .total = cork->held };
	int ret;

	if (!cork->held)
		return;
	ret = rsk_stream_send_now(sk, &all);
	/* Of a connection that is over nothing can be sent any more. */
	take_off(sk, ret && ret != -EAGAIN && ret != -ENOMEM ? all.total : all.done);
	rsk_lock(&sk->lock);
	if (ret == -EAGAIN)
		sk->tx.due |= RSK_DUE_HELD;
	if (cork->held) {
		cork->since = rsk_now();
		start_timer(sk);
	}
	if (all.done && sk->options.user_timeout)
		rsk_keepalive_sent(sk);
	/* The end may have waited for this. */
	rsk_stream_send_control(sk);
	rsk_unlock(&sk->lock);
}

void rsk_cork_push(struct rsk_sock *sk)
{
	if (!rsk_trylock(&sk->tx.lock)) {
		/* As in rsk_sock_take_turn(). */
		atomic_fetch_or(&sk->turned_away, RSK_TURNED_PUSH);
		if (!rsk_trylock(&sk->tx.lock))
			return;
	}
	rsk_cork_flush(sk);
	rsk_sock_give_turn(sk, &sk->tx.lock);
}

static void push_unlocked(struct rsk_sock *sk)
{
	rsk_unlock(&sk->lock);
	rsk_cork_push(sk);
	rsk_lock(&sk->lock);
}

void rsk_cork_changed(struct rsk_sock *sk)
{
	tell_senders(sk);
	if (!sk->options.cork)
		push_unlocked(sk);
}

void rsk_cork_nodelay_changed(struct rsk_sock *sk)
{
	if (sk->options.nodelay)
		push_unlocked(sk);
}

static bool has_room(struct rsk_sock *sk)
{
	return rsk_tx_room(sk, sk->cork.held);
}

void rsk_cork_retry(struct rsk_sock *sk)
{
	if (has_room(sk))
		post(sk);
}

/* On the engine thread. */

static void tick(struct rsk_timer *timer);

static void look(struct rsk_sock *sk)
{
	struct rsk_cork *cork = &sk->cork;
	int64_t due;
	bool now, later;

	rsk_lock(&sk->lock);
	due = cork->since + limit_ns;
	now = cork->held && (rsk_now() >= due || (sk->tx.due & RSK_DUE_HELD && has_room(sk)));
	later = cork->timed = cork->held && !now;
	rsk_unlock(&sk->lock);
	if (now)
		rsk_cork_push(sk);
	if (later)
		rsk_timer_start(&cork->timer, (unsigned)rsk_ms_until(due), tick);
}

static void tick(struct rsk_timer *timer)
{
	look((struct rsk_sock *)((char *)timer - offsetof(struct rsk_sock, cork.timer)));
}

static void run_work(struct rsk_work *work)
{
	struct rsk_sock *sk = (struct rsk_sock *)((char *)work - offsetof(struct rsk_sock, cork.work));

	look(sk);
	rsk_sock_unref(sk);
}

void rsk_cork_init(struct rsk_cork *cork)
{
	cork->work.fn = run_work;
}

void rsk_cork_open(struct rsk_sock *sk)
{
	tell_senders(sk);
}

void rsk_cork_stop(struct rsk_cork *cork)
{
	rsk_timer_stop(&cork->timer);
	free(cork->bytes);
	cork->bytes = NULL;
	cork->held = 0;
}
