/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Peers that do not keep to the protocol harm nobody but themselves: they greet with nonsense, stay
 * silent, or send what makes no sense.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"
#include "rawpeer.h"
#include "stream.h"

#define MSG_DATA(n) (0x00000000u | (n))
#define MSG_CREDIT(limit) (0x80000000u | (limit))
#define MSG_DISCONNECT 0xe0000000u
#define MSG_SHUTDOWN 0xe0000002u

static const struct flaw flaws[] = {
	{ .name = "version 2", .offset = GREETING_VERSION, .size = 1, .value = 2 },
	{ .name = "version 0", .offset = GREETING_VERSION, .size = 1, .value = 0 },
	{ .name = "no target list", .offset = GREETING_LIST_LENGTH, .size = 4, .value = 0 },
	{ .name = "target list of one", .offset = GREETING_LIST_LENGTH, .size = 4, .value = 1 },
	{ .name = "endless target list", .offset = GREETING_LIST_LENGTH, .size = 4,
	  .value = 0xffffffff },
	{ .name = "target list of 65", .offset = GREETING_LIST_LENGTH, .size = 4, .value = 65 },
	{ .name = "no credits", .offset = GREETING_CREDITS, .size = 2, .value = 0 },
	{ .name = "empty segment", .offset = GREETING_DATA_LENGTH, .size = 4, .value = 0 },
	{ .name = "segment beyond the end of memory", .offset = GREETING_DATA_ADDR, .size = 8,
	  .value = UINT64_MAX - 1 },
	{ .name = "cut after the version", .keep = 1 },
	{ .name = "cut in the target list", .keep = 20 },
	{ .name = "nothing", .nothing = true },
};

/* What is logged from here on, which is one line, is checked by check_logged(). */
static int log_fd;

