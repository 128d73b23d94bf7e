/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * QPs and SRQs of ids, and how the CM takes a QP through its states. What is not given is made: CQs with
 * channels of their own, as rdma_create_ep() promises.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_verbs.h>

#include "cm.h"
#include "device.h"
#include "options.h"

static void fill_init(struct soft_id *id, struct ibv_qp_attr *attr, int *mask)
{
	attr->port_num = 1;
	*mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT;
	if (soft_id_is_ud(id)) {
		attr->qkey = RDMA_UDP_QKEY;
		*mask |= IBV_QP_QKEY;
		return;
	}
	attr->qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
	*mask |= IBV_QP_ACCESS_FLAGS;
}

static void fill_rtr(struct soft_id *id, struct ibv_qp_attr *attr, int *mask)
{
	union ibv_gid own;

	*mask = IBV_QP_STATE;
	if (soft_id_is_ud(id))
		return;
	*mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
		 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
	soft_gid_of(&id->ibv.route.addr.src_addr, &own);
	attr->ah_attr.is_global = 1;
	attr->ah_attr.port_num = 1;
	attr->ah_attr.grh.sgid_index = (uint8_t)soft_gid_index(&own);
	attr->ah_attr.grh.hop_limit = 0xff;
	soft_gid_of(&id->ibv.route.addr.dst_addr, &attr->ah_attr.grh.dgid);
	attr->path_mtu = IBV_MTU_4096;
	attr->dest_qp_num = id->peer_qpn;
	attr->max_dest_rd_atomic = id->param.responder_resources;
	attr->min_rnr_timer = 0;     /* 655 ms: that is what the kernel's CM sets */
}

static void fill_rts(struct soft_id *id, struct ibv_qp_attr *attr, int *mask)
{
	*mask = IBV_QP_STATE | IBV_QP_SQ_PSN;
	if (soft_id_is_ud(id))
		return;
	*mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
	attr->timeout = (uint8_t)soft_options.timeout;
	attr->retry_cnt = id->param.retry_count;
	attr->rnr_retry = id->param.rnr_retry_count;
	attr->max_rd_atomic = id->param.initiator_depth;
}

/* For attr->qp_state. */
int soft_cm_qp_attr(struct soft_id *id, struct ibv_qp_attr *attr, int *mask)
{
	enum ibv_qp_state state = attr->qp_state;

	memset(attr, 0, sizeof(*attr));
	attr->qp_state = state;
	switch (state) {
	case IBV_QPS_INIT:
		fill_init(id, attr, mask);
		return 0;
	case IBV_QPS_RTR:
		fill_rtr(id, attr, mask);
		return 0;
	case IBV_QPS_RTS:
		fill_rts(id, attr, mask);
		return 0;
	default:
		return -EINVAL;
	}
}

static int move_qp(struct soft_id *id, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };
	int mask, ret = soft_cm_qp_attr(id, &attr, &mask);

	return ret ? ret : -soft_qp_modify(soft_qp(id->ibv.qp), &attr, mask);
}

int soft_cm_start_qp(struct soft_id *id)
{
	int ret;

	if (!id->ibv.qp)
		return 0;
	ret = move_qp(id, IBV_QPS_RTR);
	return ret ? ret : move_qp(id, IBV_QPS_RTS);
}

void soft_cm_fail_qp(struct soft_id *id)
{
	if (soft_id_qp(id) && !soft_id_is_ud(id))
		soft_qp_fail(soft_id_qp(id));
}

int rdma_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attr, int *mask)
{
	int ret;

	soft_lock();
	ret = soft_cm_qp_attr(soft_id(id), attr, mask);
	soft_unlock();
	errno = -ret;
	return ret ? -1 : 0;
}

/* CQs that nobody has given */

