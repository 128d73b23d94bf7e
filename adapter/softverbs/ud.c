/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Unreliable datagrams and address handles. A datagram travels as one packet of the link; it completes at
 * once, and is lost if nobody is there, no receive is posted, or the Q_Key is wrong. A receive has the
 * 40 bytes of the global route header before the payload.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "fault.h"
#include "objects.h"
#include "options.h"

enum { DATAGRAM_MAX = 4096 };

/* The payload follows the GRH. */
struct datagram {
	struct soft_packet packet;
	uint32_t qkey;
	uint32_t imm;
	uint8_t with_imm, solicited;
	struct ibv_grh grh;
};

struct soft_ah {
	struct ibv_ah ibv;
	struct ibv_ah_attr attr;
};

struct ibv_ah *ibv_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	struct soft_ah *ah;
	int ret;

	if (!attr->is_global || attr->port_num != 1) {
		errno = EINVAL;      /* Ethernet has no LIDs */
		return NULL;
	}
	ah = calloc(1, sizeof(*ah));
	if (!ah)
		return NULL;
	ah->ibv.context = pd->context;
	ah->ibv.pd = pd;
	ah->attr = *attr;
	soft_lock();
	ret = soft_count_new(&soft_counts.ahs, soft_options.max_ah, SOFT_AT_CREATE_AH);
	soft_pd(pd)->users += !ret;
	soft_unlock();
	if (!ret)
		return &ah->ibv;
	free(ah);
	errno = ret;
	return NULL;
}

int ibv_destroy_ah(struct ibv_ah *ah)
{
	soft_lock();
	soft_counts.ahs--;
	soft_pd(ah->pd)->users--;
	soft_unlock();
	free(ah);
	return 0;
}

int ibv_init_ah_from_wc(struct ibv_context *context, uint8_t port_num, struct ibv_wc *wc,
			struct ibv_grh *grh, struct ibv_ah_attr *attr)
{
	int index;

	if (!(wc->wc_flags & IBV_WC_GRH) || port_num != 1)
		return EINVAL;
	index = soft_gid_index(&grh->dgid);
	*attr = (struct ibv_ah_attr){
		.is_global = 1, .port_num = port_num, .sl = wc->sl,
		.grh = { .dgid = grh->sgid, .sgid_index = (uint8_t)(index < 0 ? 0 : index),
			 .hop_limit = 0xff },
	};
	(void)context;
	return 0;
}

struct ibv_ah *ibv_create_ah_from_wc(struct ibv_pd *pd, struct ibv_wc *wc, struct ibv_grh *grh,
				     uint8_t port_num)
{
	struct ibv_ah_attr attr;
	int ret = ibv_init_ah_from_wc(pd->context, port_num, wc, grh, &attr);

	if (!ret)
		return ibv_create_ah(pd, &attr);
	errno = ret;
	return NULL;
}

int soft_ud_send(struct soft_qp *qp, const struct soft_send *send, const struct ibv_send_wr *wr)
{
	const struct soft_ah *ah = (const struct soft_ah *)wr->wr.ud.ah;
	struct datagram datagram = {
		.packet = { .type = SOFT_DATAGRAM, .to = wr->wr.ud.remote_qpn, .from = qp->ibv.qp_num },
		/* The highest bit asks for the QP's own. */
		.qkey = wr->wr.ud.remote_qkey & 0x80000000 ? qp->attr.qkey : wr->wr.ud.remote_qkey,
		.with_imm = wr->opcode == IBV_WR_SEND_WITH_IMM,
		.imm = send->imm,
		.solicited = !!(wr->send_flags & IBV_SEND_SOLICITED),
		.grh = { .version_tclass_flow = htobe32(6u << 28), .paylen = htobe16((uint16_t)send->length),
			 .next_hdr = 0x1b, .hop_limit = 0xff },
	};
	struct ibv_wc wc = { .wr_id = wr->wr_id, .opcode = IBV_WC_SEND, .qp_num = qp->ibv.qp_num };
	struct iovec parts[1 + SOFT_SGES_MAX] = { { &datagram, sizeof(datagram) } };
	struct soft_link *link = NULL;
	int n;

	if (!ah || send->length > DATAGRAM_MAX)
		return EINVAL;
	datagram.grh.dgid = ah->attr.grh.dgid;
	soft_gid_at(ah->attr.grh.sgid_index, &datagram.grh.sgid);
	n = soft_send_map(qp, send, 0, send->length, parts + 1);
	if (qp->ibv.state == IBV_QPS_ERR)
		wc.status = IBV_WC_WR_FLUSH_ERR;
	else if (n < 0)
		wc.status = IBV_WC_LOC_PROT_ERR;
	/* If there is nobody, it is lost. */
	if (!wc.status && !soft_link_to_node(datagram.packet.to / SOFT_NODES, &link))
		soft_link_send_unreliably(link, parts, 1 + n);
	if (wc.status || send->flags & IBV_SEND_SIGNALED)
		soft_cq_push(qp->ibv.send_cq, &wc, false);
	if (wc.status)
		soft_qp_fail(qp);
	return 0;
}

void soft_ud_take(const struct soft_packet *packet, size_t size)
{
	const struct datagram *datagram = (const struct datagram *)packet;
	const uint8_t *from = (const uint8_t *)&datagram->grh;
	struct soft_qp *qp = soft_qp_find(packet->to);
	struct ibv_wc wc = { .opcode = IBV_WC_RECV, .wc_flags = IBV_WC_GRH };
	struct iovec pieces[SOFT_SGES_MAX];
	int n;

	if (size < sizeof(*datagram) || !qp || qp->ibv.qp_type != IBV_QPT_UD ||
	    (qp->ibv.state != IBV_QPS_RTR && qp->ibv.state != IBV_QPS_RTS) ||
	    datagram->qkey != qp->attr.qkey || !soft_recv_next(qp))
		return;
	wc.wr_id = qp->recv.wr_id;
	wc.qp_num = qp->ibv.qp_num;
	wc.src_qp = packet->from;
	wc.byte_len = (uint32_t)(size - offsetof(struct datagram, grh));
	if (datagram->with_imm) {
		wc.wc_flags |= IBV_WC_WITH_IMM;
		wc.imm_data = datagram->imm;
	}
	qp->has_recv = false;
	n = soft_sge_map(qp->ibv.pd, qp->recv.sge, qp->recv.nsge, 0, wc.byte_len, IBV_ACCESS_LOCAL_WRITE, pieces);
	if (soft_sge_bytes(qp->recv.sge, qp->recv.nsge) < wc.byte_len)
		wc.status = IBV_WC_LOC_LEN_ERR;
	else if (n < 0)
		wc.status = IBV_WC_LOC_PROT_ERR;
	for (int i = 0; i < n; i++) {
		memcpy(pieces[i].iov_base, from, pieces[i].iov_len);
		from += pieces[i].iov_len;
	}
	soft_cq_push(qp->ibv.recv_cq, &wc, datagram->solicited);
	if (wc.status)
		soft_qp_fail(qp);
}
