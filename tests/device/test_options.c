/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Socket options, descriptor flags and the library's own information: what they are at first, what
 * they can become and when, and what accepted sockets inherit.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "rawpeer.h"
#include "stream.h"

/* -- options that are ints --------------------------------------------------------------------- */

#define UNSAID -1

static const struct {
	int level;
	int name;
	int at_first;   /* UNSAID: positive, but not fixed */
	int set;
	int then;
} ints[] = {
	{ SOL_SOCKET, SO_REUSEADDR, 0, 1, 1 },
	{ SOL_SOCKET, SO_RCVBUF, UNSAID, 4096, 8192 },
	{ SOL_SOCKET, SO_RCVBUF, UNSAID, 100000, 200000 },
	{ SOL_SOCKET, SO_SNDBUF, UNSAID, 4096, 8192 },
	{ SOL_SOCKET, SO_SNDBUF, UNSAID, 100000, 200000 },
	{ SOL_SOCKET, SO_KEEPALIVE, 0, 1, 1 },
	{ SOL_SOCKET, SO_OOBINLINE, 0, 1, 1 },
	{ IPPROTO_TCP, TCP_NODELAY, 0, 1, 1 },
	{ SOL_RDMA, RDMA_SQSIZE, 384, 16, 16 },
	{ SOL_RDMA, RDMA_SQSIZE, 384, 65534, 65534 },
	{ SOL_RDMA, RDMA_RQSIZE, 384, 16, 16 },
	{ SOL_RDMA, RDMA_RQSIZE, 384, 65534, 65534 },
	{ SOL_RDMA, RDMA_INLINE, 64, 0, 0 },
	{ SOL_RDMA, RDMA_INLINE, 64, 128, 128 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 0, 0, 0 },
};

START_TEST(option_has_its_default)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int value = get_option(fd, ints[_i].level, ints[_i].name);

	if (ints[_i].at_first == UNSAID)
		ck_assert_int_gt(value, 0);
	else
		ck_assert_int_eq(value, ints[_i].at_first);
}
END_TEST

START_TEST(option_keeps_what_it_is_set_to)
{
	struct option o = { ints[_i].level, ints[_i].name, ints[_i].set };
	int fd = socket_with(AF_INET, OPTIONS(o));

	ck_assert_int_eq(get_option(fd, o.level, o.name), ints[_i].then);
}
END_TEST

START_TEST(short_option_value_is_invalid)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int before = get_option(fd, ints[_i].level, ints[_i].name);
	char value[sizeof(int)] = "";

	for (socklen_t len = 0; len < sizeof(value); len++)
		FAILS(rsk_setsockopt(fd, ints[_i].level, ints[_i].name, value, len), EINVAL);
	ck_assert_int_eq(get_option(fd, ints[_i].level, ints[_i].name), before);
}
END_TEST

START_TEST(option_is_not_written_past_the_room_given)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	unsigned char room[8];

	for (socklen_t given = 0; given < sizeof(int); given++) {
		socklen_t len = given;
		int ret;

		memset(room, 0x55, sizeof(room));
		ret = rsk_getsockopt(fd, ints[_i].level, ints[_i].name, room, &len);
		ck_assert(ret == 0 ? len <= given : errno == EINVAL);
		for (size_t i = given; i < sizeof(room); i++)
			ck_assert_uint_eq(room[i], 0x55);
	}
}
END_TEST

START_TEST(more_room_than_needed_is_fine)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	unsigned char room[16];
	socklen_t len = sizeof(room);

	memset(room, 0x55, sizeof(room));
	OK(rsk_getsockopt(fd, ints[_i].level, ints[_i].name, room, &len));
	ck_assert_uint_eq(len, sizeof(int));
	ck_assert_uint_eq(room[sizeof(int)], 0x55);
}
END_TEST

/* -- values ------------------------------------------------------------------------------------ */

