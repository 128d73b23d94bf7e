/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Ids, their events, and the exchange with the peer: see cm.h. */
#include "cm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "fault.h"
#include "options.h"

enum {
	CONNECT_MS = 60000,          /* for an answer to a REQ */
	PART_MS = 10000,             /* for a DREP */
	TIMEWAIT_MS = 20,
};

static struct soft_id *ids;
static uint32_t last_number;

/* Ids */

struct soft_id *soft_id_first(void)
{
	return ids;
}

static struct soft_id *find(uint32_t number)
{
	struct soft_id *id;

	for (id = ids; id && id->number != number; id = id->next)
		;
	return id;
}

/* For a peer that gives up before it has learnt our number. */
static struct soft_id *find_by_peer(const struct soft_link *link, uint32_t peer)
{
	struct soft_id *id;

	for (id = ids; id && !(id->link == link && id->peer == peer); id = id->next)
		;
	return id;
}

struct soft_id *soft_id_new(struct rdma_event_channel *channel, void *context, enum rdma_port_space ps)
{
	struct soft_id *id = calloc(1, sizeof(*id));

	if (!id)
		return NULL;
	id->ibv.channel = channel;
	id->ibv.context = context;
	id->ibv.ps = ps;
	id->ibv.qp_type = ps == RDMA_PS_UDP || ps == RDMA_PS_IPOIB ? IBV_QPT_UD : IBV_QPT_RC;
	if (++last_number == 0)
		last_number = 1;     /* 0 is nobody */
	id->number = last_number;
	id->next = ids;
	ids = id;
	return id;
}

static struct ibv_pd *default_pd(struct ibv_context *context)
{
	static struct soft_pd pd;

	/* Of the library, as librdmacm has one: it is not in the way of anybody's limit. */
	pd.ibv.context = context;
	return &pd.ibv;
}

int soft_id_find_device(struct soft_id *id)
{
	struct ibv_context *context = soft_context();

	if (!context)
		return -errno;
	id->ibv.verbs = context;
	id->ibv.port_num = 1;
	id->ibv.pd = id->ibv.pd ? id->ibv.pd : default_pd(context);
	return 0;
}

static struct soft_queue *queue_of(const struct soft_id *id)
{
	return &((struct soft_cm_channel *)id->ibv.channel)->queue;
}

static void unlist(struct soft_id *id)
{
	struct soft_id **slot = &ids;

	while (*slot != id)
		slot = &(*slot)->next;
	*slot = id->next;
}

static void tell_goodbye(struct soft_id *id)
{
	switch (id->state) {
	case SOFT_CONNECTING:
		soft_cm_send_rej(id, SOFT_REJ_TIMEOUT, NULL, 0);
		break;
	case SOFT_REQUESTED:
	case SOFT_ANSWERED:
	case SOFT_ACCEPTED:
		soft_cm_send_rej(id, SOFT_REJ_BY_CONSUMER, NULL, 0);
		break;
	case SOFT_ESTABLISHED:
	case SOFT_LEFT:
		soft_cm_disconnect(id);
		break;
	default:
		break;
	}
}

static void take_back_events(struct soft_id *id)
{
	struct soft_event *next;

	for (struct soft_event *event = queue_of(id)->first; event; event = next) {
		struct soft_cm_event *cm = (struct soft_cm_event *)event;

		next = event->next;
		if (cm->about != id)
			continue;
		soft_queue_remove(queue_of(id), id->ibv.channel->fd, event);
		/* A request that nobody has seen. */
		if (cm->ibv.listen_id) {
			soft_id_destroy(soft_id(cm->ibv.id));
			next = queue_of(id)->first;
		}
		free(cm);
	}
}

void soft_id_destroy(struct soft_id *id)
{
	tell_goodbye(id);
	soft_timer_stop(&id->timer);
	soft_cm_release_port(id);
	unlist(id);
	take_back_events(id);
	soft_acks_await(&id->acks);
	free(id->ep_attr);
	free(id);
}

