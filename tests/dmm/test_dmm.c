/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * An application under DMM, on a device: sockets, epoll sets and select() as nStack runs them over the
 * stack module. Each test is such an application; see nstack.h.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "nstack.h"

/* Isolation holds in every test. */
static void check_isolation(void)
{
#ifndef RSK_SANITIZED
	ck_assert_msg(!host_unsafe_call(), "%s", host_unsafe_call());
#endif
}

static const unsigned HALF_CLOSED = EPOLLIN | EPOLLRDHUP;

/* -- descriptors ------------------------------------------------------------------------------- */

START_TEST(numbers_are_dense_and_used_again)
{
	int fd[10];

	app_start();
	for (int i = 0; i < 10; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		ck_assert_int_eq(host_number(fd[i]), i);
	}
	close(fd[4]);
	ck_assert_int_eq(host_number(socket(AF_INET, SOCK_STREAM, 0)), 4);
	check_isolation();
}
END_TEST

START_TEST(no_number_beyond_maxfd)
{
	int fd = -1;

	app_configure(0, 9);
	app_start();
	for (int i = 0; i < 10; i++)
		ck_assert_int_ge(fd = socket(AF_INET, SOCK_STREAM, 0), 0);
	FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	close(fd);
	ck_assert_int_ge(socket(AF_INET, SOCK_STREAM, 0), 0);
}
END_TEST

START_TEST(connection_stays_in_the_queue_while_there_is_no_number)
{
	int listening, fd, spare, ep;

	app_configure(5, 7);
	app_start();
	listening = app_listener();
	fd = app_connecting(app_name(listening));
	spare = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(host_number(spare), 7);
	ep = app_set(listening, EPOLLIN);
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
	FAILS(accept4(listening, NULL, NULL, 0), EMFILE);
	close(spare);
	ck_assert_int_ge(spare = accept4(listening, NULL, NULL, SOCK_NONBLOCK), 0);
	app_send(fd, "x");
	app_expect(spare, "x");
}
END_TEST