static void begin_log(void)
{
	log_fd = memfd_create("log", 0);
	ck_assert_int_ge(log_fd, 0);
	ck_assert_int_eq(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
}

/* One line was logged; it names the peer, and says why. */
static void check_logged(const struct address *peer, const char *why)
{
	char text[1024];
	ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

	ck_assert_msg(n > 0, "nothing was logged");
	text[n] = '\0';
	ck_assert_msg(strchr(text, '\n') == text + n - 1, "more than one line: %s", text);
	ck_assert_msg(strstr(text, address_text(peer)) != NULL, "%s is not in: %s",
		      address_text(peer), text);
	ck_assert_msg(strstr(text, why) != NULL, "%s is not in: %s", why, text);
}

START_TEST(listener_rejects_a_bad_greeting_and_serves_others)
{
	int listening = listener();
	struct raw r;
	struct address there = local_address(listening), caller;
	enum rdma_cm_event_type answer;

	begin_log();
	raw_connect(&r, &there, &flaws[_i]);
	caller = raw_local_address(&r);
	pair_close(pair_on(listening));
	answer = raw_event(&r, NULL);
	ck_assert_msg(answer == RDMA_CM_EVENT_REJECTED, "%s: %s", flaws[_i].name,
		      rdma_event_str(answer));
	ck_assert_int_eq(ready_now(listening, POLLIN), 0);
	check_logged(&caller, "protocol");
}
END_TEST

START_TEST(connecting_to_a_bad_greeting_fails)
{
	struct raw r;
	struct address there = raw_listen(&r);
	int fd = connect_begun(&there, NO_OPTIONS), error;
	bool other_version = flaws[_i].size == 1;

	raw_take_request(&r);
	raw_accept(&r, &flaws[_i]);
	error = connect_outcome(fd);
	/* RoCE pads what is missing with zeros, and then it looks like version 0. */
	ck_assert_msg(error == (other_version ? ENOTSUP : EPROTO) ||
		      (flaws[_i].nothing && error == ENOTSUP),
		      "%s: %s", flaws[_i].name, strerror(error));
	check_says(fd, address_text(&there));
	OK(rsk_close(fd));
}
END_TEST

/* A caller that leaves the answer unread. On iWARP there is nothing that it could leave undone: skipped. */
static bool cannot_be_silent(void)
{
	if (device_is_iwarp())
		skip("on iWARP the answer completes a connection");
	return device_is_iwarp();
}

START_TEST(silent_callers_do_not_keep_others_out)
{
	int listening = listener();
	struct address there = local_address(listening), caller, seen;
	struct raw silent_ones[3];
	struct pair p;

	if (cannot_be_silent())
		return;
	for (size_t i = 0; i < COUNT(silent_ones); i++)
		raw_connect(&silent_ones[i], &there, NULL);
	for (int i = 0; i < 5; i++) {
		p = pair_on(listening);
		caller = local_address(p.a);
		seen = peer_address(p.b);
		check_same_address(&caller, &seen);
		check_connected(p.a, p.b);
		pair_close(p);
	}
}
END_TEST

START_TEST(silent_caller_may_still_complete)
{
	int listening = listener(), fd;
	struct address there = local_address(listening), caller, seen;
	struct raw r;

	if (cannot_be_silent())
		return;
	raw_connect(&r, &there, NULL);
	pair_close(pair_on(listening));
	ck_assert_int_eq(raw_event(&r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	caller = raw_local_address(&r);
	seen = peer_address(fd);
	check_same_address(&caller, &seen);
}
END_TEST

/* A connection to a raw peer, which has read nothing and sent nothing. */
static int raw_connected_with(struct raw *r, const struct option *options, const struct flaw *flaw)
{
	int listening = listener_with(AF_INET, options, 16), fd;
	struct address there = local_address(listening);

	raw_connect(r, &there, flaw);
	ck_assert_int_eq(raw_event(r, NULL), RDMA_CM_EVENT_ESTABLISHED);
	fd = accept_from(listening);
	OK(rsk_close(listening));
	/* On iWARP, who connected speaks first; this says nothing. The engine looks at it and answers with a
	 * segment: from there on it looks no more, and what comes waits for the test. */
	if (r->iwarp) {
		raw_post(r, MSG_CREDIT(RAW_CREDITS));
		raw_entry(r, 1);
	}
	return fd;
}

static int raw_connected(struct raw *r)
{
	return raw_connected_with(r, NO_OPTIONS, NULL);
}

START_TEST(raw_peer_is_taken_for_an_ordinary_one)
{
	struct raw r;
	int fd = raw_connected(&r);
	char got[8];

	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 5);
	ck_assert_mem_eq(got, "hello", 5);
	raw_post(&r, MSG_SHUTDOWN);
	check_end_of_file(fd);
	ck_assert_int_eq(rsk_send(fd, "x", 1, MSG_NOSIGNAL), 1);
	raw_post(&r, MSG_DISCONNECT);
	wait_for(fd, POLLHUP);
	check_end_of_file(fd);
}
END_TEST

static const uint32_t violations[] = {
	MSG_DATA(0),
	MSG_DATA(0x1fffffff),
	0x20000001,                         /* reserved operations */
	0x40000001,
	0x60000001,
	0xa0000001,
	0xc0000000,                         /* a mapping, with no table for it */
	MSG_CREDIT(2 * RAW_CREDITS + 1),    /* more than was offered can have been consumed */
	MSG_CREDIT(RAW_CREDITS - 1),        /* backwards */
};

/* Of the connection to @r, which has just broken the protocol. */
static void check_failed(int fd, const struct raw *r)
{
	struct address peer = raw_local_address(r);
	char got[8];

	FAILS(rsk_recv(fd, got, sizeof(got), 0), EPROTO);
	FAILS(rsk_recv(fd, got, sizeof(got), 0), EPROTO);
	ck_assert_int_eq(rsk_send(fd, "x", 1, MSG_NOSIGNAL), -1);
	check_says(fd, "EPROTO");
	check_says(fd, address_text(&peer));
	check_logged(&peer, "EPROTO");
}

START_TEST(peer_that_breaks_the_protocol_fails_its_connection_alone)
{
	struct raw r;
	struct pair bystanders = pair_connected();
	int fd = raw_connected(&r);
	char got[8];

	begin_log();
	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	raw_post(&r, violations[_i]);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 5);
	ck_assert_mem_eq(got, "hello", 5);
	check_failed(fd, &r);
	check_connected(bystanders.a, bystanders.b);
	pair_close(pair_connected());
}
END_TEST

START_TEST(data_without_credit_fails_the_connection)
{
	struct raw r;
	int fd = raw_connected_with(&r, OPTIONS({ SOL_RDMA, RDMA_RQSIZE, 16 }), NULL);
	char got[32];

	begin_log();
	for (int i = 0; i < 17; i++)
		raw_post(&r, MSG_DATA(1));
	raw_sync(&r);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), MSG_WAITALL), 16);
	check_failed(fd, &r);
}
END_TEST