/* Events */

/* InfiniBand's messages have a fixed size, iWARP's end where the data ends. */
static uint8_t padded(const struct soft_id *id, enum rdma_cm_event_type type,
		      const struct soft_cm_packet *packet)
{
	if (soft_options.iwarp)
		return packet->data_len;
	switch (type) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		return soft_id_is_ud(id) ? SOFT_UD_REQ_DATA : SOFT_REQ_DATA;
	case RDMA_CM_EVENT_REJECTED:
		return SOFT_REJ_DATA;
	default:
		return soft_id_is_ud(id) ? SOFT_UD_REP_DATA : SOFT_REP_DATA;
	}
}

static void fill_ud(struct soft_cm_event *event, const struct soft_id *id,
		    const struct soft_cm_packet *packet)
{
	struct rdma_ud_param *ud = &event->ibv.param.ud;
	union ibv_gid own;

	ud->qp_num = packet->qpn;
	ud->qkey = packet->qkey;
	ud->ah_attr.is_global = 1;
	ud->ah_attr.port_num = 1;
	soft_gid_of(&id->ibv.route.addr.src_addr, &own);
	ud->ah_attr.grh.sgid_index = (uint8_t)soft_gid_index(&own);
	ud->ah_attr.grh.hop_limit = 0xff;
	soft_gid_of(&id->ibv.route.addr.dst_addr, &ud->ah_attr.grh.dgid);
}

static void fill(struct soft_cm_event *event, const struct soft_id *id,
		 const struct soft_cm_packet *packet)
{
	struct rdma_conn_param *conn = &event->ibv.param.conn;

	memcpy(event->data, packet->data, packet->data_len);
	/* The two kinds of parameters begin alike. */
	conn->private_data = event->data;
	conn->private_data_len = padded(id, event->ibv.event, packet);
	if (soft_id_is_ud(id)) {
		fill_ud(event, id, packet);
		return;
	}
	conn->responder_resources = packet->initiator_depth;
	conn->initiator_depth = packet->responder_resources;
	conn->flow_control = packet->flow_control;
	conn->retry_count = packet->retry_count;
	conn->rnr_retry_count = packet->rnr_retry_count;
	conn->srq = packet->srq;
	conn->qp_num = packet->qpn;
}

static void raise_about(struct soft_id *about, struct soft_id *id, enum rdma_cm_event_type type, int status,
			const struct soft_cm_packet *packet)
{
	struct soft_cm_event *event = calloc(1, sizeof(*event));

	if (!event)
		return;
	event->about = about;
	event->ibv.id = &id->ibv;
	event->ibv.listen_id = about == id ? NULL : &about->ibv;
	event->ibv.event = type;
	event->ibv.status = status;
	if (packet)
		fill(event, id, packet);
	soft_queue_put(queue_of(about), about->ibv.channel->fd, &event->event);
}

void soft_cm_raise(struct soft_id *id, enum rdma_cm_event_type type, int status,
		   const struct soft_cm_packet *packet)
{
	raise_about(id, id, type, status, packet);
}

static int establish(struct soft_id *id)
{
	int ret = soft_cm_start_qp(id);

	if (!ret)
		return soft_cm_send_rtu(id);
	soft_cm_send_rej(id, SOFT_REJ_BY_CONSUMER, NULL, 0);
	return ret;
}

/* What librdmacm does on the caller's thread before it shows an event. */
static void prepare(struct soft_cm_event *event)
{
	struct soft_id *id = soft_id(event->ibv.id);
	int ret;

	event->about->acks.given++;
	switch (event->ibv.event) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		event->about->queued--;
		break;
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
		if (!id->ibv.qp)
			break;       /* rdma_establish() is the application's */
		ret = establish(id);
		event->ibv.event = ret ? RDMA_CM_EVENT_CONNECT_ERROR : RDMA_CM_EVENT_ESTABLISHED;
		event->ibv.status = ret;
		break;
	case RDMA_CM_EVENT_REJECTED:
		soft_cm_fail_qp(id);
		break;
	default:
		break;
	}
}