START_TEST(type_flags_are_honoured)
{
	int fd;

	app_start();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	OK(fcntl(fd, F_SETFL, 0));
	OK(fcntl(fd, F_SETFD, 0));
	ck_assert_int_eq(fcntl(fd, F_GETFL), O_RDWR);
	ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(accepted_socket_has_the_flags_of_accept4_alone)
{
	int listening, fd;

	app_start();
	listening = app_listener();
	app_connecting(app_name(listening));
	app_connecting(app_name(listening));
	app_set_nonblocking(listening, false);
	fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	fd = accept(listening, NULL, NULL);
	ck_assert_int_eq(fcntl(fd, F_GETFL), O_RDWR);
	ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(ioctl_counts_bytes_and_sets_nonblocking)
{
	struct ends e;
	int n = -1, on = 0;

	app_start();
	e = app_pair();
	app_send(e.a, "twelve bytes");
	app_event(app_set(e.b, EPOLLIN));
	OK(ioctl(e.b, FIONREAD, &n));
	ck_assert_int_eq(n, 12);
	OK(ioctl(e.b, FIONBIO, &on));
	ck_assert_int_eq(fcntl(e.b, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

/* -- data -------------------------------------------------------------------------------------- */

static ssize_t by_sendto(int fd, void *buf, size_t len)
{
	return sendto(fd, buf, len, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t by_recvfrom(int fd, void *buf, size_t len)
{
	struct sockaddr_in from;
	socklen_t size = sizeof(from);

	return recvfrom(fd, buf, len, 0, (struct sockaddr *)&from, &size);
}

static ssize_t by_write(int fd, void *buf, size_t len)
{
	return write(fd, buf, len);
}

static ssize_t by_read(int fd, void *buf, size_t len)
{
	return read(fd, buf, len);
}

static ssize_t by_writev(int fd, void *buf, size_t len)
{
	struct iovec iov[] = { { buf, 1 }, { (char *)buf + 1, len - 1 } };

	return writev(fd, iov, 2);
}

static ssize_t by_readv(int fd, void *buf, size_t len)
{
	struct iovec iov[] = { { buf, 1 }, { (char *)buf + 1, len - 1 } };

	return readv(fd, iov, 2);
}

static ssize_t by_sendmsg(int fd, void *buf, size_t len)
{
	struct iovec iov[] = { { buf, 1 }, { (char *)buf + 1, len - 1 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static ssize_t by_recvmsg(int fd, void *buf, size_t len)
{
	struct iovec iov[] = { { buf, 1 }, { (char *)buf + 1, len - 1 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(fd, &msg, 0);

	ck_assert_ptr_eq(msg.msg_iov, iov);
	ck_assert_uint_eq(msg.msg_iovlen, 2);
	return n;
}

static const struct {
	ssize_t (*send)(int fd, void *buf, size_t len);
	ssize_t (*recv)(int fd, void *buf, size_t len);
} movers[] = {
	{ by_sendto, by_recvfrom },
	{ by_write, by_read },
	{ by_writev, by_readv },
	{ by_sendmsg, by_recvmsg },
};

START_TEST(every_data_call_moves_data)
{
	char text[] = "ten bytes.", got[10];
	struct ends e;

	app_start();
	e = app_pair();
	ck_assert_int_eq(movers[_i].send(e.a, text, 10), 10);
	app_event(app_set(e.b, EPOLLIN));
	ck_assert_int_eq(movers[_i].recv(e.b, got, 10), 10);
	ck_assert_mem_eq(got, text, 10);
	FAILS(movers[_i].recv(e.b, got, 10), EAGAIN);
}
END_TEST

/* What one call may move fits nStack's int; here both ends' buffers stop it long before. */
START_TEST(absurd_lengths_are_cut_not_refused)
{
	static char byte[16];
	struct iovec iov[2] = { { byte, 0 }, { byte, (size_t)3 << 30 } };
	struct ends e;

	app_start();
	e = app_pair();
	app_send(e.a, "abc");
	app_event(app_set(e.b, EPOLLIN));
	ck_assert_int_eq(readv(e.b, iov, 2), 3);
	ck_assert_mem_eq(byte, "abc", 3);
	iov[0].iov_len = 4;
	iov[1].iov_len = SSIZE_MAX;
	app_send(e.a, "de");
	app_event(app_set(e.b, EPOLLIN));
	ck_assert_int_eq(readv(e.b, iov, 2), 2);
}
END_TEST

START_TEST(sending_after_own_shutdown_fails)
{
	struct ends e;

	app_start();
	e = app_pair();
	OK(shutdown(e.a, SHUT_WR));
	FAILS(send(e.a, "x", 1, MSG_NOSIGNAL), EPIPE);
}
END_TEST

/* -- connecting and listening ------------------------------------------------------------------ */

START_TEST(established_connection_is_writable_and_no_more)
{
	int listening, fd;

	app_start();
	listening = app_listener();
	fd = app_connecting(app_name(listening));
	ck_assert_uint_eq(app_event(app_set(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP)), EPOLLOUT);
	ck_assert_int_eq(app_socket_error(fd), 0);
}
END_TEST

START_TEST(refused_connection_reports_out_err_hup)
{
	struct sockaddr_in nobody;
	int fd, ep;

	app_start();
	fd = app_listener();
	nobody = app_name(fd);
	close(fd);
	fd = app_connecting(nobody);
	ep = app_set(fd, EPOLLOUT);
	ck_assert_uint_eq(app_event(ep), EPOLLOUT | EPOLLERR | EPOLLHUP);
	ck_assert_int_eq(app_socket_error(fd), ECONNREFUSED);
}
END_TEST

/* Nobody accepts, and nobody waits with epoll. */
START_TEST(connecting_needs_no_help)
{
	struct pollfd nothing = { .fd = -1 };
	uint64_t limit = now_ms() + LIMIT_MS;
	struct sockaddr_in to, peer;
	socklen_t len = sizeof(peer);
	int fd;

	app_start();
	to = app_name(app_listener());
	fd = app_connecting(to);
	while (getpeername(fd, (struct sockaddr *)&peer, &len)) {
		ck_assert_msg(now_ms() < limit, "not connected: %s", strerror(errno));
		poll(&nothing, 1, 2);
	}
	ck_assert_int_eq(peer.sin_port, to.sin_port);
}
END_TEST

START_TEST(listener_reports_until_all_are_accepted)
{
	struct epoll_event event;
	int listening, ep, fd;

	app_start();
	listening = app_listener();
	ep = app_set(listening, EPOLLIN);
	app_quiet(ep);
	app_connecting(app_name(listening));
	app_connecting(app_name(listening));
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(app_event(ep), EPOLLIN);
		ck_assert_uint_eq(app_event(ep), EPOLLIN);
		ck_assert_int_ge(fd = accept4(listening, NULL, NULL, 0), 0);
	}
	app_quiet(ep);
	FAILS(accept4(listening, NULL, NULL, 0), EAGAIN);
	app_connecting(app_name(listening));
	ck_assert_int_eq(epoll_wait(ep, &event, 1, LIMIT_MS), 1);
}
END_TEST

START_TEST(listener_reports_again_after_mod)
{
	int listening, ep;

	app_start();
	listening = app_listener();
	ep = app_set(listening, EPOLLIN | EPOLLET);
	app_connecting(app_name(listening));
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
	app_quiet(ep);
	app_control(ep, EPOLL_CTL_MOD, listening, EPOLLIN | EPOLLET);
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
}
END_TEST

/* -- epoll ------------------------------------------------------------------------------------- */

START_TEST(events_are_masked)
{
	struct ends e;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN);
	app_quiet(ep);
	app_send(e.a, "x");
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
	app_control(ep, EPOLL_CTL_MOD, e.b, EPOLLOUT);
	ck_assert_uint_eq(app_event(ep), EPOLLOUT);
	app_control(ep, EPOLL_CTL_MOD, e.b, 0);
	app_send(e.a, "y");
	app_quiet(ep);
}
END_TEST

START_TEST(level_is_reported_until_it_is_gone)
{
	struct ends e;
	char byte;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN);
	app_send(e.a, "ab");
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(app_event(ep), EPOLLIN);
	ck_assert_int_eq(recv(e.b, &byte, 1, 0), 1);
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
	ck_assert_int_eq(recv(e.b, &byte, 1, 0), 1);
	app_quiet(ep);
}
END_TEST

START_TEST(edge_reports_each_arrival_though_nothing_is_read)
{
	struct ends e;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN | EPOLLET);
	for (int i = 0; i < 5; i++) {
		app_send(e.a, "x");
		ck_assert_uint_eq(app_event(ep), EPOLLIN);
		app_quiet(ep);
	}
}
END_TEST

START_TEST(data_that_was_there_before_is_reported_by_add)
{
	struct ends e;

	app_start();
	e = app_pair();
	app_send(e.a, "x");
	app_event(app_set(e.b, EPOLLIN));
	ck_assert_uint_eq(app_event(app_set(e.b, EPOLLIN | EPOLLET)), EPOLLIN);
}
END_TEST

/* An edge may be told after its byte was taken, as nStack does not look again: only too few are too few. */
static int await_bytes(int ep, int fd)
{
	int count = 0;
	char byte;

	while (!count) {
		app_event(ep);
		while (recv(fd, &byte, 1, 0) == 1)
			count++;
	}
	return count;
}

/* A record that comes after each look: nothing may be lost between add, mod, wait and arrival. */
START_TEST(no_wakeup_is_lost)
{
	uint32_t mode = _i ? EPOLLET : 0;
	struct ends e;
	int ep_a, ep_b;

	app_start();
	e = app_pair();
	ep_a = app_set(e.a, EPOLLIN | mode);
	ep_b = app_set(e.b, EPOLLIN | mode);
	for (int i = 0; i < 1000; i++) {
		app_send(e.a, "x");
		ck_assert_int_eq(await_bytes(ep_b, e.b), 1);
		app_send(e.b, "y");
		ck_assert_int_eq(await_bytes(ep_a, e.a), 1);
		if (i % 8 == 0)
			app_control(ep_b, EPOLL_CTL_MOD, e.b, EPOLLIN | mode);
	}
	check_isolation();
}
END_TEST

START_TEST(writable_is_told_when_room_comes_back_only)
{
	static char block[64 << 10];
	unsigned told;
	struct ends e;
	ssize_t n;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.a, EPOLLOUT | EPOLLIN | EPOLLET);
	ck_assert_uint_eq(app_event(ep), EPOLLOUT);
	told = host_told(EPOLLOUT);
	for (int i = 0; i < 200; i++) {
		app_send(e.a, "ping");
		app_expect(e.b, "ping");
	}
	ck_assert_uint_eq(host_told(EPOLLOUT), told);

	while ((n = send(e.a, block, sizeof(block), MSG_NOSIGNAL)) > 0)
		;
	FAILS(n, EAGAIN);
	app_set(e.b, EPOLLIN);
	while (!(app_event_now(ep) & EPOLLOUT))
		(void)!recv(e.b, block, sizeof(block), 0);
	ck_assert_int_gt(send(e.a, "x", 1, MSG_NOSIGNAL), 0);
}
END_TEST

START_TEST(oneshot_is_reported_once_until_mod)
{
	uint32_t mode = EPOLLIN | EPOLLONESHOT | (_i ? EPOLLET : 0);
	struct ends e;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, mode);
	for (int i = 0; i < 3; i++) {
		app_send(e.a, "x");
		ck_assert_uint_eq(app_event(ep), EPOLLIN);
		app_send(e.a, "y");
		app_quiet(ep);
		/* There is data still: at once. */
		app_control(ep, EPOLL_CTL_MOD, e.b, mode);
		ck_assert_uint_eq(app_event(ep), EPOLLIN);
		app_quiet(ep);
		app_expect(e.b, "xy");
		app_control(ep, EPOLL_CTL_MOD, e.b, mode);
		app_quiet(ep);
	}
}
END_TEST

START_TEST(one_descriptor_in_two_sets)
{
	struct ends e;
	int one, two;

	app_start();
	e = app_pair();
	one = app_set(e.b, EPOLLIN);
	two = app_set(e.b, EPOLLIN | EPOLLOUT | EPOLLET);
	ck_assert_uint_eq(app_event(two), EPOLLOUT);
	app_send(e.a, "x");
	ck_assert_uint_eq(app_event(one), EPOLLIN);
	ck_assert_uint_ne(app_event(two) & EPOLLIN, 0);
	OK(epoll_ctl(one, EPOLL_CTL_DEL, e.b, NULL));
	app_send(e.a, "y");
	ck_assert_uint_ne(app_event(two) & EPOLLIN, 0);
	ck_assert_uint_eq(app_event_now(one), 0);
}
END_TEST

START_TEST(nothing_is_told_after_the_last_del)
{
	struct ends e;
	unsigned told;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, e.b, NULL));
	told = host_told(EPOLLIN);
	app_send(e.a, "x");
	app_expect(e.b, "x");        /* by a set of its own: one event */
	ck_assert_uint_le(host_told(EPOLLIN), told + 1);
	told = host_told(EPOLLIN);
	app_send(e.a, "y");
	app_quiet(ep);
	ck_assert_uint_eq(host_told(EPOLLIN), told);
}
END_TEST

/* nStack sends no del for what was added before the route was known. */
START_TEST(close_without_del_ends_the_registration)
{
	struct ends e;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN | EPOLLRDHUP);
	OK(host_module()->socket_ops.close(host_number(e.b)));
	app_event_with(app_set(e.a, EPOLLIN | EPOLLRDHUP), HALF_CLOSED);
	app_quiet(ep);
}
END_TEST

START_TEST(control_never_blocks_a_blocking_socket)
{
	struct ends e;
	int ep;

	app_start();
	e = app_pair();
	app_set_nonblocking(e.b, false);
	ep = app_set(e.b, EPOLLIN);
	for (int i = 0; i < 3; i++)
		app_control(ep, EPOLL_CTL_MOD, e.b, EPOLLIN);
	ck_assert_uint_eq(app_event_now(ep), 0);
	app_send(e.a, "x");
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
}
END_TEST

START_TEST(misuse_of_control_is_harmless)
{
	unsigned (*ctl)(int, int, int, struct epoll_event *, void *);
	struct epoll_event event = { .events = EPOLLIN };
	int fd, s, pdata;

	app_start();
	ctl = host_module()->extern_ops.ep_ctl;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	s = host_number(fd);
	ck_assert_int_eq((int)ctl(-1, s, DMM_EP_MOD, &event, &pdata), -1);
	ck_assert_int_eq((int)ctl(-1, s, DMM_EP_DEL, &event, &pdata), 0);
	ck_assert_int_eq((int)ctl(-1, s, DMM_EP_ADD, NULL, &pdata), -1);
	ck_assert_int_eq((int)ctl(-1, s, DMM_EP_ADD, &event, NULL), -1);
	ck_assert_int_eq((int)ctl(-1, s, 77, &event, &pdata), -1);
	close(fd);
	ck_assert_int_eq((int)ctl(-1, s, DMM_EP_ADD, &event, &pdata), -1);
}
END_TEST

/* -- ends -------------------------------------------------------------------------------------- */

START_TEST(half_close_is_in_and_rdhup_and_sending_goes_on)
{
	struct ends e;
	char byte;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN | EPOLLRDHUP);
	OK(shutdown(e.a, SHUT_WR));
	ck_assert_uint_eq(app_event(ep), HALF_CLOSED);
	ck_assert_int_eq(recv(e.b, &byte, 1, 0), 0);
	app_send(e.b, "still here");
	app_expect(e.a, "still here");
	ck_assert_uint_eq(app_event(ep), HALF_CLOSED);
}
END_TEST

START_TEST(close_of_the_peer_is_reported)
{
	struct ends e;
	char byte;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN | EPOLLRDHUP);
	app_send(e.a, "last");
	app_expect(e.b, "last");
	close(e.a);
	app_event_with(ep, HALF_CLOSED);
	ck_assert_int_eq(recv(e.b, &byte, 1, 0), 0);
}
END_TEST

START_TEST(both_ends_closed_adds_hup)
{
	struct ends e;
	int ep;

	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN | EPOLLRDHUP);
	OK(shutdown(e.a, SHUT_WR));
	app_event_with(ep, HALF_CLOSED);
	OK(shutdown(e.b, SHUT_WR));
	app_event_with(ep, HALF_CLOSED | EPOLLHUP);
}
END_TEST

