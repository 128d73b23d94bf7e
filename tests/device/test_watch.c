/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* rsk_watch(): callbacks from the library's thread, for each arrival, and none after the end of watching. */
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "process.h"
#include "rawpeer.h"
#include "stream.h"
#include "task.h"

#define EVERYTHING (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

/* What a callback was told. Static: a call may come even when the test has seen all that it waits for. */
struct told {
	int fd;
	atomic_int calls, tid;
	_Atomic(uint32_t) last;
};

static void note(int fd, uint32_t events, void *arg)
{
	struct told *t = arg;

	ck_assert_int_eq(fd, t->fd);
	t->last = events;
	t->tid = gettid();
	t->calls++;
}

static uint32_t watch(int fd, uint32_t events, rsk_watch_fn *fn, void *arg)
{
	int bits = rsk_watch(fd, events, fn, arg);

	ck_assert_msg(bits >= 0, "rsk_watch: %s", strerror(errno));
	return (uint32_t)bits;
}

static uint32_t watch_by(rsk_watch_fn *fn, struct told *t, int fd, uint32_t events)
{
	t->fd = fd;
	return watch(fd, events, fn, t);
}

static uint32_t watch_into(struct told *t, int fd, uint32_t events)
{
	return watch_by(note, t, fd, events);
}

static void await_calls(struct told *t, int number)
{
	uint64_t limit = now_ms() + LIMIT_MS;

	while (t->calls < number) {
		ck_assert_msg(now_ms() < limit, "%d calls, not %d", t->calls, number);
		poll(NULL, 0, 1);
	}
}

/* Waits for the call of this number, counted from 1; returns its bits. */
static uint32_t call_number(struct told *t, int number)
{
	await_calls(t, number);
	ck_assert_int_eq(t->calls, number);
	return t->last;
}

static void no_call_but(struct told *t, int calls)
{
	poll(NULL, 0, QUIET_MS);
	ck_assert_int_eq(t->calls, calls);
}

static void await(sem_t *sem)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += LIMIT_MS / 1000;
	ck_assert_int_eq(sem_timedwait(sem, &limit), 0);
}

/* -- what is told ------------------------------------------------------------------------------ */

START_TEST(present_bits_are_returned_and_not_told)
{
	struct pair p = pair_connected();
	static struct told a, b, fresh;

	say(p.a, "x");
	wait_for(p.b, POLLIN);
	ck_assert_uint_eq(watch_into(&b, p.b, EVERYTHING), EPOLLIN | EPOLLOUT);
	ck_assert_uint_eq(watch_into(&a, p.a, EPOLLIN), 0);
	ck_assert_uint_eq(watch_into(&fresh, socket_with(AF_INET, NO_OPTIONS), EPOLLOUT), EPOLLOUT | EPOLLHUP);
	no_call_but(&b, 0);
	no_call_but(&a, 0);
	no_call_but(&fresh, 0);
}
END_TEST

START_TEST(each_arrival_is_told_also_when_earlier_ones_are_unread)
{
	struct pair p = pair_connected();
	static struct told t;

	ck_assert_uint_eq(watch_into(&t, p.b, EPOLLIN), 0);
	for (int i = 1; i <= 10; i++) {
		say(p.a, "x");
		ck_assert_uint_eq(call_number(&t, i), EPOLLIN);
	}
	no_call_but(&t, 10);
}
END_TEST

START_TEST(room_is_told_after_a_send_found_none)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 1, .bytes = 1000 };
	static struct told t;
	int before;

	ck_assert_uint_eq(watch_into(&t, p.a, EPOLLOUT), EPOLLOUT);
	stream_pass(p.a, p.b, &s);
	no_call_but(&t, 0);
	for (int i = 0; i < 3; i++) {
		s.bytes = fill_send_side(p.a, s.seed);
		poll(NULL, 0, QUIET_MS);
		before = t.calls;
		stream_take(p.b, &s);
		ck_assert_uint_eq(call_number(&t, before + 1), EPOLLOUT);
	}
}
END_TEST

