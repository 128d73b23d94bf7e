/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The public calls: descriptor to object, argument checks, and the only place that sets errno.
 * Inside the library results are 0 or a negative errno.
 */
#include <rsk/rsk.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "epoll.h"
#include "fdtab.h"
#include "knobs.h"
#include "log.h"
#include "sock.h"
#include "stream.h"
#include "watch.h"

enum {
	BACKLOG_MAX = 4096,
	/* The last three say nothing to a stream, in Linux either. */
	SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_EOR | MSG_CONFIRM | MSG_DONTROUTE,
	RECV_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_PEEK | MSG_WAITALL | MSG_TRUNC | MSG_CMSG_CLOEXEC,
};

static inline ssize_t result(ssize_t ret)
{
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return -1;
}

static inline struct rsk_sock *get(int fd)
{
	struct rsk_sock *sk = rsk_fd_get(fd);

	if (!sk)
		errno = EBADF;
	return sk;
}

static inline ssize_t put(struct rsk_sock *sk, ssize_t ret)
{
	rsk_slot_leave(sk->slot);
	return result(ret);
}

/* Life of the process */

static void forget_parent(void)
{
	rsk_sock_forget_all();
	rsk_watch_forget();
	rsk_progress_forget();
	rsk_cm_forget();
	rsk_device_forget();
}

static void start_process(void)
{
	pthread_atfork(NULL, NULL, forget_parent);
	/* All settings, before anything is logged. */
	(void)rsk_knob_value(RSK_KNOB_LOG);
}

/* As the kernel does for TCP: what was accepted is delivered even when the program ends. */
__attribute__((destructor)) static void at_exit(void)
{
	if (rsk_sock_close_all())
		rsk_device_each(rsk_pool_trim);
}

const char *rsk_version(void)
{
	return PACKAGE_VERSION;
}

/* Addresses */

static int check_addr(const struct rsk_sock *sk, const struct sockaddr *addr, socklen_t len)
{
	if (!addr)
		return -EFAULT;
	if (len < sizeof(addr->sa_family))
		return -EINVAL;
	if (addr->sa_family != sk->domain)
		return -EAFNOSUPPORT;
	if (len < (sk->domain == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)))
		return -EINVAL;
	return 0;
}

static int check_addr_room(const void *addr, const socklen_t *len)
{
	if (!addr)
		return 0;
	if (!len)
		return -EFAULT;
	return *len > INT_MAX ? -EINVAL : 0;
}

static void put_addr(const struct sockaddr_storage *from, struct sockaddr *addr, socklen_t *len)
{
	socklen_t size = from->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
						       sizeof(struct sockaddr_in);

	if (!addr)
		return;
	memcpy(addr, from, *len < size ? *len : size);
	*len = size;
}

/* Opening */

int rsk_socket(int domain, int type, int protocol)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC), ret;
	struct rsk_sock *sk;

	if (domain != AF_INET && domain != AF_INET6)
		return (int)result(-EAFNOSUPPORT);
	if ((type & ~flags) == SOCK_DGRAM)
		return (int)result(-EPROTONOSUPPORT);
	if ((type & ~flags) != SOCK_STREAM)
		return (int)result(-EINVAL);
	if (protocol && protocol != IPPROTO_TCP)
		return (int)result(-EPROTONOSUPPORT);

	pthread_once(&once, start_process);
	ret = rsk_cm_start();
	if (ret)
		return (int)result(ret);
	sk = rsk_sock_new(domain);
	if (!sk)
		return (int)result(-ENOMEM);
	atomic_store(&sk->nonblock, (flags & SOCK_NONBLOCK) != 0);
	ret = rsk_sock_publish(sk, flags & SOCK_CLOEXEC);
	if (ret < 0)
		rsk_sock_unref(sk);
	return (int)result(ret);
}

static enum rsk_state state_of(struct rsk_sock *sk)
{
	enum rsk_state state;

	rsk_lock(&sk->lock);
	state = sk->state;
	rsk_unlock(&sk->lock);
	return state;
}

