/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "verbs.h"

#include <poll.h>
#include <stdlib.h>

#include "rawpeer.h"

#define RESOLVE_MS 10000

const struct terms usual_terms = { .rnr_retry = 7, .rd_atomic = 4, .ps = RDMA_PS_TCP };

/* -- the connection manager -------------------------------------------------------------------- */

enum rdma_cm_event_type next_event(struct rdma_event_channel *events, struct rdma_cm_event *out)
{
	struct pollfd ready = { .fd = events->fd, .events = POLLIN };
	enum rdma_cm_event_type type;
	struct rdma_cm_event *event;

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "no CM event");
	ck_assert_int_eq(rdma_get_cm_event(events, &event), 0);
	type = event->event;
	if (out)
		*out = *event;
	rdma_ack_cm_event(event);
	return type;
}

void expect_event(struct rdma_event_channel *events, enum rdma_cm_event_type type)
{
	enum rdma_cm_event_type got = next_event(events, NULL);

	ck_assert_msg(got == type, "CM event %s, not %s", rdma_event_str(got), rdma_event_str(type));
}

void listen_at(struct address here, int backlog, struct rdma_event_channel **events, struct rdma_cm_id **id,
	       enum rdma_port_space ps)
{
	*events = rdma_create_event_channel();
	ck_assert_ptr_nonnull(*events);
	ck_assert_int_eq(rdma_create_id(*events, id, NULL, ps), 0);
	ck_assert_int_eq(rdma_bind_addr(*id, &here.any), 0);
	ck_assert_int_eq(rdma_listen(*id, backlog), 0);
}

void listen_here(struct rdma_event_channel **events, struct rdma_cm_id **id, enum rdma_port_space ps)
{
	listen_at(address_of_device(AF_INET, 0), 8, events, id, ps);
}

void resolve(struct end *end, struct sockaddr *to, enum rdma_port_space ps)
{
	*end = (struct end){ .events = rdma_create_event_channel() };
	ck_assert_ptr_nonnull(end->events);
	ck_assert_int_eq(rdma_create_id(end->events, &end->id, NULL, ps), 0);
	ck_assert_int_eq(rdma_resolve_addr(end->id, NULL, to, RESOLVE_MS), 0);
	expect_event(end->events, RDMA_CM_EVENT_ADDR_RESOLVED);
	ck_assert_int_eq(rdma_resolve_route(end->id, RESOLVE_MS), 0);
	expect_event(end->events, RDMA_CM_EVENT_ROUTE_RESOLVED);
}

static void make_srq(struct end *end)
{
	struct ibv_srq_init_attr init = { .attr = { .max_wr = VERBS_QUEUE, .max_sge = 2 } };

	end->srq = ibv_create_srq(end->pd, &init);
	ck_assert_ptr_nonnull(end->srq);
}

void make_qp(struct end *end, const struct terms *terms)
{
	int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
	int entries = terms->cq_entries ? terms->cq_entries : 64;
	struct ibv_qp_init_attr attr = {
		.qp_type = terms->ps == RDMA_PS_UDP ? IBV_QPT_UD : IBV_QPT_RC,
		.sq_sig_all = terms->sq_sig_all,
		.cap = { .max_send_wr = VERBS_QUEUE, .max_recv_wr = VERBS_QUEUE,
			 .max_send_sge = 2, .max_recv_sge = 2 },
	};

	end->pd = ibv_alloc_pd(end->id->verbs);
	ck_assert_ptr_nonnull(end->pd);
	end->channel = ibv_create_comp_channel(end->id->verbs);
	ck_assert_ptr_nonnull(end->channel);
	end->sends = ibv_create_cq(end->id->verbs, entries, NULL, end->channel, 0);
	end->recvs = ibv_create_cq(end->id->verbs, entries, NULL, end->channel, 0);
	ck_assert(end->sends && end->recvs);
	end->memory = aligned_alloc(4096, VERBS_BYTES);
	ck_assert_ptr_nonnull(end->memory);
	memset(end->memory, 0, VERBS_BYTES);
	end->mr = ibv_reg_mr(end->pd, end->memory, VERBS_BYTES, access);
	ck_assert_ptr_nonnull(end->mr);
	if (terms->srq)
		make_srq(end);
	attr.srq = end->srq;
	attr.send_cq = end->sends;
	attr.recv_cq = end->recvs;
	ck_assert_int_eq(rdma_create_qp(end->id, end->pd, &attr), 0);
}

static struct rdma_conn_param param_of(const struct terms *terms)
{
	return (struct rdma_conn_param){
		.responder_resources = terms->rd_atomic, .initiator_depth = terms->rd_atomic,
		.retry_count = 2, .rnr_retry_count = terms->rnr_retry,
	};
}

struct link linked(const struct terms *terms)
{
	struct rdma_conn_param param = param_of(terms);
	struct rdma_cm_event event;
	struct link link;

