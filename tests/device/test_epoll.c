/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rsk_epoll_*() is epoll: level and edge triggered, one-shot, in every state of a socket. */
#include <poll.h>
#include <unistd.h>

#include "epoll.h"
#include "rawpeer.h"
#include "stream.h"

/* -- triggers ---------------------------------------------------------------------------------- */

START_TEST(level_triggered_member_is_reported_until_it_is_read)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);

	silent(ep);
	for (int i = 0; i < 3; i++) {
		say(p.a, "ab");
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		take(p.b, 1);
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		take(p.b, 1);
		silent(ep);
	}
}
END_TEST

START_TEST(level_triggered_member_is_reported_while_there_is_room)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 1 };
	int ep = instance_with(p.a, EPOLLOUT);

	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	s.bytes = fill_send_side(p.a, s.seed);
	silent(ep);
	stream_take(p.b, &s);
	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
}
END_TEST

START_TEST(report_holds_all_bits_that_were_asked_for)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLOUT | EPOLLRDHUP);

	say(p.a, "x");
	wait_for(p.b, POLLIN);
	ck_assert_uint_eq(reported(ep, p.b), EPOLLOUT);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EVERYTHING | EPOLLRDNORM));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN | EPOLLOUT | EPOLLRDNORM);
}
END_TEST

START_TEST(report_brings_back_the_data_of_its_last_change)
{
	struct pair p = pair_connected();
	struct epoll_event e = { EPOLLOUT, { .u64 = UINT64_C(0x123456789abcdef0) } }, got;
	int ep = instance();

	for (int op = EPOLL_CTL_ADD; op; op = op == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : 0) {
		e.data.u64++;
		OK(rsk_epoll_ctl(ep, op, p.a, &e));
		ck_assert_int_eq(rsk_epoll_wait(ep, &got, 1, LIMIT_MS), 1);
		ck_assert_uint_eq(got.data.u64, e.data.u64);
	}
}
END_TEST

START_TEST(edge_triggered_member_is_reported_once_for_each_arrival)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLET);

	silent(ep);
	for (int i = 0; i < 5; i++) {
		/* What came before is still unread. */
		say(p.a, "x");
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		silent(ep);
	}
	take(p.b, 5);
	silent(ep);
}
END_TEST

START_TEST(partial_read_gives_no_edge_but_the_next_arrival_does)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLET);

	say(p.a, "0123456789");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 5);
	silent(ep);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 6);
}
END_TEST

/* Who reads less than there was room for need not read again (epoll(7)): it relies on an edge for the end. */
START_TEST(end_is_an_edge_though_data_is_unread)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLET);
	char buf[64];

	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	OK(rsk_shutdown(p.a, SHUT_WR));
	wait_for(p.b, POLLRDHUP);
	ck_assert_int_eq(rsk_recv(p.b, buf, sizeof(buf), MSG_DONTWAIT), 1);
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	silent(ep);
}
END_TEST

START_TEST(edge_of_what_is_there_comes_when_added_and_when_modified)
{
	struct pair p = pair_connected();
	int ep = instance();

	say(p.a, "x");
	wait_for(p.b, POLLIN);
	add(ep, p.b, EPOLLIN | EPOLLET);
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN | EPOLLET));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	silent(ep);
}
END_TEST

START_TEST(room_is_an_edge_only_after_a_send_found_none)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 2, .bytes = 1000 };
	int ep = instance_with(p.a, EPOLLOUT | EPOLLET);

	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	stream_pass(p.a, p.b, &s);
	silent(ep);
	for (int i = 0; i < 3; i++) {
		s.bytes = fill_send_side(p.a, s.seed);
		/* The last send is still without room: nothing else was told meanwhile. */
		while (rsk_epoll_wait(ep, &(struct epoll_event){ 0 }, 1, 0))
			;
		stream_take(p.b, &s);
		ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	}
}
END_TEST

START_TEST(arrival_is_no_edge_for_who_waits_for_room)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLOUT | EPOLLET);

	ck_assert_uint_eq(reported(ep, p.b), EPOLLOUT);
	say(p.a, "x");
	wait_for(p.b, POLLIN);
	silent(ep);
}
END_TEST

