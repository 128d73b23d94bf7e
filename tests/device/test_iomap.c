/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Mappings: bytes arrive where the owner of the memory said, and nowhere else; a mapping ends where its
 * memory ends, and when its owner says so; and no number of them starves the stream beside them.
 *
 * In a pair, b owns the memory and a writes to it, unless a test says otherwise. A message from one to the
 * other is what makes a mapping, or what was written, known.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rawpeer.h"
#include "stream.h"
#include "task.h"

#define TABLE(n) OPTIONS({ SOL_RDMA, RDMA_IOMAPSIZE, (n) })

static struct pair pair_mapping(int entries)
{
	return pair_with(AF_INET, TABLE(entries), NO_OPTIONS);
}

/* What @from did before, @to sees behind it. */
static void tell(int from, int to)
{
	char byte = '!';

	ck_assert_int_eq(rsk_send(from, &byte, 1, 0), 1);
	ck_assert_int_eq(rsk_recv(to, &byte, 1, 0), 1);
}

static void map_at(struct pair p, void *buf, size_t len, off_t offset)
{
	off_t got = rsk_iomap(p.b, buf, len, PROT_WRITE, 0, offset);

	ck_assert_msg(got == offset, "rsk_iomap: %s", got == -1 ? strerror(errno) : "another offset");
	tell(p.b, p.a);
}

static void unmap(struct pair p, void *buf, size_t len)
{
	OK(rsk_iounmap(p.b, buf, len));
	tell(p.b, p.a);
}

static void write_all(int fd, const void *buf, size_t len, off_t offset)
{
	ssize_t n = rsk_iowrite(fd, buf, len, offset, 0);

	ck_assert_msg(n == (ssize_t)len, "rsk_iowrite of %zu bytes returned %zd (%s)", len, n,
		      n < 0 ? strerror(errno) : "short");
}

static uint8_t *zeros(size_t len)
{
	uint8_t *bytes = calloc(1, len);

	ck_assert_ptr_nonnull(bytes);
	return bytes;
}

static uint8_t *pattern(size_t len, uint64_t seed)
{
	uint8_t *bytes = zeros(len);

	pattern_fill(bytes, len, seed, 0);
	return bytes;
}

static void check_untouched(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ck_assert_msg(!bytes[i], "byte %zu is %#x", i, bytes[i]);
}

/* -- where bytes go ---------------------------------------------------------------------------- */

static const size_t sizes[] = { 1, 63, 64, 65, 4095, 4096, 65535, 65536, 65537, 300001, 1 << 20 };

START_TEST(bytes_arrive_at_their_offset_and_nowhere_else)
{
	struct pair p = pair_mapping(1);
	size_t len = sizes[_i], before = 37, after = 41;
	uint8_t *memory = zeros(before + len + after), *bytes = pattern(len, len);

	map_at(p, memory, before + len + after, 1000);
	write_all(p.a, bytes, len, 1000 + (off_t)before);
	memset(bytes, 0xff, len);    /* it is the caller's again */
	tell(p.a, p.b);
	check_untouched(memory, before);
	pattern_check(memory + before, len, len, 0);
	check_untouched(memory + before + len, after);
	pair_close(p);
	free(memory);
	free(bytes);
}
END_TEST

START_TEST(either_end_may_own_the_memory)
{
	struct pair p = pair_with(AF_INET, TABLE(1), TABLE(1)), reverse = { p.b, p.a };
	uint8_t of_a[100] = { 0 }, of_b[100] = { 0 }, *bytes = pattern(100, 7);

	map_at(p, of_b, sizeof(of_b), 0);
	map_at(reverse, of_a, sizeof(of_a), 0);
	write_all(p.a, bytes, 100, 0);
	tell(p.a, p.b);
	pattern_check(of_b, 100, 7, 0);
	check_untouched(of_a, sizeof(of_a));
	write_all(p.b, bytes, 100, 0);
	tell(p.b, p.a);
	pattern_check(of_a, 100, 7, 0);
	pair_close(p);
	free(bytes);
}
END_TEST

START_TEST(offset_may_be_the_address)
{
	struct pair p = pair_mapping(1);
	uint8_t memory[10] = { 0 };
	off_t at = rsk_iomap(p.b, memory, sizeof(memory), PROT_WRITE, 0, -1);

	ck_assert_int_eq(at, (off_t)(uintptr_t)memory);
	tell(p.b, p.a);
	write_all(p.a, "hello", 5, at + 5);
	tell(p.a, p.b);
	check_untouched(memory, 5);
	ck_assert_mem_eq(memory + 5, "hello", 5);
	pair_close(p);
}
END_TEST

START_TEST(largest_offset_is_reached)
{
	struct pair p = pair_mapping(1);
	uint8_t memory[10] = { 0 };

	map_at(p, memory, sizeof(memory), INT64_MAX - 9);
	write_all(p.a, "x", 1, INT64_MAX);
	tell(p.a, p.b);
	ck_assert_uint_eq(memory[9], 'x');
	pair_close(p);
}
END_TEST

