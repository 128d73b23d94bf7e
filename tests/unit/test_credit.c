/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Flow control: the worked example of the protocol's specification, tables of what is refused, and
 * long random conversations between a sender's and a receiver's half, each step of which is checked
 * against a model that counts in 64 bits, where nothing ever wraps around.
 *
 * The invariants I1 .. I7 are those of the specification, "Invariants every implementation MUST
 * keep". One thing differs from its example: here a message is consumed when it is taken from the
 * completion queue, not when the application has read it.
 */
#include "credit.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

static void check_entry(struct rsk_entry got, uint64_t addr, uint32_t key, uint32_t length)
{
	ck_assert_uint_eq(got.addr, addr);
	ck_assert_uint_eq(got.key, key);
	ck_assert_uint_eq(got.length, length);
}

/* -- the worked example ------------------------------------------------------------------------ */

enum { B_KEY = 0x00c0d1e2, CREDITS = 384, SEGMENT = 65536 };

static const struct rsk_entry b_first = { 0x7f90a8000000, B_KEY, SEGMENT };
static const struct rsk_entry b_second = { 0x7f90a8010000, B_KEY, SEGMENT };

/* A sends, B reaps. */
static void pass(struct rsk_tx_credit *a, struct rsk_rx_credit *b, uint32_t len, uint64_t addr)
{
	check_entry(rsk_tx_credit_take(a, len), addr, B_KEY, len);
	ck_assert_int_eq(rsk_rx_credit_message(b), 0);
	ck_assert_int_eq(rsk_rx_credit_data(b, len), 0);
}

START_TEST(worked_example_comes_out_as_specified)
{
	static const uint32_t chunks[] = { 2048, 4096, 8192, 16384, 15616 };
	uint64_t addr = b_first.addr;
	struct rsk_tx_credit a;
	struct rsk_rx_credit b;

	/* 3. The connection is up. */
	rsk_tx_credit_init(&a, CREDITS, &b_first);
	rsk_rx_credit_init(&b, CREDITS, SEGMENT);
	ck_assert_uint_eq(rsk_tx_credit_room(&a), 65536);

	/* 4. A sends 100 bytes. */
	check_entry(rsk_tx_credit_take(&a, 100), addr, B_KEY, 100);
	ck_assert_uint_eq(a.sent, 1);
	check_entry(a.segment[0], 0x7f90a8000064, B_KEY, 65436);

	/* 5. B's first message tells of segment 1. Then it reaps the 100 bytes. */
	ck_assert_uint_eq(rsk_rx_credit_advertise(&b, SEGMENT), 1);
	ck_assert_uint_eq(rsk_wire_msg(WIRE_OP_SGL, rsk_rx_credit_grant(&b)), 0x80000180);
	ck_assert_int_eq(rsk_tx_credit_update(&a, 0x180), 0);
	ck_assert_int_eq(rsk_tx_credit_segment(&a, &b_second), 0);
	ck_assert_int_eq(rsk_rx_credit_message(&b), 0);
	ck_assert_int_eq(rsk_rx_credit_data(&b, 100), 0);
	ck_assert_uint_eq(b.received, 1);
	ck_assert_uint_eq(b.filled, 100);

	/* 7. With the 192nd message, and not before, credits are due. */
	for (int i = 1; i < 192; i++) {
		ck_assert(!rsk_rx_credit_due(&b));
		pass(&a, &b, 100, addr += 100);
	}
	ck_assert(rsk_rx_credit_due(&b));
	ck_assert_uint_eq(rsk_wire_msg(WIRE_OP_SGL, rsk_rx_credit_grant(&b)), 0x80000240);
	ck_assert(!rsk_rx_credit_due(&b));
	ck_assert_int_eq(rsk_tx_credit_update(&a, 0x240), 0);
	ck_assert_uint_eq(a.limit, 576);

	/* 8. Five messages fill segment 0 to its last byte; A moves to segment 1. */
	addr += 100;
	ck_assert_uint_eq(addr, 0x7f90a8004b00);
	for (size_t i = 0; i < COUNT(chunks); i++) {
		pass(&a, &b, chunks[i], addr);
		addr += chunks[i];
	}
	check_entry(a.segment[0], 0x7f90a8010000, B_KEY, SEGMENT);
	ck_assert_uint_eq(a.nsegments, 1);
	ck_assert_uint_eq(b.received, 197);
	ck_assert_uint_eq(b.filling, 1);
	ck_assert_uint_eq(b.filled, 0);
	ck_assert_uint_eq(b.arrived, SEGMENT);

	/* All of it was read: segment 2 is where segment 0 was. */
	ck_assert_uint_eq(rsk_rx_credit_advertise(&b, SEGMENT), 2);
	ck_assert_uint_eq(rsk_wire_msg(WIRE_OP_SGL, rsk_rx_credit_grant(&b)), 0x80000245);
	ck_assert_int_eq(rsk_tx_credit_update(&a, 0x245), 0);
	ck_assert_int_eq(rsk_tx_credit_segment(&a, &b_first), 0);
	ck_assert_uint_eq(a.nsegments, 2);
	ck_assert_uint_eq(a.limit, 581);
}
END_TEST

