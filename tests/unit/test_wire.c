/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The wire format, against golden bytes: those of the worked example in the protocol's
 * specification, where A connects to B, both with defaults, and against tables of what a peer may
 * and may not say when connecting.
 */
#include "wire.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

/* -- the worked example ------------------------------------------------------------------------ */

static const struct rsk_hello hello_a = {
	.iomap = true,
	.credits = 384,
	.target_list = { 0x00005581e0a03000, 0x0001a2b3, 2 },
	.segment = { 0x00007f4c10000000, 0x0001a2b4, 65536 },
};

static const uint8_t request_of_a[WIRE_HELLO_SIZE] = {
	0x01, 0x02, 0x01, 0x80, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x55, 0x81, 0xe0, 0xa0, 0x30, 0x00,
	0x00, 0x01, 0xa2, 0xb3, 0x00, 0x00, 0x00, 0x02,
	0x00, 0x00, 0x7f, 0x4c, 0x10, 0x00, 0x00, 0x00,
	0x00, 0x01, 0xa2, 0xb4, 0x00, 0x01, 0x00, 0x00,
};

static const struct rsk_hello hello_b = {
	.iomap = true,
	.credits = 384,
	.target_list = { 0x000055d0c4f05000, 0x00c0d1e1, 2 },
	.segment = { 0x00007f90a8000000, 0x00c0d1e2, 65536 },
};

static const uint8_t reply_of_b[WIRE_HELLO_SIZE] = {
	0x01, 0x02, 0x01, 0x80, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x55, 0xd0, 0xc4, 0xf0, 0x50, 0x00,
	0x00, 0xc0, 0xd1, 0xe1, 0x00, 0x00, 0x00, 0x02,
	0x00, 0x00, 0x7f, 0x90, 0xa8, 0x00, 0x00, 0x00,
	0x00, 0xc0, 0xd1, 0xe2, 0x00, 0x01, 0x00, 0x00,
};

static void check_same_entry(const struct rsk_entry *got, const struct rsk_entry *want)
{
	ck_assert_uint_eq(got->addr, want->addr);
	ck_assert_uint_eq(got->key, want->key);
	ck_assert_uint_eq(got->length, want->length);
}

static void check_same_hello(const struct rsk_hello *got, const struct rsk_hello *want)
{
	ck_assert_int_eq(got->big_endian, want->big_endian);
	ck_assert_int_eq(got->iomap, want->iomap);
	ck_assert_uint_eq(got->credits, want->credits);
	ck_assert_uint_eq(got->iomap_size, want->iomap_size);
	check_same_entry(&got->target_list, &want->target_list);
	check_same_entry(&got->segment, &want->segment);
}

/* Private data lies in memory of exactly its size, so that a sanitizer sees any read beyond. */
static int get_hello(struct rsk_hello *hello, const void *bytes, size_t len)
{
	void *copy = malloc(len + !len);
	int ret;

	ck_assert_ptr_nonnull(copy);
	if (len)
		memcpy(copy, bytes, len);
	ret = rsk_wire_get_hello(hello, copy, len);
	free(copy);
	return ret;
}

static void check_golden(const struct rsk_hello *hello, const uint8_t golden[WIRE_HELLO_SIZE])
{
	uint8_t bytes[WIRE_HELLO_SIZE + 1];
	struct rsk_hello got;

	memset(bytes, 0xa5, sizeof(bytes));
	memset(&got, 0xa5, sizeof(got));
	rsk_wire_put_hello(bytes, hello);
	ck_assert_mem_eq(bytes, golden, WIRE_HELLO_SIZE);
	ck_assert_uint_eq(bytes[WIRE_HELLO_SIZE], 0xa5);
	ck_assert_int_eq(get_hello(&got, golden, WIRE_HELLO_SIZE), 0);
	check_same_hello(&got, hello);
}

START_TEST(request_has_the_golden_bytes)
{
	check_golden(&hello_a, request_of_a);
}
END_TEST

START_TEST(reply_has_the_golden_bytes)
{
	check_golden(&hello_b, reply_of_b);
}
END_TEST

