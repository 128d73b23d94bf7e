/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Any call from any thread: senders and receivers side by side, threads that take turns, and
 * threads that close or shut down what others are blocked in.
 */
#include <string.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

/* -- side by side ------------------------------------------------------------------------------ */

START_TEST(sender_and_receiver_on_each_side_do_not_disturb_each_other)
{
	struct stream ab = { .seed = 1, .bytes = 8 * MIB, .ragged = true };
	struct stream ba = { .seed = 2, .bytes = 8 * MIB, .ragged = true };

	stream_both_ways(pair_connected(), &ab, &ba);
}
END_TEST

START_TEST(narrow_pair_carries_both_directions_at_once)
{
	struct stream ab = { .seed = 3, .bytes = MIB, .ragged = true };
	struct stream ba = { .seed = 4, .bytes = MIB, .ragged = true };

	stream_both_ways(pair_narrow(), &ab, &ba);
}
END_TEST

START_TEST(many_sockets_carry_data_for_many_threads)
{
	enum { PAIRS = 8 };
	struct stream_end senders[2 * PAIRS], takers[2 * PAIRS];
	struct stream streams[2 * PAIRS];

	for (int i = 0; i < 2 * PAIRS; i += 2) {
		struct pair p = pair_connected();

		for (int way = i; way < i + 2; way++) {
			streams[way] = (struct stream){ .seed = way, .bytes = MIB / 2,
							.ragged = true };
			stream_send_in_thread(&senders[way], way == i ? p.a : p.b, &streams[way]);
			stream_take_in_thread(&takers[way], way == i ? p.b : p.a, &streams[way]);
		}
	}
	for (int i = 0; i < 2 * PAIRS; i++) {
		task_join(&senders[i].task);
		task_join(&takers[i].task);
	}
}
END_TEST

/* -- turns ------------------------------------------------------------------------------------- */

/* Bytes cannot be told apart when several threads move them; their number and sum can. */
struct share {
	int fd;
	uint64_t bytes;
	uint64_t sum;
	struct task task;
};

static uint64_t sum_of(const uint8_t *buf, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += buf[i];
	return sum;
}

static void take_a_share(void *arg)
{
	struct share *mine = arg;
	uint8_t buf[3000];
	ssize_t n;

	while ((n = rsk_recv(mine->fd, buf, sizeof(buf), 0)) > 0) {
		mine->bytes += n;
		mine->sum += sum_of(buf, n);
	}
	ck_assert_int_eq(n, 0);
}

static void send_a_share(void *arg)
{
	struct share *mine = arg;
	uint64_t left = mine->bytes;
	uint8_t buf[3000];

	while (left) {
		size_t len = left < sizeof(buf) ? left : sizeof(buf);

		pattern_fill(buf, len, mine->fd, left);
		ck_assert_int_eq(rsk_send(mine->fd, buf, len, 0), len);
		mine->sum += sum_of(buf, len);
		left -= len;
	}
}

static void share_stream(int senders, int receivers)
{
	struct share sent[4], taken[4];
	struct pair p = pair_connected();
	uint64_t bytes = 0, sum = 0;

	for (int i = 0; i < senders; i++) {
		sent[i] = (struct share){ .fd = p.a, .bytes = 500000 + i };
		bytes += sent[i].bytes;
		task_start(&sent[i].task, send_a_share, &sent[i]);
	}
	for (int i = 0; i < receivers; i++) {
		taken[i] = (struct share){ .fd = p.b };
		task_start(&taken[i].task, take_a_share, &taken[i]);
	}
	for (int i = 0; i < senders; i++) {
		task_join(&sent[i].task);
		sum += sent[i].sum;
	}
	OK(rsk_shutdown(p.a, SHUT_WR));
	for (int i = 0; i < receivers; i++) {
		task_join(&taken[i].task);
		bytes -= taken[i].bytes;
		sum -= taken[i].sum;
	}
	ck_assert_uint_eq(bytes, 0);
	ck_assert_uint_eq(sum, 0);
}

START_TEST(two_receivers_lose_no_byte)
{
	share_stream(1, 2);
}
END_TEST

START_TEST(two_senders_lose_no_byte)
{
	share_stream(2, 1);
}
END_TEST

START_TEST(several_of_both_lose_no_byte)
{
	share_stream(3, 3);
}
END_TEST

static struct call one, other;

static bool calls_returned(long goal)
{
	return one.task.done + other.task.done >= goal;
}

