/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk_epoll_*() is epoll: level and edge triggered, one-shot, mixed with kernel descriptors, nested, with
 * several threads; and its errors are the kernel's, found by making the same mistakes with both.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "rawpeer.h"
#include "stream.h"
#include "task.h"

/* The thread sanitizer allows a forked child no threads. */
#ifdef __SANITIZE_THREAD__
#define CHILDREN_HAVE_NO_THREADS true
#else
#define CHILDREN_HAVE_NO_THREADS false
#endif

#define UNASKED (EPOLLERR | EPOLLHUP)
#define EVERYTHING (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

static int instance(void)
{
	int ep = rsk_epoll_create1(EPOLL_CLOEXEC);

	ck_assert_msg(ep >= 0, "rsk_epoll_create1: %s", strerror(errno));
	return ep;
}

static int change(int ep, int op, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	return rsk_epoll_ctl(ep, op, fd, &e);
}

static void add(int ep, int fd, uint32_t events)
{
	OK(change(ep, EPOLL_CTL_ADD, fd, events));
}

static int instance_with(int fd, uint32_t events)
{
	int ep = instance();

	add(ep, fd, events);
	return ep;
}

/* Waits for the report of the only member that has one; returns its bits. */
#define reported(ep, fd) wait_for_report(ep, fd, __LINE__)

static uint32_t wait_for_report(int ep, int fd, int line)
{
	struct epoll_event e[2];
	int n = rsk_epoll_wait(ep, e, 2, LIMIT_MS);

	ck_assert_msg(n == 1, "line %d: rsk_epoll_wait returned %d (%s)", line, n,
		      n < 0 ? strerror(errno) : "");
	ck_assert_int_eq(e[0].data.fd, fd);
	return e[0].events;
}

#define silent(ep) check_silent(ep, __LINE__)

static void check_silent(int ep, int line)
{
	struct epoll_event e;
	int n = rsk_epoll_wait(ep, &e, 1, QUIET_MS);

	ck_assert_msg(n == 0, "line %d: rsk_epoll_wait returned %d: bits %#x of %d", line, n, e.events,
		      e.data.fd);
}

static void say(int fd, const char *what)
{
	ck_assert_int_eq(rsk_send(fd, what, strlen(what), 0), strlen(what));
}

/* Reads @len bytes that have been reported. */
static void take(int fd, size_t len)
{
	char buf[64];

	ck_assert_int_eq(rsk_recv(fd, buf, len, MSG_DONTWAIT), len);
}

/* -- triggers ---------------------------------------------------------------------------------- */

START_TEST(level_triggered_member_is_reported_until_it_is_read)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);

	silent(ep);
	for (int i = 0; i < 3; i++) {
		say(p.a, "ab");
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		take(p.b, 1);
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		take(p.b, 1);
		silent(ep);
	}
}
END_TEST

START_TEST(level_triggered_member_is_reported_while_there_is_room)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 1 };
	int ep = instance_with(p.a, EPOLLOUT);

	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	s.bytes = fill_send_side(p.a, s.seed);
	silent(ep);
	stream_take(p.b, &s);
	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
}
END_TEST

START_TEST(report_holds_all_bits_that_were_asked_for)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLOUT | EPOLLRDHUP);

	say(p.a, "x");
	wait_for(p.b, POLLIN);
	ck_assert_uint_eq(reported(ep, p.b), EPOLLOUT);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EVERYTHING | EPOLLRDNORM));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN | EPOLLOUT | EPOLLRDNORM);
}
END_TEST

START_TEST(report_brings_back_the_data_of_its_last_change)
{
	struct pair p = pair_connected();
	struct epoll_event e = { EPOLLOUT, { .u64 = UINT64_C(0x123456789abcdef0) } }, got;
	int ep = instance();

	for (int op = EPOLL_CTL_ADD; op; op = op == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : 0) {
		e.data.u64++;
		OK(rsk_epoll_ctl(ep, op, p.a, &e));
		ck_assert_int_eq(rsk_epoll_wait(ep, &got, 1, LIMIT_MS), 1);
		ck_assert_uint_eq(got.data.u64, e.data.u64);
	}
}
END_TEST

START_TEST(edge_triggered_member_is_reported_once_for_each_arrival)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLET);

	silent(ep);
	for (int i = 0; i < 5; i++) {
		/* What came before is still unread. */
		say(p.a, "x");
		ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
		silent(ep);
	}
	take(p.b, 5);
	silent(ep);
}
END_TEST