/* The receive buffer is two segments, of which the second is advertised only to those who listen. */
START_TEST(data_beyond_a_segment_fails_the_connection)
{
	struct raw r;
	int fd = raw_connected_with(&r, OPTIONS({ SOL_SOCKET, SO_RCVBUF, 4096 }), NULL);
	static char got[8192];

	begin_log();
	raw_post(&r, MSG_DATA(4000));
	raw_post(&r, MSG_DATA(97));
	raw_sync(&r);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 4000);
	check_failed(fd, &r);
}
END_TEST

static const struct {
	const char *name;
	uint64_t addr;
	uint32_t length;
	int times;
} entries[] = {
	{ "beyond the end of memory", UINT64_MAX - 1, 16, 1 },
	{ "one too many", 4096, 16, 2 },
};

START_TEST(bad_segment_fails_the_connection)
{
	struct raw r;
	int fd = raw_connected(&r);

	begin_log();
	for (int i = 0; i < entries[_i].times; i++)
		raw_post_entry(&r, MSG_CREDIT(RAW_CREDITS), (1 + i) % 2, entries[_i].addr,
			       entries[_i].length);
	check_failed(fd, &r);
}
END_TEST

static const enum ibv_wr_opcode no_messages[] = { IBV_WR_SEND, IBV_WR_SEND_WITH_IMM };

START_TEST(what_is_no_message_fails_the_connection)
{
	struct raw r;
	int fd = raw_connected(&r);

	if (r.iwarp && no_messages[_i] == IBV_WR_SEND_WITH_IMM) {
		skip("iWARP has no immediate data");
		return;
	}
	begin_log();
	raw_post_send(&r, no_messages[_i]);
	check_failed(fd, &r);
}
END_TEST

/* The segments of this side are 16 KiB long; the length is the last part of an entry. */
START_TEST(entry_is_written_in_the_byte_order_of_the_peer)
{
	static const struct flaw orders[] = {
		{ .name = "little endian", .offset = GREETING_FLAGS, .size = 1, .value = 2 },
		{ .name = "big endian", .offset = GREETING_FLAGS, .size = 1, .value = 3 },
	};
	static const uint8_t lengths[][4] = { { 0x00, 0x40, 0, 0 }, { 0, 0, 0x40, 0x00 } };
	struct raw r;
	int fd = raw_connected_with(&r, NO_OPTIONS, &orders[_i]);
	char got[8];

	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 5);
	ck_assert_mem_eq(got, "hello", 5);
	ck_assert_mem_eq(raw_entry(&r, 1) + 12, lengths[_i], 4);
}
END_TEST

/* More of them than there are receives, while nobody looks: the transport holds them back. */
START_TEST(flood_of_control_messages_is_survived)
{
	struct raw r;
	int fd = raw_connected_with(&r, OPTIONS({ SOL_RDMA, RDMA_RQSIZE, 16 }), NULL);
	char got[8];

	if (r.iwarp) {
		skip("iWARP holds nothing back: a message without a receive ends the connection");
		return;
	}
	for (int i = 0; i < RAW_CREDITS - 1; i++)
		raw_post(&r, MSG_CREDIT(RAW_CREDITS));
	raw_post(&r, MSG_DATA(5));
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 5);
	raw_sync(&r);
	raw_post(&r, MSG_SHUTDOWN);
	check_end_of_file(fd);
}
END_TEST

