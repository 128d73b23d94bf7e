/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The byte stream over a QP: what goes out (stream_send.c), what comes in (stream_recv.c), and what
 * both need (stream.c): setting up, taking in completions, control messages, ending.
 */
#ifndef RSK_STREAM_H
#define RSK_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ibv_context;
struct ibv_qp;
struct ibv_qp_init_attr;
struct rsk_hello;
struct rsk_sock;

/* Memory, channel and CQs for a connection over this device; fills in @attr for the CM's QP. Then
 * rsk_stream_attach(), which also tells what to send in the private data. On failure, and at the
 * end, rsk_stream_destroy(). Engine thread. */
int rsk_stream_setup(struct rsk_sock *sk, struct ibv_context *verbs, struct ibv_qp_init_attr *attr);
int rsk_stream_attach(struct rsk_sock *sk, struct ibv_qp *qp, uint32_t max_inline,
		      struct rsk_hello *hello);
void rsk_stream_destroy(struct rsk_sock *sk);

/* The connection is up: takes over what the peer said, advertises the second segment. State lock. */
void rsk_stream_open(struct rsk_sock *sk, const struct rsk_hello *peer);

/* Takes in all completions. The one function that makes progress on a connection: whoever waits
 * calls it. State lock held; nothing happens unless the connection is up. */
void rsk_stream_progress(struct rsk_sock *sk);

/* Sends what is due: segments, credits, SHUTDOWN, DISCONNECT. State lock held. */
void rsk_stream_send_control(struct rsk_sock *sk);

/* Gives the send memory back when nothing is in flight. State lock held. */
void rsk_stream_rest(struct rsk_sock *sk);

/* Bytes that a send could take now, up to @want; @want 1 asks whether any. State lock held. */
uint32_t rsk_stream_room(struct rsk_sock *sk, uint32_t want);
/* A send would take a useful amount, or fail: POLLOUT. State lock held. */
bool rsk_stream_writable(struct rsk_sock *sk);
/* Has data arrived that nobody has taken? State lock held. */
bool rsk_stream_has_data(struct rsk_sock *sk);

/* Up to where data has arrived. State lock held. */
struct rsk_position rsk_stream_fill(struct rsk_sock *sk);
/* Up to where the application has taken it; set under rx.lock. */
struct rsk_position rsk_stream_drained_to(struct rsk_sock *sk);
void rsk_stream_set_drained(struct rsk_sock *sk, struct rsk_position at);

/* Ends the sending direction. Under no lock. */
void rsk_stream_shutdown(struct rsk_sock *sk, int how);

/* True when nothing that was sent can still be lost by destroying the QP. State lock held. */
bool rsk_stream_drained(struct rsk_sock *sk);

ssize_t rsk_stream_send(struct rsk_sock *sk, const struct iovec *iov, int iovcnt, int flags);
ssize_t rsk_stream_recv(struct rsk_sock *sk, const struct iovec *iov, int iovcnt, int flags);

#endif