START_TEST(each_field_has_its_place)
{
	static const struct rsk_hello hello = {
		.big_endian = true,
		.iomap = true,
		.credits = 0x1122,
		.iomap_size = 256,
		.target_list = { 0x1718191a1b1c1d1e, 0x21222324, 64 },
		.segment = { 0x3132333435363738, 0x41424344, 0x51525354 },
	};
	static const uint8_t golden[WIRE_HELLO_SIZE] = {
		0x01, 0x03, 0x11, 0x22, 0x00, 0x00, 0x00, 0x81,
		0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e,
		0x21, 0x22, 0x23, 0x24, 0x00, 0x00, 0x00, 0x40,
		0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
		0x41, 0x42, 0x43, 0x44, 0x51, 0x52, 0x53, 0x54,
	};

	check_golden(&hello, golden);
}
END_TEST

/* -- target list entries ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct rsk_entry entry;
	uint8_t little[WIRE_ENTRY_SIZE], big[WIRE_ENTRY_SIZE];
} entries[] = {
	{ "B's segment 1, example step 5", { 0x7f90a8010000, 0x00c0d1e2, 65536 },
	  { 0x00, 0x00, 0x01, 0xa8, 0x90, 0x7f, 0x00, 0x00,
	    0xe2, 0xd1, 0xc0, 0x00, 0x00, 0x00, 0x01, 0x00 },
	  { 0x00, 0x00, 0x7f, 0x90, 0xa8, 0x01, 0x00, 0x00,
	    0x00, 0xc0, 0xd1, 0xe2, 0x00, 0x01, 0x00, 0x00 } },
	{ "A's segment 1, example step 6", { 0x7f4c10010000, 0x0001a2b4, 65536 },
	  { 0x00, 0x00, 0x01, 0x10, 0x4c, 0x7f, 0x00, 0x00,
	    0xb4, 0xa2, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00 },
	  { 0x00, 0x00, 0x7f, 0x4c, 0x10, 0x01, 0x00, 0x00,
	    0x00, 0x01, 0xa2, 0xb4, 0x00, 0x01, 0x00, 0x00 } },
	{ "B's segment 2, example step 8", { 0x7f90a8000000, 0x00c0d1e2, 65536 },
	  { 0x00, 0x00, 0x00, 0xa8, 0x90, 0x7f, 0x00, 0x00,
	    0xe2, 0xd1, 0xc0, 0x00, 0x00, 0x00, 0x01, 0x00 },
	  { 0x00, 0x00, 0x7f, 0x90, 0xa8, 0x00, 0x00, 0x00,
	    0x00, 0xc0, 0xd1, 0xe2, 0x00, 0x01, 0x00, 0x00 } },
	{ "no two bytes alike", { 0x1112131415161718, 0x21222324, 0x31323334 },
	  { 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
	    0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31 },
	  { 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
	    0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34 } },
};

static void check_entry_bytes(size_t row, bool owner_big_endian)
{
	const uint8_t *golden = owner_big_endian ? entries[row].big : entries[row].little;
	uint8_t bytes[WIRE_ENTRY_SIZE + 1];

	memset(bytes, 0xa5, sizeof(bytes));
	rsk_wire_put_entry(bytes, &entries[row].entry,
			   owner_big_endian != rsk_wire_host_big_endian());
	ck_assert_msg(!memcmp(bytes, golden, WIRE_ENTRY_SIZE), "%s, owner %s endian",
		      entries[row].name, owner_big_endian ? "big" : "little");
	ck_assert_uint_eq(bytes[WIRE_ENTRY_SIZE], 0xa5);
}

START_TEST(entry_is_written_in_the_byte_order_of_the_list_owner)
{
	for (size_t row = 0; row < COUNT(entries); row++) {
		check_entry_bytes(row, false);
		check_entry_bytes(row, true);
	}
}
END_TEST

START_TEST(own_byte_order_is_known)
{
	uint16_t one = 1;
	uint8_t first;

	memcpy(&first, &one, 1);
	ck_assert_int_eq(rsk_wire_host_big_endian(), first == 0);
}
END_TEST

/* -- mappings ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct rsk_mapping mapping;
	uint8_t little[WIRE_MAPPING_SIZE], big[WIRE_MAPPING_SIZE];
} mappings[] = {
	{ "no two bytes alike", { 0x4142434445464748, 0x1112131415161718, 0x21222324, 0x31323334 },
	  { 0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41,
	    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
	    0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31 },
	  { 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
	    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
	    0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34 } },
	{ "the end of a mapping", { 0, 0, 0, 0 }, { 0 }, { 0 } },
};

static void check_mapping_bytes(size_t row, bool owner_big_endian)
{
	const uint8_t *golden = owner_big_endian ? mappings[row].big : mappings[row].little;
	uint8_t bytes[WIRE_MAPPING_SIZE + 1];

	memset(bytes, 0xa5, sizeof(bytes));
	rsk_wire_put_mapping(bytes, &mappings[row].mapping,
			     owner_big_endian != rsk_wire_host_big_endian());
	ck_assert_msg(!memcmp(bytes, golden, WIRE_MAPPING_SIZE), "%s, owner %s endian",
		      mappings[row].name, owner_big_endian ? "big" : "little");
	ck_assert_uint_eq(bytes[WIRE_MAPPING_SIZE], 0xa5);
}

START_TEST(mapping_is_written_in_the_byte_order_of_the_table_owner)
{
	for (size_t row = 0; row < COUNT(mappings); row++) {
		check_mapping_bytes(row, false);
		check_mapping_bytes(row, true);
	}
}
END_TEST

START_TEST(own_table_is_read_in_own_byte_order)
{
	for (size_t row = 0; row < COUNT(mappings); row++) {
		const struct rsk_mapping *want = &mappings[row].mapping;
		struct rsk_mapping got;

		memset(&got, 0xa5, sizeof(got));
		ck_assert_int_eq(rsk_wire_get_mapping(&got, rsk_wire_host_big_endian() ?
						      mappings[row].big : mappings[row].little), 0);
		ck_assert_uint_eq(got.offset, want->offset);
		ck_assert_uint_eq(got.addr, want->addr);
		ck_assert_uint_eq(got.key, want->key);
		ck_assert_uint_eq(got.length, want->length);
	}
}
END_TEST

static const struct {
	const char *name;
	struct rsk_mapping mapping;
	int result;
} claims[] = {
	{ "one byte", { 0, 4096, 1, 1 }, 0 },
	{ "the longest", { 0, 4096, 1, UINT32_MAX }, 0 },
	{ "offsets that end at the top", { UINT64_MAX - 4096, 4096, 1, 4096 }, 0 },
	{ "addresses that end at the top", { 0, UINT64_MAX - 4096, 1, 4096 }, 0 },
	{ "an end, whatever is left there", { UINT64_MAX, UINT64_MAX, 1, 0 }, 0 },

	{ "offsets whose end is no offset", { UINT64_MAX - 4095, 4096, 1, 4096 }, -EPROTO },
	{ "offsets that wrap around", { UINT64_MAX, 4096, 1, 4096 }, -EPROTO },
	{ "addresses that wrap around", { 0, UINT64_MAX, 1, 4096 }, -EPROTO },
};

START_TEST(mapping_that_wraps_around_is_refused)
{
	for (size_t i = 0; i < COUNT(claims); i++) {
		uint8_t bytes[WIRE_MAPPING_SIZE];
		struct rsk_mapping got;
		int ret;

		rsk_wire_put_mapping(bytes, &claims[i].mapping, false);
		ret = rsk_wire_get_mapping(&got, bytes);
		ck_assert_msg(ret == claims[i].result, "%s: %d", claims[i].name, ret);
	}
}
END_TEST

static const struct {
	unsigned wanted, entries;    /* entries: what the table gets, and the peer is told */
	uint8_t scaled;
} tables[] = {
	{ 0, 0, 0 }, { 1, 1, 1 }, { 127, 127, 127 }, { 128, 128, 128 },
	{ 129, 256, 0x81 }, { 255, 256, 0x81 }, { 256, 256, 0x81 },
	{ 257, 512, 0x82 }, { 512, 512, 0x82 }, { 10000, 10240, 0xa8 },
	{ 32257, 32512, 0xff }, { 32512, 32512, 0xff },
};

