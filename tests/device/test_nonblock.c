/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Calls that do not block or not for long, and rsk_poll(), which tells when to call again. */
#include <limits.h>
#include <sys/time.h>
#include <unistd.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

/* -- connecting -------------------------------------------------------------------------------- */

START_TEST(connect_under_way_says_so)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	FAILS(rsk_connect(fd, &there.any, there.len), EALREADY);
	FAILS(rsk_connect(fd, &there.any, there.len), EALREADY);
	ck_assert_int_eq(ready_now(fd, POLLIN | POLLOUT), 0);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
	OK(rsk_close(fd));
}
END_TEST

START_TEST(connect_completes_with_pollout_and_no_error)
{
	int listening = listener();
	struct address there = local_address(listening);
	int fd = connect_begun(&there, NO_OPTIONS);

	ck_assert_int_eq(wait_for(fd, POLLIN | POLLOUT), POLLOUT);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
	check_connected(fd, accept_from(listening));
}
END_TEST

START_TEST(connecting_again_when_connected_is_refused)
{
	struct pair p = pair_connected();
	struct address there = peer_address(p.a);

	/* The first call after one that was under way says how that went, as in Linux. */
	OK(rsk_connect(p.a, &there.any, there.len));
	FAILS(rsk_connect(p.a, &there.any, there.len), EISCONN);
	FAILS(rsk_connect(p.b, &there.any, there.len), EISCONN);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(socket_made_nonblocking_connects_without_blocking)
{
	int listening = listener();
	struct address there = local_address(listening);
	int fd = rsk_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	if (rsk_connect(fd, &there.any, there.len) < 0)
		FAILS(-1, EINPROGRESS);
	connect_finished(fd);
}
END_TEST

/* -- would block ------------------------------------------------------------------------------- */

START_TEST(nothing_to_accept_would_block)
{
	int listening = listener();

	set_nonblocking(listening, true);
	FAILS(rsk_accept(listening, NULL, NULL), EAGAIN);
	FAILS(rsk_accept4(listening, NULL, NULL, SOCK_CLOEXEC), EAGAIN);
}
END_TEST

START_TEST(nothing_to_receive_would_block)
{
	struct pair p = pair_connected();
	char buf[8];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };

	set_nonblocking(p.a, true);
	FAILS(rsk_recv(p.a, buf, sizeof(buf), 0), EAGAIN);
	FAILS(rsk_recv(p.a, buf, sizeof(buf), MSG_PEEK), EAGAIN);
	FAILS(rsk_recv(p.a, buf, sizeof(buf), MSG_WAITALL), EAGAIN);
	FAILS(rsk_read(p.a, buf, sizeof(buf)), EAGAIN);
	FAILS(rsk_readv(p.a, &iov, 1), EAGAIN);
	FAILS(rsk_recvfrom(p.a, buf, sizeof(buf), 0, NULL, NULL), EAGAIN);
	FAILS(rsk_recvmsg(p.a, &(struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 }, 0), EAGAIN);
}
END_TEST

START_TEST(dontwait_does_not_block_on_a_blocking_socket)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 1 };
	char byte;

	FAILS(rsk_recv(p.a, &byte, 1, MSG_DONTWAIT), EAGAIN);
	s.bytes = fill_send_side(p.a, s.seed);
	FAILS(rsk_send(p.a, "x", 1, MSG_DONTWAIT), EAGAIN);
	stream_take(p.b, &s);
}
END_TEST

START_TEST(full_send_side_has_room_again_once_drained)
{
	struct pair p = _i ? pair_narrow() : pair_connected();
	struct stream s = { .seed = 2 }, more = { .seed = 3, .bytes = 100 };

	s.bytes = fill_send_side(p.a, s.seed);
	ck_assert_uint_gt(s.bytes, 0);
	ck_assert_int_eq(ready_now(p.a, POLLOUT), 0);
	stream_take(p.b, &s);
	ck_assert_int_eq(wait_for(p.a, POLLOUT), POLLOUT);
	stream_pass(p.a, p.b, &more);
}
END_TEST

