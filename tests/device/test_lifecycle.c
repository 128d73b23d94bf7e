/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Connections end as on TCP, each direction by itself; nothing that was sent is lost by closing;
 * and everything that was taken is given back.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "epoll.h"
#include "faults.h"
#include "peer.h"
#include "process.h"
#include "stream.h"
#include "task.h"

/* Descriptors and threads that the library may keep for itself, however many connections it had. */
#define LIBRARY_DESCRIPTORS 16
#define LIBRARY_THREADS 3 /* software verbs have one, and so has the thread sanitizer */

/* To exit in a handler is common, and not safe: the thread sanitizer says so. */
#ifdef __SANITIZE_THREAD__
#define HANDLERS_MUST_BE_SAFE true
#else
#define HANDLERS_MUST_BE_SAFE false
#endif

static bool descriptors_at_most(long goal)
{
	return open_descriptors() <= goal;
}

static bool threads_at_most(long goal)
{
	return running_threads() <= goal;
}

/* -- one direction ends ------------------------------------------------------------------------ */

static struct pair pair_either_way(int turned)
{
	struct pair p = pair_connected();

	return turned ? (struct pair){ p.b, p.a } : p;
}

START_TEST(data_sent_before_shutdown_arrives_before_end_of_file)
{
	struct pair p = pair_either_way(_i);
	char got[16];

	ck_assert_int_eq(rsk_send(p.a, "last words", 10, 0), 10);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), MSG_WAITALL), 10);
	ck_assert_mem_eq(got, "last words", 10);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(other_direction_goes_on_after_shutdown)
{
	struct pair p = pair_either_way(_i);
	struct stream s = { .seed = 2, .bytes = MIB, .ragged = true };

	OK(rsk_shutdown(p.a, SHUT_WR));
	check_end_of_file(p.b);
	stream_pass(p.b, p.a, &s);
	OK(rsk_shutdown(p.b, SHUT_WR));
	check_end_of_file(p.a);
}
END_TEST

START_TEST(end_of_file_is_repeated)
{
	struct pair p = pair_either_way(_i);

	OK(rsk_shutdown(p.a, SHUT_WR));
	for (int i = 0; i < 5; i++)
		check_end_of_file(p.b);
}
END_TEST

START_TEST(full_buffers_arrive_before_end_of_file)
{
	struct pair p = pair_either_way(_i);
	struct stream s = { .seed = 3, .take_piece = 3000, .ragged = true };

	s.bytes = fill_send_side(p.a, s.seed);
	OK(rsk_shutdown(p.a, SHUT_WR));
	stream_take(p.b, &s);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(repeated_shutdown_is_harmless)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 4, .bytes = 5000 };

	OK(rsk_shutdown(p.a, SHUT_WR));
	OK(rsk_shutdown(p.a, SHUT_WR));
	check_end_of_file(p.b);
	stream_pass(p.b, p.a, &s);
}
END_TEST

START_TEST(crossing_shutdowns_end_both_directions)
{
	struct pair p = pair_connected();

	OK(rsk_shutdown(p.a, SHUT_WR));
	OK(rsk_shutdown(p.b, SHUT_WR));
	check_end_of_file(p.a);
	check_end_of_file(p.b);
	ck_assert_int_eq(wait_for(p.a, POLLIN) & (POLLHUP | POLLERR), POLLHUP);
	ck_assert_int_eq(wait_for(p.b, POLLIN) & (POLLHUP | POLLERR), POLLHUP);
	pair_close(p);
}
END_TEST