START_TEST(credits_come_back_when_messages_are_reaped_whatever_is_read)
{
	struct rsk_tx_credit a;
	struct rsk_rx_credit b;

	/* Nothing is ever read here, so no further segment comes; credits do. */
	rsk_tx_credit_init(&a, 16, &b_first);
	rsk_rx_credit_init(&b, 16, SEGMENT);
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_gt(rsk_tx_credit_room(&a), 0);
		pass(&a, &b, 1, b_first.addr + i);
		if (rsk_rx_credit_due(&b))
			ck_assert_int_eq(rsk_tx_credit_update(&a, rsk_rx_credit_grant(&b)), 0);
	}
}
END_TEST

/* -- room -------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct rsk_tx_credit tx;
	uint32_t room;
} rooms[] = {
	{ "small segment", { 0, 9, 9, 1, { { 4096, 1, 100 } }, 0, false }, 100 },
	{ "last byte", { 0, 9, 9, 1, { { 4096, 1, 1 } }, 0, false }, 1 },
	{ "as large as a message", { 0, 9, 9, 1, { { 4096, 1, 65536 } }, 0, false }, 65536 },
	{ "larger than a message", { 0, 9, 9, 1, { { 4096, 1, 65537 } }, 0, false }, 65536 },
	{ "larger than anything", { 0, 9, 9, 1, { { 4096, 1, UINT32_MAX } }, 0, false }, 65536 },
	{ "only the first segment counts", { 0, 9, 9, 2, { { 4096, 1, 7 }, { 8192, 1, 70 } }, 0, false }, 7 },
	{ "last credit", { 8, 9, 9, 1, { { 4096, 1, 100 } }, 0, false }, 100 },
	{ "no credit", { 9, 9, 9, 1, { { 4096, 1, 100 } }, 0, false }, 0 },
	{ "limit wrapped around", { 65535, 0, 9, 1, { { 4096, 1, 100 } }, 0, false }, 100 },
	{ "no credit, at 0", { 0, 0, 9, 1, { { 4096, 1, 100 } }, 0, false }, 0 },
	{ "no segment", { 0, 9, 9, 0, { { 4096, 1, 100 } }, 0, false }, 0 },
};

START_TEST(room_needs_a_credit_and_a_segment)
{
	for (size_t i = 0; i < COUNT(rooms); i++) {
		uint32_t room = rsk_tx_credit_room(&rooms[i].tx);

		ck_assert_msg(room == rooms[i].room, "%s: %u", rooms[i].name, room);
	}
}
END_TEST

/* -- mappings ---------------------------------------------------------------------------------- */

START_TEST(message_about_a_mapping_costs_a_credit_and_no_room)
{
	struct rsk_tx_credit tx;

	rsk_tx_credit_init(&tx, 2, &b_first);
	ck_assert(rsk_tx_credit_iomap(&tx));
	check_entry(tx.segment[0], b_first.addr, B_KEY, SEGMENT);
	check_entry(rsk_tx_credit_take(&tx, 100), b_first.addr, B_KEY, 100);
	ck_assert(!rsk_tx_credit_left(&tx));
	ck_assert(!rsk_tx_credit_iomap(&tx));
	ck_assert_uint_eq(tx.sent, 2);
}
END_TEST

static const struct {
	const char *name;
	uint16_t window, sent, iomaps; /* sent: all of them, of which iomaps about mappings */
	uint32_t operand;
	unsigned budget;             /* after the update */
} budgets[] = {
	{ "nothing sent",                      384, 0, 0, 384, 192 },
	{ "smallest window of upstream's",     16, 0, 0, 16, 8 },
	{ "odd window",                        17, 0, 0, 17, 8 },
	{ "window of one",                     1, 0, 0, 1, 0 },

	/* Upstream returns what data has cost, never more. */
	{ "all data is back, mappings not",    384, 100, 10, 384 + 90, 182 },
	{ "half the window is lost",           384, 1000, 192, 384 + 808, 0 },

	{ "no more than data can have cost",   384, 192, 192, 384, 0 },
	{ "mappings and data may be out",      384, 100, 10, 384 + 20, 182 },
	{ "across the end of the numbers",     384, 3, 10, 0x10000 + 384 - 7, 182 },

	/* What comes back beyond that was for mappings. */
	{ "all is back",                       384, 100, 10, 384 + 100, UINT32_MAX - 10 },
	{ "one more than data cost",           384, 100, 10, 384 + 91, UINT32_MAX - 10 },
	{ "just mappings, all back",           384, 192, 192, 384 + 192, UINT32_MAX - 192 },
	{ "one more, across the end",          384, 3, 10, 0x10000 + 384 - 6, UINT32_MAX - 10 },
};

