/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who is connected to whom, in which order, and how many may wait. */
#include <fcntl.h>
#include <string.h>

#include "stream.h"
#include "task.h"

/* -- names ------------------------------------------------------------------------------------- */

static void check_names_agree(int family)
{
	int listening = listener_with(family, NO_OPTIONS, 1);
	struct address there = local_address(listening), from = { .len = sizeof(from.room) };
	int a = connect_begun(&there, NO_OPTIONS);
	struct address names[4];
	int b;

	wait_for(listening, POLLIN);
	b = rsk_accept(listening, &from.any, &from.len);
	ck_assert_int_ge(b, 0);
	connect_finished(a);
	names[0] = local_address(a);
	names[1] = peer_address(b);
	names[2] = peer_address(a);
	names[3] = local_address(b);
	check_same_address(&from, &names[0]);
	check_same_address(&names[0], &names[1]);
	check_same_address(&there, &names[2]);
	check_same_address(&there, &names[3]);
	check_connected(a, b);
}

START_TEST(both_ends_agree_on_their_names)
{
	check_names_agree(AF_INET);
}
END_TEST

START_TEST(both_ends_agree_on_their_ipv6_names)
{
	check_names_agree(AF_INET6);
}
END_TEST

static void check_unbound_name(int family)
{
	struct address name = local_address(socket_with(family, NO_OPTIONS));
	struct address wildcard = address_wildcard(family);

	check_same_address(&name, &wildcard);
}

START_TEST(socket_has_the_wildcard_name_before_binding)
{
	check_unbound_name(AF_INET);
}
END_TEST

START_TEST(ipv6_socket_has_the_wildcard_name_before_binding)
{
	check_unbound_name(AF_INET6);
}
END_TEST

START_TEST(binding_to_port_zero_picks_a_port)
{
	struct address here = address_of_device(AF_INET, 0), name;
	int fd = socket_with(AF_INET, NO_OPTIONS);

	OK(rsk_bind(fd, &here.any, here.len));
	name = local_address(fd);
	ck_assert_uint_ne(address_port(&name), 0);
	here.v4.sin_port = name.v4.sin_port;
	check_same_address(&name, &here);
}
END_TEST

START_TEST(bound_client_keeps_its_port)
{
	int listening = listener(), fd = socket_with(AF_INET, NO_OPTIONS), accepted;
	struct address there = local_address(listening), here = address_of_device(AF_INET, 0);
	struct address bound, seen;

	OK(rsk_bind(fd, &here.any, here.len));
	bound = local_address(fd);
	set_nonblocking(fd, true);
	if (rsk_connect(fd, &there.any, there.len) < 0)
		FAILS(-1, EINPROGRESS);
	accepted = accept_from(listening);
	connect_finished(fd);
	seen = peer_address(accepted);
	check_same_address(&seen, &bound);
}
END_TEST

START_TEST(listener_without_address_gets_the_wildcard_and_a_port)
{
	int listening = socket_with(AF_INET, NO_OPTIONS);
	struct address name, wildcard = address_wildcard(AF_INET), there;
	int a;

	OK(rsk_listen(listening, 1));
	name = local_address(listening);
	ck_assert_uint_ne(address_port(&name), 0);
	wildcard.v4.sin_port = name.v4.sin_port;
	check_same_address(&name, &wildcard);

	there = address_of_device(AF_INET, address_port(&name));
	a = connect_begun(&there, NO_OPTIONS);
	check_connected(a, accept_from(listening));
}
END_TEST

START_TEST(names_are_cut_to_the_room_given)
{
	struct pair p = pair_connected();
	struct address whole = peer_address(p.a);
	unsigned char room[sizeof(struct sockaddr_in)];
	socklen_t len = 4;

	memset(room, 0x55, sizeof(room));
	OK(rsk_getpeername(p.a, (struct sockaddr *)room, &len));
	ck_assert_uint_eq(len, sizeof(struct sockaddr_in));
	ck_assert_mem_eq(room, &whole.any, 4);
	ck_assert_uint_eq(room[4], 0x55);

	len = 4;
	OK(rsk_getsockname(p.a, (struct sockaddr *)room, &len));
	ck_assert_uint_eq(len, sizeof(struct sockaddr_in));
	ck_assert_uint_eq(room[4], 0x55);
}
END_TEST

