/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every fault of the device meets every public call: one table of each, a case for each pair. What a fault
 * strikes and what a call needs say what must come of it. A call meets a fault in up
 * to three ways: it is made while the fault is there; on the socket that a failed connect leaves behind; on
 * a connection that the fault has broken. Whatever happens, nothing hangs, nothing is left, and another
 * connection goes on.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"
#include "process.h"
#include "stream.h"

/* -- faults ------------------------------------------------------------------------------------ */

/* What a fault strikes, and what a call needs. */
enum {
	CHANNEL = 1,                 /* of the connection manager: the first socket of a process makes it */
	ID = 2,
	ENDPOINT = 4,                /* memory and queues of a connection that is being made, or the request */
	MEMORY = 8,                  /* that is registered for the application */
	POSTING = 16,
	WIRE = 32,                   /* a connection breaks under way */
};

struct fault {
	const char *script;
	unsigned strikes;            /* 0: there is delay, but no harm */
	int error;                   /* of the call that is struck, or of one end of the connection */
};

static const struct fault fault_table[] = {
	{ "create-event-channel 1 fail ENOMEM", CHANNEL, ENOMEM },
	{ "create-event-channel 1 fail EPERM", CHANNEL, ENODEV },
	{ "create-id 1 fail ENOMEM", ID, ENOMEM },
	{ "alloc-pd 1 fail ENOMEM", ENDPOINT, ENOMEM },
	{ "create-channel 1 fail EMFILE", ENDPOINT, EMFILE },
	{ "create-cq 1 fail ENOMEM", ENDPOINT, ENOMEM },
	{ "create-cq 2 fail ENOMEM", ENDPOINT, ENOMEM },
	{ "create-qp 1 fail ENOMEM", ENDPOINT, ENOMEM },
	{ "create-qp 2 fail ENOMEM", ENDPOINT, ECONNREFUSED },      /* at the accepting end */
	{ "reg-mr 1 fail ENOMEM", ENDPOINT | MEMORY, ENOMEM },
	{ "post-recv 1 fail ENOMEM", ENDPOINT | WIRE, ENOMEM },
	{ "connect 1 fail ENOMEM", ENDPOINT, ENOMEM },
	{ "connect 1 reject 8", ENDPOINT, ECONNREFUSED },
	{ "connect 1 reject 28", ENDPOINT, ECONNREFUSED },
	{ "connect 1 ignore", ENDPOINT, EINPROGRESS },
	{ "post-send 1 fail ENOMEM", POSTING, ENOMEM },
	{ "post-send 1 fail EIO", POSTING, EIO },
	{ "post-send 1 partition 0", WIRE, ETIMEDOUT },
	{ "completion 1 status retry-exc", WIRE, ETIMEDOUT },
	{ "completion 1 status rnr-retry-exc", WIRE, ETIMEDOUT },
	{ "completion 1 status resp-timeout", WIRE, ETIMEDOUT },
	{ "completion 1 status rem-access", WIRE, ECONNRESET },
	{ "completion 1 status rem-inv-req", WIRE, ECONNRESET },
	{ "completion 1 status rem-op", WIRE, ECONNRESET },
	{ "completion 1 status flush", WIRE, ECONNRESET },
	{ "completion 1 status loc-access", WIRE, EIO },
	{ "completion 1 status loc-len", WIRE, EIO },
	{ "completion 1 status loc-prot", WIRE, EIO },
	{ "completion 1 status loc-qp-op", WIRE, EIO },
	{ "completion 1 status bad-resp", WIRE, EIO },
	{ "completion 1 status fatal", WIRE, EIO },
	{ "completion 1 status general", WIRE, EIO },
	{ "completion 2 status general", WIRE, EIO },               /* at the other end */
	{ "completion 1 delay 20", 0, 0 },
	{ "event 1 delay 20", 0, 0 },
	{ "receive 1 rnr", 0, 0 },
	{ "post-send 1 partition 20", 0, 0 },
	{ "post-send 1 link-down 20", 0, 0 },
	/* No call meets these: sockets share no receive queue, and send no datagrams. */
	{ "create-srq 1 fail ENOMEM", 0, 0 },
	{ "create-ah 1 fail ENOMEM", 0, 0 },
};