static const struct option out_of_range[] = {
	{ SOL_RDMA, RDMA_SQSIZE, 15 }, { SOL_RDMA, RDMA_SQSIZE, 65535 },
	{ SOL_RDMA, RDMA_SQSIZE, -1 }, { SOL_RDMA, RDMA_SQSIZE, 0 },
	{ SOL_RDMA, RDMA_RQSIZE, 15 }, { SOL_RDMA, RDMA_RQSIZE, 65535 },
	{ SOL_RDMA, RDMA_RQSIZE, -1 }, { SOL_RDMA, RDMA_RQSIZE, 0 },
	{ SOL_RDMA, RDMA_INLINE, -1 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 32513 }, { SOL_RDMA, RDMA_IOMAPSIZE, -1 },
};

START_TEST(value_out_of_range_is_invalid)
{
	const struct option *o = &out_of_range[_i];
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int before = get_option(fd, o->level, o->name);

	FAILS(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)), EINVAL);
	ck_assert_int_eq(get_option(fd, o->level, o->name), before);
}
END_TEST

static const int time_limits[] = { SO_RCVTIMEO, SO_SNDTIMEO };

START_TEST(time_limit_is_none_at_first_and_keeps_what_it_is_set_to)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	struct timeval limit = { .tv_sec = 5 };
	socklen_t len = sizeof(limit);

	OK(rsk_getsockopt(fd, SOL_SOCKET, time_limits[_i], &limit, &len));
	ck_assert_uint_eq(len, sizeof(limit));
	ck_assert_int_eq(limit.tv_sec, 0);
	ck_assert_int_eq(limit.tv_usec, 0);

	limit = (struct timeval){ .tv_sec = 7, .tv_usec = 250000 };
	OK(rsk_setsockopt(fd, SOL_SOCKET, time_limits[_i], &limit, sizeof(limit)));
	limit = (struct timeval){ 0, 0 };
	OK(rsk_getsockopt(fd, SOL_SOCKET, time_limits[_i], &limit, &len));
	ck_assert_int_eq(limit.tv_sec, 7);
	ck_assert_int_eq(limit.tv_usec, 250000);
}
END_TEST

START_TEST(time_limit_with_too_many_microseconds_is_out_of_domain)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);
	struct timeval over = { .tv_usec = 1000000 }, under = { .tv_usec = -1 };

	FAILS(rsk_setsockopt(fd, SOL_SOCKET, time_limits[_i], &over, sizeof(over)), EDOM);
	FAILS(rsk_setsockopt(fd, SOL_SOCKET, time_limits[_i], &under, sizeof(under)), EDOM);
	FAILS(rsk_setsockopt(fd, SOL_SOCKET, time_limits[_i], &over, sizeof(over) - 1), EINVAL);
}
END_TEST

START_TEST(linger_keeps_what_it_is_set_to)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 42 };
	int fd = socket_with(AF_INET, NO_OPTIONS);
	socklen_t len = sizeof(linger);

	FAILS(rsk_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger) - 1), EINVAL);
	OK(rsk_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	memset(&linger, 0, sizeof(linger));
	OK(rsk_getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
	ck_assert_uint_eq(len, sizeof(linger));
	ck_assert_int_eq(linger.l_onoff, 1);
	ck_assert_int_eq(linger.l_linger, 42);
}
END_TEST

START_TEST(v6only_may_be_set_before_binding)
{
	int fd = socket_with(AF_INET6, OPTIONS({ IPPROTO_IPV6, IPV6_V6ONLY, 1 })), off = 0;
	struct address here = address_of_device(AF_INET6, 0);

	ck_assert_int_eq(get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	OK(rsk_bind(fd, &here.any, here.len));
	FAILS(rsk_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), EINVAL);
	ck_assert_int_eq(get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
}
END_TEST

/* -- when -------------------------------------------------------------------------------------- */

static const struct option early[] = {
	{ SOL_RDMA, RDMA_SQSIZE, 100 }, { SOL_RDMA, RDMA_RQSIZE, 100 }, { SOL_RDMA, RDMA_INLINE, 0 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 0 },
};

static void check_too_late(int fd, const struct option *o)
{
	FAILS(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)), EINVAL);
}