START_TEST(half_the_window_is_kept_from_mappings_until_one_comes_back)
{
	for (size_t i = 0; i < COUNT(budgets); i++) {
		struct rsk_tx_credit tx;

		rsk_tx_credit_init(&tx, budgets[i].window, &b_first);
		tx.sent = budgets[i].sent;
		tx.iomaps = budgets[i].iomaps;
		tx.limit = tx.sent;
		ck_assert_msg(!rsk_tx_credit_update(&tx, budgets[i].operand), "%s", budgets[i].name);
		ck_assert_msg(rsk_tx_credit_iomap_budget(&tx) == budgets[i].budget, "%s: %u",
			      budgets[i].name, rsk_tx_credit_iomap_budget(&tx));
	}
}
END_TEST

/* A receiver that never returns the credits of mappings, and one that does. */
static void map_all_it_takes(bool returned, unsigned most)
{
	struct rsk_tx_credit a;
	struct rsk_rx_credit b;
	unsigned maps = 0;

	rsk_tx_credit_init(&a, CREDITS, &b_first);
	rsk_rx_credit_init(&b, CREDITS, SEGMENT);
	while (maps < most && rsk_tx_credit_iomap_budget(&a)) {
		ck_assert(rsk_tx_credit_iomap(&a));
		maps++;
		if (returned)
			ck_assert_int_eq(rsk_rx_credit_message(&b), 0);
		ck_assert_int_eq(rsk_tx_credit_update(&a, rsk_rx_credit_grant(&b)), 0);
	}
	ck_assert_uint_eq(maps, returned ? most : CREDITS / 2);
	/* Data still flows by messages of one byte, as credits are due in time. */
	for (uint32_t i = 0; i < 4 * CREDITS; i++) {
		ck_assert_uint_gt(rsk_tx_credit_room(&a), 0);
		pass(&a, &b, 1, b_first.addr + i);
		if (rsk_rx_credit_due(&b))
			ck_assert_int_eq(rsk_tx_credit_update(&a, rsk_rx_credit_grant(&b)), 0);
	}
}

START_TEST(data_flows_on_when_mappings_have_used_up_their_half)
{
	map_all_it_takes(false, UINT32_MAX);
}
END_TEST

START_TEST(mappings_go_on_where_their_credits_are_returned)
{
	map_all_it_takes(true, 100000);
}
END_TEST

/* -- what a sender refuses --------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint16_t window, sent, limit; /* as they stand */
	uint32_t operand;
	int result;
} updates[] = {
	{ "the same again",              384, 0, 384, 384, 0 },
	{ "the same, nothing left",      384, 384, 384, 384, 0 },
	{ "one more",                    384, 1, 384, 385, 0 },
	{ "all that was sent",           384, 100, 384, 484, 0 },
	{ "a whole window",              384, 384, 384, 768, 0 },
	{ "a window of one",             1, 7, 7, 8, 0 },

	{ "one back",                    384, 0, 384, 383, -EPROTO },
	{ "back to what was sent",       384, 100, 384, 100, -EPROTO },
	{ "back behind what was sent",   384, 100, 384, 99, -EPROTO },
	{ "back to 0",                   384, 100, 400, 0, -EPROTO },
	{ "one back, nothing left",      384, 384, 384, 383, -EPROTO },

	{ "one too many",                384, 0, 384, 385, -EPROTO },
	{ "one too many after some",     384, 100, 384, 485, -EPROTO },
	{ "a window and one",            384, 384, 384, 769, -EPROTO },
	{ "far too many",                384, 384, 384, 384 + 32768, -EPROTO },
	{ "two with a window of one",    1, 7, 7, 9, -EPROTO },

	/* The peer adds two 16-bit numbers without truncating. */
	{ "bit 16 set",                  384, 65500, 65535, 0x10000 | 100, 0 },
	{ "bit 16 set, just 65536",      384, 65500, 65535, 0x10000, 0 },
	{ "bit 16 set, the same again",  384, 65500, 100, 0x10000 | 100, 0 },
	{ "largest operand",             65534, 65535, 65535, 0x1fffd, 0 },
	{ "bit 16 set, one too many",    384, 65500, 65535, 0x10000 | 349, -EPROTO },
	{ "bit 16 set, one back",        384, 65500, 100, 0x10000 | 99, -EPROTO },

	{ "0 follows 65535",             384, 65535, 65535, 0, 0 },
	{ "across the end",              384, 65500, 65535, 348, 0 },
	{ "across the end, one too many", 384, 65500, 65535, 349, -EPROTO },
	{ "back across the end",         384, 65500, 5, 65535, -EPROTO },

	{ "upstream's largest window",   65534, 1, 65534, 65535, 0 },
	{ "largest window, all of it",   65534, 10, 10, 8, 0 },
	{ "largest window, one too many", 65534, 10, 10, 9, -EPROTO },
	{ "largest window, one back",    65534, 0, 65534, 65533, -EPROTO },
};

