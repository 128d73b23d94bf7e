/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The responder: receive queues, and what is done with the packets that come in. Everything in a packet
 * is the peer's word: keys, ranges and rights are checked here, against the memory regions and the QP.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "objects.h"
#include "options.h"

/* Receive queues */

int soft_rq_init(struct soft_rq *rq, uint32_t size, uint32_t max_sge)
{
	uint32_t places = soft_ring_size(size);

	rq->size = size;
	rq->mask = places - 1;
	rq->max_sge = max_sge;
	rq->recvs = calloc(places, sizeof(*rq->recvs));
	rq->sges = calloc((size_t)places * max_sge + 1, sizeof(*rq->sges));
	return rq->recvs && rq->sges ? 0 : ENOMEM;
}

void soft_rq_free(struct soft_rq *rq)
{
	free(rq->recvs);
	free(rq->sges);
}

static int post(struct soft_rq *rq, const struct ibv_recv_wr *wr)
{
	uint32_t place = rq->head & rq->mask;
	struct soft_recv *recv = &rq->recvs[place];
	int ret = soft_fail_at(SOFT_AT_POST_RECV);

	if (ret)
		return ret;
	if (rq->head - rq->tail == rq->size)
		return ENOMEM;
	if (wr->num_sge < 0 || (uint32_t)wr->num_sge > rq->max_sge)
		return EINVAL;
	*recv = (struct soft_recv){ .wr_id = wr->wr_id, .nsge = wr->num_sge,
				    .sge = rq->sges + place * (size_t)rq->max_sge };
	if (wr->num_sge)
		memcpy(recv->sge, wr->sg_list, (size_t)wr->num_sge * sizeof(*recv->sge));
	rq->head++;
	return 0;
}

static int post_list(struct soft_rq *rq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	int ret = 0;

	for (; wr && !ret; wr = wr->next) {
		ret = post(rq, wr);
		if (ret)
			*bad = wr;
	}
	return ret;
}

int soft_post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct soft_qp *qp = soft_qp(ibv);
	int ret = EINVAL;

	soft_lock();
	if (ibv->srq || ibv->state == IBV_QPS_RESET)
		*bad = wr;
	else
		ret = post_list(&qp->rq, wr, bad);
	if (ibv->state == IBV_QPS_ERR)
		soft_recv_flush(qp);
	soft_unlock();
	return ret;
}

int soft_post_srq_recv(struct ibv_srq *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	int ret;

	soft_lock();
	ret = post_list(&soft_srq(ibv)->rq, wr, bad);
	soft_unlock();
	return ret;
}

static void check_limit(struct soft_srq *srq)
{
	if (srq->limit && srq->rq.head - srq->rq.tail < srq->limit) {
		srq->limit = 0;      /* told once */
		soft_async_event(IBV_EVENT_SRQ_LIMIT_REACHED, &srq->ibv);
	}
}

bool soft_recv_next(struct soft_qp *qp)
{
	struct soft_srq *srq = soft_srq(qp->ibv.srq);
	struct soft_rq *rq = srq ? &srq->rq : &qp->rq;
	struct soft_recv *recv = &rq->recvs[rq->tail & rq->mask];

	if (rq->head == rq->tail)
		return false;
	qp->recv = *recv;
	qp->recv.sge = qp->recv_sges;
	if (recv->nsge)
		memcpy(qp->recv_sges, recv->sge, (size_t)recv->nsge * sizeof(*recv->sge));
	qp->has_recv = true;
	rq->tail++;
	if (srq)
		check_limit(srq);
	return true;
}

