/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What an application under DMM learns from epoll sets and select(), on a device. Each test is such an
 * application; see nstack.h.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app.h"
#include "nstack.h"

static const unsigned HALF_CLOSED = EPOLLIN | EPOLLRDHUP;

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
	app_check_isolation();
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

/* A better nice value than that stays. */
START_TEST(thread_that_tells_goes_first_where_that_is_permitted)
{
	static const int better[] = { -10, -15 };
	int own = getpriority(PRIO_PROCESS, 0);
	bool permitted = !setpriority(PRIO_PROCESS, 0, better[_i]);
	struct ends e;
	int ep;

	if (_i == 0)
		setpriority(PRIO_PROCESS, 0, own);
	app_start();
	e = app_pair();
	ep = app_set(e.b, EPOLLIN);
	app_send(e.a, "x");
	ck_assert_uint_eq(app_event(ep), EPOLLIN);
	ck_assert_int_eq(host_told_at(), permitted && better[_i] < own ? better[_i] : own);
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

struct talker {
	int fd;
	atomic_bool stop;
};

static void *talk(void *arg)
{
	struct talker *t = arg;

	while (!t->stop && send(t->fd, "x", 1, MSG_NOSIGNAL) == 1)
		sched_yield();
	return NULL;
}

/* It is added, changed, removed and closed while data arrives. */
START_TEST(nothing_is_told_late_while_data_arrives)
{
	int listening;

	app_start();
	listening = app_listener();
	for (int i = 0; i < 20; i++) {
		struct ends e = app_pair_on(listening);
		struct talker talker = { .fd = e.a };
		char buf[4096];
		pthread_t thread;

		app_set_nonblocking(e.a, false);
		ck_assert_int_eq(pthread_create(&thread, NULL, talk, &talker), 0);
		for (int j = 0; j < 50; j++) {
			int ep = app_set(e.b, EPOLLIN | (j % 2 ? EPOLLET : 0));

			app_event(ep);
			app_control(ep, EPOLL_CTL_MOD, e.b, EPOLLIN | EPOLLONESHOT);
			while (recv(e.b, buf, sizeof(buf), 0) > 0)
				;
			close(ep);
		}
		app_event(app_set(e.b, EPOLLIN | EPOLLET));
		talker.stop = true;
		close(e.b);
		pthread_join(thread, NULL);
		close(e.a);
	}
	ck_assert_uint_eq(host_told_late(), 0);
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

/* New, then connecting, then connected, and last one that the peer has left. */
START_TEST(socket_is_registered_in_any_state)
{
	uint32_t mode = _i ? EPOLLET : 0;
	struct sockaddr_in to;
	int listening, ep;
	struct ends e;

	app_start();
	listening = app_listener();
	to = app_name(listening);
	e.a = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ep = app_set(e.a, EPOLLIN | EPOLLOUT | mode);
	FAILS(connect(e.a, (struct sockaddr *)&to, sizeof(to)), EINPROGRESS);
	app_control(ep, EPOLL_CTL_MOD, e.a, EPOLLOUT | EPOLLRDHUP | mode);
	e.b = app_accept(listening);
	app_event_with(ep, EPOLLOUT);
	ck_assert_int_eq(app_socket_error(e.a), 0);
	ck_assert_uint_eq(app_event(app_set(e.b, EPOLLIN | EPOLLOUT | mode)), EPOLLOUT);
	close(e.b);
	app_event_with(ep, EPOLLRDHUP);
	ck_assert_uint_eq(app_event(app_set(e.a, EPOLLIN | EPOLLRDHUP | mode)) & HALF_CLOSED, HALF_CLOSED);
}
END_TEST

static void *take_for_ever(void *arg)
{
	const struct talker *t = arg;
	int ep = app_set(t->fd, EPOLLIN | EPOLLET);
	struct epoll_event event;
	char buf[64];

	while (!t->stop) {
		epoll_wait(ep, &event, 1, QUIET_MS);
		while (!t->stop && recv(t->fd, buf, sizeof(buf), 0) > 0)
			;
	}
	return NULL;
}

START_TEST(busy_socket_leaves_others_their_events)
{
	struct ends busy, e;
	struct talker from, to;
	pthread_t threads[2];
	int listening, ep;

	app_start();
	listening = app_listener();
	busy = app_pair_on(listening);
	e = app_pair_on(listening);
	app_set_nonblocking(busy.a, false);
	from = (struct talker){ .fd = busy.a };
	to = (struct talker){ .fd = busy.b };
	ck_assert_int_eq(pthread_create(&threads[0], NULL, take_for_ever, &to), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, talk, &from), 0);
	ep = app_set(e.b, EPOLLIN | EPOLLET);
	for (int i = 0; i < 100; i++) {
		app_send(e.a, "x");
		ck_assert_int_eq(await_bytes(ep, e.b), 1);
	}
	from.stop = true;
	pthread_join(threads[1], NULL);
	to.stop = true;
	pthread_join(threads[0], NULL);
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
	FAILS(send(e.b, "x", 1, MSG_NOSIGNAL), EPIPE);
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
	other_listen(me, &to, 1);
}

/* Starts the application, which accepts that process's connection. */
static int accept_from(struct other *peer)
{
	struct sockaddr_in here;
	int listening;

	other_start(peer, connect_and_wait);
	app_start();
	listening = app_listener();
	here = app_name(listening);
	other_say(peer, &here, sizeof(here));
	return app_accept(listening);
}

START_TEST(killed_peer_is_an_event_and_an_error)
{
	struct other peer;
	int fd = accept_from(&peer), ep = app_set(fd, EPOLLIN | EPOLLRDHUP);
	char byte;

	app_quiet(ep);
	other_kill(&peer);
	ck_assert_uint_ne(app_event(ep) & (EPOLLERR | EPOLLHUP), 0);
	FAILS(recv(fd, &byte, 1, 0), ECONNRESET);
}
END_TEST

static void *receive_byte(void *arg)
{
	char byte;

	FAILS(recv(*(const int *)arg, &byte, 1, 0), ECONNRESET);
	return NULL;
}

START_TEST(killed_peer_ends_a_blocked_call)
{
	struct other peer;
	int fd = accept_from(&peer);
	pthread_t thread;

	app_set_nonblocking(fd, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, receive_byte, &fd), 0);
	app_quiet(app_set(fd, EPOLLIN));
	other_kill(&peer);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

/* It ends, without a close, and without the library's last words. */
START_TEST(peer_that_ends_is_an_event)
{
	struct other peer;
	int fd = accept_from(&peer), ep = app_set(fd, EPOLLIN | EPOLLRDHUP);

	app_quiet(ep);
	other_say(&peer, "x", 1);
	ck_assert_uint_ne(app_event(ep), 0);
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

int main(void)
{
	Suite *s = suite_create("dmm events");
	TCase *tc;

	tc = group(s, "epoll", 150);
	tcase_add_test(tc, events_are_masked);
	tcase_add_test(tc, level_is_reported_until_it_is_gone);
	tcase_add_test(tc, edge_reports_each_arrival_though_nothing_is_read);
	tcase_add_test(tc, data_that_was_there_before_is_reported_by_add);
	tcase_add_loop_test(tc, no_wakeup_is_lost, 0, 2);
	tcase_add_test(tc, writable_is_told_when_room_comes_back_only);
	tcase_add_loop_test(tc, thread_that_tells_goes_first_where_that_is_permitted, 0, 2);
	tcase_add_loop_test(tc, oneshot_is_reported_once_until_mod, 0, 2);
	tcase_add_test(tc, one_descriptor_in_two_sets);
	tcase_add_test(tc, nothing_is_told_after_the_last_del);
	tcase_add_test(tc, close_without_del_ends_the_registration);
	tcase_add_test(tc, nothing_is_told_late_while_data_arrives);
	tcase_add_loop_test(tc, socket_is_registered_in_any_state, 0, 2);
	tcase_add_test(tc, busy_socket_leaves_others_their_events);
	tcase_add_test(tc, control_never_blocks_a_blocking_socket);
	tcase_add_test(tc, misuse_of_control_is_harmless);

	tc = group(s, "ends", 150);
	tcase_add_test(tc, half_close_is_in_and_rdhup_and_sending_goes_on);
	tcase_add_test(tc, close_of_the_peer_is_reported);
	tcase_add_test(tc, both_ends_closed_adds_hup);
	tcase_add_test(tc, killed_peer_is_an_event_and_an_error);
	tcase_add_test(tc, killed_peer_ends_a_blocked_call);
	tcase_add_test(tc, peer_that_ends_is_an_event);
	tcase_add_test(tc, close_does_not_wait_for_a_peer_that_does_not_read);

	tc = group(s, "select", 150);
	tcase_add_loop_test(tc, select_tells_readable_and_writable, 0, 2);
	tcase_add_test(tc, select_tells_of_a_listener_and_of_the_end);
	tcase_add_test(tc, select_leaves_other_bits_alone);
	tcase_add_test(tc, select_of_nstacks_thread_races_with_close);
	return run_suite(s);
}
