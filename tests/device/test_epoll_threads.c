/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Several threads with the same epoll instance; time limits and signals. */
#include <poll.h>
#include <signal.h>

#include "epoll.h"
#include "process.h"
#include "stream.h"
#include "task.h"

/* -- other threads ----------------------------------------------------------------------------- */

static ssize_t call_wait(int ep)
{
	struct epoll_event e;

	return rsk_epoll_wait(ep, &e, 1, -1);
}

START_TEST(waiting_thread_is_woken_by_what_happens_to_the_set)
{
	struct pair p = pair_connected();
	int ep = instance();
	struct call c;

	/* A member that is ready is added; one is modified to be ready. */
	call_blocks(&c, call_wait, ep);
	add(ep, p.b, EPOLLOUT);
	call_returns(&c);
	ck_assert_int_eq(c.ret, 1);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN));
	silent(ep);
	call_blocks(&c, call_wait, ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLOUT));
	call_returns(&c);
	ck_assert_int_eq(c.ret, 1);
}
END_TEST

START_TEST(all_who_wait_are_told_that_the_instance_is_closed)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN), descriptors;
	struct call c[4];

	for (size_t i = 0; i < COUNT(c); i++)
		call_blocks(&c[i], call_wait, ep);
	descriptors = open_descriptors();
	OK(rsk_close(ep));
	for (size_t i = 0; i < COUNT(c); i++) {
		call_returns(&c[i]);
		ck_assert_int_eq(c[i].ret, -1);
		ck_assert_int_eq(c[i].error, EBADF);
	}
	ck_assert_int_lt(open_descriptors(), descriptors);
	FAILS(rsk_close(ep), EBADF);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(each_of_several_threads_gets_a_member)
{
	struct pair p[4];
	struct call c[COUNT(p)];
	int ep = instance();

	for (size_t i = 0; i < COUNT(p); i++) {
		p[i] = pair_connected();
		add(ep, p[i].b, EPOLLIN | EPOLLONESHOT);
	}
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT(p); i++)
			call_blocks(&c[i], call_wait, ep);
		for (size_t i = 0; i < COUNT(p); i++)
			say(p[i].a, "x");
		for (size_t i = 0; i < COUNT(p); i++) {
			call_returns(&c[i]);
			ck_assert_int_eq(c[i].ret, 1);
		}
		silent(ep);
		for (size_t i = 0; i < COUNT(p); i++) {
			take(p[i].b, 1);
			OK(change(ep, EPOLL_CTL_MOD, p[i].b, EPOLLIN | EPOLLONESHOT));
		}
	}
}
END_TEST

START_TEST(thread_that_receives_takes_nothing_from_the_set)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLET);
	struct call reader;

	for (int i = 0; i < 3; i++) {
		call_blocks(&reader, call_recv, p.b);
		say(p.a, "x");
		call_returns(&reader);
		ck_assert_int_eq(reader.ret, 1);
		/* Its arrival may be reported still, the next must be. */
		say(p.a, "y");
		wait_for(p.b, POLLIN);
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		take(p.b, 1);
		while (rsk_epoll_wait(ep, &(struct epoll_event){ 0 }, 1, 0))
			;
	}
}
END_TEST

START_TEST(member_is_reported_while_another_thread_sleeps_on_it)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLRDHUP | EPOLLET);
	struct call reader, waiter;

	call_blocks(&reader, call_recv, p.b);
	call_blocks(&waiter, call_wait, ep);
	OK(rsk_shutdown(p.a, SHUT_WR));
	call_returns(&reader);
	ck_assert_int_eq(reader.ret, 0);
	call_returns(&waiter);
	ck_assert_int_eq(waiter.ret, 1);
}
END_TEST

