/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The connections that a listener has not handed out yet. Each is a socket of its own, a child, in one
 * of three queues, oldest first: requested (it waits for room), accepting (answered; the peer has not
 * confirmed yet), ready (established; rsk_accept() takes it).
 */
#ifndef RSK_BACKLOG_H
#define RSK_BACKLOG_H

#include <stdbool.h>

#include "progress.h"

struct rsk_sock;

struct rsk_children {
	struct rsk_sock *first;
	unsigned count;
};

/* Touched on the engine thread; ready also by rsk_accept(), so the listener's state lock guards it. */
struct rsk_backlog {
	unsigned limit;              /* accepting and ready together at most */
	struct rsk_children requested, accepting, ready;
	struct rsk_work admit;
	/* No descriptor is left to answer requests with: they wait until the timer has passed. */
	bool starved, starved_told;
	struct rsk_timer retry;
};

/* As many requests wait as the backlog has room. Engine thread, as the next six. */
bool rsk_backlog_full(struct rsk_sock *listener);
void rsk_backlog_set_limit(struct rsk_sock *listener, int limit);
/* A new child, in state RSK_REQUESTED: the listener takes over the reference. It is answered, by
 * rsk_cm_admit(), as soon as there is room. */
void rsk_backlog_add(struct rsk_sock *listener, struct rsk_sock *child);
void rsk_backlog_established(struct rsk_sock *child);
/* A child that could not be answered for want of a descriptor is a request again, and waits. */
void rsk_backlog_postpone(struct rsk_sock *child);
/* A child that failed before it was established is nobody's: drops it. */
void rsk_backlog_bury(struct rsk_sock *child);
void rsk_backlog_drop_all(struct rsk_sock *listener);

/* The oldest established child, or NULL; the listener's reference is the caller's. State lock held. */
struct rsk_sock *rsk_backlog_take(struct rsk_sock *listener);
/* Puts it back, in front; drops it if the listener was shut down meanwhile, whose queues nobody empties again. */
void rsk_backlog_put_back(struct rsk_sock *listener, struct rsk_sock *child);

#endif
