/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The descriptor in a program's own event loop, by poll(2) and epoll(7): readable means that it is
 * time to look again, whatever is being waited for; and it is not readable for long in vain.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

static bool readable_in_kernel(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

/*
 * Calls until it would block, as a loop does, until the descriptor rests. Answers of the peer may
 * still raise it a few times, but something that never rests makes the loop spin.
 */
static void comes_to_rest(int fd, ssize_t (*make)(int fd))
{
	int rounds = 0;

	do {
		ck_assert_int_lt(rounds++, 100);
		FAILS(make(fd), EAGAIN);
	} while (readable_in_kernel(fd, QUIET_MS));
}

/* Calls until it would not block, as a loop does, each time that the descriptor is readable. */
static ssize_t comes_in_time(int fd, ssize_t (*make)(int fd))
{
	ssize_t n;

	do {
		wait_readable_in_kernel(fd);
		n = make(fd);
	} while (n < 0 && errno == EAGAIN);
	return n;
}

static ssize_t receive(int fd)
{
	char buf[100];

	return rsk_recv(fd, buf, sizeof(buf), 0);
}

static ssize_t send_some(int fd)
{
	static const char zeros[10000];

	return rsk_send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL);
}

static struct pair pair_at_rest(void)
{
	struct pair p = pair_connected();

	set_nonblocking(p.b, true);
	comes_to_rest(p.b, receive);
	return p;
}

START_TEST(data_makes_the_descriptor_readable)
{
	struct pair p = pair_at_rest();

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
		ck_assert_int_eq(comes_in_time(p.b, receive), 1);
		comes_to_rest(p.b, receive);
	}
}
END_TEST

START_TEST(descriptor_stays_readable_until_data_is_read)
{
	struct pair p = pair_at_rest();
	char byte;

	ck_assert_int_eq(rsk_send(p.a, "ab", 2, 0), 2);
	wait_for(p.b, POLLIN);
	for (int i = 0; i < 3; i++)
		ck_assert(readable_in_kernel(p.b, LIMIT_MS));
	ck_assert_int_eq(rsk_recv(p.b, &byte, 1, 0), 1);
	ck_assert(readable_in_kernel(p.b, LIMIT_MS));
	ck_assert_int_eq(rsk_recv(p.b, &byte, 1, 0), 1);
	comes_to_rest(p.b, receive);
}
END_TEST

START_TEST(end_of_file_makes_the_descriptor_readable)
{
	struct pair p = pair_at_rest();

	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_int_eq(comes_in_time(p.b, receive), 0);
}
END_TEST

START_TEST(closing_peer_makes_the_descriptor_readable)
{
	struct pair p = pair_at_rest();

	OK(rsk_close(p.a));
	ck_assert_int_eq(comes_in_time(p.b, receive), 0);
}
END_TEST

START_TEST(room_makes_the_descriptor_readable)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 10 };

	set_nonblocking(p.a, true);
	s.bytes = fill_send_side(p.a, s.seed);
	comes_to_rest(p.a, send_some);
	stream_take(p.b, &s);
	ck_assert_int_gt(comes_in_time(p.a, send_some), 0);
}
END_TEST

START_TEST(connection_makes_the_listener_readable)
{
	int listening = listener();
	struct address there = local_address(listening);

	set_nonblocking(listening, true);
	comes_to_rest(listening, call_accept);
	for (int i = 0; i < 3; i++) {
		int fd = connect_begun(&there, NO_OPTIONS);

		ck_assert_int_ge(comes_in_time(listening, call_accept), 0);
		connect_finished(fd);
		comes_to_rest(listening, call_accept);
	}
}
END_TEST

static ssize_t look_for_decision(int fd)
{
	errno = EAGAIN;
	return ready_now(fd, POLLOUT) ? 0 : -1;
}

START_TEST(established_connection_makes_the_descriptor_readable)
{
	struct address there = local_address(listener());
	int fd = connect_begun(&there, NO_OPTIONS);

	while (look_for_decision(fd) < 0)
		wait_readable_in_kernel(fd);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
}
END_TEST

START_TEST(refused_connection_makes_the_descriptor_readable)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	comes_to_rest(fd, look_for_decision);
	raw_reject(&r);
	ck_assert_int_eq(comes_in_time(fd, look_for_decision), 0);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
}
END_TEST

START_TEST(undecided_connect_lets_the_descriptor_rest)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	comes_to_rest(fd, look_for_decision);
	raw_accept(&r, NULL);
	ck_assert_int_eq(comes_in_time(fd, look_for_decision), 0);
	connect_finished(fd);
}
END_TEST

/*
 * A stream from a to b through epoll(7): each end is worked on only after its event, and then until
 * it would block.
 */
struct worker {
	int fd;
	uint64_t moved;
};

static void work_sender(struct worker *w, const struct stream *s)
{
	char buf[5000];

	while (w->moved < s->bytes) {
		uint64_t left = s->bytes - w->moved;
		size_t len = left < sizeof(buf) ? left : sizeof(buf);
		ssize_t n;

		pattern_fill(buf, len, s->seed, w->moved);
		n = rsk_send(w->fd, buf, len, MSG_NOSIGNAL);
		if (n < 0) {
			FAILS(n, EAGAIN);
			return;
		}
		w->moved += n;
	}
}

