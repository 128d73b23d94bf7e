/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Socket options, against the table of rsk_setsockopt() in <rsk/rsk.h>: every row's default, the
 * values it takes, until when it can be set, and how short buffers are treated.
 *
 * The sockets here were made without any device; their state is set by hand, and as nobody else
 * knows them, no lock is taken. Options are set from and read into memory of exactly the size that
 * is named, so that a sanitizer sees any byte beyond.
 */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include <rsk/rsk.h>

#include "sock.h"

#include "unit.h"

/* -- the table --------------------------------------------------------------------------------- */

enum until { ALWAYS, UNTIL_CONNECTING, UNTIL_LISTENING, UNTIL_BOUND, READ_ONLY };

/* One row for each option whose value is an int, with what an IPv6 socket has at first. */
static const struct number_option {
	const char *name;
	int level, option;
	enum until until;
	int initial;
	int value, reads;            /* set this, and that is read */
} numbers[] = {
#define OPTION(level, option) #option, level, option
	{ OPTION(SOL_SOCKET, SO_REUSEADDR), UNTIL_BOUND, 0, 1, 1 },
	{ OPTION(SOL_SOCKET, SO_RCVBUF), UNTIL_CONNECTING, 131072, 40000, 80000 },
	{ OPTION(SOL_SOCKET, SO_SNDBUF), UNTIL_CONNECTING, 131072, 50000, 100000 },
	{ OPTION(SOL_SOCKET, SO_KEEPALIVE), ALWAYS, 0, 1, 1 },
	{ OPTION(SOL_SOCKET, SO_OOBINLINE), ALWAYS, 0, 1, 1 },
	{ OPTION(SOL_SOCKET, SO_RCVLOWAT), ALWAYS, 1, 1000, 1000 },
	{ OPTION(SOL_SOCKET, SO_SNDLOWAT), ALWAYS, 1, 1, 1 },
	{ OPTION(SOL_SOCKET, SO_BROADCAST), ALWAYS, 0, 1, 1 },
	{ OPTION(SOL_SOCKET, SO_PRIORITY), ALWAYS, 0, 6, 6 },
	{ OPTION(SOL_SOCKET, SO_REUSEPORT), ALWAYS, 0, 0, 0 },
	{ OPTION(SOL_SOCKET, SO_DONTROUTE), ALWAYS, 0, 0, 0 },
	{ OPTION(SOL_SOCKET, SO_DEBUG), ALWAYS, 0, 0, 0 },
	{ OPTION(SOL_SOCKET, SO_ERROR), READ_ONLY, 0, 1, 0 },
	{ OPTION(SOL_SOCKET, SO_TYPE), READ_ONLY, SOCK_STREAM, 2, SOCK_STREAM },
	{ OPTION(SOL_SOCKET, SO_DOMAIN), READ_ONLY, AF_INET6, AF_INET, AF_INET6 },
	{ OPTION(SOL_SOCKET, SO_PROTOCOL), READ_ONLY, IPPROTO_TCP, 0, IPPROTO_TCP },
	{ OPTION(SOL_SOCKET, SO_ACCEPTCONN), READ_ONLY, 0, 1, 0 },
	{ OPTION(IPPROTO_TCP, TCP_NODELAY), ALWAYS, 0, 1, 1 },
	{ OPTION(IPPROTO_TCP, TCP_MAXSEG), ALWAYS, 2048, 512, 2048 },
	{ OPTION(IPPROTO_TCP, TCP_CORK), ALWAYS, 0, 1, 1 },
	{ OPTION(IPPROTO_TCP, TCP_QUICKACK), ALWAYS, 1, 0, 0 },
	{ OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT), ALWAYS, 0, 5, 5 },
	{ OPTION(IPPROTO_TCP, TCP_KEEPIDLE), ALWAYS, 7200, 60, 60 },
	{ OPTION(IPPROTO_TCP, TCP_KEEPINTVL), ALWAYS, 75, 10, 10 },
	{ OPTION(IPPROTO_TCP, TCP_KEEPCNT), ALWAYS, 9, 3, 3 },
	{ OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT), ALWAYS, 0, 5000, 5000 },
	{ OPTION(IPPROTO_IPV6, IPV6_TCLASS), ALWAYS, 0, 0x28, 0x28 },
	{ OPTION(IPPROTO_IPV6, IPV6_V6ONLY), UNTIL_BOUND, 0, 1, 1 },
	{ OPTION(SOL_RDMA, RDMA_SQSIZE), UNTIL_LISTENING, 384, 100, 100 },
	{ OPTION(SOL_RDMA, RDMA_RQSIZE), UNTIL_LISTENING, 384, 200, 200 },
	{ OPTION(SOL_RDMA, RDMA_INLINE), UNTIL_LISTENING, 64, 32, 32 },
	{ OPTION(SOL_RDMA, RDMA_IOMAPSIZE), UNTIL_LISTENING, 0, 20, 20 },
};