START_TEST(partial_read_gives_no_edge_but_the_next_arrival_does)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLET);

	say(p.a, "0123456789");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 5);
	silent(ep);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 6);
}
END_TEST

START_TEST(edge_of_what_is_there_comes_when_added_and_when_modified)
{
	struct pair p = pair_connected();
	int ep = instance();

	say(p.a, "x");
	wait_for(p.b, POLLIN);
	add(ep, p.b, EPOLLIN | EPOLLET);
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN | EPOLLET));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	silent(ep);
}
END_TEST

START_TEST(room_is_an_edge_only_after_a_send_found_none)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 2, .bytes = 1000 };
	int ep = instance_with(p.a, EPOLLOUT | EPOLLET);

	ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	stream_pass(p.a, p.b, &s);
	silent(ep);
	for (int i = 0; i < 3; i++) {
		s.bytes = fill_send_side(p.a, s.seed);
		/* The last send is still without room: nothing else was told meanwhile. */
		while (rsk_epoll_wait(ep, &(struct epoll_event){ 0 }, 1, 0))
			;
		stream_take(p.b, &s);
		ck_assert_uint_eq(reported(ep, p.a), EPOLLOUT);
	}
}
END_TEST

START_TEST(arrival_is_no_edge_for_who_waits_for_room)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLOUT | EPOLLET);

	ck_assert_uint_eq(reported(ep, p.b), EPOLLOUT);
	say(p.a, "x");
	wait_for(p.b, POLLIN);
	silent(ep);
}
END_TEST

START_TEST(one_shot_member_is_silent_until_it_is_modified)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | EPOLLONESHOT | (_i ? EPOLLET : 0));

	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	say(p.a, "y");
	wait_for(p.b, POLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN | EPOLLONESHOT | (_i ? EPOLLET : 0)));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 2);
	/* Not even what comes unasked. */
	OK(rsk_close(p.a));
	wait_for(p.b, POLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN | EPOLLONESHOT));
	ck_assert_uint_ne(reported(ep, p.b) & EPOLLIN, 0);
}
END_TEST

/* -- states ------------------------------------------------------------------------------------ */

START_TEST(new_socket_is_reported_as_tcps)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int ep = instance_with(fd, EVERYTHING);

	ck_assert_uint_eq(reported(ep, fd), EPOLLOUT | EPOLLHUP);
}
END_TEST

START_TEST(listener_is_reported_while_a_connection_waits)
{
	int listening = listener(), fd[2];
	struct address there = local_address(listening);
	int ep = instance_with(listening, EPOLLIN);

	silent(ep);
	for (size_t i = 0; i < COUNT(fd); i++)
		fd[i] = connected_to(&there);
	for (size_t i = 0; i < COUNT(fd); i++) {
		ck_assert_uint_eq(reported(ep, listening), EPOLLIN);
		accept_from(listening);
	}
	silent(ep);
}
END_TEST

START_TEST(edge_triggered_listener_is_reported_for_each_connection)
{
	int listening = listener();
	struct address there = local_address(listening);
	int ep = instance_with(listening, EPOLLIN | EPOLLET);

	for (int i = 0; i < 3; i++) {
		connected_to(&there);
		ck_assert_uint_eq(reported(ep, listening), EPOLLIN);
		silent(ep);
	}
}
END_TEST

START_TEST(member_is_watched_from_new_to_connected)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int ep = instance_with(fd, EVERYTHING | (_i ? EPOLLET : 0));

	ck_assert_uint_eq(reported(ep, fd), EPOLLOUT | EPOLLHUP);
	set_nonblocking(fd, true);
	FAILS(rsk_connect(fd, &there.any, there.len), EINPROGRESS);
	raw_take_request(&r);
	silent(ep);
	raw_accept(&r, NULL);
	ck_assert_uint_eq(reported(ep, fd), EPOLLOUT);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
}
END_TEST

START_TEST(refused_connect_is_reported)
{
	struct address there = address_deserted();
	int fd = connect_begun(&there, NO_OPTIONS);
	int ep = instance_with(fd, EVERYTHING | (_i ? EPOLLET : 0));

	ck_assert_uint_eq(reported(ep, fd), EVERYTHING | UNASKED);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
}
END_TEST

START_TEST(failure_is_reported_unasked)
{
	struct address there = address_deserted();
	int fd = connect_begun(&there, NO_OPTIONS);
	int ep = instance_with(fd, 0);

	ck_assert_uint_eq(reported(ep, fd), UNASKED);
}
END_TEST