START_TEST(ends_are_told)
{
	struct pair p = pair_connected();
	static struct told t;

	ck_assert_uint_eq(watch_into(&t, p.b, EPOLLRDHUP), 0);
	say(p.a, "x");
	wait_for(p.b, POLLIN);
	no_call_but(&t, 0);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_uint_eq(call_number(&t, 1), EPOLLRDHUP);
	OK(rsk_shutdown(p.b, SHUT_WR));
	ck_assert_uint_eq(call_number(&t, 2), EPOLLRDHUP | EPOLLHUP);
}
END_TEST

START_TEST(failure_is_told_unasked)
{
	int listening = listener(), fd;
	struct address there = local_address(listening);
	static struct told t;
	struct raw r;

	raw_connect(&r, &there, NULL);
	ck_assert_int_eq(raw_event(&r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	ck_assert_uint_eq(watch_into(&t, fd, 0), 0);
	raw_drop(&r);
	ck_assert_uint_eq(call_number(&t, 1), EPOLLERR | EPOLLHUP);
}
END_TEST

START_TEST(listener_is_told_of_each_connection)
{
	int listening = listener();
	struct address there = local_address(listening);
	static struct told t;

	ck_assert_uint_eq(watch_into(&t, listening, EPOLLIN), 0);
	for (int i = 1; i <= 3; i++) {
		connected_to(&there);
		ck_assert_uint_eq(call_number(&t, i), EPOLLIN);
	}
}
END_TEST

START_TEST(outcome_of_a_connect_is_told)
{
	struct raw r;
	struct address there = raw_listen(&r);
	static struct told t;
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	ck_assert_uint_eq(watch_into(&t, fd, EVERYTHING), 0);
	no_call_but(&t, 0);
	if (_i) {
		raw_accept(&r, NULL);
		ck_assert_uint_eq(call_number(&t, 1), EPOLLOUT);
	} else {
		raw_reject(&r);
		ck_assert_uint_eq(call_number(&t, 1), EVERYTHING | EPOLLERR | EPOLLHUP);
	}
}
END_TEST

START_TEST(another_thread_that_receives_takes_no_call_away)
{
	struct pair p = pair_connected();
	static struct told t;
	struct call reader;
	int before;

	ck_assert_uint_eq(watch_into(&t, p.b, EPOLLIN), 0);
	for (int i = 0; i < 3; i++) {
		call_blocks(&reader, call_recv, p.b);
		say(p.a, "x");
		call_returns(&reader);
		ck_assert_int_eq(reader.ret, 1);
		/* That one may have been taken before anybody was told. */
		poll(NULL, 0, QUIET_MS);
		before = t.calls;
		say(p.a, "y");
		call_number(&t, before + 1);
		ck_assert_int_eq(rsk_recv(p.b, &(char){ 0 }, 1, 0), 1);
	}
}
END_TEST

/* -- the end of watching ----------------------------------------------------------------------- */

/* No call may come while it is off. */
struct gate {
	atomic_bool on;
	atomic_int calls, wrong;
};

static void pass_gate(int fd, uint32_t events, void *arg)
{
	struct gate *g = arg;
	char buf[64];

	(void)events;
	g->wrong += !g->on;
	while (rsk_recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	sched_yield();
	g->wrong += !g->on;
	g->calls++;
}

struct talker {
	int fd;
	atomic_bool stop;
};

static void talk(void *arg)
{
	struct talker *t = arg;

	while (!t->stop) {
		ck_assert_int_eq(rsk_send(t->fd, "x", 1, 0), 1);
		sched_yield();
	}
}

START_TEST(no_call_comes_after_the_end_of_watching)
{
	struct pair p = pair_connected();
	struct talker talker = { .fd = p.a };
	static struct gate gates[2];
	struct dice d = { 1 };
	struct task task;
	char buf[4096];

	task_start(&task, talk, &talker);
	for (int i = 0; i < 1000; i++) {
		struct gate *g = &gates[i % 2], *other = &gates[!(i % 2)];

		g->on = true;
		watch(p.b, EPOLLIN, pass_gate, g);
		/* It was replaced, unless it had ended before. */
		other->on = false;
		for (uint64_t spins = roll(&d, 0, 300); spins; spins--)
			sched_yield();
		if (roll(&d, 0, 1)) {
			OK(rsk_watch(p.b, 0, NULL, NULL));
			g->on = false;
		}
		while (rsk_recv(p.b, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
	}
	OK(rsk_watch(p.b, 0, NULL, NULL));
	gates[0].on = gates[1].on = false;
	talker.stop = true;
	while (!task.done)
		rsk_recv(p.b, buf, sizeof(buf), MSG_DONTWAIT);
	task_join(&task);
	ck_assert_int_eq(gates[0].wrong + gates[1].wrong, 0);
	ck_assert_int_gt(gates[0].calls + gates[1].calls, 0);
}
END_TEST

struct blocker {
	sem_t entered, go_on;
};

static void block(int fd, uint32_t events, void *arg)
{
	struct blocker *b = arg;

	(void)fd, (void)events;
	sem_post(&b->entered);
	await(&b->go_on);
}

static ssize_t call_unwatch(int fd)
{
	return rsk_watch(fd, 0, NULL, NULL);
}

static void watch_blocker(struct blocker *b, struct pair p)
{
	sem_init(&b->entered, 0, 0);
	sem_init(&b->go_on, 0, 0);
	watch(p.b, EPOLLIN, block, b);
	say(p.a, "x");
	await(&b->entered);
}

START_TEST(end_of_watching_waits_for_a_call_that_is_being_made)
{
	struct pair p = pair_connected();
	static struct blocker b;
	struct call c;

	watch_blocker(&b, p);
	call_blocks(&c, call_unwatch, p.b);
	sem_post(&b.go_on);
	call_returns(&c);
	ck_assert_int_eq(c.ret, 0);
}
END_TEST

START_TEST(close_does_not_wait_for_a_call_that_is_being_made)
{
	struct pair p = pair_connected();
	static struct blocker b;

	watch_blocker(&b, p);
	OK(rsk_close(p.b));
	sem_post(&b.go_on);
	check_end_of_file(p.a);
}
END_TEST

START_TEST(peer_learns_of_a_close_while_a_call_takes_its_time)
{
	struct pair p = pair_connected(), other = pair_connected();
	static struct blocker b;

	watch_blocker(&b, p);
	OK(rsk_close(other.b));
	check_end_of_file(other.a);
	sem_post(&b.go_on);
}
END_TEST

START_TEST(call_that_takes_its_time_loses_nothing_of_others)
{
	struct pair p = pair_connected(), others[20];
	static struct told told[COUNT(others)];
	static struct blocker b;

	for (size_t i = 0; i < COUNT(others); i++) {
		others[i] = pair_connected();
		watch_into(&told[i], others[i].b, EPOLLIN);
	}
	watch_blocker(&b, p);
	for (size_t i = 0; i < COUNT(others); i++)
		say(others[i].a, "x");
	say(p.a, "y");
	for (size_t i = 0; i < COUNT(others); i++)
		no_call_but(&told[i], 0);
	sem_post(&b.go_on);
	await(&b.entered);
	sem_post(&b.go_on);
	for (size_t i = 0; i < COUNT(others); i++)
		ck_assert_uint_eq(call_number(&told[i], 1), EPOLLIN);
}
END_TEST

START_TEST(closed_socket_is_watched_no_more)
{
	struct pair p = pair_connected();
	static struct told t;

	watch_into(&t, p.b, EPOLLIN);
	OK(rsk_close(p.b));
	no_call_but(&t, 0);
	FAILS(rsk_watch(p.b, 0, NULL, NULL), EBADF);
}
END_TEST

/* -- from within a call ------------------------------------------------------------------------ */

static void unwatch_self(int fd, uint32_t events, void *arg)
{
	note(fd, events, arg);
	OK(rsk_watch(fd, 0, NULL, NULL));
}

static void watch_by_note(int fd, uint32_t events, void *arg)
{
	note(fd, events, arg);
	ck_assert_uint_eq(watch(fd, EPOLLIN | EPOLLOUT, note, arg), EPOLLIN | EPOLLOUT);
}

static void close_self(int fd, uint32_t events, void *arg)
{
	note(fd, events, arg);
	OK(rsk_close(fd));
}

START_TEST(call_may_end_its_own_watch)
{
	struct pair p = pair_connected();
	static struct told t;

	watch_by(unwatch_self, &t, p.b, EPOLLIN);
	say(p.a, "x");
	call_number(&t, 1);
	say(p.a, "x");
	no_call_but(&t, 1);
	watch_by(unwatch_self, &t, p.b, EPOLLIN);
	say(p.a, "x");
	call_number(&t, 2);
}
END_TEST

START_TEST(call_may_replace_itself)
{
	struct pair p = pair_connected();
	static struct told t;

	watch_by(watch_by_note, &t, p.b, EPOLLIN);
	for (int i = 1; i <= 5; i++) {
		say(p.a, "x");
		call_number(&t, i);
	}
	ck_assert_uint_eq(t.last, EPOLLIN | EPOLLOUT);
}
END_TEST

START_TEST(call_may_close_its_own_socket)
{
	int before;

	pair_close(pair_connected());
	before = open_descriptors();
	for (int i = 0; i < 5; i++) {
		struct pair p = pair_connected();
		static struct told t;

		watch_by(close_self, &t, p.b, EPOLLIN | EPOLLRDHUP);
		say(p.a, "x");
		call_number(&t, i + 1);
		check_end_of_file(p.a);
		OK(rsk_close(p.a));
	}
	/* Those of watching itself come on top. */
	for (int i = 0; open_descriptors() > before + 3; i++) {
		ck_assert_int_lt(i, LIMIT_MS / 10);
		poll(NULL, 0, 10);
	}
}
END_TEST

START_TEST(call_may_close_its_own_listener)
{
	int listening = listener();
	struct address there = local_address(listening);
	static struct told t;
	int fd;

	watch_by(close_self, &t, listening, EPOLLIN);
	fd = connect_begun(&there, NO_OPTIONS);
	call_number(&t, 1);
	wait_for(fd, POLLIN);
}
END_TEST

/* A whole server that lives in its calls: it accepts, and echoes until the peer is done. */
static void echo(int fd, uint32_t events, void *arg)
{
	char buf[3000];
	ssize_t n;

	(void)events, (void)arg;
	while ((n = rsk_recv(fd, buf, sizeof(buf), 0)) > 0)
		/* There is room: the peer sends a piece only when it has the last one back. */
		ck_assert_int_eq(rsk_send(fd, buf, n, MSG_NOSIGNAL), n);
	if (n == 0)
		OK(rsk_close(fd));
	else
		FAILS(n, EAGAIN);
}

static void serve(int listening, uint32_t events, void *arg)
{
	int fd;

	while ((fd = rsk_accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		if (watch(fd, EPOLLIN | EPOLLRDHUP, echo, arg))
			echo(fd, EPOLLIN, arg);
	}
	(void)events;
	FAILS(fd, EAGAIN);
}

START_TEST(server_may_live_in_its_calls)
{
	int listening = listener(), fds[10];
	struct address there = local_address(listening);
	char sent[2000], got[sizeof(sent)];

	set_nonblocking(listening, true);
	watch(listening, EPOLLIN, serve, NULL);
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = connected_to(&there);
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < COUNT(fds); i++) {
			pattern_fill(sent, sizeof(sent), i, round);
			ck_assert_int_eq(rsk_send(fds[i], sent, sizeof(sent), 0), sizeof(sent));
		}
		for (size_t i = 0; i < COUNT(fds); i++) {
			wait_for(fds[i], POLLIN);
			ck_assert_int_eq(rsk_recv(fds[i], got, sizeof(got), MSG_WAITALL), sizeof(got));
			pattern_check(got, sizeof(got), i, round);
		}
	}
	for (size_t i = 0; i < COUNT(fds); i++) {
		OK(rsk_shutdown(fds[i], SHUT_WR));
		wait_for(fds[i], POLLIN);
		check_end_of_file(fds[i]);
	}
}
END_TEST

/* -- mistakes, and many ------------------------------------------------------------------------ */

START_TEST(mistakes_are_told)
{
	struct pair p = pair_connected();
	static struct told t;
	int ends[2];

	FAILS(rsk_watch(-1, EPOLLIN, note, &t), EBADF);
	FAILS(rsk_watch(900, EPOLLIN, note, &t), EBADF);
	ck_assert_int_eq(pipe(ends), 0);
	FAILS(rsk_watch(ends[0], EPOLLIN, note, &t), EBADF);
	FAILS(rsk_watch(p.a, EPOLLIN, NULL, NULL), EINVAL);
	FAILS(rsk_watch(p.a, EPOLLIN | EPOLLET, note, &t), EINVAL);
	FAILS(rsk_watch(p.a, EPOLLIN | EPOLLONESHOT, note, &t), EINVAL);
	FAILS(rsk_watch(p.a, EPOLLIN | 1u << 27, note, &t), EINVAL);
	/* Not watched: nothing to end. */
	OK(rsk_watch(p.a, 0, NULL, NULL));
	say(p.b, "x");
	no_call_but(&t, 0);
	/* A mistake changes nothing. */
	watch_into(&t, p.b, EPOLLIN);
	FAILS(rsk_watch(p.b, EPOLLET, note, &t), EINVAL);
	say(p.a, "x");
	call_number(&t, 1);
}
END_TEST

#define PAIRS 65          /* so that there are more sockets than one file may nest in epoll instances */

START_TEST(many_sockets_are_watched)
{
	static struct told a[PAIRS], b[PAIRS];
	struct pair p[PAIRS];
	int listening = listener();

	for (int i = 0; i < PAIRS; i++) {
		p[i] = pair_on(listening);
		watch_into(&a[i], p[i].a, EPOLLIN);
		watch_into(&b[i], p[i].b, EPOLLIN);
	}
	for (int i = 0; i < PAIRS; i++) {
		say(p[i].a, "x");
		say(p[i].b, "x");
	}
	for (int i = 0; i < PAIRS; i++) {
		await_calls(&a[i], 1);
		await_calls(&b[i], 1);
	}
}
END_TEST

/* How often a thread has gone to sleep. */
static long sleeps_of(int tid)
{
	char path[64], line[200];
	long count = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "voluntary_ctxt_switches: %ld", &count);
	fclose(f);
	ck_assert_int_gt(count, 0);
	return count;
}

START_TEST(idle_connections_wake_nobody)
{
	static struct told told[60];
	struct pair p[COUNT(told)];
	int listening = listener();
	long before, after;

	for (size_t i = 0; i < COUNT(p); i++) {
		p[i] = pair_on(listening);
		watch_into(&told[i], p[i].b, EVERYTHING);
		say(p[i].a, "x");
		await_calls(&told[i], 1);
		ck_assert_int_eq(rsk_recv(p[i].b, &(char){ 0 }, 1, 0), 1);
	}
	/* What connecting left to do is over when a second passes without a wake-up. */
	after = sleeps_of(told[0].tid);
	for (int second = 0; second < 10; second++) {
		before = after;
		poll(NULL, 0, 1000);
		after = sleeps_of(told[0].tid);
		if (after == before)
			return;
	}
	ck_abort_msg("%ld wake-ups in the tenth idle second", after - before);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watch");
	TCase *tc;

	tc = group(s, "told", 150);
	tcase_add_test(tc, present_bits_are_returned_and_not_told);
	tcase_add_test(tc, each_arrival_is_told_also_when_earlier_ones_are_unread);
	tcase_add_test(tc, room_is_told_after_a_send_found_none);
	tcase_add_test(tc, ends_are_told);
	tcase_add_test(tc, failure_is_told_unasked);
	tcase_add_test(tc, listener_is_told_of_each_connection);
	tcase_add_loop_test(tc, outcome_of_a_connect_is_told, 0, 2);
	tcase_add_test(tc, another_thread_that_receives_takes_no_call_away);

	tc = group(s, "end", 150);
	tcase_add_test(tc, no_call_comes_after_the_end_of_watching);
	tcase_add_test(tc, end_of_watching_waits_for_a_call_that_is_being_made);
	tcase_add_test(tc, close_does_not_wait_for_a_call_that_is_being_made);
	tcase_add_test(tc, peer_learns_of_a_close_while_a_call_takes_its_time);
	tcase_add_test(tc, call_that_takes_its_time_loses_nothing_of_others);
	tcase_add_test(tc, closed_socket_is_watched_no_more);

	tc = group(s, "within", 150);
	tcase_add_test(tc, call_may_end_its_own_watch);
	tcase_add_test(tc, call_may_replace_itself);
	tcase_add_test(tc, call_may_close_its_own_socket);
	tcase_add_test(tc, call_may_close_its_own_listener);
	tcase_add_test(tc, server_may_live_in_its_calls);

	tc = group(s, "many", 150);
	tcase_add_test(tc, mistakes_are_told);
	tcase_add_test(tc, many_sockets_are_watched);
	tcase_add_test(tc, idle_connections_wake_nobody);
	return run_suite(s);
}