START_TEST(queue_sizes_cannot_change_once_listening_or_connected)
{
	int listening = listener();
	struct pair p = pair_on(listening);

	check_too_late(listening, &early[_i]);
	check_too_late(p.a, &early[_i]);
	check_too_late(p.b, &early[_i]);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(buffer_sizes_cannot_change_once_connected)
{
	struct pair p = pair_connected();

	check_too_late(p.a, &(struct option){ SOL_SOCKET, SO_RCVBUF, 4096 });
	check_too_late(p.a, &(struct option){ SOL_SOCKET, SO_SNDBUF, 4096 });
	check_too_late(p.b, &(struct option){ SOL_SOCKET, SO_RCVBUF, 4096 });
	check_too_late(p.b, &(struct option){ SOL_SOCKET, SO_SNDBUF, 4096 });
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(stored_options_can_change_any_time)
{
	struct pair p = pair_connected();
	const struct option any_time[] = { { SOL_SOCKET, SO_KEEPALIVE, 1 },
					   { SOL_SOCKET, SO_OOBINLINE, 1 },
					   { IPPROTO_TCP, TCP_NODELAY, 1 } };

	for (size_t i = 0; i < COUNT(any_time); i++) {
		const struct option *o = &any_time[i];

		OK(rsk_setsockopt(p.a, o->level, o->name, &o->value, sizeof(o->value)));
		ck_assert_int_eq(get_option(p.a, o->level, o->name), 1);
		ck_assert_int_eq(get_option(p.b, o->level, o->name), 0);
	}
}
END_TEST

START_TEST(reused_address_may_be_bound_while_an_old_connection_holds_it)
{
	int listening = listener_with(AF_INET, OPTIONS({ SOL_SOCKET, SO_REUSEADDR, 1 }), 1), next;
	struct address here = local_address(listening);
	struct pair old = pair_on(listening);

	OK(rsk_close(listening));
	next = socket_with(AF_INET, OPTIONS({ SOL_SOCKET, SO_REUSEADDR, 1 }));
	OK(rsk_bind(next, &here.any, here.len));
	OK(rsk_listen(next, 1));
	pair_close(pair_on(next));
	check_connected(old.a, old.b);
}
END_TEST

/* -- inherited --------------------------------------------------------------------------------- */

static const struct {
	struct option set;
	int then;
} inherited[] = {
	{ { SOL_SOCKET, SO_RCVBUF, 20000 }, 40000 },
	{ { SOL_SOCKET, SO_SNDBUF, 20000 }, 40000 },
	{ { SOL_SOCKET, SO_KEEPALIVE, 1 }, 1 },
	{ { SOL_SOCKET, SO_OOBINLINE, 1 }, 1 },
	{ { IPPROTO_TCP, TCP_NODELAY, 1 }, 1 },
	{ { SOL_RDMA, RDMA_SQSIZE, 64 }, 64 },
	{ { SOL_RDMA, RDMA_RQSIZE, 64 }, 64 },
	{ { SOL_RDMA, RDMA_INLINE, 32 }, 32 },
};

START_TEST(accepted_socket_inherits_the_option)
{
	const struct option *set = &inherited[_i].set;
	struct pair p = pair_with(AF_INET, NO_OPTIONS, OPTIONS(*set));
	int value = get_option(p.b, set->level, set->name);

	/* A device may have more inline room than it was asked for. */
	if (set->level == SOL_RDMA && set->name == RDMA_INLINE)
		ck_assert_int_ge(value, inherited[_i].then);
	else
		ck_assert_int_eq(value, inherited[_i].then);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(accepted_socket_inherits_time_limits)
{
	int listening = listener();
	struct timeval limit = { .tv_usec = 50000 };
	struct pair p;
	char byte;

	OK(rsk_setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	p = pair_on(listening);
	FAILS(rsk_recv(p.b, &byte, 1, 0), EAGAIN);
}
END_TEST

START_TEST(accepted_socket_does_not_inherit_descriptor_flags)
{
	int listening = listener();
	struct pair p;

	set_nonblocking(listening, true);
	OK(rsk_fcntl(listening, F_SETFD, FD_CLOEXEC));
	p = pair_on(listening);
	ck_assert_int_eq(rsk_fcntl(p.b, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(rsk_fcntl(p.b, F_GETFD), 0);
}
END_TEST

/* -- read-only and unknown --------------------------------------------------------------------- */

START_TEST(what_the_socket_is_can_be_read)
{
	int v4 = listener(), v6 = socket_with(AF_INET6, NO_OPTIONS);
	struct pair p = pair_on(v4);

	ck_assert_int_eq(get_option(v4, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	ck_assert_int_eq(get_option(v4, SOL_SOCKET, SO_DOMAIN), AF_INET);
	ck_assert_int_eq(get_option(v6, SOL_SOCKET, SO_DOMAIN), AF_INET6);
	ck_assert_int_eq(get_option(v4, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	ck_assert_int_eq(get_option(v4, SOL_SOCKET, SO_ACCEPTCONN), 1);
	ck_assert_int_eq(get_option(v6, SOL_SOCKET, SO_ACCEPTCONN), 0);
	ck_assert_int_eq(get_option(p.b, SOL_SOCKET, SO_ACCEPTCONN), 0);
	ck_assert_int_eq(get_option(p.b, SOL_SOCKET, SO_ERROR), 0);
}
END_TEST

START_TEST(segment_size_is_an_rdma_mtu)
{
	struct pair p = pair_connected();
	int mtu = get_option(p.a, IPPROTO_TCP, TCP_MAXSEG);

	ck_assert_int_ge(mtu, 256);
	ck_assert_int_le(mtu, 4096);
	ck_assert_int_eq(mtu & (mtu - 1), 0);
	ck_assert_int_eq(get_option(p.b, IPPROTO_TCP, TCP_MAXSEG), mtu);
}
END_TEST

static const struct option read_only[] = {
	{ SOL_SOCKET, SO_ERROR, 0 }, { SOL_SOCKET, SO_TYPE, SOCK_STREAM },
	{ SOL_SOCKET, SO_DOMAIN, AF_INET }, { SOL_SOCKET, SO_PROTOCOL, IPPROTO_TCP },
	{ SOL_SOCKET, SO_ACCEPTCONN, 1 }, { IPPROTO_TCP, TCP_MAXSEG, 1024 },
};

START_TEST(read_only_option_cannot_be_set)
{
	const struct option *o = &read_only[_i];
	int fd = socket_with(AF_INET, NO_OPTIONS);

	FAILS(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)), ENOPROTOOPT);
}
END_TEST

static const struct option unknown[] = {
	{ SOL_SOCKET, SO_BROADCAST, 1 }, { SOL_SOCKET, 12345, 1 }, { SOL_SOCKET, -1, 1 },
	{ SOL_SOCKET, SO_MARK, 1 }, { IPPROTO_TCP, TCP_CORK, 1 }, { IPPROTO_TCP, 12345, 1 },
	{ IPPROTO_IP, IP_TTL, 1 }, { IPPROTO_IPV6, 12345, 1 }, { SOL_RDMA, 4, 1 },
	{ SOL_RDMA, -1, 1 }, { 12345, 1, 1 }, { -1, 1, 1 },
};

START_TEST(unknown_option_is_no_option)
{
	const struct option *o = &unknown[_i];
	int fd = socket_with(AF_INET, NO_OPTIONS), value = 77;
	socklen_t len = sizeof(value);

	FAILS(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)), ENOPROTOOPT);
	FAILS(rsk_getsockopt(fd, o->level, o->name, &value, &len), ENOPROTOOPT);
	ck_assert_int_eq(value, 77);
}
END_TEST

START_TEST(negative_room_for_an_option_is_invalid)
{
	int fd = socket_with(AF_INET, NO_OPTIONS), value;
	socklen_t len = -1;

	FAILS(rsk_getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len), EINVAL);
}
END_TEST

START_TEST(pending_error_is_cleared_by_reading_it)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS);

	raw_take_request(&r);
	raw_reject(&r);
	wait_for(fd, POLLOUT);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	ck_assert_int_eq(get_option(fd, SOL_SOCKET, SO_ERROR), 0);
}
END_TEST

/* -- descriptor flags -------------------------------------------------------------------------- */

START_TEST(nonblocking_can_be_switched)
{
	struct pair p = pair_connected();
	char byte;

	ck_assert_int_eq(rsk_fcntl(p.a, F_GETFL) & O_NONBLOCK, 0);
	OK(rsk_fcntl(p.a, F_SETFL, O_NONBLOCK));
	ck_assert_int_eq(rsk_fcntl(p.a, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	FAILS(rsk_recv(p.a, &byte, 1, 0), EAGAIN);
	OK(rsk_fcntl(p.a, F_SETFL, 0));
	ck_assert_int_eq(rsk_fcntl(p.a, F_GETFL) & O_NONBLOCK, 0);
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(socket_can_be_made_nonblocking)
{
	int fd = rsk_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_int_eq(rsk_fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(close_on_exec_reaches_the_kernel)
{
	int fd = rsk_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), listening = listener();
	struct address there = local_address(listening);

	ck_assert_int_eq(rsk_fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	OK(rsk_fcntl(fd, F_SETFD, 0));
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFD), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
	OK(rsk_fcntl(fd, F_SETFD, FD_CLOEXEC));
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);

	connected_to(&there);
	fd = rsk_accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(descriptor_without_the_flag_survives_exec)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFD), 0);
}
END_TEST

/* -- the library ------------------------------------------------------------------------------- */

START_TEST(version_is_three_numbers)
{
	int major, minor, patch;

	ck_assert_int_eq(sscanf(rsk_version(), "%d.%d.%d", &major, &minor, &patch), 3);
}
END_TEST

START_TEST(socket_without_failure_has_no_error_text)
{
	struct pair p = pair_connected();
	char text[32] = "something";

	OK(rsk_error(p.a, text, sizeof(text)));
	ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");
	TCase *tc;

	tc = group(s, "ints", 100);
	tcase_add_loop_test(tc, option_has_its_default, 0, COUNT(ints));
	tcase_add_loop_test(tc, option_keeps_what_it_is_set_to, 0, COUNT(ints));
	tcase_add_loop_test(tc, short_option_value_is_invalid, 0, COUNT(ints));
	tcase_add_loop_test(tc, option_is_not_written_past_the_room_given, 0, COUNT(ints));
	tcase_add_loop_test(tc, more_room_than_needed_is_fine, 0, COUNT(ints));

	tc = group(s, "values", 100);
	tcase_add_loop_test(tc, value_out_of_range_is_invalid, 0, COUNT(out_of_range));
	tcase_add_loop_test(tc, time_limit_is_none_at_first_and_keeps_what_it_is_set_to, 0,
			    COUNT(time_limits));
	tcase_add_loop_test(tc, time_limit_with_too_many_microseconds_is_out_of_domain, 0,
			    COUNT(time_limits));
	tcase_add_test(tc, linger_keeps_what_it_is_set_to);
	if (have_family(AF_INET6))
		tcase_add_test(tc, v6only_may_be_set_before_binding);

	tc = group(s, "when", 100);
	tcase_add_loop_test(tc, queue_sizes_cannot_change_once_listening_or_connected, 0,
			    COUNT(early));
	tcase_add_test(tc, buffer_sizes_cannot_change_once_connected);
	tcase_add_test(tc, stored_options_can_change_any_time);
	tcase_add_test(tc, reused_address_may_be_bound_while_an_old_connection_holds_it);

	tc = group(s, "inherited", 100);
	tcase_add_loop_test(tc, accepted_socket_inherits_the_option, 0, COUNT(inherited));
	tcase_add_test(tc, accepted_socket_inherits_time_limits);
	tcase_add_test(tc, accepted_socket_does_not_inherit_descriptor_flags);

	tc = group(s, "read-only and unknown", 100);
	tcase_add_test(tc, what_the_socket_is_can_be_read);
	tcase_add_test(tc, segment_size_is_an_rdma_mtu);
	tcase_add_loop_test(tc, read_only_option_cannot_be_set, 0, COUNT(read_only));
	tcase_add_loop_test(tc, unknown_option_is_no_option, 0, COUNT(unknown));
	tcase_add_test(tc, negative_room_for_an_option_is_invalid);
	tcase_add_test(tc, pending_error_is_cleared_by_reading_it);

	tc = group(s, "descriptor flags", 100);
	tcase_add_test(tc, nonblocking_can_be_switched);
	tcase_add_test(tc, socket_can_be_made_nonblocking);
	tcase_add_test(tc, close_on_exec_reaches_the_kernel);
	tcase_add_test(tc, descriptor_without_the_flag_survives_exec);

	tc = group(s, "the library", 100);
	tcase_add_test(tc, version_is_three_numbers);
	tcase_add_test(tc, socket_without_failure_has_no_error_text);
	return run_suite(s);
}
