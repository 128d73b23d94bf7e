/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Socket options: see options.h. */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/sockios.h>

#include <rsk/rsk.h>

#include "cork.h"
#include "keepalive.h"
#include "knobs.h"
#include "sock.h"
#include "stream.h"

void rsk_options_init(struct rsk_options *options)
{
	*options = (struct rsk_options){
		.sq_size = rsk_knob_value(RSK_KNOB_SQSIZE),
		.rq_size = rsk_knob_value(RSK_KNOB_RQSIZE),
		.inline_size = rsk_knob_value(RSK_KNOB_INLINE),
		.sndbuf = rsk_knob_value(RSK_KNOB_WMEM),
		.rcvbuf = rsk_knob_value(RSK_KNOB_MEM),
		.iomap_size = (int)rsk_wire_iomap_size((unsigned)rsk_knob_value(RSK_KNOB_IOMAP)),
		.rcvlowat = 1,
		.quickack = 1,
		.keepidle = rsk_knob_value(RSK_KNOB_KEEPALIVE_TIME),
		.keepintvl = rsk_knob_value(RSK_KNOB_KEEPALIVE_INTVL),
		.keepcnt = rsk_knob_value(RSK_KNOB_KEEPALIVE_PROBES),
	};
}

enum kind {
	BOOL,
	NUMBER,                      /* within its range */
	LOWAT,                       /* clipped as in Linux */
	BUFFER,
	TABLE,                       /* of mappings: some sizes are rounded up */
	TOS,                         /* an octet of which two bits are not ours */
	TIME,
	LINGER,
	HINT,                        /* a range to be in; it changes nothing, and reads as computed */
	FIXED,                       /* always @min: it can be set to that only */
	COMPUTED,
	NAME,                        /* of the congestion control */
	INFO,                        /* struct tcp_info */
	ROUTE,                       /* struct ibv_path_data[] */
};

/* Until when an option can be set. */
enum until { ALWAYS, CONNECTING, LISTENING, BOUND, NEVER };

struct option {
	int level, name;
	enum kind kind;
	enum until until;
	size_t offset;               /* in struct rsk_options */
	int min, max;
	void (*then)(struct rsk_sock *sk); /* after a change; or NULL */
};

#define AT(member) offsetof(struct rsk_options, member)

