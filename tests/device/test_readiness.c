/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * No wake-up is lost. Writers send bursts of random sizes with random pauses, and after each wait until all of
 * it was taken: a report that does not come stops them for good. Readers of every kind work side by side,
 * on sockets of their own and on the same one.
 */
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "stream.h"
#include "task.h"

#define LINES 3           /* sockets that a reader has */
#define PIECE 20000

/* A stream, from a writer to one kind of reader. */
struct line {
	int out, in;
	uint64_t seed;
	bool shared;                 /* several threads take: what each gets cannot be known */
	_Atomic(uint64_t) taken;
	struct dice dice;            /* the writer's */
	struct task writer;
	struct reader *reader;
};

struct reader {
	struct line lines[LINES];
	atomic_int left;             /* lines that have not ended */
	int set;
	int done;                    /* an eventfd in the set: none is left */
	sem_t all_ended;
};

/* -- writing ----------------------------------------------------------------------------------- */

static void pause_a_little(struct dice *d)
{
	switch (roll(d, 0, 5)) {
	case 0:
		poll(NULL, 0, (int)roll(d, 1, 3));
		break;
	case 1:
	case 2:
		for (uint64_t i = roll(d, 1, 50); i; i--)
			sched_yield();
		break;
	default:
		break;
	}
}

/* Waits for room by an edge; the socket is non-blocking. */
static void send_by_edges(struct line *l, int set, const char *buf, size_t len)
{
	struct epoll_event e;

	while (len) {
		ssize_t n = rsk_send(l->out, buf, len, MSG_NOSIGNAL);

		if (n > 0) {
			buf += n;
			len -= n;
			continue;
		}
		FAILS(n, EAGAIN);
		ck_assert_msg(rsk_epoll_wait(set, &e, 1, LIMIT_MS) == 1, "stream %llu: no room is told",
			      (unsigned long long)l->seed);
	}
}

static void await_taken(struct line *l, uint64_t sent)
{
	uint64_t limit = now_ms() + LIMIT_MS;

	while (l->taken < sent) {
		ck_assert_msg(now_ms() < limit, "stream %llu: stuck at %llu of %llu bytes",
			      (unsigned long long)l->seed, (unsigned long long)l->taken,
			      (unsigned long long)sent);
		sched_yield();
	}
}

static int rounds(void)
{
	const char *text = getenv("RSK_TEST_ROUNDS");

	return text ? atoi(text) : 100;
}

static void write_line(void *arg)
{
	struct line *l = arg;
	struct epoll_event e = { .events = EPOLLOUT | EPOLLET };
	struct dice *d = &l->dice;
	char *buf = malloc(PIECE);
	bool blocking = l->seed % 2;
	uint64_t sent = 0;
	int set = rsk_epoll_create1(0);

	set_nonblocking(l->out, !blocking);
	OK(rsk_epoll_ctl(set, EPOLL_CTL_ADD, l->out, &e));
	for (int i = rounds(); i; i--) {
		for (uint64_t pieces = roll(d, 1, 4); pieces; pieces--) {
			size_t len = roll(d, 1, roll(d, 0, 3) ? 100 : PIECE);

			pattern_fill(buf, len, l->seed, sent);
			if (blocking)
				ck_assert_int_eq(rsk_send(l->out, buf, len, MSG_NOSIGNAL), len);
			else
				send_by_edges(l, set, buf, len);
			sent += len;
			pause_a_little(d);
		}
		await_taken(l, sent);
		pause_a_little(d);
	}
	OK(rsk_shutdown(l->out, SHUT_WR));
	OK(rsk_close(set));
	free(buf);
}

/* -- reading ----------------------------------------------------------------------------------- */

enum taken { SOME, SHORT, NOTHING, END };

/* One call. */
static enum taken take(struct line *l, struct dice *d, int flags)
{
	char buf[PIECE];
	size_t room = roll(d, 1, roll(d, 0, 2) ? sizeof(buf) : 200);
	ssize_t n = rsk_recv(l->in, buf, room, flags);

	if (n < 0) {
		FAILS(n, EAGAIN);
		return NOTHING;
	}
	if (!l->shared)
		pattern_check(buf, n, l->seed, l->taken);
	l->taken += n;
	return n == 0 ? END : (size_t)n < room ? SHORT : SOME;
}

/* All that is there, as who waits for edges must. A short read is the end of it, too, unless the report said that
 * the stream's end came with it, of which there is no other edge. */
static enum taken take_all(struct line *l, struct dice *d, uint32_t events)
{
	enum taken what;

	do
		what = take(l, d, MSG_DONTWAIT);
	while (what == SOME || (what == SHORT && events & EPOLLRDHUP));
	return what;
}

/* A few calls, and then again. */
static enum taken take_a_few(struct line *l, struct dice *d)
{
	enum taken what = SOME;

	for (uint64_t n = roll(d, 1, 3); n && (what == SOME || what == SHORT); n--)
		what = take(l, d, MSG_DONTWAIT);
	return what;
}