START_TEST(failed_connection_is_reported)
{
	int listening = listener(), fd, ep;
	struct address there = local_address(listening);
	struct raw r;

	raw_connect(&r, &there, NULL);
	ck_assert_int_eq(raw_event(&r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	ep = instance_with(fd, EPOLLIN | (_i ? EPOLLET : 0));
	silent(ep);
	raw_drop(&r);
	ck_assert_uint_eq(reported(ep, fd), EPOLLIN | UNASKED);
}
END_TEST

START_TEST(half_close_is_reported_then_the_other_half)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLRDHUP | (_i ? EPOLLET : 0));

	silent(ep);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLRDHUP);
	OK(rsk_shutdown(p.b, SHUT_WR));
	ck_assert_uint_eq(reported(ep, p.b), EPOLLRDHUP | EPOLLHUP);
}
END_TEST

START_TEST(closed_member_disappears)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN | (_i ? EPOLLET : 0));

	/* Also when its report waits already. */
	say(p.a, "x");
	wait_for(p.b, POLLIN);
	OK(rsk_close(p.b));
	silent(ep);
	FAILS(change(ep, EPOLL_CTL_MOD, p.b, EPOLLIN), EBADF);
}
END_TEST

/* A new socket of that number. */
static int socket_numbered(int number)
{
	int fd, tries = 0;

	do {
		ck_assert_int_lt(tries++, 100);
		fd = socket_with(AF_INET, NO_OPTIONS);
	} while (fd != number);
	return fd;
}

/* A new pipe whose read end has that number. */
static void number_pipe(int ends[2], int number)
{
	int made[2];

	ck_assert_int_eq(pipe(made), 0);
	ends[1] = fcntl(made[1], F_DUPFD, number + 1);
	ends[0] = fcntl(made[0], F_DUPFD, number + 1);
	close(made[0]);
	close(made[1]);
	ck_assert_int_eq(dup2(ends[0], number), number);
	close(ends[0]);
	ends[0] = number;
}

START_TEST(number_of_a_closed_member_is_free_for_another)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN), other, pipe_ends[2];

	OK(rsk_close(p.b));
	other = socket_numbered(p.b);
	FAILS(change(ep, EPOLL_CTL_MOD, other, EPOLLIN), ENOENT);
	add(ep, other, EPOLLOUT);
	ck_assert_uint_eq(reported(ep, other), EPOLLOUT | EPOLLHUP);

	/* And back and forth between ours and the kernel's. */
	OK(rsk_close(other));
	number_pipe(pipe_ends, other);
	FAILS(change(ep, EPOLL_CTL_DEL, other, 0), ENOENT);
	add(ep, pipe_ends[0], EPOLLIN);
	silent(ep);
	ck_assert_int_eq(write(pipe_ends[1], "x", 1), 1);
	ck_assert_uint_eq(reported(ep, pipe_ends[0]), EPOLLIN);
	close(pipe_ends[0]);
	silent(ep);
	other = socket_numbered(pipe_ends[0]);
	add(ep, other, EPOLLOUT);
	ck_assert_uint_eq(reported(ep, other), EPOLLOUT | EPOLLHUP);
}
END_TEST

START_TEST(removed_member_is_silent_and_can_come_back)
{
	struct pair p = pair_connected();
	int ep = instance();

	for (int i = 0; i < 3; i++) {
		add(ep, p.b, EPOLLIN | EPOLLET);
		say(p.a, "x");
		wait_for(p.b, POLLIN);
		OK(change(ep, EPOLL_CTL_DEL, p.b, 0));
		silent(ep);
		take(p.b, 1);
	}
	add(ep, p.b, EPOLLIN);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
}
END_TEST

/* -- several kinds of members, several instances ------------------------------------------------- */

struct kernel_pair {
	int write_end;
	int fd;
};

static struct kernel_pair kernel_pipe(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	return (struct kernel_pair){ ends[1], ends[0] };
}

static struct kernel_pair kernel_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	return (struct kernel_pair){ fd, fd };
}

static struct kernel_pair kernel_tcp(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(here);
	struct kernel_pair p;
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(listening, (struct sockaddr *)&here, len), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&here, &len), 0);
	p.write_end = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(p.write_end, (struct sockaddr *)&here, len), 0);
	p.fd = accept(listening, NULL, NULL);
	ck_assert_int_ge(p.fd, 0);
	close(listening);
	return p;
}

static void write_kernel(int fd)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static void read_kernel(int fd)
{
	uint64_t value;

	ck_assert_int_eq(read(fd, &value, sizeof(value)), sizeof(value));
}

