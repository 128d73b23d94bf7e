/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * MSG_MORE and TCP_CORK: small sends go in one message with what follows them, and wait for it no longer than
 * they must. A raw peer sees the messages.
 */
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <linux/sockios.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

#define MSG_CREDIT(limit) (0x80000000u | (limit))
#define MSG_DISCONNECT 0xe0000000u
#define MSG_SHUTDOWN 0xe0000002u

/* What is held goes by itself when so much time has passed: in Linux, too. */
#define CORK_NS 200000000u

#define CORKED OPTIONS({ IPPROTO_TCP, TCP_CORK, 1 })

/* -- what the peer sees ------------------------------------------------------------------------ */

static struct raw peer;
static size_t taken; /* bytes of the stream that were looked at */

/* The next message that is no credit. */
static uint32_t next_message(void)
{
	uint32_t message;

	do
		message = raw_message(&peer);
	while (message >> 29 == 4);
	return message;
}

/* One message comes, with these bytes. */
static void expect_message(const char *bytes)
{
	ck_assert_uint_eq(next_message(), strlen(bytes));
	ck_assert_mem_eq(raw_arrived(&peer) + taken, bytes, strlen(bytes));
	taken += strlen(bytes);
}

/* One message comes, with this many bytes of stream 1. */
static void expect_stream(size_t len)
{
	ck_assert_uint_eq(next_message(), len);
	pattern_check(raw_arrived(&peer) + taken, len, 1, taken);
	taken += len;
}

/* Connects to the peer and makes the calls, which count only if they took less time than what is held may wait. */
static int after_calls(void (*calls)(int fd), const struct option *options, const struct flaw *flaw)
{
	uint64_t began;
	int fd;

	for (;;) {
		fd = raw_connection(&peer, options, flaw);
		began = now_ns();
		calls(fd);
		if (now_ns() - began < CORK_NS)
			return fd;
		OK(rsk_close(fd));
	}
}

static void set(int fd, int level, int name, int value)
{
	OK(rsk_setsockopt(fd, level, name, &value, sizeof(value)));
}

static void say_more(int fd, const char *what)
{
	ck_assert_int_eq(rsk_send(fd, what, strlen(what), MSG_MORE), strlen(what));
}

/* Sends @len bytes of stream 1. */
static void send_stream(int fd, size_t offset, size_t len, int flags)
{
	char bytes[32 * KIB];

	pattern_fill(bytes, len, 1, offset);
	ck_assert_int_eq(rsk_send(fd, bytes, len, flags), len);
}

/* -- joining ----------------------------------------------------------------------------------- */

static void more_then_last(int fd)
{
	say_more(fd, "abc");
	say_more(fd, "def");
	say(fd, "ghi");
}

START_TEST(more_goes_with_what_follows)
{
	after_calls(more_then_last, NO_OPTIONS, NULL);
	expect_message("abcdefghi");
}
END_TEST