START_TEST(who_was_turned_away_by_another_sender_is_told_when_it_is_done)
{
	struct pair p = pair_narrow();
	int ep = instance_with(p.a, EPOLLOUT | EPOLLET);
	static char buf[4 * MIB + 1];
	struct call sender;

	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	call_blocks(&sender, call_send_4mib, p.a);
	FAILS(rsk_send(p.a, "x", 1, MSG_DONTWAIT), EAGAIN);
	ck_assert_int_eq(rsk_recv(p.b, buf, 4 * MIB, MSG_WAITALL), 4 * MIB);
	call_returns(&sender);
	ck_assert_int_eq(sender.ret, 4 * MIB);
	do
		ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	while (rsk_send(p.a, "x", 1, MSG_DONTWAIT) != 1);
}
END_TEST

/* -- time and signals -------------------------------------------------------------------------- */

START_TEST(wait_does_not_end_early)
{
	static const long limits_us[] = { 0, 1, 300, 1500, 40000 };
	struct timespec limit = { .tv_nsec = limits_us[_i] * 1000 };
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);
	struct epoll_event e;
	uint64_t start;

	for (int i = 0; i < 10; i++) {
		start = now_ns();
		ck_assert_int_eq(rsk_epoll_pwait2(ep, &e, 1, &limit, NULL), 0);
		ck_assert_uint_ge(now_ns() - start, limit.tv_nsec);
		start = now_ns();
		ck_assert_int_eq(rsk_epoll_wait(ep, &e, 1, (int)(limits_us[_i] / 1000)), 0);
		ck_assert_uint_ge(now_ns() - start, limits_us[_i] / 1000 * 1000000);
	}
}
END_TEST

START_TEST(wait_without_limit_lasts_until_something_comes)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);
	struct call c;

	call_blocks(&c, call_wait, ep);
	poll(NULL, 0, QUIET_MS);
	ck_assert(!c.task.done);
	say(p.a, "x");
	call_returns(&c);
	ck_assert_int_eq(c.ret, 1);
}
END_TEST

START_TEST(signal_interrupts_a_wait_whatever_its_flags)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);
	struct call c;

	count_signal(SIGUSR2, SA_RESTART);
	call_blocks(&c, call_wait, ep);
	call_interrupt(&c, SIGUSR2);
	call_returns(&c);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
}
END_TEST

START_TEST(signals_come_in_while_it_waits_as_the_mask_says)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);
	const struct timespec limit = { .tv_nsec = QUIET_MS * 1000000 }, long_limit = { .tv_sec = 60 };
	struct epoll_event e;
	sigset_t none, one;

	sigemptyset(&none);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	count_signal(SIGUSR1, 0);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &one, NULL), 0);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_int_eq(rsk_epoll_pwait(ep, &e, 1, QUIET_MS, NULL), 0);
	ck_assert_int_eq(rsk_epoll_pwait2(ep, &e, 1, &limit, &one), 0);
	ck_assert_int_eq(signals_counted(), 0);
	FAILS(rsk_epoll_pwait2(ep, &e, 1, &long_limit, &none), EINTR);
	ck_assert_int_eq(signals_counted(), 1);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	FAILS(rsk_epoll_pwait(ep, &e, 1, LIMIT_MS, &none), EINTR);
	ck_assert_int_eq(signals_counted(), 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("epoll threads");
	TCase *tc;

	tc = group(s, "threads", 150);
	tcase_add_test(tc, waiting_thread_is_woken_by_what_happens_to_the_set);
	tcase_add_test(tc, all_who_wait_are_told_that_the_instance_is_closed);
	tcase_add_test(tc, each_of_several_threads_gets_a_member);
	tcase_add_test(tc, thread_that_receives_takes_nothing_from_the_set);
	tcase_add_test(tc, member_is_reported_while_another_thread_sleeps_on_it);
	tcase_add_test(tc, who_was_turned_away_by_another_sender_is_told_when_it_is_done);

	tc = group(s, "time and signals", 150);
	tcase_add_loop_test(tc, wait_does_not_end_early, 0, 5);
	tcase_add_test(tc, wait_without_limit_lasts_until_something_comes);
	tcase_add_test(tc, signal_interrupts_a_wait_whatever_its_flags);
	tcase_add_test(tc, signals_come_in_while_it_waits_as_the_mask_says);
	return run_suite(s);
}