static const struct option options[] = {
	{ SOL_SOCKET, SO_REUSEADDR, BOOL, BOUND, AT(reuseaddr), 0, 0, NULL },
	{ SOL_SOCKET, SO_RCVBUF, BUFFER, CONNECTING, AT(rcvbuf), 0, 0, NULL },
	{ SOL_SOCKET, SO_SNDBUF, BUFFER, CONNECTING, AT(sndbuf), 0, 0, NULL },
	{ SOL_SOCKET, SO_RCVLOWAT, LOWAT, ALWAYS, AT(rcvlowat), 0, 0, rsk_sock_wake },
	{ SOL_SOCKET, SO_SNDLOWAT, FIXED, ALWAYS, 0, 1, 1, NULL },
	{ SOL_SOCKET, SO_RCVTIMEO, TIME, ALWAYS, AT(rcvtimeo), 0, 0, NULL },
	{ SOL_SOCKET, SO_SNDTIMEO, TIME, ALWAYS, AT(sndtimeo), 0, 0, NULL },
	{ SOL_SOCKET, SO_LINGER, LINGER, ALWAYS, AT(linger), 0, 0, NULL },
	{ SOL_SOCKET, SO_KEEPALIVE, BOOL, ALWAYS, AT(keepalive), 0, 0, rsk_keepalive_restart },
	{ SOL_SOCKET, SO_OOBINLINE, BOOL, ALWAYS, AT(oobinline), 0, 0, NULL },
	{ SOL_SOCKET, SO_BROADCAST, BOOL, ALWAYS, AT(broadcast), 0, 0, NULL },
	{ SOL_SOCKET, SO_PRIORITY, NUMBER, ALWAYS, AT(priority), INT_MIN, INT_MAX, NULL },
	{ SOL_SOCKET, SO_REUSEPORT, FIXED, ALWAYS, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_DONTROUTE, FIXED, ALWAYS, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_DEBUG, FIXED, ALWAYS, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_ERROR, COMPUTED, NEVER, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_TYPE, COMPUTED, NEVER, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_DOMAIN, COMPUTED, NEVER, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_PROTOCOL, COMPUTED, NEVER, 0, 0, 0, NULL },
	{ SOL_SOCKET, SO_ACCEPTCONN, COMPUTED, NEVER, 0, 0, 0, NULL },
	{ IPPROTO_IP, IP_TOS, TOS, ALWAYS, AT(tos), INT_MIN, INT_MAX, NULL },
	{ IPPROTO_IPV6, IPV6_TCLASS, TOS, ALWAYS, AT(tos), -1, 255, NULL },
	{ IPPROTO_IPV6, IPV6_V6ONLY, BOOL, BOUND, AT(v6only), 0, 0, NULL },
	{ IPPROTO_TCP, TCP_NODELAY, BOOL, ALWAYS, AT(nodelay), 0, 0, rsk_cork_nodelay_changed },
	{ IPPROTO_TCP, TCP_MAXSEG, HINT, ALWAYS, 0, 88, 32767, NULL },
	{ IPPROTO_TCP, TCP_CORK, BOOL, ALWAYS, AT(cork), 0, 0, rsk_cork_changed },
	{ IPPROTO_TCP, TCP_QUICKACK, BOOL, ALWAYS, AT(quickack), 0, 0, NULL },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, NUMBER, ALWAYS, AT(defer_accept), 0, INT_MAX, NULL },
	{ IPPROTO_TCP, TCP_KEEPIDLE, NUMBER, ALWAYS, AT(keepidle), 1, 32767, rsk_keepalive_restart },
	{ IPPROTO_TCP, TCP_KEEPINTVL, NUMBER, ALWAYS, AT(keepintvl), 1, 32767, rsk_keepalive_restart },
	{ IPPROTO_TCP, TCP_KEEPCNT, NUMBER, ALWAYS, AT(keepcnt), 1, RSK_KEEPCNT_MAX, rsk_keepalive_restart },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, NUMBER, ALWAYS, AT(user_timeout), 0, INT_MAX, rsk_keepalive_restart },
	{ IPPROTO_TCP, TCP_CONGESTION, NAME, ALWAYS, 0, 0, 0, NULL },
	{ IPPROTO_TCP, TCP_INFO, INFO, NEVER, 0, 0, 0, NULL },
	{ SOL_RDMA, RDMA_SQSIZE, NUMBER, LISTENING, AT(sq_size), RSK_QP_SIZE_MIN, RSK_QP_SIZE_MAX, NULL },
	{ SOL_RDMA, RDMA_RQSIZE, NUMBER, LISTENING, AT(rq_size), RSK_QP_SIZE_MIN, RSK_QP_SIZE_MAX, NULL },
	{ SOL_RDMA, RDMA_INLINE, NUMBER, LISTENING, AT(inline_size), 0, RSK_QP_SIZE_MAX, NULL },
	{ SOL_RDMA, RDMA_IOMAPSIZE, TABLE, LISTENING, AT(iomap_size), 0, WIRE_MAPPINGS_MAX, NULL },
	{ SOL_RDMA, RDMA_ROUTE, ROUTE, LISTENING, 0, 0, 0, NULL },
};

/* What a device does about congestion is its own affair; it has this name. */
static const char congestion_control[16] = "rdma";

static const struct option *find(const struct rsk_sock *sk, int level, int name)
{
	if (level == IPPROTO_IPV6 && sk->domain != AF_INET6)
		return NULL;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	}
	return NULL;
}

static bool too_late(const struct rsk_sock *sk, enum until until)
{
	switch (until) {
	case BOUND:
		return sk->cm.id || sk->state != RSK_IDLE;
	case LISTENING:
		return sk->state != RSK_IDLE;
	case CONNECTING:
		return sk->state != RSK_IDLE && sk->state != RSK_LISTENING;
	default:
		return false;
	}
}

/* As Linux: the caller's value is doubled, and clipped without complaint. */
static int buffer_size(int value)
{
	if (value < RSK_BUFFER_MIN / 2)
		return RSK_BUFFER_MIN;
	return value > RSK_BUFFER_MAX / 2 ? RSK_BUFFER_MAX : value * 2;
}

