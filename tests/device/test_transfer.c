/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What is sent arrives: every byte, once, in order, whatever the sizes, the calls, the pace and
 * the room on either side.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"
#include "task.h"

/* -- ways to send and to receive --------------------------------------------------------------- */

/* Cuts a buffer into vectors of uneven length, every third of them empty; returns how many. */
static int cut(struct iovec *iov, size_t most, void *buf, size_t len)
{
	char *at = buf;
	size_t n = 0;

	while (len) {
		size_t piece = n % 3 == 2 ? 0 : n + 1 == most ? len : 1 + (n * n * 7) % 300;

		if (piece > len)
			piece = len;
		iov[n++] = (struct iovec){ .iov_base = at, .iov_len = piece };
		at += piece;
		len -= piece;
	}
	return n;
}

/* Ends with a non-empty vector: IOV_MAX is 1024, and 1023 is no third one. */
#define VECTORS 1024

static ssize_t by_write(int fd, void *buf, size_t len)
{
	return rsk_write(fd, buf, len);
}

static ssize_t by_writev(int fd, void *buf, size_t len)
{
	struct iovec iov[VECTORS];

	return rsk_writev(fd, iov, cut(iov, VECTORS, buf, len));
}

static ssize_t by_sendto(int fd, void *buf, size_t len)
{
	return rsk_sendto(fd, buf, len, MSG_NOSIGNAL, NULL, 0);
}

static ssize_t by_sendmsg(int fd, void *buf, size_t len)
{
	struct iovec iov[VECTORS];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = cut(iov, VECTORS, buf, len) };

	return rsk_sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static ssize_t by_send_more(int fd, void *buf, size_t len)
{
	return rsk_send(fd, buf, len, MSG_MORE);
}

static ssize_t by_read(int fd, void *buf, size_t len)
{
	return rsk_read(fd, buf, len);
}

static ssize_t by_readv(int fd, void *buf, size_t len)
{
	struct iovec iov[VECTORS];

	return rsk_readv(fd, iov, cut(iov, VECTORS, buf, len));
}

static ssize_t by_recvfrom(int fd, void *buf, size_t len)
{
	return rsk_recvfrom(fd, buf, len, 0, NULL, NULL);
}

static ssize_t by_recvmsg(int fd, void *buf, size_t len)
{
	struct iovec iov[VECTORS];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = cut(iov, VECTORS, buf, len) };

	return rsk_recvmsg(fd, &msg, 0);
}

static ssize_t by_waitall(int fd, void *buf, size_t len)
{
	ssize_t n = rsk_recv(fd, buf, len, MSG_WAITALL);

	ck_assert_int_eq(n, len);
	return n;
}

static ssize_t by_peek_and_recv(int fd, void *buf, size_t len)
{
	char *seen = malloc(len);
	ssize_t peeked = rsk_recv(fd, seen, len, MSG_PEEK);
	ssize_t n;

	ck_assert_int_gt(peeked, 0);
	n = rsk_recv(fd, buf, peeked, MSG_WAITALL);
	ck_assert_int_eq(n, peeked);
	ck_assert_mem_eq(seen, buf, n);
	free(seen);
	return n;
}

static const mover send_ways[] = { by_write, by_writev, by_sendto, by_sendmsg, by_send_more };
static const mover take_ways[] = { by_read, by_readv, by_recvfrom, by_recvmsg, by_waitall,
				   by_peek_and_recv };

/* -- sizes ------------------------------------------------------------------------------------- */

/* Around the inline limit, the chunk steps and the ends of receive segments. */
static const size_t sizes[] = {
	1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 1000,
	2047, 2048, 2049, 4095, 4096, 4097, 6143, 6144, 6145, 8191, 8192, 8193,
	16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537,
	131071, 131072, 131073, 262143, 262144, 262145, 1048575, 1048576, 1048577,
};

START_TEST(first_send_of_any_size_arrives_whole)
{
	struct stream s = { .seed = _i, .bytes = sizes[_i], .send_piece = sizes[_i] };
	struct pair p = pair_connected();

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(sends_of_all_sizes_follow_each_other)
{
	struct pair p = pair_connected();

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct stream s = { .seed = i, .bytes = sizes[i], .send_piece = sizes[i] };

		stream_pass(p.a, p.b, &s);
		s.seed += 1000;
		stream_pass(p.b, p.a, &s);
	}
}
END_TEST

