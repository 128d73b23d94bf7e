/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Is the peer still there? A probe is an RDMA write of no bytes: the peer's adapter confirms it, behind
 * all that was sent before, and its software never learns of it. So a probe without an answer tells both
 * that an idle peer is gone (SO_KEEPALIVE) and that data was not taken (TCP_USER_TIMEOUT).
 *
 *   SO_KEEPALIVE      a probe every TCP_KEEPIDLE; fails when it is TCP_KEEPINTVL * TCP_KEEPCNT without
 *                     an answer. The adapter repeats it, so further probes would tell nothing more.
 *   TCP_USER_TIMEOUT  a probe behind data, and while there is no room to send; the time without an answer,
 *                     for both
 *
 * The engine looks after a connection only while one of these asks for it: others cost no wake-up.
 */
#ifndef RSK_KEEPALIVE_H
#define RSK_KEEPALIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "progress.h"

struct rsk_sock;

/* A socket's part: the timer is the engine's, the rest under the state lock. */
struct rsk_keepalive {
	struct rsk_timer timer;
	struct rsk_work work;
	bool running;                /* the engine looks, or will soon */
	bool data_sent;              /* since the last probe */
	int64_t probed_at;           /* ns; or since when an idle time is counted */
};

/* The connection is up, or an option has changed. State lock held. */
void rsk_keepalive_restart(struct rsk_sock *sk);

/* Data has been posted, and TCP_USER_TIMEOUT is set. State lock held. */
void rsk_keepalive_sent(struct rsk_sock *sk);

/* For rsk_sock_new() and the end of a connection, on the engine thread. */
void rsk_keepalive_init(struct rsk_keepalive *keepalive);
void rsk_keepalive_stop(struct rsk_keepalive *keepalive);

#endif
