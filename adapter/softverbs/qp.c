/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Queue pairs: life, states, and the way to the peer. A QP's number holds the number of its node and its
 * place there, so a number is all one needs to find the process. When two QPs are ready to receive, the
 * one with the lower number makes the wire between them and the other attaches it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "objects.h"
#include "options.h"

enum { PLACES = 4096 };

static struct soft_qp *table[PLACES];
static unsigned last_place;

struct soft_qp *soft_qp_find(uint32_t qpn)
{
	struct soft_qp *qp = table[qpn % PLACES];

	return qp && qp->ibv.qp_num == qpn ? qp : NULL;
}

/* Making and destroying */

static int check_caps(struct ibv_qp_init_attr *init)
{
	struct ibv_qp_cap *cap = &init->cap;
	uint32_t wrs = (uint32_t)soft_options.max_qp_wr, sges = (uint32_t)soft_options.max_sge;
	uint32_t inline_max = (uint32_t)soft_options.max_inline;
	uint32_t sge_bytes = cap->max_send_sge * (uint32_t)sizeof(struct ibv_sge);

	if (init->qp_type != IBV_QPT_RC && !(init->qp_type == IBV_QPT_UD && !soft_options.iwarp))
		return EOPNOTSUPP;
	if (!init->send_cq || !init->recv_cq || cap->max_send_wr > wrs || cap->max_recv_wr > wrs ||
	    cap->max_send_sge > sges || cap->max_recv_sge > sges ||
	    cap->max_inline_data > inline_max)
		return EINVAL;
	/* Inline data lies where SGEs would: cards have room for that much, asked or not, and say so. */
	if (cap->max_inline_data < sge_bytes)
		cap->max_inline_data = sge_bytes < inline_max ? sge_bytes : inline_max;
	return 0;
}

static int make_queues(struct soft_qp *qp)
{
	struct ibv_qp_cap *cap = &qp->init.cap;
	size_t n = soft_ring_size(cap->max_send_wr), nsge = cap->max_send_sge;

	qp->sq_mask = (uint32_t)n - 1;
	qp->sends = calloc(n, sizeof(*qp->sends));
	qp->send_sges = calloc(n * nsge + 1, sizeof(*qp->send_sges));
	qp->inline_room = calloc(n, cap->max_inline_data + 1);
	qp->recv_sges = calloc((size_t)soft_options.max_sge, sizeof(*qp->recv_sges));
	return qp->sends && qp->send_sges && qp->inline_room && qp->recv_sges ? 0 : ENOMEM;
}

static void free_qp(struct soft_qp *qp)
{
	soft_rq_free(&qp->rq);
	free(qp->sends);
	free(qp->send_sges);
	free(qp->inline_room);
	free(qp->recv_sges);
	free(qp);
}

static int enter(struct soft_qp *qp)
{
	int ret = -soft_node_start();

	if (ret)
		return ret;
	if (soft_counts.qps == soft_options.max_qp)
		return ENOMEM;
	for (unsigned i = 0; i < PLACES; i++) {
		/* In turn, so that what is late for an old QP does not meet a new one. */
		last_place = (last_place + 1) % PLACES;
		if (!table[last_place]) {
			table[last_place] = qp;
			qp->ibv.qp_num = soft_node_number() * PLACES + last_place;
			soft_counts.qps++;
			return 0;
		}
	}
	return ENOMEM;
}

static void join_cqs(struct soft_qp *qp)
{
	struct soft_cq *send = soft_cq(qp->ibv.send_cq), *recv = soft_cq(qp->ibv.recv_cq);

	send->users++;
	recv->users++;
	qp->next_send = send->qps;
	send->qps = qp;
	if (recv != send) {
		qp->next_recv = recv->qps;
		recv->qps = qp;
	}
	soft_pd(qp->ibv.pd)->users++;
	if (qp->ibv.srq)
		soft_srq(qp->ibv.srq)->users++;
}

static void leave_cq(struct soft_qp *qp, struct ibv_cq *cq)
{
	struct soft_qp **slot = &soft_cq(cq)->qps;

	while (*slot && *slot != qp)
		slot = cq == (*slot)->ibv.send_cq ? &(*slot)->next_send : &(*slot)->next_recv;
	if (*slot)
		*slot = cq == qp->ibv.send_cq ? qp->next_send : qp->next_recv;
	soft_cq(cq)->users--;
}