static bool is_lost(const struct fault *f)
{
	return f->error == EINPROGRESS;
}

/* -- calls ------------------------------------------------------------------------------------- */

enum { ROOM = 4096, SENT = 1000 };

/* The connection that a call is made on: fd is the end that connected. */
struct scene {
	int listening, fd, peer;     /* peer -1: there is no connection */
	bool lost;                   /* no answer will come */
	bool breaks;                 /* what is sent first breaks it */
	char *mapped;                /* by fd, for the peer to write to */
};

static char room[ROOM], offered[ROOM];

/* Returns what a call returned, with its errno, when the descriptor has been closed. */
static long and_close(int fd, long ret)
{
	int error = errno;

	if (fd >= 0)
		OK(rsk_close(fd));
	errno = error;
	return ret;
}

static long do_socket(struct scene *s)
{
	int fd = rsk_socket(AF_INET, SOCK_STREAM, 0);

	(void)s;
	return and_close(fd, fd < 0 ? -1 : 0);
}

static long do_bind(struct scene *s)
{
	struct address here = address_of_device(AF_INET, 0);
	int fd = rsk_socket(AF_INET, SOCK_STREAM, 0);

	(void)s;
	return and_close(fd, fd < 0 ? -1 : rsk_bind(fd, &here.any, here.len));
}

static long do_listen(struct scene *s)
{
	int fd = rsk_socket(AF_INET, SOCK_STREAM, 0);

	(void)s;
	return and_close(fd, fd < 0 ? -1 : rsk_listen(fd, 1));
}

/* Leaves a socket that has tried to connect, or -1. */
static int try_to_connect(struct scene *s, int *fd)
{
	struct timeval soon = { .tv_usec = 100000 };
	struct address there;

	*fd = rsk_socket(AF_INET, SOCK_STREAM, 0);
	if (*fd < 0)
		return -1;
	if (s->lost)
		OK(rsk_setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)));
	there = local_address(s->listening);
	return rsk_connect(*fd, &there.any, there.len);
}

static long do_connect(struct scene *s)
{
	int fd;
	long ret = try_to_connect(s, &fd);

	int error = errno;

	/* One that breaks at the first message has been made: it comes, too. */
	if (!ret || s->breaks)
		OK(rsk_close(accept_from(s->listening)));
	errno = error;
	return and_close(fd, ret);
}

static long accept_by(struct scene *s, int (*how)(int listening))
{
	struct pollfd p = { .fd = s->listening, .events = POLLIN };
	int fd, accepted, ret = try_to_connect(s, &fd);

	if (fd < 0)
		return -1;
	set_nonblocking(s->listening, true);
	ck_assert_int_ge(rsk_poll(&p, 1, ret < 0 && !s->breaks ? 0 : LIMIT_MS), 0);
	accepted = how(s->listening);
	and_close(fd, 0);
	return and_close(accepted, accepted < 0 ? -1 : 0);
}

static int plain_accept(int listening)
{
	return rsk_accept(listening, NULL, NULL);
}

static int accept_with_flags(int listening)
{
	return rsk_accept4(listening, NULL, NULL, SOCK_CLOEXEC);
}

static long do_accept(struct scene *s)
{
	return accept_by(s, plain_accept);
}

static long do_accept4(struct scene *s)
{
	return accept_by(s, accept_with_flags);
}

/* Waits until something has come, or the sender knows that it cannot: false. */
static bool look_after(int from, int to)
{
	struct pollfd both[2] = { { .fd = to, .events = POLLIN }, { .fd = from } };

	ck_assert_int_gt(rsk_poll(both, 2, LIMIT_MS), 0);
	return !both[1].revents;
}