START_TEST(kernel_descriptors_are_members_too)
{
	struct kernel_pair (*const kinds[])(void) = { kernel_pipe, kernel_eventfd, kernel_tcp };
	struct kernel_pair k = kinds[_i]();
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN);

	add(ep, k.fd, EPOLLIN);
	silent(ep);
	write_kernel(k.write_end);
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	read_kernel(k.fd);
	silent(ep);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
	take(p.b, 1);

	OK(change(ep, EPOLL_CTL_MOD, k.fd, EPOLLIN | EPOLLET));
	write_kernel(k.write_end);
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, k.fd, EPOLLIN | EPOLLONESHOT));
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	silent(ep);
	OK(change(ep, EPOLL_CTL_MOD, k.fd, EPOLLIN));
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	OK(change(ep, EPOLL_CTL_DEL, k.fd, 0));
	silent(ep);
}
END_TEST

/* Counts the reports of each member; each must get @least of @waits. */
static void check_fair(int ep, const int *fds, int count, int maxevents, int waits, int least)
{
	struct epoll_event e[64];
	int seen[FD_SETSIZE] = { 0 };

	for (int i = 0; i < waits; i++) {
		int n = rsk_epoll_wait(ep, e, maxevents, LIMIT_MS);

		ck_assert_int_gt(n, 0);
		ck_assert_int_le(n, maxevents);
		while (n--)
			seen[e[n].data.fd]++;
	}
	for (int i = 0; i < count; i++)
		ck_assert_msg(seen[fds[i]] >= least, "member %d of %d: %d reports in %d waits", i, count,
			      seen[fds[i]], waits);
}

START_TEST(busy_members_take_turns)
{
	struct kernel_pair k = kernel_pipe();
	struct pair p[4];
	int fds[COUNT(p) + 1] = { k.fd }, ep = instance_with(k.fd, EPOLLIN);

	write_kernel(k.write_end);
	for (size_t i = 0; i < COUNT(p); i++) {
		p[i] = pair_connected();
		fds[i + 1] = p[i].b;
		add(ep, p[i].b, EPOLLIN);
		say(p[i].a, "x");
		wait_for(p[i].b, POLLIN);
		/* A pipe and one socket at first, then among several. */
		check_fair(ep, fds, (int)i + 2, 1, 100, 10);
		check_fair(ep, fds, (int)i + 2, 2, 50, 10);
	}
}
END_TEST

START_TEST(no_more_than_there_is_room_for)
{
	struct kernel_pair k[100];
	struct epoll_event e[COUNT(k) + 1];
	int ep = instance(), fds[COUNT(k)];

	for (size_t i = 0; i < COUNT(k); i++) {
		k[i] = kernel_eventfd();
		fds[i] = k[i].fd;
		add(ep, k[i].fd, EPOLLIN);
		write_kernel(k[i].fd);
	}
	memset(e, 0x55, sizeof(e));
	ck_assert_int_eq(rsk_epoll_wait(ep, e, 7, 0), 7);
	ck_assert_uint_eq(e[7].events, 0x55555555);
	ck_assert_int_ge(rsk_epoll_wait(ep, e, COUNT(e), 0), 64);
	check_fair(ep, fds, COUNT(k), 7, 200, 1);
}
END_TEST

START_TEST(instance_in_an_instance)
{
	struct pair p = pair_connected();
	int inner = instance_with(p.b, EPOLLIN), outer = instance_with(inner, EPOLLIN);

	for (int i = 0; i < 3; i++) {
		silent(outer);
		say(p.a, "x");
		ck_assert_uint_eq(reported(outer, inner), EPOLLIN);
		ck_assert_uint_eq(reported(inner, p.b), EPOLLIN);
		ck_assert_uint_eq(reported(outer, inner), EPOLLIN);
		take(p.b, 1);
		silent(inner);
	}
}
END_TEST

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