/* The others. Each can be set at any time, and is all zeros at first. */
static const struct struct_option {
	const char *name;
	int option;
	socklen_t size;
} structs[] = {
	{ "SO_LINGER", SO_LINGER, sizeof(struct linger) },
	{ "SO_RCVTIMEO", SO_RCVTIMEO, sizeof(struct timeval) },
	{ "SO_SNDTIMEO", SO_SNDTIMEO, sizeof(struct timeval) },
};

/* -- setting and reading ----------------------------------------------------------------------- */

static struct rsk_sock *new_socket(int domain)
{
	struct rsk_sock *sk = rsk_sock_new(domain);

	ck_assert_ptr_nonnull(sk);
	return sk;
}

static void *exactly(const void *bytes, socklen_t len)
{
	void *copy = malloc(len + !len);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, bytes, len);
	return copy;
}

/* @value may be longer than @len; what lies beyond must not matter. */
static int set_bytes(struct rsk_sock *sk, int level, int option, const void *value, socklen_t len)
{
	void *bytes = exactly(value, len);
	int ret;

	ret = rsk_option_set(sk, level, option, bytes, len);
	free(bytes);
	return ret;
}

static int set_number(struct rsk_sock *sk, int level, int option, int value)
{
	return set_bytes(sk, level, option, &value, sizeof(value));
}

/* Reads into @len bytes; returns how many are said to have been stored, or an error. */
static int get_bytes(struct rsk_sock *sk, int level, int option, void *value, socklen_t len)
{
	void *bytes = exactly(value, len);
	socklen_t stored = len;
	int ret;

	ret = rsk_option_get(sk, level, option, bytes, &stored);
	memcpy(value, bytes, len);
	free(bytes);
	return ret ? ret : (int)stored;
}

static int get_number(struct rsk_sock *sk, int level, int option)
{
	int value = -1;

	ck_assert_int_eq(get_bytes(sk, level, option, &value, sizeof(value)), sizeof(value));
	return value;
}

/* -- defaults and independence ----------------------------------------------------------------- */

START_TEST(new_socket_has_the_documented_defaults)
{
	struct rsk_sock *sk = new_socket(AF_INET6);

	for (size_t i = 0; i < COUNT(numbers); i++)
		ck_assert_msg(get_number(sk, numbers[i].level, numbers[i].option) ==
			      numbers[i].initial, "%s", numbers[i].name);
	for (size_t i = 0; i < COUNT(structs); i++) {
		static const uint8_t zeros[sizeof(struct timeval)];
		uint8_t got[sizeof(struct timeval)];

		memset(got, 0xa5, sizeof(got));
		ck_assert_int_eq(get_bytes(sk, SOL_SOCKET, structs[i].option, got, structs[i].size),
				 structs[i].size);
		ck_assert_msg(!memcmp(got, zeros, structs[i].size), "%s", structs[i].name);
	}
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(domain_is_the_sockets_own)
{
	struct rsk_sock *sk = new_socket(AF_INET);

	ck_assert_int_eq(get_number(sk, SOL_SOCKET, SO_DOMAIN), AF_INET);
	rsk_sock_unref(sk);
}
END_TEST

static void check_numbers_unset_but(struct rsk_sock *sk, size_t set)
{
	for (size_t i = 0; i < COUNT(numbers); i++) {
		int got = get_number(sk, numbers[i].level, numbers[i].option);
		int want = i == set ? numbers[i].reads : numbers[i].initial;

		ck_assert_msg(got == want, "%s is %d", numbers[i].name, got);
	}
}

START_TEST(setting_one_number_changes_no_other)
{
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct rsk_sock *sk = new_socket(AF_INET6);
		int ret = set_number(sk, numbers[i].level, numbers[i].option, numbers[i].value);

		ck_assert_msg(ret == (numbers[i].until == READ_ONLY ? -ENOPROTOOPT : 0), "%s: %d",
			      numbers[i].name, ret);
		check_numbers_unset_but(sk, i);
		for (size_t j = 0; j < COUNT(structs); j++) {
			uint8_t got[sizeof(struct timeval)] = { 0 };

			get_bytes(sk, SOL_SOCKET, structs[j].option, got, structs[j].size);
			for (size_t byte = 0; byte < structs[j].size; byte++)
				ck_assert_msg(!got[byte], "%s by %s", structs[j].name,
					      numbers[i].name);
		}
		rsk_sock_unref(sk);
	}
}
END_TEST

