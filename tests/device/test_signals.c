/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Signals interrupt blocked calls, or do not, as their handlers ask for. */
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

/* The thread sanitizer runs no handler while a thread is inside read(2). */
#ifdef __SANITIZE_THREAD__
#define HANDLERS_ARE_HELD_BACK true
#else
#define HANDLERS_ARE_HELD_BACK false
#endif

static struct call interrupted(ssize_t (*make)(int fd), int fd)
{
	struct call c;

	count_signal(SIGUSR1, 0);
	call_blocks(&c, make, fd);
	call_interrupt(&c, SIGUSR1);
	call_returns(&c);
	return c;
}

START_TEST(signal_interrupts_a_receive)
{
	struct pair p = pair_connected();
	struct call c = interrupted(call_recv, p.a);

	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(signal_interrupts_a_send)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 2 };
	struct call c;

	s.bytes = fill_send_side(p.a, s.seed);
	c = interrupted(call_send_4mib, p.a);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	stream_take(p.b, &s);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(signal_interrupts_a_receive_that_waits_for_another)
{
	struct pair p = pair_connected();
	struct call first, c;

	call_blocks(&first, call_recv, p.a);
	c = interrupted(call_recv, p.a);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	say(p.b, "data");
	call_returns(&first);
	ck_assert_int_eq(first.ret, 4);
}
END_TEST

START_TEST(signal_interrupts_a_send_that_waits_for_another)
{
	struct pair p = pair_narrow();
	struct call first, c;

	fill_send_side(p.a, 3);
	call_blocks(&first, call_send_4mib, p.a);
	c = interrupted(call_send_4mib, p.a);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	OK(rsk_close(p.b));
	call_returns(&first);
}
END_TEST

START_TEST(signal_cuts_a_send_short)
{
	struct pair p = pair_narrow();
	struct call c = interrupted(call_send_4mib, p.a);
	uint64_t taken = 0;
	char buf[4096];
	ssize_t n;

	ck_assert_int_gt(c.ret, 0);
	ck_assert_int_lt(c.ret, 4 * MIB);
	OK(rsk_shutdown(p.a, SHUT_WR));
	while ((n = rsk_recv(p.b, buf, sizeof(buf), 0)) > 0)
		taken += n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(taken, c.ret);
}
END_TEST

START_TEST(signal_interrupts_an_accept)
{
	int listening = listener();
	struct call c = interrupted(call_accept, listening);

	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	pair_close(pair_on(listening));
}
END_TEST

START_TEST(signal_interrupts_a_poll_whatever_its_flags)
{
	struct pair p = pair_connected();
	struct call c;

	count_signal(SIGUSR2, SA_RESTART);
	call_blocks(&c, call_poll_in, p.a);
	call_interrupt(&c, SIGUSR2);
	call_returns(&c);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
}
END_TEST

static struct address silent;

static ssize_t call_connect_to_silence(int fd)
{
	return rsk_connect(fd, &silent.any, silent.len);
}

START_TEST(signal_interrupts_a_connect_which_goes_on)
{
	struct raw r;
	struct call c;

	silent = raw_listen(&r);
	c = interrupted(call_connect_to_silence, socket_with(AF_INET, NO_OPTIONS));
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
	set_nonblocking(c.fd, true);
	FAILS(rsk_connect(c.fd, &silent.any, silent.len), EALREADY);
	raw_take_request(&r);
	raw_accept(&r, NULL);
	connect_finished(c.fd);
}
END_TEST

START_TEST(restarting_signal_does_not_end_a_receive)
{
	struct pair p = pair_connected();
	struct call c;

	count_signal(SIGUSR2, SA_RESTART);
	call_blocks(&c, call_recv, p.a);
	for (int i = 0; i < 3; i++) {
		call_interrupt(&c, SIGUSR2);
		task_wait_asleep(&c.task);
	}
	ck_assert_int_eq(rsk_send(p.b, "data", 4, 0), 4);
	call_returns(&c);
	ck_assert_int_eq(c.ret, 4);
}
END_TEST

START_TEST(restarting_signal_does_not_end_an_accept)
{
	int listening = listener(), fd;
	struct address there = local_address(listening);
	struct call c;

	count_signal(SIGUSR2, SA_RESTART);
	call_blocks(&c, call_accept, listening);
	call_interrupt(&c, SIGUSR2);
	task_wait_asleep(&c.task);
	fd = connected_to(&there);
	call_returns(&c);
	ck_assert_int_ge(c.ret, 0);
	check_connected(fd, c.ret);
}
END_TEST

START_TEST(signal_to_the_process_reaches_the_blocked_thread)
{
	struct pair p = pair_connected();
	struct itimerval again = { { 0, 50000 }, { 0, 50000 } }, never = { { 0, 0 }, { 0, 0 } };
	char byte;

	/* Again and again, as the first may come before the call blocks. */
	count_signal(SIGALRM, 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &again, NULL), 0);
	FAILS(rsk_recv(p.a, &byte, 1, 0), EINTR);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	ck_assert_int_gt(signals_counted(), 0);
}
END_TEST

START_TEST(library_threads_take_no_signals)
{
	struct pair p = pair_connected();
	sigset_t one;
	int taken;

	/* The only thread of the test blocks it: whoever handles it now is the library. */
	count_signal(SIGUSR1, 0);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &one, NULL), 0);
	ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
	check_connected(p.a, p.b);
	ck_assert_int_eq(signals_counted(), 0);
	ck_assert_int_eq(sigwait(&one, &taken), 0);
	ck_assert_int_eq(taken, SIGUSR1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("signals");
	TCase *tc;

	tc = group(s, "signals", 150);
	tcase_add_test(tc, signal_interrupts_a_receive);
	tcase_add_test(tc, signal_interrupts_a_send);
	tcase_add_test(tc, signal_interrupts_a_receive_that_waits_for_another);
	tcase_add_test(tc, signal_interrupts_a_send_that_waits_for_another);
	tcase_add_test(tc, signal_cuts_a_send_short);
	tcase_add_test(tc, signal_interrupts_an_accept);
	tcase_add_test(tc, signal_interrupts_a_poll_whatever_its_flags);
	tcase_add_test(tc, signal_interrupts_a_connect_which_goes_on);
	if (!HANDLERS_ARE_HELD_BACK) {
		tcase_add_test(tc, restarting_signal_does_not_end_a_receive);
		tcase_add_test(tc, restarting_signal_does_not_end_an_accept);
	}
	tcase_add_test(tc, signal_to_the_process_reaches_the_blocked_thread);
	tcase_add_test(tc, library_threads_take_no_signals);
	return run_suite(s);
}
