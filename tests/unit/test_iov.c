/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The cursor over a list of buffers: it meets every byte once and in order, however the bytes are
 * cut into buffers and wherever empty buffers stand.
 *
 * Each buffer of these tests is memory of its own, of exactly its size, and empty ones are NULL, so
 * that a sanitizer sees every step outside.
 */
#include "iov.h"

#include <stdbool.h>

#include "unit.h"

enum { BUFFERS_MAX = 12, BUFFER_MAX = 9, BYTES_MAX = BUFFERS_MAX * BUFFER_MAX };

struct buffers {
	struct iovec iov[BUFFERS_MAX];
	int count;
	size_t bytes;
};

static void add_buffer(struct buffers *b, size_t len)
{
	uint8_t *base = len ? malloc(len) : NULL;

	for (size_t i = 0; i < len; i++)
		base[i] = (uint8_t)(b->bytes + i + 1);
	b->iov[b->count++] = (struct iovec){ base, len };
	b->bytes += len;
}

static void free_buffers(struct buffers *b)
{
	for (int i = 0; i < b->count; i++)
		free(b->iov[i].iov_base);
}

static struct rsk_cursor cursor(const struct buffers *b)
{
	return (struct rsk_cursor){ .iov = b->iov, .total = b->bytes };
}

/* The byte at a place of the whole: 1, 2, 3... */
static uint8_t *byte_at(const struct buffers *b, size_t place)
{
	const struct iovec *iov = b->iov;

	while (place >= iov->iov_len)
		place -= iov++->iov_len;
	return (uint8_t *)iov->iov_base + place;
}

/* -- cuts -------------------------------------------------------------------------------------- */

/* Lengths of buffers, up to -1. */
static const struct {
	const char *name;
	int lens[BUFFERS_MAX + 1];
} cuts[] = {
	{ "one buffer", { 8, -1 } },
	{ "several", { 3, 1, 4, -1 } },
	{ "an empty one first", { 0, 5, 3, -1 } },
	{ "two empty ones first", { 0, 0, 5, -1 } },
	{ "an empty one between", { 5, 0, 3, -1 } },
	{ "two empty ones between", { 5, 0, 0, 3, -1 } },
	{ "an empty one last", { 5, 3, 0, -1 } },
	{ "empty ones everywhere", { 0, 2, 0, 0, 1, 0, 5, 0, 0, -1 } },
	{ "single bytes", { 1, 1, 1, 1, 1, -1 } },
	{ "no buffer", { -1 } },
	{ "one empty one", { 0, -1 } },
	{ "only empty ones", { 0, 0, 0, -1 } },
};

static struct buffers cut(size_t row)
{
	struct buffers b = { .count = 0 };

	for (const int *len = cuts[row].lens; *len >= 0; len++)
		add_buffer(&b, (size_t)*len);
	return b;
}

START_TEST(pieces_are_the_buffers_that_hold_something)
{
	for (size_t row = 0; row < COUNT(cuts); row++) {
		struct buffers b = cut(row);
		struct rsk_cursor at = cursor(&b);

		for (int i = 0; i < b.count; i++) {
			struct iovec piece;

			if (!b.iov[i].iov_len)
				continue;
			piece = rsk_cursor_piece(&at);
			ck_assert_msg(piece.iov_base == b.iov[i].iov_base &&
				      piece.iov_len == b.iov[i].iov_len,
				      "%s: buffer %d", cuts[row].name, i);
			rsk_cursor_skip(&at, piece.iov_len);
		}
		ck_assert_msg(!rsk_cursor_left(&at), "%s: left", cuts[row].name);
		ck_assert_msg(!rsk_cursor_piece(&at).iov_len, "%s: end", cuts[row].name);
		free_buffers(&b);
	}
}
END_TEST

START_TEST(looking_at_a_piece_does_not_move)
{
	struct buffers b = { .count = 0 };
	struct rsk_cursor at;

	add_buffer(&b, 0);
	add_buffer(&b, 4);
	at = cursor(&b);
	rsk_cursor_piece(&at);
	rsk_cursor_skip(&at, 1);
	for (int twice = 0; twice < 2; twice++) {
		struct iovec piece = rsk_cursor_piece(&at);

		ck_assert_uint_eq(piece.iov_len, 3);
		ck_assert_uint_eq(*(uint8_t *)piece.iov_base, 2);
		ck_assert_uint_eq(rsk_cursor_left(&at), 3);
	}
	free_buffers(&b);
}
END_TEST

