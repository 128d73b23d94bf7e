/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * libdmm_rsocket.so, the stack module "rsocket" of DMM: programs that run under DMM's nStack get librsk's
 * sockets, unchanged. nStack opens the module and calls rsocket_stack_register(), the only symbol it
 * exports. The calls in here translate the descriptor and hand on to librsk.
 *
 * nStack loads its modules into every program that is started under it: so loading and registering do
 * nothing, and librsk is opened when the first stream socket is made. Nor does registering fail, because
 * nStack would then refuse all calls of the process.
 */
#include <errno.h>
#include <limits.h>

#include "abi.h"
#include "events.h"
#include "fds.h"
#include "librsk.h"

/* What one call moves at most, as in the kernel: nStack keeps results in an int. */
enum { MOST_BYTES = 0x7ffff000 };

/* Opening and closing */

static int dmm_opened(int s, int fd)
{
	if (fd < 0)
		dmm_fd_release(s);
	else
		dmm_fd_open(s, fd);
	return fd < 0 ? -1 : s;
}

/* nStack makes each socket on all of its stacks, datagram sockets and those for the kernel included. */
static int dmm_socket(int domain, int type, int protocol)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	int s, fd;

	if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM) {
		errno = EPROTONOSUPPORT;
		return -1;
	}
	if (!dmm_librsk_open()) {
		errno = ENOSYS;
		return -1;
	}
	s = dmm_fd_reserve();
	if (s < 0)
		return -1;
	fd = rsk.socket(domain, type, protocol);
	/* nStack tells nobody why the route to this stack does not work. */
	if (fd < 0 && errno == ENODEV && !atomic_flag_test_and_set(&said)) {
		dmm_log("no RDMA device, or rdma_ucm is not loaded. This process uses other stacks only");
		errno = ENODEV;
	}
	return dmm_opened(s, fd);
}

static int dmm_accept4(int s, struct sockaddr *addr, socklen_t *len, int flags)
{
	int fd = dmm_fd_get(s), accepted;

	if (fd < 0)
		return -1;
	/* Without a number for it, the connection stays in the queue. */
	accepted = dmm_fd_reserve();
	return accepted < 0 ? -1 : dmm_opened(accepted, rsk.accept4(fd, addr, len, flags));
}

static int dmm_accept(int s, struct sockaddr *addr, socklen_t *len)
{
	return dmm_accept4(s, addr, len, 0);
}

/* nStack holds a spinlock here: librsk finishes in the background. */
static int dmm_close(int s)
{
	struct dmm_fd *entry = dmm_fd_find(s);
	int fd, ret = 0;

	if (!entry)
		return -1;
	pthread_mutex_lock(&entry->lock);
	dmm_events_end(entry);
	fd = atomic_exchange(&entry->fd, DMM_FREE);
	pthread_mutex_unlock(&entry->lock);
	if (fd == DMM_FREE) {
		errno = EBADF;
		return -1;
	}
	if (fd >= 0)
		ret = rsk.close(fd);
	dmm_fd_release(s);
	return ret;
}

/* Calls that need no more than the other descriptor */

static int dmm_bind(int s, const struct sockaddr *addr, socklen_t len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.bind(fd, addr, len);
}

static int dmm_listen(int s, int backlog)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.listen(fd, backlog);
}

static int dmm_connect(int s, const struct sockaddr *addr, socklen_t len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.connect(fd, addr, len);
}

static int dmm_shutdown(int s, int how)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.shutdown(fd, how);
}

static int dmm_getsockname(int s, struct sockaddr *addr, socklen_t *len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.getsockname(fd, addr, len);
}

static int dmm_getpeername(int s, struct sockaddr *addr, socklen_t *len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.getpeername(fd, addr, len);
}

static int dmm_getsockopt(int s, int level, int name, void *value, socklen_t *len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.getsockopt(fd, level, name, value, len);
}

static int dmm_setsockopt(int s, int level, int name, const void *value, socklen_t len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.setsockopt(fd, level, name, value, len);
}

static int dmm_ioctl(int s, unsigned long request, unsigned long arg)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.ioctl(fd, request, (void *)arg);
}

static int dmm_fcntl(int s, int cmd, unsigned long arg)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.fcntl(fd, cmd, (int)arg);
}

/* Data */

static size_t most(size_t len)
{
	return len < MOST_BYTES ? len : MOST_BYTES;
}

static ssize_t dmm_recv(int s, void *buf, size_t len, int flags)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.recv(fd, buf, most(len), flags);
}

static ssize_t dmm_send(int s, const void *buf, size_t len, int flags)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.send(fd, buf, most(len), flags);
}

static ssize_t dmm_read(int s, void *buf, size_t len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.read(fd, buf, most(len));
}

static ssize_t dmm_write(int s, const void *buf, size_t len)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.write(fd, buf, most(len));
}

static ssize_t dmm_recvfrom(int s, void *buf, size_t len, int flags, struct sockaddr *addr,
			    socklen_t *addrlen)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.recvfrom(fd, buf, most(len), flags, addr, addrlen);
}

