/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * An application's sockets under DMM: descriptors, data, connecting, fork. Each test is such an application; see
 * nstack.h.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "nstack.h"

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
	app_check_isolation();
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

int main(void)
{
	Suite *s = suite_create("dmm sockets");
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

	tc = group(s, "fork", 150);
	tcase_add_test(tc, child_loses_its_parents_sockets_and_can_make_new_ones);
	return run_suite(s);
}
