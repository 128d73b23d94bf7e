/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The requester: the send queue of an RC QP. Messages are sent in order, as packets, as far as the ring
 * has room, and complete in order: READs when the response is here, others when the responder has
 * acknowledged them. After an RNR NAK the queue goes back to that message and waits.
 * A peer that is gone acknowledges nothing: after the configured time the oldest message fails.
 */
#include <errno.h>
#include <string.h>

#include "fault.h"
#include "objects.h"
#include "options.h"

/* Left free for a NAK, which must never wait. */
enum { RESERVE = 2 * sizeof(struct soft_head) };

static struct soft_send *send_at(struct soft_qp *qp, uint32_t position)
{
	return &qp->sends[position & qp->sq_mask];
}

/* What the opcodes that are served mean; they are the first ones. */
static const struct kind {
	enum soft_op op;
	enum ibv_wc_opcode wc_opcode;
	bool with_imm;
} kinds[] = {
	[IBV_WR_SEND] = { SOFT_OP_SEND, IBV_WC_SEND, .with_imm = false },
	[IBV_WR_SEND_WITH_IMM] = { SOFT_OP_SEND, IBV_WC_SEND, .with_imm = true },
	[IBV_WR_RDMA_WRITE] = { SOFT_OP_WRITE, IBV_WC_RDMA_WRITE, .with_imm = false },
	[IBV_WR_RDMA_WRITE_WITH_IMM] = { SOFT_OP_WRITE, IBV_WC_RDMA_WRITE, .with_imm = true },
	[IBV_WR_RDMA_READ] = { SOFT_OP_READ, IBV_WC_RDMA_READ, .with_imm = false },
};

static const struct kind *kind_of(const struct soft_send *send)
{
	return &kinds[send->opcode];
}

static bool is_read(const struct soft_send *send)
{
	return send->opcode == IBV_WR_RDMA_READ;
}

/* Posting */

/* @bytes: of its list */
static int check(const struct soft_qp *qp, const struct ibv_send_wr *wr, uint64_t bytes)
{
	bool is_inline = wr->send_flags & IBV_SEND_INLINE;
	const struct kind *kind;

	if (qp->ibv.state < IBV_QPS_RTS)
		return EINVAL;
	if (qp->sq_posted - qp->sq_done >= qp->init.cap.max_send_wr)
		return ENOMEM;
	if (wr->num_sge < 0 || (uint32_t)wr->num_sge > qp->init.cap.max_send_sge)
		return EINVAL;
	if ((size_t)wr->opcode >= sizeof(kinds) / sizeof(kinds[0]))
		return EINVAL;
	kind = &kinds[wr->opcode];
	if ((kind->op != SOFT_OP_SEND && qp->ibv.qp_type == IBV_QPT_UD) ||
	    (kind->with_imm && soft_options.iwarp) || (kind->op == SOFT_OP_READ && is_inline))
		return EINVAL;
	return bytes > UINT32_C(1) << 31 || (is_inline && bytes > qp->init.cap.max_inline_data) ? EINVAL : 0;
}

static void take_inline(struct soft_send *send, uint8_t *room)
{
	size_t at = 0;

	for (int i = 0; i < send->nsge; i++) {
		if (send->sge[i].length)
			memcpy(room + at, (void *)(uintptr_t)send->sge[i].addr, send->sge[i].length);
		at += send->sge[i].length;
	}
	send->inline_data = room;
}