START_TEST(other_direction_flows_while_one_is_full)
{
	struct pair p = pair_narrow();
	struct stream full = { .seed = 4 }, back = { .seed = 5, .bytes = 500000 };

	full.bytes = fill_send_side(p.a, full.seed);
	stream_pass(p.b, p.a, &back);
	stream_take(p.b, &full);
}
END_TEST

START_TEST(send_takes_as_much_as_there_is_room_for)
{
	struct pair p = pair_narrow();
	static char data[4 * MIB];
	struct stream s = { .seed = 6 };
	ssize_t n;

	pattern_fill(data, sizeof(data), s.seed, 0);
	n = rsk_send(p.a, data, sizeof(data), MSG_DONTWAIT);
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, sizeof(data));
	s.bytes = n;
	stream_take(p.b, &s);
	FAILS(rsk_recv(p.b, data, 1, MSG_DONTWAIT), EAGAIN);
}
END_TEST

START_TEST(blocking_and_nonblocking_ends_mix)
{
	struct pair p = pair_connected();
	struct stream ab = { .seed = 7, .bytes = 2 * MIB }, ba = { .seed = 8, .bytes = MIB };

	set_nonblocking(p.a, _i & 1);
	set_nonblocking(p.b, _i & 2);
	stream_both_ways(p, &ab, &ba);
}
END_TEST

/* -- time limits ------------------------------------------------------------------------------- */

#define SHORT_MS 150

static void limit_time(int fd, int option)
{
	struct timeval limit = { .tv_usec = SHORT_MS * 1000 };

	OK(rsk_setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit)));
}

START_TEST(receive_ends_after_its_time_limit)
{
	struct pair p = pair_connected();
	uint64_t start = now_ms();
	char byte;

	limit_time(p.a, SO_RCVTIMEO);
	FAILS(rsk_recv(p.a, &byte, 1, 0), EAGAIN);
	ck_assert_uint_ge(now_ms() - start, SHORT_MS);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(receive_of_all_returns_what_came_within_its_time_limit)
{
	struct pair p = pair_connected();
	char got[16];

	limit_time(p.a, SO_RCVTIMEO);
	ck_assert_int_eq(rsk_send(p.b, "part", 4, 0), 4);
	wait_for(p.a, POLLIN);
	ck_assert_int_eq(rsk_recv(p.a, got, sizeof(got), MSG_WAITALL), 4);
}
END_TEST

START_TEST(accept_ends_after_its_time_limit)
{
	int listening = listener();
	uint64_t start = now_ms();

	limit_time(listening, SO_RCVTIMEO);
	FAILS(rsk_accept(listening, NULL, NULL), EAGAIN);
	ck_assert_uint_ge(now_ms() - start, SHORT_MS);
	pair_close(pair_on(listening));
}
END_TEST

START_TEST(send_ends_after_its_time_limit)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 9 };
	uint64_t start;

	s.bytes = fill_send_side(p.a, s.seed);
	limit_time(p.a, SO_SNDTIMEO);
	start = now_ms();
	FAILS(rsk_send(p.a, "x", 1, 0), EAGAIN);
	ck_assert_uint_ge(now_ms() - start, SHORT_MS);
	stream_take(p.b, &s);
}
END_TEST

START_TEST(send_returns_what_went_within_its_time_limit)
{
	struct pair p = pair_narrow();
	ssize_t n;

	limit_time(p.a, SO_SNDTIMEO);
	n = call_send_4mib(p.a);
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, 4 * MIB);
}
END_TEST

START_TEST(receive_that_waits_for_another_ends_after_its_time_limit)
{
	struct pair p = pair_connected();
	struct call first;
	char byte;

	call_blocks(&first, call_recv, p.a);
	limit_time(p.a, SO_RCVTIMEO);
	FAILS(rsk_recv(p.a, &byte, 1, 0), EAGAIN);
	say(p.b, "x");
	call_returns(&first);
	ck_assert_int_eq(first.ret, 1);
}
END_TEST

START_TEST(send_that_waits_for_another_ends_after_its_time_limit)
{
	struct pair p = pair_narrow();
	struct call first;

	fill_send_side(p.a, 10);
	call_blocks(&first, call_send_4mib, p.a);
	limit_time(p.a, SO_SNDTIMEO);
	FAILS(rsk_send(p.a, "x", 1, 0), EAGAIN);
	OK(rsk_close(p.b));
	call_returns(&first);
}
END_TEST