struct ibv_qp *soft_qp_create(struct ibv_pd *pd, struct ibv_qp_init_attr *init)
{
	struct soft_qp *qp = calloc(1, sizeof(*qp));
	int ret = qp ? soft_fail_at(SOFT_AT_CREATE_QP) : ENOMEM;

	if (!ret)
		ret = check_caps(init);
	if (!ret) {
		qp->init = *init;
		ret = make_queues(qp);
	}
	if (!ret && !init->srq)
		ret = soft_rq_init(&qp->rq, init->cap.max_recv_wr, init->cap.max_recv_sge);
	if (!ret)
		ret = enter(qp);
	if (ret) {
		if (qp)
			free_qp(qp);
		errno = ret;
		return NULL;
	}
	qp->ibv.context = pd->context;
	qp->ibv.qp_context = init->qp_context;
	qp->ibv.pd = pd;
	qp->ibv.send_cq = init->send_cq;
	qp->ibv.recv_cq = init->recv_cq;
	qp->ibv.srq = init->srq;
	qp->ibv.qp_type = init->qp_type;
	qp->ibv.handle = qp->ibv.qp_num;
	join_cqs(qp);
	return &qp->ibv;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *init)
{
	struct ibv_qp *qp;

	soft_lock();
	qp = soft_qp_create(pd, init);
	soft_unlock();
	return qp;
}

/* Tells the peer, so that it gives up instead of waiting for us. */
static void hang_up(struct soft_qp *qp)
{
	if (qp->wire.map) {
		atomic_store(&qp->wire.out->gone, 1);
		soft_qp_bell(qp, SOFT_UNTIL_PACKET);
	}
	soft_wire_detach(&qp->wire);
	soft_wire_detach(&qp->early);
}

/* Drops the lock while it waits for acknowledgements. */
void soft_qp_destroy(struct soft_qp *qp)
{
	hang_up(qp);
	soft_timer_stop(&qp->timer);
	soft_timer_stop(&qp->heal);
	soft_async_forget(qp);
	table[qp->ibv.qp_num % PLACES] = NULL;
	soft_counts.qps--;
	leave_cq(qp, qp->ibv.send_cq);
	if (qp->ibv.recv_cq != qp->ibv.send_cq)
		leave_cq(qp, qp->ibv.recv_cq);
	else
		soft_cq(qp->ibv.recv_cq)->users--;
	soft_pd(qp->ibv.pd)->users--;
	if (qp->ibv.srq)
		soft_srq(qp->ibv.srq)->users--;
	soft_acks_await(&qp->acks);
	free_qp(qp);
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
	soft_lock();
	soft_qp_destroy(soft_qp(qp));
	soft_unlock();
	return 0;
}

/* The wire */

void soft_qp_bell(struct soft_qp *qp, enum soft_sleep until)
{
	uint32_t peer = qp->attr.dest_qp_num;
	struct soft_packet bell = { .type = SOFT_BELL, .to = peer, .from = qp->ibv.qp_num };
	struct soft_link *link;

	if (soft_wire_wake(&qp->wire, until) && !soft_link_to_node(peer / PLACES, &link))
		soft_link_send(link, &bell, sizeof(bell), -1);
}

static void attached(struct soft_qp *qp)
{
	qp->gone = false;
	soft_timer_stop(&qp->timer);
	soft_qp_progress(qp);
}

static void use_early(struct soft_qp *qp)
{
	qp->wire = qp->early;
	qp->early = (struct soft_wire){ 0 };
	attached(qp);
}

/* Now that this end is ready to receive. If there is nobody, what is sent will not be acknowledged; it is an
 * error if this process has no room to look. */
static int attach(struct soft_qp *qp)
{
	struct soft_packet packet = { .type = SOFT_ATTACH, .to = qp->attr.dest_qp_num,
				      .from = qp->ibv.qp_num };
	struct soft_link *link;
	int fd, ret = soft_link_to_node(packet.to / PLACES, &link);

	qp->gone = true;             /* until somebody is there */
	if (ret)
		return ret == -ECONNREFUSED ? 0 : ret;
	if (qp->early.map && qp->early_from == packet.to) {
		use_early(qp);
	} else if (packet.from <= packet.to) {
		ret = soft_wire_create(&qp->wire, &fd);
		if (ret)
			return ret;
		soft_link_send(link, &packet, sizeof(packet), fd);
		close(fd);
		attached(qp);
	}
	return 0;
}