static int set_number(const struct option *option, int *member, int value)
{
	switch (option->kind) {
	case BOOL:
		value = value != 0;
		break;
	case BUFFER:
		value = buffer_size(value);
		break;
	case LOWAT:
		value = value < 0 ? INT_MAX : value ? value : 1;
		break;
	case FIXED:
		return value == option->min ? 0 : -ENOPROTOOPT;
	default:
		if (value < option->min || value > option->max)
			return -EINVAL;
		if (option->kind == HINT)
			return 0;
		if (option->kind == TOS)
			value = value == -1 ? 0 : value & 0xfc;
		if (option->kind == TABLE)
			value = (int)rsk_wire_iomap_size((unsigned)value);
	}
	/* Sends and receives read some of them without the state lock. */
	__atomic_store_n(member, value, __ATOMIC_RELAXED);
	return 0;
}

static int set_time(struct timeval *member, const struct timeval *value)
{
	if (value->tv_sec < 0 || value->tv_usec < 0 || value->tv_usec >= 1000000)
		return -EDOM;
	*member = *value;
	return 0;
}

static int set_name(const char *value, socklen_t len)
{
	if (!len)
		return -EINVAL;
	if (len > sizeof(congestion_control))
		len = sizeof(congestion_control);
	return strncmp(value, congestion_control, len) ? -ENOENT : 0;
}

static int set_value(struct rsk_sock *sk, const struct option *option, const void *value, socklen_t len)
{
	void *member = (char *)&sk->options + option->offset;
	struct linger *linger = member;
	struct timeval time;
	int number;

	switch (option->kind) {
	case TIME:
		if (len < sizeof(time))
			return -EINVAL;
		memcpy(&time, value, sizeof(time));
		return set_time(member, &time);
	case LINGER:
		if (len < sizeof(*linger))
			return -EINVAL;
		memcpy(linger, value, sizeof(*linger));
		linger->l_onoff = linger->l_onoff != 0;
		return 0;
	case NAME:
		return set_name(value, len);
	case ROUTE:
		return rsk_cm_set_route(sk, value, len);
	default:
		/* IP_TOS alone may be an octet, too. */
		if (len < sizeof(number) && (!len || option->name != IP_TOS || option->level != IPPROTO_IP))
			return -EINVAL;
		number = *(const uint8_t *)value;
		if (len >= sizeof(number))
			memcpy(&number, value, sizeof(number));
		return set_number(option, member, number);
	}
}

int rsk_option_set(struct rsk_sock *sk, int level, int name, const void *value, socklen_t len)
{
	const struct option *option = find(sk, level, name);
	int ret;

	if (!option || option->until == NEVER)
		return -ENOPROTOOPT;
	if (too_late(sk, option->until))
		return -EINVAL;
	ret = set_value(sk, option, value, len);
	if (!ret && option->then)
		option->then(sk);
	return ret;
}

static int mtu(struct rsk_sock *sk)
{
	int bytes = sk->state == RSK_CONNECTED ? rsk_qp_mtu(&sk->qp) : 0;

	return bytes ? bytes : 2048;
}

static int compute(struct rsk_sock *sk, const struct option *option)
{
	int value;

	if (option->level == IPPROTO_TCP)
		return mtu(sk);
	switch (option->name) {
	case SO_ERROR:
		value = sk->pending_error;
		sk->pending_error = 0;
		return value;
	case SO_TYPE:
		return SOCK_STREAM;
	case SO_DOMAIN:
		return sk->domain;
	case SO_PROTOCOL:
		return IPPROTO_TCP;
	default: /* SO_ACCEPTCONN */
		return sk->state == RSK_LISTENING;
	}
}

static int get_number(struct rsk_sock *sk, const struct option *option, const int *member)
{
	if (option->kind == COMPUTED || option->kind == HINT)
		return compute(sk, option);
	if (option->kind == FIXED)
		return option->min;
	if (option->kind == BUFFER && !*member)
		return RSK_BUFFER_DEFAULT;
	/* Once there is a QP, what it can really do. */
	if (option->level == SOL_RDMA && option->name == RDMA_INLINE && sk->qp.qp)
		return (int)sk->qp.max_inline;
	return *member;
}