/* Moves all bytes in steps of @step; they must come as if the buffers were one. */
static void check_gather(size_t row, size_t step)
{
	struct buffers b = cut(row);
	struct rsk_cursor at = cursor(&b);

	for (size_t done = 0; done < b.bytes;) {
		size_t len = step < b.bytes - done ? step : b.bytes - done;
		uint8_t *got = malloc(len);

		rsk_cursor_gather(&at, got, len);
		for (size_t i = 0; i < len; i++)
			ck_assert_msg(got[i] == done + i + 1, "%s, steps of %zu: byte %zu is %u",
				      cuts[row].name, step, done + i, got[i]);
		free(got);
		done += len;
		ck_assert_uint_eq(rsk_cursor_left(&at), b.bytes - done);
	}
	free_buffers(&b);
}

START_TEST(gather_joins_the_buffers)
{
	for (size_t row = 0; row < COUNT(cuts); row++) {
		for (size_t step = 1; step <= BUFFER_MAX; step++)
			check_gather(row, step);
	}
}
END_TEST

START_TEST(moving_nothing_is_harmless_anywhere)
{
	for (size_t row = 0; row < COUNT(cuts); row++) {
		struct buffers b = cut(row);
		struct rsk_cursor at = cursor(&b);

		for (size_t done = 0;; done++) {
			rsk_cursor_gather(&at, NULL, 0);
			rsk_cursor_skip(&at, 0);
			ck_assert_uint_eq(rsk_cursor_left(&at), b.bytes - done);
			if (done == b.bytes)
				break;
			ck_assert_ptr_eq(rsk_cursor_piece(&at).iov_base, byte_at(&b, done));
			rsk_cursor_skip(&at, 1);
		}
		free_buffers(&b);
	}
}
END_TEST

/* -- against a model --------------------------------------------------------------------------- */

/* The same bytes in one piece. */
struct model {
	uint8_t bytes[BYTES_MAX];
	size_t at, total;
};

static void step_at_random(struct rsk_cursor *at, struct model *m, struct dice *d)
{
	size_t len = roll(d, 0, m->total - m->at);
	uint8_t bytes[BYTES_MAX];

	if (roll(d, 0, 1)) {
		rsk_cursor_gather(at, bytes, len);
		claim(!memcmp(bytes, m->bytes + m->at, len), "gathered other bytes at %zu", m->at);
	} else {
		len = roll(d, 0, rsk_cursor_piece(at).iov_len);
		rsk_cursor_skip(at, len);
	}
	m->at += len;
	claim(rsk_cursor_left(at) == m->total - m->at, "%zu left at %zu of %zu", rsk_cursor_left(at), m->at,
	      m->total);
}

START_TEST(any_mix_of_steps_acts_as_on_one_buffer)
{
	struct dice d = { 0x696f76 };

	for (int round = 0; round < 20000; round++) {
		struct buffers b = { .count = 0 };
		int count = (int)roll(&d, 0, BUFFERS_MAX);
		struct rsk_cursor at;
		struct model m;

		while (b.count < count)
			add_buffer(&b, roll(&d, 0, 1) ? roll(&d, 0, BUFFER_MAX) : 0);
		m = (struct model){ .total = b.bytes };
		for (size_t i = 0; i < m.total; i++)
			m.bytes[i] = (uint8_t)(i + 1);

		at = cursor(&b);
		for (int steps = 0; steps < 8; steps++)
			step_at_random(&at, &m, &d);
		for (size_t i = 0; i < m.total; i++)
			claim(*byte_at(&b, i) == m.bytes[i], "round %d: byte %zu", round, i);
		free_buffers(&b);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("iov");
	TCase *tc = group(s, "cursor");

	tcase_add_test(tc, pieces_are_the_buffers_that_hold_something);
	tcase_add_test(tc, looking_at_a_piece_does_not_move);
	tcase_add_test(tc, gather_joins_the_buffers);
	tcase_add_test(tc, moving_nothing_is_harmless_anywhere);
	tcase_add_test(tc, any_mix_of_steps_acts_as_on_one_buffer);
	return run_suite(s);
}