START_TEST(sixty_four_mebibytes_arrive_intact)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 64, .bytes = 64 * MIB, .send_piece = MIB, .take_piece = MIB };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(both_directions_carry_data_at_once)
{
	struct stream ab = { .seed = 1, .bytes = 6 * MIB };
	struct stream ba = { .seed = 2, .bytes = 6 * MIB, .ragged = true };

	stream_both_ways(pair_connected(), &ab, &ba);
}
END_TEST

/* -- calls ------------------------------------------------------------------------------------- */

START_TEST(every_send_call_sends_the_same_bytes)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = _i, .bytes = 600001, .send_piece = 100000, .ragged = true,
			    .send_by = send_ways[_i] };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(every_receive_call_takes_the_same_bytes)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = _i, .bytes = 600001, .take_piece = 100000, .ragged = true,
			    .take_by = take_ways[_i] };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(gathered_and_scattered_through_a_narrow_pair)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 5, .bytes = 300000, .send_piece = 70000, .take_piece = 70000,
			    .ragged = true, .send_by = by_writev, .take_by = by_readv };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(iov_max_vectors_of_one_byte_are_one_send)
{
	struct pair p = pair_connected();
	struct iovec iov[IOV_MAX];
	char sent[IOV_MAX], got[IOV_MAX];

	pattern_fill(sent, sizeof(sent), 1, 0);
	for (int i = 0; i < IOV_MAX; i++)
		iov[i] = (struct iovec){ .iov_base = sent + i, .iov_len = 1 };
	ck_assert_int_eq(rsk_writev(p.a, iov, IOV_MAX), IOV_MAX);
	for (int i = 0; i < IOV_MAX; i++)
		iov[i].iov_base = got + i;
	ck_assert_int_eq(rsk_recvmsg(p.b, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = IOV_MAX },
				     MSG_WAITALL), IOV_MAX);
	ck_assert_mem_eq(got, sent, IOV_MAX);
}
END_TEST

START_TEST(peeking_leaves_the_bytes_where_they_are)
{
	struct pair p = pair_connected();
	char got[16] = "";

	ck_assert_int_eq(rsk_send(p.a, "peekaboo", 8, 0), 8);
	wait_for(p.b, POLLIN);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(rsk_recv(p.b, got, 4, MSG_PEEK), 4);
		ck_assert_mem_eq(got, "peek", 4);
	}
	ck_assert_int_eq(rsk_recv(p.b, got, 6, 0), 6);
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), MSG_PEEK), 2);
	ck_assert_mem_eq(got, "oo", 2);
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), 0), 2);
	FAILS(rsk_recv(p.b, got, sizeof(got), MSG_PEEK | MSG_DONTWAIT), EAGAIN);
}
END_TEST

START_TEST(waitall_gathers_what_was_sent_in_pieces)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 9, .bytes = 200000, .send_piece = 777, .take_piece = 200000,
			    .take_by = by_waitall };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(waitall_returns_less_at_end_of_file)
{
	struct pair p = pair_connected();
	char got[16];

	ck_assert_int_eq(rsk_send(p.a, "short", 5, 0), 5);
	OK(rsk_shutdown(p.a, SHUT_WR));
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), MSG_WAITALL), 5);
	check_end_of_file(p.b);
}
END_TEST

START_TEST(waitall_without_waiting_takes_what_is_there)
{
	struct pair p = pair_connected();
	char got[16];

	ck_assert_int_eq(rsk_send(p.a, "there", 5, 0), 5);
	wait_for(p.b, POLLIN);
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), MSG_WAITALL | MSG_DONTWAIT), 5);
}
END_TEST

static ssize_t call_peek_all_six(int fd)
{
	char got[6];
	ssize_t n = rsk_recv(fd, got, sizeof(got), MSG_PEEK | MSG_WAITALL);

	return n == 6 ? memcmp(got, "onetwo", 6) : n;
}