static void connect_and_wait(struct other *me)
{
	struct sockaddr_in to;

	other_listen(me, &to, sizeof(to));
	app_start();
	app_connecting(to);
	other_listen(me, &to, 1);    /* nothing is said: for ever */
}

START_TEST(killed_peer_is_an_event_and_an_error)
{
	struct sockaddr_in here;
	struct other peer;
	int listening, fd, ep;
	char byte;

	other_start(&peer, connect_and_wait);
	app_start();
	listening = app_listener();
	here = app_name(listening);
	other_say(&peer, &here, sizeof(here));
	fd = app_accept(listening);
	ep = app_set(fd, EPOLLIN | EPOLLRDHUP);
	app_quiet(ep);
	other_kill(&peer);
	ck_assert_uint_ne(app_event(ep) & (EPOLLERR | EPOLLHUP), 0);
	FAILS(recv(fd, &byte, 1, 0), ECONNRESET);
}
END_TEST

START_TEST(close_does_not_wait_for_a_peer_that_does_not_read)
{
	static char block[16 << 10];
	ssize_t n, sent = 0, got = 0;
	struct ends e;

	app_start();
	e = app_pair();
	while ((n = send(e.a, block, sizeof(block), MSG_NOSIGNAL)) > 0)
		sent += n;
	close(e.a);                  /* here the peer is this very thread */
	while (got < sent) {
		int ep = app_set(e.b, EPOLLIN);

		app_event(ep);
		close(ep);
		while ((n = recv(e.b, block, sizeof(block), 0)) > 0)
			got += n;
	}
	ck_assert_int_eq(got, sent);
}
END_TEST