/* Sending: the other end takes what was sent. */

static long taken(struct scene *s, long ret)
{
	int error = errno;

	if (ret > 0 && s->peer >= 0 && look_after(s->fd, s->peer))
		rsk_recv(s->peer, room, (size_t)ret, MSG_WAITALL);
	errno = error;
	return ret;
}

static long do_send(struct scene *s)
{
	return taken(s, rsk_send(s->fd, room, SENT, MSG_NOSIGNAL));
}

static long do_sendto(struct scene *s)
{
	return taken(s, rsk_sendto(s->fd, room, SENT, MSG_NOSIGNAL, NULL, 0));
}

static long do_sendmsg(struct scene *s)
{
	struct iovec part = { room, SENT };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };

	return taken(s, rsk_sendmsg(s->fd, &msg, MSG_NOSIGNAL));
}

static long do_write(struct scene *s)
{
	return taken(s, rsk_write(s->fd, room, SENT));
}

static long do_writev(struct scene *s)
{
	struct iovec parts[2] = { { room, SENT / 2 }, { room, SENT / 2 } };

	return taken(s, rsk_writev(s->fd, parts, 2));
}

static long do_iowrite(struct scene *s)
{
	return rsk_iowrite(s->fd, room, SENT, 0, MSG_NOSIGNAL);
}

static long do_iomap(struct scene *s)
{
	return rsk_iomap(s->fd, offered, sizeof(offered), PROT_WRITE, 0, 0);
}

static long do_iounmap(struct scene *s)
{
	return rsk_iounmap(s->fd, s->mapped, ROOM);
}

/* Receiving: the other end sends something first, and looks whether it could. */

static void feed(struct scene *s)
{
	if (s->peer < 0)
		return;
	rsk_send(s->peer, room, SENT, MSG_NOSIGNAL);
	look_after(s->peer, s->fd);
}

static long do_recv(struct scene *s)
{
	feed(s);
	return rsk_recv(s->fd, room, ROOM, 0);
}

static long do_recvfrom(struct scene *s)
{
	feed(s);
	return rsk_recvfrom(s->fd, room, ROOM, 0, NULL, NULL);
}

static long do_recvmsg(struct scene *s)
{
	struct iovec part = { room, ROOM };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };

	feed(s);
	return rsk_recvmsg(s->fd, &msg, 0);
}

static long do_read(struct scene *s)
{
	feed(s);
	return rsk_read(s->fd, room, ROOM);
}

static long do_readv(struct scene *s)
{
	struct iovec parts[2] = { { room, ROOM / 2 }, { room + ROOM / 2, ROOM / 2 } };

	feed(s);
	return rsk_readv(s->fd, parts, 2);
}

/* Waiting for what was sent. */

static int limit_ms(const struct scene *s)
{
	return s->lost ? 0 : LIMIT_MS;
}

static struct timespec limit(const struct scene *s)
{
	return (struct timespec){ .tv_sec = limit_ms(s) / 1000 };
}

/* Takes it, so that nothing is left there. */
static long drained(struct scene *s, long ret)
{
	int error = errno;

	while (s->peer >= 0 && rsk_recv(s->fd, room, ROOM, MSG_DONTWAIT) > 0)
		;
	errno = error;
	return ret;
}

static long do_poll(struct scene *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	feed(s);
	return drained(s, rsk_poll(&p, 1, limit_ms(s)));
}

static long do_ppoll(struct scene *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	struct timespec t = limit(s);

	feed(s);
	return drained(s, rsk_ppoll(&p, 1, &t, NULL));
}

static long do_select(struct scene *s)
{
	struct timeval t = { .tv_sec = limit_ms(s) / 1000 };
	fd_set set;

	feed(s);
	FD_ZERO(&set);
	FD_SET(s->fd, &set);
	return drained(s, rsk_select(s->fd + 1, &set, NULL, NULL, &t));
}

