/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Calls that this device does not serve. They must be here all the same: libibverbs's own would take our
 * objects for those of a kernel device.
 */
#include <errno.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_verbs.h>

#define REFUSED(type, value, name, ...) \
	type name(__VA_ARGS__)          \
	{                               \
		errno = EOPNOTSUPP;     \
		return value;           \
	}

#pragma GCC diagnostic ignored "-Wunused-parameter"

REFUSED(int, EOPNOTSUPP, ibv_resize_cq, struct ibv_cq *cq, int cqe)
REFUSED(int, EOPNOTSUPP, ibv_rereg_mr, struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
	size_t length, int access)
REFUSED(struct ibv_mr *, NULL, ibv_reg_dmabuf_mr, struct ibv_pd *pd, uint64_t offset, size_t length,
	uint64_t iova, int fd, int access)
REFUSED(int, EOPNOTSUPP, ibv_attach_mcast, struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
REFUSED(int, EOPNOTSUPP, ibv_detach_mcast, struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
REFUSED(struct ibv_context *, NULL, ibv_import_device, int cmd_fd)
REFUSED(struct ibv_pd *, NULL, ibv_import_pd, struct ibv_context *context, uint32_t handle)
REFUSED(struct ibv_mr *, NULL, ibv_import_mr, struct ibv_pd *pd, uint32_t handle)
REFUSED(struct ibv_dm *, NULL, ibv_import_dm, struct ibv_context *context, uint32_t handle)
REFUSED(struct ibv_qp_ex *, NULL, ibv_qp_to_qp_ex, struct ibv_qp *qp)
REFUSED(int, 0, ibv_query_qp_data_in_order, struct ibv_qp *qp, enum ibv_wr_opcode op, uint32_t flags)
REFUSED(int, EOPNOTSUPP, ibv_set_ece, struct ibv_qp *qp, struct ibv_ece *ece)
REFUSED(int, EOPNOTSUPP, ibv_query_ece, struct ibv_qp *qp, struct ibv_ece *ece)
REFUSED(int, EOPNOTSUPP, ibv_resolve_eth_l2_from_gid, struct ibv_context *context,
	struct ibv_ah_attr *attr, uint8_t mac[ETHERNET_LL_SIZE], uint16_t *vid)

REFUSED(int, -1, rdma_notify, struct rdma_cm_id *id, enum ibv_event_type event)
REFUSED(int, -1, rdma_create_srq_ex, struct rdma_cm_id *id, struct ibv_srq_init_attr_ex *attr)
REFUSED(int, -1, rdma_join_multicast, struct rdma_cm_id *id, struct sockaddr *addr, void *context)
REFUSED(int, -1, rdma_join_multicast_ex, struct rdma_cm_id *id, struct rdma_cm_join_mc_attr_ex *attr,
	void *context)
REFUSED(int, -1, rdma_leave_multicast, struct rdma_cm_id *id, struct sockaddr *addr)
REFUSED(int, -1, rdma_set_local_ece, struct rdma_cm_id *id, struct ibv_ece *ece)
REFUSED(int, -1, rdma_get_remote_ece, struct rdma_cm_id *id, struct ibv_ece *ece)