/* -- select ------------------------------------------------------------------------------------ */

START_TEST(select_tells_readable_and_writable)
{
	struct timeval soon = { 0, QUIET_MS * 1000 }, late = { LIMIT_MS / 1000, 0 };
	fd_set in, out;
	struct ends e;

	/* Numbers beyond an fd_set: nStack's sets are wider. */
	app_configure(_i ? 3000 : 0, 8191);
	app_start();
	e = app_pair();
	ck_assert_int_ge(host_number(e.b), _i ? 3000 : 0);
	FD_ZERO(&in);
	FD_SET(e.b, &in);
	ck_assert_int_eq(select(e.b + 1, &in, NULL, NULL, &soon), 0);
	ck_assert(!FD_ISSET(e.b, &in));

	app_send(e.a, "x");
	FD_SET(e.b, &in);
	FD_SET(e.a, &in);
	ck_assert_int_eq(select((e.a > e.b ? e.a : e.b) + 1, &in, NULL, NULL, &late), 1);
	ck_assert(FD_ISSET(e.b, &in));
	ck_assert(!FD_ISSET(e.a, &in));

	FD_ZERO(&out);
	FD_SET(e.a, &out);
	ck_assert_int_eq(select(e.a + 1, NULL, &out, NULL, &late), 1);
	ck_assert(FD_ISSET(e.a, &out));
}
END_TEST

