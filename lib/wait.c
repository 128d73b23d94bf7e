/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Readiness and waiting: which bits are there, how the descriptor comes to report the next change, and
 * how callers sleep. lib/README has the protocol of arming in short.
 */
#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "knobs.h"
#include "stream.h"

enum {
	REMINDERS = 65536,           /* see news_for_others() */
};

void rsk_sock_tell_followers(struct rsk_sock *sk)
{
	if (!sk->waiters)
		return;
	atomic_fetch_add_explicit(&sk->news, 1, memory_order_relaxed);
	rsk_futex_wake(&sk->news, INT32_MAX);
}

void rsk_sock_wake(struct rsk_sock *sk)
{
	rsk_ready_raise(&sk->ready);
	if (sk->asleep)
		rsk_qp_nudge(&sk->qp);
	rsk_sock_tell_followers(sk);
	rsk_sock_tell(sk, true);
}

/* While the engine sets up a connection its QP is nobody else's. */
static bool has_qp(const struct rsk_sock *sk)
{
	return sk->state >= RSK_CONNECTED && sk->qp.channel;
}

int rsk_sock_set_nonblock(struct rsk_sock *sk, bool nonblock)
{
	atomic_store(&sk->nonblock, nonblock);
	return has_qp(sk) ? rsk_qp_set_channel_blocking(&sk->qp, !nonblock) : 0;
}

/* Readiness */

static short stream_mask(struct rsk_sock *sk)
{
	bool read_ended = sk->shut_by_peer || sk->shut_rd;
	bool write_ended = sk->shut_wr || sk->left_by_peer;
	short mask = 0;

	if (read_ended)
		mask |= POLLIN | POLLRDNORM | POLLRDHUP;
	else if (rsk_rx_readable(sk))
		mask |= POLLIN | POLLRDNORM;
	if (write_ended || rsk_stream_writable(sk))
		mask |= POLLOUT | POLLWRNORM;
	if (read_ended && write_ended)
		mask |= POLLHUP;
	return mask;
}

short rsk_sock_mask(struct rsk_sock *sk)
{
	switch (sk->state) {
	case RSK_IDLE:
		return POLLOUT | POLLWRNORM | POLLHUP;
	case RSK_LISTENING:
		return sk->cm.backlog.ready.count ? POLLIN | POLLRDNORM : 0;
	case RSK_CONNECTED:
	case RSK_ENDED:
		return stream_mask(sk);
	case RSK_FAILED:
		return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP | POLLHUP |
		       (sk->pending_error ? POLLERR : 0);
	default:
		return 0;
	}
}

bool rsk_sock_arm(struct rsk_sock *sk, bool tx)
{
	int rx_ret, tx_ret = 0;

	if (sk->state != RSK_CONNECTED && sk->state != RSK_ENDED)
		return false;
	rx_ret = rsk_qp_arm(&sk->qp, RSK_CQ_RX);
	/* Nearly always there is room for control messages: no call for that. */
	if (tx || (sk->qp.ctrl_in_flight == RSK_QP_CTRL && rsk_stream_control_waits(sk)))
		tx_ret = rsk_qp_arm(&sk->qp, RSK_CQ_TX);
	if (rx_ret < 0 || tx_ret < 0)
		rsk_sock_fail(sk, EIO, "cannot ask for completion events");
	return rx_ret > 0 || tx_ret > 0;
}

/* What somebody was told is not there, and the descriptor is not raised for. It stays raised until they look. */
static short awaited(const struct rsk_sock *sk)
{
	return sk->wanted & ~(short)sk->ready.raised;
}

/* Do send completions matter to somebody who is not inside a call? */
static inline bool awaits_room(struct rsk_sock *sk)
{
	if (!(sk->observers || sk->wanted) || !has_qp(sk))
		return false;
	if (awaited(sk) & POLLOUT)
		return true;
	for (struct rsk_observer *o = sk->observers; o; o = o->next) {
		if (o->events & POLLOUT)
			return !rsk_stream_writable(sk);
	}
	return false;
}