START_TEST(size_of_a_table_is_rounded_up_to_what_one_byte_says)
{
	for (size_t i = 0; i < COUNT(tables); i++) {
		struct rsk_hello hello = hello_a, got;
		uint8_t bytes[WIRE_HELLO_SIZE];

		hello.iomap_size = rsk_wire_iomap_size(tables[i].wanted);
		ck_assert_uint_eq(hello.iomap_size, tables[i].entries);
		rsk_wire_put_hello(bytes, &hello);
		ck_assert_uint_eq(bytes[7], tables[i].scaled);
		ck_assert_int_eq(get_hello(&got, bytes, sizeof(bytes)), 0);
		ck_assert_uint_eq(got.iomap_size, tables[i].entries);
	}
}
END_TEST

/* -- messages ---------------------------------------------------------------------------------- */

static const struct {
	enum rsk_wire_op op;
	uint32_t value, msg;
} messages[] = {
	/* Of the worked example. */
	{ WIRE_OP_DATA, 100, 0x00000064 },
	{ WIRE_OP_SGL, 0 + 384, 0x80000180 },
	{ WIRE_OP_SGL, 192 + 384, 0x80000240 },
	{ WIRE_OP_SGL, 197 + 384, 0x80000245 },
	{ WIRE_OP_CTRL, WIRE_CTRL_SHUTDOWN, 0xe0000002 },
	{ WIRE_OP_CTRL, WIRE_CTRL_DISCONNECT, 0xe0000000 },
	/* The rest of the operations, and the ends of the operand. */
	{ WIRE_OP_CTRL, WIRE_CTRL_KEEPALIVE, 0xe0000001 },
	{ WIRE_OP_DATA, 1, 0x00000001 },
	{ WIRE_OP_DATA, WIRE_DATA_MAX, 0x00010000 },
	{ WIRE_OP_DATA, WIRE_VALUE_MASK, 0x1fffffff },
	{ (enum rsk_wire_op)1, 5, 0x20000005 },
	{ WIRE_OP_WRITE, 5, 0x40000005 },
	{ (enum rsk_wire_op)3, 5, 0x60000005 },
	{ WIRE_OP_SGL, 0x1fffd, 0x8001fffd },
	{ (enum rsk_wire_op)5, 5, 0xa0000005 },
	{ WIRE_OP_IOMAP_SGL, 0xffff, 0xc000ffff },
	{ WIRE_OP_CTRL, WIRE_VALUE_MASK, 0xffffffff },
};

