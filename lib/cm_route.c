/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The option RDMA_ROUTE: path records that the application brings along, so that none are asked for, and
 * those that a connection uses. The format is that of librdmacm's RDMA_OPTION_IB_PATH.
 */
#include "cm.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <rdma/rdma_cma.h>

#include "sock.h"

int rsk_cm_set_route(struct rsk_sock *sk, const void *paths, size_t len)
{
	struct rsk_cm *cm = &sk->cm;
	size_t count = len / sizeof(cm->route[0]);

	if (!count || count > RSK_CM_ROUTES || len % sizeof(cm->route[0]))
		return -EINVAL;
	memcpy(cm->route, paths, len);
	cm->nroutes = (unsigned)count;
	return 0;
}

int rsk_cm_use_route(struct rsk_sock *sk)
{
	struct rsk_cm *cm = &sk->cm;

	if (rdma_set_option(cm->id, RDMA_OPTION_IB, RDMA_OPTION_IB_PATH, cm->route,
			    cm->nroutes * sizeof(cm->route[0])))
		return -errno;
	return 0;
}

static struct ibv_path_data pack(const struct ibv_sa_path_rec *rec)
{
	return (struct ibv_path_data){
		.flags = IBV_PATH_FLAG_GMP | IBV_PATH_FLAG_PRIMARY | IBV_PATH_FLAG_BIDIRECTIONAL,
		.path = {
			.dgid = rec->dgid,
			.sgid = rec->sgid,
			.dlid = rec->dlid,
			.slid = rec->slid,
			.flowlabel_hoplimit = rec->flow_label | htobe32(rec->hop_limit),
			.tclass = rec->traffic_class,
			.reversible_numpath = (uint8_t)(rec->reversible << 7 | rec->numb_path),
			.pkey = rec->pkey,
			.qosclass_sl = htobe16(rec->sl),
			.mtu = (uint8_t)(rec->mtu_selector << 6 | rec->mtu),
			.rate = (uint8_t)(rec->rate_selector << 6 | rec->rate),
			.packetlifetime = (uint8_t)(rec->packet_life_time_selector << 6 |
						    rec->packet_life_time),
			.preference = rec->preference,
		},
	};
}

/* The records of a connection, or else those that were set. Returns how many. */
static unsigned routes(const struct rsk_sock *sk, struct ibv_path_data out[static RSK_CM_ROUTES])
{
	const struct rdma_route *route;
	unsigned count;

	if (sk->state != RSK_CONNECTED || !sk->cm.id) {
		memcpy(out, sk->cm.route, sizeof(sk->cm.route));
		return sk->cm.nroutes;
	}
	route = &sk->cm.id->route;
	count = route->num_paths < RSK_CM_ROUTES ? (unsigned)route->num_paths : RSK_CM_ROUTES;
	for (unsigned i = 0; i < count; i++)
		out[i] = pack(&route->path_rec[i]);
	return count;
}

int rsk_cm_get_route(const struct rsk_sock *sk, void *paths, socklen_t *len)
{
	struct ibv_path_data all[RSK_CM_ROUTES];
	size_t count = routes(sk, all), fit = *len / sizeof(all[0]);

	if (count > fit)
		count = fit;
	if (!count)
		return -EINVAL;
	*len = (socklen_t)(count * sizeof(all[0]));
	memcpy(paths, all, *len);
	return 0;
}

void rsk_cm_set_tos(struct rsk_sock *sk)
{
	uint8_t tos;

	rsk_lock(&sk->lock);
	tos = (uint8_t)sk->options.tos;
	rsk_unlock(&sk->lock);
	/* A matter of comfort: a device that refuses it works all the same. */
	if (tos)
		(void)rdma_set_option(sk->cm.id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof(tos));
}