START_TEST(instance_in_a_loop_of_the_kernel)
{
	struct pair p = pair_connected();
	int inner = instance_with(p.b, EPOLLIN | (_i ? EPOLLET : 0)), outer = epoll_create1(0);
	struct epoll_event e = { .events = EPOLLIN };

	ck_assert_int_eq(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e), 0);
	silent(inner);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(epoll_wait(outer, &e, 1, QUIET_MS), 0);
		ck_assert(!readable(inner, 0));
		say(p.a, "x");
		ck_assert_int_eq(epoll_wait(outer, &e, 1, LIMIT_MS), 1);
		ck_assert(readable(inner, 0));
		ck_assert_uint_eq(reported(inner, p.b), EPOLLIN);
		take(p.b, 1);
		/* One look that finds nothing, and it rests. */
		ck_assert_int_eq(rsk_epoll_wait(inner, &e, 1, 0), 0);
		ck_assert(!readable(inner, QUIET_MS));
	}
	/* A report is there to stay until it is taken, whoever reads the data. */
	say(p.a, "x");
	ck_assert(readable(inner, LIMIT_MS));
	wait_for(p.b, POLLIN);
	take(p.b, 1);
	while (readable(inner, QUIET_MS))
		ck_assert_int_eq(rsk_epoll_wait(inner, &e, 1, 0), 0);
}
END_TEST

START_TEST(several_instances_watch_the_same_socket)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 3 };
	int in = instance_with(p.a, EPOLLIN), in_edge = instance_with(p.a, EPOLLIN | EPOLLET);
	int out = instance_with(p.a, EPOLLOUT), out_edge = instance_with(p.a, EPOLLOUT | EPOLLET);
	int end = instance_with(p.a, EPOLLRDHUP);

	ck_assert_uint_eq(reported(out, p.a), EPOLLOUT);
	ck_assert_uint_eq(reported(out_edge, p.a), EPOLLOUT);
	s.bytes = fill_send_side(p.a, s.seed);
	while (rsk_epoll_wait(out_edge, &(struct epoll_event){ 0 }, 1, 0))
		;
	silent(out);
	for (int i = 0; i < 3; i++) {
		say(p.b, "x");
		ck_assert_uint_eq(reported(in_edge, p.a), EPOLLIN);
		ck_assert_uint_eq(reported(in, p.a), EPOLLIN);
		ck_assert_uint_eq(reported(in, p.a), EPOLLIN);
		silent(in_edge);
		take(p.a, 1);
		silent(in);
		silent(out);
		silent(out_edge);
	}
	stream_take(p.b, &s);
	ck_assert_uint_eq(reported(out_edge, p.a), EPOLLOUT);
	ck_assert_uint_eq(reported(out, p.a), EPOLLOUT);
	silent(end);
	OK(rsk_shutdown(p.b, SHUT_WR));
	ck_assert_uint_eq(reported(end, p.a), EPOLLRDHUP);
}
END_TEST

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

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

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

/* -- mistakes ---------------------------------------------------------------------------------- */

/* The kernel's calls and ours, on sockets of either. */
struct calls {
	int (*create)(int flags);
	int (*ctl)(int ep, int op, int fd, struct epoll_event *event);
	int (*wait)(int ep, struct epoll_event *events, int maxevents, int timeout);
	int (*pwait2)(int ep, struct epoll_event *events, int maxevents, const struct timespec *timeout,
		      const sigset_t *mask);
	int (*open_socket)(int domain, int type, int protocol);
	int (*close)(int fd);
};

static const struct calls kernels = { epoll_create1, epoll_ctl, epoll_wait, epoll_pwait2, socket, close };
static const struct calls ours = { rsk_epoll_create1, rsk_epoll_ctl, rsk_epoll_wait, rsk_epoll_pwait2,
				   rsk_socket, rsk_close };

enum { NONE, NEVER_OPEN, CLOSED, A_PIPE, A_FILE, SET, MEMBER, EXCLUSIVE_MEMBER, STRANGER, OTHER_SET, SET_AROUND,
       PIPE_MEMBER, THINGS };

static const char *const thing_names[THINGS] = {
	"-1", "a number that was never open", "a closed socket", "a pipe", "a file", "the instance", "a member",
	"an exclusive member", "no member", "another instance", "an instance that it is in", "a pipe that is a member",
};

struct scene {
	int fd[THINGS];
	int pipe_ends[2], member_pipe[2];
};

static void scene_open(struct scene *s, const struct calls *c)
{
	struct epoll_event in = { .events = EPOLLIN }, alone = { .events = EPOLLIN | EPOLLEXCLUSIVE };

	ck_assert_int_eq(pipe(s->pipe_ends), 0);
	ck_assert_int_eq(pipe(s->member_pipe), 0);
	s->fd[NONE] = -1;
	s->fd[NEVER_OPEN] = 60000;
	s->fd[A_PIPE] = s->pipe_ends[0];
	s->fd[PIPE_MEMBER] = s->member_pipe[0];
	s->fd[A_FILE] = open("/proc/self/exe", O_RDONLY);
	s->fd[SET] = c->create(0);
	s->fd[MEMBER] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	s->fd[EXCLUSIVE_MEMBER] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	s->fd[STRANGER] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	s->fd[OTHER_SET] = c->create(0);
	s->fd[SET_AROUND] = c->create(0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[MEMBER], &in), 0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[EXCLUSIVE_MEMBER], &alone), 0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[PIPE_MEMBER], &in), 0);
	ck_assert_int_eq(c->ctl(s->fd[SET_AROUND], EPOLL_CTL_ADD, s->fd[SET], &in), 0);
	s->fd[CLOSED] = c->open_socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(c->ctl(s->fd[SET], EPOLL_CTL_ADD, s->fd[CLOSED], &in), 0);
	c->close(s->fd[CLOSED]);
}