static int post(struct soft_qp *qp, const struct ibv_send_wr *wr)
{
	uint32_t place = qp->sq_posted & qp->sq_mask;
	struct soft_send *send = &qp->sends[place];
	uint64_t bytes = soft_sge_bytes(wr->sg_list, wr->num_sge);
	struct soft_fault fault = soft_fault_at(SOFT_AT_POST_SEND, bytes);
	int ret = fault.action == SOFT_FAIL ? fault.value : check(qp, wr, bytes);

	if (ret)
		return ret;
	if (qp->speaks_second && !qp->msn)
		soft_qp_fail(qp);
	if (fault.action == SOFT_PARTITION)
		soft_qp_cut(qp, (unsigned)fault.value);
	else if (fault.action == SOFT_LINK_DOWN)
		soft_qp_cut_all((unsigned)fault.value);
	*send = (struct soft_send){
		.wr_id = wr->wr_id, .opcode = wr->opcode, .flags = wr->send_flags,
		.length = (uint32_t)bytes, .nsge = wr->num_sge,
		.imm = kinds[wr->opcode].with_imm ? wr->imm_data : 0,
		.sge = qp->send_sges + place * (size_t)qp->init.cap.max_send_sge,
	};
	if (qp->init.sq_sig_all)
		send->flags |= IBV_SEND_SIGNALED;
	if (kinds[wr->opcode].op != SOFT_OP_SEND) {
		send->addr = wr->wr.rdma.remote_addr;
		send->rkey = wr->wr.rdma.rkey;
	}
	if (wr->num_sge)
		memcpy(send->sge, wr->sg_list, (size_t)wr->num_sge * sizeof(*send->sge));
	if (wr->send_flags & IBV_SEND_INLINE)
		take_inline(send, qp->inline_room + place * (size_t)(qp->init.cap.max_inline_data + 1));
	if (qp->ibv.qp_type == IBV_QPT_UD)
		return soft_ud_send(qp, send, wr);
	qp->sq_posted++;
	return 0;
}

bool soft_send_awaits_acks(const struct soft_qp *qp)
{
	const struct soft_cq *cq = soft_cq(qp->ibv.send_cq);
	uint32_t due = qp->sq_posted - qp->sq_done;

	/* Also where nobody asked for an event: that the queue overflows is one. */
	return due && (cq->armed || cq->head - cq->tail + due > (uint32_t)cq->ibv.cqe);
}

int soft_post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct soft_qp *qp = soft_qp(ibv);
	int ret = 0;

	soft_lock();
	for (; wr && !ret; wr = wr->next) {
		ret = post(qp, wr);
		if (ret)
			*bad = wr;
	}
	if (qp->wire.map && soft_send_awaits_acks(qp))
		soft_wire_sleep(&qp->wire, SOFT_UNTIL_ACK);
	if (ibv->state == IBV_QPS_ERR)
		soft_send_flush(qp);
	else
		soft_send_pump(qp);
	soft_unlock();
	return ret;
}

/* Completing */

static void complete(struct soft_qp *qp, const struct soft_send *send, enum ibv_wc_status status)
{
	struct ibv_wc wc = {
		.wr_id = send->wr_id,
		.status = status,
		.opcode = kind_of(send)->wc_opcode,
		.byte_len = is_read(send) ? send->length : 0,
		.qp_num = qp->ibv.qp_num,
	};

	/* A failure is always told. */
	if (status != IBV_WC_SUCCESS || send->flags & IBV_SEND_SIGNALED)
		soft_cq_push(qp->ibv.send_cq, &wc, false);
}

void soft_send_flush(struct soft_qp *qp)
{
	while (qp->sq_done != qp->sq_posted)
		complete(qp, send_at(qp, qp->sq_done++), IBV_WC_WR_FLUSH_ERR);
	qp->sq_sent = qp->sq_done;
}

static bool is_done(struct soft_qp *qp, const struct soft_send *send)
{
	if (qp->sq_done == qp->sq_sent)
		return false;
	if (is_read(send))
		return send->done;
	return qp->wire.map && (int32_t)(soft_wire_acked(&qp->wire) - qp->sq_done) > 0;
}

void soft_send_complete(struct soft_qp *qp)
{
	while (qp->sq_done != qp->sq_posted) {
		struct soft_send *send = send_at(qp, qp->sq_done);
		struct soft_fault fault;

		if (send->status != IBV_WC_SUCCESS) {
			qp->sq_done++;
			complete(qp, send, send->status);
			soft_qp_fail(qp);
			return;
		}
		if (!is_done(qp, send))
			return;
		qp->sq_done++;
		qp->rnr_left = qp->attr.rnr_retry;
		fault = soft_fault_at(SOFT_AT_COMPLETION, 0);
		if (fault.action == SOFT_DELAY)
			soft_cq_delay(qp->ibv.send_cq, (unsigned)fault.value);
		complete(qp, send, fault.action == SOFT_STATUS ? fault.value : IBV_WC_SUCCESS);
		if (fault.action == SOFT_STATUS) {
			soft_qp_fail(qp);
			return;
		}
	}
}

/* Giving up */

