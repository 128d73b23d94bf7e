/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rsk_ppoll(), rsk_select() and rsk_pselect(): what rsk_poll() does, in other clothes. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "stream.h"
#include "task.h"

#define MANY 5000         /* descriptors: more than an fd_set holds */
#define WORD (8 * sizeof(unsigned long))

/* A set of MANY bits. */
struct wide {
	unsigned long words[MANY / WORD + 1];
};

static void put(struct wide *set, int fd)
{
	set->words[fd / WORD] |= 1ul << fd % WORD;
}

static bool has(const struct wide *set, int fd)
{
	return set->words[fd / WORD] >> fd % WORD & 1;
}

static struct wide only(int fd)
{
	struct wide set = { { 0 } };

	put(&set, fd);
	return set;
}

static fd_set *as_set(struct wide *set)
{
	return (fd_set *)set;
}

static struct timeval ms(long count)
{
	return (struct timeval){ count / 1000, count % 1000 * 1000 };
}

/* The bits of one descriptor in three sets: 1 readable, 2 writable, 4 exceptional; as asked for by @ask. */
static int selected(int fd, int ask, long limit_ms)
{
	struct wide in = { { 0 } }, out = in, except = in;
	struct timeval limit = ms(limit_ms);
	int n, bits;

	if (ask & 1)
		put(&in, fd);
	if (ask & 2)
		put(&out, fd);
	if (ask & 4)
		put(&except, fd);
	n = rsk_select(fd + 1, as_set(&in), as_set(&out), as_set(&except), &limit);
	ck_assert_msg(n >= 0, "rsk_select: %s", strerror(errno));
	bits = has(&in, fd) | has(&out, fd) << 1 | has(&except, fd) << 2;
	ck_assert_int_eq(n, __builtin_popcount(bits));
	return bits;
}

/* -- what is reported -------------------------------------------------------------------------- */

START_TEST(select_reports_what_is_asked_for)
{
	struct pair p = pair_connected();

	ck_assert_int_eq(selected(p.b, 7, 0), 2);
	ck_assert_int_eq(selected(p.b, 1, QUIET_MS), 0);
	say(p.a, "x");
	ck_assert_int_eq(selected(p.b, 1, LIMIT_MS), 1);
	ck_assert_int_eq(selected(p.b, 7, LIMIT_MS), 3);
	ck_assert_int_eq(selected(p.b, 4, QUIET_MS), 0);
}
END_TEST

START_TEST(select_waits_for_room)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 1 };

	s.bytes = fill_send_side(p.a, s.seed);
	ck_assert_int_eq(selected(p.a, 2, QUIET_MS), 0);
	stream_take(p.b, &s);
	ck_assert_int_eq(selected(p.a, 2, LIMIT_MS), 2);
}
END_TEST

START_TEST(select_reports_the_end_as_readable)
{
	struct pair p = pair_connected();

	OK(rsk_close(p.a));
	ck_assert_int_eq(selected(p.b, 1, LIMIT_MS), 1);
	check_end_of_file(p.b);
	ck_assert_int_eq(selected(p.b, 7, 0), 3);
}
END_TEST

START_TEST(select_reports_a_failed_connect_as_readable_and_writable)
{
	struct address there = address_deserted();
	int fd = connect_begun(&there, NO_OPTIONS);

	ck_assert_int_ne(connect_outcome(fd), 0);
	ck_assert_int_eq(selected(fd, 7, LIMIT_MS), 3);
}
END_TEST

START_TEST(select_reports_a_listener)
{
	int listening = listener();
	struct address there = local_address(listening);

	ck_assert_int_eq(selected(listening, 7, QUIET_MS), 0);
	connected_to(&there);
	ck_assert_int_eq(selected(listening, 7, LIMIT_MS), 1);
}
END_TEST

/* poll(2) reports some bits unasked: they belong into no set here. */
START_TEST(end_of_the_peer_does_not_end_a_wait_for_something_else)
{
	struct pair p = pair_connected();
	int ends[2];

	OK(rsk_close(p.a));
	wait_for(p.b, POLLIN);
	OK(rsk_shutdown(p.b, SHUT_WR));
	wait_for(p.b, POLLHUP);
	ck_assert_int_eq(selected(p.b, 4, QUIET_MS), 0);

	ck_assert_int_eq(pipe(ends), 0);
	close(ends[1]);
	ck_assert_int_eq(selected(ends[0], 4, QUIET_MS), 0);
}
END_TEST