START_TEST(peek_waits_for_all_when_asked_to)
{
	struct pair p = pair_connected();
	struct call peeking;
	char got[16];

	ck_assert_int_eq(rsk_send(p.a, "one", 3, 0), 3);
	call_blocks(&peeking, call_peek_all_six, p.b);
	ck_assert_int_eq(rsk_send(p.a, "two", 3, 0), 3);
	call_returns(&peeking);
	ck_assert_int_eq(peeking.ret, 0);
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), 0), 6);
}
END_TEST

static struct call early_peek;
static struct address peer_to_be;

/* On the engine: meanwhile no connection is made. */
static void connect_and_peek(int fd, uint32_t events, void *socket)
{
	int connecting = *(int *)socket;

	(void)fd, (void)events;
	FAILS(rsk_connect(connecting, &peer_to_be.any, peer_to_be.len), EINPROGRESS);
	set_nonblocking(connecting, false);
	call_blocks(&early_peek, call_peek_all_six, connecting);
}

START_TEST(peek_may_begin_before_there_is_a_connection)
{
	int listening = listener(), connecting = socket_with(AF_INET, NO_OPTIONS), accepted;
	struct pair p = pair_connected();

	peer_to_be = local_address(listening);
	set_nonblocking(connecting, true);
	ck_assert_int_eq(rsk_watch(p.a, EPOLLIN, connect_and_peek, &connecting), 0);
	say(p.b, "x");
	accepted = accept_from(listening);
	say(accepted, "onetwo");
	call_returns(&early_peek);
	ck_assert_int_eq(early_peek.ret, 0);
	ck_assert_int_eq(call_peek_all_six(connecting), 0);
}
END_TEST

START_TEST(peek_ends_with_what_the_buffer_holds)
{
	static char seen[MIB];
	struct pair p = pair_with(AF_INET, NO_OPTIONS, OPTIONS({ SOL_SOCKET, SO_RCVBUF, 20000 }));
	uint64_t sent = fill_send_side(p.a, 1);
	ssize_t n = rsk_recv(p.b, seen, sizeof(seen), MSG_PEEK | MSG_WAITALL);

	ck_assert_int_eq(n, 40000);
	pattern_check(seen, n, 1, 0);
	stream_take(p.b, &(struct stream){ .seed = 1, .bytes = sent });
}
END_TEST

START_TEST(truncated_bytes_are_dropped_unread)
{
	struct pair p = pair_connected();
	char got[16] = "";

	ck_assert_int_eq(rsk_send(p.a, "0123456789", 10, 0), 10);
	wait_for(p.b, POLLIN);
	ck_assert_int_eq(rsk_recv(p.b, got, 4, MSG_PEEK | MSG_TRUNC), 4);
	ck_assert_int_eq(rsk_recv(p.b, NULL, 4, MSG_TRUNC), 4);
	ck_assert_int_eq(rsk_recv(p.b, got, 2, MSG_TRUNC), 2);
	ck_assert_str_eq(got, "");
	ck_assert_int_eq(rsk_recv(p.b, got, sizeof(got), 0), 4);
	ck_assert_mem_eq(got, "6789", 4);
}
END_TEST

START_TEST(many_bytes_can_be_dropped)
{
	const struct stream s = { .seed = 7, .bytes = MIB };
	struct pair p = pair_connected();
	struct stream_end sending;
	uint8_t last;

	stream_send_in_thread(&sending, p.a, &s);
	ck_assert_int_eq(rsk_recv(p.b, NULL, MIB - 1, MSG_TRUNC | MSG_WAITALL), MIB - 1);
	task_join(&sending.task);
	ck_assert_int_eq(rsk_recv(p.b, &last, 1, 0), 1);
	pattern_check(&last, 1, 7, MIB - 1);
}
END_TEST

START_TEST(recvfrom_tells_who_sent)
{
	struct pair p = pair_connected();
	struct address a = local_address(p.a), from = { .len = sizeof(from.room) };
	char byte;

	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	ck_assert_int_eq(rsk_recvfrom(p.b, &byte, 1, 0, &from.any, &from.len), 1);
	check_same_address(&from, &a);
}
END_TEST