static int make_cq(struct rdma_cm_id *id, uint32_t size, struct ibv_comp_channel **channel,
		   struct ibv_cq **cq)
{
	*channel = ibv_create_comp_channel(id->verbs);
	if (!*channel)
		return -1;
	*cq = ibv_create_cq(id->verbs, size ? (int)size : 1, id, *channel, 0);
	return *cq ? 0 : -1;
}

static void free_cqs(struct rdma_cm_id *id)
{
	if (id->send_cq)
		ibv_destroy_cq(id->send_cq);
	if (id->recv_cq)
		ibv_destroy_cq(id->recv_cq);
	if (id->send_cq_channel)
		ibv_destroy_comp_channel(id->send_cq_channel);
	if (id->recv_cq_channel)
		ibv_destroy_comp_channel(id->recv_cq_channel);
	id->send_cq = id->recv_cq = NULL;
	id->send_cq_channel = id->recv_cq_channel = NULL;
}

static int need_cqs(struct rdma_cm_id *id, struct ibv_qp_init_attr *attr)
{
	if (!attr->recv_cq) {
		if (make_cq(id, attr->cap.max_recv_wr, &id->recv_cq_channel, &id->recv_cq))
			return -1;
		attr->recv_cq = id->recv_cq;
	}
	if (!attr->send_cq) {
		if (make_cq(id, attr->cap.max_send_wr, &id->send_cq_channel, &id->send_cq))
			return -1;
		attr->send_cq = id->send_cq;
	}
	return 0;
}

static int make_qp(struct soft_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	int ret;

	soft_lock();
	id->ibv.qp = soft_qp_create(pd, attr);
	id->qpn = id->ibv.qp ? id->ibv.qp->qp_num : 0;
	ret = id->ibv.qp ? move_qp(id, IBV_QPS_INIT) : -errno;
	if (!ret && soft_id_is_ud(id))
		ret = soft_cm_start_qp(id);
	if (ret && id->ibv.qp) {
		soft_qp_destroy(soft_qp(id->ibv.qp));
		id->ibv.qp = NULL;
	}
	soft_unlock();
	return ret;
}

int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	int ret;

	pd = pd ? pd : id->pd;
	if (id->qp || !pd || !id->verbs || id->verbs != pd->context) {
		errno = EINVAL;
		return -1;
	}
	attr->qp_type = id->qp_type;
	if (need_cqs(id, attr)) {
		ret = -errno;
	} else {
		attr->srq = id->srq ? id->srq : attr->srq;
		ret = make_qp(soft_id(id), pd, attr);
	}
	if (!ret) {
		id->pd = pd;
		return 0;
	}
	free_cqs(id);
	errno = -ret;
	return -1;
}

int rdma_create_qp_ex(struct rdma_cm_id *id, struct ibv_qp_init_attr_ex *ex)
{
	struct ibv_qp_init_attr attr = {
		.qp_context = ex->qp_context, .send_cq = ex->send_cq, .recv_cq = ex->recv_cq,
		.srq = ex->srq, .cap = ex->cap, .qp_type = ex->qp_type, .sq_sig_all = ex->sq_sig_all,
	};
	int ret;

	if (ex->comp_mask & ~(uint32_t)IBV_QP_INIT_ATTR_PD) {
		errno = EOPNOTSUPP;
		return -1;
	}
	ret = rdma_create_qp(id, ex->comp_mask & IBV_QP_INIT_ATTR_PD ? ex->pd : id->pd, &attr);
	ex->cap = attr.cap;
	return ret;
}

void rdma_destroy_qp(struct rdma_cm_id *id)
{
	ibv_destroy_qp(id->qp);
	id->qp = NULL;
	free_cqs(id);
}

int rdma_create_srq(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	pd = pd ? pd : id->pd;
	if (id->srq || !pd) {
		errno = EINVAL;
		return -1;
	}
	id->srq = ibv_create_srq(pd, attr);
	id->pd = pd;
	return id->srq ? 0 : -1;
}

void rdma_destroy_srq(struct rdma_cm_id *id)
{
	ibv_destroy_srq(id->srq);
	id->srq = NULL;
}