START_TEST(second_receiver_waits_its_turn)
{
	struct pair p = pair_connected();

	call_blocks(&one, call_recv, p.a);
	call_blocks(&other, call_recv, p.a);
	ck_assert_int_eq(rsk_send(p.b, "a", 1, 0), 1);
	wait_until(calls_returned, 1, "receives that returned");
	ck_assert_int_eq(rsk_send(p.b, "b", 1, 0), 1);
	call_returns(&one);
	call_returns(&other);
	ck_assert_int_eq(one.ret + other.ret, 2);
}
END_TEST

START_TEST(nonblocking_receive_is_not_held_up_by_a_blocked_one)
{
	struct pair p = pair_connected();
	struct call blocked;
	char byte;

	call_blocks(&blocked, call_recv, p.a);
	FAILS(rsk_recv(p.a, &byte, 1, MSG_DONTWAIT), EAGAIN);
	ck_assert_int_eq(ready_now(p.a, POLLIN), 0);
	ck_assert_int_eq(rsk_send(p.b, "a", 1, 0), 1);
	call_returns(&blocked);
	ck_assert_int_eq(blocked.ret, 1);
}
END_TEST

static ssize_t call_send_byte(int fd)
{
	return rsk_send(fd, "b", 1, 0);
}

START_TEST(sender_that_waits_leaves_room_to_who_waits_on_the_descriptor)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 10, .bytes = fill_send_side(p.a, 10) };
	struct pollfd room = { .fd = p.a, .events = POLLOUT };
	struct call sending;

	ck_assert_int_eq(rsk_poll(&room, 1, 1), 0);
	call_blocks(&sending, call_send_byte, p.a);
	stream_take(p.b, &s);
	call_returns(&sending);
	ck_assert_int_eq(sending.ret, 1);
	wait_readable_in_kernel(p.a);
	ck_assert_int_eq(ready_now(p.a, POLLOUT), POLLOUT);
}
END_TEST