START_TEST(structures_are_stored_apart)
{
	struct rsk_sock *sk = new_socket(AF_INET6);
	struct timeval rcv = { 5, 6 }, snd = { 7, 999999 }, got_rcv, got_snd;
	struct linger linger = { 1, 30 }, got;

	ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_RCVTIMEO, &rcv, sizeof(rcv)), 0);
	ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_SNDTIMEO, &snd, sizeof(snd)), 0);
	ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	memset(&got, 0, sizeof(got));
	got_rcv = got_snd = (struct timeval){ 0, 0 };
	get_bytes(sk, SOL_SOCKET, SO_RCVTIMEO, &got_rcv, sizeof(got_rcv));
	get_bytes(sk, SOL_SOCKET, SO_SNDTIMEO, &got_snd, sizeof(got_snd));
	get_bytes(sk, SOL_SOCKET, SO_LINGER, &got, sizeof(got));
	ck_assert_mem_eq(&got_rcv, &rcv, sizeof(rcv));
	ck_assert_mem_eq(&got_snd, &snd, sizeof(snd));
	ck_assert_mem_eq(&got, &linger, sizeof(linger));
	check_numbers_unset_but(sk, COUNT(numbers));
	rsk_sock_unref(sk);
}
END_TEST

static void check_untouched(const struct rsk_sock *sk)
{
	struct rsk_options fresh;

	memset(&fresh, 0, sizeof(fresh));
	rsk_options_init(&fresh);
	ck_assert_mem_eq(&sk->options, &fresh, sizeof(fresh));
}