int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **out)
{
	struct soft_cm_channel *from = (struct soft_cm_channel *)channel;
	struct soft_cm_event *event;

	if (!out) {
		errno = EINVAL;
		return -1;
	}
	event = (struct soft_cm_event *)soft_queue_take(&from->queue, channel->fd);
	if (!event)
		return -1;
	prepare(event);
	soft_unlock();
	*out = &event->ibv;
	return 0;
}

int rdma_ack_cm_event(struct rdma_cm_event *ibv)
{
	struct soft_cm_event *event = (struct soft_cm_event *)((char *)ibv -
							       offsetof(struct soft_cm_event, ibv));

	soft_acks_add(&event->about->acks, 1);
	free(event);
	return 0;
}

/* Sending */

static void send_packet(struct soft_id *id, struct soft_cm_packet *packet, enum soft_cm_op op)
{
	packet->head = (struct soft_packet){ .type = SOFT_CM, .to = id->peer, .from = id->number };
	packet->op = (uint16_t)op;
	if (id->link)
		soft_link_send(id->link, &packet->head, sizeof(*packet), -1);
}

static void set_data(struct soft_cm_packet *packet, const void *data, uint8_t len)
{
	if (len)
		memcpy(packet->data, data, len);
	packet->data_len = len;
}

static uint8_t at_most(uint8_t want, uint8_t all)
{
	uint8_t limit = (uint8_t)soft_options.max_rd_atomic;

	return want == all || want > limit ? limit : want;
}

static uint32_t qpn_of(const struct soft_id *id, const struct rdma_conn_param *param)
{
	return id->ibv.qp ? id->ibv.qp->qp_num : param ? param->qp_num : 0;
}

/* The parameters of a REQ or REP, and what the message may hold of private data. */
static int set_param(struct soft_id *id, struct soft_cm_packet *packet, const struct rdma_conn_param *param,
		     uint8_t data_max)
{
	const struct rdma_conn_param usual = { .responder_resources = RDMA_MAX_RESP_RES,
					       .initiator_depth = RDMA_MAX_INIT_DEPTH,
					       .retry_count = 7, .rnr_retry_count = 7 };

	packet->qpn = qpn_of(id, param);
	if (!packet->qpn)
		return -EINVAL;
	packet->qkey = RDMA_UDP_QKEY;
	packet->srq = id->ibv.srq ? 1 : param ? param->srq : 0;
	param = param ? param : &usual;
	if (param->private_data_len > data_max)
		return -EINVAL;
	packet->responder_resources = at_most(param->responder_resources, RDMA_MAX_RESP_RES);
	packet->initiator_depth = at_most(param->initiator_depth, RDMA_MAX_INIT_DEPTH);
	packet->flow_control = param->flow_control;
	packet->retry_count = param->retry_count & 7;
	packet->rnr_retry_count = param->rnr_retry_count & 7;
	set_data(packet, param->private_data, param->private_data_len);
	return 0;
}

static void connect_timed_out(struct soft_timer *timer)
{
	struct soft_id *id = (struct soft_id *)((char *)timer - offsetof(struct soft_id, timer));

	soft_cm_send_rej(id, SOFT_REJ_TIMEOUT, NULL, 0);
	soft_cm_raise(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, NULL);
}

