/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * SO_KEEPALIVE and TCP_USER_TIMEOUT: a peer whose adapter does not answer is noticed in time by whoever
 * waits for it; one that is merely silent, stopped or slow to read is left in peace. That a whole host
 * is out of reach is test_partition's matter. And SO_LINGER, which waits for the same answers.
 */
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>

#include "peer.h"
#include "rawpeer.h"
#include "stream.h"
#include "task.h"

/* The shortest that can be asked for: a probe after one second, an answer within another. */
#define SHORT_KEEPALIVE \
	{ SOL_SOCKET, SO_KEEPALIVE, 1 }, { IPPROTO_TCP, TCP_KEEPIDLE, 1 }, \
	{ IPPROTO_TCP, TCP_KEEPINTVL, 1 }, { IPPROTO_TCP, TCP_KEEPCNT, 1 }

#define SHORT_USER_TIMEOUT { IPPROTO_TCP, TCP_USER_TIMEOUT, 1000 }

/* Longer than these need to find a dead peer. */
#define ENOUGH_MS 4000

/* -- peers that do not answer ------------------------------------------------------------------ */

static const struct flaw deaf = { .deaf = true };

/* On iWARP a connection ends when a message finds no receive: skipped. */
static bool nobody_is_deaf(void)
{
	bool iwarp = device_is_iwarp();

	if (iwarp)
		skip("on iWARP nobody can leave a message waiting");
	return iwarp;
}

/* Connected to a peer that takes no message: what is sent waits for ever. */
static int connected_to_the_deaf(struct raw *r, const struct option *options)
{
	return raw_connection(r, options, &deaf);
}

static void check_noticed(int fd)
{
	char byte;

	FAILS(rsk_recv(fd, &byte, 1, 0), ETIMEDOUT);
	check_says(fd, "has not answered");
	check_says(fd, "ETIMEDOUT");
}

static void check_call_learns(ssize_t (*make)(int), const struct option *options)
{
	struct call blocked;
	struct raw r;
	int fd;

	if (nobody_is_deaf())
		return;
	fd = connected_to_the_deaf(&r, options);
	/* On a slow machine the time may be over before it blocks. */
	call_begins(&blocked, make, fd);
	call_returns(&blocked);
	if (make == call_poll_in) {
		ck_assert_int_eq(blocked.ret, 1);
		ck_assert_int_eq(ready_now(fd, POLLIN), POLLIN | POLLERR | POLLHUP);
		ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), ETIMEDOUT);
	} else {
		ck_assert_int_eq(blocked.ret, -1);
		ck_assert_int_eq(blocked.error, ETIMEDOUT);
	}
	check_noticed(fd);
	OK(rsk_close(fd));
}

/* More than the peer has room for: blocks though the peer is well. */
static ssize_t send_too_much(int fd)
{
	ssize_t n = call_send_4mib(fd);

	return n < 0 ? n : call_send_4mib(fd);
}

static ssize_t send_a_little_and_receive(int fd)
{
	ck_assert_int_eq(rsk_send(fd, "hello", 5, 0), 5);
	return call_recv(fd);
}

static ssize_t (*const calls[])(int) = { call_recv, call_poll_in, send_too_much };

START_TEST(keepalive_finds_a_dead_peer_for_every_blocked_call)
{
	check_call_learns(calls[_i], OPTIONS(SHORT_KEEPALIVE));
}
END_TEST

START_TEST(user_timeout_finds_a_dead_peer_for_who_has_sent)
{
	check_call_learns(send_too_much, OPTIONS(SHORT_USER_TIMEOUT));
	check_call_learns(send_a_little_and_receive, OPTIONS(SHORT_USER_TIMEOUT));
}
END_TEST

START_TEST(user_timeout_is_the_limit_of_keepalive_too)
{
	check_call_learns(call_recv, OPTIONS({ SOL_SOCKET, SO_KEEPALIVE, 1 },
					     { IPPROTO_TCP, TCP_KEEPIDLE, 1 }, SHORT_USER_TIMEOUT));
}
END_TEST

START_TEST(options_take_effect_on_a_connection)
{
	const struct option *options = OPTIONS(SHORT_KEEPALIVE);
	struct call receiving;
	struct raw r;
	int fd;

	if (nobody_is_deaf())
		return;
	fd = connected_to_the_deaf(&r, NO_OPTIONS);
	call_blocks(&receiving, call_recv, fd);
	for (const struct option *o = options; o->level; o++)
		OK(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)));
	call_returns(&receiving);
	ck_assert_int_eq(receiving.error, ETIMEDOUT);
	check_noticed(fd);
}
END_TEST

START_TEST(user_timeout_counts_what_was_sent_before_it_was_set)
{
	const struct option o = SHORT_USER_TIMEOUT;
	struct raw r;
	int fd;

	if (nobody_is_deaf())
		return;
	fd = connected_to_the_deaf(&r, NO_OPTIONS);
	ck_assert_int_eq(rsk_send(fd, "hello", 5, 0), 5);
	OK(rsk_setsockopt(fd, o.level, o.name, &o.value, sizeof(o.value)));
	check_noticed(fd);
}
END_TEST