void soft_qp_take_attach(struct soft_link *link, const struct soft_packet *packet, int fd)
{
	struct soft_packet detached = { .type = SOFT_DETACHED, .to = packet->from, .from = packet->to };
	struct soft_qp *qp = soft_qp_find(packet->to);
	enum ibv_qp_state state = qp ? qp->ibv.state : IBV_QPS_ERR;

	/* Only from the node of that QP, and only to whom can wait for it. The descriptor is lost if this process
	 * can have no more of them. */
	if (fd < 0 || state == IBV_QPS_ERR || qp->wire.map || packet->from / PLACES != soft_link_node(link) ||
	    (state >= IBV_QPS_RTR && qp->attr.dest_qp_num != packet->from)) {
		soft_link_send(link, &detached, sizeof(detached), -1);
		if (fd >= 0)
			close(fd);
		return;
	}
	soft_wire_detach(&qp->early);
	if (soft_wire_attach(&qp->early, fd))
		return;
	qp->early_from = packet->from;
	if (state >= IBV_QPS_RTR)
		use_early(qp);
}

void soft_qp_take_detached(const struct soft_packet *packet)
{
	struct soft_qp *qp = soft_qp_find(packet->to);

	if (qp && qp->attr.dest_qp_num == packet->from) {
		qp->gone = qp->lost = true;
		soft_qp_progress(qp);
	}
}

void soft_qp_take_bell(uint32_t qpn)
{
	struct soft_qp *qp = soft_qp_find(qpn);

	if (qp)
		soft_qp_progress(qp);
}

void soft_qp_lost(struct soft_link *link)
{
	for (unsigned i = 0; i < PLACES; i++) {
		struct soft_qp *qp = table[i];

		if (!qp || qp->ibv.qp_type == IBV_QPT_UD || qp->ibv.state < IBV_QPS_RTR ||
		    qp->attr.dest_qp_num / PLACES != soft_link_node(link))
			continue;
		soft_qp_progress(qp); /* what it had sent */
		qp->gone = qp->lost = true;
		soft_qp_progress(qp);
	}
}

void soft_qp_forget(void)
{
	/* Wires are not inherited: they are unmapped in the child. */
	for (unsigned i = 0; i < PLACES; i++) {
		if (!table[i])
			continue;
		table[i]->wire = table[i]->early = (struct soft_wire){ 0 };
		table[i]->ibv.state = IBV_QPS_ERR;
	}
}

/* Progress */

static bool take_packets(struct soft_qp *qp)
{
	struct soft_head head;
	bool any = false;

	while (soft_wire_next(&qp->wire, &head)) {
		uint32_t end = qp->wire.in_tail + head.size;

		if (head.op == SOFT_OP_NAK)
			soft_send_take_nak(qp, &head);
		else if (head.op == SOFT_OP_RESPONSE)
			soft_send_take_response(qp, &head);
		else
			soft_recv_take(qp, &head);
		if (!qp->wire.map)
			return true;         /* it was the last: the QP has failed */
		soft_wire_skip(&qp->wire, end - qp->wire.in_tail);
		if (soft_wire_done(&qp->wire, &head))
			soft_qp_bell(qp, SOFT_UNTIL_PACKET);
		any = true;
	}
	return any;
}

static void step(struct soft_qp *qp)
{
	bool any;

	do {
		any = qp->wire.map && take_packets(qp);
		if (qp->wire.map)
			soft_recv_answer(qp);
		soft_send_complete(qp);
		soft_send_pump(qp);
	} while (any);
}

void soft_qp_progress(struct soft_qp *qp)
{
	if (qp->ibv.state < IBV_QPS_RTR || qp->ibv.state == IBV_QPS_ERR || qp->cut)
		return;
	step(qp);
	if (qp->wire.map) {
		soft_wire_sleep(&qp->wire, soft_send_awaits_acks(qp) ? SOFT_UNTIL_ACK : SOFT_UNTIL_PACKET);
		step(qp);            /* what came before we were asleep rang no bell */
	}
	if (qp->wire.map && (qp->wire.broken || soft_wire_peer_gone(&qp->wire)))
		qp->gone = true;
	soft_send_pump(qp);
}