/* A window of more than half the numbers: these go back, though they look like far ahead. */
static const struct {
	const char *name;
	uint16_t window, sent, limit;
	uint32_t operand;
	int result;
} large_updates[] = {
	{ "two back",                    65534, 0, 65534, 65532, -EPROTO },
	{ "back by half",                65534, 0, 65534, 32767, -EPROTO },
	{ "back to what was sent",       65534, 5, 65534, 5, -EPROTO },
	{ "far back",                    40000, 0, 40000, 10000, -EPROTO },
	{ "far back across the end",     40000, 50000, 50000 + 40000 - 65536, 51000, -EPROTO },
	{ "far ahead",                   40000, 50000, 50000, 50000 + 40000 - 65536, 0 },
	{ "far ahead, a part",           40000, 50000, 50001, 50000 + 39999 - 65536, 0 },
};

static void check_update(const char *name, uint16_t window, uint16_t sent, uint16_t limit,
			 uint32_t operand, int result)
{
	struct rsk_tx_credit tx;
	int ret;

	rsk_tx_credit_init(&tx, window, &b_first);
	tx.sent = sent;
	tx.limit = limit;
	ret = rsk_tx_credit_update(&tx, operand);
	ck_assert_msg(ret == result, "%s: %d", name, ret);
	ck_assert_msg(tx.limit == (uint16_t)(ret ? limit : operand), "%s: %u", name, tx.limit);
	ck_assert_msg(tx.sent == sent && tx.window == window && tx.nsegments == 1, "%s", name);
}

START_TEST(limit_that_goes_back_or_too_far_is_refused)
{
	for (size_t i = 0; i < COUNT(updates); i++)
		check_update(updates[i].name, updates[i].window, updates[i].sent, updates[i].limit,
			     updates[i].operand, updates[i].result);
}
END_TEST

START_TEST(limit_that_goes_back_within_a_large_window_is_refused)
{
	for (size_t i = 0; i < COUNT(large_updates); i++)
		check_update(large_updates[i].name, large_updates[i].window, large_updates[i].sent,
			     large_updates[i].limit, large_updates[i].operand,
			     large_updates[i].result);
}
END_TEST

static const struct {
	const char *name;
	int present;                 /* segments that are there already */
	struct rsk_entry entry;
	int result;
} segments[] = {
	{ "a second", 1, { 0x10000, 7, 4096 }, 0 },
	{ "one when there is none", 0, { 0x10000, 7, 4096 }, 0 },
	{ "one byte", 1, { 0x10000, 7, 1 }, 0 },
	{ "the largest", 1, { 0x10000, 7, UINT32_MAX }, 0 },
	{ "one that ends at the top", 1, { UINT64_MAX - 4096, 7, 4096 }, 0 },

	{ "a third", 2, { 0x10000, 7, 4096 }, -EPROTO },
	{ "an empty one", 1, { 0x10000, 7, 0 }, -EPROTO },
	{ "an empty one when there is none", 0, { 0x10000, 7, 0 }, -EPROTO },
	{ "one whose end is no address", 1, { UINT64_MAX - 4095, 7, 4096 }, -EPROTO },
	{ "one that wraps around", 1, { UINT64_MAX, 7, 4096 }, -EPROTO },
	{ "the largest, wrapping around", 1, { UINT64_MAX - 5, 7, UINT32_MAX }, -EPROTO },
};

START_TEST(third_empty_and_wrapping_segments_are_refused)
{
	for (size_t i = 0; i < COUNT(segments); i++) {
		struct rsk_tx_credit tx, before;
		int ret, n = segments[i].present;

		rsk_tx_credit_init(&tx, CREDITS, &b_first);
		tx.segment[1] = b_second;
		tx.nsegments = (uint8_t)n;
		before = tx;
		ret = rsk_tx_credit_segment(&tx, &segments[i].entry);
		ck_assert_msg(ret == segments[i].result, "%s: %d", segments[i].name, ret);
		ck_assert_msg(tx.nsegments == n + !ret, "%s: %u", segments[i].name, tx.nsegments);
		ck_assert_uint_eq(tx.limit, before.limit);
		/* Those that were there stay in front. */
		for (int old = 0; old < n; old++)
			check_entry(tx.segment[old], before.segment[old].addr,
				    before.segment[old].key, before.segment[old].length);
		if (!ret)
			check_entry(tx.segment[n], segments[i].entry.addr, segments[i].entry.key,
				    segments[i].entry.length);
	}
}
END_TEST

/* -- what a receiver refuses ------------------------------------------------------------------- */

START_TEST(message_without_credit_is_refused)
{
	static const uint16_t windows[] = { 1, 16, 384, 32768, 65534 };

	for (size_t i = 0; i < COUNT(windows); i++) {
		struct rsk_rx_credit rx;

		rsk_rx_credit_init(&rx, windows[i], SEGMENT);
		for (int lap = 0; lap < 3; lap++) {
			for (unsigned n = 0; n < windows[i]; n++)
				claim(!rsk_rx_credit_message(&rx), "%u of %u", n, windows[i]);
			ck_assert_int_eq(rsk_rx_credit_message(&rx), -EPROTO);
			ck_assert_int_eq(rsk_rx_credit_message(&rx), -EPROTO);
			ck_assert(rsk_rx_credit_due(&rx));
			rsk_rx_credit_grant(&rx);
		}
	}
}
END_TEST