static long do_pselect(struct scene *s)
{
	struct timespec t = limit(s);
	fd_set set;

	feed(s);
	FD_ZERO(&set);
	FD_SET(s->fd, &set);
	return drained(s, rsk_pselect(s->fd + 1, &set, NULL, NULL, &t, NULL));
}

static int instance_with(int fd)
{
	struct epoll_event in = { .events = EPOLLIN };
	int ep = rsk_epoll_create1(0);

	ck_assert_int_ge(ep, 0);
	OK(rsk_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &in));
	return ep;
}

static long do_epoll_create1(struct scene *s)
{
	int ep = rsk_epoll_create1(0);

	(void)s;
	return and_close(ep, ep < 0 ? -1 : 0);
}

static long do_epoll_ctl(struct scene *s)
{
	int ep = instance_with(s->fd);

	return and_close(ep, rsk_epoll_ctl(ep, EPOLL_CTL_DEL, s->fd, NULL));
}

static long do_epoll_wait(struct scene *s)
{
	int ep = instance_with(s->fd);
	struct epoll_event event;

	feed(s);
	return drained(s, and_close(ep, rsk_epoll_wait(ep, &event, 1, limit_ms(s))));
}

static long do_epoll_pwait(struct scene *s)
{
	int ep = instance_with(s->fd);
	struct epoll_event event;

	feed(s);
	return drained(s, and_close(ep, rsk_epoll_pwait(ep, &event, 1, limit_ms(s), NULL)));
}

static long do_epoll_pwait2(struct scene *s)
{
	int ep = instance_with(s->fd);
	struct timespec t = limit(s);
	struct epoll_event event;

	feed(s);
	return drained(s, and_close(ep, rsk_epoll_pwait2(ep, &event, 1, &t, NULL)));
}

/* Asking and telling: nothing of the device is needed. */

static void hear(int fd, uint32_t events, void *arg)
{
	(void)fd;
	(void)events;
	(void)arg;
}

static long do_watch(struct scene *s)
{
	long ret = rsk_watch(s->fd, EPOLLIN, hear, NULL);

	ck_assert_int_ge(rsk_watch(s->fd, 0, NULL, NULL), 0);
	return ret;
}

static long do_getsockname(struct scene *s)
{
	struct address a = { .len = sizeof(a.room) };

	return rsk_getsockname(s->fd, &a.any, &a.len);
}

static long do_getpeername(struct scene *s)
{
	struct address a = { .len = sizeof(a.room) };

	return rsk_getpeername(s->fd, &a.any, &a.len);
}

static long do_setsockopt(struct scene *s)
{
	return rsk_setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 0 }, sizeof(int));
}

static long do_getsockopt(struct scene *s)
{
	socklen_t len = sizeof(int);
	int value;

	return rsk_getsockopt(s->fd, SOL_SOCKET, SO_TYPE, &value, &len);
}

static long do_fcntl(struct scene *s)
{
	return rsk_fcntl(s->fd, F_GETFL);
}

static long do_ioctl(struct scene *s)
{
	return rsk_ioctl(s->fd, FIONREAD, &(int){ 0 });
}

static long do_error(struct scene *s)
{
	char text[256];

	return rsk_error(s->fd, text, sizeof(text));
}

static long do_version(struct scene *s)
{
	(void)s;
	return *rsk_version() ? 0 : -1;
}

/* Ending. */

static long do_shutdown(struct scene *s)
{
	return rsk_shutdown(s->fd, SHUT_WR);
}

static long do_close(struct scene *s)
{
	long ret = rsk_close(s->fd);

	s->fd = -1;
	return ret;
}

enum kind { MAKES, SENDS, MAPS, UNMAPS, RECEIVES, WAITS, TELLS, NAMES_PEER, SHUTS, CLOSES };