static void complete_recv(struct soft_qp *qp, enum ibv_wc_status status, const struct soft_head *head)
{
	struct ibv_wc wc = {
		.wr_id = qp->recv.wr_id,
		.status = status,
		.opcode = IBV_WC_RECV,
		.qp_num = qp->ibv.qp_num,
		.src_qp = qp->attr.dest_qp_num,
	};
	struct soft_fault fault = { 0 };

	if (head) {
		wc.opcode = head->op == SOFT_OP_WRITE ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV;
		wc.byte_len = (uint32_t)qp->received;
		if (head->flags & SOFT_IMM) {
			wc.wc_flags = IBV_WC_WITH_IMM;
			wc.imm_data = head->imm;
		}
	}
	qp->has_recv = false;
	if (status == IBV_WC_SUCCESS)
		fault = soft_fault_at(SOFT_AT_COMPLETION, 0);
	if (fault.action == SOFT_STATUS)
		wc.status = (enum ibv_wc_status)fault.value;
	if (fault.action == SOFT_DELAY)
		soft_cq_delay(qp->ibv.recv_cq, (unsigned)fault.value);
	soft_cq_push(qp->ibv.recv_cq, &wc, head && head->flags & SOFT_SOLICITED);
	if (fault.action == SOFT_STATUS)
		soft_qp_fail(qp);
}

void soft_recv_flush(struct soft_qp *qp)
{
	if (qp->has_recv)
		complete_recv(qp, IBV_WC_WR_FLUSH_ERR, NULL);
	if (qp->ibv.srq) {
		soft_async_event(IBV_EVENT_QP_LAST_WQE_REACHED, &qp->ibv);
		return;
	}
	while (soft_recv_next(qp))
		complete_recv(qp, IBV_WC_WR_FLUSH_ERR, NULL);
}

/* Refusing */

static void nak(struct soft_qp *qp, enum ibv_wc_status status)
{
	qp->nak = (struct soft_head){ .op = SOFT_OP_NAK, .msn = qp->msn, .status = (uint8_t)status,
				      .rnr_timer = qp->attr.min_rnr_timer };
	qp->nak_due = true;
}

static void nak_not_ready(struct soft_qp *qp)
{
	nak(qp, IBV_WC_RNR_RETRY_EXC_ERR);
	qp->dropping = true;
}

/* @status is what the peer's completion says, @own what ours does. */
static void refuse(struct soft_qp *qp, enum ibv_wc_status status, enum ibv_wc_status own)
{
	nak(qp, status);
	if (qp->has_recv)
		complete_recv(qp, own, NULL);
	soft_async_event(status == IBV_WC_REM_ACCESS_ERR ? IBV_EVENT_QP_ACCESS_ERR :
							   IBV_EVENT_QP_REQ_ERR, &qp->ibv);
	soft_qp_fail(qp);
}

/* Messages */

static void end_message(struct soft_qp *qp, const struct soft_head *head)
{
	qp->in_message = false;
	if (!qp->wire.map)
		return;              /* a fault has ended it */
	qp->msn++;
	soft_wire_ack(&qp->wire, qp->msn);
	if (head->flags & SOFT_SIGNALLED)
		qp->ack_wanted = true;
}

/* The start of a message. False: not taken. */
static bool begin_message(struct soft_qp *qp, bool takes_recv)
{
	if (takes_recv && (soft_fault_at(SOFT_AT_RECEIVE, 0).action == SOFT_RNR || !soft_recv_next(qp))) {
		nak_not_ready(qp);
		return false;
	}
	qp->in_message = true;
	qp->received = 0;
	return true;
}

static void take_send(struct soft_qp *qp, const struct soft_head *head)
{
	struct iovec pieces[SOFT_SGES_MAX];
	int n;

	if (head->flags & SOFT_FIRST && !begin_message(qp, true))
		return;
	if (!qp->has_recv) {         /* it began as another kind of message */
		qp->wire.broken = true;
		return;
	}
	if (qp->received + head->size > soft_sge_bytes(qp->recv.sge, qp->recv.nsge)) {
		refuse(qp, IBV_WC_REM_INV_REQ_ERR, IBV_WC_LOC_LEN_ERR);
		return;
	}
	n = soft_sge_map(qp->ibv.pd, qp->recv.sge, qp->recv.nsge, qp->received, head->size, IBV_ACCESS_LOCAL_WRITE,
			 pieces);
	if (n < 0) {
		refuse(qp, IBV_WC_REM_OP_ERR, IBV_WC_LOC_PROT_ERR);
		return;
	}
	for (int i = 0; i < n; i++)
		soft_wire_get(&qp->wire, pieces[i].iov_base, pieces[i].iov_len);
	qp->received += head->size;
	if (head->flags & SOFT_LAST) {
		complete_recv(qp, IBV_WC_SUCCESS, head);
		end_message(qp, head);
	}
}