/* -- accepting --------------------------------------------------------------------------------- */

START_TEST(connections_are_accepted_oldest_first)
{
	int listening = listener(), clients[5];
	struct address there = local_address(listening);

	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = connected_to(&there);
	for (size_t i = 0; i < COUNT(clients); i++)
		check_connected(clients[i], accept_from(listening));
}
END_TEST

START_TEST(data_may_arrive_before_accept)
{
	int listening = listener(), accepted;
	struct address there = local_address(listening);
	struct stream s = { .seed = 1, .bytes = 10000 };
	int fd = connected_to(&there);

	stream_send(fd, &s);
	OK(rsk_shutdown(fd, SHUT_WR));
	accepted = accept_from(listening);
	stream_take(accepted, &s);
	check_end_of_file(accepted);
}
END_TEST

START_TEST(blocking_connect_and_accept_meet)
{
	int listening = listener(), fd = socket_with(AF_INET, NO_OPTIONS);
	struct address there = local_address(listening);
	struct call accepting;

	call_blocks(&accepting, call_accept, listening);
	OK(rsk_connect(fd, &there.any, there.len));
	call_returns(&accepting);
	ck_assert_int_ge(accepting.ret, 0);
	check_connected(fd, accepting.ret);
}
END_TEST

START_TEST(accept4_sets_the_flags_and_accept_does_not)
{
	int listening = listener();
	struct address there = local_address(listening);
	int fd;

	set_nonblocking(listening, true);
	connected_to(&there);
	connected_to(&there);
	wait_for(listening, POLLIN);
	fd = rsk_accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFD), FD_CLOEXEC);

	fd = accept_from(listening);
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(two_listeners_keep_their_connections_apart)
{
	int one = listener(), other = listener();
	struct pair p = pair_on(one), q = pair_on(other);

	check_connected(p.a, p.b);
	check_connected(q.a, q.b);
	ck_assert_int_eq(ready_now(one, POLLIN), 0);
	ck_assert_int_eq(ready_now(other, POLLIN), 0);
}
END_TEST

START_TEST(port_is_free_again_after_close)
{
	int listening = listener(), next = socket_with(AF_INET, NO_OPTIONS);
	struct address there = local_address(listening);

	OK(rsk_close(listening));
	OK(rsk_bind(next, &there.any, there.len));
	OK(rsk_listen(next, 1));
	pair_close(pair_on(next));
}
END_TEST

/* -- backlog ----------------------------------------------------------------------------------- */

#define BACKLOG 3
#define CALLERS (3 * BACKLOG)

static struct caller {
	int fd;
	int error; /* of the connect; EINPROGRESS: undecided */
} callers[CALLERS];

static struct caller call_in(const struct address *there)
{
	struct caller c = { .fd = socket_with(AF_INET, NO_OPTIONS) };

	set_nonblocking(c.fd, true);
	if (rsk_connect(c.fd, &there->any, there->len) < 0)
		c.error = errno;
	return c;
}

static int callers_with(int error)
{
	int n = 0;

	for (int i = 0; i < CALLERS; i++) {
		struct caller *c = &callers[i];

		if (c->error == EINPROGRESS && ready_now(c->fd, POLLOUT))
			c->error = get_option(c->fd, SOL_SOCKET, SO_ERROR);
		n += c->error == error;
	}
	return n;
}

static bool callers_connected(long goal)
{
	return callers_with(0) >= goal;
}

static bool callers_refused(long goal)
{
	return callers_with(ECONNREFUSED) >= goal;
}