START_TEST(select_tells_of_a_listener_and_of_the_end)
{
	struct timeval late = { LIMIT_MS / 1000, 0 };
	int listening;
	struct ends e;
	fd_set in;

	app_start();
	listening = app_listener();
	e.a = app_connecting(app_name(listening));
	FD_ZERO(&in);
	FD_SET(listening, &in);
	ck_assert_int_eq(select(listening + 1, &in, NULL, NULL, &late), 1);
	e.b = accept4(listening, NULL, NULL, 0);
	app_event(app_set(e.a, EPOLLOUT));
	OK(shutdown(e.a, SHUT_WR));
	FD_ZERO(&in);
	FD_SET(e.b, &in);
	ck_assert_int_eq(select(e.b + 1, &in, NULL, NULL, &late), 1);
}
END_TEST

START_TEST(select_leaves_other_bits_alone)
{
	unsigned long in[8192 / 64], before;
	struct ends e;
	int s;

	app_configure(4000, 8191);
	app_start();
	e = app_pair();
	app_send(e.a, "x");
	app_event(app_set(e.b, EPOLLIN));
	s = host_number(e.b);
	memset(in, 0, sizeof(in));
	in[s / 64] |= 1ul << s % 64;
	in[8191 / 64] = before = 1ul << 63;
	ck_assert_int_eq(host_module()->socket_ops.select(s + 1, (fd_set *)in, NULL, NULL, NULL), 1);
	ck_assert_uint_eq(in[s / 64], 1ul << s % 64);
	ck_assert_uint_eq(in[8191 / 64], before);
}
END_TEST