START_TEST(descriptor_0_is_like_any_other)
{
	struct pair p = pair_connected();
	int ends[2], fd, tries = 0;

	/* A kernel descriptor of that number, then one of ours. */
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(dup2(ends[0], 0), 0);
	ck_assert_int_eq(selected(0, 1, QUIET_MS), 0);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	ck_assert_int_eq(selected(0, 1, LIMIT_MS), 1);

	close(0);
	do {
		ck_assert_int_lt(tries++, 10);
		fd = socket_with(AF_INET, NO_OPTIONS);
	} while (fd);
	ck_assert_int_eq(selected(0, 7, 0), 3);
	ck_assert_int_eq(ready_now(0, POLLOUT), POLLOUT | POLLHUP);
	pair_close(p);
}
END_TEST

START_TEST(sets_may_be_wider_than_an_fd_set)
{
	struct pair p = pair_connected();
	struct rlimit files = { 2 * MANY, 2 * MANY };
	struct wide in, before;
	int ends[2], high, n, fd;

	if (setrlimit(RLIMIT_NOFILE, &files)) {
		ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
		ck_assert_msg(files.rlim_cur >= MANY, "too few descriptors are allowed");
	}
	ck_assert_int_eq(pipe(ends), 0);
	high = fcntl(ends[0], F_DUPFD, MANY - 1);
	ck_assert_int_eq(high, MANY - 1);
	/* One of ours above FD_SETSIZE, as new descriptors take the lowest number. */
	for (int i = 0; i < FD_SETSIZE; i++)
		ck_assert_int_ge(dup(ends[0]), 0);
	fd = socket_with(AF_INET, NO_OPTIONS);
	ck_assert_int_ge(fd, FD_SETSIZE);

	in = only(high);
	put(&in, p.b);
	put(&in, fd);
	before = in;
	n = rsk_select(MANY, as_set(&in), NULL, NULL, &(struct timeval){ LIMIT_MS / 1000, 0 });
	ck_assert_int_eq(n, 1);                         /* the new socket: it has hung up */
	ck_assert(has(&in, fd) && !has(&in, high) && !has(&in, p.b));
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	say(p.a, "x");
	wait_for(p.b, POLLIN);
	in = before;
	ck_assert_int_eq(rsk_select(MANY, as_set(&in), NULL, NULL, NULL), 3);
	ck_assert(has(&in, fd) && has(&in, high) && has(&in, p.b));
	/* Nothing above the count is looked at or written. */
	in = before;
	ck_assert_int_eq(rsk_select(MANY - 1, as_set(&in), NULL, NULL, NULL), 2);
	ck_assert(has(&in, high) == ((MANY - 1) % WORD != 0 ? 0 : 1));
}
END_TEST

START_TEST(kernel_descriptors_are_selected_and_polled_too)
{
	struct pair p = pair_connected();
	struct pollfd fds[2] = { { .fd = p.b, .events = POLLIN }, { .events = POLLIN } };
	int ends[2], top;
	struct wide in;

	ck_assert_int_eq(pipe(ends), 0);
	fds[1].fd = ends[0];
	top = (ends[0] > p.b ? ends[0] : p.b) + 1;
	for (int i = 0; i < 2; i++) {
		int expected = i ? ends[0] : p.b;

		if (i)
			ck_assert_int_eq(write(ends[1], "x", 1), 1);
		else
			say(p.a, "x");
		in = only(p.b);
		put(&in, ends[0]);
		ck_assert_int_eq(rsk_select(top, as_set(&in), NULL, NULL, NULL), 1);
		ck_assert(has(&in, expected));
		ck_assert_int_eq(rsk_ppoll(fds, 2, NULL, NULL), 1);
		ck_assert_int_eq(fds[i].revents, POLLIN);
		ck_assert_int_eq(fds[!i].revents, 0);
		if (!i)
			ck_assert_int_eq(rsk_recv(p.b, &(char){ 0 }, 1, 0), 1);
	}
}
END_TEST

/* -- time -------------------------------------------------------------------------------------- */

START_TEST(no_wait_ends_early)
{
	static const long limits_us[] = { 0, 1, 300, 1500, 40000 };
	struct timespec limit = { .tv_nsec = limits_us[_i] * 1000 };
	struct pair p = pair_connected();
	struct pollfd fd = { .fd = p.b, .events = POLLIN };

	for (int i = 0; i < 10; i++) {
		struct timeval left = { .tv_usec = limits_us[_i] };
		struct wide in = only(p.b);
		uint64_t start = now_ns();

		ck_assert_int_eq(rsk_ppoll(&fd, 1, &limit, NULL), 0);
		ck_assert_uint_ge(now_ns() - start, limit.tv_nsec);
		start = now_ns();
		ck_assert_int_eq(rsk_select(p.b + 1, as_set(&in), NULL, NULL, &left), 0);
		ck_assert_uint_ge(now_ns() - start, limit.tv_nsec);
		ck_assert(!left.tv_sec && !left.tv_usec);
		ck_assert(!has(&in, p.b));
		in = only(p.b);
		start = now_ns();
		ck_assert_int_eq(rsk_pselect(p.b + 1, as_set(&in), NULL, NULL, &limit, NULL), 0);
		ck_assert_uint_ge(now_ns() - start, limit.tv_nsec);
	}
	ck_assert_int_eq(limit.tv_nsec, limits_us[_i] * 1000);
}
END_TEST