static struct soft_qp *timer_qp(struct soft_timer *timer)
{
	return (struct soft_qp *)((char *)timer - offsetof(struct soft_qp, timer));
}

static void give_up(struct soft_timer *timer)
{
	struct soft_qp *qp = timer_qp(timer);

	if (!qp->cut && !qp->lost && qp->wire.map && !qp->wire.broken && !soft_wire_peer_gone(&qp->wire))
		qp->gone = false;    /* it has come back */
	if (!qp->gone || qp->sq_done == qp->sq_posted)
		return;
	send_at(qp, qp->sq_done)->status = IBV_WC_RETRY_EXC_ERR;
	soft_send_complete(qp);
}

static void expect_nothing(struct soft_qp *qp)
{
	uint64_t ns = (UINT64_C(4096) << qp->attr.timeout) * (qp->attr.retry_cnt + 1u);

	/* A timeout of 0 is for ever. */
	if (!soft_timer_runs(&qp->timer) && qp->attr.timeout)
		soft_timer_start(&qp->timer, ns, give_up);
}

/* Sending */

int soft_send_map(const struct soft_qp *qp, const struct soft_send *send, uint32_t offset, uint32_t len,
		  struct iovec *pieces)
{
	if (!send->inline_data)
		return soft_sge_map(qp->ibv.pd, send->sge, send->nsge, offset, len,
				    is_read(send) ? IBV_ACCESS_LOCAL_WRITE : 0, pieces);
	pieces[0] = (struct iovec){ send->inline_data + offset, len };
	return 1;
}

static bool may_start(struct soft_qp *qp, struct soft_send *send)
{
	struct iovec pieces[SOFT_SGES_MAX];

	if (send->flags & IBV_SEND_FENCE && qp->reads)
		return false;
	if (is_read(send) && qp->reads >= qp->attr.max_rd_atomic)
		return false;
	if (soft_send_map(qp, send, 0, send->length, pieces) >= 0)
		return true;
	send->status = IBV_WC_LOC_PROT_ERR;
	if (qp->sq_done == qp->sq_sent)
		soft_send_complete(qp);
	return false;
}

/* The bytes of a packet. They may have been deregistered since the message was begun: then what is sent
 * does not matter, as the message fails. */
static void put_payload(struct soft_qp *qp, struct soft_send *send, uint32_t size)
{
	static const uint8_t nothing[SOFT_PAYLOAD_MAX];
	struct iovec pieces[SOFT_SGES_MAX];
	int n = soft_send_map(qp, send, qp->sent_bytes, size, pieces);

	if (n < 0) {
		send->status = IBV_WC_LOC_PROT_ERR;
		soft_wire_put(&qp->wire, nothing, size);
	}
	for (int i = 0; i < n; i++)
		soft_wire_put(&qp->wire, pieces[i].iov_base, pieces[i].iov_len);
}

static void send_read(struct soft_qp *qp, struct soft_head *head)
{
	head->flags |= SOFT_LAST;
	soft_wire_begin(&qp->wire, head);
	soft_wire_end(&qp->wire);
	qp->reads++;
	qp->sq_sent++;
}

static void send_piece(struct soft_qp *qp, struct soft_send *send, struct soft_head *head, uint32_t size)
{
	bool last = qp->sent_bytes + size == send->length;

	head->size = size;
	head->addr += qp->sent_bytes;
	head->flags |= last ? SOFT_LAST : 0;
	soft_wire_begin(&qp->wire, head);
	put_payload(qp, send, size);
	soft_wire_end(&qp->wire);
	qp->sent_bytes += size;
	if (last) {
		qp->sent_bytes = 0;
		qp->sq_sent++;
	}
}

