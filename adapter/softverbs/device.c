/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The device as programs find it: list, attributes, port, GIDs, async events. */
#include "device.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects.h"
#include "options.h"

enum { MAX_GIDS = 128, MAX_MESSAGE = 1 << 31 };

static struct ibv_device the_device;
static struct verbs_context *the_context;
static struct soft_queue async_queue;
struct soft_counts soft_counts;

struct async_event {
	struct soft_event event;
	struct ibv_async_event ibv;
};

/* Addresses */

static bool is_ip(const struct sockaddr *addr)
{
	return addr && (addr->sa_family == AF_INET || addr->sa_family == AF_INET6);
}

void soft_gid_of(const struct sockaddr *addr, union ibv_gid *gid)
{
	memset(gid, 0, sizeof(*gid));
	if (addr->sa_family == AF_INET6) {
		memcpy(gid->raw, &((const struct sockaddr_in6 *)addr)->sin6_addr, sizeof(gid->raw));
		return;
	}
	gid->raw[10] = gid->raw[11] = 0xff;
	memcpy(gid->raw + 12, &((const struct sockaddr_in *)addr)->sin_addr, 4);
}

/* The addresses that are served, as GIDs, and the interface's number for each. */
struct gids {
	int n;
	struct gid {
		union ibv_gid gid;
		unsigned ifindex;
	} at[MAX_GIDS];
};

static void add_gid(struct gids *gids, const struct sockaddr *addr, unsigned ifindex)
{
	soft_gid_of(addr, &gids->at[gids->n].gid);
	gids->at[gids->n++].ifindex = ifindex;
}

static void list_gids(struct gids *gids)
{
	struct ifaddrs *all;

	gids->n = 0;
	for (int i = 0; i < soft_options.naddresses; i++)
		add_gid(gids, (struct sockaddr *)&soft_options.addresses[i], 0);
	if (soft_options.naddresses || getifaddrs(&all))
		return;
	for (struct ifaddrs *entry = all; entry && gids->n < MAX_GIDS; entry = entry->ifa_next) {
		if (is_ip(entry->ifa_addr) && entry->ifa_flags & IFF_UP)
			add_gid(gids, entry->ifa_addr, if_nametoindex(entry->ifa_name));
	}
	freeifaddrs(all);
}

int soft_gid_index(const union ibv_gid *gid)
{
	struct gids gids;

	list_gids(&gids);
	for (int i = 0; i < gids.n; i++) {
		if (!memcmp(gid, &gids.at[i].gid, sizeof(*gid)))
			return i;
	}
	return -1;
}

void soft_gid_at(int index, union ibv_gid *gid)
{
	struct gids gids;

	list_gids(&gids);
	memset(gid, 0, sizeof(*gid));
	if (index < gids.n)
		*gid = gids.at[index].gid;
}

/* All of 127.0.0.0/8 is this host, but where the device has other addresses, only one is its loopback. */
bool soft_address_is_loopback(const struct sockaddr *addr)
{
	uint32_t v4;

	if (addr->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)addr)->sin6_addr);
	v4 = ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr);
	return soft_options.naddresses ? v4 == INADDR_LOOPBACK : v4 >> 24 == IN_LOOPBACKNET;
}

bool soft_address_is_ours(const struct sockaddr *addr)
{
	union ibv_gid gid;

	if (!is_ip(addr))
		return false;
	if (!soft_options.naddresses && soft_address_is_loopback(addr))
		return true;
	soft_gid_of(addr, &gid);
	return soft_gid_index(&gid) >= 0;
}

void soft_address_any(struct sockaddr *addr)
{
	struct gids gids;

	list_gids(&gids);
	for (int i = 0; i < gids.n; i++) {
		const union ibv_gid *gid = &gids.at[i].gid;
		bool v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)gid);

		if (v4 != (addr->sa_family == AF_INET))
			continue;
		if (v4)
			memcpy(&((struct sockaddr_in *)addr)->sin_addr, gid->raw + 12, 4);
		else
			memcpy(&((struct sockaddr_in6 *)addr)->sin6_addr, gid, sizeof(*gid));
		return;
	}
}

/* What the port is like */

static int query_port(struct ibv_context *context, uint8_t port_num, struct ibv_port_attr *attr,
		      size_t size)
{
	const struct ibv_port_attr port = {
		.state = IBV_PORT_ACTIVE,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_4096,
		.gid_tbl_len = MAX_GIDS,
		.port_cap_flags = IBV_PORT_CM_SUP,
		.max_msg_sz = (uint32_t)MAX_MESSAGE,
		.pkey_tbl_len = 1,
		.max_vl_num = 1,
		.active_width = 2,   /* 4X */
		.active_speed = 4,   /* 10 Gb/s */
		.phys_state = 5,     /* link up */
		.link_layer = IBV_LINK_LAYER_ETHERNET,
	};

	(void)context;
	if (port_num != 1)
		return EINVAL;
	memset(attr, 0, size);
	memcpy(attr, &port, size < sizeof(port) ? size : sizeof(port));
	return 0;
}

