/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Flow control of one connection: message credits both ways, and the two segments each side keeps
 * advertised to the other. Pure: numbers in, answers out; no lock, no call, no allocation.
 *
 * Credits are absolute: the peer is told the 16-bit sequence number up to which it may send, so
 * they wrap around and a lost update would not matter. They count messages that were taken from the
 * completion queue (the bytes of a message are bounded by the segments anyway), so a slow reader
 * does not hold back credits.
 *
 * Segments are numbered 0, 1, 2...; number m+2 is advertised only when all bytes of number m were
 * taken by the application, which is what lets both sides use list entries round robin.
 */
#ifndef RSK_CREDIT_H
#define RSK_CREDIT_H

#include <errno.h>

#include "wire.h"

enum {
	RSK_SEGMENTS = 2,            /* advertised at any time, and entries in our own target list */
};

/* What we may send. */
struct rsk_tx_credit {
	uint16_t sent;               /* sequence number of the next message that costs a credit */
	uint16_t limit;              /* the peer takes messages before this number */
	uint16_t window;             /* credits the peer gave at first: it never gives more at once */
	uint8_t nsegments;           /* advertised segments not yet full, 0..2 */
	struct rsk_entry segment[RSK_SEGMENTS];
	uint16_t iomaps;             /* messages about mappings that were sent */
	bool iomaps_return;          /* the peer returns their credits */
};

/* What the peer may send. */
struct rsk_rx_credit {
	uint16_t received;           /* messages taken from the completion queue */
	uint16_t granted;            /* the limit that the peer knows of */
	uint16_t window;             /* our receive credits */
	uint32_t advertised;         /* segments advertised so far */
	uint32_t filling;            /* number of the segment that the next byte falls into */
	uint32_t filled;             /* bytes of that segment that have arrived */
	uint64_t arrived;            /* bytes in all: a position in the stream */
	uint32_t size[RSK_SEGMENTS]; /* of the advertised segments, by number mod 2 */
};

void rsk_tx_credit_init(struct rsk_tx_credit *tx, uint16_t credits, const struct rsk_entry *first);

static inline bool rsk_tx_credit_left(const struct rsk_tx_credit *tx)
{
	return tx->sent != tx->limit;
}

/* Bytes that one message may carry now: 0 without credit or segment. */
static inline uint32_t rsk_tx_credit_room(const struct rsk_tx_credit *tx)
{
	uint32_t room;

	if (!rsk_tx_credit_left(tx) || !tx->nsegments)
		return 0;
	room = tx->segment[0].length;
	return room < WIRE_DATA_MAX ? room : WIRE_DATA_MAX;
}

/* Spends one credit and @len bytes, at most the room; tells where they go. */
static inline struct rsk_entry rsk_tx_credit_take(struct rsk_tx_credit *tx, uint32_t len)
{
	struct rsk_entry *seg = &tx->segment[0];
	struct rsk_entry to = *seg;

	to.length = len;
	tx->sent++;
	seg->addr += len;
	seg->length -= len;
	if (!seg->length) {
		tx->segment[0] = tx->segment[1];
		tx->nsegments--;
	}
	return to;
}

/*
 * Messages about mappings cost a credit and carry no data. Upstream never returns that credit, and what a
 * peer is shows only when it returns more than data can have cost. Until then no more than half the window
 * is put at risk: upstream has to receive the other half before it returns credits at all.
 */
static inline unsigned rsk_tx_credit_iomap_budget(const struct rsk_tx_credit *tx)
{
	unsigned most = tx->iomaps_return ? UINT32_MAX : tx->window / 2;

	return tx->iomaps < most ? most - tx->iomaps : 0;
}

/* Spends the credit of one. False: there is none now. */
static inline bool rsk_tx_credit_iomap(struct rsk_tx_credit *tx)
{
	if (!rsk_tx_credit_left(tx))
		return false;
	tx->sent++;
	if (!tx->iomaps_return)
		tx->iomaps++;
	return true;
}

/* The operand of an SGL message. 0, or -EPROTO when it takes back credits or gives more than the
 * peer has. */
int rsk_tx_credit_update(struct rsk_tx_credit *tx, uint32_t operand);

/* A new entry in our target list. 0, or -EPROTO: more than two, empty, or wrapping around. */
int rsk_tx_credit_segment(struct rsk_tx_credit *tx, const struct rsk_entry *entry);

void rsk_rx_credit_init(struct rsk_rx_credit *rx, uint16_t credits, uint32_t first_size);

/* A message that costs a credit has arrived. 0, or -EPROTO: it had none. */
static inline int rsk_rx_credit_message(struct rsk_rx_credit *rx)
{
	if (rx->received == rx->granted)
		return -EPROTO;
	rx->received++;
	return 0;
}

/* Its @len bytes, in segment rx->filling at offset rx->filled. 0, or -EPROTO: they do not fit the
 * segment. Advances the fill position. */
static inline int rsk_rx_credit_data(struct rsk_rx_credit *rx, uint32_t len)
{
	uint32_t size = rx->size[rx->filling % RSK_SEGMENTS];

	if (rx->filling == rx->advertised || !len || len > size - rx->filled)
		return -EPROTO;
	rx->arrived += len;
	rx->filled += len;
	if (rx->filled == size) {
		rx->filling++;
		rx->filled = 0;
	}
	return 0;
}

/* Is it time to tell the peer of new credits? Half the window, as upstream. */
static inline bool rsk_rx_credit_due(const struct rsk_rx_credit *rx)
{
	uint16_t ungranted = (uint16_t)(rx->received + rx->window - rx->granted);

	return ungranted >= (rx->window >> 1) && ungranted;
}

/* The operand of an SGL message that grants all there is to grant. */
uint32_t rsk_rx_credit_grant(struct rsk_rx_credit *rx);

/* Notes that the next segment, of @size bytes, is advertised. Its number is returned. */
uint32_t rsk_rx_credit_advertise(struct rsk_rx_credit *rx, uint32_t size);

#endif