START_TEST(message_is_made_of_operation_and_operand)
{
	for (size_t i = 0; i < COUNT(messages); i++)
		ck_assert_uint_eq(rsk_wire_msg(messages[i].op, messages[i].value), messages[i].msg);
}
END_TEST

START_TEST(message_comes_apart_into_operation_and_operand)
{
	for (size_t i = 0; i < COUNT(messages); i++) {
		ck_assert_uint_eq(rsk_wire_op(messages[i].msg), messages[i].op);
		ck_assert_uint_eq(rsk_wire_value(messages[i].msg), messages[i].value);
	}
}
END_TEST

START_TEST(operand_never_spills_into_the_operation)
{
	for (unsigned op = 0; op < 8; op++)
		ck_assert_uint_eq(rsk_wire_op(rsk_wire_msg((enum rsk_wire_op)op, UINT32_MAX)), op);
}
END_TEST

/* -- what a peer may say ----------------------------------------------------------------------- */

START_TEST(no_private_data_is_refused)
{
	struct rsk_hello hello;

	ck_assert_int_eq(rsk_wire_get_hello(&hello, NULL, 0), -EPROTO);
	ck_assert_int_eq(rsk_wire_get_hello(&hello, NULL, WIRE_HELLO_SIZE), -EPROTO);
}
END_TEST

START_TEST(short_private_data_is_refused_at_every_length)
{
	struct rsk_hello hello;

	for (size_t len = 0; len < WIRE_HELLO_SIZE; len++)
		ck_assert_int_eq(get_hello(&hello, request_of_a, len), -EPROTO);
}
END_TEST

