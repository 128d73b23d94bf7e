/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The send ring: where bytes go, when they are free again, and that neither the end of the memory
 * nor that of the 32-bit positions matters.
 */
#include "ring.h"

#include <stdbool.h>
#include <string.h>

#include "unit.h"

START_TEST(unused_ring_is_all_free)
{
	struct rsk_ring ring = { .size = 4096 };

	ck_assert_uint_eq(rsk_ring_used(&ring), 0);
	ck_assert_uint_eq(rsk_ring_free(&ring), 4096);
}
END_TEST

START_TEST(ring_without_memory_has_no_room)
{
	struct rsk_ring ring = { .size = 0 };

	ck_assert_uint_eq(rsk_ring_used(&ring), 0);
	ck_assert_uint_eq(rsk_ring_free(&ring), 0);
}
END_TEST

START_TEST(bytes_are_used_from_take_to_release)
{
	struct rsk_ring ring = { .size = 4096 };

	rsk_ring_take(&ring, 1000);
	rsk_ring_take(&ring, 24);
	ck_assert_uint_eq(rsk_ring_used(&ring), 1024);
	ck_assert_uint_eq(rsk_ring_free(&ring), 3072);
	rsk_ring_release(&ring, 1000);
	ck_assert_uint_eq(rsk_ring_used(&ring), 24);
	ck_assert_uint_eq(rsk_ring_free(&ring), 4072);
	rsk_ring_release(&ring, 1024);
	ck_assert_uint_eq(rsk_ring_used(&ring), 0);
	ck_assert_uint_eq(rsk_ring_free(&ring), 4096);
}
END_TEST

/* -- spans ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t size, head, len;
	struct rsk_span span;
} spans[] = {
	{ "at the start",               4096, 0, 100, { { 0 }, { 100 }, 1 } },
	{ "in the middle",              4096, 1000, 100, { { 1000 }, { 100 }, 1 } },
	{ "the whole ring",             4096, 0, 4096, { { 0 }, { 4096 }, 1 } },
	{ "up to the end, exactly",     4096, 4000, 96, { { 4000 }, { 96 }, 1 } },
	{ "one byte beyond the end",    4096, 4000, 97, { { 4000, 0 }, { 96, 1 }, 2 } },
	{ "the last byte and the first", 4096, 4095, 2, { { 4095, 0 }, { 1, 1 }, 2 } },
	{ "the whole, from within",     4096, 1000, 4096, { { 1000, 0 }, { 3096, 1000 }, 2 } },
	{ "a later lap",                4096, 3 * 4096 + 7, 100, { { 7 }, { 100 }, 1 } },
	{ "a later lap's end",          4096, 4 * 4096, 1, { { 0 }, { 1 }, 1 } },
	{ "nothing",                    4096, 1000, 0, { { 1000 }, { 0 }, 1 } },
	{ "before the counter's end",   4096, UINT32_MAX - 15, 16, { { 4080 }, { 16 }, 1 } },
	{ "across the counter's end",   4096, UINT32_MAX - 15, 17, { { 4080, 0 }, { 16, 1 }, 2 } },
	{ "the counter's last byte",    4096, UINT32_MAX, 1, { { 4095 }, { 1 }, 1 } },
	{ "a ring of one byte",         1, 5, 1, { { 0 }, { 1 }, 1 } },
	{ "a ring of 2 GiB",           1u << 31, UINT32_MAX, 2, { { INT32_MAX, 0 }, { 1, 1 }, 2 } },
};

START_TEST(span_lies_at_the_head_and_wraps_at_the_end)
{
	for (size_t i = 0; i < COUNT(spans); i++) {
		const struct rsk_span *want = &spans[i].span;
		const char *name = spans[i].name;
		struct rsk_ring ring = { spans[i].size, spans[i].head, spans[i].head };
		struct rsk_span got = rsk_ring_take(&ring, spans[i].len);

		ck_assert_msg(got.pieces == want->pieces, "%s: %d pieces", name, got.pieces);
		for (int p = 0; p < got.pieces; p++)
			ck_assert_msg(got.offset[p] == want->offset[p] &&
				      got.len[p] == want->len[p], "%s: piece %d is %u+%u", name, p,
				      got.offset[p], got.len[p]);
		ck_assert_msg(ring.head == spans[i].head + spans[i].len, "%s: head", name);
		ck_assert_msg(ring.tail == spans[i].head, "%s: tail", name);
	}
}
END_TEST

/* -- release ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t head, tail, to, after;
} releases[] = {
	{ "a part",                              5000, 4500, 4600, 4600 },
	{ "one byte",                            5000, 4500, 4501, 4501 },
	{ "all",                                 5000, 4500, 5000, 5000 },
	{ "nothing new",                         5000, 4500, 4500, 4500 },
	{ "released before",                     5000, 4500, 4499, 4500 },
	{ "released long before",                5000, 4500, 0, 4500 },
	{ "not taken yet",                       5000, 4500, 5001, 4500 },
	{ "far from what was taken",             5000, 4500, 5000 + (1u << 31), 4500 },
	{ "in an empty ring, its place",         5000, 5000, 5000, 5000 },
	{ "in an empty ring, later",             5000, 5000, 5001, 5000 },
	{ "in an empty ring, earlier",           5000, 5000, 4999, 5000 },
	{ "a full ring's all",                   8192, 4096, 8192, 8192 },
	{ "a full ring's part",                  8192, 4096, 8191, 8191 },
	{ "up to the counter's end",             100, UINT32_MAX - 99, 0, 0 },
	{ "across the counter's end",            100, UINT32_MAX - 99, 50, 50 },
	{ "short of the counter's end",          100, UINT32_MAX - 99, UINT32_MAX, UINT32_MAX },
	{ "across the end, not taken yet",       100, UINT32_MAX - 99, 101, UINT32_MAX - 99 },
	{ "across the end, released before",     100, UINT32_MAX - 99, UINT32_MAX - 100,
	  UINT32_MAX - 99 },
};

START_TEST(release_takes_only_positions_in_flight)
{
	for (size_t i = 0; i < COUNT(releases); i++) {
		struct rsk_ring ring = { 4096, releases[i].head, releases[i].tail };
		const char *name = releases[i].name;

		rsk_ring_release(&ring, releases[i].to);
		ck_assert_msg(ring.tail == releases[i].after, "%s: tail %u", name, ring.tail);
		ck_assert_msg(ring.head == releases[i].head, "%s: head %u", name, ring.head);
	}
}
END_TEST

/* -- against a model --------------------------------------------------------------------------- */

