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

#include "iov.h"

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
/* Of a connection that was accepted, before anybody else knows it: where the peer must begin, the engine sees
 * to it that what waits for that goes out, whoever looks at the socket. Engine thread. */
void rsk_stream_await_peer(struct rsk_sock *sk);

/* Takes in all completions. The one function that makes progress on a connection: whoever waits
 * calls it. State lock held; nothing happens unless the connection is up. */
void rsk_stream_progress(struct rsk_sock *sk);

/* A work request could not be posted: takes in what has arrived, which may be the end of the stream; if it is not,
 * the connection has failed, with @err. State lock held. */
void rsk_stream_post_failed(struct rsk_sock *sk, int err, const char *what);

/* Sends what is due: segments, credits, SHUTDOWN, DISCONNECT. State lock held. */
void rsk_stream_send_control(struct rsk_sock *sk);
/* Some of it must wait until a send completes: the queue has no entry for it. State lock held. */
bool rsk_stream_control_waits(const struct rsk_sock *sk);

/* For who sends a control message that writes to the peer's list: is there room for one? If so, memory for
 * what is to be written, and the sending, at this distance from the start of the list. State lock held. */
bool rsk_stream_can_control(const struct rsk_sock *sk);
uint8_t *rsk_stream_out_slot(struct rsk_sock *sk);
void rsk_stream_write_list(struct rsk_sock *sk, uint64_t at, const uint8_t *bytes, uint32_t len,
			   uint32_t msg, const char *what);

/* Gives the send memory back when nothing is in flight. State lock held. */
void rsk_stream_rest(struct rsk_sock *sk);

/* A send would take a useful amount, or fail: POLLOUT. State lock held. */
bool rsk_stream_writable(struct rsk_sock *sk);
/* Ends directions, as shutdown(2) names them. Under no lock. */
void rsk_stream_shutdown(struct rsk_sock *sk, int how);

/* True when nothing that was sent can still be lost by destroying the QP. State lock held. */
bool rsk_stream_drained(struct rsk_sock *sk);

/* May this socket send? 0, -EAGAIN (connecting), or the errno of the call. State lock held. */
int rsk_stream_check_send(const struct rsk_sock *sk);

/* Bytes that the peer's adapter has not confirmed. 0 is exact; otherwise it may be less, as of small messages
 * only their number is known. Under no lock. */
int rsk_stream_unconfirmed(struct rsk_sock *sk);

/* For cork.h, with tx.lock held. All return 0 or -errno. Waits, as the call whose @flags these are, until there
 * is room to send; *deadline is set by the first wait of a call. */
int rsk_stream_await_room(struct rsk_sock *sk, int flags, int64_t *deadline);
/* Sends it all, or what has room if the call must not wait: from->done tells. */
int rsk_stream_send_all(struct rsk_sock *sk, struct rsk_cursor *from, int flags, int64_t *deadline);
/* The same without waiting, for nobody's call, and also when our own end is due. */
int rsk_stream_send_now(struct rsk_sock *sk, struct rsk_cursor *from);

/* @from and @to are not empty. */
ssize_t rsk_stream_send(struct rsk_sock *sk, struct rsk_cursor *from, int flags);
/* To the peer's mapping at @offset; see iomap.h. */
ssize_t rsk_stream_write(struct rsk_sock *sk, struct rsk_cursor *from, uint64_t offset, int flags);
ssize_t rsk_stream_recv(struct rsk_sock *sk, struct rsk_cursor *to, int flags);

#endif
