/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The connection manager: ids, ports, events, and the messages between the two ends of a connection,
 * which are those of InfiniBand's CM: REQ, REP and RTU to connect, REJ to refuse, DREQ and DREP to part.
 * Guarded by the device lock. Functions return 0 or a negative errno.
 */
#ifndef SOFT_CM_H
#define SOFT_CM_H

#include <netinet/in.h>

#include <rdma/rdma_cma.h>

#include "link.h"
#include "objects.h"

enum soft_cm_op { SOFT_REQ, SOFT_REP, SOFT_RTU, SOFT_REJ, SOFT_DREQ, SOFT_DREP, SOFT_CM_OPS };

/* Reasons of a REJ: IB's codes. */
enum { SOFT_REJ_TIMEOUT = 4, SOFT_REJ_NO_LISTENER = 8, SOFT_REJ_BY_CONSUMER = 28 };

/* Room for private data in each message, as the kernel reports it: padded with zeros to the full size. */
enum { SOFT_REQ_DATA = 56, SOFT_REP_DATA = 196, SOFT_REJ_DATA = 148, SOFT_UD_REQ_DATA = 180,
       SOFT_UD_REP_DATA = 136, SOFT_DATA_MAX = 196 };

struct soft_cm_packet {
	struct soft_packet head;     /* to: the id, 0 in a REQ; from: the id */
	uint16_t op;                 /* enum soft_cm_op */
	uint16_t reason;
	uint32_t ps;
	struct sockaddr_in6 from, to; /* or sockaddr_in */
	uint32_t qpn, qkey;
	uint8_t responder_resources, initiator_depth, flow_control, retry_count, rnr_retry_count, srq;
	uint8_t data_len;
	uint8_t data[SOFT_DATA_MAX];
};

enum soft_cm_state {
	SOFT_IDLE, SOFT_BOUND, SOFT_ADDR, SOFT_ADDR_RESOLVED, SOFT_ROUTE_RESOLVED,
	SOFT_LISTENING,
	SOFT_CONNECTING,             /* REQ sent */
	SOFT_ANSWERED,               /* REP received, RTU not sent */
	SOFT_REQUESTED,              /* REQ received */
	SOFT_ACCEPTED,               /* REP sent */
	SOFT_ESTABLISHED,
	SOFT_PARTING,                /* DREQ sent */
	SOFT_LEFT,                   /* DREQ received, DREP not sent */
	SOFT_ENDED,
};

struct soft_cm_channel {
	struct rdma_event_channel ibv;
	struct soft_queue queue;
};

/* A claimed port of this process; several ids may share it. */
struct soft_port {
	struct soft_io io;
	struct soft_port *next;
	enum rdma_port_space ps;
	in_port_t number;
	unsigned users;
};

struct soft_id {
	struct rdma_cm_id ibv;
	struct soft_id *next;
	uint32_t number;
	enum soft_cm_state state;
	struct soft_port *port;
	bool reuseaddr, afonly, sync;
	int backlog, queued;         /* requests that nobody has read yet */
	struct ibv_sa_path_rec path;

	struct soft_link *link;
	uint32_t qpn;                /* its QP, which the program may destroy by itself */
	uint32_t peer;               /* its id */
	uint32_t peer_qpn, peer_qkey;
	struct rdma_conn_param param; /* as agreed: what this end's QP is to have */
	struct soft_timer timer;

	struct soft_acks acks;
	/* Of rdma_create_ep(), for the children of a listener */
	struct ibv_pd *ep_pd;
	struct ibv_qp_init_attr *ep_attr;
	bool own_cqs, own_srq;
};

struct soft_cm_event {
	struct soft_event event;
	struct soft_id *about;       /* the listener for a request */
	struct rdma_cm_event ibv;
	uint8_t data[SOFT_DATA_MAX];
};

static inline struct soft_id *soft_id(struct rdma_cm_id *id)
{
	return (struct soft_id *)id;
}

/* NULL: there is none, or no longer. */
static inline struct soft_qp *soft_id_qp(const struct soft_id *id)
{
	return soft_qp_find(id->qpn);
}

static inline bool soft_id_is_ud(const struct soft_id *id)
{
	return id->ibv.qp_type == IBV_QPT_UD;
}

/* Ids and events: cm.c */
struct soft_id *soft_id_new(struct rdma_event_channel *channel, void *context, enum rdma_port_space ps);
struct soft_id *soft_id_first(void);
/* Takes back its events, tells the peer, frees it; drops the lock while events are not acknowledged. */
void soft_id_destroy(struct soft_id *id);
void soft_cm_raise(struct soft_id *id, enum rdma_cm_event_type type, int status,
		   const struct soft_cm_packet *packet);
/* The device is found: the id has an address. */
int soft_id_find_device(struct soft_id *id);

int soft_cm_send_req(struct soft_id *id, const struct rdma_conn_param *param);
int soft_cm_send_rep(struct soft_id *id, const struct rdma_conn_param *param);
int soft_cm_send_rtu(struct soft_id *id);
int soft_cm_send_rej(struct soft_id *id, unsigned reason, const void *data, uint8_t len);
int soft_cm_disconnect(struct soft_id *id);

/* Addresses and ports: cm_addr.c */
int soft_cm_bind(struct soft_id *id, const struct sockaddr *addr);
int soft_cm_listen(struct soft_id *id);
void soft_cm_release_port(struct soft_id *id);
int soft_cm_resolve(struct soft_id *id, const struct sockaddr *from, const struct sockaddr *to,
		    int timeout_ms);
struct soft_id *soft_cm_listener(const struct soft_cm_packet *req);
size_t soft_addr_size(const struct sockaddr *addr);
in_port_t *soft_addr_port(struct sockaddr *addr);

/* QPs of ids: cm_qp.c */
int soft_cm_qp_attr(struct soft_id *id, struct ibv_qp_attr *attr, int *mask);
/* To RTR and RTS, as far as there is a QP. */
int soft_cm_start_qp(struct soft_id *id);
void soft_cm_fail_qp(struct soft_id *id);

#endif