/* Events that come meanwhile do not eat into it: credits and data of no interest. */
START_TEST(long_wait_lasts_whatever_wakes_it)
{
	struct pair p = pair_connected();
	const struct stream s = { .seed = 2, .bytes = 200000, .take_piece = 1000 };
	struct timeval left = { 4, 0 };
	struct wide except = only(p.a);
	uint64_t start = now_ns();
	struct stream_end sender, taker;

	stream_send_in_thread(&sender, p.a, &s);
	stream_take_in_thread(&taker, p.b, &s);
	ck_assert_int_eq(rsk_select(p.a + 1, NULL, NULL, as_set(&except), &left), 0);
	ck_assert_uint_ge(now_ns() - start, 4000000000u);
	task_join(&sender.task);
	task_join(&taker.task);
}
END_TEST

START_TEST(time_left_is_stored)
{
	struct pair p = pair_connected();
	struct timeval left = { 1000, 0 };
	struct wide in = only(p.b);

	say(p.a, "x");
	ck_assert_int_eq(rsk_select(p.b + 1, as_set(&in), NULL, NULL, &left), 1);
	ck_assert_int_lt(left.tv_sec, 1000);
	ck_assert_int_ge(left.tv_sec, 1000 - LIMIT_MS / 1000);
}
END_TEST

static ssize_t call_select(int fd)
{
	struct wide in = only(fd);

	return rsk_select(fd + 1, as_set(&in), NULL, NULL, NULL);
}

static ssize_t call_pselect_long(int fd)
{
	const struct timespec centuries = { .tv_sec = INT64_MAX };
	struct wide in = only(fd);

	return rsk_pselect(fd + 1, as_set(&in), NULL, NULL, &centuries, NULL);
}

static ssize_t call_ppoll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return rsk_ppoll(&p, 1, NULL, NULL);
}

static ssize_t (*const waits[])(int fd) = { call_select, call_pselect_long, call_ppoll };

START_TEST(wait_without_limit_lasts_until_something_comes)
{
	struct pair p = pair_connected();
	struct call c;

	call_blocks(&c, waits[_i], p.b);
	poll(NULL, 0, QUIET_MS);
	ck_assert(!c.task.done);
	say(p.a, "x");
	call_returns(&c);
	ck_assert_int_eq(c.ret, 1);
}
END_TEST

START_TEST(empty_sets_are_a_sleep)
{
	struct timeval limit = { 0, 1200000 };
	uint64_t start = now_ns();

	/* Linux takes more than a million microseconds, too. */
	ck_assert_int_eq(rsk_select(0, NULL, NULL, NULL, &limit), 0);
	ck_assert_uint_ge(now_ns() - start, 1200000000u);
	limit = ms(20);
	start = now_ns();
	ck_assert_int_eq(rsk_select(0, NULL, NULL, NULL, &limit), 0);
	ck_assert_uint_ge(now_ns() - start, 20000000u);
	start = now_ns();
	ck_assert_int_eq(rsk_ppoll(NULL, 0, &(struct timespec){ 0, 20000000 }, NULL), 0);
	ck_assert_uint_ge(now_ns() - start, 20000000u);
}
END_TEST

/* -- signals ----------------------------------------------------------------------------------- */

START_TEST(signal_interrupts_whatever_its_flags)
{
	struct pair p = pair_connected();
	struct call c;

	count_signal(SIGUSR2, SA_RESTART);
	call_blocks(&c, waits[_i], p.b);
	call_interrupt(&c, SIGUSR2);
	call_returns(&c);
	ck_assert_int_eq(c.ret, -1);
	ck_assert_int_eq(c.error, EINTR);
}
END_TEST

START_TEST(signals_come_in_while_it_waits_as_the_mask_says)
{
	struct pair p = pair_connected();
	const struct timespec short_limit = { 0, QUIET_MS * 1000000 }, long_limit = { 60, 0 };
	struct pollfd fd = { .fd = p.b, .events = POLLIN };
	struct wide in = only(p.b);
	sigset_t none, one;

	sigemptyset(&none);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	count_signal(SIGUSR1, 0);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &one, NULL), 0);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_int_eq(rsk_ppoll(&fd, 1, &short_limit, &one), 0);
	ck_assert_int_eq(signals_counted(), 0);
	FAILS(rsk_ppoll(&fd, 1, &long_limit, &none), EINTR);
	ck_assert_int_eq(signals_counted(), 1);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	FAILS(rsk_pselect(p.b + 1, as_set(&in), NULL, NULL, &long_limit, &none), EINTR);
	ck_assert_int_eq(signals_counted(), 2);
	/* Interrupted, the sets are as they were. */
	ck_assert(has(&in, p.b));
}
END_TEST