static int bind_sock(struct rsk_sock *sk, const struct sockaddr *addr)
{
	int ret = -EINVAL;

	pthread_mutex_lock(&sk->setup_lock);
	if (state_of(sk) == RSK_IDLE && !sk->bound) {
		ret = rsk_cm_bind(sk, addr);
		sk->bound = !ret;
	}
	pthread_mutex_unlock(&sk->setup_lock);
	return ret;
}

int rsk_bind(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	struct rsk_sock *sk = get(fd);
	int ret;

	if (!sk)
		return -1;
	ret = check_addr(sk, addr, addrlen);
	return (int)put(sk, ret ? ret : bind_sock(sk, addr));
}

int rsk_listen(int fd, int backlog)
{
	struct rsk_sock *sk = get(fd);
	enum rsk_state state;
	int ret = -EINVAL;

	if (!sk)
		return -1;
	if (backlog < 1)
		backlog = 1;
	pthread_mutex_lock(&sk->setup_lock);
	state = state_of(sk);
	if (state == RSK_IDLE || state == RSK_LISTENING)
		ret = rsk_cm_listen(sk, backlog < BACKLOG_MAX ? backlog : BACKLOG_MAX);
	pthread_mutex_unlock(&sk->setup_lock);
	return (int)put(sk, ret);
}

static bool can_accept(struct rsk_sock *sk)
{
	return sk->cm.backlog.ready.count || sk->closed || sk->state != RSK_LISTENING;
}

/* The oldest established connection, or NULL with *ret set. */
static struct rsk_sock *take_connection(struct rsk_sock *sk, int *ret)
{
	struct rsk_sock *child = NULL;
	int64_t deadline = 0;

	*ret = 0;
	rsk_lock(&sk->lock);
	while (!*ret) {
		if (sk->closed) {
			*ret = -ECONNABORTED;
		} else if (sk->state != RSK_LISTENING) {
			*ret = sk->state == RSK_FAILED ? -sk->failure : -EINVAL;
		} else if ((child = rsk_backlog_take(sk))) {
			break;
		} else if (atomic_load(&sk->nonblock)) {
			if (!rsk_sock_poll(sk, POLLIN, RSK_LOOK_AND_ARM))
				*ret = -EAGAIN;
		} else {
			if (!deadline)
				deadline = rsk_deadline(&sk->options.rcvtimeo);
			*ret = rsk_sock_wait(sk, can_accept, false, deadline);
		}
	}
	rsk_unlock(&sk->lock);
	return child;
}

static int accept_sock(struct rsk_sock *sk, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
	struct sockaddr_storage peer;
	struct rsk_sock *child;
	int ret;

	child = take_connection(sk, &ret);
	if (!child)
		return ret;
	peer = child->peer;
	rsk_lock(&child->lock);
	ret = rsk_sock_set_nonblock(child, flags & SOCK_NONBLOCK);
	rsk_unlock(&child->lock);
	if (!ret)
		ret = rsk_sock_publish(child, flags & SOCK_CLOEXEC);
	if (ret < 0) {
		rsk_backlog_put_back(sk, child);
		return ret;
	}
	put_addr(&peer, addr, addrlen);
	return ret;
}

int rsk_accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
	struct rsk_sock *sk = get(fd);
	int ret;

	if (!sk)
		return -1;
	ret = flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC) ? -EINVAL : check_addr_room(addr, addrlen);
	return (int)put(sk, ret ? ret : accept_sock(sk, addr, addrlen, flags));
}

int rsk_accept(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	return rsk_accept4(fd, addr, addrlen, 0);
}

/* A listener, or a socket that failed to connect, begins anew. */
static int begin_anew(struct rsk_sock *sk, enum rsk_state from)
{
	int ret = -ENOTCONN;

	pthread_mutex_lock(&sk->setup_lock);
	if (state_of(sk) == from && !sk->opened) {
		rsk_cm_rewind(sk);
		ret = 0;
	}
	pthread_mutex_unlock(&sk->setup_lock);
	return ret;
}