static void *select_for_ever(void *arg)
{
	atomic_bool *stop = arg;

	while (!*stop) {
		unsigned long in[8192 / 64];

		memset(in, 0xff, sizeof(in));
		if (host_module()->socket_ops.select(64, (fd_set *)in, NULL, NULL, NULL) < 0)
			return (void *)1;
	}
	return NULL;
}

START_TEST(select_of_nstacks_thread_races_with_close)
{
	atomic_bool stop = false;
	pthread_t thread;
	int listening;
	void *failed;

	app_start();
	listening = app_listener();
	pthread_create(&thread, NULL, select_for_ever, &stop);
	for (int i = 0; i < 20; i++) {
		struct ends e = app_pair_on(listening);

		app_send(e.a, "x");
		close(e.a);
		close(e.b);
	}
	stop = true;
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
}
END_TEST

/* -- fork -------------------------------------------------------------------------------------- */

static int use_in_child(struct ends e, int listening)
{
	uint32_t events;
	char byte;

	if (send(e.a, "x", 1, MSG_NOSIGNAL) != -1 || errno != ECONNRESET)
		return 1;
	if (recv(e.b, &byte, 1, 0) != -1 || errno != ECONNRESET)
		return 2;
	if (accept4(listening, NULL, NULL, 0) != -1 || errno != ECONNRESET)
		return 3;
	if (!(app_event_now(app_set(e.b, EPOLLIN)) & EPOLLERR))
		return 4;
	if (close(e.a) || close(e.b) || close(listening))
		return 5;
	/* A new start. Where sends are written to a device file, the kernel refuses them in a child of the process
	 * that opened it; then the connection has failed, and says so. */
	listening = app_listener();
	e.a = app_connecting(app_name(listening));
	events = app_event(app_set(e.a, EPOLLOUT));
	if (events & EPOLLERR)
		return app_socket_error(e.a) == EACCES ? 0 : 7;
	e.b = app_accept(listening);
	app_send(e.a, "child");
	app_expect(e.b, "child");
	if (recv(e.a, &byte, 1, 0) != -1 || errno != EAGAIN)
		return 6;
	return 0;
}

