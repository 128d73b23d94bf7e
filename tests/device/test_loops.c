/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The descriptor contract (README) under foreign loops: poll(2), epoll(7) level and edge triggered, libev and
 * libuv each drive a hundred connections in one thread. One end sends a stream, the other echoes it, the first
 * checks what comes back. The loops know nothing of rsk: they wait until descriptors are readable.
 */
#include <ev.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef HAVE_UV
#include <uv.h>
#endif

#include "process.h"
#include "stream.h"

enum {
	PAIRS = 100,
	ENDS = 2 * PAIRS,
	BYTES = 40000,          /* of each stream: more than the first receive segments hold */
};

/* Ends 0 .. 99 send and check, 100 .. 199 echo. */
struct end {
	int fd;
	unsigned seed;
	uint64_t sent, received;
	char buf[3000];         /* of an echoing end: what is to be sent back */
	size_t filled, taken;
	bool done;
};

static struct end ends[ENDS];
static int ends_done;

static void send_some(struct end *e, const void *data, size_t len, size_t *taken)
{
	while (*taken < len) {
		ssize_t n = rsk_send(e->fd, (const char *)data + *taken, len - *taken, MSG_NOSIGNAL);

		if (n < 0) {
			FAILS(n, EAGAIN);
			return;
		}
		*taken += n;
		e->sent += n;
	}
}

/* Returns how many came; 0 when it would block. */
static size_t receive_some(struct end *e, char *buf, size_t room)
{
	ssize_t n = rsk_recv(e->fd, buf, room, 0);

	if (n < 0) {
		FAILS(n, EAGAIN);
		return 0;
	}
	ck_assert_msg(n > 0, "end of file after %llu bytes", (unsigned long long)e->received);
	e->received += n;
	return n;
}

static void work_source(struct end *e)
{
	char piece[2000], got[2000];
	size_t n;

	while (e->sent < BYTES) {
		size_t left = BYTES - e->sent, len = left < sizeof(piece) ? left : sizeof(piece), taken = 0;

		pattern_fill(piece, len, e->seed, e->sent);
		send_some(e, piece, len, &taken);
		if (taken < len)
			break;
	}
	while ((n = receive_some(e, got, sizeof(got))))
		pattern_check(got, n, e->seed, e->received - n);
}

static void work_echo(struct end *e)
{
	do {
		send_some(e, e->buf, e->filled, &e->taken);
		if (e->taken < e->filled)
			return;
		e->taken = 0;
		e->filled = receive_some(e, e->buf, sizeof(e->buf));
	} while (e->filled);
}

/* What a loop calls when the descriptor is readable, and once before it waits. */
static void work(struct end *e)
{
	if (e - ends < PAIRS)
		work_source(e);
	else
		work_echo(e);
	if (!e->done && e->sent == BYTES && e->received == BYTES) {
		e->done = true;
		ends_done++;
	}
}

static void connect_ends(void)
{
	int listening = listener();
	struct rlimit files;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (int i = 0; i < PAIRS; i++) {
		struct pair p = pair_on(listening);

		ends[i] = (struct end){ .fd = p.a, .seed = 100 + i };
		ends[PAIRS + i] = (struct end){ .fd = p.b };
	}
	for (int i = 0; i < ENDS; i++)
		set_nonblocking(ends[i].fd, true);
}

static void begin(void)
{
	for (int i = 0; i < ENDS; i++)
		work(&ends[i]);
}

static void stalled(void)
{
	ck_abort_msg("no event, with %d of %d ends done", ends_done, ENDS);
}

START_TEST(poll_drives_a_hundred_connections)
{
	struct pollfd fds[ENDS];

	connect_ends();
	for (int i = 0; i < ENDS; i++)
		fds[i] = (struct pollfd){ .fd = ends[i].fd, .events = POLLIN };
	begin();
	while (ends_done < ENDS) {
		if (poll(fds, ENDS, LIMIT_MS) < 1)
			stalled();
		for (int i = 0; i < ENDS; i++)
			if (fds[i].revents)
				work(&ends[i]);
	}
}
END_TEST

static void drive_by_epoll(uint32_t mode)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[16];

	for (int i = 0; i < ENDS; i++) {
		struct epoll_event e = { .events = EPOLLIN | mode, .data.ptr = &ends[i] };

		OK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i].fd, &e));
	}
	begin();
	while (ends_done < ENDS) {
		int n = epoll_wait(epoll, events, COUNT(events), LIMIT_MS);

		if (n < 1)
			stalled();
		for (int i = 0; i < n; i++)
			work(events[i].data.ptr);
	}
	close(epoll);
}

START_TEST(epoll_drives_a_hundred_connections)
{
	connect_ends();
	drive_by_epoll(_i ? EPOLLET : 0);
}
END_TEST

/* The engine thread may have the rest of connecting to do, and a time limit to keep for a record that has come
 * in part, but nothing for each message. (Software verbs have threads that are the device.) */