/* Idle: it has failed, as another call said. */
static bool connect_decided(struct rsk_sock *sk)
{
	return sk->state >= RSK_CONNECTED || sk->state == RSK_IDLE || sk->closed;
}

/* May this socket connect? 0: yes, and it is claimed. 1: it is at it already, or done and no call has
 * said so yet. State lock held. */
static int claim(struct rsk_sock *sk, const struct sockaddr *addr, socklen_t len)
{
	switch (sk->state) {
	case RSK_IDLE:
		sk->state = RSK_RESOLVE_ADDR;
		sk->connect_untold = true;
		memcpy(&sk->peer, addr, len < sizeof(sk->peer) ? len : sizeof(sk->peer));
		return 0;
	case RSK_CONNECTED:
	case RSK_ENDED:
		if (sk->connect_untold)
			return 1;
		return -EISCONN;
	case RSK_LISTENING:
		return -EISCONN;     /* as Linux says */
	case RSK_FAILED:
		if (sk->opened && !sk->connect_untold)
			return -EISCONN;
		return sk->pending_error ? -sk->pending_error : -ECONNABORTED;
	default:
		return atomic_load(&sk->nonblock) ? -EALREADY : 1;
	}
}

/* 0: it has begun. 1: it had before. Or -errno. */
static int start_connect(struct rsk_sock *sk, const struct sockaddr *addr, socklen_t len)
{
	int ret;

	pthread_mutex_lock(&sk->setup_lock);
	rsk_lock(&sk->lock);
	ret = claim(sk, addr, len);
	rsk_unlock(&sk->lock);
	if (!ret)
		ret = rsk_cm_connect(sk);
	pthread_mutex_unlock(&sk->setup_lock);
	return ret < 0 ? rsk_sock_report(sk, ret) : ret;
}

static int await_connect(struct rsk_sock *sk, bool begun_before)
{
	if (!atomic_load(&sk->nonblock))
		return rsk_sock_wait(sk, connect_decided, false, rsk_deadline(&sk->options.sndtimeo));
	/* The call that begins it says so, however soon it is decided, as Linux does. */
	return begun_before && connect_decided(sk) ? 0 : -EAGAIN;
}

static int connect_sock(struct rsk_sock *sk, const struct sockaddr *addr, socklen_t len)
{
	int ret = start_connect(sk, addr, len);
	bool failed;

	rsk_lock(&sk->lock);
	if (ret >= 0)
		ret = await_connect(sk, ret);
	if (ret == -EAGAIN)
		ret = -EINPROGRESS;
	else if (connect_decided(sk))
		sk->connect_untold = false;
	if (!ret && (sk->closed || sk->state == RSK_IDLE))
		ret = -ECONNABORTED;
	if (!ret && sk->state == RSK_FAILED)
		ret = -(sk->pending_error ? sk->pending_error : sk->failure);
	failed = sk->state == RSK_FAILED && ret != -EINPROGRESS;
	rsk_unlock(&sk->lock);
	ret = rsk_sock_report(sk, ret);
	if (failed)
		begin_anew(sk, RSK_FAILED);
	return ret;
}

int rsk_connect(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	struct rsk_sock *sk = get(fd);
	int ret;

	if (!sk)
		return -1;
	ret = check_addr(sk, addr, addrlen);
	return (int)put(sk, ret ? ret : connect_sock(sk, addr, addrlen));
}

static bool is_connected(struct rsk_sock *sk)
{
	enum rsk_state state = state_of(sk);

	return state == RSK_CONNECTED || state == RSK_ENDED;
}

/* Ending */

static int shutdown_sock(struct rsk_sock *sk, int how)
{
	if (is_connected(sk)) {
		rsk_stream_shutdown(sk, how);
		return 0;
	}
	/* A listener has nothing to send. */
	if (how == SHUT_WR)
		return state_of(sk) == RSK_LISTENING ? 0 : -ENOTCONN;
	return begin_anew(sk, RSK_LISTENING);
}