static const struct {
	const char *name;
	struct rsk_rx_credit rx;     /* credits do not matter here */
	uint32_t len;
	int result;
	uint32_t filling, filled;    /* after it */
} arrivals[] = {
#define FILL(of_advertised, segment, bytes, ...) \
	{ .advertised = (of_advertised), .filling = (segment), .filled = (bytes), \
	  .size = { __VA_ARGS__ } }
	{ "a first byte",               FILL(1, 0, 0, 100), 1, 0, 0, 1 },
	{ "more",                       FILL(1, 0, 1, 100), 50, 0, 0, 51 },
	{ "all but one",                FILL(1, 0, 0, 100), 99, 0, 0, 99 },
	{ "a whole segment",            FILL(1, 0, 0, 100), 100, 0, 1, 0 },
	{ "the rest of one",            FILL(2, 0, 60, 100, 200), 40, 0, 1, 0 },
	{ "the second one",             FILL(2, 1, 0, 100, 200), 150, 0, 1, 150 },
	{ "the rest of the second",     FILL(2, 1, 150, 100, 200), 50, 0, 2, 0 },
	{ "the third, in place 0",      FILL(3, 2, 0, 300, 200), 299, 0, 2, 299 },
	{ "the largest there is",       FILL(1, 0, 0, UINT32_MAX), UINT32_MAX, 0, 1, 0 },

	{ "nothing",                    FILL(1, 0, 0, 100), 0, -EPROTO, 0, 0 },
	{ "nothing, within a segment",  FILL(1, 0, 60, 100), 0, -EPROTO, 0, 60 },
	{ "one byte too many",          FILL(1, 0, 0, 100), 101, -EPROTO, 0, 0 },
	{ "more than the rest",         FILL(2, 0, 60, 100, 200), 41, -EPROTO, 0, 60 },
	{ "more than the second",       FILL(2, 1, 0, 300, 200), 201, -EPROTO, 1, 0 },
	{ "as much as a message says",  FILL(2, 0, 60, 100, 200), WIRE_VALUE_MASK, -EPROTO, 0, 60 },
	{ "so much that sums wrap",     FILL(2, 0, 60, 100, 200), UINT32_MAX - 58, -EPROTO, 0, 60 },
	{ "a byte, no segment",         FILL(1, 1, 0, 100), 1, -EPROTO, 1, 0 },
	{ "a segment's worth, no segment", FILL(2, 2, 0, 100, 200), 100, -EPROTO, 2, 0 },
	{ "nothing, no segment",        FILL(2, 2, 0, 100, 200), 0, -EPROTO, 2, 0 },

	{ "the last number's",          FILL(0, UINT32_MAX, 0, 100, 200), 200, 0, 0, 0 },
	{ "number 0 after the last",    FILL(1, 0, 0, 100, 200), 7, 0, 0, 7 },
	{ "no segment after the last",  FILL(0, 0, 0, 100, 200), 7, -EPROTO, 0, 0 },
#undef FILL
};

START_TEST(data_must_fit_the_segment_it_falls_into)
{
	for (size_t i = 0; i < COUNT(arrivals); i++) {
		struct rsk_rx_credit rx = arrivals[i].rx;
		int ret = rsk_rx_credit_data(&rx, arrivals[i].len);

		ck_assert_msg(ret == arrivals[i].result, "%s: %d", arrivals[i].name, ret);
		ck_assert_msg(rx.filling == arrivals[i].filling && rx.filled == arrivals[i].filled,
			      "%s: at %u, %u", arrivals[i].name, rx.filling, rx.filled);
		ck_assert_msg(rx.arrived == (ret ? 0 : arrivals[i].len), "%s", arrivals[i].name);
		ck_assert_uint_eq(rx.advertised, arrivals[i].rx.advertised);
	}
}
END_TEST

START_TEST(segment_numbers_wrap_around)
{
	struct rsk_rx_credit rx;

	rsk_rx_credit_init(&rx, CREDITS, 10);
	rx.advertised = UINT32_MAX;
	rx.filling = UINT32_MAX - 1;
	for (uint32_t i = 0; i < 6; i++) {
		/* Those of even number have 10 bytes, the others 11. */
		ck_assert_uint_eq(rsk_rx_credit_advertise(&rx, 10 + (i + 1) % 2), UINT32_MAX + i);
		ck_assert_uint_eq(rx.filling, UINT32_MAX - 1 + i);
		ck_assert_int_eq(rsk_rx_credit_data(&rx, 11 + i % 2), -EPROTO);
		ck_assert_int_eq(rsk_rx_credit_data(&rx, 10 + i % 2), 0);
	}
}
END_TEST

/* -- when credits are due, and what they say --------------------------------------------------- */

