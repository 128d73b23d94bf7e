/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Socket options: every one that a socket has is a row of the table in options.c. Where a TCP socket of
 * Linux has it, it takes the same values and fails with the same errno. Also ioctl(2) requests.
 */
#ifndef RSK_OPTIONS_H
#define RSK_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>

struct rsk_sock;

enum {
	RSK_BUFFER_DEFAULT = 128 << 10,
	RSK_BUFFER_MIN = 4 << 10,
	RSK_BUFFER_MAX = 16 << 20,
	RSK_KEEPCNT_MAX = 127,
};

struct rsk_options {
	int sq_size, rq_size;        /* entries */
	int inline_size;             /* bytes */
	int iomap_size;              /* entries of the table for the peer's mappings */
	int sndbuf;                  /* bytes */
	int rcvbuf;                  /* bytes; 0: segments start small and grow */
	int rcvlowat;                /* bytes */
	int reuseaddr, v6only, keepalive, nodelay, cork;
	int oobinline, broadcast, priority, quickack, defer_accept; /* kept, without an effect */
	int tos;                     /* of connections that this socket makes */
	int keepidle, keepintvl;     /* s */
	int keepcnt;                 /* probes */
	int user_timeout;            /* ms; 0: as long as the adapter tries */
	struct linger linger;
	struct timeval rcvtimeo, sndtimeo;
};

/* What a new socket has. */
void rsk_options_init(struct rsk_options *options);

/* Under the state lock. 0 or -errno. */
int rsk_option_set(struct rsk_sock *sk, int level, int name, const void *value, socklen_t len);
int rsk_option_get(struct rsk_sock *sk, int level, int name, void *value, socklen_t *len);

/* A request that takes or gives an int. Under no lock. 0 or -errno. */
int rsk_sock_ioctl(struct rsk_sock *sk, unsigned long request, int *value);

#endif