START_TEST(dead_peer_makes_the_descriptor_readable_in_the_kernel)
{
	struct raw r;
	char byte;
	int fd;

	if (nobody_is_deaf())
		return;
	fd = connected_to_the_deaf(&r, OPTIONS(SHORT_KEEPALIVE));
	set_nonblocking(fd, true);
	while (rsk_recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN)
		wait_readable_in_kernel(fd);
	check_noticed(fd);
}
END_TEST

START_TEST(accepted_connection_is_kept_alive_as_its_listener_says)
{
	int listening = listener_with(AF_INET, OPTIONS(SHORT_KEEPALIVE), 1), fd;
	struct address there = local_address(listening);
	struct raw r;

	if (nobody_is_deaf())
		return;
	raw_connect(&r, &there, &deaf);
	ck_assert_int_eq(raw_event(&r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	check_noticed(fd);
}
END_TEST

/* -- peers that are well ----------------------------------------------------------------------- */

/* Nothing happens to it for long enough. */
static void check_left_in_peace(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(rsk_poll(&p, 1, ENOUGH_MS), 0);
}

START_TEST(silent_peer_is_left_in_peace)
{
	struct pair p = pair_with(AF_INET, OPTIONS(SHORT_KEEPALIVE), OPTIONS(SHORT_KEEPALIVE));

	check_left_in_peace(p.a);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(peer_that_does_not_read_is_left_in_peace)
{
	struct pair p = pair_with(AF_INET, OPTIONS(SHORT_KEEPALIVE, SHORT_USER_TIMEOUT), NO_OPTIONS);
	uint64_t sent = fill_send_side(p.a, 1);

	check_left_in_peace(p.a);
	ck_assert_int_eq(ready_now(p.a, POLLOUT), 0);
	stream_take(p.b, &(struct stream){ .seed = 1, .bytes = sent });
	check_connected(p.a, p.b);
}
END_TEST

#define MSG_DATA(n) (0x00000000u | (n))

/* On iWARP who accepted must let the other begin, or devices break off: not even a probe may come first. */
START_TEST(peer_that_has_not_begun_is_left_in_peace)
{
	const struct option *both = OPTIONS(SHORT_KEEPALIVE, SHORT_USER_TIMEOUT);
	int listening = listener_with(AF_INET, both, 1), fd;
	struct address there = local_address(listening);
	char got[5];
	struct raw r;

	raw_connect(&r, &there, NULL);
	ck_assert_int_eq(raw_event(&r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	check_left_in_peace(fd);
	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), MSG_WAITALL), sizeof(got));
	ck_assert_mem_eq(got, "hello", sizeof(got));
}
END_TEST

static void connect_and_echo_a_byte(struct peer *me)
{
	int fd = peer_connect(me, NO_OPTIONS);
	char byte;

	peer_signal(me);
	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(rsk_send(fd, &byte, 1, 0), 1);
	OK(rsk_close(fd));
	exit(0);
}

START_TEST(stopped_process_is_left_in_peace)
{
	struct peer p;
	char byte;
	int fd;

	peer_start(&p, connect_and_echo_a_byte);
	fd = peer_accept(&p, OPTIONS(SHORT_KEEPALIVE, SHORT_USER_TIMEOUT));
	peer_await(&p);
	ck_assert_int_eq(kill(p.pid, SIGSTOP), 0);
	ck_assert_int_eq(rsk_send(fd, "x", 1, 0), 1);
	check_left_in_peace(fd);
	ck_assert_int_eq(kill(p.pid, SIGCONT), 0);
	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), 1);
	peer_finish(&p);
}
END_TEST

START_TEST(steady_traffic_goes_on_under_both)
{
	const struct option *both = OPTIONS(SHORT_KEEPALIVE, SHORT_USER_TIMEOUT);
	struct pair p = pair_with(AF_INET, both, both);
	uint64_t end = now_ms() + ENOUGH_MS;

	for (uint64_t i = 1; now_ms() < end; i++)
		stream_pass(p.a, p.b, &(struct stream){ .seed = i, .bytes = 10 * KIB });
	check_connected(p.a, p.b);
}
END_TEST

/* -- closing ----------------------------------------------------------------------------------- */

static void linger(int fd, int seconds)
{
	struct linger how = { .l_onoff = 1, .l_linger = seconds };

	OK(rsk_setsockopt(fd, SOL_SOCKET, SO_LINGER, &how, sizeof(how)));
}