int rsk_shutdown(int fd, int how)
{
	struct rsk_sock *sk = get(fd);

	if (!sk)
		return -1;
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return (int)put(sk, -EINVAL);
	return (int)put(sk, shutdown_sock(sk, how));
}

int rsk_close(int fd)
{
	struct rsk_sock *sk = get(fd);
	int ret;

	if (!sk)
		return rsk_epoll_close(fd) ? 0 : -1;
	rsk_sock_ref(sk);
	ret = (int)put(sk, rsk_sock_close(sk) ? 0 : -EBADF);
	if (!ret)
		rsk_sock_linger(sk);
	rsk_sock_unref(sk);
	return ret;
}

/* Data */

/* The bytes that the buffers hold together, or -errno. */
static ssize_t check_iov(const struct iovec *iov, size_t count)
{
	size_t total = 0;

	if (count && !iov)
		return -EFAULT;
	for (size_t i = 0; i < count; i++) {
		if (iov[i].iov_len > SSIZE_MAX - total)
			return -EINVAL;
		if (iov[i].iov_len && !iov[i].iov_base)
			return -EFAULT;
		total += iov[i].iov_len;
	}
	return (ssize_t)total;
}

/* A call that sends returns. */
static inline ssize_t sent(struct rsk_sock *sk, ssize_t ret, int flags)
{
	if (ret == -EPIPE && !(flags & MSG_NOSIGNAL))
		pthread_kill(pthread_self(), SIGPIPE);
	return put(sk, ret);
}

static inline ssize_t do_send(int fd, const struct iovec *iov, ssize_t total, int flags)
{
	struct rsk_sock *sk = get(fd);

	if (!sk)
		return -1;
	if (flags & ~SEND_FLAGS)
		total = -EOPNOTSUPP;
	if (total > 0) {
		struct rsk_cursor from = { .iov = iov, .total = (size_t)total };

		total = rsk_stream_send(sk, &from, flags);
	}
	return sent(sk, total, flags);
}

static inline ssize_t do_recv(int fd, const struct iovec *iov, ssize_t total, int flags)
{
	struct rsk_sock *sk = get(fd);

	if (!sk)
		return -1;
	/* No urgent data is ever there. */
	if (flags & ~RECV_FLAGS)
		return put(sk, flags & MSG_OOB ? -EINVAL : -EOPNOTSUPP);
	if (total > 0) {
		struct rsk_cursor to = { .iov = iov, .total = (size_t)total };

		total = rsk_stream_recv(sk, &to, flags);
	}
	return put(sk, total);
}

/* Nothing is stored with MSG_TRUNC. */
static inline ssize_t check_buffer(const void *buf, size_t len, int flags)
{
	if (len > SSIZE_MAX)
		return -EINVAL;
	if (!buf && len && !(flags & MSG_TRUNC))
		return -EFAULT;
	return (ssize_t)len;
}

ssize_t rsk_send(int fd, const void *buf, size_t len, int flags)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	return do_send(fd, &iov, check_buffer(buf, len, 0), flags);
}

/* A destination is refused: on a connection that has one, and without a connection. */
static int refuse_destination(struct rsk_sock *sk)
{
	return is_connected(sk) ? -EISCONN : -ENOTCONN;
}

ssize_t rsk_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
		   socklen_t addrlen)
{
	struct rsk_sock *sk;

	if (!addr && !addrlen)
		return rsk_send(fd, buf, len, flags);
	sk = get(fd);
	return sk ? put(sk, refuse_destination(sk)) : -1;
}

ssize_t rsk_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct rsk_sock *sk = get(fd);
	int ret = 0;

	if (!sk)
		return -1;
	if (!msg)
		ret = -EFAULT;
	else if (msg->msg_iovlen > IOV_MAX)
		ret = -EMSGSIZE;
	else if (msg->msg_name)
		ret = refuse_destination(sk);
	else if (msg->msg_control && msg->msg_controllen)
		ret = -EOPNOTSUPP;
	if (put(sk, ret))
		return -1;
	return do_send(fd, msg->msg_iov, check_iov(msg->msg_iov, msg->msg_iovlen), flags);
}