static void take_write(struct soft_qp *qp, const struct soft_head *head)
{
	void *at = NULL;

	if (head->flags & SOFT_FIRST && !begin_message(qp, head->flags & SOFT_IMM))
		return;
	if (head->size && qp->attr.qp_access_flags & IBV_ACCESS_REMOTE_WRITE)
		at = soft_mr_memory(qp->ibv.pd, head->rkey, head->addr, head->size,
				    IBV_ACCESS_REMOTE_WRITE);
	if (head->size && !at) {
		refuse(qp, IBV_WC_REM_ACCESS_ERR, IBV_WC_LOC_ACCESS_ERR);
		return;
	}
	soft_wire_get_remote(&qp->wire, at, head->size);
	qp->received += head->size;
	if (head->flags & SOFT_LAST) {
		if (qp->has_recv)
			complete_recv(qp, IBV_WC_SUCCESS, head);
		end_message(qp, head);
	}
}

static void take_read(struct soft_qp *qp, const struct soft_head *head)
{
	if (head->total && !(qp->attr.qp_access_flags & IBV_ACCESS_REMOTE_READ &&
			     soft_mr_memory(qp->ibv.pd, head->rkey, head->addr, head->total,
					    IBV_ACCESS_REMOTE_READ))) {
		refuse(qp, IBV_WC_REM_ACCESS_ERR, IBV_WC_LOC_ACCESS_ERR);
		return;
	}
	if (qp->answer_head - qp->answer_tail >= qp->attr.max_dest_rd_atomic) {
		refuse(qp, IBV_WC_REM_INV_REQ_ERR, IBV_WC_GENERAL_ERR);
		return;
	}
	qp->answers[qp->answer_head++ % SOFT_ANSWERS] = (struct soft_answer){
		.msn = head->msn, .total = head->total, .addr = head->addr, .rkey = head->rkey,
	};
	end_message(qp, head);
}

void soft_recv_take(struct soft_qp *qp, const struct soft_head *head)
{
	bool first = head->flags & SOFT_FIRST;

	if (qp->dropping && (head->msn != qp->msn || !first))
		return;
	qp->dropping = false;
	if (head->msn != qp->msn || first == qp->in_message) {
		qp->wire.broken = true;
		return;
	}
	switch (head->op) {
	case SOFT_OP_SEND:
		take_send(qp, head);
		break;
	case SOFT_OP_WRITE:
		take_write(qp, head);
		break;
	default:
		take_read(qp, head);
		break;
	}
}

/* Answering */

/* One packet of a response. False: there is no room. */
static bool send_answer(struct soft_qp *qp, struct soft_answer *answer)
{
	struct soft_head head = { .op = SOFT_OP_RESPONSE, .msn = answer->msn, .total = answer->total };
	uint32_t left = answer->total - answer->sent, size = left < SOFT_PAYLOAD_MAX ? left : SOFT_PAYLOAD_MAX;
	uint32_t need = sizeof(head) + size + 8 + sizeof(head);
	const void *at = NULL;

	if (soft_wire_room(&qp->wire) < need && !soft_wire_wait_room(&qp->wire, need))
		return false;
	if (size)
		at = soft_mr_memory(qp->ibv.pd, answer->rkey, answer->addr + answer->sent, size,
				    IBV_ACCESS_REMOTE_READ);
	if (size && !at) {
		/* Deregistered in the meantime. */
		nak(qp, IBV_WC_REM_ACCESS_ERR);
		qp->nak.msn = answer->msn;
		qp->answer_tail = qp->answer_head;
		soft_qp_fail(qp);
		return false;
	}
	head.size = size;
	soft_wire_begin(&qp->wire, &head);
	soft_wire_put(&qp->wire, at, size);
	soft_wire_end(&qp->wire);
	answer->sent += size;
	if (answer->sent == answer->total)
		qp->answer_tail++;
	return true;
}

