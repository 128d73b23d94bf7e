/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Joining small sends. What is sent with MSG_MORE, or while TCP_CORK is set, is held back; it goes first in the
 * message of the next send that has no MSG_MORE while TCP_CORK is not set. It waits no longer when
 *
 *   - there is enough of it: RSK_CORK_FULL
 *   - a mapping is written to: what was sent before must be there before
 *   - TCP_CORK is cleared, or TCP_NODELAY set
 *   - the stream ends
 *   - RSK_CORK_MS have passed
 *
 * as in Linux. The last three do not wait for room: where there is none, the engine sends it when there is, and the
 * end behind it.
 *
 * Locks: whoever sends what is held, or adds to it, has tx.lock; the state lock guards the rest, so that either
 * is enough to see how much it is. What comes while another thread has tx.lock is that thread's to do, when it
 * lets go: so the engine never waits for it.
 */
#ifndef RSK_CORK_H
#define RSK_CORK_H

#include <stdbool.h>
#include <stdint.h>

#include "iov.h"
#include "progress.h"

struct rsk_sock;

enum {
	RSK_CORK_FULL = 4 << 10,     /* the largest path MTU: what fills a packet gains nothing by waiting */
	RSK_CORK_MS = 200,           /* as Linux */
};

struct rsk_cork {
	uint8_t *bytes;              /* there is memory only while something is held; tx.lock */
	uint32_t held;               /* how many they are; to change it takes both locks */
	int64_t since;               /* when the first of them came, or sending it was last tried; ns */
	bool timed;                  /* the engine looks when their time has come */
	struct rsk_timer timer;      /* engine thread, as the next */
	struct rsk_work work;
};

/* Joins what can be: on return @from is where the rest begins, that is to be sent as it is. 0 or -errno, with
 * what was accepted in from->done. tx.lock held. */
int rsk_cork_join(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline);
/* Sends what is held, and waits for that as the call whose @flags these are. 0 or -errno. tx.lock held. */
int rsk_cork_send(struct rsk_sock *sk, int flags, int64_t *deadline);

/* Sends what is held as far as there is room; the engine does the rest. Does not wait. tx.lock held. */
void rsk_cork_flush(struct rsk_sock *sk);
/* The same under no lock. Who has tx.lock does it instead. */
void rsk_cork_push(struct rsk_sock *sk);

/* An option was set. State lock held, but not while bytes are sent. */
void rsk_cork_changed(struct rsk_sock *sk);
void rsk_cork_nodelay_changed(struct rsk_sock *sk);

/* For what could not be sent there may be room now. State lock held. */
void rsk_cork_retry(struct rsk_sock *sk);

/* For rsk_sock_new(), a connection that is up (state lock held), and its end, on the engine thread. */
void rsk_cork_init(struct rsk_cork *cork);
void rsk_cork_open(struct rsk_sock *sk);
void rsk_cork_stop(struct rsk_cork *cork);

#endif
