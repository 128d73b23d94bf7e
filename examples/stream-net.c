/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The sockets: over RDMA or TCP, connected to the server or accepted from a client.
 */
#include "rsk-stream.h"

#include <errno.h>
#include <stdio.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

static int set_option(int fd, int level, int name, int value, const char *text)
{
	char doing[64];

	if (opt.net->setsockopt(fd, level, name, &value, sizeof(value)) == 0)
		return 0;
	snprintf(doing, sizeof(doing), "set %s to %d", text, value);
	complain(fd, NULL, doing, "on the socket");
	return -1;
}

/* Before connecting or listening; accepted sockets inherit them. */
static int set_options(int fd)
{
	if (set_option(fd, SOL_SOCKET, SO_SNDBUF, opt.buffer_bytes, "SO_SNDBUF") ||
	    set_option(fd, SOL_SOCKET, SO_RCVBUF, opt.buffer_bytes, "SO_RCVBUF") ||
	    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"))
		return -1;
	if (program.mappings &&
	    set_option(fd, SOL_RDMA, RDMA_IOMAPSIZE, program.mappings, "RDMA_IOMAPSIZE"))
		return -1;
	if (opt.sq_entries >= 0 &&
	    set_option(fd, SOL_RDMA, RDMA_SQSIZE, opt.sq_entries, "RDMA_SQSIZE"))
		return -1;
	if (opt.rq_entries >= 0 &&
	    set_option(fd, SOL_RDMA, RDMA_RQSIZE, opt.rq_entries, "RDMA_RQSIZE"))
		return -1;
	if (opt.inline_bytes >= 0 &&
	    set_option(fd, SOL_RDMA, RDMA_INLINE, opt.inline_bytes, "RDMA_INLINE"))
		return -1;
	return 0;
}

static int new_socket(int family)
{
	int fd = opt.net->socket(family, SOCK_STREAM, 0);

	if (fd < 0) {
		complain(-1, NULL, "open a socket for", opt.net->name);
		return -1;
	}
	if (set_options(fd)) {
		opt.net->close(fd);
		return -1;
	}
	return fd;
}

static int bind_to(int fd, const struct addrinfo *ai)
{
	char text[ADDRESS_TEXT_MAX];

	address_text(ai->ai_addr, ai->ai_addrlen, text);
	if (opt.net->bind(fd, ai->ai_addr, ai->ai_addrlen)) {
		complain(fd, NULL, "bind to", text);
		return -1;
	}
	return 0;
}

static int bind_local(int fd, int family)
{
	struct addrinfo *ai;
	int ret;

	if (!opt.local)
		return 0;
	ai = resolve(opt.local, NULL, opt.ai_flags, family);
	if (!ai)
		return -1;
	ret = bind_to(fd, ai);
	freeaddrinfo(ai);
	return ret;
}

static int connect_to(const struct addrinfo *ai, char peer[ADDRESS_TEXT_MAX])
{
	int fd = new_socket(ai->ai_family);

	if (fd < 0)
		return -1;
	address_text(ai->ai_addr, ai->ai_addrlen, peer);
	if (bind_local(fd, ai->ai_family))
		goto close_socket;
	if (opt.net->connect(fd, ai->ai_addr, ai->ai_addrlen)) {
		if (!ai->ai_next) /* else the next address may do */
			complain(fd, NULL, "connect to", peer);
		goto close_socket;
	}
	return fd;

close_socket:
	opt.net->close(fd);
	return -1;
}

static int connect_to_server(char peer[ADDRESS_TEXT_MAX])
{
	struct addrinfo *list = resolve(opt.server, opt.port, opt.ai_flags, opt.family);
	int fd = -1;

	for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = connect_to(ai, peer);
	if (list)
		freeaddrinfo(list);
	return fd;
}

static int listen_on(const struct addrinfo *ai)
{
	int fd = new_socket(ai->ai_family);

	if (fd < 0)
		return -1;
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR") || bind_to(fd, ai))
		goto close_socket;
	if (opt.net->listen(fd, 1)) {
		complain(fd, NULL, "listen on port", opt.port);
		goto close_socket;
	}
	say_where(fd, opt.net->getsockname);
	return fd;

close_socket:
	opt.net->close(fd);
	return -1;
}

int stream_listen(int *listener)
{
	struct addrinfo *ai;

	*listener = -1;
	if (opt.server)
		return 0;
	ai = resolve(opt.local, opt.port, opt.ai_flags, opt.family);
	if (!ai)
		return -1;
	*listener = listen_on(ai);
	freeaddrinfo(ai);
	return *listener < 0 ? -1 : 0;
}

static int accept_client(int listener, char peer[ADDRESS_TEXT_MAX])
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd;

	do {
		len = sizeof(addr);
		fd = opt.net->accept4(listener, (struct sockaddr *)&addr, &len, 0);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		complain(listener, NULL, "accept a client on port", opt.port);
	else
		address_text((struct sockaddr *)&addr, len, peer);
	return fd;
}

int stream_open(struct stream *s, int listener)
{
	s->fd = opt.server ? connect_to_server(s->peer) : accept_client(listener, s->peer);
	return s->fd < 0 ? -1 : 0;
}

void stream_close(struct stream *s)
{
	/* The peer may have been faster; closing ends the connection in any case. */
	(void)opt.net->shutdown(s->fd, SHUT_RDWR);
	opt.net->close(s->fd);
	s->fd = -1;
}