static void buffers_then_buffers(int fd)
{
	struct iovec iov[] = { { "a", 1 }, { "", 0 }, { "bc", 2 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = COUNT(iov) };

	ck_assert_int_eq(rsk_sendmsg(fd, &msg, MSG_MORE), 3);
	ck_assert_int_eq(rsk_writev(fd, iov, COUNT(iov)), 3);
}

START_TEST(several_buffers_are_joined)
{
	after_calls(buffers_then_buffers, NO_OPTIONS, NULL);
	expect_message("abcabc");
}
END_TEST

static void corked_and_uncorked(int fd)
{
	say(fd, "abc");
	say(fd, "def");
	set(fd, IPPROTO_TCP, TCP_CORK, 0);
	say(fd, "ghi");
}

START_TEST(corked_goes_when_uncorked)
{
	after_calls(corked_and_uncorked, CORKED, NULL);
	expect_message("abcdef");
	expect_message("ghi");
}
END_TEST

/* As in Linux: it pushes, and leaves the cork where it is. */
static void no_delay(int fd)
{
	say(fd, "abc");
	set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	say(fd, "d");
	say(fd, "ef");
	set(fd, IPPROTO_TCP, TCP_CORK, 0);
}

START_TEST(corked_goes_when_nodelay_is_set)
{
	after_calls(no_delay, CORKED, NULL);
	expect_message("abc");
	expect_message("def");
}
END_TEST

static void a_packet_in_parts(int fd)
{
	for (int i = 0; i < 4; i++)
		send_stream(fd, i * KIB, KIB, MSG_MORE);
	send_stream(fd, 4 * KIB, 3 * KIB, 0);
	send_stream(fd, 7 * KIB, 3 * KIB, 0);
}

START_TEST(full_message_goes)
{
	after_calls(a_packet_in_parts, CORKED, NULL);
	expect_stream(4 * KIB);
	expect_stream(6 * KIB);
}
END_TEST

static void header_and_record(int fd)
{
	send_stream(fd, 0, 100, MSG_MORE);
	send_stream(fd, 100, 12 * KIB, 0);
}

START_TEST(header_goes_with_a_large_record)
{
	after_calls(header_and_record, NO_OPTIONS, NULL);
	expect_stream(100 + 12 * KIB);
}
END_TEST

/* A record that long is sent in several messages anyway: the first is full. */
static void header_and_long_record(int fd)
{
	send_stream(fd, 0, 100, MSG_MORE);
	send_stream(fd, 100, 16 * KIB - 100, 0);
}

START_TEST(header_goes_with_the_first_part_of_a_long_record)
{
	after_calls(header_and_long_record, NO_OPTIONS, NULL);
	expect_stream(4 * KIB);
	expect_stream(12 * KIB);
}
END_TEST

START_TEST(ragged_stream_arrives_as_it_was)
{
	static const struct stream s = { .seed = 7, .bytes = MIB, .send_piece = 6 * KIB, .ragged = true };
	struct pair p = pair_with(AF_INET, CORKED, NO_OPTIONS);
	struct pair narrow = pair_narrow();

	stream_pass(p.a, p.b, &s);
	set(narrow.a, IPPROTO_TCP, TCP_CORK, 1);
	set_nonblocking(narrow.a, _i);
	stream_pass(narrow.a, narrow.b, &s);
}
END_TEST

static int unconfirmed(int fd)
{
	int bytes;

	OK(rsk_ioctl(fd, SIOCOUTQ, &bytes));
	return bytes;
}

static int counted;

static void hold_and_count(int fd)
{
	say_more(fd, "abc");
	counted = unconfirmed(fd);
}

START_TEST(held_bytes_are_not_confirmed)
{
	after_calls(hold_and_count, NO_OPTIONS, NULL);
	ck_assert_int_eq(counted, 3);
}
END_TEST

START_TEST(accepted_connection_is_corked_as_its_listener)
{
	int listening = listener_with(AF_INET, CORKED, 16);

	counted = 0;
	while (counted != 3) {
		struct pair p = pair_on(listening);

		ck_assert_int_eq(get_option(p.b, IPPROTO_TCP, TCP_CORK), 1);
		check_connected(p.b, p.a);
		while (unconfirmed(p.b))
			;
		say(p.b, "abc");
		/* Else the time was up, and it is on its way as a message of some size. */
		counted = unconfirmed(p.b);
		pair_close(p);
	}
}
END_TEST

/* -- what ends the wait ------------------------------------------------------------------------ */

START_TEST(held_goes_when_its_time_is_up)
{
	int fd = raw_connection(&peer, _i ? CORKED : NO_OPTIONS, NULL);

	for (int i = 0; i < 3; i++) {
		say_more(fd, "abc");
		expect_message("abc");
	}
}
END_TEST

static void hold_and_shut_down(int fd)
{
	say_more(fd, "abc");
	OK(rsk_shutdown(fd, SHUT_WR));
}

START_TEST(held_goes_before_the_end)
{
	int fd = after_calls(hold_and_shut_down, NO_OPTIONS, NULL);

	expect_message("abc");
	ck_assert_uint_eq(next_message(), MSG_SHUTDOWN);
	FAILS(rsk_send(fd, "x", 1, MSG_MORE | MSG_NOSIGNAL), EPIPE);
}
END_TEST

START_TEST(held_goes_before_close)
{
	int fd = raw_connection(&peer, NO_OPTIONS, NULL);

	say_more(fd, "abc");
	OK(rsk_close(fd));
	expect_message("abc");
	ck_assert_uint_eq(next_message(), MSG_DISCONNECT);
}
END_TEST

static void hold_and_write(int fd)
{
	raw_post_mapping(&peer, 0, 0, (uintptr_t)raw_mapped(&peer), 8);
	raw_sync(&peer);
	ck_assert_int_eq(ready_now(fd, POLLIN), 0);
	say_more(fd, "abc");
	ck_assert_int_eq(rsk_iowrite(fd, "x", 1, 0, 0), 1);
	say(fd, "def");
}

START_TEST(held_goes_before_a_direct_write)
{
	after_calls(hold_and_write, OPTIONS({ SOL_RDMA, RDMA_IOMAPSIZE, 4 }), NULL);
	expect_message("abc");
	expect_message("def");
	ck_assert_int_eq(*raw_mapped(&peer), 'x');
}
END_TEST

/* -- without room ------------------------------------------------------------------------------ */

/* Its segment ends within what is held. */
static const struct flaw two_bytes = { .offset = GREETING_DATA_LENGTH, .size = 4, .value = 2 };

/* The peer makes room. */
static void make_room(void)
{
	raw_post_entry(&peer, MSG_CREDIT(RAW_CREDITS), 1, (uintptr_t)raw_arrived(&peer) + taken, 100);
}

START_TEST(held_goes_by_itself_when_there_is_room)
{
	int fd = raw_connection(&peer, NO_OPTIONS, &two_bytes);

	say_more(fd, "abc");
	expect_message("ab");
	make_room();
	expect_message("c");
}
END_TEST

START_TEST(uncorking_does_not_wait_for_room)
{
	int fd = raw_connection(&peer, CORKED, &two_bytes);

	say(fd, "abc");
	set(fd, IPPROTO_TCP, TCP_CORK, 0);
	expect_message("ab");
	ck_assert_int_ge(unconfirmed(fd), 1);
	make_room();
	expect_message("c");
}
END_TEST

START_TEST(end_does_not_overtake_what_is_held)
{
	int fd = raw_connection(&peer, NO_OPTIONS, &two_bytes);

	say_more(fd, "abc");
	OK(rsk_shutdown(fd, SHUT_WR));
	expect_message("ab");
	make_room();
	expect_message("c");
	ck_assert_uint_eq(next_message(), MSG_SHUTDOWN);
	OK(rsk_close(fd));
	ck_assert_uint_eq(next_message(), MSG_DISCONNECT);
}
END_TEST

/* Shut down before, or not. */
START_TEST(close_sends_what_is_held_in_the_background)
{
	int fd = raw_connection(&peer, NO_OPTIONS, &two_bytes);

	say_more(fd, "abc");
	if (_i)
		OK(rsk_shutdown(fd, SHUT_WR));
	OK(rsk_close(fd));
	expect_message("ab");
	make_room();
	expect_message("c");
	ck_assert_uint_eq(next_message(), MSG_DISCONNECT);
}
END_TEST

START_TEST(send_without_room_changes_nothing)
{
	int fd = raw_connection(&peer, NO_OPTIONS, &two_bytes);

	say_more(fd, "abc");
	FAILS(rsk_send(fd, "def", 3, MSG_DONTWAIT), EAGAIN);
	expect_message("ab");
	FAILS(rsk_send(fd, "def", 3, MSG_DONTWAIT), EAGAIN);
	FAILS(rsk_send(fd, "def", 3, MSG_DONTWAIT | MSG_MORE), EAGAIN);
	make_room();
	expect_message("c");
	say(fd, "ghi");
	expect_message("ghi");
}
END_TEST

static ssize_t send_last(int fd)
{
	return rsk_send(fd, "def", 3, 0);
}

START_TEST(send_without_room_waits_within_its_limit)
{
	struct timeval limit = { .tv_usec = 1000 };
	int fd = raw_connection(&peer, NO_OPTIONS, &two_bytes);

	OK(rsk_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	say_more(fd, "abc");
	FAILS(send_last(fd), EAGAIN);
	expect_message("ab");
	make_room();
	expect_message("c");
}
END_TEST

START_TEST(blocked_send_goes_on_with_room)
{
	int fd = raw_connection(&peer, NO_OPTIONS, &two_bytes);
	struct call c;

	say_more(fd, "abc");
	call_blocks(&c, send_last, fd);
	expect_message("ab");
	make_room();
	expect_message("cdef");
	call_returns(&c);
	ck_assert_int_eq(c.ret, 3);
}
END_TEST

static ssize_t accepted;

static void hold_and_send(int fd)
{
	say_more(fd, "abc");
	accepted = rsk_send(fd, "def", 3, MSG_DONTWAIT);
}

START_TEST(part_that_went_is_accepted)
{
	static const struct flaw four_bytes = { .offset = GREETING_DATA_LENGTH, .size = 4, .value = 4 };
	int fd = after_calls(hold_and_send, NO_OPTIONS, &four_bytes);

	ck_assert_int_eq(accepted, 1);
	expect_message("abcd");
	make_room();
	say(fd, "ef");
	expect_message("ef");
}
END_TEST

/* -- failures ---------------------------------------------------------------------------------- */

START_TEST(more_needs_a_connection)
{
	struct address there = raw_listen(&peer);
	int fd = socket_with(AF_INET, CORKED);

	FAILS(rsk_send(fd, "x", 1, MSG_MORE | MSG_NOSIGNAL), ENOTCONN);
	OK(rsk_close(fd));
	fd = connect_begun(&there, CORKED);
	raw_take_request(&peer);
	FAILS(rsk_send(fd, "x", 1, MSG_MORE), EAGAIN);
	raw_accept(&peer, NULL);
	connect_finished(fd);
	say_more(fd, "abc");
	expect_message("abc");
}
END_TEST

START_TEST(held_is_lost_with_the_connection)
{
	int fd = raw_connection(&peer, CORKED, NULL);
	char byte;

	say(fd, "abc");
	raw_drop(&peer);
	/* It is a reset, or it times out, if what was held is sent before the news of the end is there. */
	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), -1);
	FAILS(rsk_send(fd, "x", 1, MSG_MORE | MSG_NOSIGNAL), EPIPE);
	set(fd, IPPROTO_TCP, TCP_CORK, 0);
	ck_assert_int_eq(unconfirmed(fd), 0);
	OK(rsk_close(fd));
	pair_close(pair_connected());
}
END_TEST