/* What somebody other than the caller, who asks for @own, was told is not there, and now is. */
static short news_for_others(struct rsk_sock *sk, short own)
{
	short news = rsk_sock_mask(sk) & sk->wanted & ~own;

	/* Who asked may have lost interest: do not keep the descriptor readable for ever. */
	if (news && ++sk->reminders == REMINDERS) {
		sk->wanted &= ~news;
		sk->reminders = 0;
		return 0;
	}
	return news;
}

/* Not once it is closed: whoever sleeps on it has yet to see that. */
static void lower(struct rsk_sock *sk)
{
	if (!sk->closed)
		rsk_ready_lower(&sk->ready);
}

/* Makes the descriptor unreadable until something new happens, unless it is there for others already; also
 * then the channel's events are taken, or the next would be no edge. A sleeper takes them itself; where the engine
 * was to see them, those whom it would have told are told here. */
static void quiesce(struct rsk_sock *sk, short own)
{
	short news = sk->wanted ? news_for_others(sk, own) : 0;

	if (news) {
		rsk_ready_raise_for(&sk->ready, (uint16_t)news);
		sk->ready.raised &= ~(uint32_t)(uint16_t)own; /* it has looked: the next is an edge again */
	} else {
		lower(sk);
	}
	if (sk->asleep || !has_qp(sk))
		return;
	rsk_qp_drain(&sk->qp, false);
	rsk_sock_tell_followers(sk);
}

/* Events were taken from the descriptor, and completions taken in: what that brought for others must
 * show on the descriptor. */
static void settle(struct rsk_sock *sk, short own)
{
	if (awaited(sk))
		rsk_ready_raise_for(&sk->ready, (uint16_t)news_for_others(sk, own));
}

static bool reports(const struct rsk_qp *qp, enum rsk_cq which)
{
	return qp->armed[which] || qp->fired[which];
}

/* A blocking socket used with MSG_DONTWAIT is mostly in a busy loop, which wants no events: taking and
 * arming would cost it two system calls per message. So at first the descriptor is merely left
 * readable; who sleeps on it meanwhile looks again, in vain, a bounded number of times. (Not so
 * who waits for edges: that takes a non-blocking socket.) The bound is raised for those who go on looking
 * after the CQ was armed, and lowered for those who do not. */
static bool be_lazy(struct rsk_sock *sk, short events)
{
	if (sk->state != RSK_CONNECTED || atomic_load(&sk->nonblock) || sk->observers)
		return false;
	if (!sk->ready.raised && (!reports(&sk->qp, RSK_CQ_RX) ||
				  (events & POLLOUT && !reports(&sk->qp, RSK_CQ_TX))))
		return false;
	if (++sk->qp.idle_looks <= sk->qp.patience)
		return true;
	sk->qp.idle_looks = 0;
	return false;
}

short rsk_sock_poll(struct rsk_sock *sk, short events, enum rsk_look look)
{
	short interest = events | POLLERR | POLLHUP, mask;

	if (sk->closed)
		return POLLNVAL;
	rsk_stream_progress(sk);
	mask = rsk_sock_mask(sk) & interest;
	sk->wanted &= ~mask;
	if (mask || look == RSK_LOOK)
		return mask;

	sk->wanted |= events & (POLLIN | POLLOUT);
	if (look == RSK_LOOK_AND_ARM_LAZILY && be_lazy(sk, events))
		return 0;
	quiesce(sk, events);
	rsk_sock_arm(sk, awaits_room(sk));
	rsk_stream_progress(sk);
	rsk_stream_rest(sk);
	mask = rsk_sock_mask(sk) & interest;
	sk->wanted &= ~mask;
	settle(sk, mask);
	return mask;
}

void rsk_sock_answer(struct rsk_sock *sk, short what, int flags)
{
	if (!rsk_sock_nonblocking(sk, flags))
		return;
	sk->wanted &= ~what;
	sk->reminders = 0;
}

/* Observers */

