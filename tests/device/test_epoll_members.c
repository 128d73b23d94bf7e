/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Members of an epoll instance: sockets beside descriptors of the kernel, instances in instances, thousands
 * of them.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "epoll.h"
#include "stream.h"

/* -- several kinds of members, several instances ------------------------------------------------- */

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

/* The kernel's rule: what was closed is a member as long as a duplicate of it is open. */
START_TEST(closed_kernel_descriptor_stays_a_member_with_its_duplicate)
{
	struct epoll_event own = { EPOLLIN, { .fd = -1 } };
	struct kernel_pair k = kernel_pipe();
	int ep = instance_with(k.fd, EPOLLIN), duplicate = dup(k.fd), other[2];

	write_kernel(k.write_end);
	close(k.fd);
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	/* Its number is another's, a member, too. */
	number_pipe(other, k.fd);
	OK(rsk_epoll_ctl(ep, EPOLL_CTL_ADD, other[0], &own));
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	read_kernel(duplicate);
	silent(ep);
	write_kernel(other[1]);
	ck_assert_uint_eq(reported(ep, -1), EPOLLIN);
	read_kernel(other[0]);
	write_kernel(k.write_end);
	ck_assert_uint_eq(reported(ep, k.fd), EPOLLIN);
	close(duplicate);
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
		/* Of an edge that was reported nothing is left. */
		ck_assert(!_i || !readable(inner, 0));
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

START_TEST(each_change_of_an_instance_is_an_edge_of_it)
{
	struct pair p = pair_connected();
	int inner = instance_with(p.a, EPOLLOUT), outer = epoll_create1(0);
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };

	ck_assert_int_eq(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(epoll_wait(outer, &e, 1, LIMIT_MS), 1);
		/* It has a report all the time. */
		ck_assert_uint_eq(reported(inner, p.a), EPOLLOUT);
		ck_assert_int_eq(epoll_wait(outer, &e, 1, QUIET_MS), 0);
		OK(change(inner, i ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p.b, EPOLLOUT | EPOLLONESHOT));
		ck_assert_int_eq(epoll_wait(outer, &e, 1, LIMIT_MS), 1);
		while (rsk_epoll_wait(inner, &e, 1, 0) == 1 && e.data.fd != p.b)
			;
		OK(change(inner, EPOLL_CTL_MOD, p.a, EPOLLOUT));
	}
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
	Suite *s = suite_create("epoll members");
	TCase *tc;

	tc = group(s, "kinds", 150);
	tcase_add_loop_test(tc, kernel_descriptors_are_members_too, 0, 3);
	tcase_add_test(tc, closed_kernel_descriptor_stays_a_member_with_its_duplicate);
	tcase_add_test(tc, busy_members_take_turns);
	tcase_add_test(tc, no_more_than_there_is_room_for);
	tcase_add_test(tc, instance_in_an_instance);
	tcase_add_loop_test(tc, instance_in_a_loop_of_the_kernel, 0, 2);
	tcase_add_test(tc, each_change_of_an_instance_is_an_edge_of_it);
	tcase_add_test(tc, several_instances_watch_the_same_socket);

	tc = group(s, "many", 300);
	tcase_add_test(tc, thousands_of_members_and_one_is_ready);
	tcase_add_test(tc, hundreds_of_members_are_ready);
	return run_suite(s);
}