START_TEST(one_shot_member_is_silent_until_it_is_modified)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLONESHOT | (_i ? EPOLLET : 0));

	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	say(p.a, "y");
	wait_for(p.b, POLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN | EPOLLONESHOT | (_i ? EPOLLET : 0)));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 2);
	/* Not even what comes unasked. */
	OK(rsk_close(p.a));
	wait_for(p.b, POLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN | EPOLLONESHOT));
	ck_assert_uint_ne(reported(ep, p.b) & EPOLLIN, 0);
}
END_TEST

/* -- states ------------------------------------------------------------------------------------ */

START_TEST(new_socket_is_reported_as_tcps)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int ep = instance_with(fd, EVERYTHING);

	ck_assert_uint_eq(reported(ep, fd), EPOLLOUT | EPOLLHUP);
}
END_TEST

START_TEST(listener_is_reported_while_a_connection_waits)
{
	int listening = listener(), fd[2];
	struct address there = local_address(listening);
	int ep = instance_with(listening, EPOLLIN);

	silent(ep);
	for (size_t i = 0; i < COUNT(fd); i++)
		fd[i] = connected_to(&there);
	for (size_t i = 0; i < COUNT(fd); i++) {
		ck_assert_uint_eq(reported(ep, listening), EPOLLIN);
		accept_from(listening);
	}
	silent(ep);
}
END_TEST

START_TEST(edge_triggered_listener_is_reported_for_each_connection)
{
	int listening = listener();
	struct address there = local_address(listening);
	int ep = instance_with(listening, EPOLLIN | EPOLLET);

	for (int i = 0; i < 3; i++) {
		connected_to(&there);
		ck_assert_uint_eq(reported(ep, listening), EPOLLIN);
		silent(ep);
	}
}
END_TEST

START_TEST(member_is_watched_from_new_to_connected)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int ep = instance_with(fd, EVERYTHING | (_i ? EPOLLET : 0));

	ck_assert_uint_eq(reported(ep, fd), EPOLLOUT | EPOLLHUP);
	set_nonblocking(fd, true);
	FAILS(rsk_connect(fd, &there.any, there.len), EINPROGRESS);
	raw_take_request(&r);
	silent(ep);
	raw_accept(&r, NULL);
	ck_assert_uint_eq(reported(ep, fd), EPOLLOUT);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
}
END_TEST

START_TEST(refused_connect_is_reported)
{
	struct address there = address_deserted();
	int fd = connect_begun(&there, NO_OPTIONS);
	int ep = instance_with(fd, EVERYTHING | (_i ? EPOLLET : 0));

	ck_assert_uint_eq(reported(ep, fd), EVERYTHING | UNASKED);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
}
END_TEST

START_TEST(failure_is_reported_unasked)
{
	struct address there = address_deserted();
	int fd = connect_begun(&there, NO_OPTIONS);
	int ep = instance_with(fd, 0);

	ck_assert_uint_eq(reported(ep, fd), UNASKED);
}
END_TEST

START_TEST(failed_connection_is_reported)
{
	int listening = listener(), fd, ep;
	struct address there = local_address(listening);
	struct raw r;

	raw_connect(&r, &there, NULL);
	ck_assert_int_eq(raw_event(&r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	ep = instance_with(fd, EPOLLIN | (_i ? EPOLLET : 0));
	silent(ep);
	raw_drop(&r);
	ck_assert_uint_eq(reported(ep, fd), EPOLLIN | UNASKED);
}
END_TEST

START_TEST(half_close_is_reported_then_the_other_half)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLRDHUP | (_i ? EPOLLET : 0));

	silent(ep);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLRDHUP);
	OK(rsk_shutdown(p.b, SHUT_WR));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLRDHUP | EPOLLHUP);
}
END_TEST

START_TEST(closed_member_disappears)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | (_i ? EPOLLET : 0));

	/* Also when its report waits already. */
	say(p.a, "x");
	wait_for(p.b, POLLIN);
	OK(rsk_close(p.b));
	silent(ep);
	FAILS(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN), EBADF);
}
END_TEST

