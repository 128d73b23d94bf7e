/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Links between processes: see link.h. */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "options.h"

/* Packets that the socket had no room for. */
struct queued {
	struct queued *next;
	int fd;
	size_t size;
	uint8_t bytes[];
};

struct soft_link {
	struct soft_io io;
	struct soft_link *next;
	pid_t pid;
	uint32_t node;               /* 0 until its hello has come */
	struct queued *first, **last;
};

static struct soft_link *links;
static struct soft_io *own_name;

static socklen_t make_address(struct sockaddr_un *address, const char *name)
{
	int n;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "softverbs-1/%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int open_socket(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Sending */

static ssize_t send_now(struct soft_link *link, struct iovec *parts, int nparts, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = (size_t)nparts };

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.room);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	return sendmsg(link->io.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void enqueue(struct soft_link *link, const struct iovec *part, int fd)
{
	struct queued *queued = malloc(sizeof(*queued) + part->iov_len);

	if (!queued)
		return;              /* the peer will think that we are gone: so we are, nearly */
	queued->next = NULL;
	queued->fd = fd >= 0 ? dup(fd) : -1;
	queued->size = part->iov_len;
	memcpy(queued->bytes, part->iov_base, part->iov_len);
	*link->last = queued;
	link->last = &queued->next;
	soft_io_want_write(&link->io, true);
}

static void drop_first(struct soft_link *link)
{
	struct queued *queued = link->first;

	link->first = queued->next;
	if (!link->first)
		link->last = &link->first;
	if (queued->fd >= 0)
		close(queued->fd);
	free(queued);
}

static void send_queued(struct soft_link *link)
{
	while (link->first) {
		struct iovec part = { link->first->bytes, link->first->size };

		if (send_now(link, &part, 1, link->first->fd) < 0 && errno == EAGAIN)
			return;
		drop_first(link);
	}
	soft_io_want_write(&link->io, false);
}

void soft_link_send(struct soft_link *link, const struct soft_packet *packet, size_t size, int fd)
{
	struct iovec part = { (void *)(uintptr_t)packet, size };

	if (link->first || (send_now(link, &part, 1, fd) < 0 && errno == EAGAIN))
		enqueue(link, &part, fd);
}

void soft_link_send_unreliably(struct soft_link *link, struct iovec *parts, int nparts)
{
	send_now(link, parts, nparts, -1);
}

/* Receiving */

static void end_link(struct soft_link *link)
{
	struct soft_link **slot = &links;

	while (*slot != link)
		slot = &(*slot)->next;
	*slot = link->next;
	while (link->first)
		drop_first(link);
	soft_io_end(&link->io);
}

static void dispatch(struct soft_link *link, const struct soft_packet *packet, size_t size, int fd)
{
	switch (packet->type) {
	case SOFT_HELLO:
		if (packet->from < SOFT_NODES)
			link->node = packet->from;
		break;
	case SOFT_BELL:
		soft_qp_take_bell(packet->to);
		break;
	case SOFT_ATTACH:
		soft_qp_take_attach(link, packet, fd);
		return;
	case SOFT_DETACHED:
		soft_qp_take_detached(packet);
		break;
	case SOFT_DATAGRAM:
		soft_ud_take(packet, size);
		break;
	case SOFT_CM:
		soft_cm_take(link, packet, size);
		break;
	default:                     /* of a later version: not for us */
		break;
	}
	if (fd >= 0)
		close(fd);
}

static int received_fd(struct msghdr *msg)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(msg);
	int fd;

	if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
	    control->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	return fd;
}

static void read_link(struct soft_io *io, uint32_t events)
{
	struct soft_link *link = (struct soft_link *)io;
	union {
		struct soft_packet head;
		uint8_t bytes[SOFT_PACKET_MAX];
	} packet;
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { &packet, sizeof(packet) };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1,
			      .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;

	if (events & EPOLLOUT)
		send_queued(link);
	n = recvmsg(io->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		soft_qp_lost(link);
		soft_cm_lost(link);
		end_link(link);
		return;
	}
	if ((size_t)n >= sizeof(packet.head))
		dispatch(link, &packet.head, (size_t)n, received_fd(&msg));
}