static void ended(struct line *l)
{
	const uint64_t one = 1;

	if (--l->reader->left)
		return;
	ck_assert_int_eq(write(l->reader->done, &one, sizeof(one)), sizeof(one));
	sem_post(&l->reader->all_ended);
}

/* By rsk_epoll_wait(), with as many threads as the mode allows. */
static void read_set(struct reader *r, uint32_t mode)
{
	struct dice d = { (uintptr_t)&d };
	struct epoll_event e[2];

	while (r->left) {
		int n = rsk_epoll_wait(r->set, e, (int)roll(&d, 1, COUNT(e)), LIMIT_MS);

		ck_assert_msg(n > 0, "rsk_epoll_wait returned %d (%s)", n, n ? strerror(errno) : "");
		for (int i = 0; i < n; i++) {
			struct line *l = e[i].data.ptr;
			enum taken what;

			if (!l)
				continue;
			what = mode & EPOLLET ? take_all(l, &d, e[i].events) : take_a_few(l, &d);
			if (what == END)
				OK(rsk_epoll_ctl(r->set, EPOLL_CTL_DEL, l->in, NULL));
			else if (mode & EPOLLONESHOT)
				OK(rsk_epoll_ctl(r->set, EPOLL_CTL_MOD, l->in,
						 &(struct epoll_event){ EPOLLIN | EPOLLRDHUP | mode, { .ptr = l } }));
			if (what == END)
				ended(l);
		}
	}
}

static void fill_set(struct reader *r, uint32_t mode)
{
	r->set = rsk_epoll_create1(0);
	OK(rsk_epoll_ctl(r->set, EPOLL_CTL_ADD, r->done, &(struct epoll_event){ EPOLLIN, { .ptr = NULL } }));
	for (int i = 0; i < LINES; i++)
		OK(rsk_epoll_ctl(r->set, EPOLL_CTL_ADD, r->lines[i].in,
				 &(struct epoll_event){ EPOLLIN | EPOLLRDHUP | mode, { .ptr = &r->lines[i] } }));
}

static void read_level(void *arg)
{
	fill_set(arg, 0);
	read_set(arg, 0);
}

static void read_edge(void *arg)
{
	fill_set(arg, EPOLLET);
	read_set(arg, EPOLLET);
}

static void read_one_shot_too(void *arg)
{
	read_set(arg, EPOLLONESHOT);
}

static void read_one_shot(void *arg)
{
	struct task others[2];

	fill_set(arg, EPOLLONESHOT);
	for (size_t i = 0; i < COUNT(others); i++)
		task_start(&others[i], read_one_shot_too, arg);
	read_set(arg, EPOLLONESHOT);
	for (size_t i = 0; i < COUNT(others); i++)
		task_join(&others[i]);
}

static void take_watched(int fd, uint32_t events, void *arg)
{
	struct line *l = arg;
	struct dice d = { l->taken };

	if (take_all(l, &d, events) != END)
		return;
	OK(rsk_watch(fd, 0, NULL, NULL));
	ended(l);
}

static void read_watched(void *arg)
{
	struct reader *r = arg;

	for (int i = 0; i < LINES; i++) {
		struct line *l = &r->lines[i];

		/* The writers wait for the first bytes to be taken: nothing is there yet, or it is all told. */
		if (rsk_watch(l->in, EPOLLIN | EPOLLRDHUP, take_watched, l) > 0)
			OK(rsk_watch(l->in, 0, NULL, NULL));
	}
	sem_wait(&r->all_ended);
}

static void read_blocking_line(void *arg)
{
	struct line *l = arg;
	struct dice d = { l->seed };

	while (take(l, &d, 0) != END)
		;
	ended(l);
}

static void read_blocking(void *arg)
{
	struct reader *r = arg;
	struct task tasks[LINES];

	for (int i = 0; i < LINES; i++)
		task_start(&tasks[i], read_blocking_line, &r->lines[i]);
	for (int i = 0; i < LINES; i++)
		task_join(&tasks[i]);
}

/* By a loop of the kernel's on the descriptors. */
static void read_foreign(struct reader *r, uint32_t mode)
{
	struct dice d = { r->lines[0].seed };
	int set = epoll_create1(0);
	struct epoll_event e;

	for (int i = 0; i < LINES; i++) {
		e = (struct epoll_event){ EPOLLIN | mode, { .ptr = &r->lines[i] } };
		ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, r->lines[i].in, &e), 0);
	}
	while (r->left) {
		enum taken what;
		struct line *l;

		ck_assert_int_eq(epoll_wait(set, &e, 1, LIMIT_MS), 1);
		l = e.data.ptr;
		do
			what = take(l, &d, MSG_DONTWAIT);
		while (what == SOME || what == SHORT);
		if (what != END)
			continue;
		ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_DEL, l->in, NULL), 0);
		ended(l);
	}
	close(set);
}

static void read_foreign_level(void *arg)
{
	read_foreign(arg, 0);
}

static void read_foreign_edge(void *arg)
{
	read_foreign(arg, EPOLLET);
}