/* -- mistakes ---------------------------------------------------------------------------------- */

START_TEST(closed_descriptors_are_reported_as_such)
{
	struct pair p = pair_connected();
	struct pollfd fds[3] = { { .fd = p.b, .events = POLLIN }, { .fd = -1, .events = POLLIN, .revents = 7 },
				 { .fd = 900, .events = POLLIN } };
	struct wide in = only(p.b), before;

	OK(rsk_close(p.b));
	ck_assert_int_eq(rsk_ppoll(fds, 3, NULL, NULL), 2);
	ck_assert_int_eq(fds[0].revents, POLLNVAL);
	ck_assert_int_eq(fds[1].revents, 0);
	ck_assert_int_eq(fds[2].revents, POLLNVAL);

	put(&in, 0);
	before = in;
	FAILS(rsk_select(p.b + 1, as_set(&in), NULL, NULL, NULL), EBADF);
	FAILS(rsk_pselect(p.b + 1, NULL, NULL, as_set(&in), NULL, NULL), EBADF);
	ck_assert_mem_eq(&in, &before, sizeof(in));
}
END_TEST

START_TEST(descriptor_that_is_closed_meanwhile_ends_the_wait)
{
	struct pair p = pair_connected();
	struct call c;

	call_blocks(&c, waits[_i], p.b);
	OK(rsk_close(p.b));
	call_returns(&c);
	if (waits[_i] == call_ppoll) {
		ck_assert_int_eq(c.ret, 1);
	} else {
		ck_assert_int_eq(c.ret, -1);
		ck_assert_int_eq(c.error, EBADF);
	}
}
END_TEST

START_TEST(bad_limits_and_counts_are_refused)
{
	static const struct timespec bad[] = { { -1, 0 }, { 0, -1 }, { 0, 1000000000 } };
	struct pollfd fd = { .fd = -1 };
	struct rlimit files;

	for (size_t i = 0; i < COUNT(bad); i++) {
		FAILS(rsk_ppoll(&fd, 1, &bad[i], NULL), EINVAL);
		FAILS(rsk_pselect(0, NULL, NULL, NULL, &bad[i], NULL), EINVAL);
	}
	FAILS(rsk_select(0, NULL, NULL, NULL, &(struct timeval){ -1, 0 }), EINVAL);
	FAILS(rsk_select(0, NULL, NULL, NULL, &(struct timeval){ 0, -1 }), EINVAL);
	FAILS(rsk_select(-1, NULL, NULL, NULL, NULL), EINVAL);
	FAILS(rsk_ppoll(NULL, 1, NULL, NULL), EFAULT);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	FAILS(rsk_ppoll(&fd, files.rlim_cur + 1, NULL, NULL), EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("select");
	TCase *tc;

	tc = group(s, "readiness", 150);
	tcase_add_test(tc, select_reports_what_is_asked_for);
	tcase_add_test(tc, select_waits_for_room);
	tcase_add_test(tc, select_reports_the_end_as_readable);
	tcase_add_test(tc, select_reports_a_failed_connect_as_readable_and_writable);
	tcase_add_test(tc, select_reports_a_listener);
	tcase_add_test(tc, end_of_the_peer_does_not_end_a_wait_for_something_else);
	tcase_add_test(tc, descriptor_0_is_like_any_other);
	tcase_add_test(tc, sets_may_be_wider_than_an_fd_set);
	tcase_add_test(tc, kernel_descriptors_are_selected_and_polled_too);

	tc = group(s, "time", 150);
	tcase_add_loop_test(tc, no_wait_ends_early, 0, 5);
	tcase_add_test(tc, long_wait_lasts_whatever_wakes_it);
	tcase_add_test(tc, time_left_is_stored);
	tcase_add_loop_test(tc, wait_without_limit_lasts_until_something_comes, 0, COUNT(waits));
	tcase_add_test(tc, empty_sets_are_a_sleep);

	tc = group(s, "signals", 150);
	tcase_add_loop_test(tc, signal_interrupts_whatever_its_flags, 0, COUNT(waits));
	tcase_add_test(tc, signals_come_in_while_it_waits_as_the_mask_says);

	tc = group(s, "mistakes", 150);
	tcase_add_test(tc, closed_descriptors_are_reported_as_such);
	tcase_add_loop_test(tc, descriptor_that_is_closed_meanwhile_ends_the_wait, 0, COUNT(waits));
	tcase_add_test(tc, bad_limits_and_counts_are_refused);
	return run_suite(s);
}