START_TEST(connect_ends_after_its_time_limit)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = socket_with(AF_INET, NO_OPTIONS);
	uint64_t start = now_ms();

	limit_time(fd, SO_SNDTIMEO);
	/* As on Linux TCP: the attempt goes on. */
	FAILS(rsk_connect(fd, &there.any, there.len), EINPROGRESS);
	ck_assert_uint_ge(now_ms() - start, SHORT_MS);
	set_nonblocking(fd, true);
	FAILS(rsk_connect(fd, &there.any, there.len), EALREADY);
}
END_TEST

/* -- rsk_poll ---------------------------------------------------------------------------------- */

START_TEST(fresh_socket_polls_as_hung_up)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	ck_assert_int_eq(ready_now(fd, POLLIN | POLLOUT), POLLOUT | POLLHUP);
}
END_TEST

START_TEST(connected_socket_is_writable_and_not_readable)
{
	struct pair p = pair_connected();

	ck_assert_int_eq(ready_now(p.a, POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
	ck_assert_int_eq(ready_now(p.b, POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
	ck_assert_int_eq(ready_now(p.a, POLLIN), 0);
	ck_assert_int_eq(ready_now(p.a, 0), 0);
}
END_TEST

START_TEST(data_is_reported_until_it_is_read)
{
	struct pair p = pair_connected();
	char byte;

	ck_assert_int_eq(rsk_send(p.a, "ab", 2, 0), 2);
	ck_assert_int_eq(wait_for(p.b, POLLIN), POLLIN);
	ck_assert_int_eq(rsk_recv(p.b, &byte, 1, 0), 1);
	ck_assert_int_eq(wait_for(p.b, POLLIN), POLLIN);
	ck_assert_int_eq(rsk_recv(p.b, &byte, 1, 0), 1);
	ck_assert_int_eq(ready_now(p.b, POLLIN), 0);
}
END_TEST

START_TEST(waiting_connections_are_reported_until_accepted)
{
	int listening = listener();
	struct address there = local_address(listening);

	ck_assert_int_eq(ready_now(listening, POLLIN | POLLOUT), 0);
	connected_to(&there);
	connected_to(&there);
	ck_assert_int_eq(wait_for(listening, POLLIN), POLLIN);
	accept_from(listening);
	accept_from(listening);
	ck_assert_int_eq(ready_now(listening, POLLIN), 0);
}
END_TEST

START_TEST(end_of_one_direction_is_reported_as_rdhup)
{
	struct pair p = pair_connected();

	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_int_eq(wait_for(p.b, POLLRDHUP), POLLRDHUP);
	ck_assert_int_eq(ready_now(p.b, POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
	ck_assert_int_eq(ready_now(p.a, POLLIN | POLLRDHUP), 0);
}
END_TEST

START_TEST(end_of_both_directions_is_reported_as_hup)
{
	struct pair p = pair_connected();

	OK(rsk_shutdown(p.a, SHUT_WR));
	check_end_of_file(p.b);
	OK(rsk_shutdown(p.b, SHUT_WR));
	ck_assert_int_eq(wait_for(p.a, POLLIN) & ~POLLRDNORM, POLLIN | POLLHUP);
	ck_assert_int_eq(wait_for(p.b, POLLIN) & ~POLLRDNORM, POLLIN | POLLHUP);
}
END_TEST

START_TEST(closed_descriptor_is_invalid_and_negative_one_is_skipped)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	struct pair p = pair_connected();
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = -1, .events = POLLIN, .revents = -1 },
		{ .fd = p.a, .events = POLLOUT },
	};

	OK(rsk_close(fd));
	ck_assert_int_eq(rsk_poll(fds, COUNT(fds), -1), 2);
	ck_assert_int_eq(fds[0].revents, POLLNVAL);
	ck_assert_int_eq(fds[1].revents, 0);
	ck_assert_int_eq(fds[2].revents, POLLOUT);
}
END_TEST

START_TEST(kernel_descriptors_mix_with_sockets)
{
	struct pair p = pair_connected();
	struct pollfd fds[] = { { .events = POLLIN }, { .events = POLLIN }, { .events = POLLOUT } };
	int pipes[2];
	char byte;

	ck_assert_int_eq(pipe(pipes), 0);
	fds[0].fd = p.b;
	fds[1].fd = pipes[0];
	fds[2].fd = pipes[1];
	ck_assert_int_eq(rsk_poll(fds, 2, 0), 0);
	ck_assert_int_eq(rsk_poll(fds, 3, -1), 1);
	ck_assert_int_eq(fds[2].revents, POLLOUT);

	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	ck_assert_int_eq(rsk_poll(fds, 2, -1), 1);
	ck_assert_int_eq(fds[0].revents, 0);
	ck_assert_int_eq(fds[1].revents, POLLIN);

	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	wait_for(p.b, POLLIN);
	ck_assert_int_eq(rsk_poll(fds, 2, -1), 2);
	ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
	ck_assert_int_eq(rsk_poll(fds, 2, -1), 1);
	ck_assert_int_eq(fds[0].revents, POLLIN);
	ck_assert_int_eq(fds[1].revents, 0);
}
END_TEST

static int watched_pipe;

static ssize_t poll_socket_and_pipe(int fd)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = watched_pipe, .events = POLLIN } };

	ck_assert_int_eq(rsk_poll(fds, 2, -1), 1);
	return fds[0].revents ? 1 : 2;
}