static bool descriptors_left(long goal)
{
	return open_descriptors() <= goal;
}

START_TEST(peer_that_takes_nothing_does_not_hold_up_close)
{
	static const struct flaw deaf = { .name = "deaf", .deaf = true };
	struct raw r;
	int before, fd;

	pair_close(pair_connected()); /* what stays for good is there */
	before = open_descriptors();
	fd = raw_connected_with(&r, NO_OPTIONS, &deaf);
	if (r.iwarp) {
		skip("on iWARP, what is sent is TCP's to deliver");
		return;
	}
	ck_assert_int_eq(rsk_send(fd, "x", 1, 0), 1);
	OK(rsk_close(fd));
	/* The raw peer has its own. */
	wait_until(descriptors_left, before + 1, "descriptors of the closed socket");
}
END_TEST

static const uint32_t tolerated[] = {
	0xe0000001,                         /* keepalive: never sent, but named */
	0xe0000077,
	MSG_CREDIT(RAW_CREDITS),
	MSG_CREDIT(RAW_CREDITS) | 0x10000,  /* the counter has 17 bits on the wire, 16 that matter */
};

START_TEST(messages_with_no_meaning_are_ignored)
{
	struct raw r;
	int fd = raw_connected(&r);
	char got[8];

	raw_post(&r, tolerated[_i]);
	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 5);
	raw_post(&r, MSG_SHUTDOWN);
	check_end_of_file(fd);
}
END_TEST

START_TEST(data_after_shutdown_is_dropped)
{
	struct raw r;
	int fd = raw_connected(&r);
	char got[8];

	raw_post(&r, MSG_SHUTDOWN);
	check_end_of_file(fd);
	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	raw_post(&r, MSG_SHUTDOWN);
	raw_post(&r, MSG_DISCONNECT);
	wait_for(fd, POLLHUP);
	check_end_of_file(fd);
	ck_assert_int_eq(rsk_recv(fd, got, sizeof(got), 0), 0);
}
END_TEST

START_TEST(raw_peer_that_vanishes_is_a_reset)
{
	struct raw r;
	int fd = raw_connected(&r);
	char byte;

	raw_drop(&r);
	FAILS(rsk_recv(fd, &byte, 1, 0), ECONNRESET);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("protocol");
	TCase *tc;

	tc = group(s, "protocol", 150);
	tcase_add_loop_test(tc, listener_rejects_a_bad_greeting_and_serves_others, 0, COUNT(flaws));
	tcase_add_loop_test(tc, connecting_to_a_bad_greeting_fails, 0, COUNT(flaws));
	tcase_add_test(tc, silent_callers_do_not_keep_others_out);
	tcase_add_test(tc, silent_caller_may_still_complete);
	tcase_add_test(tc, raw_peer_is_taken_for_an_ordinary_one);
	tcase_add_loop_test(tc, peer_that_breaks_the_protocol_fails_its_connection_alone, 0,
			    COUNT(violations));
	tcase_add_test(tc, data_without_credit_fails_the_connection);
	tcase_add_test(tc, data_beyond_a_segment_fails_the_connection);
	tcase_add_loop_test(tc, bad_segment_fails_the_connection, 0, COUNT(entries));
	tcase_add_loop_test(tc, what_is_no_message_fails_the_connection, 0, COUNT(no_messages));
	tcase_add_loop_test(tc, entry_is_written_in_the_byte_order_of_the_peer, 0, 2);
	tcase_add_test(tc, flood_of_control_messages_is_survived);
	tcase_add_test(tc, peer_that_takes_nothing_does_not_hold_up_close);
	tcase_add_loop_test(tc, messages_with_no_meaning_are_ignored, 0, COUNT(tolerated));
	tcase_add_test(tc, data_after_shutdown_is_dropped);
	tcase_add_test(tc, raw_peer_that_vanishes_is_a_reset);
	return run_suite(s);
}