START_TEST(no_other_thread_works_for_a_loop)
{
	const char *preload = getenv("LD_PRELOAD");
	long before;

	if (preload && strstr(preload, "softverbs"))
		return;
	connect_ends();
	before = sleeps_of_other_threads();
	drive_by_epoll(0);
	ck_assert_int_lt(sleeps_of_other_threads() - before, 4 * PAIRS);
}
END_TEST

static void ev_readable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)events;
	work(io->data);
	if (ends_done == ENDS)
		ev_break(loop, EVBREAK_ALL);
}

static void ev_late(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)timer, (void)events;
	stalled();
}

START_TEST(libev_drives_a_hundred_connections)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	static ev_io ios[ENDS];
	ev_timer limit;

	connect_ends();
	for (int i = 0; i < ENDS; i++) {
		ev_io_init(&ios[i], ev_readable, ends[i].fd, EV_READ);
		ios[i].data = &ends[i];
		ev_io_start(loop, &ios[i]);
	}
	ev_timer_init(&limit, ev_late, LIMIT_MS / 1000.0, 0);
	ev_timer_start(loop, &limit);
	begin();
	if (ends_done < ENDS)
		ev_run(loop, 0);
	ck_assert_int_eq(ends_done, ENDS);
	ev_loop_destroy(loop);
}
END_TEST

#ifdef HAVE_UV
static void uv_readable(uv_poll_t *handle, int status, int events)
{
	(void)events;
	ck_assert_int_eq(status, 0);
	work(handle->data);
	if (ends_done == ENDS)
		uv_stop(handle->loop);
}

static void uv_late(uv_timer_t *timer)
{
	(void)timer;
	stalled();
}

START_TEST(libuv_drives_a_hundred_connections)
{
	static uv_poll_t handles[ENDS];
	uv_timer_t limit;
	uv_loop_t loop;

	connect_ends();
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	for (int i = 0; i < ENDS; i++) {
		ck_assert_int_eq(uv_poll_init(&loop, &handles[i], ends[i].fd), 0);
		handles[i].data = &ends[i];
		ck_assert_int_eq(uv_poll_start(&handles[i], UV_READABLE, uv_readable), 0);
	}
	uv_timer_init(&loop, &limit);
	uv_timer_start(&limit, uv_late, LIMIT_MS, 0);
	begin();
	if (ends_done < ENDS)
		uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(ends_done, ENDS);

	for (int i = 0; i < ENDS; i++)
		uv_close((uv_handle_t *)&handles[i], NULL);
	uv_close((uv_handle_t *)&limit, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	OK(uv_loop_close(&loop));
}
END_TEST
#endif

START_TEST(descriptor_rests_after_the_end_while_a_send_waits_for_room)
{
	struct pair p = pair_narrow();
	struct pollfd pfd = { .fd = p.a, .events = POLLIN };
	char byte, zeros[10000] = { 0 };
	int rounds = 0;

	set_nonblocking(p.a, true);
	FAILS(rsk_recv(p.a, &byte, 1, 0), EAGAIN);
	fill_send_side(p.a, 1);
	OK(rsk_shutdown(p.b, SHUT_WR));
	while (rsk_recv(p.a, &byte, 1, 0) != 0)
		wait_readable_in_kernel(p.a);
	do {
		ck_assert_int_lt(rounds++, 100);
		FAILS(rsk_send(p.a, zeros, sizeof(zeros), MSG_NOSIGNAL), EAGAIN);
	} while (poll(&pfd, 1, QUIET_MS) == 1);
}
END_TEST

/* Each accept but the last leaves the descriptor readable, the last makes it rest: nobody looks at it until the
 * next client is there. */
START_TEST(each_client_of_a_listener_that_rests_is_an_edge)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int listening = listener(), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct address to = local_address(listening);

	set_nonblocking(listening, true);
	OK(epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event));
	FAILS(rsk_accept(listening, NULL, NULL), EAGAIN);
	for (int i = 0; i < 5; i++) {
		int client = connect_begun(&to, NO_OPTIONS), accepted;

		do {
			ck_assert_msg(epoll_wait(epoll, &event, 1, LIMIT_MS) == 1, "no edge for client %d", i);
			accepted = rsk_accept(listening, NULL, NULL);
		} while (accepted < 0 && errno == EAGAIN);
		ck_assert_int_ge(accepted, 0);
		FAILS(rsk_accept(listening, NULL, NULL), EAGAIN);
		OK(rsk_close(client));
		OK(rsk_close(accepted));
	}
	close(epoll);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loops");
	TCase *tc;

	tc = group(s, "foreign loops", 300);
	tcase_add_test(tc, poll_drives_a_hundred_connections);
	tcase_add_loop_test(tc, epoll_drives_a_hundred_connections, 0, 2);
	tcase_add_test(tc, libev_drives_a_hundred_connections);
#ifdef HAVE_UV
	tcase_add_test(tc, libuv_drives_a_hundred_connections);
#else
	puts("skip: libuv was not there when this was built (package libuv1-dev)");
#endif
	tcase_add_test(tc, no_other_thread_works_for_a_loop);
	tcase_add_test(tc, descriptor_rests_after_the_end_while_a_send_waits_for_room);
	tcase_add_test(tc, each_client_of_a_listener_that_rests_is_an_edge);
	return run_suite(s);
}
