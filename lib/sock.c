/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The socket object: see sock.h. */
#include "sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fdtab.h"
#include "log.h"
#include "stream.h"

enum {
	DRAIN_LIMIT_MS = 10000,      /* how long a closed socket may take to send what it holds */
	REMINDERS = 65536,           /* see news_for_others() */
};

/* Closed sockets that the engine still has to finish. */
static pthread_mutex_t closing_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t closing_cond = PTHREAD_COND_INITIALIZER;
static unsigned closing;

static void run_close(struct rsk_work *work);

static void run_hang_up(struct rsk_work *work)
{
	struct rsk_sock *sk =
		(struct rsk_sock *)((char *)work - offsetof(struct rsk_sock, hang_up_work));

	rsk_cm_hang_up(sk);
	rsk_sock_unref(sk);
}

struct rsk_sock *rsk_sock_new(int domain)
{
	struct rsk_sock *sk = calloc(1, sizeof(*sk));

	if (!sk)
		return NULL;
	atomic_init(&sk->refs, 1);
	sk->domain = domain;
	sk->ready.fd = -1;
	sk->state = RSK_IDLE;
	sk->options = rsk_options_default;
	sk->local.ss_family = (sa_family_t)domain;
	sk->close_work.fn = run_close;
	sk->hang_up_work.fn = run_hang_up;
	pthread_mutex_init(&sk->setup_lock, NULL);
	return sk;
}

struct rsk_sock *rsk_sock_ref(struct rsk_sock *sk)
{
	atomic_fetch_add_explicit(&sk->refs, 1, memory_order_relaxed);
	return sk;
}

void rsk_sock_unref(struct rsk_sock *sk)
{
	if (atomic_fetch_sub_explicit(&sk->refs, 1, memory_order_acq_rel) != 1)
		return;
	rsk_ready_close(&sk->ready);
	pthread_mutex_destroy(&sk->setup_lock);
	free(sk);
}

const char *rsk_sock_name(const struct sockaddr_storage *addr, char text[static 64])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
	char host[INET6_ADDRSTRLEN] = "?";

	if (addr->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, 64, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, 64, "%s:%u", host, ntohs(in->sin_port));
	}
	return text;
}

void rsk_sock_explain(struct rsk_sock *sk, int err, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(sk->error_text, sizeof(sk->error_text), fmt, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(sk->error_text))
		snprintf(sk->error_text + n, sizeof(sk->error_text) - (size_t)n, " (%s)",
			 strerrorname_np(err));
}

void rsk_sock_fail(struct rsk_sock *sk, int err, const char *fmt, ...)
{
	char peer[64], text[160];
	va_list args;

	if (sk->state == RSK_FAILED || sk->state == RSK_ENDED)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	rsk_sock_explain(sk, err, "%s %s: %s", sk->state == RSK_CONNECTED ? "connection to" :
			 sk->cm.listener ? "connection from" : "connect to",
			 rsk_sock_name(&sk->peer, peer), text);
	rsk_log(err == EPROTO ? RSK_LOG_WARN : RSK_LOG_INFO, "fd %d: %s", sk->ready.fd,
		sk->error_text);

	sk->state = RSK_FAILED;
	sk->failure = sk->pending_error = err;
	rsk_qp_set_error(&sk->qp);
	if (sk->cm.id) {
		rsk_sock_ref(sk);
		if (!rsk_progress_post(&sk->hang_up_work))
			rsk_sock_unref(sk);
	}
	rsk_sock_wake(sk);
}

int rsk_sock_report(struct rsk_sock *sk, int ret)
{
	if (ret >= 0 || ret == -EAGAIN)
		return ret;
	rsk_lock(&sk->lock);
	if (sk->pending_error == -ret)
		sk->pending_error = 0;
	rsk_unlock(&sk->lock);
	return ret;
}

/* Those who wait while another thread sleeps on their behalf. */
static void tell_followers(struct rsk_sock *sk)
{
	if (!sk->waiters)
		return;
	atomic_fetch_add_explicit(&sk->news, 1, memory_order_relaxed);
	rsk_futex_wake(&sk->news, INT32_MAX);
}