static const struct {
	const char *name;
	uint16_t window, received, granted;
	bool due;
	uint32_t operand;            /* of a grant now */
} grants[] = {
	{ "nothing received",        384, 0, 384, false, 384 },
	{ "one short of half",       384, 191, 384, false, 575 },
	{ "half",                    384, 192, 384, true, 576 },
	{ "more than half",          384, 200, 384, true, 584 },
	{ "all",                     384, 384, 384, true, 768 },
	{ "just granted",            384, 192, 576, false, 576 },
	{ "odd window, short",       17, 7, 17, false, 24 },
	{ "odd window, half",        17, 8, 17, true, 25 },
	{ "window of one, unused",   1, 0, 1, false, 1 },
	{ "window of one, used",     1, 1, 1, true, 2 },
	{ "window of two, used one", 2, 1, 2, true, 3 },
	{ "window of three, one",    3, 1, 3, true, 4 },
	{ "wrapped, one short",      384, 65534, 191, false, 65918 },
	{ "wrapped, half",           384, 65535, 191, true, 65919 },
	{ "operand's bit 16",        384, 65535, 383, false, 65919 },
	{ "largest operand",         65534, 65535, 65535, true, 0x1fffd },
	{ "largest window, short",   65534, 32766, 65534, false, 98300 },
	{ "largest window, half",    65534, 32767, 65534, true, 98301 },
};

START_TEST(credits_are_due_at_half_the_window)
{
	for (size_t i = 0; i < COUNT(grants); i++) {
		struct rsk_rx_credit rx;

		rsk_rx_credit_init(&rx, grants[i].window, SEGMENT);
		rx.received = grants[i].received;
		rx.granted = grants[i].granted;
		ck_assert_msg(rsk_rx_credit_due(&rx) == grants[i].due, "%s", grants[i].name);
	}
}
END_TEST

START_TEST(grant_tells_the_limit_without_truncating)
{
	for (size_t i = 0; i < COUNT(grants); i++) {
		struct rsk_rx_credit rx;
		uint32_t operand;

		rsk_rx_credit_init(&rx, grants[i].window, SEGMENT);
		rx.received = grants[i].received;
		rx.granted = grants[i].granted;
		operand = rsk_rx_credit_grant(&rx);
		ck_assert_msg(operand == grants[i].operand, "%s: %u", grants[i].name, operand);
		ck_assert_uint_eq(rx.granted, (uint16_t)operand);
		ck_assert_uint_eq(rx.received, grants[i].received);
		ck_assert(!rsk_rx_credit_due(&rx));
	}
}
END_TEST

/* -- conversations ----------------------------------------------------------------------------- */

enum { MESSAGES = 220000, UPDATES_MAX = 64, KEPT = 8 };

/* A segment as both sides should see it. Stream bytes first .. first + size - 1 belong into it. */
struct region {
	uint64_t first, addr;
	uint32_t key, size;
};

struct update {
	uint32_t operand;
	uint64_t limit;              /* what it means */
	bool has_entry;
	struct rsk_entry entry;
};

/* One direction of a connection: the two halves, the wire between them, and the model. All counts
 * of the model start at 0 and never wrap. */
struct talk {
	struct rsk_tx_credit tx;
	struct rsk_rx_credit rx;
	struct dice dice;
	uint16_t window;
	uint32_t largest_segment, largest_message;

	uint32_t data[65536];        /* lengths of messages on their way, by number */
	struct update updates[UPDATES_MAX];
	uint64_t updates_sent, updates_reaped;

	struct region regions[KEPT]; /* by number */
	uint64_t advertised, known;  /* segments: by the receiver, to the sender */
	uint64_t filling, draining;  /* of the sender's, and of the reader's next byte */
	uint64_t reaping;            /* of the receiver's next byte */
	uint64_t sent, reaped;       /* messages */
	uint64_t limit, granted;     /* ... that may be sent: as the sender and the receiver know */
	uint64_t bytes_sent, bytes_reaped, bytes_read;

	uint64_t out_of_credit, out_of_segments, full_messages; /* proof that it was seen */
};

static struct region *region(struct talk *t, uint64_t number)
{
	return &t->regions[number % KEPT];
}

static uint64_t end_of(struct talk *t, uint64_t number)
{
	return region(t, number)->first + region(t, number)->size;
}

/* A new region, somewhere else than the last ones. */
static struct rsk_entry new_region(struct talk *t, uint64_t number)
{
	struct region *r = region(t, number);

	r->first = number ? end_of(t, number - 1) : 0;
	r->addr = roll(&t->dice, 1, UINT32_MAX) << 20;
	r->key = (uint32_t)roll(&t->dice, 0, UINT32_MAX);
	r->size = (uint32_t)roll(&t->dice, 1, t->largest_segment);
	return (struct rsk_entry){ r->addr, r->key, r->size };
}

static void talk_start(struct talk *t)
{
	struct rsk_entry first = new_region(t, 0);

	rsk_tx_credit_init(&t->tx, t->window, &first);
	rsk_rx_credit_init(&t->rx, t->window, first.length);
	t->advertised = t->known = 1;
	t->limit = t->granted = t->window;
}