/* -- threads ----------------------------------------------------------------------------------- */

enum { SENDERS = 4, RECORDS = 500 };

struct record {
	uint32_t sender, number;
};

struct sender {
	int fd;
	uint32_t number;
	struct task task;
};

static void send_records(void *arg)
{
	struct sender *s = arg;

	for (uint32_t i = 0; i < RECORDS; i++) {
		struct record record = { s->number, i };
		int flags = i % 3 ? MSG_MORE : 0;

		ck_assert_int_eq(rsk_send(s->fd, &record, sizeof(record), flags), sizeof(record));
		if (i % 50 == 0)
			set(s->fd, IPPROTO_TCP, TCP_CORK, i % 100 == 0);
	}
}

START_TEST(senders_take_turns)
{
	struct pair p = pair_narrow();
	struct sender senders[SENDERS];
	uint32_t expected[SENDERS] = { 0 };
	struct record record;

	for (uint32_t i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ .fd = p.a, .number = i };
		task_start(&senders[i].task, send_records, &senders[i]);
	}
	for (int i = 0; i < SENDERS * RECORDS; i++) {
		ck_assert_int_eq(rsk_recv(p.b, &record, sizeof(record), MSG_WAITALL), sizeof(record));
		ck_assert_uint_lt(record.sender, SENDERS);
		ck_assert_uint_eq(record.number, expected[record.sender]++);
	}
	for (int i = 0; i < SENDERS; i++)
		task_join(&senders[i].task);
	pair_close(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cork");
	TCase *tc;

	tc = group(s, "joining", 120);
	tcase_add_test(tc, more_goes_with_what_follows);
	tcase_add_test(tc, several_buffers_are_joined);
	tcase_add_test(tc, corked_goes_when_uncorked);
	tcase_add_test(tc, corked_goes_when_nodelay_is_set);
	tcase_add_test(tc, full_message_goes);
	tcase_add_test(tc, header_goes_with_a_large_record);
	tcase_add_test(tc, header_goes_with_the_first_part_of_a_long_record);
	tcase_add_loop_test(tc, ragged_stream_arrives_as_it_was, 0, 2);
	tcase_add_test(tc, held_bytes_are_not_confirmed);
	tcase_add_test(tc, accepted_connection_is_corked_as_its_listener);

	tc = group(s, "what ends the wait", 120);
	tcase_add_loop_test(tc, held_goes_when_its_time_is_up, 0, 2);
	tcase_add_test(tc, held_goes_before_the_end);
	tcase_add_test(tc, held_goes_before_close);
	tcase_add_test(tc, held_goes_before_a_direct_write);

	tc = group(s, "without room", 120);
	tcase_add_test(tc, held_goes_by_itself_when_there_is_room);
	tcase_add_test(tc, uncorking_does_not_wait_for_room);
	tcase_add_test(tc, end_does_not_overtake_what_is_held);
	tcase_add_loop_test(tc, close_sends_what_is_held_in_the_background, 0, 2);
	tcase_add_test(tc, send_without_room_changes_nothing);
	tcase_add_test(tc, send_without_room_waits_within_its_limit);
	tcase_add_test(tc, blocked_send_goes_on_with_room);
	tcase_add_test(tc, part_that_went_is_accepted);

	tc = group(s, "failures", 120);
	tcase_add_test(tc, more_needs_a_connection);
	tcase_add_test(tc, held_is_lost_with_the_connection);

	tc = group(s, "threads", 120);
	tcase_add_test(tc, senders_take_turns);
	return run_suite(s);
}