START_TEST(socket_acts_on_what_was_set)
{
	struct rsk_sock *sk = new_socket(AF_INET6);

	check_untouched(sk);
	/* Unset, a receive buffer is said to have the usual size, but it grows with the traffic. */
	ck_assert_int_eq(sk->options.rcvbuf, 0);
	set_number(sk, SOL_SOCKET, SO_RCVBUF, 5000);
	ck_assert_int_eq(sk->options.rcvbuf, 10000);
	set_number(sk, SOL_SOCKET, SO_SNDBUF, 6000);
	ck_assert_int_eq(sk->options.sndbuf, 12000);
	set_number(sk, SOL_RDMA, RDMA_SQSIZE, 17);
	ck_assert_int_eq(sk->options.sq_size, 17);
	set_number(sk, SOL_RDMA, RDMA_RQSIZE, 18);
	ck_assert_int_eq(sk->options.rq_size, 18);
	set_number(sk, SOL_RDMA, RDMA_INLINE, 19);
	ck_assert_int_eq(sk->options.inline_size, 19);
	set_number(sk, SOL_RDMA, RDMA_IOMAPSIZE, 300);
	ck_assert_int_eq(sk->options.iomap_size, 512);
	set_number(sk, SOL_SOCKET, SO_REUSEADDR, 1);
	ck_assert_int_eq(sk->options.reuseaddr, 1);
	set_number(sk, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	ck_assert_int_eq(sk->options.v6only, 1);
	rsk_sock_unref(sk);
}
END_TEST

/* -- values ------------------------------------------------------------------------------------ */

enum { SMALLEST_BUFFER = 4096, LARGEST_BUFFER = 16 << 20 };

static const struct {
	int level, option, value;
	int result, reads;           /* 0 and what is read then, or an error */
} values[] = {
	{ SOL_SOCKET, SO_RCVBUF, 65536, 0, 131072 },
	{ SOL_SOCKET, SO_RCVBUF, 2049, 0, 4098 },
	{ SOL_SOCKET, SO_RCVBUF, 2048, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, 2047, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, 1, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, 0, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, -1, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, INT_MIN, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, LARGEST_BUFFER / 2 - 1, 0, LARGEST_BUFFER - 2 },
	{ SOL_SOCKET, SO_RCVBUF, LARGEST_BUFFER / 2, 0, LARGEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, LARGEST_BUFFER / 2 + 1, 0, LARGEST_BUFFER },
	{ SOL_SOCKET, SO_RCVBUF, INT_MAX, 0, LARGEST_BUFFER },
	{ SOL_SOCKET, SO_SNDBUF, 65536, 0, 131072 },
	{ SOL_SOCKET, SO_SNDBUF, 2047, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_SNDBUF, 0, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_SNDBUF, INT_MIN, 0, SMALLEST_BUFFER },
	{ SOL_SOCKET, SO_SNDBUF, LARGEST_BUFFER / 2, 0, LARGEST_BUFFER },
	{ SOL_SOCKET, SO_SNDBUF, INT_MAX, 0, LARGEST_BUFFER },

	{ SOL_RDMA, RDMA_SQSIZE, 16, 0, 16 },
	{ SOL_RDMA, RDMA_SQSIZE, 65534, 0, 65534 },
	{ SOL_RDMA, RDMA_SQSIZE, 15, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_SQSIZE, 65535, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_SQSIZE, 0, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_SQSIZE, -1, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_SQSIZE, INT_MAX, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_RQSIZE, 16, 0, 16 },
	{ SOL_RDMA, RDMA_RQSIZE, 65534, 0, 65534 },
	{ SOL_RDMA, RDMA_RQSIZE, 15, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_RQSIZE, 65535, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_RQSIZE, -1, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_INLINE, 0, 0, 0 },
	{ SOL_RDMA, RDMA_INLINE, 1000, 0, 1000 },
	{ SOL_RDMA, RDMA_INLINE, -1, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_INLINE, INT_MIN, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 0, 0, 0 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 1, 0, 1 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 128, 0, 128 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 129, 0, 256 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 32512, 0, 32512 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, 32513, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, INT_MAX, -EINVAL, 0 },
	{ SOL_RDMA, RDMA_IOMAPSIZE, -1, -EINVAL, 0 },

	{ SOL_SOCKET, SO_RCVLOWAT, 0, 0, 1 },
	{ SOL_SOCKET, SO_RCVLOWAT, -1, 0, INT_MAX },
	{ SOL_SOCKET, SO_PRIORITY, -1, 0, -1 },
	{ SOL_SOCKET, SO_SNDLOWAT, 2, -ENOPROTOOPT, 0 },
	{ SOL_SOCKET, SO_REUSEPORT, 1, -ENOPROTOOPT, 0 },
	{ SOL_SOCKET, SO_DONTROUTE, 1, -ENOPROTOOPT, 0 },
	{ SOL_SOCKET, SO_DEBUG, 1, -ENOPROTOOPT, 0 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 0, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 1, 0, 1 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 32767, 0, 32767 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, 32768, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, 0, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_KEEPINTVL, 32768, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 0, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 127, 0, 127 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 128, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, -1, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, INT_MAX, 0, INT_MAX },
	{ IPPROTO_TCP, TCP_MAXSEG, 87, -EINVAL, 0 },
	{ IPPROTO_TCP, TCP_MAXSEG, 32768, -EINVAL, 0 },
	/* Two bits belong to the network. */
	{ IPPROTO_IP, IP_TOS, 0x2b, 0, 0x28 },
	{ IPPROTO_IP, IP_TOS, 0x1ff, 0, 0xfc },
	{ IPPROTO_IPV6, IPV6_TCLASS, 0x2b, 0, 0x28 },
	{ IPPROTO_IPV6, IPV6_TCLASS, -1, 0, 0 },
	{ IPPROTO_IPV6, IPV6_TCLASS, -2, -EINVAL, 0 },
	{ IPPROTO_IPV6, IPV6_TCLASS, 256, -EINVAL, 0 },

	/* A flag is 0 or 1, whatever it was set to. */
	{ IPPROTO_TCP, TCP_CORK, 2, 0, 1 },
	{ SOL_SOCKET, SO_REUSEADDR, 0, 0, 0 },
	{ SOL_SOCKET, SO_REUSEADDR, 2, 0, 1 },
	{ SOL_SOCKET, SO_REUSEADDR, -1, 0, 1 },
	{ SOL_SOCKET, SO_KEEPALIVE, 256, 0, 1 },
	{ SOL_SOCKET, SO_OOBINLINE, INT_MIN, 0, 1 },
	{ IPPROTO_TCP, TCP_NODELAY, 7, 0, 1 },
	{ IPPROTO_IPV6, IPV6_V6ONLY, 65536, 0, 1 },
};

START_TEST(value_is_taken_doubled_clipped_or_refused)
{
	for (size_t i = 0; i < COUNT(values); i++) {
		struct rsk_sock *sk = new_socket(AF_INET6);
		int level = values[i].level, option = values[i].option;
		int before = get_number(sk, level, option);
		int ret = set_number(sk, level, option, values[i].value);
		int now = get_number(sk, level, option);

		ck_assert_msg(ret == values[i].result, "row %zu: %d", i, ret);
		ck_assert_msg(now == (ret ? before : values[i].reads), "row %zu: reads %d", i, now);
		rsk_sock_unref(sk);
	}
}
END_TEST

START_TEST(flag_can_be_cleared)
{
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct rsk_sock *sk;

		if (numbers[i].value != 1 || numbers[i].initial || numbers[i].until == READ_ONLY)
			continue;
		sk = new_socket(AF_INET6);
		set_number(sk, numbers[i].level, numbers[i].option, 1);
		ck_assert_int_eq(set_number(sk, numbers[i].level, numbers[i].option, 0), 0);
		check_numbers_unset_but(sk, COUNT(numbers));
		rsk_sock_unref(sk);
	}
}
END_TEST