void soft_qp_fail(struct soft_qp *qp)
{
	if (qp->ibv.state == IBV_QPS_ERR)
		return;
	qp->ibv.state = IBV_QPS_ERR;
	soft_timer_stop(&qp->timer);
	if (qp->wire.map && qp->nak_due)
		soft_recv_answer(qp);
	hang_up(qp);
	soft_send_flush(qp);
	soft_recv_flush(qp);
}

/* Faults */

static void heal(struct soft_timer *timer)
{
	struct soft_qp *qp = (struct soft_qp *)((char *)timer - offsetof(struct soft_qp, heal));

	qp->cut = false;
	qp->gone = qp->lost;
	if (!qp->wire.map)
		return;
	atomic_store(&qp->wire.out->gone, 0);
	soft_qp_bell(qp, SOFT_UNTIL_PACKET);
	soft_qp_progress(qp);
}

void soft_qp_cut(struct soft_qp *qp, unsigned ms)
{
	if (!qp->wire.map)
		return;
	qp->cut = qp->gone = true;
	/* To the other end it looks the same. */
	atomic_store(&qp->wire.out->gone, 1);
	soft_qp_bell(qp, SOFT_UNTIL_PACKET);
	if (ms)
		soft_timer_start(&qp->heal, ms * SOFT_MS, heal);
}

static void port_is_up(struct soft_timer *timer)
{
	(void)timer;
	soft_async_event(IBV_EVENT_PORT_ACTIVE, NULL);
}

void soft_qp_cut_all(unsigned ms)
{
	static struct soft_timer up;

	for (unsigned i = 0; i < PLACES; i++) {
		if (table[i])
			soft_qp_cut(table[i], ms);
	}
	soft_async_event(IBV_EVENT_PORT_ERR, NULL);
	if (ms)
		soft_timer_start(&up, ms * SOFT_MS, port_is_up);
}

/* States */

static const struct {
	enum ibv_qp_state from, to;
	int rc, ud;                  /* what must be given */
	int rc_may, ud_may;          /* what else may be */
} steps[] = {
	{ IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
	  IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY, 0, 0 },
	{ IBV_QPS_INIT, IBV_QPS_INIT, 0, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
	  IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY },
	{ IBV_QPS_INIT, IBV_QPS_RTR, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
	  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER, 0,
	  IBV_QP_ACCESS_FLAGS | IBV_QP_PKEY_INDEX, IBV_QP_PKEY_INDEX | IBV_QP_QKEY },
	{ IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
	  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC, IBV_QP_SQ_PSN,
	  IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER, IBV_QP_CUR_STATE | IBV_QP_QKEY },
	{ IBV_QPS_RTS, IBV_QPS_RTS, 0, 0, IBV_QP_CUR_STATE | IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER,
	  IBV_QP_CUR_STATE | IBV_QP_QKEY },
};

static bool step_allowed(const struct soft_qp *qp, enum ibv_qp_state to, int mask)
{
	bool ud = qp->ibv.qp_type == IBV_QPT_UD;

	mask &= ~IBV_QP_STATE;
	if (to == IBV_QPS_RESET || to == IBV_QPS_ERR)
		return !mask;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int must = ud ? steps[i].ud : steps[i].rc;
		int may = must | (ud ? steps[i].ud_may : steps[i].rc_may);

		if (steps[i].from == qp->ibv.state && steps[i].to == to)
			return (mask & must) == must && !(mask & ~may);
	}
	return false;
}