START_TEST(child_loses_its_parents_sockets_and_can_make_new_ones)
{
	int listening, status = -1;
	struct ends e;
	pid_t pid;

	app_start();
	listening = app_listener();
	e = app_pair_on(listening);
	pid = fork();
	if (pid == 0)
		_exit(use_in_child(e, listening));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* The parent's are what they were. */
	app_send(e.a, "parent");
	app_expect(e.b, "parent");
	e = app_pair_on(listening);
	app_send(e.b, "accepted");
	app_expect(e.a, "accepted");
}
END_TEST

/* -- the sample servers ------------------------------------------------------------------------ */

/*
 * DMM's sample servers count what a record still lacks, and forget the count at each event: they stall
 * when a record arrives in two pieces with EAGAIN in between. Over TCP that does not happen, as a record
 * that one call sent arrives as one; here records meet the ends of receive segments.
 */
enum { RECORD_MAX = 10000, ECHO_BYTES = 260 << 10 };

struct server {
	int fd;
	size_t len;
	int records;
	bool by_select;
};

static void wait_for_data(const struct server *s, int ep)
{
	struct epoll_event event;
	struct timeval late = { 2 * LIMIT_MS / 1000, 0 };
	fd_set in;

	if (!s->by_select) {
		epoll_wait(ep, &event, 1, 2 * LIMIT_MS);
		return;
	}
	FD_ZERO(&in);
	FD_SET(s->fd, &in);
	select(s->fd + 1, &in, NULL, NULL, &late);
}

static void *serve(void *arg)
{
	const struct server *s = arg;
	int ep = app_set(s->fd, EPOLLIN | EPOLLET), count = 0;
	char record[RECORD_MAX];

	while (count < s->records) {
		size_t have = 0;

		wait_for_data(s, ep);
		for (;;) {
			ssize_t n = recv(s->fd, record + have, s->len - have, 0);

			if (n <= 0)
				break;
			have += (size_t)n;
			if (have == s->len) {
				have = 0;
				count++;
				n = send(s->fd, record, s->len, MSG_NOSIGNAL);
				ck_assert_msg(n == (ssize_t)s->len, "the server could send %zd of %zu", n, s->len);
			}
		}
	}
	close(ep);
	return NULL;
}

static const size_t lengths[] = {
	1, 7, 64, 100, 200, 256, 500, 999, 1000, 1001, 1024, 1448, 2000, 3333, 4095, 4096, 4097, 5000,
	6000, 7777, 8191, 8192, 8193, 9000, 9999, 10000,
};

static void echo_records(struct ends e, size_t len, bool by_select)
{
	int records = len * 2000 > ECHO_BYTES ? ECHO_BYTES / (int)len : 2000;
	struct server s = { .fd = e.b, .len = len, .records = records, .by_select = by_select };
	struct timeval limit = { LIMIT_MS / 1000, 0 };
	char record[RECORD_MAX] = "";
	pthread_t thread;

	OK(setsockopt(e.a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, &s), 0);
	for (int i = 0; i < records; i++) {
		size_t have = 0;

		ck_assert_int_eq(send(e.a, record, len, MSG_NOSIGNAL), len);
		while (have < len) {
			ssize_t n = recv(e.a, record + have, len - have, 0);

			ck_assert_msg(n > 0, "stalled: record %d of %d, length %zu", i, records, len);
			have += (size_t)n;
		}
	}
	pthread_join(thread, NULL);
}

