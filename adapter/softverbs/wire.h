/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The wire between two connected QPs: shared memory with a ring for each direction. A sender copies
 * packets in, the receiver copies them to where they belong; no system call, but for the bell.
 *
 * The bell: who has taken in all there is says "asleep" and looks once more; who has put something in
 * after that finds the mark, clears it, and sends a bell through the link, which wakes the other's
 * engine. The same bell tells of packets, of room in a ring that was full, and of acknowledgements if
 * somebody waits for them: most are seen when the next packet comes, or when the program polls.
 *
 * The peer may write what it likes into this memory, at any time: positions are checked, and headers
 * copied before they are looked at.
 */
#ifndef SOFT_WIRE_H
#define SOFT_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SOFT_RING_BYTES = 256 * 1024,
	SOFT_PAYLOAD_MAX = 32 * 1024, /* of one packet; messages are cut into packets */
};

enum soft_op {
	SOFT_OP_SEND,
	SOFT_OP_WRITE,
	SOFT_OP_READ,
	SOFT_OP_RESPONSE,            /* data for a READ */
	SOFT_OP_NAK,                 /* status says why */
	SOFT_OPS,
};

enum soft_head_flags {
	SOFT_FIRST = 1,              /* packet of its message */
	SOFT_LAST = 2,
	SOFT_IMM = 4,
	SOFT_SOLICITED = 8,
	SOFT_SIGNALLED = 16,         /* the sender waits for the acknowledgement */
};

/* Opens each packet; the payload follows, padded to 8 bytes. */
struct soft_head {
	uint8_t op;                  /* enum soft_op */
	uint8_t flags;
	uint8_t status;              /* NAK: enum ibv_wc_status */
	uint8_t rnr_timer;           /* RNR NAK */
	uint32_t msn;                /* number of the message, from 0 */
	uint32_t size;               /* bytes of payload in this packet */
	uint32_t total;              /* bytes of the message */
	uint64_t addr;               /* at the target; with the rkey */
	uint32_t rkey;
	uint32_t imm;
};

enum soft_sleep { SOFT_AWAKE, SOFT_UNTIL_PACKET, SOFT_UNTIL_ACK /* or a packet */ };

/* One direction. */
struct soft_ring {
	_Alignas(64) _Atomic(uint32_t) head;    /* by the sender: bytes ever put in */
	_Atomic(uint32_t) blocked;              /* the sender waits for room */
	_Atomic(uint32_t) gone;                 /* the sender has left: it answers nothing any more */
	_Alignas(64) _Atomic(uint32_t) tail;    /* by the receiver: bytes ever taken out */
	_Atomic(uint32_t) acked;                /* messages done */
	_Atomic(uint32_t) asleep;               /* enum soft_sleep: when to ring the bell */
	_Alignas(4096) uint8_t bytes[SOFT_RING_BYTES];
};

struct soft_wire {
	struct soft_ring *map;       /* NULL: not attached */
	struct soft_ring *in, *out;
	uint32_t in_tail, out_head;  /* our own positions; never read back */
	bool broken;                 /* the peer wrote nonsense */
};

/* Makes a wire; *fd is what the other end attaches. 0 or -errno. */
int soft_wire_create(struct soft_wire *wire, int *fd);
/* Attaches what another process made; takes over @fd. 0 or -errno. */
int soft_wire_attach(struct soft_wire *wire, int fd);
/* Says that we are gone, and unmaps. */
void soft_wire_detach(struct soft_wire *wire);

/* Bytes that can be sent now, header and padding included. */
uint32_t soft_wire_room(struct soft_wire *wire);
/* Sends a packet that fits: begin, then head->size bytes in any pieces, then end. */
void soft_wire_begin(struct soft_wire *wire, const struct soft_head *head);
void soft_wire_put(struct soft_wire *wire, const void *bytes, size_t len);
void soft_wire_end(struct soft_wire *wire);
/* Asks for a bell when there is room. True: there is some by now. */
bool soft_wire_wait_room(struct soft_wire *wire, uint32_t bytes);

/* Takes in the next packet's header; then as many get or skip as it has payload, then done. */
bool soft_wire_next(struct soft_wire *wire, struct soft_head *head);
void soft_wire_get(struct soft_wire *wire, void *bytes, size_t len);
/* The same into memory that the program may be looking at: words arrive whole, as from a card. */
void soft_wire_get_remote(struct soft_wire *wire, void *bytes, size_t len);
void soft_wire_skip(struct soft_wire *wire, size_t len);
/* True: the sender waits for this room. */
bool soft_wire_done(struct soft_wire *wire, const struct soft_head *head);

static inline void soft_wire_ack(struct soft_wire *wire, uint32_t count)
{
	atomic_store(&wire->in->acked, count);
}

static inline uint32_t soft_wire_acked(const struct soft_wire *wire)
{
	return atomic_load(&wire->out->acked);
}

static inline bool soft_wire_peer_gone(const struct soft_wire *wire)
{
	return atomic_load(&wire->in->gone);
}

/* Does the peer sleep until what we have for it? Clears the mark. */
static inline bool soft_wire_wake(struct soft_wire *wire, enum soft_sleep until)
{
	return atomic_load(&wire->out->asleep) >= until && atomic_exchange(&wire->out->asleep, SOFT_AWAKE);
}

static inline void soft_wire_sleep(struct soft_wire *wire, enum soft_sleep until)
{
	atomic_exchange(&wire->in->asleep, until);
}

#endif