static const struct operation {
	const char *name;
	long (*make)(struct scene *);
	enum kind kind;
	unsigned needs;
} operations[] = {
	{ "socket", do_socket, MAKES, CHANNEL },
	{ "bind", do_bind, MAKES, CHANNEL | ID },
	{ "listen", do_listen, MAKES, CHANNEL | ID },
	{ "connect", do_connect, MAKES, CHANNEL | ID | ENDPOINT | POSTING },
	{ "accept", do_accept, MAKES, CHANNEL | ID | ENDPOINT },
	{ "accept4", do_accept4, MAKES, CHANNEL | ID | ENDPOINT },
	{ "send", do_send, SENDS, POSTING },
	{ "sendto", do_sendto, SENDS, POSTING },
	{ "sendmsg", do_sendmsg, SENDS, POSTING },
	{ "write", do_write, SENDS, POSTING },
	{ "writev", do_writev, SENDS, POSTING },
	{ "iowrite", do_iowrite, SENDS, POSTING },
	{ "iomap", do_iomap, MAPS, MEMORY | POSTING },
	{ "iounmap", do_iounmap, UNMAPS, 0 },
	{ "recv", do_recv, RECEIVES, 0 },
	{ "recvfrom", do_recvfrom, RECEIVES, 0 },
	{ "recvmsg", do_recvmsg, RECEIVES, 0 },
	{ "read", do_read, RECEIVES, 0 },
	{ "readv", do_readv, RECEIVES, 0 },
	{ "poll", do_poll, WAITS, 0 },
	{ "ppoll", do_ppoll, WAITS, 0 },
	{ "select", do_select, WAITS, 0 },
	{ "pselect", do_pselect, WAITS, 0 },
	{ "epoll_wait", do_epoll_wait, WAITS, 0 },
	{ "epoll_pwait", do_epoll_pwait, WAITS, 0 },
	{ "epoll_pwait2", do_epoll_pwait2, WAITS, 0 },
	{ "epoll_create1", do_epoll_create1, TELLS, 0 },
	{ "epoll_ctl", do_epoll_ctl, TELLS, 0 },
	{ "watch", do_watch, TELLS, 0 },
	{ "getsockname", do_getsockname, TELLS, 0 },
	{ "getpeername", do_getpeername, NAMES_PEER, 0 },
	{ "setsockopt", do_setsockopt, TELLS, 0 },
	{ "getsockopt", do_getsockopt, TELLS, 0 },
	{ "fcntl", do_fcntl, TELLS, 0 },
	{ "ioctl", do_ioctl, TELLS, 0 },
	{ "error", do_error, TELLS, 0 },
	{ "version", do_version, TELLS, 0 },
	{ "shutdown", do_shutdown, SHUTS, 0 },
	{ "close", do_close, CLOSES, 0 },
};

/* -- what must come of it ---------------------------------------------------------------------- */

/* While the fault is there. 0: the call succeeds. */
static int during(const struct fault *f, const struct operation *c)
{
	bool struck = f->strikes & c->needs;

	if (c->kind == RECEIVES && f->strikes & POSTING)
		return ECONNRESET;   /* the other end could not send, and gave up */
	if (c->kind == RECEIVES && strstr(f->script, "partition 0"))
		return ECONNRESET;   /* nor be heard */
	if (c->kind == RECEIVES && strstr(f->script, "completion 1 status"))
		return f->error;     /* this end's receive */
	if (struck && c->make != do_connect && f->strikes & (ID | ENDPOINT) && c->needs & ENDPOINT)
		return EAGAIN;       /* there is nobody to accept */
	return struck ? f->error : 0;
}

/* Of a socket whose connect has failed, which may connect again, or which hears nothing. */
static int on_what_is_left(const struct fault *f, const struct operation *c)
{
	switch (c->kind) {
	case SENDS:
	case RECEIVES:
		return is_lost(f) ? EAGAIN : ENOTCONN;
	case UNMAPS:
		return EINVAL;       /* there are none */
	case MAPS:
	case NAMES_PEER:
	case SHUTS:
		return ENOTCONN;
	default:
		return 0;
	}
}