START_TEST(sleeping_poll_wakes_for_either_kind)
{
	struct pair p = pair_connected();
	struct call polling;
	int pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	watched_pipe = pipes[0];
	call_blocks(&polling, poll_socket_and_pipe, p.b);
	if (_i == 0)
		ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	else
		ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	call_returns(&polling);
	ck_assert_int_eq(polling.ret, _i + 1);
}
END_TEST

START_TEST(one_of_many_is_found)
{
	enum { MANY = 30 };
	int listening = listener();
	struct pollfd fds[MANY];
	struct pair p[MANY];

	for (int i = 0; i < MANY; i++) {
		p[i] = pair_on(listening);
		fds[i] = (struct pollfd){ .fd = p[i].b, .events = POLLIN };
	}
	for (int i = 0; i < MANY; i++) {
		char byte;

		ck_assert_int_eq(rsk_send(p[i].a, "x", 1, 0), 1);
		ck_assert_int_eq(rsk_poll(fds, MANY, LIMIT_MS), 1);
		ck_assert_int_eq(fds[i].revents, POLLIN);
		ck_assert_int_eq(rsk_recv(p[i].b, &byte, 1, 0), 1);
	}
	ck_assert_int_eq(rsk_poll(fds, MANY, 0), 0);
}
END_TEST

static const int waits_ms[] = { 1, 20, 700 };

START_TEST(poll_waits_at_least_its_time)
{
	struct pair p = pair_connected();
	struct pollfd fd = { .fd = p.a, .events = POLLIN };
	uint64_t start = now_ms();

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(rsk_poll(&fd, 1, waits_ms[_i]), 0);
		ck_assert_int_eq(fd.revents, 0);
	}
	/* Each may lose the fraction of a millisecond to the clock. */
	ck_assert_uint_ge(now_ms() - start, 2 * waits_ms[_i] - 1);
	check_connected(p.a, p.b);
}
END_TEST

static void send_now_and_then(void *arg)
{
	const int *fd = arg;

	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(rsk_send(*fd, "x", 1, 0), 1);
		poll(NULL, 0, 10);
	}
}

/* Each arrival wakes it, and is not what it waits for. */
START_TEST(poll_that_wakes_in_vain_waits_its_time)
{
	struct pair p = pair_connected();
	struct pollfd fd = { .fd = p.b, .events = POLLRDHUP };
	uint64_t start = now_ms();
	struct task task;

	task_start(&task, send_now_and_then, &p.a);
	ck_assert_int_eq(rsk_poll(&fd, 1, 500), 0);
	ck_assert_uint_ge(now_ms() - start, 499);
	task_join(&task);
}
END_TEST