static const struct {
	struct timeval time;
	int result;
} times[] = {
	{ { 0, 0 }, 0 },
	{ { 0, 1 }, 0 },
	{ { 0, 999999 }, 0 },
	{ { 1, 0 }, 0 },
	{ { INT_MAX, 999999 }, 0 },
	{ { 0, 1000000 }, -EDOM },
	{ { 1, -1 }, -EDOM },
	{ { -1, 0 }, -EDOM },
	{ { -1, 999999 }, -EDOM },
};

static void check_time(int option, const struct timeval *time, int result)
{
	static const struct timeval before = { 77, 88 };
	struct rsk_sock *sk = new_socket(AF_INET);
	struct timeval got = { 0, 0 };

	ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, option, &before, sizeof(before)), 0);
	ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, option, time, sizeof(*time)), result);
	get_bytes(sk, SOL_SOCKET, option, &got, sizeof(got));
	ck_assert_mem_eq(&got, result ? &before : time, sizeof(got));
	rsk_sock_unref(sk);
}

START_TEST(time_limit_out_of_range_is_refused)
{
	for (size_t i = 0; i < COUNT(times); i++) {
		check_time(SO_RCVTIMEO, &times[i].time, times[i].result);
		check_time(SO_SNDTIMEO, &times[i].time, times[i].result);
	}
}
END_TEST

/* -- too late ---------------------------------------------------------------------------------- */

/* A bound socket is an idle one that has an id; all later states imply it. */
static const struct stage {
	enum rsk_state state;
	bool bound;
	bool settable[READ_ONLY];    /* by enum until */
} stages[] = {
	{ RSK_IDLE, false, { true, true, true, true } },
	{ RSK_IDLE, true, { true, true, true, false } },
	{ RSK_LISTENING, true, { true, true, false, false } },
	{ RSK_RESOLVE_ADDR, true, { true, false, false, false } },
	{ RSK_RESOLVE_ROUTE, true, { true, false, false, false } },
	{ RSK_CONNECTING, true, { true, false, false, false } },
	{ RSK_REQUESTED, true, { true, false, false, false } },
	{ RSK_ACCEPTING, true, { true, false, false, false } },
	{ RSK_CONNECTED, true, { true, false, false, false } },
	{ RSK_ENDED, true, { true, false, false, false } },
	{ RSK_FAILED, true, { true, false, false, false } },
	/* Its id is gone; the answer is the same. */
	{ RSK_FAILED, false, { true, false, false, false } },
};

static struct rsk_sock *socket_at(const struct stage *stage)
{
	struct rsk_sock *sk = new_socket(AF_INET6);

	sk->state = stage->state;
	sk->cm.id = stage->bound ? (struct rdma_cm_id *)sk : NULL; /* only its being there counts */
	return sk;
}

static void check_stage(const struct stage *stage, const struct number_option *o)
{
	struct rsk_sock *sk = socket_at(stage);
	int before = get_number(sk, o->level, o->option);
	int ret = set_number(sk, o->level, o->option, o->value);
	int want = o->until == READ_ONLY ? -ENOPROTOOPT : stage->settable[o->until] ? 0 : -EINVAL;
	int now = get_number(sk, o->level, o->option);

	ck_assert_msg(ret == want, "%s, %s%s: %d", o->name, rsk_state_name(stage->state),
		      stage->bound ? ", bound" : "", ret);
	ck_assert_msg(now == (ret ? before : o->reads), "%s, %s: reads %d", o->name,
		      rsk_state_name(stage->state), now);
	sk->cm.id = NULL;
	rsk_sock_unref(sk);
}

START_TEST(number_is_settable_until_its_documented_moment)
{
	for (size_t i = 0; i < COUNT(stages); i++) {
		for (size_t j = 0; j < COUNT(numbers); j++)
			check_stage(&stages[i], &numbers[j]);
	}
}
END_TEST

START_TEST(structures_are_settable_at_any_time)
{
	for (size_t i = 0; i < COUNT(stages); i++) {
		struct rsk_sock *sk = socket_at(&stages[i]);
		struct timeval time = { 1, 2 };
		struct linger linger = { 1, 2 };

		ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)), 0);
		ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)), 0);
		ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
		sk->cm.id = NULL;
		rsk_sock_unref(sk);
	}
}
END_TEST

/* -- lengths ----------------------------------------------------------------------------------- */

/* Bytes that are a good value of any structure. */
static const union some {
	int number;
	struct linger linger;
	struct timeval time;
	uint8_t room[64];
} some = { .time = { 1, 0 } };