/* Whether it waits with a time limit or without, a receive takes the event that said that there is room. */
START_TEST(sender_and_receiver_leave_room_to_who_waits_on_the_descriptor)
{
	struct timeval limit = { .tv_usec = QUIET_MS * 1000 };
	struct pair p = pair_narrow();
	struct stream s = { .seed = 12, .bytes = fill_send_side(p.a, 12) };
	struct pollfd room = { .fd = p.a, .events = POLLOUT };
	struct call receiving;
	char byte;

	ck_assert_int_eq(rsk_poll(&room, 1, 1), 0);
	stream_take(p.b, &s);
	wait_readable_in_kernel(p.a);
	ck_assert_int_eq(rsk_send(p.a, "b", 1, 0), 1);
	if (_i) {
		OK(rsk_setsockopt(p.a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
		FAILS(rsk_recv(p.a, &byte, 1, 0), EAGAIN);
	} else {
		call_blocks(&receiving, call_recv, p.a);
	}
	wait_readable_in_kernel(p.a);
	ck_assert_int_eq(rsk_send(p.a, "b", 1, MSG_DONTWAIT), 1);
	if (!_i) {
		say(p.b, "x");
		call_returns(&receiving);
	}
}
END_TEST

START_TEST(sender_that_takes_all_room_leaves_the_next_to_who_waits_on_the_descriptor)
{
	struct timeval limit = { .tv_usec = QUIET_MS * 1000 };
	struct pair p = pair_narrow();
	struct stream s = { .seed = 13, .bytes = fill_send_side(p.a, 13) };
	struct pollfd room = { .fd = p.a, .events = POLLOUT };
	char zeros[64 * KIB] = { 0 };
	ssize_t n;

	OK(rsk_setsockopt(p.a, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	ck_assert_int_eq(rsk_poll(&room, 1, 1), 0);
	stream_take(p.b, &s);
	wait_readable_in_kernel(p.a);
	do
		n = rsk_send(p.a, zeros, sizeof(zeros), 0);
	while (n > 0);
	FAILS(n, EAGAIN);
	while (rsk_recv(p.b, zeros, sizeof(zeros), MSG_DONTWAIT) > 0)
		;
	wait_readable_in_kernel(p.a);
}
END_TEST

START_TEST(two_pollers_both_wake)
{
	struct pair p = pair_connected();

	call_blocks(&one, call_poll_in, p.a);
	call_blocks(&other, call_poll_in, p.a);
	ck_assert_int_eq(rsk_send(p.b, "a", 1, 0), 1);
	call_returns(&one);
	call_returns(&other);
	ck_assert_int_eq(one.ret, 1);
	ck_assert_int_eq(other.ret, 1);
}
END_TEST

/* -- shut down or closed by another thread ----------------------------------------------------- */

START_TEST(shutting_down_reading_wakes_a_receive_with_end_of_file)
{
	struct pair p = pair_connected();
	struct call receiving;

	call_blocks(&receiving, call_recv, p.a);
	OK(rsk_shutdown(p.a, SHUT_RD));
	call_returns(&receiving);
	ck_assert_int_eq(receiving.ret, 0);
}
END_TEST

START_TEST(shutting_down_reading_wakes_a_poll)
{
	struct pair p = pair_connected();
	struct call polling;

	call_blocks(&polling, call_poll_in, p.a);
	OK(rsk_shutdown(p.a, SHUT_RD));
	call_returns(&polling);
	ck_assert_int_eq(polling.ret, 1);
}
END_TEST

START_TEST(shutting_down_writing_wakes_a_send_with_broken_pipe)
{
	struct pair p = pair_narrow();
	struct call sending;

	fill_send_side(p.a, 5);
	call_blocks(&sending, call_send_4mib, p.a);
	OK(rsk_shutdown(p.a, SHUT_WR));
	call_returns(&sending);
	ck_assert_int_eq(sending.ret, -1);
	ck_assert_int_eq(sending.error, EPIPE);
}
END_TEST

START_TEST(shutting_down_reading_does_not_wait_for_a_sender)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 11, .bytes = fill_send_side(p.a, 11) };
	struct call sending;

	call_blocks(&sending, call_send_byte, p.a);
	OK(rsk_shutdown(p.a, SHUT_RD));
	ck_assert(!sending.task.done);
	stream_take(p.b, &s);
	call_returns(&sending);
	ck_assert_int_eq(sending.ret, 1);
}
END_TEST

static int socket_that_receives(void)
{
	return pair_connected().a;
}

static int socket_that_sends(void)
{
	struct pair p = pair_narrow();

	fill_send_side(p.a, 6);
	return p.a;
}

static struct raw silent_listener;

static ssize_t call_connect(int fd)
{
	struct address there = raw_listen(&silent_listener);

	return rsk_connect(fd, &there.any, there.len);
}

static int socket_that_connects(void)
{
	return socket_with(AF_INET, NO_OPTIONS);
}

static const struct {
	int (*on)(void);
	ssize_t (*make)(int fd);
} blocking[] = {
	{ socket_that_receives, call_recv },
	{ socket_that_sends, call_send_4mib },
	{ listener, call_accept },
	{ socket_that_connects, call_connect },
};

START_TEST(closing_wakes_a_blocked_call_with_an_error)
{
	struct call c;
	int fd = blocking[_i].on();

	call_blocks(&c, blocking[_i].make, fd);
	OK(rsk_close(fd));
	call_returns(&c);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_msg(c.error == EBADF || c.error == ECONNABORTED, "%s", strerror(c.error));
	FAILS(rsk_close(fd), EBADF);
	pair_close(pair_connected());
}
END_TEST

START_TEST(closing_wakes_a_sleeping_poll)
{
	struct pair p = pair_connected();
	struct call polling;

	call_blocks(&polling, call_poll_in, p.a);
	OK(rsk_close(p.a));
	call_returns(&polling);
	ck_assert_int_ne(polling.ret, 0);
}
END_TEST

START_TEST(closing_wakes_all_who_are_blocked)
{
	struct pair p = pair_narrow();
	struct call calls[5];

	fill_send_side(p.a, 7);
	call_blocks(&calls[0], call_recv, p.a);
	call_blocks(&calls[1], call_recv, p.a);
	call_blocks(&calls[2], call_send_4mib, p.a);
	call_blocks(&calls[3], call_send_4mib, p.a);
	call_blocks(&calls[4], call_poll_in, p.a);
	OK(rsk_close(p.a));
	for (size_t i = 0; i < COUNT(calls); i++)
		call_returns(&calls[i]);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(calls[i].ret, -1);
}
END_TEST

/* -- coming and going -------------------------------------------------------------------------- */

static void come_and_go(void *arg)
{
	int rounds = *(const int *)arg;

	for (int i = 0; i < rounds; i++) {
		struct pair p = pair_connected();

		check_connected(p.a, p.b);
		pair_close(p);
	}
}

START_TEST(threads_open_and_close_at_the_same_time)
{
	struct task tasks[4];
	int rounds = 20;

	for (size_t i = 0; i < COUNT(tasks); i++)
		task_start(&tasks[i], come_and_go, &rounds);
	for (size_t i = 0; i < COUNT(tasks); i++)
		task_join(&tasks[i]);
}
END_TEST

static void close_it(void *arg)
{
	OK(rsk_close(*(int *)arg));
}

static void use_until_closed(void *arg)
{
	int fd = *(int *)arg;
	char buf[100] = "";

	while (rsk_send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) > 0 || errno == EAGAIN) {
		if (rsk_recv(fd, buf, sizeof(buf), MSG_DONTWAIT) < 0 && errno != EAGAIN)
			break;
	}
	ck_assert_msg(errno == EBADF || errno == ECONNABORTED, "%s", strerror(errno));
}

START_TEST(closing_under_busy_threads_is_safe)
{
	for (int round = 0; round < 20; round++) {
		struct task users[2], closer;
		struct pair p = pair_connected();

		task_start(&users[0], use_until_closed, &p.a);
		task_start(&users[1], use_until_closed, &p.a);
		task_start(&closer, close_it, &p.a);
		task_join(&closer);
		task_join(&users[0]);
		task_join(&users[1]);
		OK(rsk_close(p.b));
	}
}
END_TEST

struct door {
	int listening;
	atomic_int *served;
	struct task task;
};

static void serve(void *arg)
{
	struct door *d = arg;
	int fd;

	while ((fd = rsk_accept(d->listening, NULL, NULL)) >= 0) {
		char byte;

		ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), 1);
		ck_assert_int_eq(rsk_send(fd, &byte, 1, 0), 1);
		OK(rsk_close(fd));
		(*d->served)++;
	}
	ck_assert_msg(errno == EBADF || errno == ECONNABORTED, "%s", strerror(errno));
}