/* The states of TCP, by which programs know them. */
static uint8_t tcp_state(struct rsk_sock *sk)
{
	switch (sk->state) {
	case RSK_LISTENING:
		return TCP_LISTEN;
	case RSK_RESOLVE_ADDR:
	case RSK_RESOLVE_ROUTE:
	case RSK_CONNECTING:
		return TCP_SYN_SENT;
	case RSK_CONNECTED:
		if (sk->shut_by_peer)
			return sk->shut_wr ? TCP_LAST_ACK : TCP_CLOSE_WAIT;
		return !sk->shut_wr ? TCP_ESTABLISHED :
		       rsk_stream_drained(sk) ? TCP_FIN_WAIT2 : TCP_FIN_WAIT1;
	default:
		return TCP_CLOSE;
	}
}

/* What is not known is 0. */
static struct tcp_info tcp_info(struct rsk_sock *sk)
{
	struct tcp_info info = { .tcpi_state = tcp_state(sk) };

	/* As in Linux: the connections that wait to be accepted. */
	if (sk->state == RSK_LISTENING)
		info.tcpi_unacked = sk->cm.backlog.ready.count;
	if (sk->state != RSK_CONNECTED)
		return info;
	info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = info.tcpi_pmtu = (uint32_t)mtu(sk);
	info.tcpi_unacked = rsk_qp_data_in_flight(&sk->qp);
	info.tcpi_snd_cwnd = sk->qp.sq_size;
	info.tcpi_rcv_space = sk->rx.credit.size[0] + sk->rx.credit.size[1];
	return info;
}

union value {
	int number;
	struct timeval time;
	struct linger linger;
	struct tcp_info info;
	char name[sizeof(congestion_control)];
};

/* The bytes of @value that are it. */
static size_t get_value(struct rsk_sock *sk, const struct option *option, union value *value)
{
	const void *member = (char *)&sk->options + option->offset;

	switch (option->kind) {
	case TIME:
		memcpy(&value->time, member, sizeof(value->time));
		return sizeof(value->time);
	case LINGER:
		memcpy(&value->linger, member, sizeof(value->linger));
		return sizeof(value->linger);
	case INFO:
		value->info = tcp_info(sk);
		return sizeof(value->info);
	case NAME:
		memcpy(value->name, congestion_control, sizeof(value->name));
		return sizeof(value->name);
	default:
		value->number = get_number(sk, option, member);
		return sizeof(value->number);
	}
}

int rsk_option_get(struct rsk_sock *sk, int level, int name, void *value, socklen_t *len)
{
	const struct option *option = find(sk, level, name);
	union value whole;
	size_t size;

	if (!option)
		return -ENOPROTOOPT;
	if (*len > INT_MAX)
		return -EINVAL;
	if (option->kind == ROUTE)
		return rsk_cm_get_route(sk, value, len);
	size = get_value(sk, option, &whole);
	/* Cut to the caller's room, as Linux does. */
	if (*len > size)
		*len = (socklen_t)size;
	memcpy(value, &whole, *len);
	return 0;
}

static int count_bytes(struct rsk_sock *sk, unsigned long request, int *value)
{
	bool listening;

	rsk_lock(&sk->lock);
	listening = sk->state == RSK_LISTENING;
	if (request == FIONREAD) {
		rsk_stream_progress(sk);
		*value = (int)rsk_rx_waiting(sk);
	}
	rsk_unlock(&sk->lock);
	if (request == SIOCOUTQ)
		*value = rsk_stream_unconfirmed(sk);
	return listening ? -EINVAL : 0;
}

int rsk_sock_ioctl(struct rsk_sock *sk, unsigned long request, int *value)
{
	int ret;

	switch (request) {
	case FIONREAD:
	case SIOCOUTQ:
		return count_bytes(sk, request, value);
	case SIOCATMARK:
		*value = 0;          /* there is no out-of-band data */
		return 0;
	case FIONBIO:
		rsk_lock(&sk->lock);
		ret = rsk_sock_set_nonblock(sk, *value);
		rsk_unlock(&sk->lock);
		return ret;
	default:
		return -ENOTTY;
	}
}