void rsk_sock_observe(struct rsk_sock *sk, struct rsk_observer *observer)
{
	observer->next = sk->observers;
	sk->observers = observer;
}

void rsk_sock_unobserve(struct rsk_sock *sk, struct rsk_observer *observer)
{
	struct rsk_observer **at = &sk->observers;

	while (*at && *at != observer)
		at = &(*at)->next;
	if (*at)
		*at = observer->next;
}

void rsk_sock_dismiss(struct rsk_sock *sk)
{
	struct rsk_observer *observer;

	while ((observer = sk->observers)) {
		sk->observers = observer->next;
		observer->dismiss(observer);
	}
}

void rsk_sock_tell(struct rsk_sock *sk, bool all)
{
	uint32_t mask, arrived;
	uint64_t bytes;

	if (!sk->observers)
		return;
	bytes = rsk_rx_arrived(sk) + sk->shut_by_peer; /* the end is one, too */
	mask = (uint16_t)rsk_sock_mask(sk);
	arrived = all ? mask : mask & ~sk->told;
	if (bytes != sk->told_arrived)
		arrived |= mask & (POLLIN | POLLRDNORM);
	sk->told = mask;
	sk->told_arrived = bytes;
	for (struct rsk_observer *o = sk->observers; arrived && o; o = o->next) {
		if (arrived & o->events)
			o->tell(o, arrived);
	}
}

/* The CQ stays armed for observers, and for those who wait on the descriptor, whoever took the event that spent
 * the last arming. */
static void rearm(struct rsk_sock *sk)
{
	while ((sk->observers || awaited(sk)) && rsk_sock_arm(sk, awaits_room(sk)))
		rsk_stream_progress(sk);
}

uint32_t rsk_sock_look(struct rsk_sock *sk, const struct rsk_observer *observer)
{
	uint32_t mask;

	rsk_stream_progress(sk);
	mask = (uint16_t)rsk_sock_mask(sk) & observer->events;
	if (mask && !observer->edge)
		return mask;
	quiesce(sk, 0);
	rearm(sk);
	settle(sk, 0);
	rsk_stream_rest(sk);
	return (uint16_t)rsk_sock_mask(sk) & observer->events;
}

int rsk_sock_await_turn(struct rsk_sock *sk, struct rsk_lock *turn, int64_t *deadline)
{
	int ret;

	rsk_lock(&sk->lock);
	*deadline = rsk_deadline(turn == &sk->rx.lock ? &sk->options.rcvtimeo : &sk->options.sndtimeo);
	rsk_unlock(&sk->lock);
	rsk_sock_waiting = true;
	ret = rsk_lock_until(turn, *deadline);
	rsk_sock_waiting = false;
	return ret;
}

void rsk_sock_turn_over(struct rsk_sock *sk)
{
	short events = atomic_exchange(&sk->turned_away, 0);

	if (events & RSK_TURNED_PUSH)
		rsk_cork_push(sk);
	events &= POLLIN | POLLOUT;
	if (!events)
		return;
	rsk_lock(&sk->lock);
	sk->wanted |= events;
	/* Who was turned away has not made it rest: this is to be an edge, though it may be raised already. */
	rsk_ready_lower(&sk->ready);
	rsk_ready_raise(&sk->ready);
	rsk_sock_tell(sk, true);
	rsk_unlock(&sk->lock);
}

/* Waiting */

_Thread_local bool rsk_sock_waiting;

int64_t rsk_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t rsk_deadline(const struct timeval *limit)
{
	if (!limit->tv_sec && !limit->tv_usec)
		return RSK_NEVER;
	if (limit->tv_sec > INT32_MAX)
		return RSK_NEVER;
	return rsk_now() + limit->tv_sec * INT64_C(1000000000) + limit->tv_usec * 1000;
}

int64_t rsk_deadline_of(const struct timespec *limit)
{
	if (!limit)
		return RSK_NEVER;
	if (limit->tv_sec < 0 || limit->tv_nsec < 0 || limit->tv_nsec >= 1000000000)
		return -EINVAL;
	if (limit->tv_sec > INT32_MAX)
		return RSK_NEVER;
	return rsk_now() + limit->tv_sec * INT64_C(1000000000) + limit->tv_nsec;
}

