/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The socket object: see sock.h. */
#include "sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fdtab.h"
#include "knobs.h"
#include "log.h"
#include "stream.h"

enum {
	LINGER_MAX = 1000000,        /* s; in ms it is a number, too */
	LOCK_NS = 1000000000,        /* nobody holds a state lock so long and gives it up */
};

/* Closed sockets that the engine still has to finish. */
static pthread_mutex_t closing_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t closing_cond = PTHREAD_COND_INITIALIZER;
static unsigned closing;
/* Those before that: a call of another thread is still inside. */
static unsigned inside;

static void run_close(struct rsk_work *work);

static void run_hang_up(struct rsk_work *work)
{
	struct rsk_sock *sk =
		(struct rsk_sock *)((char *)work - offsetof(struct rsk_sock, hang_up_work));

	/* Else it was rewound, and may be connecting again. */
	if (sk->state == RSK_FAILED)
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
	rsk_options_init(&sk->options);
	sk->local.ss_family = (sa_family_t)domain;
	sk->close_work.fn = run_close;
	sk->hang_up_work.fn = run_hang_up;
	rsk_keepalive_init(&sk->keepalive);
	rsk_cork_init(&sk->cork);
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
	sk->rx.hold.bytes = 0;       /* there is no rest to come */
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

/* Opening and closing */

static void finish_close(struct rsk_sock *sk)
{
	rsk_timer_stop(&sk->drain_limit);
	rsk_cm_destroy(sk);

	pthread_mutex_lock(&closing_lock);
	sk->gone = true;
	closing--;
	pthread_cond_broadcast(&closing_cond);
	pthread_mutex_unlock(&closing_lock);
	rsk_sock_unref(sk);
}

/* How many seconds rsk_close() waits. */
static unsigned linger_time(const struct rsk_sock *sk)
{
	unsigned time = (unsigned)sk->options.linger.l_linger;

	if (!sk->options.linger.l_onoff)
		return 0;
	return time < LINGER_MAX ? time : LINGER_MAX;
}

/* No time to linger: the connection is reset, and what was not sent yet is lost. */
static bool is_abort(const struct rsk_sock *sk)
{
	return sk->options.linger.l_onoff && !sk->options.linger.l_linger;
}

/* How many seconds a closed socket may take to send what it holds. */
static unsigned drain_time(const struct rsk_sock *sk)
{
	unsigned usual = (unsigned)rsk_knob_value(RSK_KNOB_CLOSE_TIMEOUT), linger = linger_time(sk);

	return linger > usual ? linger : usual;
}

static bool drained(struct rsk_sock *sk)
{
	bool done;

	rsk_lock(&sk->lock);
	do
		rsk_stream_progress(sk);
	while (!(done = rsk_stream_drained(sk)) && rsk_sock_arm(sk, true));
	rsk_unlock(&sk->lock);
	return done;
}

static void drain_io(struct rsk_io *io)
{
	struct rsk_sock *sk = (struct rsk_sock *)((char *)io - offsetof(struct rsk_sock, channel_io));

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

	rsk_log(RSK_LOG_WARN, "closed socket to %s: the peer did not take what was sent within %u s; "
		"dropped", rsk_sock_name(&sk->peer, peer), drain_time(sk));
	finish_close(sk);
}

static void send_end(struct rsk_sock *sk)
{
	bool sent;

	rsk_lock(&sk->lock);
	sent = sk->shut_rd && sk->shut_wr;
	rsk_unlock(&sk->lock);
	if (!sent)
		rsk_stream_shutdown(sk, SHUT_RDWR);
}

static int close_on_engine(void *arg)
{
	struct rsk_sock *sk = arg;

	/* The state is stable here: no call is inside any more, and events come on this thread. */
	if ((sk->state == RSK_CONNECTED || sk->state == RSK_ENDED) && !is_abort(sk)) {
		send_end(sk);
		rsk_lock(&sk->lock);
		rsk_sock_set_nonblock(sk, true);
		rsk_unlock(&sk->lock);
		if (!drained(sk)) {
			rsk_timer_start(&sk->drain_limit, drain_time(sk) * 1000, drain_too_long);
			rsk_io_start(&sk->channel_io, sk->qp.channel->fd, drain_io);
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
static void released(void *object)
{
	struct rsk_sock *sk = object;
	enum rsk_state state;
	bool used;

	pthread_mutex_lock(&closing_lock);
	inside--;
	closing++;
	pthread_mutex_unlock(&closing_lock);

	rsk_lock(&sk->lock);
	rsk_ready_close(&sk->ready);
	state = sk->state;
	used = state != RSK_IDLE || sk->cm.id;
	rsk_unlock(&sk->lock);
	/* The peer is told at once: the engine may have a thousand others to destroy first, which takes long, and a
	 * process that exits does not wait for ever. */
	if (state == RSK_CONNECTED && !is_abort(sk))
		send_end(sk);
	/* A connection takes its time, in the background. A port is free again on return. Of a socket that was
	 * never used, the engine knows nothing. */
	if (!used)
		finish_close(sk);
	else if (state == RSK_IDLE || state == RSK_LISTENING)
		rsk_progress_call(close_on_engine, sk);
	else
		rsk_progress_post(&sk->close_work);
}

void rsk_sock_disown(int fd)
{
	struct rsk_sock *lost = rsk_fd_get(fd);

	if (!lost)
		return;
	rsk_lock(&lost->lock);
	rsk_ready_lose(&lost->ready);
	rsk_sock_dismiss(lost);
	rsk_unlock(&lost->lock);
	rsk_fd_put(lost);
}

int rsk_sock_publish(struct rsk_sock *sk, bool cloexec)
{
	struct rsk_ready ready;
	int ret = rsk_ready_open(&ready, cloexec);

	if (ret)
		return ret;
	rsk_sock_disown(ready.fd);

	rsk_lock(&sk->lock);
	sk->ready = ready;
	ret = rsk_ready_start(&sk->ready);
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
	pthread_mutex_lock(&closing_lock);
	inside++;
	pthread_mutex_unlock(&closing_lock);
	rsk_lock(&sk->lock);
	sk->closed = true;
	rsk_sock_dismiss(sk);
	rsk_sock_wake(sk);
	rsk_unlock(&sk->lock);
	/* Now, not in the background: the application may use that memory for something else. */
	rsk_maps_remove_all(sk);
	return true;
}

/* Sleeps until a closed socket is finished, or until then: false. closing_lock held. */
static bool await_closing(int64_t until)
{
	struct timespec point = { until / 1000000000, until % 1000000000 };

	/* Not of the clock that may be set meanwhile. */
	return !pthread_cond_clockwait(&closing_cond, &closing_lock, CLOCK_MONOTONIC, &point);
}

void rsk_sock_linger(struct rsk_sock *sk)
{
	int64_t until = rsk_now() + linger_time(sk) * INT64_C(1000000000);

	/* On the engine's own thread there would be nothing to wait for. */
	if (!linger_time(sk) || rsk_progress_is_engine())
		return;
	pthread_mutex_lock(&closing_lock);
	while (!sk->gone && await_closing(until))
		;
	pthread_mutex_unlock(&closing_lock);
}

/*
 * exit(3) may come from a signal's handler: then the call that it interrupted never ends, and nobody gives up the
 * locks that it holds, of ours or of the libraries below. So another thread closes the sockets, which may get stuck,
 * and the caller only waits for it.
 */
static bool closing_all, passed_over;

static void close_one(struct rsk_sock *sk)
{
	if (rsk_lock_until(&sk->lock, rsk_now() + LOCK_NS)) {
		passed_over = true;
		return;
	}
	rsk_unlock(&sk->lock);
	rsk_sock_close(sk);
}

static void *close_each(void *arg)
{
	rsk_fd_each(close_one);
	pthread_mutex_lock(&closing_lock);
	closing_all = false;
	pthread_cond_broadcast(&closing_cond);
	pthread_mutex_unlock(&closing_lock);
	return arg;
}

/* A call of our own that waits is one that was interrupted, too. closing_lock held. */
static bool some_are_closing(void)
{
	return closing_all || closing || (inside && !rsk_sock_waiting);
}

static void only_wake(struct rsk_timer *timer)
{
	(void)timer;
}

/* exit(3) in a callback of rsk_watch(): who is to close them all is the caller. */
static void close_on_this_thread(unsigned seconds)
{
	int64_t until = rsk_now() + seconds * INT64_C(1000000000);
	struct rsk_timer limit = { 0 };
	bool some = true;

	rsk_timer_start(&limit, seconds * 1000, only_wake);
	while (some && rsk_now() < until) {
		rsk_progress_turn();
		pthread_mutex_lock(&closing_lock);
		some = some_are_closing();
		pthread_mutex_unlock(&closing_lock);
	}
	rsk_timer_stop(&limit);
}

bool rsk_sock_close_all(void)
{
	unsigned limit = (unsigned)rsk_knob_value(RSK_KNOB_CLOSE_TIMEOUT) + 1;
	int64_t until = rsk_now() + limit * INT64_C(1000000000);
	bool done;

	if (!rsk_progress_runs())
		return true;         /* there never was a socket */
	if (rsk_progress_is_engine()) {
		rsk_fd_each(close_one);
		close_on_this_thread(limit);
		return true;
	}
	closing_all = true;
	if (rsk_thread_start(close_each))
		close_each(NULL);
	while (pthread_mutex_trylock(&closing_lock)) {
		if (rsk_now() > until)
			return false;
		poll(NULL, 0, 1);
	}
	while (some_are_closing() && await_closing(until))
		;
	done = !some_are_closing() && !passed_over;
	pthread_mutex_unlock(&closing_lock);
	return done;
}

void rsk_sock_forget_all(void)
{
	rsk_fd_forget();
	rsk_ready_forget();
	pthread_mutex_init(&closing_lock, NULL);
	closing = inside = 0;
}