static void read_poll(void *arg)
{
	struct reader *r = arg;
	struct dice d = { r->lines[0].seed };
	struct pollfd fds[LINES];

	for (int i = 0; i < LINES; i++)
		fds[i] = (struct pollfd){ .fd = r->lines[i].in, .events = POLLIN };
	while (r->left) {
		ck_assert_int_gt(rsk_poll(fds, LINES, LIMIT_MS), 0);
		for (int i = 0; i < LINES; i++) {
			if (!fds[i].revents || take_a_few(&r->lines[i], &d) != END)
				continue;
			fds[i].fd = -1;
			ended(&r->lines[i]);
		}
	}
}

/* Several threads, each of another kind, take from the same sockets. Who gets the end leaves. */
struct partner {
	struct reader *reader;
	struct task task;
};

static void share_by_edges(void *arg)
{
	struct partner *p = arg;
	struct dice d = { (uintptr_t)p };
	int set = rsk_epoll_create1(0), left = LINES;
	struct epoll_event e;

	for (int i = 0; i < LINES; i++) {
		e = (struct epoll_event){ EPOLLIN | EPOLLRDHUP | EPOLLET, { .ptr = &p->reader->lines[i] } };
		OK(rsk_epoll_ctl(set, EPOLL_CTL_ADD, p->reader->lines[i].in, &e));
	}
	while (left) {
		struct line *l;

		ck_assert_int_eq(rsk_epoll_wait(set, &e, 1, LIMIT_MS), 1);
		l = e.data.ptr;
		if (take_all(l, &d, e.events) == END) {
			OK(rsk_epoll_ctl(set, EPOLL_CTL_DEL, l->in, NULL));
			left--;
		}
	}
	OK(rsk_close(set));
}

static void share_by_blocking(void *arg)
{
	struct line *l = arg;
	struct dice d = { l->seed };

	/* With pauses, so that others come to it as well. */
	while (take(l, &d, 0) != END)
		pause_a_little(&d);
	ended(l);
}

static void look_on(int fd, uint32_t events, void *arg)
{
	(void)fd, (void)events, (void)arg;
}

static void read_shared(void *arg)
{
	struct reader *r = arg;
	struct partner edges[2] = { { .reader = r }, { .reader = r } };
	struct task blocking[LINES];

	for (int i = 0; i < LINES; i++) {
		r->lines[i].shared = true;
		ck_assert_int_ge(rsk_watch(r->lines[i].in, EPOLLIN | EPOLLOUT, look_on, NULL), 0);
	}
	for (size_t i = 0; i < COUNT(edges); i++)
		task_start(&edges[i].task, share_by_edges, &edges[i]);
	for (int i = 0; i < LINES; i++)
		task_start(&blocking[i], share_by_blocking, &r->lines[i]);
	for (size_t i = 0; i < COUNT(edges); i++)
		task_join(&edges[i].task);
	for (int i = 0; i < LINES; i++)
		task_join(&blocking[i]);
}

/* -- all together ------------------------------------------------------------------------------ */

static void (*const kinds[])(void *reader) = {
	read_level, read_edge, read_one_shot, read_watched, read_blocking,
	read_foreign_level, read_foreign_edge, read_poll, read_shared,
};

static void start_reader(struct reader *r, struct task *task, void (*kind)(void *reader), int first_seed)
{
	r->left = LINES;
	r->done = eventfd(0, EFD_CLOEXEC);
	sem_init(&r->all_ended, 0, 0);
	for (int i = 0; i < LINES; i++) {
		struct pair p = i % 2 ? pair_narrow() : pair_connected();
		uint64_t seed = first_seed + i;

		r->lines[i] = (struct line){ .out = p.a, .in = p.b, .seed = seed, .dice = { seed },
					     .reader = r };
		/* Those that wait in the kernel's loops, or for edges, do not block. */
		set_nonblocking(p.b, kind != read_blocking && kind != read_shared);
	}
	task_start(task, kind, r);
}

static void run_readers(int first, int count)
{
	static struct reader readers[COUNT(kinds)];
	struct task tasks[COUNT(kinds)];

	for (int k = first; k < first + count; k++)
		start_reader(&readers[k], &tasks[k], kinds[k], k * LINES);
	/* All of them wait before the first byte is sent. */
	for (int k = first; k < first + count; k++)
		task_wait_asleep(&tasks[k]);
	for (int k = first; k < first + count; k++) {
		for (int i = 0; i < LINES; i++)
			task_start(&readers[k].lines[i].writer, write_line, &readers[k].lines[i]);
	}
	for (int k = first; k < first + count; k++) {
		for (int i = 0; i < LINES; i++)
			task_join(&readers[k].lines[i].writer);
		task_join(&tasks[k]);
	}
}

START_TEST(reader_of_this_kind_is_always_woken)
{
	run_readers(_i, 1);
}
END_TEST

START_TEST(readers_of_all_kinds_are_always_woken)
{
	run_readers(0, COUNT(kinds));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("readiness");
	TCase *tc;

	tc = group(s, "wake-ups", 600);
	tcase_add_loop_test(tc, reader_of_this_kind_is_always_woken, 0, COUNT(kinds));
	tcase_add_test(tc, readers_of_all_kinds_are_always_woken);
	return run_suite(s);
}
