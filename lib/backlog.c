/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A listener's children: see backlog.h. */
#include "backlog.h"

#include "cm.h"
#include "log.h"
#include "sock.h"

enum { RETRY_MS = 100 };             /* nobody says when a descriptor is free */

static void append(struct rsk_children *queue, struct rsk_sock *child)
{
	struct rsk_sock **last = &queue->first;

	while (*last)
		last = &(*last)->cm.next;
	child->cm.next = NULL;
	*last = child;
	queue->count++;
}

static void prepend(struct rsk_children *queue, struct rsk_sock *child)
{
	child->cm.next = queue->first;
	queue->first = child;
	queue->count++;
}

static bool detach(struct rsk_children *queue, struct rsk_sock *child)
{
	struct rsk_sock **at = &queue->first;

	while (*at && *at != child)
		at = &(*at)->cm.next;
	if (!*at)
		return false;
	*at = child->cm.next;
	queue->count--;
	return true;
}

static unsigned answered(struct rsk_sock *listener)
{
	unsigned count;

	rsk_lock(&listener->lock);
	count = listener->cm.backlog.ready.count;
	rsk_unlock(&listener->lock);
	return count + listener->cm.backlog.accepting.count;
}

bool rsk_backlog_full(struct rsk_sock *listener)
{
	const struct rsk_backlog *backlog = &listener->cm.backlog;

	return answered(listener) + backlog->requested.count >= 2 * backlog->limit;
}

/* Answers as many requests as there is room for. */
static void admit(struct rsk_sock *listener)
{
	struct rsk_backlog *backlog = &listener->cm.backlog;
	struct rsk_sock *child;

	while (!backlog->starved && (child = backlog->requested.first) &&
	       answered(listener) < backlog->limit) {
		detach(&backlog->requested, child);
		append(&backlog->accepting, child);
		rsk_cm_admit(child);
	}
}

static void run_admit(struct rsk_work *work)
{
	struct rsk_sock *sk =
		(struct rsk_sock *)((char *)work - offsetof(struct rsk_sock, cm.backlog.admit));

	if (sk->state == RSK_LISTENING)
		admit(sk);
	rsk_sock_unref(sk);
}

void rsk_backlog_set_limit(struct rsk_sock *listener, int limit)
{
	listener->cm.backlog.limit = (unsigned)limit;
	listener->cm.backlog.admit.fn = run_admit;
	admit(listener);
}

void rsk_backlog_add(struct rsk_sock *listener, struct rsk_sock *child)
{
	child->cm.listener = listener;
	append(&listener->cm.backlog.requested, child);
	admit(listener);
}

void rsk_backlog_established(struct rsk_sock *child)
{
	struct rsk_sock *listener = child->cm.listener;

	detach(&listener->cm.backlog.accepting, child);
	child->cm.listener = NULL;
	listener->cm.backlog.starved_told = false;
	rsk_lock(&listener->lock);
	append(&listener->cm.backlog.ready, child);
	rsk_sock_wake(listener);
	rsk_unlock(&listener->lock);
}

static void retry(struct rsk_timer *timer)
{
	struct rsk_sock *listener =
		(struct rsk_sock *)((char *)timer - offsetof(struct rsk_sock, cm.backlog.retry));

	rsk_timer_stop(timer);
	listener->cm.backlog.starved = false;
	admit(listener);
}

void rsk_backlog_postpone(struct rsk_sock *child)
{
	struct rsk_sock *listener = child->cm.listener;
	struct rsk_backlog *backlog = &listener->cm.backlog;
	char name[64];

	rsk_log(backlog->starved_told ? RSK_LOG_DEBUG : RSK_LOG_WARN, "fd %d: connection from %s waits: "
		"no descriptor is left for it: close some, or raise the limit (ulimit -n)",
		listener->ready.fd, rsk_sock_name(&child->peer, name));
	backlog->starved = backlog->starved_told = true;
	detach(&backlog->accepting, child);
	prepend(&backlog->requested, child);
	rsk_timer_start(&backlog->retry, RETRY_MS, retry);
}

static void drop(struct rsk_sock *child)
{
	rsk_cm_destroy(child);
	rsk_sock_unref(child);
}

void rsk_backlog_bury(struct rsk_sock *child)
{
	struct rsk_sock *listener = child->cm.listener;
	struct rsk_backlog *backlog = &listener->cm.backlog;

	if (!detach(&backlog->requested, child))
		detach(&backlog->accepting, child);
	drop(child);
	admit(listener);
}

static void drop_queue(struct rsk_sock *listener, struct rsk_children *queue)
{
	struct rsk_sock *child;

	for (;;) {
		rsk_lock(&listener->lock);
		child = queue->first;
		if (child)
			detach(queue, child);
		rsk_unlock(&listener->lock);
		if (!child)
			return;
		child->cm.listener = NULL;
		drop(child);
	}
}

void rsk_backlog_drop_all(struct rsk_sock *listener)
{
	rsk_timer_stop(&listener->cm.backlog.retry);
	listener->cm.backlog.starved = false;
	drop_queue(listener, &listener->cm.backlog.requested);
	drop_queue(listener, &listener->cm.backlog.accepting);
	drop_queue(listener, &listener->cm.backlog.ready);
}

struct rsk_sock *rsk_backlog_take(struct rsk_sock *listener)
{
	struct rsk_backlog *backlog = &listener->cm.backlog;
	struct rsk_sock *child = backlog->ready.first;

	if (!child)
		return NULL;
	detach(&backlog->ready, child);
	/* There is room for one more. */
	rsk_sock_ref(listener);
	if (!rsk_progress_post(&backlog->admit))
		rsk_sock_unref(listener);
	return child;
}

static int run_drop(void *child)
{
	drop(child);
	return 0;
}

void rsk_backlog_put_back(struct rsk_sock *listener, struct rsk_sock *child)
{
	bool listening;

	rsk_lock(&listener->lock);
	listening = listener->state == RSK_LISTENING;
	if (listening) {
		prepend(&listener->cm.backlog.ready, child);
		rsk_sock_wake(listener);
	}
	rsk_unlock(&listener->lock);
	if (!listening)
		rsk_progress_call(run_drop, child);
}