static void scene_close(struct scene *s, const struct calls *c)
{
	static const int opened[] = { SET, MEMBER, EXCLUSIVE_MEMBER, STRANGER, OTHER_SET, SET_AROUND };

	for (size_t i = 0; i < COUNT(opened); i++)
		ck_assert_int_eq(c->close(s->fd[opened[i]]), 0);
	close(s->fd[A_FILE]);
	for (int i = 0; i < 2; i++) {
		close(s->pipe_ends[i]);
		close(s->member_pipe[i]);
	}
}

static int outcome(const struct calls *c, int set, int op, int thing, const struct epoll_event *event)
{
	struct epoll_event copy = event ? *event : (struct epoll_event){ 0 };
	struct scene s;
	int ret;

	scene_open(&s, c);
	ret = c->ctl(s.fd[set], op, s.fd[thing], event ? &copy : NULL);
	ret = ret < 0 ? errno : ret;
	scene_close(&s, c);
	return ret;
}

static void compare_ctl(int set, int op, int thing, const struct epoll_event *event)
{
	int expected = outcome(&kernels, set, op, thing, event), got = outcome(&ours, set, op, thing, event);

	ck_assert_msg(got == expected, "ctl of %s, operation %d, with %s, events %#x%s: %s; the kernel's: %s",
		      thing_names[set], op, thing_names[thing], event ? event->events : 0,
		      event ? "" : " (NULL)", strerror(got), strerror(expected));
}

START_TEST(ctl_errors_are_the_kernels)
{
	static const int sets[] = { NONE, NEVER_OPEN, CLOSED, A_PIPE, SET, MEMBER };
	static const int ops[] = { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0, 99, -1 };
	static const uint32_t events[] = { 0, EPOLLIN, EPOLLIN | EPOLLEXCLUSIVE,
					   EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT,
					   EPOLLRDHUP | EPOLLEXCLUSIVE, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE };

	for (size_t set = 0; set < COUNT(sets); set++) {
		for (int thing = 0; thing < THINGS; thing++) {
			compare_ctl(sets[set], ops[_i], thing, NULL);
			for (size_t i = 0; i < COUNT(events); i++) {
				struct epoll_event event = { .events = events[i] };

				compare_ctl(sets[set], ops[_i], thing, &event);
			}
		}
	}
}
END_TEST

static int wait_outcome(const struct calls *c, int set, int maxevents, const struct timespec *limit)
{
	struct epoll_event e[4];
	struct scene s;
	int ret;

	scene_open(&s, c);
	/* Nothing is there in this one: its answer is 0. */
	ret = limit ? c->pwait2(s.fd[set], e, maxevents, limit, NULL) : c->wait(s.fd[set], e, maxevents, 0);
	ret = ret < 0 ? errno : ret;
	scene_close(&s, c);
	return ret;
}

START_TEST(wait_errors_are_the_kernels)
{
	static const int sets[] = { NONE, NEVER_OPEN, CLOSED, A_PIPE, A_FILE, MEMBER, OTHER_SET };
	static const int maxevents[] = { 0, -1, INT_MIN, INT_MAX, INT_MAX / 12 + 1, 1 };
	static const struct timespec limits[] = { { 0, 0 }, { -1, 0 }, { 0, -1 }, { 0, 1000000000 } };

	for (size_t i = 0; i < COUNT(sets); i++)
		ck_assert_int_eq(wait_outcome(&ours, sets[i], 1, NULL),
				 wait_outcome(&kernels, sets[i], 1, NULL));
	for (size_t i = 0; i < COUNT(maxevents); i++)
		ck_assert_int_eq(wait_outcome(&ours, OTHER_SET, maxevents[i], NULL),
				 wait_outcome(&kernels, OTHER_SET, maxevents[i], NULL));
	for (size_t i = 0; i < COUNT(limits); i++)
		ck_assert_int_eq(wait_outcome(&ours, OTHER_SET, 1, &limits[i]),
				 wait_outcome(&kernels, OTHER_SET, 1, &limits[i]));
	FAILS(rsk_epoll_wait(instance(), NULL, 1, 0), EFAULT);
}
END_TEST