int soft_cm_send_req(struct soft_id *id, const struct rdma_conn_param *param)
{
	bool ud = soft_id_is_ud(id);
	struct soft_cm_packet packet = { .ps = id->ibv.ps };
	struct sockaddr *to = &id->ibv.route.addr.dst_addr;
	struct soft_fault fault;
	char name[32];
	int reason = SOFT_REJ_NO_LISTENER, ret;

	if (id->state != SOFT_ROUTE_RESOLVED)
		return -EINVAL;
	ret = set_param(id, &packet, param, ud ? SOFT_UD_REQ_DATA : SOFT_REQ_DATA);
	if (ret && !ud)
		return ret;
	memcpy(&packet.from, &id->ibv.route.addr.src_addr, soft_addr_size(to));
	memcpy(&packet.to, to, soft_addr_size(to));
	id->param.retry_count = packet.retry_count;
	snprintf(name, sizeof(name), "%s/%u", ud ? "udp" : "tcp", ntohs(*soft_addr_port(to)));
	fault = soft_fault_at(SOFT_AT_CONNECT, 0);
	if (fault.action == SOFT_FAIL)
		return -fault.value;
	ret = fault.action == SOFT_REJECT ? -ECONNREFUSED : soft_link_to_name(name, &id->link);
	if (ret && ret != -ECONNREFUSED)
		return ret;
	id->state = SOFT_CONNECTING;
	if (!ret) {
		soft_timer_start(&id->timer, CONNECT_MS * SOFT_MS, connect_timed_out);
		if (fault.action != SOFT_IGNORE)
			send_packet(id, &packet, SOFT_REQ);
		return 0;
	}
	/* Nobody has the port, or somebody who is not to be talked to. */
	id->state = SOFT_ENDED;
	if (fault.action == SOFT_REJECT)
		reason = fault.value;
	if (ud)
		soft_cm_raise(id, RDMA_CM_EVENT_UNREACHABLE, -ECONNREFUSED, NULL);
	else
		soft_cm_raise(id, RDMA_CM_EVENT_REJECTED,
			      soft_options.iwarp ? -ECONNREFUSED : reason, NULL);
	return 0;
}

int soft_cm_send_rep(struct soft_id *id, const struct rdma_conn_param *param)
{
	bool ud = soft_id_is_ud(id);
	struct soft_cm_packet packet = { .ps = id->ibv.ps };
	int ret;

	if (id->state != SOFT_REQUESTED)
		return -EINVAL;
	ret = set_param(id, &packet, param, ud ? SOFT_UD_REP_DATA : SOFT_REP_DATA);
	if (ret)
		return ret;
	/* Not more than the peer has offered. */
	if (packet.responder_resources > id->param.responder_resources)
		packet.responder_resources = id->param.responder_resources;
	if (packet.initiator_depth > id->param.initiator_depth)
		packet.initiator_depth = id->param.initiator_depth;
	id->param.responder_resources = packet.responder_resources;
	id->param.initiator_depth = packet.initiator_depth;
	if (!ud) {
		ret = soft_cm_start_qp(id);
		if (ret)
			return ret;
		if (id->ibv.qp)
			soft_qp(id->ibv.qp)->speaks_second = soft_options.iwarp;
	}
	id->state = ud ? SOFT_ESTABLISHED : SOFT_ACCEPTED;
	send_packet(id, &packet, SOFT_REP);
	return 0;
}

int soft_cm_send_rtu(struct soft_id *id)
{
	struct soft_cm_packet packet = { 0 };

	if (id->state != SOFT_ANSWERED)
		return -EINVAL;
	id->state = SOFT_ESTABLISHED;
	send_packet(id, &packet, SOFT_RTU);
	return 0;
}

int soft_cm_send_rej(struct soft_id *id, unsigned reason, const void *data, uint8_t len)
{
	struct soft_cm_packet packet = { .reason = (uint16_t)reason };

	if (id->state != SOFT_REQUESTED && id->state != SOFT_CONNECTING && id->state != SOFT_ANSWERED &&
	    id->state != SOFT_ACCEPTED)
		return -EINVAL;
	if (len > SOFT_REJ_DATA)
		return -EINVAL;
	set_data(&packet, data, len);
	soft_timer_stop(&id->timer);
	id->state = SOFT_ENDED;
	send_packet(id, &packet, SOFT_REJ);
	id->link = NULL;
	return 0;
}

/* Parting */