static void check_set_lengths(const char *name, int level, int option, const union some *value,
			      socklen_t size)
{
	for (socklen_t len = 0; len <= size + 8; len++) {
		struct rsk_sock *sk = new_socket(AF_INET6);
		struct rsk_options before = sk->options;
		int ret = set_bytes(sk, level, option, value, len);

		ck_assert_msg(ret == (len < size ? -EINVAL : 0), "%s, %u: %d", name, len, ret);
		if (ret)
			ck_assert_mem_eq(&sk->options, &before, sizeof(before));
		rsk_sock_unref(sk);
	}
}

START_TEST(value_that_is_too_short_is_refused_at_every_length)
{
	for (size_t i = 0; i < COUNT(numbers); i++) {
		union some value = { .number = numbers[i].value };

		if (numbers[i].until != READ_ONLY)
			check_set_lengths(numbers[i].name, numbers[i].level, numbers[i].option, &value,
					  sizeof(int));
	}
	for (size_t i = 0; i < COUNT(structs); i++)
		check_set_lengths(structs[i].name, SOL_SOCKET, structs[i].option, &some,
				  structs[i].size);
}
END_TEST

/* Reads with room for @len bytes: as much of @whole as fits, and nothing beyond. */
static void check_get_length(struct rsk_sock *sk, int level, int option, const uint8_t *whole,
			     socklen_t size, socklen_t len)
{
	socklen_t fits = len < size ? len : size;
	uint8_t got[64];

	memset(got, 0xa5, sizeof(got));
	ck_assert_int_eq(get_bytes(sk, level, option, got, len), fits);
	ck_assert_msg(!memcmp(got, whole, fits), "level %d, option %d, %u bytes", level, option,
		      len);
	for (socklen_t i = fits; i < len; i++)
		ck_assert_uint_eq(got[i], 0xa5);
}