START_TEST(create_errors_are_the_kernels)
{
	static const int flags[] = { 0, EPOLL_CLOEXEC, 1, O_NONBLOCK, -1 };

	for (size_t i = 0; i < COUNT(flags); i++) {
		int expected = epoll_create1(flags[i]), got = rsk_epoll_create1(flags[i]);

		ck_assert_int_eq(got < 0, expected < 0);
		if (got < 0)
			continue;
		ck_assert_int_eq(fcntl(got, F_GETFD), fcntl(expected, F_GETFD));
		OK(rsk_close(got));
		close(expected);
	}
	FAILS(rsk_epoll_create1(1), EINVAL);
}
END_TEST

START_TEST(other_calls_do_not_take_an_instance_for_a_socket)
{
	int ep = instance();
	char byte;

	FAILS(rsk_send(ep, "x", 1, 0), EBADF);
	FAILS(rsk_recv(ep, &byte, 1, 0), EBADF);
	FAILS(rsk_listen(ep, 1), EBADF);
	FAILS(rsk_shutdown(ep, SHUT_RDWR), EBADF);
	FAILS(rsk_fcntl(ep, F_GETFL), EBADF);
	FAILS(rsk_watch(ep, EPOLLIN, NULL, NULL), EBADF);
	ck_assert_int_eq(ready_now(ep, POLLIN), 0);
	OK(rsk_close(ep));
}
END_TEST