static ssize_t dmm_sendto(int s, const void *buf, size_t len, int flags, const struct sockaddr *addr,
			  socklen_t addrlen)
{
	int fd = dmm_fd_get(s);

	return fd < 0 ? -1 : rsk.sendto(fd, buf, most(len), flags, addr, addrlen);
}

/* The buffers, or as many of them as one call may move. */
struct part {
	const struct iovec *iov;
	size_t count;
	struct iovec one;
};

static void take_part(struct part *part, const struct iovec *iov, size_t count)
{
	size_t n = 0, bytes = 0;

	*part = (struct part){ .iov = iov, .count = count };
	if (!iov || count > IOV_MAX)
		return;              /* wrong, and librsk says how */
	while (n < count && iov[n].iov_len <= MOST_BYTES - bytes)
		bytes += iov[n++].iov_len;
	part->count = n;
	if (n < count && !bytes) {
		part->one = (struct iovec){ iov[n].iov_base, MOST_BYTES };
		part->iov = &part->one;
		part->count = 1;
	}
}

static ssize_t dmm_readv(int s, const struct iovec *iov, int count)
{
	int fd = dmm_fd_get(s);
	struct part part;

	take_part(&part, iov, (size_t)count);
	return fd < 0 ? -1 : rsk.readv(fd, part.iov, (int)part.count);
}

static ssize_t dmm_writev(int s, const struct iovec *iov, int count)
{
	int fd = dmm_fd_get(s);
	struct part part;

	take_part(&part, iov, (size_t)count);
	return fd < 0 ? -1 : rsk.writev(fd, part.iov, (int)part.count);
}

static ssize_t dmm_sendmsg(int s, const struct msghdr *msg, int flags)
{
	int fd = dmm_fd_get(s);
	struct msghdr less;
	struct part part;

	if (fd < 0)
		return -1;
	if (!msg)
		return rsk.sendmsg(fd, msg, flags);
	take_part(&part, msg->msg_iov, msg->msg_iovlen);
	less = *msg;
	less.msg_iov = (struct iovec *)part.iov;
	less.msg_iovlen = part.count;
	return rsk.sendmsg(fd, &less, flags);
}

static ssize_t dmm_recvmsg(int s, struct msghdr *msg, int flags)
{
	int fd = dmm_fd_get(s);
	struct msghdr less;
	struct part part;
	ssize_t n;

	if (fd < 0)
		return -1;
	if (!msg)
		return rsk.recvmsg(fd, msg, flags);
	take_part(&part, msg->msg_iov, msg->msg_iovlen);
	less = *msg;
	less.msg_iov = (struct iovec *)part.iov;
	less.msg_iovlen = part.count;
	n = rsk.recvmsg(fd, &less, flags);
	less.msg_iov = msg->msg_iov;
	less.msg_iovlen = msg->msg_iovlen;
	*msg = less;
	return n;
}

/* Start and fork */

static int dmm_init(void)
{
	dmm_fds_init();
	return 0;
}

/* In the child. RDMA objects cannot be inherited, and librsk has forgotten them by itself. */
static int dmm_fork_init_child(pid_t parent, pid_t child)
{
	(void)parent, (void)child;
	dmm_fds_inherit();
	return 0;
}

/* What is not set is not missing: nStack keeps epoll sets itself, forks itself, and asks only its default
 * stack for descriptors; the child's descriptors are all dealt with at once. */
static const struct dmm_ops ops = {
	.socket_ops = {
		.socket = dmm_socket,
		.bind = dmm_bind,
		.listen = dmm_listen,
		.shutdown = dmm_shutdown,
		.getsockname = dmm_getsockname,
		.getpeername = dmm_getpeername,
		.getsockopt = dmm_getsockopt,
		.setsockopt = dmm_setsockopt,
		.accept = dmm_accept,
		.accept4 = dmm_accept4,
		.connect = dmm_connect,
		.recv = dmm_recv,
		.send = dmm_send,
		.read = dmm_read,
		.write = dmm_write,
		.writev = dmm_writev,
		.readv = dmm_readv,
		.sendto = dmm_sendto,
		.recvfrom = dmm_recvfrom,
		.sendmsg = dmm_sendmsg,
		.recvmsg = dmm_recvmsg,
		.close = dmm_close,
		.select = dmm_select,
		.ioctl = dmm_ioctl,
		.fcntl = dmm_fcntl,
	},
	.extern_ops = {
		.module_init = dmm_init,
		.fork_init_child = dmm_fork_init_child,
		.ep_ctl = dmm_ep_ctl,
		.ep_getevt = dmm_ep_getevt,
	},
};

dmm_register_fn rsocket_stack_register;

int rsocket_stack_register(struct dmm_ops *table, struct dmm_host *host)
{
	if (!table || !host || !host->event_cb)
		return -1;
	*table = ops;
	dmm_events_init(host->event_cb);
	return 0;
}