static void timewait_over(struct soft_timer *timer)
{
	struct soft_id *id = (struct soft_id *)((char *)timer - offsetof(struct soft_id, timer));

	soft_cm_raise(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0, NULL);
}

static void end_connection(struct soft_id *id)
{
	id->state = SOFT_ENDED;
	id->link = NULL;
	soft_timer_start(&id->timer, TIMEWAIT_MS * SOFT_MS, timewait_over);
}

static void disconnected(struct soft_id *id, int status)
{
	soft_cm_raise(id, RDMA_CM_EVENT_DISCONNECTED, status, NULL);
	end_connection(id);
}

static void part_timed_out(struct soft_timer *timer)
{
	disconnected((struct soft_id *)((char *)timer - offsetof(struct soft_id, timer)), -ETIMEDOUT);
}

int soft_cm_disconnect(struct soft_id *id)
{
	struct soft_cm_packet packet = { 0 };

	if (soft_id_is_ud(id))
		return -EINVAL;
	switch (id->state) {
	case SOFT_ACCEPTED:          /* the peer cannot be told yet: the kernel does not, either */
		soft_cm_fail_qp(id);
		return 0;
	case SOFT_ESTABLISHED:
		soft_cm_fail_qp(id);
		id->state = SOFT_PARTING;
		soft_timer_start(&id->timer, PART_MS * SOFT_MS, part_timed_out);
		send_packet(id, &packet, SOFT_DREQ);
		return 0;
	case SOFT_LEFT:
		soft_cm_fail_qp(id);
		send_packet(id, &packet, SOFT_DREP);
		end_connection(id);
		return 0;
	default:
		return -EINVAL;
	}
}

/* Receiving */

static void refuse_req(struct soft_link *link, const struct soft_cm_packet *req, unsigned reason)
{
	struct soft_cm_packet rej = {
		.head = { .type = SOFT_CM, .to = req->head.from },
		.op = SOFT_REJ,
		.reason = (uint16_t)reason,
	};

	soft_link_send(link, &rej.head, sizeof(rej), -1);
}

static void take_req(struct soft_link *link, const struct soft_cm_packet *req)
{
	struct soft_id *listener = soft_cm_listener(req), *id;

	if (!listener) {
		refuse_req(link, req, SOFT_REJ_NO_LISTENER);
		return;
	}
	id = listener->queued < listener->backlog ?
	     soft_id_new(listener->ibv.channel, listener->ibv.context, listener->ibv.ps) : NULL;
	if (!id || soft_id_find_device(id)) {
		refuse_req(link, req, SOFT_REJ_BY_CONSUMER);
		if (id)
			soft_id_destroy(id);
		return;
	}
	id->link = link;
	id->peer = req->head.from;
	id->peer_qpn = req->qpn;
	id->param.responder_resources = at_most(req->initiator_depth, 0xff);
	id->param.initiator_depth = at_most(req->responder_resources, 0xff);
	id->param.retry_count = req->retry_count & 7;
	id->param.rnr_retry_count = req->rnr_retry_count & 7;
	id->state = SOFT_REQUESTED;
	memcpy(&id->ibv.route.addr.src_storage, &req->to, sizeof(req->to));
	memcpy(&id->ibv.route.addr.dst_storage, &req->from, sizeof(req->from));
	listener->queued++;
	raise_about(listener, id, RDMA_CM_EVENT_CONNECT_REQUEST, 0, req);
}

static void take_rep(struct soft_id *id, const struct soft_cm_packet *rep)
{
	if (id->state != SOFT_CONNECTING)
		return;
	soft_timer_stop(&id->timer);
	id->peer = rep->head.from;
	id->peer_qpn = rep->qpn;
	id->peer_qkey = rep->qkey;
	id->param.responder_resources = at_most(rep->initiator_depth, 0xff);
	id->param.initiator_depth = at_most(rep->responder_resources, 0xff);
	id->param.rnr_retry_count = rep->rnr_retry_count & 7;
	id->state = soft_id_is_ud(id) ? SOFT_ESTABLISHED : SOFT_ANSWERED;
	soft_cm_raise(id, soft_id_is_ud(id) ? RDMA_CM_EVENT_ESTABLISHED : RDMA_CM_EVENT_CONNECT_RESPONSE,
		      0, rep);
}