START_TEST(forgetful_server_serves_records_of_any_length)
{
	int listening;

	app_start();
	listening = app_listener();
	for (size_t i = 0; i < COUNT(lengths); i++) {
		struct ends e = app_pair_on(listening);

		app_set_nonblocking(e.a, false);
		echo_records(e, lengths[i], _i);
		close(e.a);
		close(e.b);
	}
	check_isolation();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dmm");
	TCase *tc;

	tc = group(s, "descriptors", 150);
	tcase_add_test(tc, numbers_are_dense_and_used_again);
	tcase_add_test(tc, no_number_beyond_maxfd);
	tcase_add_test(tc, connection_stays_in_the_queue_while_there_is_no_number);
	tcase_add_test(tc, type_flags_are_honoured);
	tcase_add_test(tc, accepted_socket_has_the_flags_of_accept4_alone);
	tcase_add_test(tc, ioctl_counts_bytes_and_sets_nonblocking);

	tc = group(s, "data", 150);
	tcase_add_loop_test(tc, every_data_call_moves_data, 0, COUNT(movers));
	tcase_add_test(tc, absurd_lengths_are_cut_not_refused);
	tcase_add_test(tc, sending_after_own_shutdown_fails);

	tc = group(s, "connecting", 150);
	tcase_add_test(tc, established_connection_is_writable_and_no_more);
	tcase_add_test(tc, refused_connection_reports_out_err_hup);
	tcase_add_test(tc, connecting_needs_no_help);
	tcase_add_test(tc, listener_reports_until_all_are_accepted);
	tcase_add_test(tc, listener_reports_again_after_mod);

	tc = group(s, "epoll", 150);
	tcase_add_test(tc, events_are_masked);
	tcase_add_test(tc, level_is_reported_until_it_is_gone);
	tcase_add_test(tc, edge_reports_each_arrival_though_nothing_is_read);
	tcase_add_test(tc, data_that_was_there_before_is_reported_by_add);
	tcase_add_loop_test(tc, no_wakeup_is_lost, 0, 2);
	tcase_add_test(tc, writable_is_told_when_room_comes_back_only);
	tcase_add_loop_test(tc, oneshot_is_reported_once_until_mod, 0, 2);
	tcase_add_test(tc, one_descriptor_in_two_sets);
	tcase_add_test(tc, nothing_is_told_after_the_last_del);
	tcase_add_test(tc, close_without_del_ends_the_registration);
	tcase_add_test(tc, control_never_blocks_a_blocking_socket);
	tcase_add_test(tc, misuse_of_control_is_harmless);

	tc = group(s, "ends", 150);
	tcase_add_test(tc, half_close_is_in_and_rdhup_and_sending_goes_on);
	tcase_add_test(tc, close_of_the_peer_is_reported);
	tcase_add_test(tc, both_ends_closed_adds_hup);
	tcase_add_test(tc, killed_peer_is_an_event_and_an_error);
	tcase_add_test(tc, close_does_not_wait_for_a_peer_that_does_not_read);

	tc = group(s, "select", 150);
	tcase_add_loop_test(tc, select_tells_readable_and_writable, 0, 2);
	tcase_add_test(tc, select_tells_of_a_listener_and_of_the_end);
	tcase_add_test(tc, select_leaves_other_bits_alone);
	tcase_add_test(tc, select_of_nstacks_thread_races_with_close);

	tc = group(s, "fork", 150);
	tcase_add_test(tc, child_loses_its_parents_sockets_and_can_make_new_ones);

	tc = group(s, "sample servers", 900);
	tcase_add_loop_test(tc, forgetful_server_serves_records_of_any_length, 0, 2);
	return run_suite(s);
}