/* Of a connection that has broken; its reads have said @error. */
static int when_broken(const struct operation *c, int error)
{
	switch (c->kind) {
	case SENDS:
	case MAPS:
		return EPIPE;
	case UNMAPS:
		return EINVAL;       /* that was done before */
	case RECEIVES:
		return error;
	case NAMES_PEER:
		return ENOTCONN;
	default:
		return 0;
	}
}

static void make(const struct fault *f, const struct operation *c, struct scene *s, int error, const char *when)
{
	long ret = c->make(s);
	int got = ret < 0 ? errno : 0;

	ck_assert_msg(got == error, "\"%s\": rsk_%s %s: %ld (%s), should be: %s", f->script, c->name, when, ret,
		      strerror(got), strerror(error));
	if (c->kind == WAITS && !s->lost)
		ck_assert_msg(ret == 1, "\"%s\": rsk_%s %s: %ld", f->script, c->name, when, ret);
}

/* -- the three ways ---------------------------------------------------------------------------- */

static void meet_in_making(const struct fault *f, const struct operation *c, struct scene *s)
{
	faults(f->script);
	make(f, c, s, during(f, c), "in making");
}

static void meet_on_what_is_left(const struct fault *f, const struct operation *c, struct scene *s)
{
	faults(f->script);
	ck_assert_int_eq(try_to_connect(s, &s->fd), -1);
	ck_assert_int_eq(errno, f->error);
	if (s->lost)
		set_nonblocking(s->fd, true);
	make(f, c, s, on_what_is_left(f, c), "on what is left");
	if (s->fd >= 0)
		OK(rsk_close(s->fd));
}

static void build(struct scene *s)
{
	struct pair p = pair_with(AF_INET, OPTIONS({ SOL_RDMA, RDMA_IOMAPSIZE, 4 }),
				  OPTIONS({ SOL_RDMA, RDMA_IOMAPSIZE, 4 }));

	s->fd = p.a;
	s->peer = p.b;
	s->mapped = room;
	ck_assert_int_eq(rsk_iomap(s->peer, offered, ROOM, PROT_WRITE, 0, 0), 0);
	ck_assert_int_eq(rsk_iomap(s->fd, s->mapped, ROOM, PROT_WRITE, 0, ROOM), ROOM);
	check_connected(s->fd, s->peer);
}

/* Reads until that fails: an end of file would be a lie. */
static int failure_of(int fd)
{
	ssize_t n;

	while ((n = rsk_recv(fd, room, ROOM, 0)) > 0)
		;
	ck_assert_int_eq(n, -1);
	return errno;
}

static void use_until_broken(const struct fault *f, struct scene *s, int error[2])
{
	int ends[2] = { s->fd, s->peer };

	for (int i = 0; i < 1000; i++) {
		int from = ends[i % 2], to = ends[1 - i % 2];

		if (rsk_send(from, room, 1, MSG_NOSIGNAL) < 0 || !look_after(from, to) ||
		    rsk_recv(to, room, ROOM, 0) <= 0)
			break;
	}
	for (int i = 0; i < 2; i++)
		error[i] = failure_of(ends[i]);
	/* One end was struck. The other is told, unless it had sent: then it may find out by itself. */
	ck_assert_msg((error[0] == f->error && (error[1] == ECONNRESET || error[1] == ETIMEDOUT)) ||
		      (error[1] == f->error && (error[0] == ECONNRESET || error[0] == ETIMEDOUT)),
		      "\"%s\": the ends say %s, %s", f->script, strerror(error[0]), strerror(error[1]));
}