START_TEST(padded_private_data_is_accepted)
{
	/* One byte more, and what IB pads a request, an AF_IB request and a reply to. */
	static const size_t padded[] = { WIRE_HELLO_SIZE + 1, 56, 92, 196 };
	uint8_t bytes[196];

	memset(bytes, 0xa5, sizeof(bytes));
	memcpy(bytes, request_of_a, WIRE_HELLO_SIZE);
	for (size_t i = 0; i < COUNT(padded); i++) {
		struct rsk_hello hello;

		ck_assert_int_eq(get_hello(&hello, bytes, padded[i]), 0);
		check_same_hello(&hello, &hello_a);
	}
}
END_TEST

START_TEST(only_version_1_is_spoken)
{
	for (unsigned version = 0; version <= UINT8_MAX; version++) {
		int want = version == WIRE_VERSION ? 0 : -EPROTONOSUPPORT;
		uint8_t bytes[WIRE_HELLO_SIZE];
		struct rsk_hello hello;

		memcpy(bytes, request_of_a, sizeof(bytes));
		bytes[0] = (uint8_t)version;
		ck_assert_int_eq(get_hello(&hello, bytes, sizeof(bytes)), want);
	}
}
END_TEST

START_TEST(another_version_is_named_whatever_else_it_says)
{
	uint8_t bytes[WIRE_HELLO_SIZE] = { WIRE_VERSION + 1 };
	struct rsk_hello hello;

	ck_assert_int_eq(get_hello(&hello, bytes, sizeof(bytes)), -EPROTONOSUPPORT);
}
END_TEST

static const struct {
	const char *name;
	uint16_t credits;
	uint32_t entries;            /* of the target list */
	uint64_t addr;               /* of the segment */
	uint32_t length;
	int result;
} numbers[] = {
	{ "upstream's defaults",              384, 2, 0x7f4c10000000, 65536, 0 },

	{ "no target list",                   384, 0, 0x7f4c10000000, 65536, -EPROTO },
	{ "one entry",                        384, 1, 0x7f4c10000000, 65536, -EPROTO },
	{ "three entries",                    384, 3, 0x7f4c10000000, 65536, 0 },
	{ "most entries",                     384, 64, 0x7f4c10000000, 65536, 0 },
	{ "too many entries",                 384, 65, 0x7f4c10000000, 65536, -EPROTO },
	{ "too many, low byte good",          384, 0x102, 0x7f4c10000000, 65536, -EPROTO },
	{ "entries beyond counting",          384, UINT32_MAX, 0x7f4c10000000, 65536, -EPROTO },

	{ "no credits",                       0, 2, 0x7f4c10000000, 65536, -EPROTO },
	{ "one credit",                       1, 2, 0x7f4c10000000, 65536, 0 },
	{ "credits, low byte 0",              0x100, 2, 0x7f4c10000000, 65536, 0 },
	{ "upstream's most credits",          65534, 2, 0x7f4c10000000, 65536, 0 },

	{ "empty segment",                    384, 2, 0x7f4c10000000, 0, -EPROTO },
	{ "segment of one byte",              384, 2, 0x7f4c10000000, 1, 0 },
	{ "largest segment",                  384, 2, 0x7f4c10000000, UINT32_MAX, 0 },

	{ "segment at address 0",             384, 2, 0, 65536, 0 },
	{ "segment that ends at the top",     384, 2, UINT64_MAX - 65536, 65536, 0 },
	{ "segment whose end is no address",  384, 2, UINT64_MAX - 65535, 65536, -EPROTO },
	{ "segment that wraps around",        384, 2, UINT64_MAX, 65536, -EPROTO },
	{ "largest segment, wrapping around", 384, 2, UINT64_MAX - 5, UINT32_MAX, -EPROTO },
};

