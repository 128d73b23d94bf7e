/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Socket options: see options.h. */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>

#include <rsk/rsk.h>

#include "knobs.h"
#include "sock.h"

void rsk_options_init(struct rsk_options *options)
{
	*options = (struct rsk_options){
		.sq_size = rsk_knob_value(RSK_KNOB_SQSIZE),
		.rq_size = rsk_knob_value(RSK_KNOB_RQSIZE),
		.inline_size = rsk_knob_value(RSK_KNOB_INLINE),
		.sndbuf = rsk_knob_value(RSK_KNOB_WMEM),
		.rcvbuf = rsk_knob_value(RSK_KNOB_MEM),
	};
}

enum kind { BOOL, NUMBER, BUFFER, TABLE, TIME, LINGER, COMPUTED };

/* Until when an option can be set. */
enum until { ALWAYS, CONNECTING, LISTENING, BOUND, NEVER };

struct option {
	int level, name;
	enum kind kind;
	enum until until;
	size_t offset;               /* in struct rsk_options */
	int min, max;                /* of a NUMBER or TABLE */
};

#define AT(member) offsetof(struct rsk_options, member)

static const struct option options[] = {
	{ SOL_SOCKET, SO_REUSEADDR, BOOL, BOUND, AT(reuseaddr), 0, 0 },
	{ SOL_SOCKET, SO_RCVBUF, BUFFER, CONNECTING, AT(rcvbuf), 0, 0 },
	{ SOL_SOCKET, SO_SNDBUF, BUFFER, CONNECTING, AT(sndbuf), 0, 0 },
	{ SOL_SOCKET, SO_RCVTIMEO, TIME, ALWAYS, AT(rcvtimeo), 0, 0 },
	{ SOL_SOCKET, SO_SNDTIMEO, TIME, ALWAYS, AT(sndtimeo), 0, 0 },
	{ SOL_SOCKET, SO_LINGER, LINGER, ALWAYS, AT(linger), 0, 0 },
	{ SOL_SOCKET, SO_KEEPALIVE, BOOL, ALWAYS, AT(keepalive), 0, 0 },
	{ SOL_SOCKET, SO_OOBINLINE, BOOL, ALWAYS, AT(oobinline), 0, 0 },
	{ SOL_SOCKET, SO_ERROR, COMPUTED, NEVER, 0, 0, 0 },
	{ SOL_SOCKET, SO_TYPE, COMPUTED, NEVER, 0, 0, 0 },
	{ SOL_SOCKET, SO_DOMAIN, COMPUTED, NEVER, 0, 0, 0 },
	{ SOL_SOCKET, SO_PROTOCOL, COMPUTED, NEVER, 0, 0, 0 },
	{ SOL_SOCKET, SO_ACCEPTCONN, COMPUTED, NEVER, 0, 0, 0 },
	{ IPPROTO_TCP, TCP_NODELAY, BOOL, ALWAYS, AT(nodelay), 0, 0 },
	{ IPPROTO_TCP, TCP_MAXSEG, COMPUTED, NEVER, 0, 0, 0 },
	{ IPPROTO_IPV6, IPV6_V6ONLY, BOOL, BOUND, AT(v6only), 0, 0 },
	{ SOL_RDMA, RDMA_SQSIZE, NUMBER, LISTENING, AT(sq_size), RSK_QP_SIZE_MIN, RSK_QP_SIZE_MAX },
	{ SOL_RDMA, RDMA_RQSIZE, NUMBER, LISTENING, AT(rq_size), RSK_QP_SIZE_MIN, RSK_QP_SIZE_MAX },
	{ SOL_RDMA, RDMA_INLINE, NUMBER, LISTENING, AT(inline_size), 0, RSK_QP_SIZE_MAX },
	{ SOL_RDMA, RDMA_IOMAPSIZE, TABLE, LISTENING, AT(iomap_size), 0, WIRE_MAPPINGS_MAX },
};

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
		*member = value != 0;
		return 0;
	case BUFFER:
		*member = buffer_size(value);
		return 0;
	case NUMBER:
		if (value < option->min || value > option->max)
			return -EINVAL;
		*member = value;
		return 0;
	default: /* TABLE */
		if (value < option->min || value > option->max)
			return -EINVAL;
		*member = (int)rsk_wire_iomap_size((unsigned)value);
		return 0;
	}
}

static int set_time(struct timeval *member, const struct timeval *value)
{
	if (value->tv_sec < 0 || value->tv_usec < 0 || value->tv_usec >= 1000000)
		return -EDOM;
	*member = *value;
	return 0;
}

int rsk_option_set(struct rsk_sock *sk, int level, int name, const void *value, socklen_t len)
{
	const struct option *option = find(sk, level, name);
	struct timeval time;
	void *member;
	int number;

	if (!option || option->until == NEVER)
		return -ENOPROTOOPT;
	if (too_late(sk, option->until))
		return -EINVAL;
	member = (char *)&sk->options + option->offset;
	switch (option->kind) {
	case TIME:
		if (len < sizeof(time))
			return -EINVAL;
		memcpy(&time, value, sizeof(time));
		return set_time(member, &time);
	case LINGER:
		if (len < sizeof(struct linger))
			return -EINVAL;
		memcpy(member, value, sizeof(struct linger));
		return 0;
	default:
		if (len < sizeof(number))
			return -EINVAL;
		memcpy(&number, value, sizeof(number));
		return set_number(option, member, number);
	}
}

static int compute(struct rsk_sock *sk, const struct option *option)
{
	int value = 0;

	if (option->level == IPPROTO_TCP) {
		value = sk->state == RSK_CONNECTED ? rsk_qp_mtu(&sk->qp) : 0;
		return value ? value : 2048;
	}
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
	if (option->kind == COMPUTED)
		return compute(sk, option);
	if (option->kind == BUFFER && !*member)
		return RSK_BUFFER_DEFAULT;
	/* Once there is a QP, what it can really do. */
	if (option->level == SOL_RDMA && option->name == RDMA_INLINE && sk->qp.qp)
		return (int)sk->qp.max_inline;
	return *member;
}

int rsk_option_get(struct rsk_sock *sk, int level, int name, void *value, socklen_t *len)
{
	const struct option *option = find(sk, level, name);
	const void *member;
	socklen_t size;
	int number;

	if (!option)
		return -ENOPROTOOPT;
	if (*len > INT_MAX)
		return -EINVAL;
	member = (char *)&sk->options + option->offset;
	size = option->kind == TIME ? sizeof(struct timeval) :
	       option->kind == LINGER ? sizeof(struct linger) : sizeof(int);
	if (option->kind != TIME && option->kind != LINGER) {
		number = get_number(sk, option, member);
		member = &number;
	}
	/* Cut to the caller's room, as Linux does. */
	if (*len > size)
		*len = size;
	memcpy(value, member, *len);
	return 0;
}