/* Making links */

static bool is_allowed(int fd, pid_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return false;
	*pid = peer.pid;
	return soft_options.any_user || peer.uid == geteuid();
}

static struct soft_link *adopt(int fd, pid_t pid)
{
	struct soft_packet hello = { .type = SOFT_HELLO, .from = soft_node_number() };
	struct soft_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->io.fd = fd;
	link->io.fn = read_link;
	link->pid = pid;
	link->last = &link->first;
	if (soft_io_start(&link->io)) {
		free(link);
		return NULL;
	}
	link->next = links;
	links = link;
	soft_link_send(link, &hello, sizeof(hello), -1);
	return link;
}

void soft_link_accept(struct soft_io *io, uint32_t events)
{
	int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	pid_t pid;

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
		soft_io_rest(io);
	if (fd >= 0 && !(is_allowed(fd, &pid) && adopt(fd, pid)))
		close(fd);
}

static int connect_to(int fd, const char *name, struct soft_link **out)
{
	struct sockaddr_un address;
	socklen_t size = make_address(&address, name);
	struct soft_link *link;
	pid_t pid = 0;

	if (connect(fd, (struct sockaddr *)&address, size))
		return -errno;
	if (!is_allowed(fd, &pid))
		return -ECONNREFUSED;
	/* Only by connecting do we learn whose name it is. A pid of 0 is one that we cannot see. A link
	 * without a hello may be the other end of a socket that has only asked, like this one. */
	for (link = links; link && (!pid || link->pid != pid || !link->node); link = link->next)
		;
	*out = link ? link : adopt(fd, pid);
	return *out ? 0 : -ENOMEM;
}

int soft_link_to_name(const char *name, struct soft_link **out)
{
	int fd = open_socket(), ret;

	*out = NULL;
	if (fd < 0)
		return -errno;
	ret = connect_to(fd, name, out);
	if (!*out || (*out)->io.fd != fd)
		close(fd);
	return ret;
}

int soft_link_to_node(uint32_t node, struct soft_link **out)
{
	char name[32];

	for (*out = links; *out; *out = (*out)->next) {
		if ((*out)->node == node)
			return 0;
	}
	snprintf(name, sizeof(name), "node/%u", node);
	return soft_link_to_name(name, out);
}

uint32_t soft_link_node(const struct soft_link *link)
{
	return link->node;
}

/* Names */

int soft_link_claim(const char *name)
{
	struct sockaddr_un address;
	socklen_t size = make_address(&address, name);
	int fd = open_socket(), ret;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (struct sockaddr *)&address, size))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int watch_name(int fd)
{
	own_name = calloc(1, sizeof(*own_name));
	if (!own_name)
		return -ENOMEM;
	own_name->fd = fd;
	own_name->fn = soft_link_accept;
	if (!listen(fd, SOMAXCONN) && !soft_io_start(own_name))
		return 0;
	free(own_name);
	own_name = NULL;
	return -errno;
}

int soft_link_claim_number(void)
{
	uint32_t start = 0;
	char name[32];

	if (getrandom(&start, sizeof(start), 0) < 0)
		start = (uint32_t)getpid();
	for (uint32_t i = 0; i < SOFT_NODES - 1; i++) {
		uint32_t number = 1 + (start + i) % (SOFT_NODES - 1);
		int fd, ret;

		snprintf(name, sizeof(name), "node/%u", number);
		fd = soft_link_claim(name);
		if (fd == -EADDRINUSE)
			continue;
		if (fd < 0)
			return fd;
		ret = watch_name(fd);
		if (!ret)
			return (int)number;
		close(fd);
		return ret;
	}
	return -EADDRINUSE;
}

void soft_link_forget(void)
{
	while (links)
		end_link(links);
	if (own_name)
		soft_io_end(own_name);
	own_name = NULL;
}
