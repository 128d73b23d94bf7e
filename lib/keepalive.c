/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Probes of the peer: see keepalive.h. */
#include "keepalive.h"

#include <errno.h>
#include <stddef.h>

#include "sock.h"
#include "stream.h"

enum {
	USER_TIMEOUT_STEPS = 8,      /* in how many steps that time is measured */
};

static const int64_t ms_ns = 1000000, s_ns = 1000000000;

/* How long a probe may be without an answer. */
static int64_t limit_ns(const struct rsk_options *options)
{
	if (options->user_timeout)
		return options->user_timeout * ms_ns;
	return options->keepintvl * s_ns * options->keepcnt;
}

/* How soon the answer is looked for. Nobody is woken by it: it shows when a later probe is due. */
static int64_t step_ns(const struct rsk_options *options)
{
	int step = options->keepintvl < options->keepidle ? options->keepintvl : options->keepidle;

	return options->user_timeout ? limit_ns(options) / USER_TIMEOUT_STEPS : step * s_ns;
}

/* When the next probe is to be sent. */
static int64_t probe_due(struct rsk_sock *sk, int64_t now)
{
	const struct rsk_options *options = &sk->options;

	/* Who has filled the send side waits for the peer, too, though all that was sent is confirmed. */
	if (options->user_timeout && (sk->keepalive.data_sent || !rsk_stream_writable(sk)))
		return now;
	return options->keepalive ? sk->keepalive.probed_at + options->keepidle * s_ns : RSK_NEVER;
}

/* Asks, or looks for the answer. Returns when to look again. State lock held. */
static int64_t look(struct rsk_sock *sk)
{
	struct rsk_keepalive *keepalive = &sk->keepalive;
	int64_t now = rsk_now(), limit = limit_ns(&sk->options), due;
	int ret;

	rsk_stream_progress(sk);
	if (sk->state != RSK_CONNECTED)
		return RSK_NEVER;
	/* A probe would be the first word, too; and until then there is nothing to confirm. */
	if (!rsk_qp_may_begin(&sk->qp))
		return now + step_ns(&sk->options);
	if (!sk->qp.probing) {
		due = probe_due(sk, now);
		if (now < due)
			return due;
		ret = rsk_qp_probe(&sk->qp);
		if (ret) {
			rsk_stream_post_failed(sk, -ret, "a probe");
			return RSK_NEVER;
		}
		keepalive->probed_at = now;
		keepalive->data_sent = false;
	}
	due = keepalive->probed_at + limit;
	if (now >= due) {
		rsk_sock_fail(sk, ETIMEDOUT, "the peer has not answered for %lld ms",
			      (long long)(limit / ms_ns));
		return RSK_NEVER;
	}
	return now + step_ns(&sk->options) < due ? now + step_ns(&sk->options) : due;
}

static void tick(struct rsk_timer *timer);

static void run(struct rsk_sock *sk)
{
	int64_t next = RSK_NEVER;

	rsk_lock(&sk->lock);
	if (sk->cm.id)
		next = look(sk);
	sk->keepalive.running = next != RSK_NEVER;
	rsk_unlock(&sk->lock);
	if (next == RSK_NEVER)
		rsk_timer_stop(&sk->keepalive.timer);
	else
		rsk_timer_start(&sk->keepalive.timer, (unsigned)rsk_ms_until(next), tick);
}

static void tick(struct rsk_timer *timer)
{
	run((struct rsk_sock *)((char *)timer - offsetof(struct rsk_sock, keepalive.timer)));
}

static void run_work(struct rsk_work *work)
{
	struct rsk_sock *sk =
		(struct rsk_sock *)((char *)work - offsetof(struct rsk_sock, keepalive.work));

	run(sk);
	rsk_sock_unref(sk);
}

static void run_on_engine(struct rsk_sock *sk)
{
	sk->keepalive.running = true;
	rsk_sock_ref(sk);
	if (!rsk_progress_post(&sk->keepalive.work))
		rsk_sock_unref(sk);
}

void rsk_keepalive_init(struct rsk_keepalive *keepalive)
{
	keepalive->work.fn = run_work;
}

void rsk_keepalive_stop(struct rsk_keepalive *keepalive)
{
	rsk_timer_stop(&keepalive->timer);
}

void rsk_keepalive_restart(struct rsk_sock *sk)
{
	const struct rsk_options *options = &sk->options;

	if (sk->state != RSK_CONNECTED || !sk->qp.qp)
		return;
	if (!options->keepalive && !options->user_timeout && !sk->keepalive.running)
		return;
	if (!sk->qp.probing)
		sk->keepalive.probed_at = rsk_now();
	/* What is in flight counts from now on. */
	if (options->user_timeout && rsk_qp_data_in_flight(&sk->qp))
		sk->keepalive.data_sent = true;
	run_on_engine(sk);
}

void rsk_keepalive_sent(struct rsk_sock *sk)
{
	sk->keepalive.data_sent = true;
	if (!sk->keepalive.running)
		run_on_engine(sk);
}