START_TEST(numbers_that_no_conforming_peer_sends_are_refused)
{
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct rsk_hello hello = hello_a, got;
		uint8_t bytes[WIRE_HELLO_SIZE];
		int ret;

		hello.credits = numbers[i].credits;
		hello.target_list.length = numbers[i].entries;
		hello.segment.addr = numbers[i].addr;
		hello.segment.length = numbers[i].length;
		rsk_wire_put_hello(bytes, &hello);
		ret = get_hello(&got, bytes, sizeof(bytes));
		ck_assert_msg(ret == numbers[i].result, "%s: %d", numbers[i].name, ret);
		if (!ret)
			check_same_hello(&got, &hello);
	}
}
END_TEST

static const struct {
	uint8_t flags, iomap_size;   /* as they arrive */
	bool big_endian, iomap;
	unsigned seen_size;
} flags[] = {
	{ 0x00, 0, false, false, 0 },
	{ 0x01, 0, true, false, 0 },
	{ 0x02, 0, false, true, 0 },
	{ 0x03, 0, true, true, 0 },
	{ 0x02, 0x81, false, true, 256 },
	{ 0x03, 0xff, true, true, 32512 },
	/* Without the flag the size means nothing. */
	{ 0x00, 7, false, false, 0 },
	{ 0x01, 7, true, false, 0 },
	/* Flags of later versions say nothing to this one. */
	{ 0xfc, 7, false, false, 0 },
	{ 0xff, 7, true, true, 7 },
};

START_TEST(flags_say_byte_order_and_iomap)
{
	for (size_t i = 0; i < COUNT(flags); i++) {
		struct rsk_hello want = hello_a, got;
		uint8_t bytes[WIRE_HELLO_SIZE];

		memcpy(bytes, request_of_a, sizeof(bytes));
		bytes[1] = flags[i].flags;
		bytes[7] = flags[i].iomap_size;
		want.big_endian = flags[i].big_endian;
		want.iomap = flags[i].iomap;
		want.iomap_size = flags[i].seen_size;
		ck_assert_int_eq(get_hello(&got, bytes, sizeof(bytes)), 0);
		check_same_hello(&got, &want);
	}
}
END_TEST

START_TEST(reserved_bytes_are_not_looked_at)
{
	uint8_t bytes[WIRE_HELLO_SIZE];
	struct rsk_hello hello;

	memcpy(bytes, request_of_a, sizeof(bytes));
	memset(bytes + 4, 0xff, 3);
	ck_assert_int_eq(get_hello(&hello, bytes, sizeof(bytes)), 0);
	check_same_hello(&hello, &hello_a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *tc = group(s, "hello");

	tcase_add_test(tc, request_has_the_golden_bytes);
	tcase_add_test(tc, reply_has_the_golden_bytes);
	tcase_add_test(tc, each_field_has_its_place);

	tc = group(s, "entry");
	tcase_add_test(tc, entry_is_written_in_the_byte_order_of_the_list_owner);
	tcase_add_test(tc, own_byte_order_is_known);

	tc = group(s, "mapping");
	tcase_add_test(tc, mapping_is_written_in_the_byte_order_of_the_table_owner);
	tcase_add_test(tc, own_table_is_read_in_own_byte_order);
	tcase_add_test(tc, mapping_that_wraps_around_is_refused);
	tcase_add_test(tc, size_of_a_table_is_rounded_up_to_what_one_byte_says);

	tc = group(s, "message");
	tcase_add_test(tc, message_is_made_of_operation_and_operand);
	tcase_add_test(tc, message_comes_apart_into_operation_and_operand);
	tcase_add_test(tc, operand_never_spills_into_the_operation);

	tc = group(s, "refusals");
	tcase_add_test(tc, no_private_data_is_refused);
	tcase_add_test(tc, short_private_data_is_refused_at_every_length);
	tcase_add_test(tc, padded_private_data_is_accepted);
	tcase_add_test(tc, only_version_1_is_spoken);
	tcase_add_test(tc, another_version_is_named_whatever_else_it_says);
	tcase_add_test(tc, numbers_that_no_conforming_peer_sends_are_refused);
	tcase_add_test(tc, flags_say_byte_order_and_iomap);
	tcase_add_test(tc, reserved_bytes_are_not_looked_at);
	return run_suite(s);
}
