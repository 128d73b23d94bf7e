/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which messages are held back because the rest of a record is to follow. */
#include "hold.h"

#include "unit.h"

enum { SEGMENT = 16384 };

/* A stream of messages, cut where the segments end, as a sender cuts its records. */
struct stream {
	struct rsk_hold hold;
	uint32_t filled;             /* of the segment */
};

static void message(struct stream *s, uint32_t len)
{
	s->filled = (s->filled + len) % SEGMENT;
	rsk_hold_message(&s->hold, len, !s->filled);
}

/* Sends a record, in two messages where it must be. */
static void record(struct stream *s, uint32_t len)
{
	uint32_t first = SEGMENT - s->filled;

	if (first < len) {
		message(s, first);
		claim(s->hold.bytes == first, "%u of %u bytes are shown", first, len);
		message(s, len - first);
	} else {
		message(s, len);
	}
	claim(!s->hold.bytes, "%u bytes are held back of a whole record of %u", s->hold.bytes, len);
}

START_TEST(record_of_any_length_is_shown_whole)
{
	for (uint32_t len = 1; len <= 10000; len++) {
		struct stream s = { .filled = 0 };

		for (int i = 0; i < 200; i++)
			record(&s, len);
	}
}
END_TEST

START_TEST(record_that_ends_with_its_segment_is_shown)
{
	struct stream s = { .filled = 0 };

	for (int i = 0; i < 100; i++) {
		message(&s, 512);
		ck_assert_uint_eq(s.hold.bytes, 0);
	}
}
END_TEST

START_TEST(first_message_of_a_stream_is_shown)
{
	struct stream s = { .filled = SEGMENT - 100 };

	message(&s, 100);
	ck_assert_uint_eq(s.hold.bytes, 0);
}
END_TEST

START_TEST(parts_of_long_sends_are_shown)
{
	struct stream s = { .filled = 0 };

	for (int i = 0; i < 100; i++) {
		message(&s, SEGMENT);
		ck_assert_uint_eq(s.hold.bytes, 0);
	}
	message(&s, 1000);
	message(&s, SEGMENT - 1000);
	ck_assert_uint_eq(s.hold.bytes, 0);
}
END_TEST

/* What a lost packet delays comes after some seconds; a wrong guess must not cost them. */
START_TEST(rest_is_awaited_for_long_only_where_records_were_of_one_length)
{
	struct stream s = { .filled = SEGMENT - 2500 };

	record(&s, 900);
	record(&s, 1000);
	message(&s, 600);
	ck_assert_uint_eq(s.hold.bytes, 600);
	ck_assert_int_eq(rsk_hold_ms(&s.hold), RSK_HOLD_MS);
	message(&s, 400);
	for (int i = 0; i < 15; i++)
		record(&s, 1000);
	message(&s, SEGMENT - s.filled);
	ck_assert_uint_ne(s.hold.bytes, 0);
	ck_assert_int_eq(rsk_hold_ms(&s.hold), RSK_HOLD_SURE_MS);
}
END_TEST

START_TEST(stream_that_was_held_in_vain_is_not_held_again)
{
	struct stream s = { .filled = SEGMENT - 1100 };

	message(&s, 1000);
	message(&s, 100);
	ck_assert_uint_eq(s.hold.bytes, 100);
	rsk_hold_give_up(&s.hold);
	ck_assert_uint_eq(s.hold.bytes, 0);
	for (int i = 0; i < 1000; i++) {
		message(&s, 1000);
		message(&s, 24);
		ck_assert_uint_eq(s.hold.bytes, 0);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hold");
	TCase *tc = group(s, "hold");

	tcase_add_test(tc, record_of_any_length_is_shown_whole);
	tcase_add_test(tc, record_that_ends_with_its_segment_is_shown);
	tcase_add_test(tc, first_message_of_a_stream_is_shown);
	tcase_add_test(tc, parts_of_long_sends_are_shown);
	tcase_add_test(tc, rest_is_awaited_for_long_only_where_records_were_of_one_length);
	tcase_add_test(tc, stream_that_was_held_in_vain_is_not_held_again);
	return run_suite(s);
}
