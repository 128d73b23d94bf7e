/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Flow control under a peer that says anything in any order: the first byte of each step chooses what
 * happens, the rest is its numbers. A model counts in 64 bits beside it.
 */
#include "fuzz.h"

#include "credit.h"
#include "ring.h"

enum { RING = 4096 };

struct model {
	struct rsk_tx_credit tx;
	struct rsk_rx_credit rx;
	struct rsk_ring ring;
	uint64_t tx_sent, tx_limit;          /* of messages, never wrapping around */
	uint64_t rx_received, rx_granted, rx_arrived, rx_room;
	uint32_t rx_unread;                  /* segments that the application has yet to take */
};

static void check(const struct model *m)
{
	uint16_t window = (uint16_t)(m->tx.limit - m->tx.sent);

	claim(window == m->tx_limit - m->tx_sent);
	claim(window <= m->tx.window);
	claim(m->tx.nsegments <= RSK_SEGMENTS);
	claim((uint16_t)m->rx_received == m->rx.received);
	claim(m->rx_received <= m->rx_granted);
	claim(m->rx_arrived == m->rx.arrived && m->rx_arrived <= m->rx_room);
	claim(m->rx.advertised - m->rx.filling <= RSK_SEGMENTS);
	claim(rsk_ring_used(&m->ring) <= m->ring.size);
	claim(rsk_ring_used(&m->ring) + rsk_ring_free(&m->ring) == m->ring.size);
}

static void peer_tells_limit(struct model *m, uint32_t operand)
{
	struct rsk_tx_credit before = m->tx;

	if (rsk_tx_credit_update(&m->tx, operand)) {
		claim(!memcmp(&before, &m->tx, sizeof(before)));
		return;
	}
	m->tx_limit += (uint16_t)(m->tx.limit - before.limit);
}

static void peer_tells_segment(struct model *m, struct input *in)
{
	struct rsk_entry entry;
	uint8_t before = m->tx.nsegments;
	int ret;

	take(in, &entry, sizeof(entry));
	ret = rsk_tx_credit_segment(&m->tx, &entry);
	claim(m->tx.nsegments == before + !ret);
	claim(ret || entry.length);
}

static void send(struct model *m, uint32_t want)
{
	uint32_t room = rsk_tx_credit_room(&m->tx), len = want < room ? want : room;
	struct rsk_entry segment = m->tx.segment[0], to;

	claim(!room || m->tx_sent < m->tx_limit);
	claim(room <= WIRE_DATA_MAX);
	if (!len)
		return;
	to = rsk_tx_credit_take(&m->tx, len);
	m->tx_sent++;
	claim(to.addr == segment.addr && to.key == segment.key && to.length == len);
	claim(to.length <= segment.length);
}

static void receive(struct model *m, uint32_t len)
{
	if (rsk_rx_credit_message(&m->rx)) {
		claim(m->rx_received == m->rx_granted);
		return;
	}
	m->rx_received++;
	if (!rsk_rx_credit_data(&m->rx, len))
		m->rx_arrived += len;
}

static void grant(struct model *m)
{
	uint32_t operand = rsk_rx_credit_grant(&m->rx);

	claim(operand <= 2 * UINT16_MAX);
	m->rx_granted = m->rx_received + m->rx.window;
	claim((uint16_t)operand == (uint16_t)m->rx_granted && m->rx.granted == (uint16_t)operand);
	claim(!rsk_rx_credit_due(&m->rx));
}

/* As the stream does: a segment is advertised again only when it was used up. */
static void advertise(struct model *m, uint32_t size)
{
	if (m->rx.advertised - m->rx.filling == RSK_SEGMENTS || !size)
		return;
	rsk_rx_credit_advertise(&m->rx, size);
	m->rx_room += size;
}

static void use_ring(struct model *m, uint32_t len)
{
	uint32_t before = m->ring.head;
	struct rsk_span span;

	if (!len || len > rsk_ring_free(&m->ring))
		return;
	span = rsk_ring_take(&m->ring, len);
	claim(m->ring.head - before == len);
	claim(span.len[0] + (span.pieces == 2 ? span.len[1] : 0) == len);
	for (int i = 0; i < span.pieces; i++)
		claim(span.len[i] && span.offset[i] + span.len[i] <= m->ring.size);
}

static void step(struct model *m, struct input *in)
{
	switch (take_byte(in) % 8) {
	case 0: return peer_tells_limit(m, take_word(in));
	case 1: return peer_tells_limit(m, m->tx.sent + (uint32_t)take_byte(in));
	case 2: return peer_tells_segment(m, in);
	case 3: return send(m, take_word(in));
	case 4: return receive(m, take_word(in) & WIRE_VALUE_MASK);
	case 5: return rsk_rx_credit_due(&m->rx) ? grant(m) : advertise(m, take_short(in));
	case 6: return use_ring(m, take_short(in));
	case 7: return rsk_ring_release(&m->ring, take_word(in));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct rsk_entry first = { .addr = take_word(&in), .key = 1, .length = 1u + take_short(&in) };
	uint16_t tx_credits = take_short(&in) % 65534 + 1, rx_credits = take_short(&in) % 65519 + 16;
	struct model m = { .tx_limit = tx_credits, .rx_granted = rx_credits };

	rsk_tx_credit_init(&m.tx, tx_credits, &first);
	rsk_rx_credit_init(&m.rx, rx_credits, first.length);
	m.rx_room = first.length;
	m.ring.size = RING;
	m.ring.head = m.ring.tail = take_word(&in);
	while (in.left) {
		step(&m, &in);
		check(&m);
	}
	return 0;
}
