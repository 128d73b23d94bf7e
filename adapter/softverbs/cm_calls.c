/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The calls of librdmacm that work on ids and channels. An id without a channel is synchronous: its calls
 * wait for their event, which stays in id->event until the next call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rdma/rdma_verbs.h>

#include "cm.h"
#include "fault.h"

static int result(int ret)
{
	if (!ret)
		return 0;
	errno = -ret;
	return -1;
}

/* The end of a call that took the lock. */
static int unlocked(int ret)
{
	soft_unlock();
	return result(ret);
}

/* Channels */

struct rdma_event_channel *rdma_create_event_channel(void)
{
	struct soft_cm_channel *channel;
	int ret;

	soft_lock();
	ret = soft_fail_at(SOFT_AT_CREATE_EVENT_CHANNEL);
	if (!ret)
		ret = soft_context() ? 0 : errno;
	soft_unlock();
	if (ret) {
		errno = ret;
		return NULL;
	}
	channel = calloc(1, sizeof(*channel));
	if (!channel)
		return NULL;
	channel->ibv.fd = soft_queue_open();
	if (channel->ibv.fd >= 0)
		return &channel->ibv;
	errno = -channel->ibv.fd;
	free(channel);
	return NULL;
}

void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	close(channel->fd);
	free(channel);
}

/* Ids */

static void forget_event(struct rdma_cm_id *id)
{
	if (id->event)
		rdma_ack_cm_event(id->event);
	id->event = NULL;
}

static int create_id(struct rdma_event_channel *channel, struct rdma_cm_id **out, void *context,
		     enum rdma_port_space ps, bool sync)
{
	struct soft_id *id;
	int ret;

	soft_lock();
	ret = -soft_fail_at(SOFT_AT_CREATE_ID);
	if (!ret)
		ret = soft_node_start();
	id = ret ? NULL : soft_id_new(channel, context, ps);
	if (id)
		id->sync = sync;
	soft_unlock();
	if (!id)
		return ret ? ret : -ENOMEM;
	*out = &id->ibv;
	return 0;
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **out, void *context,
		   enum rdma_port_space ps)
{
	bool sync = !channel;
	int ret;

	if (ps != RDMA_PS_TCP && ps != RDMA_PS_UDP)
		return result(-EPROTONOSUPPORT);
	if (sync)
		channel = rdma_create_event_channel();
	if (!channel)
		return -1;
	ret = create_id(channel, out, context, ps, sync);
	if (ret && sync)
		rdma_destroy_event_channel(channel);
	return result(ret);
}

int rdma_destroy_id(struct rdma_cm_id *id)
{
	struct rdma_event_channel *own = soft_id(id)->sync ? id->channel : NULL;

	forget_event(id);
	soft_lock();
	soft_id_destroy(soft_id(id));
	soft_unlock();
	if (own)
		rdma_destroy_event_channel(own);
	return 0;
}

/* Waits for what a call on a synchronous id has begun. */
static int complete(struct rdma_cm_id *id)
{
	int status;

	if (!soft_id(id)->sync)
		return 0;
	forget_event(id);
	if (rdma_get_cm_event(id->channel, &id->event))
		return -1;
	status = id->event->status;
	if (!status)
		return 0;
	if (id->event->event == RDMA_CM_EVENT_REJECTED)
		return result(-ECONNREFUSED);
	return result(status < 0 ? status : -status);
}

int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	soft_lock();
	return unlocked(soft_cm_bind(soft_id(id), addr));
}

int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to, int timeout_ms)
{
	soft_lock();
	return unlocked(soft_cm_resolve(soft_id(id), from, to, timeout_ms)) ? -1 : complete(id);
}

static int resolve_route(struct soft_id *id)
{
	if (id->state != SOFT_ADDR_RESOLVED)
		return -EINVAL;
	id->state = SOFT_ROUTE_RESOLVED;
	soft_cm_raise(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL);
	return 0;
}

int rdma_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
	(void)timeout_ms;
	soft_lock();
	return unlocked(resolve_route(soft_id(id))) ? -1 : complete(id);
}

int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	soft_lock();
	return unlocked(soft_cm_send_req(soft_id(id), param)) ? -1 : complete(id);
}

int rdma_establish(struct rdma_cm_id *id)
{
	soft_lock();
	return unlocked(soft_cm_send_rtu(soft_id(id)));
}

int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	enum { BACKLOG_MAX = 1024 };

	soft_lock();
	soft_id(id)->backlog = backlog <= 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog;
	return unlocked(soft_cm_listen(soft_id(id)));
}

int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	soft_lock();
	if (unlocked(soft_cm_send_rep(soft_id(id), param)))
		return -1;
	return soft_id_is_ud(soft_id(id)) ? 0 : complete(id);
}

int rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t len)
{
	soft_lock();
	return unlocked(soft_cm_send_rej(soft_id(id), SOFT_REJ_BY_CONSUMER, data, len));
}

int rdma_reject_ece(struct rdma_cm_id *id, const void *data, uint8_t len)
{
	return rdma_reject(id, data, len);
}

int rdma_disconnect(struct rdma_cm_id *id)
{
	soft_lock();
	soft_cm_fail_qp(soft_id(id));
	return unlocked(soft_cm_disconnect(soft_id(id))) ? -1 : complete(id);
}

/* Options and addresses */

static int set_flag(bool *flag, bool allowed, const void *value, size_t size)
{
	int on;

	if (size != sizeof(on) || !allowed)
		return -EINVAL;
	memcpy(&on, value, sizeof(on));
	*flag = on;
	return 0;
}