	listen_here(&link.events, &link.listener, terms->ps);
	resolve(&link.a, rdma_get_local_addr(link.listener), terms->ps);
	make_qp(&link.a, terms);
	ck_assert_int_eq(rdma_connect(link.a.id, &param), 0);
	ck_assert_int_eq(next_event(link.events, &event), RDMA_CM_EVENT_CONNECT_REQUEST);
	link.asked = event.param.conn;
	link.b = (struct end){ .events = link.events, .id = event.id };
	make_qp(&link.b, terms);
	param.qp_num = link.b.id->qp->qp_num;
	ck_assert_int_eq(rdma_accept(link.b.id, &param), 0);
	ck_assert_int_eq(next_event(link.a.events, &event), RDMA_CM_EVENT_ESTABLISHED);
	link.answered = event.param.conn;
	link.where = event.param.ud;
	if (terms->ps == RDMA_PS_TCP)
		expect_event(link.events, RDMA_CM_EVENT_ESTABLISHED);
	return link;
}

void free_end(struct end *end)
{
	if (end->id->qp)
		rdma_destroy_qp(end->id);
	if (end->srq)
		ck_assert_int_eq(ibv_destroy_srq(end->srq), 0);
	ck_assert_int_eq(ibv_destroy_cq(end->sends), 0);
	ck_assert_int_eq(ibv_destroy_cq(end->recvs), 0);
	ck_assert_int_eq(ibv_destroy_comp_channel(end->channel), 0);
	if (end->mr)
		ck_assert_int_eq(ibv_dereg_mr(end->mr), 0);
	ck_assert_int_eq(ibv_dealloc_pd(end->pd), 0);
	ck_assert_int_eq(rdma_destroy_id(end->id), 0);
	free(end->memory);
}

void link_end(struct link *link)
{
	free_end(&link->a);
	free_end(&link->b);
	ck_assert_int_eq(rdma_destroy_id(link->listener), 0);
	rdma_destroy_event_channel(link->a.events);
	rdma_destroy_event_channel(link->events);
}

bool lacks(const char *what)
{
	bool iwarp = device_is_iwarp();

	if (iwarp)
		skip(what);
	return iwarp;
}

/* -- work -------------------------------------------------------------------------------------- */

int post_send(struct end *end, struct ibv_send_wr wr, size_t offset, uint32_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)end->memory + offset, .length = len,
			       .lkey = end->mr->lkey };
	struct ibv_send_wr *bad;

	if (!wr.sg_list) {
		wr.sg_list = &sge;
		wr.num_sge = len ? 1 : 0;
	}
	return ibv_post_send(end->id->qp, &wr, &bad);
}

void post_recv(struct end *end, uint64_t wr_id, size_t offset, uint32_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)end->memory + offset, .length = len,
			       .lkey = end->mr->lkey };
	struct ibv_recv_wr wr = { .wr_id = wr_id, .sg_list = &sge, .num_sge = len ? 1 : 0 }, *bad;

	if (end->srq)
		ck_assert_int_eq(ibv_post_srq_recv(end->srq, &wr, &bad), 0);
	else
		ck_assert_int_eq(ibv_post_recv(end->id->qp, &wr, &bad), 0);
}

struct ibv_send_wr remote(enum ibv_wr_opcode opcode, const struct end *there, size_t offset)
{
	return (struct ibv_send_wr){
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = (uintptr_t)there->memory + offset, .rkey = there->mr->rkey },
	};
}

struct ibv_wc completion(struct ibv_cq *cq)
{
	uint64_t limit = now_ms() + LIMIT_MS;
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(cq, 1, &wc)))
		ck_assert_msg(now_ms() < limit, "no completion");
	ck_assert_int_eq(n, 1);
	return wc;
}

void expect_status_or(struct ibv_cq *cq, enum ibv_wc_status card, enum ibv_wc_status rxe)
{
	enum ibv_wc_status got = completion(cq).status;

	ck_assert_msg(got == card || got == rxe, "completed with \"%s\", not \"%s\"", ibv_wc_status_str(got),
		      ibv_wc_status_str(card));
}

void expect_status(struct ibv_cq *cq, enum ibv_wc_status status)
{
	expect_status_or(cq, status, status);
}

void await_event(const struct ibv_comp_channel *channel)
{
	struct pollfd ready = { .fd = channel->fd, .events = POLLIN };

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "no completion event");
}

bool has_event(const struct ibv_comp_channel *channel)
{
	struct pollfd ready = { .fd = channel->fd, .events = POLLIN };

	return poll(&ready, 1, QUIET_MS) == 1;
}

enum ibv_qp_state state_of(const struct end *end)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	ck_assert_int_eq(ibv_query_qp(end->id->qp, &attr, IBV_QP_STATE, &init), 0);
	return attr.qp_state;
}
