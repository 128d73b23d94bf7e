/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Peers in a process of their own, which can be killed. */
#ifndef RSK_TEST_PEER_H
#define RSK_TEST_PEER_H

#include "sockets.h"

/* The thread sanitizer allows a forked child no threads. */
#ifdef __SANITIZE_THREAD__
#define CHILDREN_HAVE_NO_THREADS true
#else
#define CHILDREN_HAVE_NO_THREADS false
#endif

struct peer {
	pid_t pid;
	int tell;
	int hear;
};

/* Call before anything of rsk. The peer ends when @body returns, without exit handlers. */
void peer_start(struct peer *p, void (*body)(struct peer *me));

/* The two meet: what the test says in order is heard in order, and the reverse. */
void peer_say(struct peer *p, const void *what, size_t len);
void peer_listen(struct peer *p, void *what, size_t len);
void peer_signal(struct peer *p);
void peer_await(struct peer *p);

/* In the test: the connection that the peer makes with peer_connect(). */
int peer_accept(struct peer *p, const struct option *options);
int peer_connect(struct peer *me, const struct option *options);

void peer_kill(struct peer *p);

/* Waits for its end, which must be exit status 0. */
void peer_finish(struct peer *p);

#endif