static int set_option(struct soft_id *id, int name, const void *value, size_t size)
{
	switch (name) {
	case RDMA_OPTION_ID_REUSEADDR:
		return set_flag(&id->reuseaddr, true, value, size);
	case RDMA_OPTION_ID_AFONLY:
		return set_flag(&id->afonly, id->state == SOFT_IDLE || id->state == SOFT_BOUND, value, size);
	case RDMA_OPTION_ID_TOS:
	case RDMA_OPTION_ID_ACK_TIMEOUT:
		return size == sizeof(uint8_t) ? 0 : -EINVAL; /* there is no network to tell */
	default:
		return -ENOSYS;
	}
}

int rdma_set_option(struct rdma_cm_id *id, int level, int name, void *value, size_t size)
{
	soft_lock();
	return unlocked(level == RDMA_OPTION_ID ? set_option(soft_id(id), name, value, size) : -ENOSYS);
}

__be16 rdma_get_src_port(struct rdma_cm_id *id)
{
	return id->route.addr.src_addr.sa_family ? *soft_addr_port(&id->route.addr.src_addr) : 0;
}

__be16 rdma_get_dst_port(struct rdma_cm_id *id)
{
	return id->route.addr.dst_addr.sa_family ? *soft_addr_port(&id->route.addr.dst_addr) : 0;
}

/* Migration: the events that nobody has read yet go along. */

static void move_events(struct soft_id *id, struct rdma_event_channel *to)
{
	struct soft_queue *from = &((struct soft_cm_channel *)id->ibv.channel)->queue;
	struct soft_event *next;

	for (struct soft_event *event = from->first; event; event = next) {
		next = event->next;
		if (((struct soft_cm_event *)event)->about != id)
			continue;
		soft_queue_remove(from, id->ibv.channel->fd, event);
		soft_queue_put(&((struct soft_cm_channel *)to)->queue, to->fd, event);
	}
}

int rdma_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *channel)
{
	struct rdma_event_channel *own = soft_id(id)->sync ? id->channel : NULL;
	bool sync = !channel;

	if (sync && own)
		return result(-EINVAL);
	if (sync)
		channel = rdma_create_event_channel();
	if (!channel)
		return -1;
	soft_lock();
	move_events(soft_id(id), channel);
	id->channel = channel;
	soft_id(id)->sync = sync;
	soft_unlock();
	if (own) {
		forget_event(id);
		rdma_destroy_event_channel(own);
	}
	return 0;
}

/* Endpoints: ids that come with all they need. */

static int take_ep_attr(struct soft_id *id, struct ibv_pd *pd, const struct ibv_qp_init_attr *attr)
{
	id->ep_attr = malloc(sizeof(*attr));
	if (!id->ep_attr)
		return -ENOMEM;
	*id->ep_attr = *attr;
	id->ep_pd = pd;
	return 0;
}

static int set_up_ep(struct rdma_cm_id *id, struct rdma_addrinfo *res, struct ibv_pd *pd,
		     struct ibv_qp_init_attr *attr)
{
	if (res->ai_flags & RAI_PASSIVE) {
		if (rdma_bind_addr(id, res->ai_src_addr))
			return -1;
		return attr ? result(take_ep_attr(soft_id(id), pd, attr)) : 0;
	}
	if (rdma_resolve_addr(id, res->ai_src_addr, res->ai_dst_addr, 2000) || rdma_resolve_route(id, 2000))
		return -1;
	if (!attr)
		return 0;
	attr->qp_type = (enum ibv_qp_type)res->ai_qp_type;
	return rdma_create_qp(id, pd, attr);
}

int rdma_create_ep(struct rdma_cm_id **out, struct rdma_addrinfo *res, struct ibv_pd *pd,
		   struct ibv_qp_init_attr *attr)
{
	struct rdma_cm_id *id;
	int ret;

	if (rdma_create_id(NULL, &id, NULL, (enum rdma_port_space)res->ai_port_space))
		return -1;
	if (!set_up_ep(id, res, pd, attr)) {
		*out = id;
		return 0;
	}
	ret = -errno;
	rdma_destroy_ep(id);
	return result(ret);
}

void rdma_destroy_ep(struct rdma_cm_id *id)
{
	if (id->qp)
		rdma_destroy_qp(id);
	if (id->srq)
		rdma_destroy_srq(id);
	rdma_destroy_id(id);
}

int rdma_get_request(struct rdma_cm_id *listen, struct rdma_cm_id **out)
{
	struct soft_id *listener = soft_id(listen);
	struct rdma_cm_event *event;
	struct rdma_cm_id *id;
	int ret = 0;

	if (!listener->sync)
		return result(-EINVAL);
	forget_event(listen);
	if (rdma_get_cm_event(listen->channel, &event))
		return -1;
	if (event->status || event->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
		ret = event->status ? event->status : -EINVAL;
		rdma_ack_cm_event(event);
		return result(ret);
	}
	id = event->id;
	if (listener->ep_attr) {
		struct ibv_qp_init_attr attr = *listener->ep_attr;

		ret = rdma_create_qp(id, listener->ep_pd, &attr) ? -errno : 0;
	}
	if (!ret)
		ret = rdma_migrate_id(id, NULL) ? -errno : 0;
	if (ret) {
		rdma_ack_cm_event(event);
		rdma_destroy_ep(id);
		return result(ret);
	}
	id->event = event;
	*out = id;
	return 0;
}

/* Devices */

struct ibv_context **rdma_get_devices(int *count)
{
	struct ibv_context **list = calloc(2, sizeof(*list));

	if (!list)
		return NULL;
	soft_lock();
	list[0] = soft_context();
	soft_unlock();
	if (count)
		*count = list[0] ? 1 : 0;
	return list;
}

void rdma_free_devices(struct ibv_context **list)
{
	free(list);
}