static void take_rtu(struct soft_id *id)
{
	if (id->state != SOFT_ACCEPTED)
		return;
	id->state = SOFT_ESTABLISHED;
	soft_cm_raise(id, RDMA_CM_EVENT_ESTABLISHED, 0, NULL);
}

static void take_rej(struct soft_id *id, const struct soft_cm_packet *rej)
{
	/* Established, too: the other end may go before it has seen our RTU. */
	if (id->state != SOFT_CONNECTING && id->state != SOFT_ANSWERED && id->state != SOFT_REQUESTED &&
	    id->state != SOFT_ACCEPTED && id->state != SOFT_ESTABLISHED)
		return;
	soft_timer_stop(&id->timer);
	id->state = SOFT_ENDED;
	id->link = NULL;
	soft_cm_raise(id, RDMA_CM_EVENT_REJECTED, soft_options.iwarp ? -ECONNREFUSED : rej->reason, rej);
}

static void take_dreq(struct soft_id *id)
{
	struct soft_cm_packet drep = { 0 };

	if (id->state == SOFT_PARTING) {
		send_packet(id, &drep, SOFT_DREP);
		disconnected(id, 0);
		return;
	}
	if (id->state != SOFT_ESTABLISHED)
		return;
	/* What was sent before the DREQ comes before it. */
	if (soft_id_qp(id))
		soft_qp_progress(soft_id_qp(id));
	id->state = SOFT_LEFT;
	soft_cm_raise(id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL);
}

static void take_drep(struct soft_id *id)
{
	if (id->state == SOFT_PARTING)
		disconnected(id, 0);
}

void soft_cm_take(struct soft_link *link, const struct soft_packet *head, size_t size)
{
	const struct soft_cm_packet *packet = (const struct soft_cm_packet *)head;
	struct soft_id *id;

	if (size != sizeof(*packet) || packet->data_len > sizeof(packet->data))
		return;
	if (packet->op == SOFT_REQ) {
		take_req(link, packet);
		return;
	}
	id = head->to ? find(head->to) : find_by_peer(link, head->from);
	if (!id || id->link != link || (id->peer && head->from && id->peer != head->from))
		return;
	if (packet->op == SOFT_REP)
		take_rep(id, packet);
	else if (packet->op == SOFT_RTU)
		take_rtu(id);
	else if (packet->op == SOFT_REJ)
		take_rej(id, packet);
	else if (packet->op == SOFT_DREQ)
		take_dreq(id);
	else if (packet->op == SOFT_DREP)
		take_drep(id);
}

/* The node of the peer has died. */
static void lose(struct soft_id *id)
{
	enum soft_cm_state was = id->state;

	soft_timer_stop(&id->timer);
	id->link = NULL;
	id->state = SOFT_ENDED;
	switch (was) {
	case SOFT_CONNECTING:
	case SOFT_ANSWERED:
	case SOFT_ACCEPTED:
		soft_cm_raise(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, NULL);
		break;
	case SOFT_REQUESTED:
		soft_cm_raise(id, RDMA_CM_EVENT_REJECTED, SOFT_REJ_TIMEOUT, NULL);
		break;
	case SOFT_ESTABLISHED:
	case SOFT_PARTING:
		disconnected(id, 0);
		break;
	default:
		break;
	}
}

void soft_cm_lost(struct soft_link *link)
{
	for (struct soft_id *id = ids; id; id = id->next) {
		if (id->link == link)
			lose(id);
	}
}

void soft_cm_forget(void)
{
	for (struct soft_id *id = ids; id; id = id->next) {
		id->link = NULL;
		id->state = SOFT_ENDED;
		soft_cm_release_port(id);
	}
}