static void end_both(const struct operation *c, struct scene *s)
{
	if (c->kind == SHUTS)
		look_after(s->fd, s->peer);
	if (c->kind != CLOSES)
		OK(rsk_close(s->fd));
	wait_for(s->peer, POLLIN);   /* the end, or news of a failure */
	OK(rsk_close(s->peer));
}

static void meet_on_a_connection(const struct fault *f, const struct operation *c, struct scene *s)
{
	int error[2];

	build(s);
	faults(f->script);
	make(f, c, s, during(f, c), "on a connection");
	if (c->kind != SHUTS && c->kind != CLOSES) {
		if (f->strikes & (WIRE | POSTING)) {
			use_until_broken(f, s, error);
			make(f, c, s, when_broken(c, error[0]), "when it has broken");
		} else {
			faults(NULL);
			check_connected(s->fd, s->peer);
			make(f, c, s, c->kind == UNMAPS ? EINVAL : 0, "afterwards");
		}
	}
	end_both(c, s);
}

/* -- all of it --------------------------------------------------------------------------------- */

static bool descriptors_at_most(long goal)
{
	return open_descriptors() <= goal;
}

static bool objects_at_most(long mrs)
{
	int qps, cqs, regions;

	in_use(&qps, &cqs, &regions);
	return !qps && !cqs && regions <= mrs;
}

static void meet(const struct fault *f, const struct operation *c, struct scene *s)
{
	if (c->kind == MAKES) {
		meet_in_making(f, c, s);
	} else {
		if (f->strikes & (ID | ENDPOINT))
			meet_on_what_is_left(f, c, s);
		faults(NULL);
		if (!(f->strikes & (ID | ENDPOINT)) || f->strikes & (MEMORY | WIRE))
			meet_on_a_connection(f, c, s);
	}
	faults(NULL);
}

/* What is made once for a process must fail before anything else is there. */
static bool comes_first(const struct fault *f)
{
	return f->strikes & CHANNEL || strstr(f->script, "alloc-pd");
}

START_TEST(each_call_meets_each_fault)
{
	const struct fault *f = &fault_table[(size_t)_i / COUNT(operations)];
	const struct operation *c = &operations[(size_t)_i % COUNT(operations)];
	struct scene s = { .fd = -1, .peer = -1, .lost = is_lost(f), .breaks = f->strikes & POSTING };
	struct pair bystander;
	int before;

	signal(SIGPIPE, SIG_IGN);
	if (f->strikes & CHANNEL) {
		/* Without a socket there is nothing that another call could be made on. */
		if (c->kind == MAKES)
			meet_in_making(f, c, &s);
		faults(NULL);
	}
	s.listening = listener();
	if (comes_first(f) && !(f->strikes & CHANNEL))
		meet(f, c, &s);
	bystander = pair_on(s.listening);
	/* What else is made once for a process. */
	pair_close(pair_on(s.listening));
	do_watch(&(struct scene){ .fd = bystander.a });
	before = open_descriptors();
	if (!comes_first(f))
		meet(f, c, &s);

	set_nonblocking(s.listening, false);
	check_connected(bystander.a, bystander.b);
	ck_assert_int_eq(do_connect(&s), 0);
	wait_until(descriptors_at_most, before, "descriptors");
	pair_close(bystander);
	OK(rsk_close(s.listening));
	/* The memory that each end has sent from is kept for the next. */
	wait_until(objects_at_most, 4, "objects of the device");
}
END_TEST

int main(void)
{
	const char *device = getenv("SOFTVERBS");
	Suite *s;
	TCase *tc;

	if (!can_fail())
		return 77;
	if (device && strstr(device, "iwarp")) {
		printf("skipped: on iWARP a message has two completions, and faults meet others\n");
		return 77;
	}
	s = suite_create("fault calls");
	tc = group(s, "", 120);
	tcase_add_loop_test(tc, each_call_meets_each_fault, 0, COUNT(fault_table) * COUNT(operations));
	return run_suite(s);
}