/* A new socket of that number. */
static int socket_numbered(int number)
{
	int fd, tries = 0;

	do {
		ck_assert_int_lt(tries++, 100);
		fd = socket_with(AF_INET, NO_OPTIONS);
	} while (fd != number);
	return fd;
}

START_TEST(number_of_a_closed_member_is_free_for_another)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN), other, pipe_ends[2];

	OK(rsk_close(p.b));
	other = socket_numbered(p.b);
	FAILS(change(ep, EPOLL_CTL_MOD, other, EPOLLIN), ENOENT);
	add(ep, other, EPOLLOUT);
	ck_assert_uint_eq(reported(ep, other), EPOLLOUT | EPOLLHUP);

	/* And back and forth between ours and the kernel's. */
	OK(rsk_close(other));
	number_pipe(pipe_ends, other);
	FAILS(change(ep, EPOLL_CTL_DEL, other, 0), ENOENT);
	add(ep, pipe_ends[0], EPOLLIN);
	silent(ep);
	ck_assert_int_eq(write(pipe_ends[1], "x", 1), 1);
	ck_assert_uint_eq(reported(ep, pipe_ends[0]), EPOLLIN);
	close(pipe_ends[0]);
	silent(ep);
	other = socket_numbered(pipe_ends[0]);
	add(ep, other, EPOLLOUT);
	ck_assert_uint_eq(reported(ep, other), EPOLLOUT | EPOLLHUP);
}
END_TEST

START_TEST(removed_member_is_silent_and_can_come_back)
{
	struct pair p = pair_connected();
	int ep = instance();

	for (int i = 0; i < 3; i++) {
		add(ep, p.b, EPOLLIN | EPOLLET);
		say(p.a, "x");
		wait_for(p.b, POLLIN);
		OK(change(ep, EPOLL_CTL_DEL, p.b, 0));
		silent(ep);
		take(p.b, 1);
	}
	add(ep, p.b, EPOLLIN);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("epoll");
	TCase *tc;

	tc = group(s, "triggers", 150);
	tcase_add_test(tc, level_triggered_member_is_reported_until_it_is_read);
	tcase_add_test(tc, level_triggered_member_is_reported_while_there_is_room);
	tcase_add_test(tc, report_holds_all_bits_that_were_asked_for);
	tcase_add_test(tc, report_brings_back_the_data_of_its_last_change);
	tcase_add_test(tc, edge_triggered_member_is_reported_once_for_each_arrival);
	tcase_add_test(tc, partial_read_gives_no_edge_but_the_next_arrival_does);
	tcase_add_test(tc, end_is_an_edge_though_data_is_unread);
	tcase_add_test(tc, edge_of_what_is_there_comes_when_added_and_when_modified);
	tcase_add_test(tc, room_is_an_edge_only_after_a_send_found_none);
	tcase_add_test(tc, arrival_is_no_edge_for_who_waits_for_room);
	tcase_add_loop_test(tc, one_shot_member_is_silent_until_it_is_modified, 0, 2);

	tc = group(s, "states", 150);
	tcase_add_test(tc, new_socket_is_reported_as_tcps);
	tcase_add_test(tc, listener_is_reported_while_a_connection_waits);
	tcase_add_test(tc, edge_triggered_listener_is_reported_for_each_connection);
	tcase_add_loop_test(tc, member_is_watched_from_new_to_connected, 0, 2);
	tcase_add_loop_test(tc, refused_connect_is_reported, 0, 2);
	tcase_add_test(tc, failure_is_reported_unasked);
	tcase_add_loop_test(tc, failed_connection_is_reported, 0, 2);
	tcase_add_loop_test(tc, half_close_is_reported_then_the_other_half, 0, 2);
	tcase_add_loop_test(tc, closed_member_disappears, 0, 2);
	tcase_add_test(tc, number_of_a_closed_member_is_free_for_another);
	tcase_add_test(tc, removed_member_is_silent_and_can_come_back);
	return run_suite(s);
}