/* By default as long as a sleep and a wake-up take. */
int64_t rsk_spin_ns(void)
{
	return rsk_knob_value(RSK_KNOB_POLLING_TIME) * INT64_C(1000);
}

static bool spin(struct rsk_sock *sk, bool (*look)(struct rsk_sock *))
{
	int64_t limit = rsk_spin_ns(), until;

	if (!limit || sk->state != RSK_CONNECTED)
		return false;
	until = rsk_now() + limit;
	do {
		rsk_unlock(&sk->lock);
		rsk_lock(&sk->lock);
		if (look(sk))
			return true;
	} while (rsk_now() < until);
	return false;
}

int rsk_ms_until(int64_t deadline)
{
	int64_t left;

	if (deadline == RSK_NEVER)
		return -1;
	left = deadline - rsk_now();
	if (left <= 0)
		return 0;
	left = (left + 999999) / 1000000;
	return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* Waits to be told: by the thread that sleeps for all, or, until the peer has begun, by the engine.
 * (Without a time limit the kernel restarts this after a signal just as it does recv(2).) */
static int follow(struct rsk_sock *sk, int64_t deadline)
{
	uint32_t news = atomic_load_explicit(&sk->news, memory_order_relaxed);
	int ret;

	rsk_unlock(&sk->lock);
	ret = rsk_futex_wait(&sk->news, news, deadline);
	rsk_lock(&sk->lock);
	return ret;
}

/* Not on the descriptor: it may be readable, for others who have not looked yet. */
static inline int sleep_on_channel(struct rsk_sock *sk, int64_t deadline)
{
	int ms = deadline == RSK_NEVER ? -1 : rsk_ms_until(deadline), which;

	sk->asleep = true;
	rsk_unlock(&sk->lock);
	which = rsk_qp_sleep(&sk->qp, ms);
	rsk_lock(&sk->lock);
	sk->asleep = false;
	if (which >= 0)
		rsk_qp_took_event(&sk->qp, (enum rsk_cq)which);
	if (sk->waiters > 1)
		rsk_sock_tell_followers(sk);
	return which < 0 ? which : 0;
}

static inline int sleep_until_event(struct rsk_sock *sk, int64_t deadline)
{
	if (sk->asleep || sk->state < RSK_CONNECTED || !rsk_qp_may_begin(&sk->qp))
		return follow(sk, deadline);
	return sleep_on_channel(sk, deadline);
}

/* While a thread slept for all, others left events to it, and may have had their edge of them. */
static __attribute__((noinline)) void hand_over(struct rsk_sock *sk)
{
	quiesce(sk, 0);
	rearm(sk);
	settle(sk, 0);
}

int rsk_sock_wait(struct rsk_sock *sk, bool (*look)(struct rsk_sock *), bool tx, int64_t deadline)
{
	int ret = 0;

	if (spin(sk, look))
		return 0;
	rsk_sock_waiting = true;
	sk->waiters++;
	for (;;) {
		if (sk->closed) {
			ret = -ECONNABORTED;
			break;
		}
		/* A completion that lands between the last poll and the arming raises no event: look
		 * once more or its news waits for the next one. */
		rsk_sock_arm(sk, tx || awaits_room(sk));
		if (look(sk)) {
			ret = 0;
			break;
		}
		if (ret)
			break;
		rsk_stream_rest(sk);
		ret = sleep_until_event(sk, deadline);
		if (look(sk)) {
			ret = 0;
			break;
		}
		settle(sk, 0);
	}
	sk->waiters--;
	rsk_sock_waiting = false;
	if (sk->observers || awaited(sk))
		hand_over(sk);
	/* Whoever followed needs a new thread to sleep on the channel. */
	if (sk->waiters)
		rsk_sock_tell_followers(sk);
	return ret;
}