START_TEST(write_stops_exactly_where_the_mapping_ends)
{
	struct pair p = pair_mapping(1);
	size_t len = sizes[_i];
	uint8_t *memory = zeros(len + 1), *bytes = pattern(len + 1, 3);

	map_at(p, memory, len, 5000);
	write_all(p.a, bytes, len, 5000);
	ck_assert_int_eq(rsk_iowrite(p.a, bytes, len + 1, 5000, 0), len);
	ck_assert_int_eq(rsk_iowrite(p.a, bytes, len + 1, 5000 + (off_t)len - 1, 0), 1);
	FAILS(rsk_iowrite(p.a, bytes, 1, 5000 + (off_t)len, 0), ENXIO);
	FAILS(rsk_iowrite(p.a, bytes, 1, 4999, 0), ENXIO);
	check_says(p.a, "ENXIO");
	tell(p.a, p.b);
	pattern_check(memory, len - 1, 3, 0);
	ck_assert_uint_eq(memory[len - 1], bytes[0]);
	ck_assert_uint_eq(memory[len], 0);
	pair_close(p);
	free(memory);
	free(bytes);
}
END_TEST

START_TEST(one_write_may_cross_mappings_that_touch)
{
	enum { PART = 3000, PARTS = 5 };
	struct pair p = pair_mapping(PARTS);
	uint8_t *memory = zeros(PART * PARTS), *bytes = pattern(PART * PARTS, 9);

	/* Backwards, so that neither their order in the table nor that in memory is that of offsets. */
	for (int i = 0; i < PARTS; i++)
		map_at(p, memory + i * PART, PART, (off_t)(PARTS - 1 - i) * PART);
	write_all(p.a, bytes, PART * PARTS, 0);
	tell(p.a, p.b);
	for (int i = 0; i < PARTS; i++)
		pattern_check(memory + i * PART, PART, 9, (uint64_t)(PARTS - 1 - i) * PART);
	pair_close(p);
	free(memory);
	free(bytes);
}
END_TEST