/* For programs of before 2018: the same struct without its newest members. */
#undef ibv_query_port
int ibv_query_port(struct ibv_context *context, uint8_t port_num, struct _compat_ibv_port_attr *attr)
{
	return query_port(context, port_num, (struct ibv_port_attr *)attr,
			  offsetof(struct ibv_port_attr, port_cap_flags2));
}

static __be64 guid(void)
{
	return htobe64(UINT64_C(0x0272736b00000000));
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	const struct soft_options *o = &soft_options;

	(void)context;
	*attr = (struct ibv_device_attr){
		.node_guid = guid(),
		.sys_image_guid = guid(),
		.max_mr_size = UINT64_MAX,
		.page_size_cap = 0xfffff000,
		.max_qp = o->max_qp,
		.max_qp_wr = o->max_qp_wr,
		.device_cap_flags = IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_CURR_QP_STATE_MOD,
		.max_sge = o->max_sge,
		.max_sge_rd = o->max_sge,
		.max_cq = o->max_cq,
		.max_cqe = o->max_cqe,
		.max_mr = o->max_mr,
		.max_pd = o->max_pd,
		.max_qp_rd_atom = o->max_rd_atomic,
		.max_res_rd_atom = o->max_qp * o->max_rd_atomic,
		.max_qp_init_rd_atom = o->max_rd_atomic,
		.atomic_cap = IBV_ATOMIC_NONE,
		.max_ah = o->max_ah,
		.max_srq = o->max_srq,
		.max_srq_wr = o->max_qp_wr,
		.max_srq_sge = o->max_sge,
		.max_pkeys = 1,
		.phys_port_cnt = 1,
	};
	snprintf(attr->fw_ver, sizeof(attr->fw_ver), "%s", PACKAGE_VERSION);
	return 0;
}

static int query_device_ex(struct ibv_context *context, const struct ibv_query_device_ex_input *input,
			   struct ibv_device_attr_ex *attr, size_t size)
{
	(void)input;
	if (size < sizeof(attr->orig_attr))
		return EINVAL;
	memset(attr, 0, size);
	if (size >= sizeof(*attr))
		attr->phys_port_cnt_ex = 1;
	return ibv_query_device(context, &attr->orig_attr);
}

int ibv_query_gid(struct ibv_context *context, uint8_t port_num, int index, union ibv_gid *gid)
{
	(void)context;
	if (port_num != 1 || index < 0 || index >= MAX_GIDS) {
		errno = EINVAL;
		return -1;
	}
	soft_gid_at(index, gid);     /* an empty place is all zero */
	return 0;
}

static void fill_entry(struct ibv_gid_entry *entry, const struct gids *gids, uint32_t index)
{
	*entry = (struct ibv_gid_entry){
		.gid = gids->at[index].gid,
		.gid_index = index,
		.port_num = 1,
		.gid_type = soft_options.iwarp ? IBV_GID_TYPE_IB : IBV_GID_TYPE_ROCE_V2,
		.ndev_ifindex = gids->at[index].ifindex,
	};
}

int _ibv_query_gid_ex(struct ibv_context *context, uint32_t port_num, uint32_t gid_index,
		      struct ibv_gid_entry *entry, uint32_t flags, size_t entry_size)
{
	struct gids gids;

	(void)context;
	if (flags || entry_size < sizeof(*entry) || port_num != 1 || gid_index >= MAX_GIDS)
		return EINVAL;
	list_gids(&gids);
	if (gid_index >= (uint32_t)gids.n)
		return ENODATA;
	fill_entry(entry, &gids, gid_index);
	return 0;
}

ssize_t _ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries,
			     size_t max_entries, uint32_t flags, size_t entry_size)
{
	struct gids gids;
	uint32_t i;

	(void)context;
	if (flags || entry_size < sizeof(*entries))
		return -EINVAL;
	list_gids(&gids);
	for (i = 0; i < (uint32_t)gids.n && i < max_entries; i++)
		fill_entry((struct ibv_gid_entry *)((char *)entries + i * entry_size), &gids, i);
	return (ssize_t)i;
}

/* Private to libibverbs and its tools: 1 is RoCE v2 to them. */
int ibv_query_gid_type(struct ibv_context *context, uint8_t port_num, unsigned int index,
		       unsigned int *type);
int ibv_query_gid_type(struct ibv_context *context, uint8_t port_num, unsigned int index,
		       unsigned int *type)
{
	(void)context;
	if (port_num != 1 || index >= MAX_GIDS) {
		errno = EINVAL;
		return -1;
	}
	*type = !soft_options.iwarp;
	return 0;
}

int ibv_query_pkey(struct ibv_context *context, uint8_t port_num, int index, __be16 *pkey)
{
	(void)context;
	if (port_num != 1 || index) {
		errno = EINVAL;
		return -1;
	}
	*pkey = 0xffff;
	return 0;
}

int ibv_get_pkey_index(struct ibv_context *context, uint8_t port_num, __be16 pkey)
{
	(void)context;
	if (port_num == 1 && pkey == 0xffff)
		return 0;
	errno = ENOENT;
	return -1;
}

