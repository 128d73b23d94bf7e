/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Addresses and ports. A port belongs to one process: it claims the port's name, which the kernel gives
 * to one only. Within the process the rules are those of the kernel's RDMA CM.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/capability.h>
#include <unistd.h>

#include "cm.h"
#include "device.h"

enum { FIRST_FREE = 1024, FIRST_EPHEMERAL = 32768, EPHEMERALS = 28000 };

static struct soft_port *ports;

size_t soft_addr_size(const struct sockaddr *addr)
{
	return addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

in_port_t *soft_addr_port(struct sockaddr *addr)
{
	return addr->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)addr)->sin6_port :
					     &((struct sockaddr_in *)addr)->sin_port;
}

static bool is_any(const struct sockaddr *addr)
{
	if (addr->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)addr)->sin6_addr);
	return ((const struct sockaddr_in *)addr)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
	union ibv_gid one, other;

	soft_gid_of(a, &one);
	soft_gid_of(b, &other);
	return !memcmp(&one, &other, sizeof(one));
}

static in_port_t port_of(const struct soft_id *id)
{
	return *soft_addr_port((struct sockaddr *)(uintptr_t)&id->ibv.route.addr.src_addr);
}

/* Ports */

static struct soft_port *find_port(enum rdma_port_space ps, in_port_t number)
{
	struct soft_port *port;

	for (port = ports; port && !(port->ps == ps && port->number == number); port = port->next)
		;
	return port;
}

static int claim(enum rdma_port_space ps, in_port_t number, struct soft_port **out)
{
	struct soft_port *port;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "%s/%u", ps == RDMA_PS_UDP ? "udp" : "tcp", ntohs(number));
	fd = soft_link_claim(name);
	if (fd < 0)
		return fd;
	port = calloc(1, sizeof(*port));
	if (!port) {
		close(fd);
		return -ENOMEM;
	}
	port->io.fd = fd;
	port->io.fn = soft_link_accept;
	port->ps = ps;
	port->number = number;
	port->next = ports;
	ports = port;
	*out = port;
	return 0;
}

static int claim_any(enum rdma_port_space ps, struct soft_port **out)
{
	static uint16_t last;
	int ret = -EADDRINUSE;

	if (!last)
		last = (uint16_t)(getpid() % EPHEMERALS);
	for (int i = 0; i < EPHEMERALS && ret == -EADDRINUSE; i++) {
		in_port_t number = htons((uint16_t)(FIRST_EPHEMERAL + ++last % EPHEMERALS));

		if (!find_port(ps, number))
			ret = claim(ps, number, out);
	}
	return ret;
}

void soft_cm_release_port(struct soft_id *id)
{
	struct soft_port *port = id->port, **slot = &ports;

	id->port = NULL;
	if (!port || --port->users)
		return;
	while (*slot != port)
		slot = &(*slot)->next;
	*slot = port->next;
	soft_io_end(&port->io);
}

/* May @id have @addr beside the ids that share the port? @reuse: those that all agreed to share. */
static int check_clash(struct soft_id *id, const struct soft_port *port, const struct sockaddr *addr,
		       bool reuse)
{
	for (struct soft_id *other = soft_id_first(); other; other = other->next) {
		const struct sockaddr *theirs = &other->ibv.route.addr.src_addr;

		if (other == id || other->port != port || (reuse && id->reuseaddr && other->reuseaddr))
			continue;
		if (id->afonly && other->afonly && addr->sa_family != theirs->sa_family)
			continue;
		if (is_any(addr) || is_any(theirs))
			return -EADDRNOTAVAIL;
		if (same_host(addr, theirs))
			return -EADDRINUSE;
	}
	return 0;
}

static int take_port(struct soft_id *id, const struct sockaddr *addr)
{
	in_port_t number = *soft_addr_port((struct sockaddr *)(uintptr_t)addr);
	struct soft_port *port = number ? find_port(id->ibv.ps, number) : NULL;
	int ret;

	if (number && ntohs(number) < FIRST_FREE && !soft_node_may(CAP_NET_BIND_SERVICE))
		ret = -EACCES;
	else if (port)
		ret = check_clash(id, port, addr, true);
	else if (number)
		ret = claim(id->ibv.ps, number, &port);
	else
		ret = claim_any(id->ibv.ps, &port);
	if (ret)
		return ret;
	port->users++;
	id->port = port;
	memcpy(&id->ibv.route.addr.src_storage, addr, soft_addr_size(addr));
	*soft_addr_port(&id->ibv.route.addr.src_addr) = port->number;
	return 0;
}

int soft_cm_bind(struct soft_id *id, const struct sockaddr *addr)
{
	bool loopback;
	int ret;

	if (id->state != SOFT_IDLE)
		return -EINVAL;
	if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	/* The kernel binds to loopback addresses, too, but finds no device for them. */
	loopback = !is_any(addr) && !soft_address_is_ours(addr) && soft_address_is_loopback(addr);
	if (!is_any(addr) && !loopback && !soft_address_is_ours(addr))
		return -EADDRNOTAVAIL;
	ret = take_port(id, addr);
	if (ret)
		return ret;
	id->state = SOFT_BOUND;
	return is_any(addr) || loopback ? 0 : soft_id_find_device(id);
}