enum { MODEL_SIZE = 1024 };

/* Who lies in each byte of the memory: nobody (0), or one in flight. Positions do not wrap here. */
struct model {
	struct rsk_ring ring;
	uint8_t taken[MODEL_SIZE];
	uint64_t head, tail;
};

static void model_take(struct model *m, uint32_t len)
{
	struct rsk_span span = rsk_ring_take(&m->ring, len);
	uint32_t total = 0;

	claim(span.pieces == 1 || span.pieces == 2, "%d pieces", span.pieces);
	for (int p = 0; p < span.pieces; p++) {
		claim(span.len[p] || span.pieces == 1, "an empty second piece");
		for (uint32_t i = 0; i < span.len[p]; i++) {
			uint32_t at = span.offset[p] + i;

			claim(at < MODEL_SIZE, "offset %u is outside", at);
			claim(at == m->head % MODEL_SIZE, "offset %u is out of order", at);
			claim(!m->taken[at], "offset %u is still in flight", at);
			m->taken[at] = 1;
			m->head++;
		}
		total += span.len[p];
	}
	claim(total == len, "%u bytes for %u", total, len);
}

static void model_release(struct model *m, uint64_t to)
{
	rsk_ring_release(&m->ring, (uint32_t)to);
	for (; m->tail < to; m->tail++)
		m->taken[m->tail % MODEL_SIZE] = 0;
}

static void model_check(const struct model *m)
{
	uint32_t used = (uint32_t)(m->head - m->tail);

	claim(rsk_ring_used(&m->ring) == used, "used %u, not %u", rsk_ring_used(&m->ring), used);
	claim(rsk_ring_free(&m->ring) == MODEL_SIZE - used, "free %u", rsk_ring_free(&m->ring));
}

START_TEST(bytes_in_flight_are_never_given_out_again)
{
	struct dice d = { 0x72696e67 };
	uint64_t start = UINT32_MAX - 100 * MODEL_SIZE;
	struct model m = { .ring = { MODEL_SIZE, (uint32_t)start, (uint32_t)start },
			   .head = start, .tail = start };
	bool was_full = false;

	/* Some 1000 laps, and early among them the counter's end. */
	while (m.head < start + 1000 * MODEL_SIZE) {
		uint32_t room = rsk_ring_free(&m.ring);

		switch (roll(&d, 0, 3)) {
		case 0:
			model_take(&m, (uint32_t)roll(&d, 0, room));
			break;
		case 1:
			model_take(&m, room);
			was_full = true;
			break;
		case 2:
			model_release(&m, roll(&d, m.tail, m.head));
			break;
		default:
			/* What completed before is reported once more. */
			rsk_ring_release(&m.ring, (uint32_t)(m.tail - roll(&d, 1, MODEL_SIZE)));
			break;
		}
		model_check(&m);
	}
	ck_assert(was_full);
	ck_assert_uint_gt(m.tail, UINT32_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ring");
	TCase *tc = group(s, "ring");

	tcase_add_test(tc, unused_ring_is_all_free);
	tcase_add_test(tc, ring_without_memory_has_no_room);
	tcase_add_test(tc, bytes_are_used_from_take_to_release);
	tcase_add_test(tc, span_lies_at_the_head_and_wraps_at_the_end);
	tcase_add_test(tc, release_takes_only_positions_in_flight);
	tcase_add_test(tc, bytes_in_flight_are_never_given_out_again);
	return run_suite(s);
}