static uint32_t room_by_model(struct talk *t)
{
	uint64_t room;

	if (t->sent == t->limit || t->filling == t->known)
		return 0;
	room = end_of(t, t->filling) - t->bytes_sent;
	return room < 65536 ? (uint32_t)room : 65536;
}

/* False when there is no room. */
static bool talk_send(struct talk *t)
{
	uint32_t room = rsk_tx_credit_room(&t->tx), len;
	struct region *r = region(t, t->filling);
	struct rsk_entry to;

	claim(room == room_by_model(t), "message %lu: room %u", (unsigned long)t->sent, room);
	if (!room) {
		t->out_of_credit += t->sent == t->limit;
		t->out_of_segments += t->filling == t->known;
		return false;
	}
	len = room < t->largest_message ? room : t->largest_message;
	if (roll(&t->dice, 0, 3))
		len = (uint32_t)roll(&t->dice, 1, len);
	to = rsk_tx_credit_take(&t->tx, len);
	/* I1, I2: right behind the byte before, within one segment. */
	claim(to.addr == r->addr + (t->bytes_sent - r->first) && to.key == r->key &&
	      to.length == len, "message %lu goes elsewhere", (unsigned long)t->sent);
	t->full_messages += len == 65536;
	t->data[t->sent++ % COUNT(t->data)] = len;
	t->bytes_sent += len;
	if (t->bytes_sent == end_of(t, t->filling))
		t->filling++;
	/* I5: by now the sender's own notes are up to date. */
	claim(rsk_tx_credit_room(&t->tx) == room_by_model(t), "room behind message %lu",
	      (unsigned long)t->sent);
	/* I6 */
	claim(t->sent <= t->limit, "message %lu beyond the limit", (unsigned long)t->sent);
	return true;
}

/* False when nothing is on its way. */
static bool talk_reap_data(struct talk *t)
{
	uint32_t len;

	if (t->reaped == t->sent)
		return false;
	len = t->data[t->reaped % COUNT(t->data)];
	claim(!rsk_rx_credit_message(&t->rx), "message %lu: no credit", (unsigned long)t->reaped);
	claim(!rsk_rx_credit_data(&t->rx, len), "message %lu: no place", (unsigned long)t->reaped);
	t->reaped++;
	t->bytes_reaped += len;
	if (t->bytes_reaped == end_of(t, t->reaping))
		t->reaping++;
	/* I1: both know the same place by counting lengths only. */
	claim(t->rx.filling == (uint32_t)t->reaping &&
	      t->rx.filled == t->bytes_reaped - (t->reaping ? end_of(t, t->reaping - 1) : 0),
	      "filled up to %u, %u", t->rx.filling, t->rx.filled);
	claim(t->rx.arrived == t->bytes_reaped, "arrived: %lu", (unsigned long)t->rx.arrived);
	return true;
}

/* The application reads some of what has arrived. */
static bool talk_read(struct talk *t)
{
	if (t->bytes_read == t->bytes_reaped)
		return false;
	t->bytes_read += roll(&t->dice, 1, t->bytes_reaped - t->bytes_read);
	while (t->draining < t->reaping && t->bytes_read >= end_of(t, t->draining))
		t->draining++;
	return true;
}

/* Posts an update if the rules, or @eager, ask for one. */
static bool talk_grant(struct talk *t, bool eager)
{
	struct update *u = &t->updates[t->updates_sent % UPDATES_MAX];
	uint64_t ungranted = t->reaped + t->window - t->granted;
	bool due = ungranted && ungranted >= t->window / 2;
	/* I3, I4: number m + 2 when all of number m was read. */
	bool segment = t->advertised < t->draining + RSK_SEGMENTS;

	claim(rsk_rx_credit_due(&t->rx) == due, "credits due: %d", due);
	if (t->updates_sent - t->updates_reaped == UPDATES_MAX || !(due || segment || eager))
		return false;
	*u = (struct update){ .has_entry = segment };
	if (segment) {
		u->entry = new_region(t, t->advertised);
		claim(rsk_rx_credit_advertise(&t->rx, u->entry.length) == (uint32_t)t->advertised,
		      "number of segment %lu", (unsigned long)t->advertised);
		t->advertised++;
	}
	u->operand = rsk_rx_credit_grant(&t->rx);
	/* I7: a window beyond what was consumed; the operand has 17 bits. */
	claim((uint16_t)u->operand == (uint16_t)(t->reaped + t->window) && u->operand <= 0x1fffd,
	      "operand %#x after %lu messages", u->operand, (unsigned long)t->reaped);
	u->limit = t->granted = t->reaped + t->window;
	t->updates_sent++;
	claim(!rsk_rx_credit_due(&t->rx), "credits due again");
	return true;
}