START_TEST(value_is_cut_to_the_room_there_is)
{
	struct rsk_sock *sk = new_socket(AF_INET6);
	uint8_t whole[64];

	for (size_t i = 0; i < COUNT(numbers); i++) {
		memcpy(whole, &numbers[i].initial, sizeof(int));
		for (socklen_t len = 0; len <= sizeof(int) + 8; len++)
			check_get_length(sk, numbers[i].level, numbers[i].option, whole,
					 sizeof(int), len);
	}
	for (size_t i = 0; i < COUNT(structs); i++) {
		set_bytes(sk, SOL_SOCKET, structs[i].option, &some, structs[i].size);
		for (socklen_t len = 0; len <= structs[i].size + 8; len++)
			check_get_length(sk, SOL_SOCKET, structs[i].option, some.room,
					 structs[i].size, len);
	}
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(negative_room_is_refused)
{
	struct rsk_sock *sk = new_socket(AF_INET);
	socklen_t len = (socklen_t)INT_MAX + 1;
	int value = 5;

	ck_assert_int_eq(rsk_option_get(sk, SOL_SOCKET, SO_SNDBUF, &value, &len), -EINVAL);
	len = (socklen_t)-1;
	ck_assert_int_eq(rsk_option_get(sk, SOL_SOCKET, SO_LINGER, &value, &len), -EINVAL);
	ck_assert_int_eq(value, 5);
	rsk_sock_unref(sk);
}
END_TEST

/* -- what is more than a number ---------------------------------------------------------------- */

START_TEST(type_of_service_may_be_an_octet)
{
	struct rsk_sock *sk = new_socket(AF_INET);
	uint8_t octet = 0x10, got = 0;

	ck_assert_int_eq(set_bytes(sk, IPPROTO_IP, IP_TOS, &octet, 1), 0);
	ck_assert_int_eq(get_number(sk, IPPROTO_IP, IP_TOS), 0x10);
	ck_assert_int_eq(get_bytes(sk, IPPROTO_IP, IP_TOS, &got, 1), 1);
	ck_assert_uint_eq(got, 0x10);
	ck_assert_int_eq(set_bytes(sk, IPPROTO_IP, IP_TOS, &octet, 0), -EINVAL);
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(congestion_control_has_one_name)
{
	struct rsk_sock *sk = new_socket(AF_INET);
	char name[32];

	memset(name, 0xa5, sizeof(name));
	ck_assert_int_eq(get_bytes(sk, IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name)), 16);
	ck_assert_str_eq(name, "rdma");
	ck_assert_int_eq(set_bytes(sk, IPPROTO_TCP, TCP_CONGESTION, "rdma", 4), 0);
	ck_assert_int_eq(set_bytes(sk, IPPROTO_TCP, TCP_CONGESTION, "rdma", 5), 0);
	ck_assert_int_eq(set_bytes(sk, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3), -ENOENT);
	ck_assert_int_eq(set_bytes(sk, IPPROTO_TCP, TCP_CONGESTION, "", 0), -EINVAL);
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(lingering_is_on_or_off)
{
	struct linger linger = { 5, 7 };
	struct rsk_sock *sk = new_socket(AF_INET);

	ck_assert_int_eq(set_bytes(sk, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	get_bytes(sk, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	ck_assert_int_eq(linger.l_onoff, 1);
	ck_assert_int_eq(linger.l_linger, 7);
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(route_that_was_set_is_read_back)
{
	struct ibv_path_data paths[RSK_CM_ROUTES] = { { .flags = 1 }, { .flags = 2 } }, got[3];
	struct rsk_sock *sk = new_socket(AF_INET);
	socklen_t one = sizeof(paths[0]);

	memset(got, 0, sizeof(got));
	ck_assert_int_eq(get_bytes(sk, SOL_RDMA, RDMA_ROUTE, got, sizeof(got)), -EINVAL);
	ck_assert_int_eq(set_bytes(sk, SOL_RDMA, RDMA_ROUTE, paths, 0), -EINVAL);
	ck_assert_int_eq(set_bytes(sk, SOL_RDMA, RDMA_ROUTE, paths, one - 1), -EINVAL);
	ck_assert_int_eq(set_bytes(sk, SOL_RDMA, RDMA_ROUTE, got, 3 * one), -EINVAL);
	ck_assert_int_eq(set_bytes(sk, SOL_RDMA, RDMA_ROUTE, paths, 2 * one), 0);
	ck_assert_int_eq(get_bytes(sk, SOL_RDMA, RDMA_ROUTE, got, one - 1), -EINVAL);
	ck_assert_int_eq(get_bytes(sk, SOL_RDMA, RDMA_ROUTE, got, 2 * one - 1), one);
	ck_assert_int_eq(get_bytes(sk, SOL_RDMA, RDMA_ROUTE, got, 3 * one), 2 * one);
	ck_assert_mem_eq(got, paths, sizeof(paths));
	sk->state = RSK_CONNECTING;
	ck_assert_int_eq(set_bytes(sk, SOL_RDMA, RDMA_ROUTE, paths, one), -EINVAL);
	rsk_sock_unref(sk);
}
END_TEST

/* The states of a connection that the application sees, as TCP names them. */
static const struct {
	enum rsk_state state;
	bool shut_wr, shut_by_peer;
	uint8_t tcp;
} tcp_states[] = {
	{ RSK_IDLE, false, false, TCP_CLOSE },
	{ RSK_LISTENING, false, false, TCP_LISTEN },
	{ RSK_RESOLVE_ADDR, false, false, TCP_SYN_SENT },
	{ RSK_CONNECTING, false, false, TCP_SYN_SENT },
	{ RSK_CONNECTED, false, false, TCP_ESTABLISHED },
	{ RSK_CONNECTED, true, false, TCP_FIN_WAIT2 },
	{ RSK_CONNECTED, false, true, TCP_CLOSE_WAIT },
	{ RSK_CONNECTED, true, true, TCP_LAST_ACK },
	{ RSK_ENDED, true, true, TCP_CLOSE },
	{ RSK_FAILED, false, false, TCP_CLOSE },
};

START_TEST(information_names_the_state_as_tcp_does)
{
	for (size_t i = 0; i < COUNT(tcp_states); i++) {
		struct rsk_sock *sk = new_socket(AF_INET);
		struct tcp_info info;

		sk->state = tcp_states[i].state;
		sk->shut_wr = tcp_states[i].shut_wr;
		sk->shut_by_peer = tcp_states[i].shut_by_peer;
		memset(&info, 0xa5, sizeof(info));
		ck_assert_int_eq(get_bytes(sk, IPPROTO_TCP, TCP_INFO, &info, sizeof(info)), sizeof(info));
		ck_assert_msg(info.tcpi_state == tcp_states[i].tcp, "row %zu: %u", i, info.tcpi_state);
		ck_assert_uint_eq(info.tcpi_unacked, 0);
		ck_assert_int_eq(set_bytes(sk, IPPROTO_TCP, TCP_INFO, &info, sizeof(info)),
				 -ENOPROTOOPT);
		sk->state = RSK_IDLE;
		rsk_sock_unref(sk);
	}
}
END_TEST

/* -- what is not there ------------------------------------------------------------------------- */

static const struct {
	int domain, level, option;
} unknown[] = {
	{ AF_INET6, SOL_SOCKET, 9999 },
	{ AF_INET6, SOL_SOCKET, -1 },
	{ AF_INET6, SOL_SOCKET, SO_MARK },
	{ AF_INET6, SOL_SOCKET, SO_ZEROCOPY },
	{ AF_INET6, IPPROTO_TCP, TCP_FASTOPEN },
	{ AF_INET6, IPPROTO_TCP, TCP_ULP },
	{ AF_INET6, IPPROTO_TCP, 9999 },
	{ AF_INET6, IPPROTO_TCP, SO_SNDBUF },
	{ AF_INET6, IPPROTO_IP, IP_TTL },
	{ AF_INET6, IPPROTO_IPV6, IPV6_MTU },
	{ AF_INET6, SOL_RDMA, RDMA_ROUTE + 1 },
	{ AF_INET6, SOL_RDMA, -1 },
	{ AF_INET6, -1, SO_SNDBUF },
	/* An IPv4 socket has nothing of IPv6. */
	{ AF_INET, IPPROTO_IPV6, IPV6_V6ONLY },
};

START_TEST(unknown_option_is_refused)
{
	for (size_t i = 0; i < COUNT(unknown); i++) {
		struct rsk_sock *sk = new_socket(unknown[i].domain);
		int value = 1;

		ck_assert_msg(set_number(sk, unknown[i].level, unknown[i].option, 1) ==
			      -ENOPROTOOPT, "row %zu, set", i);
		ck_assert_msg(get_bytes(sk, unknown[i].level, unknown[i].option, &value,
					sizeof(value)) == -ENOPROTOOPT, "row %zu, get", i);
		check_untouched(sk);
		rsk_sock_unref(sk);
	}
}
END_TEST

/* -- computed ---------------------------------------------------------------------------------- */

START_TEST(pending_error_is_read_once)
{
	struct rsk_sock *sk = new_socket(AF_INET);

	sk->pending_error = ECONNREFUSED;
	ck_assert_int_eq(get_number(sk, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	ck_assert_int_eq(get_number(sk, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	ck_assert_int_eq(get_number(sk, SOL_SOCKET, SO_ERROR), 0);
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(only_a_listener_accepts_connections)
{
	struct rsk_sock *sk = new_socket(AF_INET);

	for (int state = 0; state < RSK_STATES; state++) {
		sk->state = (enum rsk_state)state;
		ck_assert_int_eq(get_number(sk, SOL_SOCKET, SO_ACCEPTCONN), state == RSK_LISTENING);
	}
	sk->state = RSK_IDLE;
	rsk_sock_unref(sk);
}
END_TEST

START_TEST(inline_size_of_a_connection_is_what_its_device_does)
{
	struct rsk_sock *sk = new_socket(AF_INET);

	set_number(sk, SOL_RDMA, RDMA_INLINE, 200);
	sk->qp.max_inline = 36;
	ck_assert_int_eq(get_number(sk, SOL_RDMA, RDMA_INLINE), 200);
	sk->qp.qp = (struct ibv_qp *)sk; /* only its being there counts */
	ck_assert_int_eq(get_number(sk, SOL_RDMA, RDMA_INLINE), 36);
	ck_assert_int_eq(get_number(sk, SOL_RDMA, RDMA_SQSIZE), 384);
	sk->qp.qp = NULL;
	rsk_sock_unref(sk);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("options");
	TCase *tc = group(s, "defaults");

	tcase_add_test(tc, new_socket_has_the_documented_defaults);
	tcase_add_test(tc, domain_is_the_sockets_own);
	tcase_add_test(tc, setting_one_number_changes_no_other);
	tcase_add_test(tc, structures_are_stored_apart);
	tcase_add_test(tc, socket_acts_on_what_was_set);

	tc = group(s, "values");
	tcase_add_test(tc, value_is_taken_doubled_clipped_or_refused);
	tcase_add_test(tc, flag_can_be_cleared);
	tcase_add_test(tc, time_limit_out_of_range_is_refused);

	tc = group(s, "too late");
	tcase_add_test(tc, number_is_settable_until_its_documented_moment);
	tcase_add_test(tc, structures_are_settable_at_any_time);

	tc = group(s, "lengths");
	tcase_add_test(tc, value_that_is_too_short_is_refused_at_every_length);
	tcase_add_test(tc, value_is_cut_to_the_room_there_is);
	tcase_add_test(tc, negative_room_is_refused);

	tc = group(s, "more than a number");
	tcase_add_test(tc, type_of_service_may_be_an_octet);
	tcase_add_test(tc, congestion_control_has_one_name);
	tcase_add_test(tc, lingering_is_on_or_off);
	tcase_add_test(tc, route_that_was_set_is_read_back);
	tcase_add_test(tc, information_names_the_state_as_tcp_does);

	tc = group(s, "unknown");
	tcase_add_test(tc, unknown_option_is_refused);

	tc = group(s, "computed");
	tcase_add_test(tc, pending_error_is_read_once);
	tcase_add_test(tc, only_a_listener_accepts_connections);
	tcase_add_test(tc, inline_size_of_a_connection_is_what_its_device_does);
	return run_suite(s);
}