ssize_t rsk_write(int fd, const void *buf, size_t len)
{
	return rsk_send(fd, buf, len, 0);
}

/* EBADF comes before EINVAL, as in the kernel. */
static bool bad_count(int fd, int iovcnt)
{
	struct rsk_sock *sk;

	if (iovcnt >= 0 && iovcnt <= IOV_MAX)
		return false;
	sk = get(fd);
	if (sk)
		put(sk, -EINVAL);
	return true;
}

ssize_t rsk_writev(int fd, const struct iovec *iov, int iovcnt)
{
	if (bad_count(fd, iovcnt))
		return -1;
	return do_send(fd, iov, check_iov(iov, (size_t)iovcnt), 0);
}

ssize_t rsk_recv(int fd, void *buf, size_t len, int flags)
{
	struct iovec iov = { buf, len };

	return do_recv(fd, &iov, check_buffer(buf, len, flags), flags);
}

ssize_t rsk_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
		     socklen_t *addrlen)
{
	struct rsk_sock *sk = get(fd);
	ssize_t n;

	if (!sk || put(sk, check_addr_room(addr, addrlen)))
		return -1;
	n = rsk_recv(fd, buf, len, flags);
	if (n >= 0 && addr)
		rsk_getpeername(fd, addr, addrlen);
	return n;
}

ssize_t rsk_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct rsk_sock *sk = get(fd);
	ssize_t n;

	if (!sk)
		return -1;
	if (put(sk, !msg ? -EFAULT : msg->msg_iovlen > IOV_MAX ? -EMSGSIZE : 0))
		return -1;
	n = do_recv(fd, msg->msg_iov, check_iov(msg->msg_iov, msg->msg_iovlen), flags);
	if (n >= 0) {
		msg->msg_namelen = 0;
		msg->msg_controllen = 0;
		msg->msg_flags = 0;
	}
	return n;
}

ssize_t rsk_read(int fd, void *buf, size_t len)
{
	return rsk_recv(fd, buf, len, 0);
}

ssize_t rsk_readv(int fd, const struct iovec *iov, int iovcnt)
{
	if (bad_count(fd, iovcnt))
		return -1;
	return do_recv(fd, iov, check_iov(iov, (size_t)iovcnt), 0);
}

/* Mappings */

off_t rsk_iomap(int fd, void *buf, size_t len, int prot, int flags, off_t offset)
{
	struct rsk_sock *sk = get(fd);
	int ret = 0;

	(void)flags;                 /* none is defined */
	if (!sk)
		return -1;
	if (offset == -1)
		offset = (off_t)(uintptr_t)buf;
	if (!buf)
		ret = -EFAULT;
	else if (prot & ~PROT_WRITE || !len || len > UINT32_MAX || offset < 0)
		ret = -EINVAL;
	if (!ret)
		ret = rsk_maps_add(sk, buf, len, prot == PROT_WRITE, (uint64_t)offset);
	return put(sk, ret) ? -1 : offset;
}

int rsk_iounmap(int fd, void *buf, size_t len)
{
	struct rsk_sock *sk = get(fd);

	return sk ? (int)put(sk, rsk_maps_remove(sk, buf, len)) : -1;
}

ssize_t rsk_iowrite(int fd, const void *buf, size_t count, off_t offset, int flags)
{
	struct rsk_sock *sk = get(fd);
	struct iovec iov = { (void *)(uintptr_t)buf, count };
	ssize_t total = check_buffer(buf, count, 0);

	if (!sk)
		return -1;
	if (flags & ~SEND_FLAGS)
		total = -EOPNOTSUPP;
	else if (offset < 0)
		total = -EINVAL;
	if (total > 0) {
		struct rsk_cursor from = { .iov = &iov, .total = count };

		total = rsk_stream_write(sk, &from, (uint64_t)offset, flags);
	}
	return sent(sk, total, flags);
}

/* Names, options, flags */