START_TEST(child_has_instances_of_its_own)
{
	struct pair p = pair_connected();
	int ep = instance_with(p.b, EPOLLIN), status;
	struct kernel_pair k = kernel_pipe();
	pid_t child;

	add(ep, k.fd, EPOLLIN);
	child = fork();
	if (!child) {
		struct epoll_event e = { .events = EPOLLIN, .data.fd = k.fd };
		int own = rsk_epoll_create1(0), fd;

		if (rsk_epoll_wait(ep, &e, 1, 0) != -1 || errno != EINVAL)
			_exit(1);
		if (own < 0 || rsk_epoll_ctl(own, EPOLL_CTL_ADD, k.fd, &e))
			_exit(2);
		fd = rsk_socket(AF_INET, SOCK_STREAM, 0);
		e = (struct epoll_event){ .events = EPOLLOUT, .data.fd = fd };
		if (fd < 0 || rsk_epoll_ctl(own, EPOLL_CTL_ADD, fd, &e))
			_exit(3);
		if (rsk_epoll_wait(own, &e, 1, LIMIT_MS) != 1 || e.data.fd != fd)
			_exit(4);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	say(p.a, "x");
	ck_assert_uint_eq(reported(ep, p.b), EPOLLIN);
}
END_TEST

/* -- many -------------------------------------------------------------------------------------- */

#define MEMBERS 5000
#define CONNECTED 1000    /* of them: more need more memory than a small machine has */
#define CONNECT_MS 30000  /* the time for connecting as many of these as it is enough for */

/* Connects as many as the device has room for; returns how many sockets that makes. */
static int open_members(int fds[MEMBERS], struct pair *last)
{
	int listening = listener(), count = 0;
	struct address there = local_address(listening);
	uint64_t until = now_ms() + CONNECT_MS;

	while (count + 1 < CONNECTED && now_ms() < until) {
		int fd = connect_begun(&there, NO_OPTIONS);

		if (connect_outcome(fd)) {
			OK(rsk_close(fd));
			break;
		}
		*last = (struct pair){ fd, accept_from(listening) };
		fds[count++] = last->a;
		fds[count++] = last->b;
	}
	ck_assert_int_gt(count, 0);
	printf("%d of %d members are connected\n", count, MEMBERS);
	return count;
}

START_TEST(thousands_of_members_and_one_is_ready)
{
	struct rlimit files = { 4 * MEMBERS, 4 * MEMBERS };
	static int fds[MEMBERS];
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	int ep = instance(), kernels_ep = epoll_create1(0), connected;
	struct pair last = { -1, -1 };

	if (setrlimit(RLIMIT_NOFILE, &files)) {
		ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
		ck_assert_msg(files.rlim_cur >= 4 * MEMBERS, "too few descriptors are allowed");
	}
	connected = open_members(fds, &last);
	for (int i = connected; i < MEMBERS; i++)
		fds[i] = socket_with(AF_INET, NO_OPTIONS);
	for (int i = 0; i < MEMBERS; i++) {
		add(ep, fds[i], EPOLLIN | EPOLLET);
		/* A foreign loop holds as many. */
		ck_assert_int_eq(epoll_ctl(kernels_ep, EPOLL_CTL_ADD, fds[i], &e), 0);
	}
	while (rsk_epoll_wait(ep, &e, 1, 0))
		ck_assert_uint_eq(e.events, EPOLLHUP);
	for (int i = 0; i < 10; i++) {
		say(last.a, "x");
		ck_assert_uint_eq(reported(ep, last.b), EPOLLIN);
		silent(ep);
	}
	for (int i = 0; i < MEMBERS; i++)
		OK(rsk_close(fds[i]));
	silent(ep);
}
END_TEST

START_TEST(hundreds_of_members_are_ready)
{
	struct epoll_event e[64];
	int ep = instance(), seen = 0;

	for (int i = 0; i < 300; i++)
		add(ep, socket_with(AF_INET, NO_OPTIONS), EPOLLOUT | EPOLLONESHOT);
	for (int n; (n = rsk_epoll_wait(ep, e, COUNT(e), 0)); seen += n)
		ck_assert_int_gt(n, 0);
	ck_assert_int_eq(seen, 300);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("epoll");
	TCase *tc;

	tc = group(s, "triggers", 150);
	tcase_add_test(tc, level_triggered_member_is_reported_until_it_is_read);
	tcase_add_test(tc, level_triggered_member_is_reported_while_there_is_room);
	tcase_add_test(tc, report_holds_all_bits_that_were_asked_for);
	tcase_add_test(tc, report_brings_back_the_data_of_its_last_change);
	tcase_add_test(tc, edge_triggered_member_is_reported_once_for_each_arrival);
	tcase_add_test(tc, partial_read_gives_no_edge_but_the_next_arrival_does);
	tcase_add_test(tc, edge_of_what_is_there_comes_when_added_and_when_modified);
	tcase_add_test(tc, room_is_an_edge_only_after_a_send_found_none);
	tcase_add_test(tc, arrival_is_no_edge_for_who_waits_for_room);
	tcase_add_loop_test(tc, one_shot_member_is_silent_until_it_is_modified, 0, 2);

	tc = group(s, "states", 150);
	tcase_add_test(tc, new_socket_is_reported_as_tcps);
	tcase_add_test(tc, listener_is_reported_while_a_connection_waits);
	tcase_add_test(tc, edge_triggered_listener_is_reported_for_each_connection);
	tcase_add_loop_test(tc, member_is_watched_from_new_to_connected, 0, 2);
	tcase_add_loop_test(tc, refused_connect_is_reported, 0, 2);
	tcase_add_test(tc, failure_is_reported_unasked);
	tcase_add_loop_test(tc, failed_connection_is_reported, 0, 2);
	tcase_add_loop_test(tc, half_close_is_reported_then_the_other_half, 0, 2);
	tcase_add_loop_test(tc, closed_member_disappears, 0, 2);
	tcase_add_test(tc, number_of_a_closed_member_is_free_for_another);
	tcase_add_test(tc, removed_member_is_silent_and_can_come_back);

	tc = group(s, "kinds", 150);
	tcase_add_loop_test(tc, kernel_descriptors_are_members_too, 0, 3);
	tcase_add_test(tc, busy_members_take_turns);
	tcase_add_test(tc, no_more_than_there_is_room_for);
	tcase_add_test(tc, instance_in_an_instance);
	tcase_add_loop_test(tc, instance_in_a_loop_of_the_kernel, 0, 2);
	tcase_add_test(tc, several_instances_watch_the_same_socket);

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

	tc = group(s, "mistakes", 150);
	tcase_add_loop_test(tc, ctl_errors_are_the_kernels, 0, 6);
	tcase_add_test(tc, wait_errors_are_the_kernels);
	tcase_add_test(tc, create_errors_are_the_kernels);
	tcase_add_test(tc, other_calls_do_not_take_an_instance_for_a_socket);
	if (!CHILDREN_HAVE_NO_THREADS)
		tcase_add_test(tc, child_has_instances_of_its_own);

	tc = group(s, "many", 300);
	tcase_add_test(tc, thousands_of_members_and_one_is_ready);
	tcase_add_test(tc, hundreds_of_members_are_ready);
	return run_suite(s);
}