START_TEST(close_that_lingers_returns_when_all_has_arrived)
{
	const struct stream s = { .seed = 1, .bytes = 30000 };
	struct pair p = pair_connected();
	char all[30000];

	stream_send(p.a, &s);
	linger(p.a, 60);
	OK(rsk_close(p.a));
	/* It is there already. */
	ck_assert_int_eq(rsk_recv(p.b, all, sizeof(all), MSG_DONTWAIT), sizeof(all));
	pattern_check(all, sizeof(all), s.seed, 0);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(close_lingers_no_longer_than_it_may)
{
	uint64_t before = now_ms();
	struct raw r;
	int fd;

	if (nobody_is_deaf())
		return;
	fd = connected_to_the_deaf(&r, NO_OPTIONS);
	ck_assert_int_eq(rsk_send(fd, "hello", 5, 0), 5);
	linger(fd, 1);
	set_nonblocking(fd, true);
	OK(rsk_close(fd));
	ck_assert_uint_ge(now_ms() - before, 1000);
	FAILS(rsk_close(fd), EBADF);
}
END_TEST

START_TEST(idle_listening_and_failed_sockets_do_not_linger)
{
	struct address there = address_deserted();
	int idle = socket_with(AF_INET, NO_OPTIONS), listening = listener();
	int failed = socket_with(AF_INET, NO_OPTIONS);

	FAILS(rsk_connect(failed, &there.any, there.len), ECONNREFUSED);
	linger(idle, 3600);
	linger(listening, 3600);
	linger(failed, 3600);
	OK(rsk_close(idle));
	OK(rsk_close(listening));
	OK(rsk_close(failed));
}
END_TEST

START_TEST(close_without_time_to_linger_is_a_reset)
{
	struct pair p = pair_connected();
	char byte;

	linger(p.a, 0);
	OK(rsk_close(p.a));
	FAILS(rsk_recv(p.b, &byte, 1, 0), ECONNRESET);
	FAILS(rsk_send(p.b, "x", 1, MSG_NOSIGNAL), EPIPE);
}
END_TEST

START_TEST(what_had_arrived_is_read_before_the_reset)
{
	const struct stream s = { .seed = 1, .bytes = 3000 };
	struct pair p = pair_connected();
	char all[3000];

	stream_send(p.a, &s);
	ck_assert_int_eq(rsk_recv(p.b, all, sizeof(all), MSG_PEEK | MSG_WAITALL), sizeof(all));
	linger(p.a, 0);
	OK(rsk_close(p.a));
	wait_for(p.b, POLLHUP);
	stream_take(p.b, &s);
	FAILS(rsk_recv(p.b, all, 1, 0), ECONNRESET);
}
END_TEST

/* What is left of a closed socket is given up in time, or the process would not end. */
static void close_to_the_deaf(struct peer *me)
{
	struct raw r;
	int fd;

	setenv("RSK_CLOSE_TIMEOUT", "1", 1);
	if (!nobody_is_deaf()) {
		fd = connected_to_the_deaf(&r, NO_OPTIONS);
		ck_assert_int_eq(rsk_send(fd, "hello", 5, 0), 5);
		OK(rsk_close(fd));
	}
	peer_signal(me);
	exit(0);
}

START_TEST(process_ends_though_its_peer_takes_nothing)
{
	struct peer p;

	peer_start(&p, close_to_the_deaf);
	peer_await(&p);
	peer_finish(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keepalive");
	TCase *tc = group(s, "does not answer", 200);

	tcase_add_loop_test(tc, keepalive_finds_a_dead_peer_for_every_blocked_call, 0, COUNT(calls));
	tcase_add_test(tc, user_timeout_finds_a_dead_peer_for_who_has_sent);
	tcase_add_test(tc, user_timeout_is_the_limit_of_keepalive_too);
	tcase_add_test(tc, options_take_effect_on_a_connection);
	tcase_add_test(tc, user_timeout_counts_what_was_sent_before_it_was_set);
	tcase_add_test(tc, dead_peer_makes_the_descriptor_readable_in_the_kernel);
	tcase_add_test(tc, accepted_connection_is_kept_alive_as_its_listener_says);

	tc = group(s, "well", 200);
	tcase_add_test(tc, silent_peer_is_left_in_peace);
	tcase_add_test(tc, peer_that_does_not_read_is_left_in_peace);
	tcase_add_test(tc, peer_that_has_not_begun_is_left_in_peace);
	/* Software verbs are an adapter inside of the process, and stop with it. */
	if (!getenv("RSK_PRELOAD"))
		tcase_add_test(tc, stopped_process_is_left_in_peace);
	tcase_add_test(tc, steady_traffic_goes_on_under_both);

	tc = group(s, "closing", 200);
	tcase_add_test(tc, close_that_lingers_returns_when_all_has_arrived);
	tcase_add_test(tc, close_lingers_no_longer_than_it_may);
	tcase_add_test(tc, idle_listening_and_failed_sockets_do_not_linger);
	tcase_add_test(tc, close_without_time_to_linger_is_a_reset);
	tcase_add_test(tc, what_had_arrived_is_read_before_the_reset);
	tcase_add_test(tc, process_ends_though_its_peer_takes_nothing);
	return run_suite(s);
}