/* The list */

struct ibv_device *soft_device(void)
{
	the_device.node_type = soft_options.iwarp ? IBV_NODE_RNIC : IBV_NODE_CA;
	the_device.transport_type = soft_options.iwarp ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB;
	snprintf(the_device.name, sizeof(the_device.name), "soft0");
	snprintf(the_device.dev_name, sizeof(the_device.dev_name), "softverbs0");
	return &the_device;
}

#undef ibv_get_device_list
struct ibv_device **ibv_get_device_list(int *num_devices)
{
	struct ibv_device **list = calloc(2, sizeof(*list));

	if (!list)
		return NULL;
	soft_lock();
	list[0] = soft_device();
	soft_unlock();
	if (num_devices)
		*num_devices = 1;
	return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
	free(list);
}

const char *ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

__be64 ibv_get_device_guid(struct ibv_device *device)
{
	(void)device;
	return guid();
}

int ibv_get_device_index(struct ibv_device *device)
{
	(void)device;
	return -1;                   /* the kernel does not know it */
}

/* The context */

static struct verbs_context *make_context(void)
{
	struct verbs_context *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->sz = sizeof(*made);
	made->query_port = query_port;
	made->query_device_ex = query_device_ex;
	made->context.device = soft_device();
	made->context.abi_compat = __VERBS_ABI_IS_EXTENDED;
	made->context.cmd_fd = -1;
	made->context.num_comp_vectors = 1;
	made->context.ops.poll_cq = soft_poll_cq;
	made->context.ops.req_notify_cq = soft_req_notify_cq;
	made->context.ops.post_send = soft_post_send;
	made->context.ops.post_recv = soft_post_recv;
	made->context.ops.post_srq_recv = soft_post_srq_recv;
	pthread_mutex_init(&made->context.mutex, NULL);
	made->context.async_fd = soft_queue_open();
	if (made->context.async_fd >= 0)
		return made;
	errno = -made->context.async_fd;
	free(made);
	return NULL;
}

struct ibv_context *soft_context(void)
{
	int ret = soft_node_start();

	if (ret) {
		errno = -ret;
		return NULL;
	}
	if (!the_context)
		the_context = make_context();
	return the_context ? &the_context->context : NULL;
}

#undef ibv_open_device
struct ibv_context *ibv_open_device(struct ibv_device *device)
{
	struct ibv_context *context;

	(void)device;
	soft_lock();
	context = soft_context();
	soft_unlock();
	return context;
}

int ibv_close_device(struct ibv_context *context)
{
	(void)context;
	return 0;
}

/* Async events */

void soft_async_event(enum ibv_event_type type, void *element)
{
	struct async_event *event = calloc(1, sizeof(*event));

	if (!event)
		return;
	event->ibv.event_type = type;
	event->ibv.element.qp = element;
	soft_queue_put(&async_queue, the_context->context.async_fd, &event->event);
}

/* Where its acknowledgements are counted. NULL: those of the port need none. */
static struct soft_acks *acks_of(const struct ibv_async_event *event)
{
	switch (event->event_type) {
	case IBV_EVENT_CQ_ERR:
		return &soft_cq(event->element.cq)->async_acks;
	case IBV_EVENT_SRQ_LIMIT_REACHED:
		return &soft_srq(event->element.srq)->acks;
	case IBV_EVENT_PORT_ACTIVE:
	case IBV_EVENT_PORT_ERR:
		return NULL;
	default:
		return &soft_qp(event->element.qp)->acks;
	}
}

int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *out)
{
	struct async_event *event = (struct async_event *)soft_queue_take(&async_queue, context->async_fd);

	if (!event)
		return -1;
	*out = event->ibv;
	if (acks_of(out))
		acks_of(out)->given++;
	soft_unlock();
	free(event);
	return 0;
}

void ibv_ack_async_event(struct ibv_async_event *event)
{
	struct soft_acks *acks = acks_of(event);

	if (acks)
		soft_acks_add(acks, 1);
}

void soft_async_forget(const void *element)
{
	struct soft_event *next;

	for (struct soft_event *event = async_queue.first; event; event = next) {
		next = event->next;
		if (((struct async_event *)event)->ibv.element.qp != element)
			continue;
		soft_queue_remove(&async_queue, the_context->context.async_fd, event);
		free(event);
	}
}

/* After fork, in the child: what comes goes to a descriptor of its own. */
void soft_async_forget_all(void)
{
	struct soft_event *event;

	if (!the_context)
		return;
	close(the_context->context.async_fd);
	the_context->context.async_fd = soft_queue_open(); /* if there is none, nothing is told */
	while ((event = async_queue.first)) {
		async_queue.first = event->next;
		free(event);
	}
}

/* For tests, which find it with dlsym(): how many of each there are. */
void softverbs_in_use(int *qps, int *cqs, int *mrs);
void softverbs_in_use(int *qps, int *cqs, int *mrs)
{
	soft_lock();
	*qps = soft_counts.qps;
	*cqs = soft_counts.cqs;
	*mrs = soft_counts.mrs;
	soft_unlock();
}