static int listener_with_too_many_callers(void)
{
	int listening = listener_with(AF_INET, NO_OPTIONS, BACKLOG);
	struct address there = local_address(listening);

	for (int i = 0; i < CALLERS; i++)
		callers[i] = call_in(&there);
	wait_until(callers_connected, BACKLOG, "connected callers");
	wait_until(callers_refused, CALLERS - 2 * BACKLOG, "refused callers");
	return listening;
}

START_TEST(backlog_bounds_how_many_are_open_and_how_many_wait)
{
	listener_with_too_many_callers();
	ck_assert_int_eq(callers_with(0), BACKLOG);
	ck_assert_int_eq(callers_with(EINPROGRESS), BACKLOG);
	ck_assert_int_eq(callers_with(ECONNREFUSED), CALLERS - 2 * BACKLOG);
}
END_TEST

START_TEST(accepting_lets_those_in_who_wait)
{
	int listening = listener_with_too_many_callers();

	for (int i = 0; i < 2 * BACKLOG; i++)
		accept_from(listening);
	wait_until(callers_connected, 2 * BACKLOG, "connected callers");
}
END_TEST

START_TEST(second_listen_widens_the_backlog)
{
	int listening = listener_with(AF_INET, NO_OPTIONS, 1);
	struct address there = local_address(listening);

	OK(rsk_listen(listening, 10));
	for (int i = 0; i < 10; i++)
		connected_to(&there);
}
END_TEST

static void check_ended(int fd)
{
	char byte;
	ssize_t n;

	wait_for(fd, POLLIN);
	n = rsk_recv(fd, &byte, 1, 0);
	ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "rsk_recv returned %zd (%s)", n,
		      n < 0 ? strerror(errno) : "data");
}

START_TEST(closing_a_listener_ends_the_connections_nobody_accepted)
{
	int listening = listener(), clients[3];
	struct address there = local_address(listening);

	for (size_t i = 0; i < COUNT(clients); i++)
		clients[i] = connected_to(&there);
	OK(rsk_close(listening));
	for (size_t i = 0; i < COUNT(clients); i++)
		check_ended(clients[i]);
}
END_TEST

START_TEST(closing_a_listener_refuses_those_who_wait)
{
	OK(rsk_close(listener_with_too_many_callers()));
	wait_until(callers_refused, CALLERS - BACKLOG, "refused callers");
	ck_assert_int_eq(callers_with(0), BACKLOG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("accept");
	TCase *tc;

	tc = group(s, "names", 100);
	tcase_add_test(tc, both_ends_agree_on_their_names);
	tcase_add_test(tc, socket_has_the_wildcard_name_before_binding);
	tcase_add_test(tc, binding_to_port_zero_picks_a_port);
	tcase_add_test(tc, bound_client_keeps_its_port);
	tcase_add_test(tc, listener_without_address_gets_the_wildcard_and_a_port);
	tcase_add_test(tc, names_are_cut_to_the_room_given);
	if (have_family(AF_INET6)) {
		tcase_add_test(tc, both_ends_agree_on_their_ipv6_names);
		tcase_add_test(tc, ipv6_socket_has_the_wildcard_name_before_binding);
	}

	tc = group(s, "accepting", 100);
	tcase_add_test(tc, connections_are_accepted_oldest_first);
	tcase_add_test(tc, data_may_arrive_before_accept);
	tcase_add_test(tc, blocking_connect_and_accept_meet);
	tcase_add_test(tc, accept4_sets_the_flags_and_accept_does_not);
	tcase_add_test(tc, two_listeners_keep_their_connections_apart);
	tcase_add_test(tc, port_is_free_again_after_close);

	tc = group(s, "backlog", 150);
	tcase_add_test(tc, backlog_bounds_how_many_are_open_and_how_many_wait);
	tcase_add_test(tc, accepting_lets_those_in_who_wait);
	tcase_add_test(tc, second_listen_widens_the_backlog);
	tcase_add_test(tc, closing_a_listener_ends_the_connections_nobody_accepted);
	tcase_add_test(tc, closing_a_listener_refuses_those_who_wait);
	return run_suite(s);
}