START_TEST(crossing_shutdowns_deliver_what_was_sent)
{
	struct pair p = pair_connected();
	struct stream ab = { .seed = 5, .bytes = 30000 }, ba = { .seed = 6, .bytes = 30000 };

	stream_send(p.a, &ab);
	stream_send(p.b, &ba);
	OK(rsk_shutdown(p.a, SHUT_RDWR));
	OK(rsk_shutdown(p.b, SHUT_WR));
	stream_take(p.b, &ab);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(reads_after_shut_rd_return_what_had_arrived_and_then_nothing)
{
	struct pair p = pair_either_way(_i);
	char got[16];

	ck_assert_int_eq(rsk_send(p.b, "early", 5, 0), 5);
	wait_for(p.a, POLLIN);
	OK(rsk_shutdown(p.a, SHUT_RD));
	ck_assert_int_eq(rsk_recv(p.a, got, sizeof(got), 0), 5);
	check_end_of_file(p.a);
	check_end_of_file(p.a);
}
END_TEST

START_TEST(sending_goes_on_after_shut_rd)
{
	struct pair p = pair_either_way(_i);
	struct stream s = { .seed = 7, .bytes = MIB };

	OK(rsk_shutdown(p.a, SHUT_RD));
	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(shutting_down_both_directions_ends_both)
{
	struct pair p = pair_either_way(_i);

	OK(rsk_shutdown(p.a, SHUT_RDWR));
	check_end_of_file(p.a);
	check_end_of_file(p.b);
	FAILS(rsk_send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
}
END_TEST

START_TEST(send_after_shutdown_is_a_broken_pipe)
{
	struct pair p = pair_either_way(_i);

	OK(rsk_shutdown(p.a, SHUT_WR));
	FAILS(rsk_send(p.a, "x", 1, MSG_NOSIGNAL), EPIPE);
	check_end_of_file(p.b);
}
END_TEST

/* -- close ------------------------------------------------------------------------------------- */

START_TEST(closing_gives_the_peer_end_of_file)
{
	struct pair p = pair_either_way(_i);

	OK(rsk_close(p.a));
	check_end_of_file(p.b);
	check_end_of_file(p.b);
	OK(rsk_close(p.b));
}
END_TEST

START_TEST(closing_with_unread_data_gives_the_peer_end_of_file)
{
	struct pair p = pair_either_way(_i);

	fill_send_side(p.b, 8);
	OK(rsk_close(p.a));
	check_end_of_file(p.b);
}
END_TEST

static void send_mebibyte_and_close(void *arg)
{
	const struct stream s = { .seed = 9, .bytes = MIB, .send_piece = MIB };
	int *fd = arg;

	stream_send(*fd, &s);
	OK(rsk_close(*fd));
}

START_TEST(mebibyte_sent_just_before_close_arrives)
{
	struct pair p = pair_either_way(_i);
	struct stream s = { .seed = 9, .bytes = MIB };
	struct task sender;

	task_start(&sender, send_mebibyte_and_close, &p.a);
	stream_take(p.b, &s);
	check_end_of_file(p.b);
	task_join(&sender);
}
END_TEST

START_TEST(full_buffers_arrive_after_close)
{
	struct pair p = pair_either_way(_i);
	struct stream s = { .seed = 10, .take_piece = 3000, .ragged = true };

	s.bytes = fill_send_side(p.a, s.seed);
	OK(rsk_close(p.a));
	stream_take(p.b, &s);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(closed_descriptor_is_free_at_once)
{
	struct pair p = pair_connected();

	fill_send_side(p.a, 11);
	OK(rsk_close(p.a));
	FAILS(rsk_send(p.a, "x", 1, MSG_NOSIGNAL), EBADF);
	FAILS(rsk_close(p.a), EBADF);
	OK(rsk_close(p.b));
}
END_TEST

/* Not more than fits without a reader. */
#define LAST_WORDS (100 * KIB)

static const struct stream last_words = { .seed = 12, .bytes = LAST_WORDS };

static void speak_and_exit(struct peer *me)
{
	int fd = peer_connect(me, OPTIONS({ SOL_SOCKET, SO_SNDBUF, 2 * LAST_WORDS }));

	stream_send(fd, &last_words);
	OK(rsk_close(fd));
	exit(0);
}

START_TEST(exit_right_after_close_loses_nothing)
{
	struct peer p;
	int fd;

	peer_start(&p, speak_and_exit);
	fd = peer_accept(&p, NO_OPTIONS);
	stream_take(fd, &last_words);
	check_end_of_file(fd);
	peer_finish(&p);
}
END_TEST

START_TEST(exit_waits_for_a_slow_reader)
{
	struct peer p;
	int fd;

	/* The receiver has room for a fraction, and reads when it likes. */
	peer_start(&p, speak_and_exit);
	fd = peer_accept(&p, OPTIONS({ SOL_SOCKET, SO_RCVBUF, 8192 }));
	wait_for(fd, POLLIN);
	ck_assert_int_eq(waitpid(p.pid, NULL, WNOHANG), 0);
	stream_take(fd, &last_words);
	check_end_of_file(fd);
	peer_finish(&p);
}
END_TEST

enum { READERS = 16 };

static const struct stream few = { .seed = 13, .bytes = 10 * KIB };

static void speak_and_exit_under_readers(struct peer *me)
{
	struct call reading[READERS];

	for (int i = 0; i < READERS; i++) {
		int fd = peer_connect(me, NO_OPTIONS);

		stream_send(fd, &few);
		call_blocks(&reading[i], call_recv, fd);
		ck_assert_int_eq(pthread_detach(reading[i].task.thread), 0);
	}
	exit(0);
}

START_TEST(exit_loses_nothing_though_other_threads_receive)
{
	int fd[READERS];
	struct peer p;

	peer_start(&p, speak_and_exit_under_readers);
	for (int i = 0; i < READERS; i++)
		fd[i] = peer_accept(&p, NO_OPTIONS);
	for (int i = 0; i < READERS; i++) {
		stream_take(fd[i], &few);
		check_end_of_file(fd[i]);
	}
	peer_finish(&p);
}
END_TEST

static void exit_at_once(int signal)
{
	(void)signal;
	exit(0);
}

/* The call that is interrupted never ends: nobody may wait for it. It must be asleep: who is interrupted elsewhere
 * may hold a lock, which is what makes exit(3) unsafe there. */
static void exit_from_a_handler(struct peer *me)
{
	struct call receiving;

	ck_assert_int_eq(setenv("RSK_CLOSE_TIMEOUT", "3600", 1), 0);
	signal(SIGUSR1, exit_at_once);
	call_blocks(&receiving, call_recv, peer_connect(me, NO_OPTIONS));
	ck_assert_int_eq(pthread_kill(receiving.task.thread, SIGUSR1), 0);
	for (;;)
		pause();
}

START_TEST(exit_in_a_handler_does_not_wait_for_the_call_it_interrupted)
{
	struct peer p;

	peer_start(&p, exit_from_a_handler);
	peer_accept(&p, NO_OPTIONS);
	peer_finish(&p);
}
END_TEST

static enum place { NOWHERE, IN_EPOLL_CTL, IN_SENDMSG } interrupted;

static void interrupt_in(enum place here)
{
	if (interrupted != here)
		return;
	interrupted = NOWHERE;
	raise(SIGUSR1);
}

/* Instead of libc's: with it a call changes its descriptor, and holds the socket's lock meanwhile. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	interrupt_in(IN_EPOLL_CTL);
	return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

/* With it software verbs wake the peer, and hold their own lock. */
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	interrupt_in(IN_SENDMSG);
	return syscall(SYS_sendmsg, fd, msg, flags);
}

static void speak_and_exit_under_a_lock(struct peer *me)
{
	int locked, fd, listening;
	char byte;

	ck_assert_int_eq(setenv("RSK_CLOSE_TIMEOUT", "3600", 1), 0);
	signal(SIGUSR1, exit_at_once);
	locked = peer_connect(me, NO_OPTIONS);
	fd = peer_connect(me, NO_OPTIONS);
	listening = listener();
	stream_send(fd, &few);
	set_nonblocking(locked, true);
	interrupted = IN_EPOLL_CTL;
	rsk_recv(locked, &byte, 1, 0);
	ck_abort_msg("%d: not interrupted", listening);
}

/* POSIX does not allow it, and programs do it. */
START_TEST(exit_in_a_handler_closes_all_but_the_socket_that_is_locked)
{
	struct peer p;
	int fd;

	peer_start(&p, speak_and_exit_under_a_lock);
	peer_accept(&p, NO_OPTIONS);
	fd = peer_accept(&p, NO_OPTIONS);
	stream_take(fd, &few);
	check_end_of_file(fd);
	peer_finish(&p);
}
END_TEST

static void exit_under_the_lock_of_the_device(struct peer *me)
{
	int fd;

	ck_assert_int_eq(setenv("RSK_CLOSE_TIMEOUT", "1", 1), 0);
	signal(SIGUSR1, exit_at_once);
	peer_connect(me, NO_OPTIONS);
	fd = peer_connect(me, NO_OPTIONS);
	peer_connect(me, NO_OPTIONS);
	peer_await(me);
	interrupted = IN_SENDMSG;
	for (;;)
		rsk_send(fd, "x", 1, 0);
}

START_TEST(exit_in_a_handler_ends_though_the_device_is_locked)
{
	struct peer p;
	int fd[3];

	if (!can_fail())
		return;
	peer_start(&p, exit_under_the_lock_of_the_device);
	for (size_t i = 0; i < COUNT(fd); i++)
		fd[i] = peer_accept(&p, NO_OPTIONS);
	peer_signal(&p);
	peer_finish(&p);
	for (size_t i = 0; i < COUNT(fd); i++)
		ck_assert_int_eq(wait_for(fd[i], 0) & POLLHUP, POLLHUP);
}
END_TEST

static void exit_from_a_callback(int fd, uint32_t events, void *arg)
{
	(void)fd, (void)events, (void)arg;
	exit(0);
}

/* The callback is run by the thread that would have the rest to do: who exits there does it. */
static void speak_and_exit_from_a_callback(struct peer *me)
{
	int fd;

	ck_assert_int_eq(setenv("RSK_CLOSE_TIMEOUT", "3600", 1), 0);
	fd = peer_connect(me, OPTIONS({ SOL_SOCKET, SO_SNDBUF, 2 * LAST_WORDS }));
	OK(rsk_watch(fd, EPOLLIN, exit_from_a_callback, NULL));
	stream_send(fd, &last_words);
	for (;;)
		pause();
}

START_TEST(exit_in_a_callback_closes_what_is_open)
{
	struct peer p;
	int fd;

	peer_start(&p, speak_and_exit_from_a_callback);
	fd = peer_accept(&p, NO_OPTIONS);
	stream_take(fd, &last_words);
	ck_assert_int_eq(rsk_send(fd, "x", 1, 0), 1);
	check_end_of_file(fd);
	peer_finish(&p);
}
END_TEST

static void close_fresh(void)
{
	OK(rsk_close(socket_with(AF_INET, NO_OPTIONS)));
}

static void close_bound(void)
{
	struct address here = address_of_device(AF_INET, 0);
	int fd = socket_with(AF_INET, NO_OPTIONS);

	OK(rsk_bind(fd, &here.any, here.len));
	OK(rsk_close(fd));
}

static void close_listening(void)
{
	OK(rsk_close(listener()));
}

static void close_connecting(void)
{
	int listening = listener();
	struct address there = local_address(listening);

	OK(rsk_close(connect_begun(&there, NO_OPTIONS)));
	OK(rsk_close(listening));
}

static void close_refused(void)
{
	struct address there = address_deserted();
	int fd = socket_with(AF_INET, NO_OPTIONS);

	FAILS(rsk_connect(fd, &there.any, there.len), ECONNREFUSED);
	OK(rsk_close(fd));
}

static void close_unaccepted(void)
{
	int listening = listener();
	struct address there = local_address(listening);
	int fd = connected_to(&there);

	OK(rsk_close(listening));
	OK(rsk_close(fd));
}

static void (*const stages[])(void) = { close_fresh, close_bound, close_listening,
					close_connecting, close_refused, close_unaccepted };

START_TEST(socket_can_be_closed_at_every_stage)
{
	int before;

	stages[_i]();
	pair_close(pair_connected());
	before = open_descriptors();
	for (int i = 0; i < 20; i++)
		stages[_i]();
	wait_until(descriptors_at_most, before, "descriptors");
	pair_close(pair_connected());
}
END_TEST

/* -- closed by close(2), as no socket should be ------------------------------------------------- */

/* A pair, the first of whose numbers is that of @lost, a socket: the kernel gives out the lowest that is free. */
static struct pair pair_in_place_of(int lost, int listening)
{
	struct pair p;
	int above;

	do
		above = dup(STDIN_FILENO);
	while (above < lost);
	ck_assert_int_eq(close(above), 0);
	ck_assert_int_eq(close(lost), 0);
	p = pair_on(listening);
	ck_assert_int_eq(p.a, lost);
	return p;
}

static ssize_t receive_a_byte(int fd)
{
	char byte;

	return rsk_recv(fd, &byte, 1, 0);
}

static bool rests(long fd)
{
	struct pollfd p = { .fd = (int)fd, .events = POLLIN };
	char byte;

	FAILS(rsk_recv((int)fd, &byte, 1, 0), EAGAIN);
	return poll(&p, 1, 0) == 0;
}

START_TEST(lost_socket_leaves_the_next_owner_of_its_number_alone)
{
	int listening = listener();
	struct pair lost = pair_on(listening), p;
	struct call receiving;

	/* Of what this call leaves, the descriptor tells who was told that there is nothing. */
	ck_assert_int_eq(ready_now(lost.a, POLLIN), 0);
	call_blocks(&receiving, receive_a_byte, lost.a);
	p = pair_in_place_of(lost.a, listening);
	set_nonblocking(p.a, true);
	wait_until(rests, p.a, "rest of descriptor");
	say(lost.b, "xx");
	call_returns(&receiving);
	ck_assert_int_eq(receiving.ret, 1);
	wait_until(rests, p.a, "rest of descriptor");
	say(p.b, "x");
	wait_readable_in_kernel(p.a);
	take(p.a, 1);
}
END_TEST

START_TEST(lost_socket_leaves_its_place_in_a_set_to_the_next_owner)
{
	int listening = listener(), ep;
	struct pair lost = pair_on(listening), p;

	ep = instance_with(lost.a, EPOLLIN);
	p = pair_in_place_of(lost.a, listening);
	add(ep, p.a, EPOLLIN);
	say(lost.b, "x");
	silent(ep);
	say(p.b, "x");
	ck_assert_uint_eq(reported(ep, p.a), EPOLLIN);
	take(p.a, 1);
	silent(ep);
	/* Nobody has told the peer of the lost one. */
	ck_assert_int_eq(ready_now(lost.b, POLLIN), 0);
}
END_TEST

/* -- what connections cost --------------------------------------------------------------------- */

#define MANY 200

START_TEST(two_hundred_connections_at_once)
{
	struct rlimit files;
	int listening, before;
	struct pair p[MANY];
	struct pair first;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);

	listening = listener();
	first = pair_on(listening);
	before = open_descriptors();
	for (int i = 0; i < MANY; i++)
		p[i] = pair_on(listening);
	for (int i = MANY - 1; i >= 0; i--)
		check_connected(p[i].a, p[i].b);
	/* Two each, and one that 16 of them share. */
	ck_assert_int_le(open_descriptors() - before, 2 * 2 * MANY + 2 * MANY / 16);
	check_connected(first.a, first.b);
	for (int i = 0; i < MANY; i++)
		pair_close(p[i]);
	wait_until(descriptors_at_most, before + 2, "descriptors");
}
END_TEST

/* Memory that cannot be paged out is what a server with many idle clients runs out of first. */
START_TEST(idle_connection_pins_little_memory)
{
	struct pair p[20];
	long before;

	pair_close(pair_connected());
	before = pinned_kib();
	for (size_t i = 0; i < COUNT(p); i++)
		p[i] = pair_connected();
	ck_assert_int_le(pinned_kib() - before, 2 * (long)COUNT(p) * 40);
	for (size_t i = 0; i < COUNT(p); i++)
		pair_close(p[i]);
}
END_TEST

START_TEST(descriptor_numbers_above_65535_are_as_good_as_others)
{
	struct rlimit files = { 70000, 70000 };
	struct pair p;

	if (setrlimit(RLIMIT_NOFILE, &files)) {
		printf("skip: so many descriptors are not allowed\n");
		return;
	}
	while (dup(STDERR_FILENO) < 65536)
		;
	p = pair_connected();
	ck_assert_int_gt(p.a, 65535);
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

START_TEST(descriptors_and_threads_are_given_back)
{
	int descriptors = open_descriptors(), threads = running_threads();
	struct pair p[20];

	for (size_t i = 0; i < COUNT(p); i++) {
		p[i] = pair_connected();
		check_connected(p[i].a, p[i].b);
	}
	ck_assert_int_le(running_threads(), threads + LIBRARY_THREADS);
	for (size_t i = 0; i < COUNT(p); i++)
		pair_close(p[i]);
	wait_until(descriptors_at_most, descriptors + LIBRARY_DESCRIPTORS, "descriptors");
	wait_until(threads_at_most, threads + LIBRARY_THREADS, "threads");
}
END_TEST

START_TEST(fifty_connections_in_turn_leave_nothing_behind)
{
	int listening = listener(), descriptors = 0;
	long resident = 0;

	for (int i = 0; i < 50; i++) {
		struct pair p = pair_on(listening);
		struct stream s = { .seed = i, .bytes = 20000 };

		stream_pass(p.a, p.b, &s);
		pair_close(p);
		if (i == 9) {
			descriptors = open_descriptors();
			resident = resident_kib();
		}
	}
	wait_until(descriptors_at_most, descriptors, "descriptors");
	ck_assert_int_le(resident_kib() - resident, 8 * 1024);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lifecycle");
	TCase *tc;

	/* Looped tests: by the connecting end, then by the accepted one. */
	tc = group(s, "one direction ends", 100);
	tcase_add_loop_test(tc, data_sent_before_shutdown_arrives_before_end_of_file, 0, 2);
	tcase_add_loop_test(tc, other_direction_goes_on_after_shutdown, 0, 2);
	tcase_add_loop_test(tc, end_of_file_is_repeated, 0, 2);
	tcase_add_loop_test(tc, full_buffers_arrive_before_end_of_file, 0, 2);
	tcase_add_test(tc, repeated_shutdown_is_harmless);
	tcase_add_test(tc, crossing_shutdowns_end_both_directions);
	tcase_add_test(tc, crossing_shutdowns_deliver_what_was_sent);
	tcase_add_loop_test(tc, reads_after_shut_rd_return_what_had_arrived_and_then_nothing, 0, 2);
	tcase_add_loop_test(tc, sending_goes_on_after_shut_rd, 0, 2);
	tcase_add_loop_test(tc, shutting_down_both_directions_ends_both, 0, 2);
	tcase_add_loop_test(tc, send_after_shutdown_is_a_broken_pipe, 0, 2);

	tc = group(s, "close", 100);
	tcase_add_loop_test(tc, closing_gives_the_peer_end_of_file, 0, 2);
	tcase_add_loop_test(tc, closing_with_unread_data_gives_the_peer_end_of_file, 0, 2);
	tcase_add_loop_test(tc, mebibyte_sent_just_before_close_arrives, 0, 2);
	tcase_add_loop_test(tc, full_buffers_arrive_after_close, 0, 2);
	tcase_add_test(tc, closed_descriptor_is_free_at_once);
	tcase_add_test(tc, exit_right_after_close_loses_nothing);
	tcase_add_test(tc, exit_waits_for_a_slow_reader);
	/* A race is not always lost at once. */
	tcase_add_loop_test(tc, exit_loses_nothing_though_other_threads_receive, 0, 5);
	if (!HANDLERS_MUST_BE_SAFE) {
		tcase_add_test(tc, exit_in_a_handler_does_not_wait_for_the_call_it_interrupted);
		tcase_add_test(tc, exit_in_a_handler_closes_all_but_the_socket_that_is_locked);
		tcase_add_test(tc, exit_in_a_handler_ends_though_the_device_is_locked);
	}
	tcase_add_test(tc, exit_in_a_callback_closes_what_is_open);
	tcase_add_loop_test(tc, socket_can_be_closed_at_every_stage, 0, COUNT(stages));

	tc = group(s, "closed by close(2)", 100);
	tcase_add_test(tc, lost_socket_leaves_the_next_owner_of_its_number_alone);
	tcase_add_test(tc, lost_socket_leaves_its_place_in_a_set_to_the_next_owner);

	tc = group(s, "what connections cost", 300);
	tcase_add_test(tc, two_hundred_connections_at_once);
	tcase_add_test(tc, idle_connection_pins_little_memory);
	tcase_add_test(tc, descriptor_numbers_above_65535_are_as_good_as_others);
	tcase_add_test(tc, descriptors_and_threads_are_given_back);
	tcase_add_test(tc, fifty_connections_in_turn_leave_nothing_behind);
	return run_suite(s);
}
