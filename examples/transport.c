/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "transport.h"

#include <unistd.h>

const struct transport transport_rdma = {
	.name = "rdma",
	.socket = rsk_socket,
	.setsockopt = rsk_setsockopt,
	.getsockopt = rsk_getsockopt,
	.bind = rsk_bind,
	.listen = rsk_listen,
	.getsockname = rsk_getsockname,
	.accept4 = rsk_accept4,
	.connect = rsk_connect,
	.send = rsk_send,
	.recv = rsk_recv,
	.poll = rsk_poll,
	.shutdown = rsk_shutdown,
	.close = rsk_close,
};

/* glibc declares these four with unions for the address, so their own types do not fit. */
static int tcp_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return bind(fd, addr, len);
}

static int tcp_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return getsockname(fd, addr, len);
}

static int tcp_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return accept4(fd, addr, len, flags);
}

static int tcp_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return connect(fd, addr, len);
}

const struct transport transport_tcp = {
	.name = "tcp",
	.socket = socket,
	.setsockopt = setsockopt,
	.getsockopt = getsockopt,
	.bind = tcp_bind,
	.listen = listen,
	.getsockname = tcp_getsockname,
	.accept4 = tcp_accept4,
	.connect = tcp_connect,
	.send = send,
	.recv = recv,
	.poll = poll,
	.shutdown = shutdown,
	.close = close,
};