static bool talk_reap_update(struct talk *t)
{
	const struct update *u = &t->updates[t->updates_reaped % UPDATES_MAX];
	uint64_t before = t->limit;

	if (t->updates_reaped == t->updates_sent)
		return false;
	t->updates_reaped++;
	t->limit = u->limit;
	claim(!rsk_tx_credit_update(&t->tx, u->operand), "update to %#x refused", u->operand);
	/* I7 */
	claim(t->limit >= before && t->limit <= t->sent + t->window, "limit %lu after %lu messages",
	      (unsigned long)t->limit, (unsigned long)t->sent);
	if (u->has_entry) {
		/* I3, I4: the target list's entry of this number was used up before. */
		claim(t->known < t->filling + RSK_SEGMENTS, "three segments");
		claim(!rsk_tx_credit_segment(&t->tx, &u->entry), "segment %lu refused",
		      (unsigned long)t->known);
		t->known++;
	}
	claim(t->tx.nsegments == t->known - t->filling, "%u segments", t->tx.nsegments);
	return true;
}

/* A step of a kind, now and then repeated until it cannot go on. */
static void talk_step(struct talk *t)
{
	static bool (*const steps[])(struct talk *) = {
		talk_send, talk_reap_data, talk_read, talk_reap_update,
	};
	uint64_t kind = roll(&t->dice, 0, COUNT(steps) + 1), times = 1;

	if (!roll(&t->dice, 0, 7))
		times = roll(&t->dice, 1, 2 * t->window);
	if (kind < COUNT(steps)) {
		while (times-- && steps[kind](t))
			;
	} else {
		talk_grant(t, !roll(&t->dice, 0, 15));
	}
}

static const struct {
	const char *name;
	uint16_t window;
	uint32_t largest_segment, largest_message;
	bool credits_end, segments_end, messages_full; /* what must have happened on the way */
} talks[] = {
	{ "like upstream", 384, 65536, 150, true, true, false },
	{ "smallest window", 16, 300, 100, true, true, false },
	{ "one credit", 1, 65536, 70000, true, true, false },
	{ "two credits", 2, 10, 10, true, true, false },
	{ "odd window", 333, 5000, 40, true, true, false },
	{ "tiny segments", 384, 2, 2, false, true, false },
	{ "large segments", 1000, 1 << 20, 70000, false, true, true },
	{ "largest window", 65534, 1 << 22, 64, true, true, false },
	{ "more than half the numbers", 40000, 1 << 22, 128, true, true, false },
};

START_TEST(both_halves_agree_through_many_wraparounds)
{
	struct talk *t = calloc(1, sizeof(*t));

	ck_assert_ptr_nonnull(t);
	t->dice.state = 0x637265646974 + (uint64_t)_i;
	t->window = talks[_i].window;
	t->largest_segment = talks[_i].largest_segment;
	t->largest_message = talks[_i].largest_message;
	talk_start(t);
	while (t->reaped < MESSAGES)
		talk_step(t);

	/* The conversation had its difficult moments. */
	ck_assert_msg(t->out_of_credit || !talks[_i].credits_end, "%s", talks[_i].name);
	ck_assert_msg(t->out_of_segments || !talks[_i].segments_end, "%s", talks[_i].name);
	ck_assert_msg(t->full_messages || !talks[_i].messages_full, "%s", talks[_i].name);
	/* The 16-bit numbers went round three times. */
	ck_assert_uint_eq(t->tx.sent, (uint16_t)t->sent);
	ck_assert_uint_eq(t->rx.received, (uint16_t)t->reaped);
	ck_assert_uint_gt(t->limit, 3 * 65536);
	free(t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("credit");
	TCase *tc = group(s, "example");

	tcase_add_test(tc, worked_example_comes_out_as_specified);
	tcase_add_test(tc, credits_come_back_when_messages_are_reaped_whatever_is_read);

	tc = group(s, "sender");
	tcase_add_test(tc, room_needs_a_credit_and_a_segment);

	tc = group(s, "mappings");
	tcase_add_test(tc, message_about_a_mapping_costs_a_credit_and_no_room);
	tcase_add_test(tc, half_the_window_is_kept_from_mappings_until_one_comes_back);
	tcase_add_test(tc, data_flows_on_when_mappings_have_used_up_their_half);
	tcase_add_test(tc, mappings_go_on_where_their_credits_are_returned);
	tcase_add_test(tc, limit_that_goes_back_or_too_far_is_refused);
	tcase_add_test(tc, limit_that_goes_back_within_a_large_window_is_refused);
	tcase_add_test(tc, third_empty_and_wrapping_segments_are_refused);

	tc = group(s, "receiver");
	tcase_add_test(tc, message_without_credit_is_refused);
	tcase_add_test(tc, data_must_fit_the_segment_it_falls_into);
	tcase_add_test(tc, segment_numbers_wrap_around);
	tcase_add_test(tc, credits_are_due_at_half_the_window);
	tcase_add_test(tc, grant_tells_the_limit_without_truncating);

	tc = group(s, "conversation");
	tcase_add_loop_test(tc, both_halves_agree_through_many_wraparounds, 0, (int)COUNT(talks));
	return run_suite(s);
}