START_TEST(recvmsg_clears_what_a_stream_does_not_have)
{
	struct pair p = pair_connected();
	char control[64], byte;
	struct address name;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_name = &name, .msg_namelen = sizeof(name.room), .msg_iov = &iov,
		.msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
		.msg_flags = -1,
	};

	ck_assert_int_eq(rsk_send(p.a, "x", 1, 0), 1);
	ck_assert_int_eq(rsk_recvmsg(p.b, &msg, 0), 1);
	ck_assert_int_eq(msg.msg_namelen, 0);
	ck_assert_int_eq(msg.msg_controllen, 0);
	ck_assert_int_eq(msg.msg_flags, 0);
}
END_TEST

/* -- pace -------------------------------------------------------------------------------------- */

START_TEST(reader_of_single_bytes_gets_them_all)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 11, .bytes = 200000, .take_piece = 1 };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(reader_of_small_pieces_gets_them_all)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 12, .bytes = MIB, .take_piece = 100, .ragged = true };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(writer_of_small_pieces_reaches_reader_of_large_ones)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 13, .bytes = MIB, .send_piece = 100, .ragged = true };

	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(reader_that_pauses_until_the_sender_is_stuck_loses_nothing)
{
	struct pair p = pair_narrow();
	struct stream s = { .seed = 14, .bytes = 400000 };
	struct stream_end sender;
	struct dice d = { 14 };
	char got[20000];

	stream_send_in_thread(&sender, p.a, &s);
	for (uint64_t taken = 0; taken < s.bytes;) {
		ssize_t n;

		task_wait_asleep(&sender.task);
		n = rsk_recv(p.b, got, roll(&d, 1, sizeof(got)), 0);
		ck_assert_int_gt(n, 0);
		pattern_check(got, n, s.seed, taken);
		taken += n;
	}
	task_join(&sender.task);
}
END_TEST

/* On iWARP the accepting side must be told of the first message for that. */
START_TEST(sender_fills_the_peers_buffer_before_anybody_looks_at_it)
{
	struct pair p = pair_connected();
	struct stream s = { .seed = 8, .bytes = 32 * KIB };

	stream_send(p.a, &s);
	stream_take(p.b, &s);
}
END_TEST

START_TEST(question_and_answer_take_turns)
{
	struct pair p = pair_connected();

	for (int i = 0; i < 1000; i++) {
		struct stream question = { .seed = i, .bytes = 1 + i % 200 };
		struct stream answer = { .seed = ~i, .bytes = 1 + i * 7 % 5000 };

		stream_send(p.a, &question);
		stream_take(p.b, &question);
		stream_send(p.b, &answer);
		stream_take(p.a, &answer);
	}
}
END_TEST

/* Some meet the end of a receive segment, and are sent in two messages. */
START_TEST(record_is_received_in_one_piece)
{
	struct pair p = pair_connected();
	char record[1000] = "";

	set_nonblocking(p.b, true);
	for (int i = 0; i < 400; i++) {
		ck_assert_int_eq(rsk_send(p.a, record, sizeof(record), 0), sizeof(record));
		wait_for(p.b, POLLIN);
		ck_assert_int_eq(rsk_recv(p.b, record, sizeof(record), 0), sizeof(record));
	}
}
END_TEST

/* The last bytes look like the first part of a record; there is nothing behind them. */
START_TEST(bytes_that_end_with_their_segment_are_received_in_the_end)
{
	const struct stream s = { .seed = 31, .bytes = 8192, .send_piece = 1000 };
	struct pair p = pair_narrow();

	set_nonblocking(p.b, true);
	for (int i = 0; i < 10; i++) {
		stream_send(p.a, &s);
		stream_take(p.b, &s);
	}
}
END_TEST

/* -- many messages ----------------------------------------------------------------------------- */

/* Message counts on the wire have 16 bits. */
#define MORE_THAN_16_BITS 80000

START_TEST(more_messages_than_a_counter_holds_arrive_in_order)
{
	struct pair p = pair_connected();
	struct dice d = { 15 };
	uint64_t bytes = 0;
	struct stream s = { .seed = 15, .send_piece = 16, .ragged = true };

	for (int i = 0; i < MORE_THAN_16_BITS; i++)
		bytes += roll(&d, 1, 16);
	s.bytes = bytes;
	stream_pass(p.a, p.b, &s);
}
END_TEST