static bool send_nak(struct soft_qp *qp)
{
	if (soft_wire_room(&qp->wire) < sizeof(qp->nak) &&
	    !soft_wire_wait_room(&qp->wire, sizeof(qp->nak)))
		return false;
	soft_wire_begin(&qp->wire, &qp->nak);
	soft_wire_end(&qp->wire);
	qp->nak_due = false;
	return true;
}

void soft_recv_answer(struct soft_qp *qp)
{
	bool sent = false;

	while (qp->answer_tail != qp->answer_head &&
	       send_answer(qp, &qp->answers[qp->answer_tail % SOFT_ANSWERS]))
		sent = true;
	if (!qp->wire.map)
		return;
	if (qp->nak_due && qp->answer_tail == qp->answer_head && send_nak(qp))
		sent = true;
	if (sent || qp->ack_wanted)
		soft_qp_bell(qp, sent ? SOFT_UNTIL_PACKET : SOFT_UNTIL_ACK);
	qp->ack_wanted = false;
}

/* Shared receive queues */

struct ibv_srq *ibv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *init)
{
	struct ibv_srq_attr *attr = &init->attr;
	struct soft_srq *srq;
	int ret;

	if (!attr->max_wr || attr->max_wr > (uint32_t)soft_options.max_qp_wr ||
	    attr->max_sge > (uint32_t)soft_options.max_sge) {
		errno = EINVAL;
		return NULL;
	}
	srq = calloc(1, sizeof(*srq));
	if (!srq)
		return NULL;
	srq->ibv = (struct ibv_srq){ .context = pd->context, .srq_context = init->srq_context, .pd = pd };
	srq->limit = attr->srq_limit;
	soft_lock();
	ret = soft_rq_init(&srq->rq, attr->max_wr, attr->max_sge);
	if (!ret)
		ret = soft_count_new(&soft_counts.srqs, soft_options.max_srq, SOFT_AT_CREATE_SRQ);
	soft_pd(pd)->users += !ret;
	soft_unlock();
	if (!ret)
		return &srq->ibv;
	soft_rq_free(&srq->rq);
	free(srq);
	errno = ret;
	return NULL;
}

int ibv_modify_srq(struct ibv_srq *ibv, struct ibv_srq_attr *attr, int mask)
{
	struct soft_srq *srq = soft_srq(ibv);

	if (mask & ~IBV_SRQ_LIMIT || attr->srq_limit > srq->rq.size)
		return EINVAL;
	soft_lock();
	if (mask & IBV_SRQ_LIMIT)
		srq->limit = attr->srq_limit;
	soft_unlock();
	return 0;
}

int ibv_query_srq(struct ibv_srq *ibv, struct ibv_srq_attr *attr)
{
	struct soft_srq *srq = soft_srq(ibv);

	soft_lock();
	*attr = (struct ibv_srq_attr){ .max_wr = srq->rq.size, .max_sge = srq->rq.max_sge,
				       .srq_limit = srq->limit };
	soft_unlock();
	return 0;
}

int ibv_destroy_srq(struct ibv_srq *ibv)
{
	struct soft_srq *srq = soft_srq(ibv);

	soft_lock();
	if (srq->users) {
		soft_unlock();
		return EBUSY;
	}
	soft_pd(ibv->pd)->users--;
	soft_counts.srqs--;
	soft_async_forget(srq);
	soft_acks_await(&srq->acks);
	soft_unlock();
	soft_rq_free(&srq->rq);
	free(srq);
	return 0;
}
