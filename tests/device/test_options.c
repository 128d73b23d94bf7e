/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Socket options, descriptor flags and the library's own information: what they are at first, what
 * they can become and when, and what accepted sockets inherit.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <infiniband/sa.h>
#include <linux/sockios.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

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
	{ SOL_SOCKET, SO_RCVLOWAT, 1, 100, 100 },
	{ SOL_SOCKET, SO_BROADCAST, 0, 1, 1 },
	{ SOL_SOCKET, SO_PRIORITY, 0, 6, 6 },
	{ IPPROTO_IP, IP_TOS, 0, 0x28, 0x28 },
	{ IPPROTO_TCP, TCP_NODELAY, 0, 1, 1 },
	{ IPPROTO_TCP, TCP_CORK, 0, 1, 1 },
	{ IPPROTO_TCP, TCP_QUICKACK, 1, 0, 0 },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, 5, 5 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, UNSAID, 60, 60 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, UNSAID, 10, 10 },
	{ IPPROTO_TCP, TCP_KEEPCNT, UNSAID, 3, 3 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 5000, 5000 },
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
	/* IP_TOS may be an octet. */
	socklen_t len = ints[_i].level == IPPROTO_IP ? sizeof(int) : 1;
	int fd = socket_with(AF_INET, NO_OPTIONS);
	int before = get_option(fd, ints[_i].level, ints[_i].name);
	char value[sizeof(int)] = "";

	FAILS(rsk_setsockopt(fd, ints[_i].level, ints[_i].name, value, 0), EINVAL);
	for (; len < sizeof(value); len++)
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

START_TEST(option_helps_after_a_bind_that_failed)
{
	const struct option *reuse = OPTIONS({ SOL_SOCKET, SO_REUSEADDR, 1 });
	int holder = socket_with(AF_INET, reuse), next = socket_with(AF_INET, NO_OPTIONS);
	struct address here = address_of_device(AF_INET, 0);

	OK(rsk_bind(holder, &here.any, here.len));
	here = local_address(holder);
	FAILS(rsk_bind(next, &here.any, here.len), EADDRINUSE);
	OK(rsk_setsockopt(next, SOL_SOCKET, SO_REUSEADDR, &reuse->value, sizeof(reuse->value)));
	OK(rsk_bind(next, &here.any, here.len));
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
	{ { IPPROTO_TCP, TCP_KEEPIDLE, 77 }, 77 },
	{ { IPPROTO_TCP, TCP_USER_TIMEOUT, 7777 }, 7777 },
	{ { SOL_SOCKET, SO_RCVLOWAT, 4 }, 4 },
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
	{ SOL_SOCKET, SO_ACCEPTCONN, 1 }, { IPPROTO_TCP, TCP_INFO, 0 },
};

START_TEST(read_only_option_cannot_be_set)
{
	const struct option *o = &read_only[_i];
	int fd = socket_with(AF_INET, NO_OPTIONS);

	FAILS(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)), ENOPROTOOPT);
}
END_TEST

static const struct option unknown[] = {
	{ SOL_SOCKET, SO_ZEROCOPY, 1 }, { SOL_SOCKET, 12345, 1 }, { SOL_SOCKET, -1, 1 },
	{ SOL_SOCKET, SO_MARK, 1 }, { IPPROTO_TCP, TCP_ULP, 1 }, { IPPROTO_TCP, 12345, 1 },
	{ IPPROTO_IP, IP_TTL, 1 }, { IPPROTO_IPV6, 12345, 1 }, { SOL_RDMA, 5, 1 },
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

/* -- with an effect ---------------------------------------------------------------------------- */

START_TEST(receive_waits_for_as_much_as_asked)
{
	struct pair p = pair_with(AF_INET, NO_OPTIONS, OPTIONS({ SOL_SOCKET, SO_RCVLOWAT, 6 }));
	struct call receiving;
	char got[16];

	ck_assert_int_eq(rsk_send(p.a, "one", 3, 0), 3);
	call_blocks(&receiving, call_recv, p.b);
	ck_assert_int_eq(rsk_send(p.a, "two!", 4, 0), 4);
	call_returns(&receiving);
	ck_assert_int_eq(receiving.ret, 7);

	/* Never for more than there is room for, and never without blocking. */
	ck_assert_int_eq(rsk_send(p.a, "one", 3, 0), 3);
	ck_assert_int_eq(rsk_recv(p.b, got, 3, 0), 3);
	ck_assert_int_eq(rsk_send(p.a, "two", 3, 0), 3);
	while (rsk_recv(p.b, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK) < 0)
		ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), MSG_DONTWAIT), 3);
}
END_TEST

