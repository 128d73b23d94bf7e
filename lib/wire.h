/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every byte that crosses the network: the 40 bytes of private data exchanged while connecting, the
 * 32-bit messages, the 16-byte entries of a target list, and the 24-byte mappings behind them. Pure:
 * no lock, no call, no allocation.
 *
 * Private data is big endian. Entries and mappings are written by RDMA in the byte order of the machine
 * that owns the list. A message travels as immediate data, in network order; over iWARP, which has none,
 * as four bytes in the sender's order.
 */
#ifndef RSK_WIRE_H
#define RSK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WIRE_VERSION = 1,
	WIRE_HELLO_SIZE = 40,
	WIRE_ENTRY_SIZE = 16,
	WIRE_MAPPING_SIZE = 24,
	WIRE_MAPPINGS_MAX = 127 << 8,/* in a table: the scaled form says no more */
	WIRE_ENTRIES_MIN = 2,        /* entries in a target list: the protocol keeps two segments */
	WIRE_ENTRIES_MAX = 64,       /* far above any real peer; bounds what a hostile one can ask for */
	WIRE_DATA_MAX = 65536,       /* bytes of one DATA message that upstream sends */
	WIRE_VALUE_MASK = 0x1fffffff,
};

/* Operations, in bits 31..29 of a message. 1, 3 and 5 are reserved; 2 never travels. */
enum rsk_wire_op {
	WIRE_OP_DATA = 0,
	WIRE_OP_WRITE = 2,
	WIRE_OP_SGL = 4,
	WIRE_OP_IOMAP_SGL = 6,
	WIRE_OP_CTRL = 7,
};

enum rsk_wire_ctrl {
	WIRE_CTRL_DISCONNECT = 0,
	WIRE_CTRL_KEEPALIVE = 1,
	WIRE_CTRL_SHUTDOWN = 2,
};

/* A piece of memory that the peer may write to, as an entry of a target list describes it. */
struct rsk_entry {
	uint64_t addr;
	uint32_t key;
	uint32_t length;
};

/* Memory of a machine that its peer may write to at will: an entry of the table behind the target list. */
struct rsk_mapping {
	uint64_t offset;             /* what the peer calls its first byte */
	uint64_t addr;
	uint32_t key;
	uint32_t length;             /* 0: there is no such mapping, or no longer */
};

/* What each side tells about itself in the private data ("hello"). */
struct rsk_hello {
	bool big_endian;             /* byte order of the sender */
	bool iomap;                  /* iomap_size is meaningful */
	uint16_t credits;            /* messages the receiver of this may send at first */
	unsigned iomap_size;         /* entries of the sender's table of mappings */
	struct rsk_entry target_list;/* length counts entries */
	struct rsk_entry segment;    /* the first receive segment; length in bytes */
};

static inline uint32_t rsk_wire_msg(enum rsk_wire_op op, uint32_t value)
{
	return (uint32_t)op << 29 | (value & WIRE_VALUE_MASK);
}

static inline enum rsk_wire_op rsk_wire_op(uint32_t msg)
{
	return (enum rsk_wire_op)(msg >> 29);
}

static inline uint32_t rsk_wire_value(uint32_t msg)
{
	return msg & WIRE_VALUE_MASK;
}

/* The smallest size of a table of mappings that the private data can express, from @entries on, at most
 * WIRE_MAPPINGS_MAX: all up to 128, then multiples of 256. */
static inline unsigned rsk_wire_iomap_size(unsigned entries)
{
	return entries <= 128 ? entries : (entries + 255) & ~255u;
}

/* True on a big-endian machine. */
bool rsk_wire_host_big_endian(void);

void rsk_wire_put_hello(uint8_t buf[static WIRE_HELLO_SIZE], const struct rsk_hello *hello);

/* Checks everything that arrives. @len is a lower bound only: IB pads, iWARP does not. Returns 0,
 * -EPROTONOSUPPORT (another version) or -EPROTO (short, or values no conforming peer sends). */
int rsk_wire_get_hello(struct rsk_hello *hello, const void *buf, size_t len);

/* @swap: the owner of the list has the other byte order. */
void rsk_wire_put_entry(uint8_t buf[static WIRE_ENTRY_SIZE], const struct rsk_entry *entry, bool swap);
void rsk_wire_put_mapping(uint8_t buf[static WIRE_MAPPING_SIZE], const struct rsk_mapping *mapping,
			  bool swap);

/* A mapping that the peer wrote, in our byte order. 0, or -EPROTO: its offsets or its addresses wrap
 * around, which nobody's do. */
int rsk_wire_get_mapping(struct rsk_mapping *mapping, const uint8_t buf[static WIRE_MAPPING_SIZE]);

#endif