START_TEST(messages_of_one_byte_pass_a_window_of_sixteen)
{
	const struct option *tiny = OPTIONS({ SOL_RDMA, RDMA_RQSIZE, 16 });
	struct pair p = pair_with(AF_INET, tiny, tiny);
	struct stream s = { .seed = 16, .bytes = 5000, .send_piece = 1, .take_piece = 1 };

	stream_both_ways(p, &s, &s);
}
END_TEST

/* -- room -------------------------------------------------------------------------------------- */

static const struct option rooms[][6] = {
	{ { SOL_RDMA, RDMA_RQSIZE, 16 } },
	{ { SOL_RDMA, RDMA_RQSIZE, 17 } },
	{ { SOL_RDMA, RDMA_SQSIZE, 16 } },
	{ { SOL_SOCKET, SO_RCVBUF, 4096 } },
	{ { SOL_SOCKET, SO_SNDBUF, 4096 } },
	{ { SOL_SOCKET, SO_RCVBUF, 5003 } },
	{ { SOL_SOCKET, SO_SNDBUF, 5003 } },
	{ { SOL_RDMA, RDMA_SQSIZE, 2000 }, { SOL_RDMA, RDMA_RQSIZE, 2000 } },
	{ { SOL_SOCKET, SO_RCVBUF, 2 * MIB }, { SOL_SOCKET, SO_SNDBUF, 2 * MIB } },
	{ { SOL_RDMA, RDMA_RQSIZE, 16 }, { SOL_RDMA, RDMA_SQSIZE, 16 }, { SOL_RDMA, RDMA_INLINE, 0 },
	  { SOL_SOCKET, SO_RCVBUF, 4096 }, { SOL_SOCKET, SO_SNDBUF, 4096 } },
};

static void pass_through_room(const struct option *a, const struct option *b, int seed)
{
	struct stream ab = { .seed = seed, .bytes = 400000, .ragged = true };
	struct stream ba = { .seed = ~seed, .bytes = 50000, .send_piece = 500, .ragged = true };

	stream_both_ways(pair_with(AF_INET, a, b), &ab, &ba);
}

START_TEST(any_room_at_the_connecting_side_will_do)
{
	pass_through_room(rooms[_i], NO_OPTIONS, _i);
}
END_TEST

START_TEST(any_room_at_the_accepting_side_will_do)
{
	pass_through_room(NO_OPTIONS, rooms[_i], _i);
}
END_TEST

START_TEST(any_room_at_both_sides_will_do)
{
	pass_through_room(rooms[_i], rooms[_i], _i);
}
END_TEST

static const int inline_limits[] = { 0, 1, 15, 16, 17, 64, 128, 200 };

START_TEST(inline_limit_does_not_change_what_arrives)
{
	const struct option *limit = OPTIONS({ SOL_RDMA, RDMA_INLINE, inline_limits[_i] });
	struct pair p = pair_with(AF_INET, limit, limit);

	for (size_t size = 1; size < 300; size++) {
		struct stream s = { .seed = size, .bytes = size, .send_piece = size };

		stream_send(p.a, &s);
		stream_take(p.b, &s);
	}
}
END_TEST

START_TEST(random_traffic_in_random_room_arrives)
{
	struct dice d = { 1000 + _i };
	struct option options[2][5];
	struct stream way[2];

	for (int side = 0; side < 2; side++) {
		struct option some[5] = {
			{ SOL_RDMA, RDMA_RQSIZE, roll(&d, 16, 100) },
			{ SOL_RDMA, RDMA_SQSIZE, roll(&d, 16, 100) },
			{ SOL_SOCKET, SO_RCVBUF, roll(&d, 4096, 50000) },
			{ SOL_SOCKET, SO_SNDBUF, roll(&d, 4096, 50000) },
			{ 0, 0, 0 },
		};

		memcpy(options[side], some, sizeof(some));
		way[side] = (struct stream){
			.seed = roll(&d, 0, UINT32_MAX), .bytes = roll(&d, 100000, 500000),
			.send_piece = roll(&d, 200, 100000), .take_piece = roll(&d, 200, 100000),
			.ragged = true,
		};
	}
	stream_both_ways(pair_with(AF_INET, options[0], options[1]), &way[0], &way[1]);
}
END_TEST

