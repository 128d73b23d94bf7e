/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The wire format: see wire.h. */
#include "wire.h"

#include <byteswap.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

enum { HELLO_BIG_ENDIAN = 1, HELLO_IOMAP = 2 };

/* One byte tells the size of a table: up to 128 as it is, above in units of 256, with this bit. */
enum { SCALED = 128 };

bool rsk_wire_host_big_endian(void)
{
	return htobe16(1) == 1;
}

static void put_entry_be(uint8_t *buf, const struct rsk_entry *entry)
{
	uint64_t addr = htobe64(entry->addr);
	uint32_t key = htobe32(entry->key), length = htobe32(entry->length);

	memcpy(buf, &addr, 8);
	memcpy(buf + 8, &key, 4);
	memcpy(buf + 12, &length, 4);
}

static struct rsk_entry get_entry_be(const uint8_t *buf)
{
	struct rsk_entry entry;

	memcpy(&entry.addr, buf, 8);
	memcpy(&entry.key, buf + 8, 4);
	memcpy(&entry.length, buf + 12, 4);
	entry.addr = be64toh(entry.addr);
	entry.key = be32toh(entry.key);
	entry.length = be32toh(entry.length);
	return entry;
}

static uint8_t scale(unsigned entries)
{
	return (uint8_t)(entries <= SCALED ? entries : SCALED | entries >> 8);
}

static unsigned unscale(uint8_t scaled)
{
	return scaled <= SCALED ? scaled : (scaled & ~(unsigned)SCALED) << 8;
}

void rsk_wire_put_hello(uint8_t buf[static WIRE_HELLO_SIZE], const struct rsk_hello *hello)
{
	memset(buf, 0, WIRE_HELLO_SIZE);
	buf[0] = WIRE_VERSION;
	buf[1] = (hello->big_endian ? HELLO_BIG_ENDIAN : 0) | (hello->iomap ? HELLO_IOMAP : 0);
	buf[2] = (uint8_t)(hello->credits >> 8);
	buf[3] = (uint8_t)hello->credits;
	buf[7] = scale(hello->iomap_size);
	put_entry_be(buf + 8, &hello->target_list);
	put_entry_be(buf + 24, &hello->segment);
}

int rsk_wire_get_hello(struct rsk_hello *hello, const void *data, size_t len)
{
	const uint8_t *buf = data;

	if (!buf || len < WIRE_HELLO_SIZE)
		return -EPROTO;
	if (buf[0] != WIRE_VERSION)
		return -EPROTONOSUPPORT;

	hello->big_endian = buf[1] & HELLO_BIG_ENDIAN;
	hello->iomap = buf[1] & HELLO_IOMAP;
	hello->credits = (uint16_t)(buf[2] << 8 | buf[3]);
	hello->iomap_size = hello->iomap ? unscale(buf[7]) : 0;
	hello->target_list = get_entry_be(buf + 8);
	hello->segment = get_entry_be(buf + 24);

	if (hello->target_list.length < WIRE_ENTRIES_MIN ||
	    hello->target_list.length > WIRE_ENTRIES_MAX)
		return -EPROTO;
	/* No credits or no room would be a peer that can never be sent to. */
	if (!hello->credits || !hello->segment.length ||
	    hello->segment.addr + hello->segment.length < hello->segment.addr)
		return -EPROTO;
	return 0;
}

void rsk_wire_put_entry(uint8_t buf[static WIRE_ENTRY_SIZE], const struct rsk_entry *entry, bool swap)
{
	uint64_t addr = swap ? bswap_64(entry->addr) : entry->addr;
	uint32_t key = swap ? bswap_32(entry->key) : entry->key;
	uint32_t length = swap ? bswap_32(entry->length) : entry->length;

	memcpy(buf, &addr, 8);
	memcpy(buf + 8, &key, 4);
	memcpy(buf + 12, &length, 4);
}

void rsk_wire_put_mapping(uint8_t buf[static WIRE_MAPPING_SIZE], const struct rsk_mapping *mapping,
			  bool swap)
{
	struct rsk_entry entry = { mapping->addr, mapping->key, mapping->length };
	uint64_t offset = swap ? bswap_64(mapping->offset) : mapping->offset;

	memcpy(buf, &offset, 8);
	rsk_wire_put_entry(buf + 8, &entry, swap);
}

int rsk_wire_get_mapping(struct rsk_mapping *mapping, const uint8_t buf[static WIRE_MAPPING_SIZE])
{
	memcpy(&mapping->offset, buf, 8);
	memcpy(&mapping->addr, buf + 8, 8);
	memcpy(&mapping->key, buf + 16, 4);
	memcpy(&mapping->length, buf + 20, 4);
	if (mapping->offset + mapping->length < mapping->offset ||
	    mapping->addr + mapping->length < mapping->addr)
		return -EPROTO;
	return 0;
}