static void work_receiver(struct worker *w, const struct stream *s)
{
	char buf[3000];
	ssize_t n;

	while ((n = rsk_recv(w->fd, buf, sizeof(buf), 0)) > 0) {
		pattern_check(buf, n, s->seed, w->moved);
		w->moved += n;
	}
	FAILS(n, EAGAIN);
}

static void watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e), 0);
}

static void pump_by_epoll(struct pair p, uint32_t mode)
{
	const struct stream s = { .seed = 11, .bytes = MIB };
	struct worker sender = { .fd = p.a }, receiver = { .fd = p.b };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	set_nonblocking(p.a, true);
	set_nonblocking(p.b, true);
	watch(epoll, p.a, EPOLLIN | mode);
	watch(epoll, p.b, EPOLLIN | mode);
	work_sender(&sender, &s);
	work_receiver(&receiver, &s);
	while (receiver.moved < s.bytes) {
		struct epoll_event e;

		ck_assert_msg(epoll_wait(epoll, &e, 1, LIMIT_MS) == 1,
			      "no event with %llu sent, %llu received",
			      (unsigned long long)sender.moved, (unsigned long long)receiver.moved);
		if (e.data.fd == p.b)
			work_receiver(&receiver, &s);
		else if (sender.moved < s.bytes)
			work_sender(&sender, &s);
		else
			FAILS(receive(p.a), EAGAIN);
	}
	close(epoll);
}

START_TEST(level_triggered_epoll_drives_a_transfer)
{
	pump_by_epoll(_i ? pair_narrow() : pair_connected(), 0);
}
END_TEST

START_TEST(edge_triggered_epoll_drives_a_transfer)
{
	pump_by_epoll(_i ? pair_narrow() : pair_connected(), EPOLLET);
}
END_TEST

START_TEST(edge_triggered_epoll_reports_each_arrival_after_would_block)
{
	struct pair p = pair_at_rest();
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e;

	watch(epoll, p.b, EPOLLIN | EPOLLET);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
		while (receive(p.b) != 1)
			ck_assert_int_eq(epoll_wait(epoll, &e, 1, LIMIT_MS), 1);
		FAILS(receive(p.b), EAGAIN);
	}
	OK(rsk_shutdown(p.a, SHUT_WR));
	while (receive(p.b) != 0)
		ck_assert_int_eq(epoll_wait(epoll, &e, 1, LIMIT_MS), 1);
}
END_TEST

START_TEST(edge_triggered_epoll_reports_each_connection_after_would_block)
{
	int listening = listener(), epoll = epoll_create1(EPOLL_CLOEXEC), fd;
	struct address there = local_address(listening);
	struct epoll_event e;

	set_nonblocking(listening, true);
	watch(epoll, listening, EPOLLIN | EPOLLET);
	for (int i = 0; i < 3; i++) {
		FAILS(rsk_accept(listening, NULL, NULL), EAGAIN);
		connect_begun(&there, NO_OPTIONS);
		while ((fd = rsk_accept(listening, NULL, NULL)) < 0)
			ck_assert_int_eq(epoll_wait(epoll, &e, 1, LIMIT_MS), 1);
		OK(rsk_close(fd));
	}
}
END_TEST

START_TEST(closed_descriptor_leaves_epoll)
{
	struct pair p = pair_at_rest();
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e;

	watch(epoll, p.b, EPOLLIN);
	OK(rsk_close(p.b));
	ck_assert_int_eq(epoll_wait(epoll, &e, 1, QUIET_MS), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("eventloop");
	TCase *tc;

	tc = group(s, "foreign loop", 150);
	tcase_add_test(tc, data_makes_the_descriptor_readable);
	tcase_add_test(tc, descriptor_stays_readable_until_data_is_read);
	tcase_add_test(tc, end_of_file_makes_the_descriptor_readable);
	tcase_add_test(tc, closing_peer_makes_the_descriptor_readable);
	tcase_add_test(tc, room_makes_the_descriptor_readable);
	tcase_add_test(tc, connection_makes_the_listener_readable);
	tcase_add_test(tc, established_connection_makes_the_descriptor_readable);
	tcase_add_test(tc, refused_connection_makes_the_descriptor_readable);
	tcase_add_test(tc, undecided_connect_lets_the_descriptor_rest);
	tcase_add_loop_test(tc, level_triggered_epoll_drives_a_transfer, 0, 2);
	tcase_add_loop_test(tc, edge_triggered_epoll_drives_a_transfer, 0, 2);
	tcase_add_test(tc, edge_triggered_epoll_reports_each_arrival_after_would_block);
	tcase_add_test(tc, edge_triggered_epoll_reports_each_connection_after_would_block);
	tcase_add_test(tc, closed_descriptor_leaves_epoll);
	return run_suite(s);
}