static bool send_packet(struct soft_qp *qp)
{
	struct soft_send *send = send_at(qp, qp->sq_sent);
	uint32_t left = send->length - qp->sent_bytes, size = left, need;
	struct soft_head head = {
		.op = (uint8_t)kind_of(send)->op,
		.msn = qp->sq_sent,
		.total = send->length,
		.addr = send->addr,
		.rkey = send->rkey,
		.imm = send->imm,
	};

	if (send->status != IBV_WC_SUCCESS || (!qp->sent_bytes && !may_start(qp, send)))
		return false;
	if (size > SOFT_PAYLOAD_MAX)
		size = SOFT_PAYLOAD_MAX;
	need = sizeof(head) + (is_read(send) ? 0 : size) + 8 + RESERVE;
	if (soft_wire_room(&qp->wire) < need && !soft_wire_wait_room(&qp->wire, need))
		return false;
	head.flags = (qp->sent_bytes ? 0 : SOFT_FIRST) | (kind_of(send)->with_imm ? SOFT_IMM : 0) |
		     (send->flags & IBV_SEND_SOLICITED ? SOFT_SOLICITED : 0) |
		     (send->flags & IBV_SEND_SIGNALED ? SOFT_SIGNALLED : 0);
	if (is_read(send))
		send_read(qp, &head);
	else
		send_piece(qp, send, &head, size);
	return true;
}

void soft_send_pump(struct soft_qp *qp)
{
	bool any = false;

	if (qp->ibv.state != IBV_QPS_RTS)
		return;
	while (qp->wire.map && !qp->wire.broken && !qp->cut && !qp->rnr_wait && qp->sq_sent != qp->sq_posted &&
	       send_packet(qp))
		any = true;
	if (any && qp->wire.map)
		soft_qp_bell(qp, SOFT_UNTIL_PACKET);
	if (qp->gone && qp->sq_done != qp->sq_posted)
		expect_nothing(qp);
}

/* What the responder says */

static void rnr_over(struct soft_timer *timer)
{
	struct soft_qp *qp = timer_qp(timer);

	qp->rnr_wait = false;
	soft_qp_progress(qp);
}

/* The timer field of an RNR NAK, in units of 10 us. */
static const uint32_t rnr_timers[32] = {
	65536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192,
	256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
};

static void go_back(struct soft_qp *qp, uint32_t msn, unsigned timer)
{
	for (uint32_t i = msn; i != qp->sq_sent; i++) {
		if (is_read(send_at(qp, i)))
			qp->reads--;
	}
	qp->sq_sent = msn;
	qp->sent_bytes = 0;
	qp->rnr_wait = true;
	soft_timer_start(&qp->timer, rnr_timers[timer % 32] * UINT64_C(10000), rnr_over);
}

void soft_send_take_nak(struct soft_qp *qp, const struct soft_head *head)
{
	/* A message may be refused when it has been sent in part. */
	uint32_t sent = qp->sq_sent - qp->sq_done + (qp->sent_bytes ? 1 : 0);
	struct soft_send *send = send_at(qp, head->msn);

	if (head->msn - qp->sq_done >= sent) {
		qp->wire.broken = true;
		return;
	}
	if (head->status != IBV_WC_RNR_RETRY_EXC_ERR)
		send->status = head->status ? head->status : IBV_WC_GENERAL_ERR;
	else if (!qp->rnr_left)
		send->status = IBV_WC_RNR_RETRY_EXC_ERR;
	else {
		if (qp->attr.rnr_retry != 7)
			qp->rnr_left--;      /* 7 is for ever */
		go_back(qp, head->msn, head->rnr_timer);
	}
}

/* The oldest READ that waits for its response: they come in order. */
static struct soft_send *oldest_read(struct soft_qp *qp, uint32_t msn)
{
	for (uint32_t i = qp->sq_done; i != qp->sq_sent; i++) {
		struct soft_send *send = send_at(qp, i);

		if (is_read(send) && !send->done)
			return i == msn ? send : NULL;
	}
	return NULL;
}

void soft_send_take_response(struct soft_qp *qp, const struct soft_head *head)
{
	struct soft_send *send = oldest_read(qp, head->msn);
	struct iovec pieces[SOFT_SGES_MAX];
	int n;

	if (!send || head->total != send->length || head->size > send->length - qp->read_got) {
		qp->wire.broken = true;
		return;
	}
	n = soft_send_map(qp, send, qp->read_got, head->size, pieces);
	if (n < 0) {
		send->status = IBV_WC_LOC_PROT_ERR;
		return;
	}
	for (int i = 0; i < n; i++)
		soft_wire_get(&qp->wire, pieces[i].iov_base, pieces[i].iov_len);
	qp->read_got += head->size;
	if (qp->read_got == send->length) {
		send->done = true;
		qp->reads--;
		qp->read_got = 0;
	}
}