START_TEST(select_looks_at_descriptor_zero)
{
	struct pair p = pair_connected();
	struct timeval limit = { 60, 0 };
	fd_set in, out;
	int pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(dup2(pipes[0], 0), 0);
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	FD_ZERO(&in);
	FD_SET(0, &in);
	FD_SET(p.b, &in);
	FD_ZERO(&out);
	FD_SET(p.b, &out);
	ck_assert_int_eq(rsk_select(p.b + 1, &in, &out, NULL, &limit), 2);
	ck_assert(FD_ISSET(0, &in));
	ck_assert(!FD_ISSET(p.b, &in));
	ck_assert(FD_ISSET(p.b, &out));
}
END_TEST

START_TEST(poll_of_nothing_waits)
{
	uint64_t start = now_ms();

	ck_assert_int_eq(rsk_poll(NULL, 0, 50), 0);
	ck_assert_uint_ge(now_ms() - start, 49);
	ck_assert_int_eq(rsk_poll(NULL, 0, 0), 0);
}
END_TEST

START_TEST(poll_of_more_than_can_be_open_is_invalid)
{
	struct pollfd fd = { .fd = -1 };

	FAILS(rsk_poll(&fd, INT_MAX, 0), EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("nonblock");
	TCase *tc;

	tc = group(s, "connecting", 150);
	tcase_add_test(tc, connect_under_way_says_so);
	tcase_add_test(tc, connect_completes_with_pollout_and_no_error);
	tcase_add_test(tc, connecting_again_when_connected_is_refused);
	tcase_add_test(tc, socket_made_nonblocking_connects_without_blocking);

	tc = group(s, "would block", 150);
	tcase_add_test(tc, nothing_to_accept_would_block);
	tcase_add_test(tc, nothing_to_receive_would_block);
	tcase_add_test(tc, dontwait_does_not_block_on_a_blocking_socket);
	tcase_add_loop_test(tc, full_send_side_has_room_again_once_drained, 0, 2);
	tcase_add_test(tc, other_direction_flows_while_one_is_full);
	tcase_add_test(tc, send_takes_as_much_as_there_is_room_for);
	tcase_add_loop_test(tc, blocking_and_nonblocking_ends_mix, 1, 4);

	tc = group(s, "time limits", 150);
	tcase_add_test(tc, receive_ends_after_its_time_limit);
	tcase_add_test(tc, receive_of_all_returns_what_came_within_its_time_limit);
	tcase_add_test(tc, accept_ends_after_its_time_limit);
	tcase_add_test(tc, send_ends_after_its_time_limit);
	tcase_add_test(tc, send_returns_what_went_within_its_time_limit);
	tcase_add_test(tc, receive_that_waits_for_another_ends_after_its_time_limit);
	tcase_add_test(tc, send_that_waits_for_another_ends_after_its_time_limit);
	tcase_add_test(tc, connect_ends_after_its_time_limit);

	tc = group(s, "rsk_poll", 150);
	tcase_add_test(tc, fresh_socket_polls_as_hung_up);
	tcase_add_test(tc, connected_socket_is_writable_and_not_readable);
	tcase_add_test(tc, data_is_reported_until_it_is_read);
	tcase_add_test(tc, waiting_connections_are_reported_until_accepted);
	tcase_add_test(tc, end_of_one_direction_is_reported_as_rdhup);
	tcase_add_test(tc, end_of_both_directions_is_reported_as_hup);
	tcase_add_test(tc, closed_descriptor_is_invalid_and_negative_one_is_skipped);
	tcase_add_test(tc, kernel_descriptors_mix_with_sockets);
	tcase_add_loop_test(tc, sleeping_poll_wakes_for_either_kind, 0, 2);
	tcase_add_test(tc, one_of_many_is_found);
	tcase_add_loop_test(tc, poll_waits_at_least_its_time, 0, COUNT(waits_ms));
	tcase_add_test(tc, poll_that_wakes_in_vain_waits_its_time);
	tcase_add_test(tc, select_looks_at_descriptor_zero);
	tcase_add_test(tc, poll_of_nothing_waits);
	tcase_add_test(tc, poll_of_more_than_can_be_open_is_invalid);
	return run_suite(s);
}