int rsk_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	struct sockaddr_storage local;
	struct rsk_sock *sk = get(fd);
	int ret;

	if (!sk)
		return -1;
	ret = addr ? check_addr_room(addr, addrlen) : -EFAULT;
	if (!ret) {
		rsk_lock(&sk->lock);
		local = sk->local;
		rsk_unlock(&sk->lock);
		put_addr(&local, addr, addrlen);
	}
	return (int)put(sk, ret);
}

int rsk_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	struct sockaddr_storage peer;
	struct rsk_sock *sk = get(fd);
	int ret;

	if (!sk)
		return -1;
	ret = addr ? check_addr_room(addr, addrlen) : -EFAULT;
	if (!ret) {
		rsk_lock(&sk->lock);
		peer = sk->peer;
		if (sk->state != RSK_CONNECTED && sk->state != RSK_ENDED)
			ret = -ENOTCONN;
		rsk_unlock(&sk->lock);
	}
	if (!ret)
		put_addr(&peer, addr, addrlen);
	return (int)put(sk, ret);
}

int rsk_setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen)
{
	struct rsk_sock *sk = get(fd);
	int ret = -EFAULT;

	if (!sk)
		return -1;
	if (optval) {
		rsk_lock(&sk->lock);
		ret = rsk_option_set(sk, level, optname, optval, optlen);
		rsk_unlock(&sk->lock);
	}
	return (int)put(sk, ret);
}

int rsk_getsockopt(int fd, int level, int optname, void *optval, socklen_t *optlen)
{
	struct rsk_sock *sk = get(fd);
	int ret = -EFAULT;

	if (!sk)
		return -1;
	if (optval && optlen) {
		rsk_lock(&sk->lock);
		ret = rsk_option_get(sk, level, optname, optval, optlen);
		rsk_unlock(&sk->lock);
	}
	return (int)put(sk, ret);
}

int rsk_fcntl(int fd, int cmd, ...)
{
	struct rsk_sock *sk = get(fd);
	va_list args;
	int arg = 0, ret;

	if (!sk)
		return -1;
	if (cmd == F_SETFL || cmd == F_SETFD) {
		va_start(args, cmd);
		arg = va_arg(args, int);
		va_end(args);
	}
	switch (cmd) {
	case F_GETFL:
		ret = O_RDWR | (atomic_load(&sk->nonblock) ? O_NONBLOCK : 0);
		break;
	case F_SETFL:
		rsk_lock(&sk->lock);
		ret = rsk_sock_set_nonblock(sk, arg & O_NONBLOCK);
		rsk_unlock(&sk->lock);
		break;
	case F_GETFD:
	case F_SETFD:
		ret = fcntl(fd, cmd, arg);
		ret = ret < 0 ? -errno : ret;
		break;
	default:
		ret = -EINVAL;
	}
	return (int)put(sk, ret);
}

static int ioctl_sock(struct rsk_sock *sk, unsigned long request, int *value)
{
	if (request == FIOCLEX || request == FIONCLEX)
		return fcntl(sk->ready.fd, F_SETFD, request == FIOCLEX ? FD_CLOEXEC : 0) ? -errno : 0;
	return value ? rsk_sock_ioctl(sk, request, value) : -EFAULT;
}

int rsk_ioctl(int fd, unsigned long request, ...)
{
	struct rsk_sock *sk = get(fd);
	va_list args;
	int *value;

	if (!sk)
		return -1;
	va_start(args, request);
	value = va_arg(args, int *);
	va_end(args);
	return (int)put(sk, ioctl_sock(sk, request, value));
}

int rsk_error(int fd, char *buf, size_t len)
{
	struct rsk_sock *sk = get(fd);

	if (!sk)
		return -1;
	if (!buf || !len)
		return (int)put(sk, buf ? -EINVAL : -EFAULT);
	rsk_lock(&sk->lock);
	strncpy(buf, sk->error_text, len - 1);
	buf[len - 1] = '\0';
	rsk_unlock(&sk->lock);
	return (int)put(sk, 0);
}