/* -- IPv6 -------------------------------------------------------------------------------------- */

START_TEST(ipv6_carries_both_directions)
{
	struct stream ab = { .seed = 21, .bytes = 2 * MIB };
	struct stream ba = { .seed = 22, .bytes = MIB, .ragged = true };

	stream_both_ways(pair_with(AF_INET6, NO_OPTIONS, NO_OPTIONS), &ab, &ba);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transfer");
	TCase *tc;

	tc = group(s, "sizes", 300);
	tcase_add_loop_test(tc, first_send_of_any_size_arrives_whole, 0, COUNT(sizes));
	tcase_add_test(tc, sends_of_all_sizes_follow_each_other);
	tcase_add_test(tc, sixty_four_mebibytes_arrive_intact);
	tcase_add_test(tc, both_directions_carry_data_at_once);

	tc = group(s, "calls", 200);
	tcase_add_loop_test(tc, every_send_call_sends_the_same_bytes, 0, COUNT(send_ways));
	tcase_add_loop_test(tc, every_receive_call_takes_the_same_bytes, 0, COUNT(take_ways));
	tcase_add_test(tc, gathered_and_scattered_through_a_narrow_pair);
	tcase_add_test(tc, iov_max_vectors_of_one_byte_are_one_send);
	tcase_add_test(tc, peeking_leaves_the_bytes_where_they_are);
	tcase_add_test(tc, waitall_gathers_what_was_sent_in_pieces);
	tcase_add_test(tc, waitall_returns_less_at_end_of_file);
	tcase_add_test(tc, waitall_without_waiting_takes_what_is_there);
	tcase_add_test(tc, peek_waits_for_all_when_asked_to);
	tcase_add_test(tc, peek_may_begin_before_there_is_a_connection);
	tcase_add_test(tc, peek_ends_with_what_the_buffer_holds);
	tcase_add_test(tc, truncated_bytes_are_dropped_unread);
	tcase_add_test(tc, many_bytes_can_be_dropped);
	tcase_add_test(tc, recvfrom_tells_who_sent);
	tcase_add_test(tc, recvmsg_clears_what_a_stream_does_not_have);

	tc = group(s, "pace", 200);
	tcase_add_test(tc, reader_of_single_bytes_gets_them_all);
	tcase_add_test(tc, reader_of_small_pieces_gets_them_all);
	tcase_add_test(tc, writer_of_small_pieces_reaches_reader_of_large_ones);
	tcase_add_test(tc, reader_that_pauses_until_the_sender_is_stuck_loses_nothing);
	tcase_add_test(tc, sender_fills_the_peers_buffer_before_anybody_looks_at_it);
	tcase_add_test(tc, question_and_answer_take_turns);
	tcase_add_test(tc, record_is_received_in_one_piece);
	tcase_add_test(tc, bytes_that_end_with_their_segment_are_received_in_the_end);

	tc = group(s, "many messages", 300);
	tcase_add_test(tc, more_messages_than_a_counter_holds_arrive_in_order);
	tcase_add_test(tc, messages_of_one_byte_pass_a_window_of_sixteen);

	tc = group(s, "room", 200);
	tcase_add_loop_test(tc, any_room_at_the_connecting_side_will_do, 0, COUNT(rooms));
	tcase_add_loop_test(tc, any_room_at_the_accepting_side_will_do, 0, COUNT(rooms));
	tcase_add_loop_test(tc, any_room_at_both_sides_will_do, 0, COUNT(rooms));
	tcase_add_loop_test(tc, inline_limit_does_not_change_what_arrives, 0, COUNT(inline_limits));
	tcase_add_loop_test(tc, random_traffic_in_random_room_arrives, 0, 8);

	if (have_family(AF_INET6)) {
		tc = group(s, "IPv6", 100);
		tcase_add_test(tc, ipv6_carries_both_directions);
	}
	return run_suite(s);
}