void rsk_sock_wake(struct rsk_sock *sk)
{
	rsk_ready_raise(&sk->ready);
	if (sk->sleeper == RSK_ON_CHANNEL)
		rsk_qp_nudge(&sk->qp);
	tell_followers(sk);
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
	else if (rsk_rx_has_data(sk))
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
		return sk->cm.nready ? POLLIN | POLLRDNORM : 0;
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

/* Will the next completion that matters make the descriptor readable? Returns true when a CQ was
 * newly armed, so that the caller looks again: what came before raises no event. */
static bool arm(struct rsk_sock *sk, bool tx)
{
	int rx_ret, tx_ret = 0;

	if (sk->state != RSK_CONNECTED && sk->state != RSK_ENDED)
		return false;
	rx_ret = rsk_qp_arm(&sk->qp, RSK_CQ_RX);
	if (tx)
		tx_ret = rsk_qp_arm(&sk->qp, RSK_CQ_TX);
	if (rx_ret < 0 || tx_ret < 0)
		rsk_sock_fail(sk, EIO, "cannot ask for completion events");
	return rx_ret > 0 || tx_ret > 0;
}

/* Makes the descriptor unreadable until something new happens. Not while somebody sleeps on it: the
 * event may be what shall wake that thread, which will take it itself. */
static void quiesce(struct rsk_sock *sk)
{
	if (sk->sleeper)
		return;
	rsk_ready_lower(&sk->ready);
	if (has_qp(sk))
		rsk_qp_drain(&sk->qp, false);
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

/* Events were taken from the descriptor, and completions taken in: what that brought for others must
 * show on the descriptor. */
static void settle(struct rsk_sock *sk, short own)
{
	if (sk->wanted && news_for_others(sk, own))
		rsk_ready_raise(&sk->ready);
}

static bool reports(const struct rsk_qp *qp, enum rsk_cq which)
{
	return qp->armed[which] || qp->fired[which];
}

/* A blocking socket used with MSG_DONTWAIT is mostly in a busy loop, which wants no events: taking and
 * arming would cost it two system calls per message. So at first the descriptor is merely left
 * readable; who sleeps on it meanwhile looks again, in vain, a bounded number of times. The bound is
 * raised for those who go on looking after the CQ was armed, and lowered for those who do not. */
static bool be_lazy(struct rsk_sock *sk, short events)
{
	if (sk->state != RSK_CONNECTED || atomic_load(&sk->nonblock))
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
	if (mask || look == RSK_LOOK)
		return mask;

	sk->wanted |= events & (POLLIN | POLLOUT);
	if (look == RSK_LOOK_AND_ARM_LAZILY && be_lazy(sk, events))
		return 0;
	if (news_for_others(sk, events)) {
		/* It is theirs to look: the descriptor stays readable. */
		rsk_ready_raise(&sk->ready);
		return 0;
	}
	quiesce(sk);
	arm(sk, sk->wanted & POLLOUT);
	rsk_stream_progress(sk);
	rsk_stream_rest(sk);
	mask = rsk_sock_mask(sk) & interest;
	sk->wanted &= ~mask;
	settle(sk, mask);
	return mask;
}

int rsk_sock_turn_taken(struct rsk_sock *sk)
{
	rsk_lock(&sk->lock);
	rsk_ready_raise(&sk->ready);
	rsk_unlock(&sk->lock);
	return -EAGAIN;
}

/* Waiting */

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

/* How long a blocking call polls before it sleeps: as long as a sleep and a wake-up take. */
static int64_t spin_ns = 10000;

static void read_spin(void)
{
	const char *us = getenv("RSK_POLLING_TIME");
	char *end;
	unsigned long value;

	if (!us || !*us)
		return;
	value = strtoul(us, &end, 10);
	if (*end || value > 1000000)
		rsk_log(RSK_LOG_WARN, "RSK_POLLING_TIME=%s is not a number of us up to 1000000; using %d",
			us, (int)(spin_ns / 1000));
	else
		spin_ns = (int64_t)value * 1000;
}

int64_t rsk_spin_ns(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_spin);
	return spin_ns;
}

static bool spin(struct rsk_sock *sk, bool (*look)(struct rsk_sock *))
{
	int64_t until;

	if (!rsk_spin_ns() || sk->state != RSK_CONNECTED)
		return false;
	until = rsk_now() + rsk_spin_ns();
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

/* Waits to be told: by the thread that sleeps for all, or, while there is no connection, by the engine.
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

/* Without a time limit a connection's completion channel itself is the cheapest place to sleep: one
 * system call. (The kernel also restarts it after a signal just as it does recv(2).) */
static int sleep_on_channel(struct rsk_sock *sk)
{
	int which;

	sk->sleeper = RSK_ON_CHANNEL;
	rsk_unlock(&sk->lock);
	which = rsk_qp_sleep(&sk->qp);
	rsk_lock(&sk->lock);
	sk->sleeper = RSK_NOBODY;
	if (which < 0)
		return which;
	rsk_qp_took_event(&sk->qp, (enum rsk_cq)which);
	return 0;
}

static int sleep_on_descriptor(struct rsk_sock *sk, int64_t deadline)
{
	int ms = rsk_ms_until(deadline), woken;

	sk->sleeper = RSK_ON_DESCRIPTOR;
	rsk_unlock(&sk->lock);
	woken = rsk_ready_sleep(&sk->ready, ms);
	rsk_lock(&sk->lock);
	sk->sleeper = RSK_NOBODY;

	if (woken > 0) {
		if (woken & RSK_READY_RAISED)
			rsk_ready_lower(&sk->ready);
		if (woken & RSK_READY_CHANNEL && has_qp(sk))
			rsk_qp_drain(&sk->qp, true);
		return 0;
	}
	if (woken == 0)
		return -EAGAIN;
	return woken;
}

static int sleep_until_event(struct rsk_sock *sk, int64_t deadline)
{
	int ret = -EAGAIN;

	if (sk->sleeper || sk->state < RSK_CONNECTED)
		return follow(sk, deadline);
	if (deadline == RSK_NEVER && sk->qp.channel_blocks)
		ret = sleep_on_channel(sk);
	/* Also when the channel was switched to non-blocking just then. */
	if (ret == -EAGAIN)
		ret = sleep_on_descriptor(sk, deadline);
	if (sk->waiters > 1)
		tell_followers(sk);
	return ret;
}

int rsk_sock_wait(struct rsk_sock *sk, bool (*look)(struct rsk_sock *), bool tx, int64_t deadline)
{
	int ret = 0;

	if (look(sk) || spin(sk, look))
		return 0;
	sk->waiters++;
	for (;;) {
		if (sk->closed) {
			ret = -ECONNABORTED;
			break;
		}
		/* A completion that lands between the last poll and the arming raises no event: look
		 * once more or its news waits for the next one. */
		arm(sk, tx || sk->wanted & POLLOUT);
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
	settle(sk, 0);
	/* Whoever followed needs a new thread to sleep on the descriptor. */
	tell_followers(sk);
	return ret;
}

/* Opening and closing */

static void finish_close(struct rsk_sock *sk)
{
	rsk_io_stop(&sk->drain_io);
	rsk_timer_stop(&sk->drain_limit);
	rsk_cm_destroy(sk);
	rsk_sock_unref(sk);

	pthread_mutex_lock(&closing_lock);
	if (!--closing)
		pthread_cond_broadcast(&closing_cond);
	pthread_mutex_unlock(&closing_lock);
}

static bool drained(struct rsk_sock *sk)
{
	bool done;

	rsk_lock(&sk->lock);
	do
		rsk_stream_progress(sk);
	while (!(done = rsk_stream_drained(sk)) && arm(sk, true));
	rsk_unlock(&sk->lock);
	return done;
}

static void drain_io(struct rsk_io *io)
{
	struct rsk_sock *sk = (struct rsk_sock *)((char *)io - offsetof(struct rsk_sock, drain_io));

	rsk_lock(&sk->lock);
	rsk_qp_drain(&sk->qp, true);
	rsk_unlock(&sk->lock);
	if (drained(sk))
		finish_close(sk);
}

static void drain_too_long(struct rsk_timer *timer)
{
	struct rsk_sock *sk =
		(struct rsk_sock *)((char *)timer - offsetof(struct rsk_sock, drain_limit));
	char peer[64];

	rsk_log(RSK_LOG_WARN, "closed socket to %s: the peer did not take what was sent within %d s; "
		"dropped", rsk_sock_name(&sk->peer, peer), DRAIN_LIMIT_MS / 1000);
	finish_close(sk);
}

static int close_on_engine(void *arg)
{
	struct rsk_sock *sk = arg;

	/* The state is stable here: no call is inside any more, and events come on this thread. */
	if (sk->state == RSK_CONNECTED || sk->state == RSK_ENDED) {
		rsk_stream_shutdown(sk, SHUT_RDWR);
		rsk_lock(&sk->lock);
		rsk_sock_set_nonblock(sk, true);
		rsk_unlock(&sk->lock);
		if (!drained(sk)) {
			rsk_timer_start(&sk->drain_limit, DRAIN_LIMIT_MS, drain_too_long);
			rsk_io_start(&sk->drain_io, sk->qp.channel->fd, drain_io);
			return 0;
		}
	}
	finish_close(sk);
	return 0;
}

static void run_close(struct rsk_work *work)
{
	close_on_engine((char *)work - offsetof(struct rsk_sock, close_work));
}

/* The last call has left a closed descriptor. */
static void released(struct rsk_sock *sk)
{
	enum rsk_state state;

	pthread_mutex_lock(&closing_lock);
	closing++;
	pthread_mutex_unlock(&closing_lock);

	rsk_lock(&sk->lock);
	rsk_ready_close(&sk->ready);
	state = sk->state;
	rsk_unlock(&sk->lock);
	/* A connection takes its time, in the background. A port is free again on return. */
	if (state == RSK_IDLE || state == RSK_LISTENING)
		rsk_progress_call(close_on_engine, sk);
	else
		rsk_progress_post(&sk->close_work);
}

int rsk_sock_publish(struct rsk_sock *sk, bool cloexec)
{
	int ret;

	rsk_lock(&sk->lock);
	ret = rsk_ready_open(&sk->ready, cloexec);
	if (!ret && sk->qp.channel) {
		ret = rsk_ready_add(&sk->ready, sk->qp.channel->fd);
		/* Nobody has looked yet: what came before raised no event. */
		rsk_ready_raise(&sk->ready);
	}
	if (!ret)
		ret = rsk_fd_insert(sk->ready.fd, sk, released);
	if (ret)
		rsk_ready_close(&sk->ready);
	else
		ret = sk->ready.fd;
	rsk_unlock(&sk->lock);
	return ret;
}

bool rsk_sock_close(struct rsk_sock *sk)
{
	if (!rsk_fd_close(sk))
		return false;
	rsk_lock(&sk->lock);
	sk->closed = true;
	rsk_sock_wake(sk);
	rsk_unlock(&sk->lock);
	return true;
}

static void close_one(struct rsk_sock *sk)
{
	rsk_sock_close(sk);
}

void rsk_sock_close_all(void)
{
	struct timespec until;

	rsk_fd_each(close_one);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DRAIN_LIMIT_MS / 1000 + 1;
	pthread_mutex_lock(&closing_lock);
	while (closing && !pthread_cond_timedwait(&closing_cond, &closing_lock, &until))
		;
	pthread_mutex_unlock(&closing_lock);
}

void rsk_sock_forget_all(void)
{
	rsk_fd_forget();
	rsk_ready_forget();
	pthread_mutex_init(&closing_lock, NULL);
	closing = 0;
}