int soft_cm_listen(struct soft_id *id)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int ret = 0;

	if (id->state == SOFT_IDLE)
		ret = soft_cm_bind(id, (struct sockaddr *)&any);
	if (ret)
		return ret;
	if (id->state == SOFT_LISTENING)
		return 0;
	if (id->state != SOFT_BOUND)
		return -EINVAL;
	/* The kernel lets nobody listen on an address that others have bound, even if they share it. */
	ret = check_clash(id, id->port, &id->ibv.route.addr.src_addr, false);
	if (ret)
		return ret;
	if (listen(id->port->io.fd, SOMAXCONN))
		return -errno;
	ret = soft_io_start(&id->port->io);
	if (ret && ret != -EEXIST)
		return ret;
	id->state = SOFT_LISTENING;
	return 0;
}

static bool listens_on(const struct soft_id *id, const struct sockaddr *to)
{
	const struct sockaddr *here = &id->ibv.route.addr.src_addr;

	if (is_any(here))
		return here->sa_family == to->sa_family || (here->sa_family == AF_INET6 && !id->afonly);
	return same_host(here, to);
}

struct soft_id *soft_cm_listener(const struct soft_cm_packet *req)
{
	struct sockaddr_in6 to = req->to;

	if (to.sin6_family != AF_INET && to.sin6_family != AF_INET6)
		return NULL;
	for (struct soft_id *id = soft_id_first(); id; id = id->next) {
		if (id->state == SOFT_LISTENING && id->ibv.ps == (enum rdma_port_space)req->ps &&
		    port_of(id) == *soft_addr_port((struct sockaddr *)&to) &&
		    listens_on(id, (struct sockaddr *)&to))
			return id;
	}
	return NULL;
}

/* Resolving */

/* Would packets to there leave this host at all? */
static int route_to(const struct sockaddr *to)
{
	int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, to, (socklen_t)soft_addr_size(to)))
		ret = -errno;
	close(fd);
	return ret;
}

static void address_unknown(struct soft_timer *timer)
{
	struct soft_id *id = (struct soft_id *)((char *)timer - offsetof(struct soft_id, timer));

	id->state = id->port ? SOFT_BOUND : SOFT_IDLE;
	soft_cm_raise(id, RDMA_CM_EVENT_ADDR_ERROR, -ETIMEDOUT, NULL);
}

static void fill_path(struct soft_id *id)
{
	struct ibv_sa_path_rec *path = &id->path;

	soft_gid_of(&id->ibv.route.addr.src_addr, &path->sgid);
	soft_gid_of(&id->ibv.route.addr.dst_addr, &path->dgid);
	path->hop_limit = 0xff;
	path->reversible = 1;
	path->numb_path = 1;
	path->pkey = 0xffff;
	path->mtu_selector = 2;
	path->mtu = IBV_MTU_4096;
	id->ibv.route.path_rec = path;
	id->ibv.route.num_paths = 1;
}

/* The local address is where the peer's is, as on any host that talks to itself. */
static int choose_source(struct soft_id *id, const struct sockaddr *from, const struct sockaddr *to)
{
	struct sockaddr *own = &id->ibv.route.addr.src_addr;
	in_port_t port = id->port ? id->port->number : 0;
	struct sockaddr_storage source = { 0 };

	if (from && from->sa_family && !is_any(from) && !id->port) {
		int ret = soft_cm_bind(id, from);

		if (ret)
			return ret;
	}
	if (own->sa_family && !is_any(own))
		return own->sa_family == to->sa_family ? 0 : -EINVAL;
	memcpy(&source, to, soft_addr_size(to));
	memcpy(&id->ibv.route.addr.src_storage, &source, sizeof(source));
	/* An end that nobody connects to needs a number of its own, but no claim to it. */
	if (!port) {
		static uint16_t last;

		last = last ? last : (uint16_t)(getpid() * 7);
		port = htons((uint16_t)(FIRST_EPHEMERAL + ++last % EPHEMERALS));
	}
	*soft_addr_port(own) = port;
	return 0;
}

int soft_cm_resolve(struct soft_id *id, const struct sockaddr *from, const struct sockaddr *to,
		    int timeout_ms)
{
	struct sockaddr_storage dst = { 0 };
	int ret;

	if (id->state != SOFT_IDLE && id->state != SOFT_BOUND)
		return -EINVAL;
	if (to->sa_family != AF_INET && to->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	memcpy(&dst, to, soft_addr_size(to));
	/* The unspecified address means this host. */
	if (is_any(to))
		soft_address_any((struct sockaddr *)&dst);
	memcpy(&id->ibv.route.addr.dst_storage, &dst, sizeof(dst));
	if (!soft_address_is_ours((struct sockaddr *)&dst)) {
		ret = soft_address_is_loopback(to) ? -ENODEV : route_to(to);
		if (ret)
			return ret;
		id->state = SOFT_ADDR;
		soft_timer_start(&id->timer, (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * SOFT_MS,
				 address_unknown);
		return 0;
	}
	ret = choose_source(id, from, (struct sockaddr *)&dst);
	if (!ret)
		ret = soft_id_find_device(id);
	if (ret)
		return ret;
	fill_path(id);
	id->state = SOFT_ADDR_RESOLVED;
	soft_cm_raise(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL);
	return 0;
}