static bool values_allowed(const struct ibv_qp_attr *attr, int mask)
{
	return !(mask & IBV_QP_PORT && attr->port_num != 1) &&
	       !(mask & IBV_QP_PKEY_INDEX && attr->pkey_index) &&
	       !(mask & IBV_QP_MAX_QP_RD_ATOMIC && attr->max_rd_atomic > soft_options.max_rd_atomic) &&
	       !(mask & IBV_QP_MAX_DEST_RD_ATOMIC &&
		 attr->max_dest_rd_atomic > soft_options.max_rd_atomic) &&
	       !(mask & IBV_QP_PATH_MTU && (attr->path_mtu < IBV_MTU_256 || attr->path_mtu > IBV_MTU_4096)) &&
	       !(mask & IBV_QP_MIN_RNR_TIMER && attr->min_rnr_timer > 31) &&
	       !(mask & IBV_QP_TIMEOUT && attr->timeout > 31) &&
	       !(mask & IBV_QP_RETRY_CNT && attr->retry_cnt > 7) &&
	       !(mask & IBV_QP_RNR_RETRY && attr->rnr_retry > 7);
}

static void store(struct ibv_qp_attr *to, const struct ibv_qp_attr *from, int mask)
{
#define STORE(bit, member) if (mask & (bit)) to->member = from->member
	STORE(IBV_QP_ACCESS_FLAGS, qp_access_flags);
	STORE(IBV_QP_PORT, port_num);
	STORE(IBV_QP_QKEY, qkey);
	STORE(IBV_QP_AV, ah_attr);
	STORE(IBV_QP_PATH_MTU, path_mtu);
	STORE(IBV_QP_TIMEOUT, timeout);
	STORE(IBV_QP_RETRY_CNT, retry_cnt);
	STORE(IBV_QP_RNR_RETRY, rnr_retry);
	STORE(IBV_QP_RQ_PSN, rq_psn);
	STORE(IBV_QP_MAX_QP_RD_ATOMIC, max_rd_atomic);
	STORE(IBV_QP_MIN_RNR_TIMER, min_rnr_timer);
	STORE(IBV_QP_SQ_PSN, sq_psn);
	STORE(IBV_QP_MAX_DEST_RD_ATOMIC, max_dest_rd_atomic);
	STORE(IBV_QP_DEST_QPN, dest_qp_num);
#undef STORE
}

static void reset(struct soft_qp *qp)
{
	hang_up(qp);
	soft_timer_stop(&qp->timer);
	qp->sq_posted = qp->sq_sent = qp->sq_done = qp->sent_bytes = 0;
	qp->reads = qp->read_got = qp->msn = 0;
	qp->answer_head = qp->answer_tail = 0;
	qp->rnr_wait = qp->dropping = qp->in_message = qp->has_recv = qp->nak_due = false;
	qp->ack_wanted = qp->gone = qp->lost = qp->cut = false;
	qp->rq.head = qp->rq.tail = 0;
}

int soft_qp_modify(struct soft_qp *qp, const struct ibv_qp_attr *attr, int mask)
{
	enum ibv_qp_state from = qp->ibv.state, to = mask & IBV_QP_STATE ? attr->qp_state : from;
	int ret = 0;

	if (mask & IBV_QP_CUR_STATE && attr->cur_qp_state != from)
		return EINVAL;
	if (!step_allowed(qp, to, mask) || !values_allowed(attr, mask))
		return EINVAL;
	store(&qp->attr, attr, mask);
	if (to == IBV_QPS_ERR) {
		soft_qp_fail(qp);
		return 0;
	}
	qp->ibv.state = to;
	if (to == IBV_QPS_RESET)
		reset(qp);
	if (to == IBV_QPS_RTR && from != to && qp->ibv.qp_type == IBV_QPT_RC)
		ret = attach(qp);
	if (ret) {
		qp->ibv.state = from;
		return -ret;
	}
	if (to == IBV_QPS_RTS && from != to) {
		qp->rnr_left = qp->attr.rnr_retry;
		soft_qp_progress(qp);
	}
	return 0;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask)
{
	int ret;

	soft_lock();
	ret = soft_qp_modify(soft_qp(qp), attr, attr_mask);
	soft_unlock();
	return ret;
}

int ibv_query_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr, int attr_mask,
		 struct ibv_qp_init_attr *init)
{
	struct soft_qp *qp = soft_qp(ibv);

	(void)attr_mask;
	soft_lock();
	*attr = qp->attr;
	attr->qp_state = attr->cur_qp_state = ibv->state;
	attr->cap = qp->init.cap;
	*init = qp->init;
	soft_unlock();
	return 0;
}
