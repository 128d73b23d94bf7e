/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Plain verbs, without rsk: two connected ends, in one process or two, and what completes on them. */
#ifndef RSK_TEST_VERBS_H
#define RSK_TEST_VERBS_H

#include <rdma/rdma_cma.h>

#include "sockets.h"

enum { VERBS_BYTES = 1 << 20, VERBS_QUEUE = 16 };

/* One end: an id with a QP, a CQ for each direction on one channel, and registered memory. */
struct end {
	struct rdma_event_channel *events;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *sends, *recvs;
	struct ibv_srq *srq;         /* NULL: the QP has a receive queue of its own */
	struct ibv_mr *mr;
	uint8_t *memory;
};

/* What the connection is to be like. */
struct terms {
	uint8_t rnr_retry;
	uint8_t rd_atomic;
	enum rdma_port_space ps;
	bool sq_sig_all;
	bool srq;
	int cq_entries;              /* 0: more than enough */
};

struct link {
	struct end a, b;             /* a has connected to b */
	struct rdma_event_channel *events;
	struct rdma_cm_id *listener;
	struct rdma_conn_param asked, answered; /* as the events reported them */
	struct rdma_ud_param where;  /* b, for datagrams */
};

extern const struct terms usual_terms;

/* Waits for the next event of a channel and acknowledges it; *out is a copy. */
enum rdma_cm_event_type next_event(struct rdma_event_channel *events, struct rdma_cm_event *out);
void expect_event(struct rdma_event_channel *events, enum rdma_cm_event_type type);

/* A listener at the device's address. */
void listen_at(struct address here, int backlog, struct rdma_event_channel **events, struct rdma_cm_id **id,
	       enum rdma_port_space ps);
void listen_here(struct rdma_event_channel **events, struct rdma_cm_id **id, enum rdma_port_space ps);
/* An id whose route to @to is resolved; no QP yet. */
void resolve(struct end *end, struct sockaddr *to, enum rdma_port_space ps);
void make_qp(struct end *end, const struct terms *terms);

/* Skips the test on iWARP, which lacks some of what IB and RoCE can do. */
bool lacks(const char *what);

struct link linked(const struct terms *terms);
void link_end(struct link *link);
/* All but its event channel. */
void free_end(struct end *end);

/* Posts one work request on what lies at @offset of the memory; @wr has the rest. */
int post_send(struct end *end, struct ibv_send_wr wr, size_t offset, uint32_t len);
void post_recv(struct end *end, uint64_t wr_id, size_t offset, uint32_t len);
/* A WRITE or READ that names memory of the other end. */
struct ibv_send_wr remote(enum ibv_wr_opcode opcode, const struct end *there, size_t offset);

/* The next completion; fails the test if none comes. */
struct ibv_wc completion(struct ibv_cq *cq);
void expect_status(struct ibv_cq *cq, enum ibv_wc_status status);
/* Either: as cards have it, or as Soft-RoCE does. */
void expect_status_or(struct ibv_cq *cq, enum ibv_wc_status card, enum ibv_wc_status rxe);
/* Waits for an event; has one come, or does one soon? */
void await_event(const struct ibv_comp_channel *channel);
bool has_event(const struct ibv_comp_channel *channel);
enum ibv_qp_state state_of(const struct end *end);

#endif