START_TEST(write_without_any_mapping_goes_nowhere)
{
	struct pair p = pair_mapping(4);

	FAILS(rsk_iowrite(p.a, "x", 1, 0, 0), ENXIO);
	FAILS(rsk_iowrite(p.b, "x", 1, 0, 0), ENXIO);
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

START_TEST(entry_goes_out_without_inline_sends)
{
	const struct option *bare = OPTIONS({ SOL_RDMA, RDMA_INLINE, 0 }, { SOL_RDMA, RDMA_IOMAPSIZE, 20 });
	struct pair p = pair_with(AF_INET, bare, bare);
	uint8_t *memory = zeros(20 * 100), *bytes = pattern(100, 4);

	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(rsk_iomap(p.b, memory + 100 * i, 100, PROT_WRITE, 0, 1000 * i), 1000 * i);
	tell(p.b, p.a);
	for (int i = 0; i < 20; i++)
		write_all(p.a, bytes, 100, 1000 * i);
	tell(p.a, p.b);
	for (int i = 0; i < 20; i++)
		pattern_check(memory + 100 * i, 100, 4, 0);
	pair_close(p);
	free(memory);
	free(bytes);
}
END_TEST

/* -- the table --------------------------------------------------------------------------------- */

START_TEST(table_holds_as_many_as_the_writer_said)
{
	struct pair p = pair_mapping(3);
	uint8_t memory[4][8] = { { 0 } };

	for (int i = 0; i < 3; i++)
		map_at(p, memory[i], sizeof(memory[i]), 100 * i);
	FAILS(rsk_iomap(p.b, memory[3], sizeof(memory[3]), PROT_WRITE, 0, 300), ENOMEM);
	check_says(p.b, "table");
	unmap(p, memory[1], sizeof(memory[1]));
	map_at(p, memory[3], sizeof(memory[3]), 300);
	FAILS(rsk_iomap(p.b, memory[1], sizeof(memory[1]), PROT_WRITE, 0, 100), ENOMEM);
	for (int i = 0; i < 4; i++) {
		if (i == 1)
			FAILS(rsk_iowrite(p.a, "x", 1, 100 * i, 0), ENXIO);
		else
			write_all(p.a, &"abcd"[i], 1, 100 * i);
	}
	tell(p.a, p.b);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(memory[i][0], i == 1 ? 0 : "abcd"[i]);
	pair_close(p);
}
END_TEST

START_TEST(nobody_maps_to_a_peer_that_has_no_table)
{
	struct pair p = pair_connected();
	uint8_t memory[8];

	FAILS(rsk_iomap(p.a, memory, sizeof(memory), PROT_WRITE, 0, 0), ENOMEM);
	FAILS(rsk_iomap(p.b, memory, sizeof(memory), PROT_WRITE, 0, 0), ENOMEM);
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

START_TEST(mapping_for_nobody_takes_no_entry)
{
	struct pair p = pair_mapping(1);
	uint8_t kept[8] = { 0 }, memory[8];

	ck_assert_int_eq(rsk_iomap(p.b, kept, sizeof(kept), PROT_NONE, 0, 0), 0);
	FAILS(rsk_iowrite(p.a, "x", 1, 0, 0), ENXIO);
	map_at(p, memory, sizeof(memory), 100);
	OK(rsk_iounmap(p.b, kept, sizeof(kept)));
	FAILS(rsk_iounmap(p.b, kept, sizeof(kept)), EINVAL);
	write_all(p.a, "x", 1, 100);
	pair_close(p);
	check_untouched(kept, sizeof(kept));
}
END_TEST

START_TEST(table_may_be_large)
{
	enum { MAPPINGS = 300, LEN = 16 };
	const struct option *large = OPTIONS({ SOL_RDMA, RDMA_IOMAPSIZE, MAPPINGS },
					     { SOL_RDMA, RDMA_RQSIZE, 2048 });
	struct pair p = pair_with(AF_INET, large, NO_OPTIONS);
	uint8_t *memory = zeros(MAPPINGS * LEN);

	ck_assert_int_eq(get_option(p.a, SOL_RDMA, RDMA_IOMAPSIZE), 512);
	for (int i = 0; i < MAPPINGS; i++)
		ck_assert_int_eq(rsk_iomap(p.b, memory + i * LEN, LEN, PROT_WRITE, 0, i * 100), i * 100);
	tell(p.b, p.a);
	for (int i = 0; i < MAPPINGS; i++)
		write_all(p.a, &i, sizeof(i), i * 100);
	tell(p.a, p.b);
	for (int i = 0; i < MAPPINGS; i++)
		ck_assert_mem_eq(memory + i * LEN, &i, sizeof(i));
	pair_close(p);
	free(memory);
}
END_TEST

/* -- the end of a mapping ---------------------------------------------------------------------- */

START_TEST(peer_learns_that_a_mapping_has_ended)
{
	struct pair p = pair_mapping(2);
	uint8_t gone[8] = { 0 }, stays[8] = { 0 };

	map_at(p, gone, sizeof(gone), 0);
	map_at(p, stays, sizeof(stays), 100);
	unmap(p, gone, sizeof(gone));
	FAILS(rsk_iowrite(p.a, "x", 1, 0, 0), ENXIO);
	write_all(p.a, "x", 1, 100);
	tell(p.a, p.b);
	check_untouched(gone, sizeof(gone));
	ck_assert_uint_eq(stays[0], 'x');
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

START_TEST(memory_may_be_mapped_again_elsewhere)
{
	struct pair p = pair_mapping(1);
	uint8_t memory[8] = { 0 };

	for (int i = 0; i < 20; i++) {
		map_at(p, memory, sizeof(memory), 100 * i);
		if (i)
			FAILS(rsk_iowrite(p.a, "x", 1, 100 * (i - 1), 0), ENXIO);
		write_all(p.a, &i, sizeof(i), 100 * i);
		tell(p.a, p.b);
		ck_assert_mem_eq(memory, &i, sizeof(i));
		unmap(p, memory, sizeof(memory));
	}
	pair_close(p);
}
END_TEST

struct writer {
	int fd;
	size_t len;
	off_t offset;
	ssize_t ret;
	int error;
	uint64_t written;
	struct task task;
};

/* Writes until it fails; the peer can tell by a byte when the first has arrived. */
static void write_on_and_on(void *arg)
{
	struct writer *w = arg;
	uint8_t *bytes = pattern(w->len, 1);

	write_all(w->fd, bytes, w->len, w->offset);
	ck_assert_int_eq(rsk_send(w->fd, "!", 1, 0), 1);
	do {
		w->ret = rsk_iowrite(w->fd, bytes, w->len, w->offset, MSG_NOSIGNAL);
		if (w->ret > 0)
			w->written += (uint64_t)w->ret;
	} while (w->ret > 0);
	w->error = errno;
	free(bytes);
}

static void wait_for_write(int fd)
{
	char byte;

	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), 1);
}

/* What was posted before it heard of the end meets memory that is not there: that ends the connection, and
 * neither a call nor the process hangs. What it posts later is refused by itself. */
START_TEST(unmapping_under_a_writer_ends_its_writes)
{
	enum { LEN = 100000 };
	struct pair p = pair_mapping(1);
	uint8_t *memory = zeros(LEN), copy;
	struct writer w = { .fd = p.a, .len = LEN };

	map_at(p, memory, LEN, 0);
	task_start(&w.task, write_on_and_on, &w);
	wait_for_write(p.b);
	OK(rsk_iounmap(p.b, memory, LEN));
	memset(memory, 0, LEN);
	task_join(&w.task);
	ck_assert_msg(w.error == ENXIO || w.error == ECONNRESET, "%s", strerror(w.error));
	check_untouched(memory, LEN);
	if (w.error == ECONNRESET)
		FAILS(rsk_recv(p.b, &copy, 1, 0), ECONNRESET);
	OK(rsk_close(p.a));
	OK(rsk_close(p.b));
	free(memory);
}
END_TEST

START_TEST(close_ends_all_mappings_at_once)
{
	enum { LEN = 100000, MAPPINGS = 10 };
	struct pair p = pair_mapping(MAPPINGS);
	struct writer w = { .fd = p.a, .len = LEN };
	uint8_t *memory = mmap(NULL, LEN * MAPPINGS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	for (int i = 0; i < MAPPINGS; i++)
		map_at(p, memory + i * LEN, LEN, i * LEN);
	task_start(&w.task, write_on_and_on, &w);
	wait_for_write(p.b);
	OK(rsk_close(p.b));
	memset(memory, 0, LEN * MAPPINGS);
	task_join(&w.task);
	ck_assert_msg(w.error == EPIPE || w.error == ECONNRESET, "%s", strerror(w.error));
	check_untouched(memory, LEN * MAPPINGS);
	munmap(memory, LEN * MAPPINGS);
	OK(rsk_close(p.a));
	pair_close(pair_connected());
}
END_TEST

START_TEST(mappings_of_a_failed_connection_can_be_ended)
{
	struct pair p = pair_mapping(1);
	uint8_t memory[8] = { 0 };
	char byte;

	map_at(p, memory, sizeof(memory), 0);
	OK(rsk_close(p.a));
	ck_assert_int_eq(rsk_recv(p.b, &byte, 1, 0), 0);
	FAILS(rsk_iomap(p.b, &byte, 1, PROT_WRITE, 0, 100), EPIPE);
	OK(rsk_iounmap(p.b, memory, sizeof(memory)));
	FAILS(rsk_iounmap(p.b, memory, sizeof(memory)), EINVAL);
	OK(rsk_close(p.b));
}
END_TEST

/* -- beside the stream ------------------------------------------------------------------------- */

START_TEST(mappings_do_not_use_up_credits)
{
	const struct option *few = OPTIONS({ SOL_RDMA, RDMA_RQSIZE, 16 }, { SOL_RDMA, RDMA_IOMAPSIZE, 2 });
	const struct stream bytes = { .seed = 5, .bytes = 100000, .send_piece = 100 };
	struct pair p = pair_with(AF_INET, few, few);
	uint8_t memory[8];

	for (int i = 0; i < 200; i++) {
		map_at(p, memory, sizeof(memory), i);
		unmap(p, memory, sizeof(memory));
		tell(p.a, p.b);
	}
	stream_pass(p.b, p.a, &bytes);
	stream_pass(p.a, p.b, &bytes);
	pair_close(p);
}
END_TEST

START_TEST(peer_that_makes_no_call_bounds_mappings_but_blocks_nobody)
{
	struct pair p = pair_mapping(1);
	uint8_t memory[8];
	int done = 0;

	while (rsk_iomap(p.b, memory, sizeof(memory), PROT_WRITE, 0, 0) == 0) {
		OK(rsk_iounmap(p.b, memory, sizeof(memory)));
		ck_assert_int_lt(++done, 384);
	}
	ck_assert_int_eq(errno, ENOBUFS);
	ck_assert_int_ge(done, 384 / 4);
	check_says(p.b, "credits");
	tell(p.b, p.a);
	/* Now it has looked, and what it returns is on its way. */
	tell(p.a, p.b);
	map_at(p, memory, sizeof(memory), 0);
	write_all(p.a, "x", 1, 0);
	pair_close(p);
}
END_TEST

START_TEST(write_needs_nobody_to_receive)
{
	struct pair p = pair_with(AF_INET,
		OPTIONS({ SOL_SOCKET, SO_SNDBUF, 8192 }, { SOL_RDMA, RDMA_IOMAPSIZE, 1 }),
		OPTIONS({ SOL_SOCKET, SO_RCVBUF, 8192 }));
	uint8_t *memory = zeros(50000), *bytes = pattern(50000, 6);
	struct stream stream = { .seed = 8 };

	map_at(p, memory, 50000, 0);
	stream.bytes = fill_send_side(p.a, 8);
	FAILS(rsk_send(p.a, "x", 1, MSG_DONTWAIT), EAGAIN);
	write_all(p.a, bytes, 50000, 0);
	stream_take(p.b, &stream);
	tell(p.a, p.b);
	pattern_check(memory, 50000, 6, 0);
	pair_close(p);
	free(memory);
	free(bytes);
}
END_TEST

START_TEST(write_that_may_not_wait_takes_what_there_is_room_for)
{
	enum { LEN = 4 * MIB };
	struct pair p = pair_with(AF_INET,
		OPTIONS({ SOL_SOCKET, SO_SNDBUF, 8192 }, { SOL_RDMA, RDMA_IOMAPSIZE, 1 }), NO_OPTIONS);
	uint8_t *memory = zeros(LEN), *bytes = pattern(LEN, 2);
	size_t done = 0;

	map_at(p, memory, LEN, 0);
	if (_i)
		set_nonblocking(p.a, true);
	while (done < LEN) {
		ssize_t n = rsk_iowrite(p.a, bytes + done, LEN - done, (off_t)done, _i ? 0 : MSG_DONTWAIT);

		ck_assert_int_ne(n, 0);
		if (n < 0) {
			FAILS(n, EAGAIN);
			wait_for(p.a, POLLOUT);
		} else {
			done += (size_t)n;
		}
	}
	set_nonblocking(p.a, false);
	tell(p.a, p.b);
	pattern_check(memory, LEN, 2, 0);
	pair_close(p);
	free(memory);
	free(bytes);
}
END_TEST

struct part {
	struct pair pair;
	uint8_t *memory;
	size_t len;
	uint64_t seed;
	struct task task;
};

static void write_part(void *arg)
{
	const struct part *part = arg;
	uint8_t *bytes = pattern(part->len, part->seed);
	struct dice d = { part->seed };

	for (size_t done = 0, n; done < part->len; done += n) {
		n = roll(&d, 1, 9000);
		if (n > part->len - done)
			n = part->len - done;
		write_all(part->pair.a, bytes + done, n, (off_t)(uintptr_t)(part->memory + done));
	}
	free(bytes);
}

START_TEST(threads_may_write_and_send_at_the_same_time)
{
	const struct stream ab = { .seed = 1, .bytes = 500000, .ragged = true };
	const struct stream ba = { .seed = 2, .bytes = 500000, .ragged = true };
	struct part parts[3];
	struct pair p = pair_mapping(COUNT(parts));

	for (size_t i = 0; i < COUNT(parts); i++) {
		parts[i] = (struct part){ .pair = p, .len = 400000, .seed = 10 + i };
		parts[i].memory = zeros(parts[i].len);
		ck_assert_int_ne(rsk_iomap(p.b, parts[i].memory, parts[i].len, PROT_WRITE, 0, -1), -1);
	}
	tell(p.b, p.a);
	for (size_t i = 0; i < COUNT(parts); i++)
		task_start(&parts[i].task, write_part, &parts[i]);
	stream_both_ways(p, &ab, &ba);
	for (size_t i = 0; i < COUNT(parts); i++)
		task_join(&parts[i].task);
	tell(p.a, p.b);
	for (size_t i = 0; i < COUNT(parts); i++) {
		pattern_check(parts[i].memory, parts[i].len, parts[i].seed, 0);
		OK(rsk_iounmap(p.b, parts[i].memory, parts[i].len));
		free(parts[i].memory);
	}
	pair_close(p);
}
END_TEST

static void map_and_unmap(void *arg)
{
	const struct part *part = arg;

	for (int i = 0; i < 50; i++) {
		off_t got = rsk_iomap(part->pair.b, part->memory, part->len, PROT_WRITE, 0, -1);

		/* Whoever sends beside it gets the peer to look. */
		if (got == -1)
			ck_assert_msg(errno == ENOBUFS, "rsk_iomap: %s", strerror(errno));
		else
			OK(rsk_iounmap(part->pair.b, part->memory, part->len));
	}
}

START_TEST(threads_may_map_and_send_at_the_same_time)
{
	const struct stream ba = { .seed = 3, .bytes = 500000, .ragged = true };
	struct part parts[3];
	struct pair p = pair_mapping(COUNT(parts));

	for (size_t i = 0; i < COUNT(parts); i++) {
		parts[i] = (struct part){ .pair = p, .len = 5000 };
		parts[i].memory = zeros(parts[i].len);
		task_start(&parts[i].task, map_and_unmap, &parts[i]);
	}
	stream_pass(p.b, p.a, &ba);
	for (size_t i = 0; i < COUNT(parts); i++) {
		task_join(&parts[i].task);
		free(parts[i].memory);
	}
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

/* -- a peer that breaks the rules, or keeps to its own -------------------------------------------- */

#define MSG_DATA(n) (0x00000000u | (n))
#define MSG_CREDIT(limit) (0x80000000u | (limit))
#define MSG_MAPPING(index) (0xc0000000u | (index))
#define MSG_SHUTDOWN 0xe0000002u

/* A connection to a raw peer. */
static int raw_owner(struct raw *r, const struct option *options, const struct flaw *flaw)
{
	int listening = listener_with(AF_INET, options, 1), fd;
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

#define TABLE_OF_4 OPTIONS({ SOL_RDMA, RDMA_IOMAPSIZE, 4 }, { SOL_RDMA, RDMA_RQSIZE, 16 })

/* What it was written before this message is there now. */
static void raw_await(struct raw *r, uint32_t message)
{
	while (raw_message(r) != message)
		;
}

START_TEST(mapping_of_a_raw_peer_is_written_to)
{
	struct raw r;
	int fd = raw_owner(&r, TABLE_OF_4, NULL);
	uint64_t addr = (uintptr_t)raw_mapped(&r);

	raw_post_mapping(&r, 3, 1000, addr, 8);
	raw_post(&r, MSG_SHUTDOWN);
	check_end_of_file(fd);
	ck_assert_int_eq(rsk_iowrite(fd, "hello there", 11, 1003, 0), 5);
	ck_assert_int_eq(rsk_send(fd, "!", 1, 0), 1);
	raw_await(&r, MSG_DATA(1));
	ck_assert_mem_eq(raw_mapped(&r), "\0\0\0hello\0", 9);
	/* In place of the first, and the message alone tells it. */
	raw_post_mapping(&r, 3, 2000, addr + 100, 8);
	while (rsk_iowrite(fd, "x", 1, 2000, 0) < 0)
		FAILS(-1, ENXIO);
	FAILS(rsk_iowrite(fd, "x", 1, 1003, 0), ENXIO);
	OK(rsk_close(fd));
}
END_TEST

static const struct {
	const char *name;
	uint32_t index;
	bool entry;                  /* written before the message, as follows */
	uint64_t offset, addr;
	uint32_t length;
} bad_mappings[] = {
	{ .name = "beyond the table", .index = 4 },
	{ .name = "index of 17 bits", .index = 0x10000 },
	{ .name = "largest index", .index = 0x1fffffff },
	{ "offsets that wrap around", 0, true, UINT64_MAX, 4096, 4096 },
	{ "addresses that wrap around", 0, true, 0, UINT64_MAX, 4096 },
};

START_TEST(bad_mapping_fails_the_connection)
{
	struct raw r;
	int fd = raw_owner(&r, TABLE_OF_4, NULL);
	char byte;

	if (bad_mappings[_i].entry)
		raw_post_mapping(&r, bad_mappings[_i].index, bad_mappings[_i].offset,
				 bad_mappings[_i].addr, bad_mappings[_i].length);
	else
		raw_post(&r, MSG_MAPPING(bad_mappings[_i].index));
	ck_assert_msg(rsk_recv(fd, &byte, 1, 0) == -1 && errno == EPROTO, "%s: %s",
		      bad_mappings[_i].name, strerror(errno));
	FAILS(rsk_iowrite(fd, "x", 1, 0, MSG_NOSIGNAL), EPIPE);
	pair_close(pair_connected());
}
END_TEST

START_TEST(mapping_costs_a_credit)
{
	struct raw r;
	int fd = raw_owner(&r, TABLE_OF_4, NULL);
	char byte;

	/* One more than there are, with nobody looking meanwhile. */
	for (int i = 0; i < 17; i++)
		raw_post_mapping(&r, 0, 0, 4096, 1);
	raw_sync(&r);
	FAILS(rsk_recv(fd, &byte, 1, 0), EPROTO);
}
END_TEST

START_TEST(write_to_a_mapping_that_is_not_there_fails_this_connection)
{
	struct raw r;
	int fd = raw_owner(&r, TABLE_OF_4, NULL);
	char byte;

	raw_post_mapping(&r, 0, 0, 4096, 100); /* nobody's memory */
	raw_post_data(&r, MSG_DATA(5), "hello", 5);
	ck_assert_int_eq(rsk_recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(rsk_iowrite(fd, "x", 1, 50, 0), 1);
	while (rsk_recv(fd, &byte, 1, 0) == 1)
		;
	ck_assert_int_eq(errno, ECONNRESET);
	pair_close(pair_connected());
}
END_TEST

START_TEST(peer_without_mappings_is_offered_none)
{
	static const struct flaw no_flag = { .offset = GREETING_FLAGS, .size = 1, .value = 0 };
	struct raw r;
	int fd = raw_owner(&r, NO_OPTIONS, &no_flag);
	char memory[8];

	FAILS(rsk_iomap(fd, memory, sizeof(memory), PROT_WRITE, 0, 0), ENOMEM);
}
END_TEST

/* As rsockets: what mappings cost never comes back. The other half of the credits is for data. */
START_TEST(peer_that_keeps_the_credits_of_mappings_gets_fewer_of_them)
{
	struct raw r;
	int fd = raw_owner(&r, NO_OPTIONS, NULL), sent = 0, mapped = 0;
	char memory[8];

	while (rsk_iomap(fd, memory, sizeof(memory), PROT_WRITE, 0, 100) == 100) {
		OK(rsk_iounmap(fd, memory, sizeof(memory)));
		ck_assert_int_lt(++mapped, RAW_CREDITS);
	}
	ck_assert_int_eq(errno, ENOBUFS);
	ck_assert_int_ge(mapped, RAW_CREDITS / 4);
	while (rsk_send(fd, "x", 1, MSG_DONTWAIT) == 1)
		sent++;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_ge(sent, RAW_CREDITS / 2);
	/* What comes back for more than the data. */
	raw_post(&r, MSG_CREDIT(2 * RAW_CREDITS));
	while (rsk_iomap(fd, memory, sizeof(memory), PROT_WRITE, 0, 0) < 0)
		FAILS(-1, ENOBUFS);
}
END_TEST

START_TEST(mapping_is_written_to_the_table_behind_the_list)
{
	struct raw r;
	int fd = raw_owner(&r, NO_OPTIONS, NULL);
	const volatile struct raw_mapping *first = raw_table(&r, 0), *second = raw_table(&r, 1);
	char memory[2][8];

	ck_assert_int_eq(rsk_iomap(fd, memory[0], 8, PROT_WRITE, 0, 100), 100);
	ck_assert_int_eq(rsk_iomap(fd, memory[1], 7, PROT_WRITE, 0, 200), 200);
	raw_await(&r, MSG_MAPPING(1));
	ck_assert_uint_eq(first->offset, 100);
	ck_assert_uint_eq(first->addr, (uintptr_t)memory[0]);
	ck_assert_uint_ne(first->key, 0);
	ck_assert_uint_eq(first->length, 8);
	ck_assert_uint_eq(second->offset, 200);
	ck_assert_uint_eq(second->addr, (uintptr_t)memory[1]);
	/* Its end is an empty one. */
	OK(rsk_iounmap(fd, memory[1], 7));
	raw_await(&r, MSG_MAPPING(1));
	ck_assert_uint_eq(second->length, 0);
}
END_TEST

/* -- misuse ------------------------------------------------------------------------------------ */

START_TEST(what_makes_no_sense_is_refused)
{
	struct pair p = pair_mapping(4);
	uint8_t memory[8];

	FAILS(rsk_iomap(-1, memory, 8, PROT_WRITE, 0, 0), EBADF);
	FAILS(rsk_iounmap(-1, memory, 8), EBADF);
	FAILS(rsk_iowrite(-1, memory, 8, 0, 0), EBADF);
	FAILS(rsk_iomap(STDIN_FILENO, memory, 8, PROT_WRITE, 0, 0), EBADF);

	FAILS(rsk_iomap(p.b, NULL, 8, PROT_WRITE, 0, 0), EFAULT);
	FAILS(rsk_iomap(p.b, memory, 0, PROT_WRITE, 0, 0), EINVAL);
	FAILS(rsk_iomap(p.b, memory, UINT32_MAX + UINT64_C(1), PROT_WRITE, 0, 0), EINVAL);
	FAILS(rsk_iomap(p.b, memory, 8, PROT_READ, 0, 0), EINVAL);
	FAILS(rsk_iomap(p.b, memory, 8, PROT_READ | PROT_WRITE, 0, 0), EINVAL);
	FAILS(rsk_iomap(p.b, memory, 8, PROT_WRITE, 0, -2), EINVAL);
	FAILS(rsk_iomap(p.b, memory, 8, PROT_WRITE, 0, INT64_MIN), EINVAL);

	map_at(p, memory, 8, 0);
	FAILS(rsk_iounmap(p.b, memory, 7), EINVAL);
	FAILS(rsk_iounmap(p.b, memory + 1, 7), EINVAL);
	FAILS(rsk_iounmap(p.a, memory, 8), EINVAL);
	FAILS(rsk_iowrite(p.a, NULL, 8, 0, 0), EFAULT);
	FAILS(rsk_iowrite(p.a, memory, SIZE_MAX, 0, 0), EINVAL);
	FAILS(rsk_iowrite(p.a, memory, 8, -1, 0), EINVAL);
	FAILS(rsk_iowrite(p.a, memory, 8, 0, MSG_OOB), EOPNOTSUPP);
	ck_assert_int_eq(rsk_iowrite(p.a, memory, 0, 0, 0), 0);
	ck_assert_int_eq(rsk_iowrite(p.a, NULL, 0, 777, 0), 0);
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

START_TEST(memory_that_is_not_there_is_not_mapped)
{
	struct pair p = pair_mapping(1);
	long page = sysconf(_SC_PAGESIZE);
	void *hole = mmap(NULL, (size_t)page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(hole, MAP_FAILED);
	munmap(hole, (size_t)page);
	ck_assert_int_eq(rsk_iomap(p.b, hole, (size_t)page, PROT_WRITE, 0, 0), -1);
	ck_assert_int_eq(errno, EFAULT);
	check_connected(p.a, p.b);
	pair_close(p);
}
END_TEST

START_TEST(only_connections_have_mappings)
{
	int fd = socket_with(AF_INET, NO_OPTIONS), listening = listener();
	uint8_t memory[8];

	FAILS(rsk_iomap(fd, memory, 8, PROT_WRITE, 0, 0), ENOTCONN);
	FAILS(rsk_iowrite(fd, memory, 8, 0, 0), ENOTCONN);
	FAILS(rsk_iounmap(fd, memory, 8), EINVAL);
	FAILS(rsk_iomap(listening, memory, 8, PROT_WRITE, 0, 0), ENOTCONN);
	FAILS(rsk_iowrite(listening, memory, 8, 0, 0), ENOTCONN);
	OK(rsk_close(fd));
	OK(rsk_close(listening));
}
END_TEST

START_TEST(nothing_is_mapped_or_written_after_shutdown)
{
	struct pair p = pair_with(AF_INET, TABLE(2), TABLE(2));
	uint8_t memory[8] = { 0 }, other[8];

	map_at(p, memory, sizeof(memory), 0);
	OK(rsk_shutdown(p.a, SHUT_WR));
	OK(rsk_shutdown(p.b, SHUT_WR));
	FAILS(rsk_iowrite(p.a, "x", 1, 0, MSG_NOSIGNAL), EPIPE);
	FAILS(rsk_iomap(p.b, other, sizeof(other), PROT_WRITE, 0, 100), EPIPE);
	OK(rsk_iounmap(p.b, memory, sizeof(memory)));
	count_signal(SIGPIPE, 0);
	FAILS(rsk_iowrite(p.a, "x", 1, 0, 0), EPIPE);
	ck_assert_int_eq(signals_counted(), 1);
	check_end_of_file(p.a);
	check_end_of_file(p.b);
	check_untouched(memory, sizeof(memory));
	pair_close(p);
}
END_TEST

START_TEST(size_of_the_table_is_fixed_once_connected)
{
	struct pair p = pair_mapping(5);
	int more = 6;

	FAILS(rsk_setsockopt(p.a, SOL_RDMA, RDMA_IOMAPSIZE, &more, sizeof(more)), EINVAL);
	ck_assert_int_eq(get_option(p.a, SOL_RDMA, RDMA_IOMAPSIZE), 5);
	pair_close(p);
}
END_TEST

START_TEST(accepted_socket_has_the_table_of_its_listener)
{
	struct pair p = pair_with(AF_INET, NO_OPTIONS, TABLE(1)), reverse = { p.b, p.a };
	uint8_t memory[8] = { 0 };

	map_at(reverse, memory, sizeof(memory), 0);
	write_all(p.b, "x", 1, 0);
	tell(p.b, p.a);
	ck_assert_uint_eq(memory[0], 'x');
	pair_close(p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iomap");
	TCase *tc;

	tc = group(s, "where bytes go", 120);
	tcase_add_loop_test(tc, bytes_arrive_at_their_offset_and_nowhere_else, 0, COUNT(sizes));
	tcase_add_test(tc, either_end_may_own_the_memory);
	tcase_add_test(tc, offset_may_be_the_address);
	tcase_add_test(tc, largest_offset_is_reached);
	tcase_add_loop_test(tc, write_stops_exactly_where_the_mapping_ends, 0, COUNT(sizes));
	tcase_add_test(tc, one_write_may_cross_mappings_that_touch);
	tcase_add_test(tc, write_without_any_mapping_goes_nowhere);
	tcase_add_test(tc, entry_goes_out_without_inline_sends);

	tc = group(s, "the table", 120);
	tcase_add_test(tc, table_holds_as_many_as_the_writer_said);
	tcase_add_test(tc, nobody_maps_to_a_peer_that_has_no_table);
	tcase_add_test(tc, mapping_for_nobody_takes_no_entry);
	tcase_add_test(tc, table_may_be_large);

	tc = group(s, "the end of a mapping", 120);
	tcase_add_test(tc, peer_learns_that_a_mapping_has_ended);
	tcase_add_test(tc, memory_may_be_mapped_again_elsewhere);
	tcase_add_test(tc, unmapping_under_a_writer_ends_its_writes);
	tcase_add_test(tc, close_ends_all_mappings_at_once);
	tcase_add_test(tc, mappings_of_a_failed_connection_can_be_ended);

	tc = group(s, "beside the stream", 300);
	tcase_add_test(tc, mappings_do_not_use_up_credits);
	tcase_add_test(tc, peer_that_makes_no_call_bounds_mappings_but_blocks_nobody);
	tcase_add_test(tc, write_needs_nobody_to_receive);
	tcase_add_loop_test(tc, write_that_may_not_wait_takes_what_there_is_room_for, 0, 2);
	tcase_add_test(tc, threads_may_write_and_send_at_the_same_time);
	tcase_add_test(tc, threads_may_map_and_send_at_the_same_time);

	tc = group(s, "rules", 150);
	tcase_add_test(tc, mapping_of_a_raw_peer_is_written_to);
	tcase_add_loop_test(tc, bad_mapping_fails_the_connection, 0, COUNT(bad_mappings));
	tcase_add_test(tc, mapping_costs_a_credit);
	tcase_add_test(tc, write_to_a_mapping_that_is_not_there_fails_this_connection);
	tcase_add_test(tc, peer_without_mappings_is_offered_none);
	tcase_add_test(tc, peer_that_keeps_the_credits_of_mappings_gets_fewer_of_them);
	tcase_add_test(tc, mapping_is_written_to_the_table_behind_the_list);

	tc = group(s, "misuse", 120);
	tcase_add_test(tc, what_makes_no_sense_is_refused);
	tcase_add_test(tc, memory_that_is_not_there_is_not_mapped);
	tcase_add_test(tc, only_connections_have_mappings);
	tcase_add_test(tc, nothing_is_mapped_or_written_after_shutdown);
	tcase_add_test(tc, size_of_the_table_is_fixed_once_connected);
	tcase_add_test(tc, accepted_socket_has_the_table_of_its_listener);
	return run_suite(s);
}