START_TEST(readiness_waits_for_as_much_as_asked)
{
	struct pair p = pair_with(AF_INET, NO_OPTIONS, OPTIONS({ SOL_SOCKET, SO_RCVLOWAT, 6 }));
	const struct option one = { SOL_SOCKET, SO_RCVLOWAT, 1 };
	struct call polling;

	ck_assert_int_eq(rsk_send(p.a, "one", 3, 0), 3);
	call_blocks(&polling, call_poll_in, p.b);
	ck_assert_int_eq(rsk_send(p.a, "two", 3, 0), 3);
	call_returns(&polling);
	ck_assert_int_eq(call_recv(p.b), 6);

	ck_assert_int_eq(rsk_send(p.a, "one", 3, 0), 3);
	call_blocks(&polling, call_poll_in, p.b);
	OK(rsk_setsockopt(p.b, one.level, one.name, &one.value, sizeof(one.value)));
	call_returns(&polling);
	ck_assert_int_eq(call_recv(p.b), 3);
}
END_TEST

START_TEST(end_of_file_is_ready_however_much_is_asked)
{
	struct pair p = pair_with(AF_INET, NO_OPTIONS, OPTIONS({ SOL_SOCKET, SO_RCVLOWAT, 6 }));

	ck_assert_int_eq(rsk_send(p.a, "one", 3, 0), 3);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_int_eq(call_recv(p.b), 3);
	ck_assert_int_ne(wait_for(p.b, POLLIN) & POLLIN, 0);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(full_buffer_is_ready_however_much_is_asked)
{
	const struct option *most = OPTIONS({ SOL_SOCKET, SO_RCVLOWAT, -1 },
					    { SOL_SOCKET, SO_RCVBUF, 8192 });
	struct pair p = pair_with(AF_INET, NO_OPTIONS, most);
	uint64_t sent = fill_send_side(p.a, 1);

	ck_assert_int_ne(wait_for(p.b, POLLIN) & POLLIN, 0);
	set_nonblocking(p.b, true);
	ck_assert_int_eq(sent > 0 ? call_recv(p.b) : 0, 4096);
}
END_TEST

START_TEST(information_follows_the_connection)
{
	struct pair p = pair_connected();
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	OK(rsk_getsockopt(p.a, IPPROTO_TCP, TCP_INFO, &info, &len));
	ck_assert_uint_eq(len, sizeof(info));
	ck_assert_uint_eq(info.tcpi_state, TCP_ESTABLISHED);
	ck_assert_int_eq(info.tcpi_pmtu, get_option(p.a, IPPROTO_TCP, TCP_MAXSEG));
	ck_assert_uint_eq(info.tcpi_snd_cwnd, 384);
	ck_assert_uint_gt(info.tcpi_rcv_space, 0);
	OK(rsk_shutdown(p.b, SHUT_WR));
	check_end_of_file(p.a);
	OK(rsk_getsockopt(p.a, IPPROTO_TCP, TCP_INFO, &info, &len));
	ck_assert_uint_eq(info.tcpi_state, TCP_CLOSE_WAIT);
}
END_TEST

START_TEST(type_of_service_connects)
{
	pair_close(pair_with(AF_INET, OPTIONS({ IPPROTO_IP, IP_TOS, 0x28 }), NO_OPTIONS));
	if (have_family(AF_INET6))
		pair_close(pair_with(AF_INET6, OPTIONS({ IPPROTO_IPV6, IPV6_TCLASS, 0x28 }), NO_OPTIONS));
}
END_TEST

static socklen_t route_of(int fd, struct ibv_path_data paths[2])
{
	socklen_t len = 2 * sizeof(paths[0]);

	OK(rsk_getsockopt(fd, SOL_RDMA, RDMA_ROUTE, paths, &len));
	return len;
}

START_TEST(route_of_a_connection_can_be_used_for_another)
{
	int listening = listener(), fd = socket_with(AF_INET, NO_OPTIONS);
	struct address there = local_address(listening);
	struct ibv_path_data paths[2], again[2];
	struct pair p = pair_on(listening);
	socklen_t len = sizeof(paths);

	if (device_is_iwarp() && rsk_getsockopt(p.a, SOL_RDMA, RDMA_ROUTE, paths, &len)) {
		ck_assert_int_eq(errno, EINVAL);
		skip("this device keeps no path");
		return;
	}
	len = route_of(p.a, paths);
	ck_assert_uint_eq(len, sizeof(paths[0]));
	OK(rsk_setsockopt(fd, SOL_RDMA, RDMA_ROUTE, paths, len));
	OK(rsk_connect(fd, &there.any, there.len));
	check_connected(fd, accept_from(listening));
	ck_assert_uint_eq(route_of(fd, again), len);
	ck_assert_mem_eq(&again[0].path.dgid, &paths[0].path.dgid, sizeof(paths[0].path.dgid));
}
END_TEST

START_TEST(settings_of_the_process_are_the_defaults)
{
	struct pair p;

	/* This process has read none yet. */
	setenv("RSK_SQSIZE_DEFAULT", "40", 1);
	setenv("RSK_RQSIZE_DEFAULT", "50", 1);
	setenv("RSK_MEM_DEFAULT", "8192", 1);
	setenv("RSK_WMEM_DEFAULT", "16384", 1);
	setenv("RSK_KEEPALIVE_TIME", "99", 1);
	p = pair_connected();
	ck_assert_int_eq(get_option(p.a, SOL_RDMA, RDMA_SQSIZE), 40);
	ck_assert_int_eq(get_option(p.b, SOL_RDMA, RDMA_RQSIZE), 50);
	ck_assert_int_eq(get_option(p.a, SOL_SOCKET, SO_RCVBUF), 8192);
	ck_assert_int_eq(get_option(p.b, SOL_SOCKET, SO_SNDBUF), 16384);
	ck_assert_int_eq(get_option(p.a, IPPROTO_TCP, TCP_KEEPIDLE), 99);
	stream_pass(p.a, p.b, &(struct stream){ .seed = 1, .bytes = 100 * KIB });
}
END_TEST

/* -- requests ---------------------------------------------------------------------------------- */

static int request(int fd, unsigned long what)
{
	int value = -1;

	OK(rsk_ioctl(fd, what, &value));
	return value;
}

static int counting;

static bool bytes_waiting(long bytes)
{
	return request(counting, FIONREAD) == bytes;
}

static bool bytes_unconfirmed(long bytes)
{
	return request(counting, SIOCOUTQ) == bytes;
}

START_TEST(bytes_to_read_are_counted)
{
	struct pair p = pair_connected();

	counting = p.b;
	ck_assert_int_eq(request(p.b, FIONREAD), 0);
	stream_send(p.a, &(struct stream){ .seed = 1, .bytes = 3000 });
	wait_until(bytes_waiting, 3000, "bytes waiting");
	stream_take(p.b, &(struct stream){ .seed = 1, .bytes = 1000 });
	ck_assert_int_eq(request(p.b, FIONREAD), 2000);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_int_ne(wait_for(p.b, POLLRDHUP) & POLLRDHUP, 0);
	ck_assert_int_eq(request(p.b, FIONREAD), 2000);
}
END_TEST

START_TEST(bytes_on_their_way_are_counted_until_they_have_arrived)
{
	struct pair p = pair_connected();

	counting = p.a;
	ck_assert_int_eq(request(p.a, SIOCOUTQ), 0);
	for (uint64_t bytes = 1; bytes < 100 * KIB; bytes *= 10) {
		stream_pass(p.a, p.b, &(struct stream){ .seed = 1, .bytes = bytes });
		wait_until(bytes_unconfirmed, 0, "bytes unconfirmed");
	}
	check_connected(p.a, p.b);
}
END_TEST

START_TEST(bytes_that_are_not_confirmed_are_counted)
{
	struct raw r;
	struct address there;
	int fd;

	if (device_is_iwarp()) {
		skip("on iWARP nobody can leave a message waiting");
		return;
	}
	there = raw_listen(&r);
	fd = connect_begun(&there, NO_OPTIONS);
	raw_take_request(&r);
	raw_accept(&r, &(struct flaw){ .deaf = true });
	connect_finished(fd);
	ck_assert_int_eq(request(fd, SIOCOUTQ), 0);
	ck_assert_int_eq(rsk_send(fd, "12345", 5, 0), 5);
	ck_assert_int_ge(request(fd, SIOCOUTQ), 5);
	ck_assert_int_ge(request(fd, SIOCOUTQ), 5);
}
END_TEST

START_TEST(listener_has_no_bytes_to_count)
{
	int fd = listener(), idle = socket_with(AF_INET, NO_OPTIONS), value;

	FAILS(rsk_ioctl(fd, FIONREAD, &value), EINVAL);
	FAILS(rsk_ioctl(fd, SIOCOUTQ, &value), EINVAL);
	ck_assert_int_eq(request(idle, FIONREAD), 0);
	ck_assert_int_eq(request(idle, SIOCOUTQ), 0);
}
END_TEST

START_TEST(flags_can_be_switched_by_request)
{
	int fd = socket_with(AF_INET, NO_OPTIONS), on = 1, off = 0;

	OK(rsk_ioctl(fd, FIONBIO, &on));
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	OK(rsk_ioctl(fd, FIONBIO, &off));
	ck_assert_int_eq(rsk_fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	OK(rsk_ioctl(fd, FIOCLEX));
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	OK(rsk_ioctl(fd, FIONCLEX));
	ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
	ck_assert_int_eq(request(fd, SIOCATMARK), 0);
}
END_TEST

START_TEST(unknown_request_is_refused)
{
	int fd = socket_with(AF_INET, NO_OPTIONS), value = 77;

	FAILS(rsk_ioctl(fd, 0x1234, &value), ENOTTY);
	FAILS(rsk_ioctl(fd, FIONREAD, NULL), EFAULT);
	FAILS(rsk_ioctl(-1, FIONREAD, &value), EBADF);
	FAILS(rsk_ioctl(0, FIONREAD, &value), EBADF);
	ck_assert_int_eq(value, 77);
}
END_TEST

START_TEST(descriptor_cannot_be_duplicated)
{
	int fd = socket_with(AF_INET, NO_OPTIONS);

	FAILS(rsk_fcntl(fd, F_DUPFD, 0), EINVAL);
	FAILS(rsk_fcntl(fd, F_DUPFD_CLOEXEC, 0), EINVAL);
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
	tcase_add_test(tc, option_helps_after_a_bind_that_failed);

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

	tc = group(s, "with an effect", 100);
	tcase_add_test(tc, receive_waits_for_as_much_as_asked);
	tcase_add_test(tc, readiness_waits_for_as_much_as_asked);
	tcase_add_test(tc, end_of_file_is_ready_however_much_is_asked);
	tcase_add_test(tc, full_buffer_is_ready_however_much_is_asked);
	tcase_add_test(tc, information_follows_the_connection);
	tcase_add_test(tc, type_of_service_connects);
	/* Software verbs ask nobody for a route, and take none. */
	if (!getenv("RSK_PRELOAD"))
		tcase_add_test(tc, route_of_a_connection_can_be_used_for_another);
	tcase_add_test(tc, settings_of_the_process_are_the_defaults);

	tc = group(s, "requests", 100);
	tcase_add_test(tc, bytes_to_read_are_counted);
	tcase_add_test(tc, bytes_on_their_way_are_counted_until_they_have_arrived);
	tcase_add_test(tc, bytes_that_are_not_confirmed_are_counted);
	tcase_add_test(tc, listener_has_no_bytes_to_count);
	tcase_add_test(tc, flags_can_be_switched_by_request);
	tcase_add_test(tc, unknown_request_is_refused);
	tcase_add_test(tc, descriptor_cannot_be_duplicated);

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