START_TEST(threads_share_a_listener)
{
	int listening = listener();
	struct address there = local_address(listening);
	atomic_int served = 0;
	struct door doors[3];
	int clients[30];
	char byte;

	for (size_t i = 0; i < COUNT(doors); i++) {
		doors[i] = (struct door){ .listening = listening, .served = &served };
		task_start(&doors[i].task, serve, &doors[i]);
	}
	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = connected_to(&there);
	for (size_t i = 0; i < COUNT(clients); i++)
		ck_assert_int_eq(rsk_send(clients[i], "x", 1, 0), 1);
	for (size_t i = 0; i < COUNT(clients); i++) {
		ck_assert_int_eq(rsk_recv(clients[i], &byte, 1, 0), 1);
		check_end_of_file(clients[i]);
	}
	for (size_t i = 0; i < COUNT(doors); i++)
		task_wait_asleep(&doors[i].task);
	ck_assert_int_eq(served, COUNT(clients));
	OK(rsk_close(listening));
	for (size_t i = 0; i < COUNT(doors); i++)
		task_join(&doors[i].task);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("threads");
	TCase *tc;

	tc = group(s, "side by side", 200);
	tcase_add_test(tc, sender_and_receiver_on_each_side_do_not_disturb_each_other);
	tcase_add_test(tc, narrow_pair_carries_both_directions_at_once);
	tcase_add_test(tc, many_sockets_carry_data_for_many_threads);

	tc = group(s, "turns", 200);
	tcase_add_test(tc, two_receivers_lose_no_byte);
	tcase_add_test(tc, two_senders_lose_no_byte);
	tcase_add_test(tc, several_of_both_lose_no_byte);
	tcase_add_test(tc, second_receiver_waits_its_turn);
	tcase_add_test(tc, nonblocking_receive_is_not_held_up_by_a_blocked_one);
	tcase_add_test(tc, sender_that_waits_leaves_room_to_who_waits_on_the_descriptor);
	tcase_add_loop_test(tc, sender_and_receiver_leave_room_to_who_waits_on_the_descriptor, 0, 2);
	tcase_add_test(tc, sender_that_takes_all_room_leaves_the_next_to_who_waits_on_the_descriptor);
	tcase_add_test(tc, two_pollers_both_wake);

	tc = group(s, "shut down or closed by another thread", 150);
	tcase_add_test(tc, shutting_down_reading_wakes_a_receive_with_end_of_file);
	tcase_add_test(tc, shutting_down_reading_wakes_a_poll);
	tcase_add_test(tc, shutting_down_writing_wakes_a_send_with_broken_pipe);
	tcase_add_test(tc, shutting_down_reading_does_not_wait_for_a_sender);
	tcase_add_loop_test(tc, closing_wakes_a_blocked_call_with_an_error, 0, COUNT(blocking));
	tcase_add_test(tc, closing_wakes_a_sleeping_poll);
	tcase_add_test(tc, closing_wakes_all_who_are_blocked);

	tc = group(s, "coming and going", 200);
	tcase_add_test(tc, threads_open_and_close_at_the_same_time);
	tcase_add_test(tc, closing_under_busy_threads_is_safe);
	tcase_add_test(tc, threads_share_a_listener);
	return run_suite(s);
}
