/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A whole connection whose peer does anything: greets, sends messages, rewrites our target list, makes
 * transfers fail, in any order, while the application sends, receives and shuts down. Whatever it does,
 * nothing is written outside what it offered, no queue overflows, and no more bytes come out than it
 * announced. The device below is made up: verbs.h.
 */
#include "fuzz.h"

#include <byteswap.h>
#include <errno.h>
#include <poll.h>

#include "sock.h"
#include "stream.h"
#include "verbs.h"

enum { OFFERS = 1024, PIECE = 8192, MAPPINGS = 8 };

/* All that the peer has ever offered to be written to. */
static struct rsk_entry offers[OFFERS];
static unsigned noffers;
/* And of what it has told us to be mapped. */
static struct rsk_entry mapped[OFFERS];
static unsigned nmapped;
static struct rsk_hello peer;
static uint64_t announced, received;
static uint64_t room;                /* in all segments that the peer was ever told of */

static bool within(const struct rsk_entry *offer, uint64_t addr, uint32_t key, uint64_t len)
{
	return key == offer->key && addr >= offer->addr && addr - offer->addr <= offer->length &&
	       len <= offer->length - (addr - offer->addr);
}

static bool is_within_one(const struct rsk_entry *all, unsigned count, const struct rsk_entry *piece)
{
	for (unsigned i = 0; i < count; i++) {
		if (within(&all[i], piece->addr, piece->key, piece->length))
			return true;
	}
	return false;
}

static void offer(struct rsk_entry entry)
{
	if (noffers < OFFERS)
		offers[noffers++] = entry;
}

/* An entry on its way to the peer's list, which may have the other byte order. */
static uint32_t length_in(const struct ibv_send_wr *wr)
{
	uint32_t length;

	memcpy(&length, (const char *)(uintptr_t)wr->sg_list->addr + 12, sizeof(length));
	return peer.big_endian == rsk_wire_host_big_endian() ? length : bswap_32(length);
}

static uint64_t bytes_of(const struct ibv_send_wr *wr)
{
	uint64_t len = 0;

	for (int i = 0; i < wr->num_sge; i++) {
		const struct ibv_sge *sge = &wr->sg_list[i];

		claim(sge->length);
		if (!(wr->send_flags & IBV_SEND_INLINE))
			claim(fake_is_registered(sge->addr, sge->length, sge->lkey));
		len += sge->length;
	}
	claim(!(wr->send_flags & IBV_SEND_INLINE) || len <= fake.cap.max_inline_data);
	return len;
}

/* A message goes out, whatever came in, with a write to @to. */
static void check_message(uint32_t msg, const struct rsk_entry *to, const struct ibv_send_wr *wr)
{
	uint64_t list_len = (uint64_t)peer.target_list.length * WIRE_ENTRY_SIZE;

	switch (rsk_wire_op(msg)) {
	case WIRE_OP_DATA:
		claim(to->length && to->length == rsk_wire_value(msg) && to->length <= WIRE_DATA_MAX);
		claim(is_within_one(offers, noffers, to));
		break;
	case WIRE_OP_SGL:
		if (!to->length)
			break;
		claim(to->length == WIRE_ENTRY_SIZE && to->key == peer.target_list.key);
		claim(to->addr - peer.target_list.addr <= list_len - WIRE_ENTRY_SIZE);
		room += length_in(wr);
		break;
	case WIRE_OP_CTRL:
		claim(!to->length && rsk_wire_value(msg) != WIRE_CTRL_KEEPALIVE);
		break;
	default:
		claim(!"an operation that never travels");
	}
}

static void check_send(const struct ibv_send_wr *wr)
{
	static const struct ibv_send_wr *write; /* iWARP: what the message behind it tells of */
	static const struct rsk_entry nowhere;
	struct rsk_entry to = { wr->wr.rdma.remote_addr, wr->wr.rdma.rkey, (uint32_t)bytes_of(wr) };
	uint32_t msg;

	claim(wr->num_sge <= (int)fake.cap.max_send_sge);
	switch (wr->opcode) {
	case IBV_WR_RDMA_WRITE_WITH_IMM:
		claim(!fake.iwarp);
		check_message(ntohl(wr->imm_data), &to, wr);
		break;
	case IBV_WR_RDMA_WRITE:
		write = wr->next ? wr : NULL;
		claim(write || !to.length || is_within_one(mapped, nmapped, &to));
		break;
	default:
		claim(wr->opcode == IBV_WR_SEND && fake.iwarp && to.length == sizeof(msg));
		memcpy(&msg, (const void *)(uintptr_t)wr->sg_list->addr, sizeof(msg));
		if (write)
			to = (struct rsk_entry){ write->wr.rdma.remote_addr, write->wr.rdma.rkey,
						 (uint32_t)bytes_of(write) };
		check_message(msg, write ? &to : &nowhere, write);
		write = NULL;
	}
}

/* -- the peer ---------------------------------------------------------------------------------- */

static void peer_says(uint32_t msg)
{
	if (fake_message(msg) && rsk_wire_op(msg) == WIRE_OP_DATA)
		announced += rsk_wire_value(msg);
}

static void peer_writes_entry(struct rsk_sock *sk, unsigned index, struct rsk_entry entry)
{
	uint8_t *at = sk->rx.list.addr + index % RSK_SEGMENTS * WIRE_ENTRY_SIZE;

	rsk_wire_put_entry(at, &entry, false);
	offer(entry);
}

/* As a good peer does: a segment where it belongs, and all the credits that it may give. */
static void peer_offers_segment(struct rsk_sock *sk, struct input *in)
{
	struct rsk_entry entry = { .addr = take_word(in), .key = take_byte(in), .length = take_short(in) };

	peer_writes_entry(sk, sk->rx.list_index, entry);
	peer_says(rsk_wire_msg(WIRE_OP_SGL, (uint16_t)(sk->tx.credit.sent + peer.credits)));
}

/* An entry of the table of mappings, and the message that tells of it. */
static void peer_maps(struct rsk_sock *sk, struct input *in)
{
	struct {
		uint64_t offset;
		struct rsk_entry to;
	} entry;
	unsigned index = take_byte(in) % (MAPPINGS + 1);

	take(in, &entry, sizeof(entry));
	if (index < sk->maps.room && nmapped < OFFERS) {
		memcpy(sk->rx.mappings + sizeof(entry) * index, &entry, sizeof(entry));
		mapped[nmapped++] = entry.to;
	}
	fake_message(rsk_wire_msg(WIRE_OP_IOMAP_SGL, index));
}

static void peer_writes_anything(struct rsk_sock *sk, struct input *in)
{
	struct rsk_entry entry;
	unsigned index = take_byte(in);

	take(in, &entry, sizeof(entry));
	peer_writes_entry(sk, index, entry);
}

/* A receive fails, or brings something that is no message. */
static void peer_breaks_a_receive(struct input *in)
{
	enum ibv_wc_status status = (enum ibv_wc_status)(take_byte(in) % 22);
	enum ibv_wc_opcode opcode = (enum ibv_wc_opcode)take_byte(in);

	if (status != IBV_WC_SUCCESS || opcode != IBV_WC_RECV_RDMA_WITH_IMM)
		fake_completion(status, opcode, take_word(in));
}

/* -- the application --------------------------------------------------------------------------- */

static void check_result(ssize_t ret, ssize_t most)
{
	claim(ret <= most);
	claim(ret >= 0 || ret == -EAGAIN || ret == -EPIPE || ret == -EPROTO || ret == -ECONNRESET ||
	      ret == -ETIMEDOUT || ret == -EIO || ret == -ENXIO);
}

static void app_sends(struct rsk_sock *sk, size_t len)
{
	static uint8_t zeros[1 << 16];
	struct iovec iov[2] = { { zeros, len / 3 }, { zeros, len - len / 3 } };
	struct rsk_cursor from = { .iov = iov, .total = len };

	if (len)
		check_result(rsk_stream_send(sk, &from, MSG_DONTWAIT), (ssize_t)len);
}

static void app_writes(struct rsk_sock *sk, uint64_t offset)
{
	uint8_t bytes[600] = { 0 };
	struct iovec iov = { bytes, sizeof(bytes) };
	struct rsk_cursor from = { .iov = &iov, .total = sizeof(bytes) };

	check_result(rsk_stream_write(sk, &from, offset, MSG_DONTWAIT), sizeof(bytes));
}

static void app_receives(struct rsk_sock *sk, int flags)
{
	uint8_t bytes[PIECE];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct rsk_cursor to = { .iov = &iov, .total = sizeof(bytes) };
	ssize_t n = rsk_stream_recv(sk, &to, MSG_DONTWAIT | flags);

	check_result(n, PIECE);
	if (n > 0 && !(flags & MSG_PEEK))
		received += (uint64_t)n;
	claim(received <= sk->rx.credit.arrived);
}

static void app_polls(struct rsk_sock *sk)
{
	rsk_lock(&sk->lock);
	rsk_sock_poll(sk, POLLIN | POLLOUT | POLLRDHUP, RSK_LOOK_AND_ARM);
	rsk_unlock(&sk->lock);
}

static void step(struct rsk_sock *sk, struct input *in)
{
	uint8_t what = take_byte(in);

	switch (what % 20) {
	case 0: return peer_says(take_word(in));
	case 1: return peer_says(rsk_wire_msg(WIRE_OP_DATA, take_byte(in)));
	case 2: return peer_says(rsk_wire_msg(WIRE_OP_DATA, take_short(in)));
	case 3: return peer_offers_segment(sk, in);
	case 4: return peer_writes_anything(sk, in);
	case 5: return peer_says(rsk_wire_msg(WIRE_OP_CTRL, take_byte(in)));
	case 6: return peer_breaks_a_receive(in);
	case 7: return fake_complete_sends(take_byte(in), IBV_WC_SUCCESS);
	case 8: return fake_complete_sends(1, (enum ibv_wc_status)(take_byte(in) % 22));
	case 9: return app_receives(sk, MSG_PEEK);
	case 10: return rsk_stream_shutdown(sk, take_byte(in) % 3);
	case 11: return app_polls(sk);
	case 12: return app_sends(sk, take_byte(in));
	case 13: return app_sends(sk, take_short(in));
	case 15: return app_writes(sk, take_byte(in));
	case 16: return peer_maps(sk, in);
	default: return app_receives(sk, 0);
	}
}

/* What was accepted from the peer, whether or not it was looked at. */
static void check_limits(const struct rsk_sock *sk)
{
	const struct rsk_rx_credit *rx = &sk->rx.credit;
	const struct rsk_tx_credit *tx = &sk->tx.credit;

	claim(rx->arrived <= room && rx->arrived <= announced);
	claim((uint16_t)(rx->granted - rx->received) <= rx->window);
	claim((uint16_t)(tx->limit - tx->sent) <= tx->window);
	claim(tx->nsegments <= RSK_SEGMENTS);
}

/* -- the connection ---------------------------------------------------------------------------- */

/* There is no engine thread: what it is asked for does not happen. In place of rsk_progress_post(). */
bool __wrap_rsk_progress_post(struct rsk_work *work);

bool __wrap_rsk_progress_post(struct rsk_work *work)
{
	(void)work;
	return false;
}

static bool greet(struct input *in)
{
	uint8_t bytes[WIRE_HELLO_SIZE];

	take(in, bytes, sizeof(bytes));
	bytes[0] = WIRE_VERSION;
	return !rsk_wire_get_hello(&peer, bytes, sizeof(bytes));
}

static struct rsk_sock *open_socket(struct input *in)
{
	struct rsk_sock *sk = rsk_sock_new(AF_INET);
	struct ibv_qp_init_attr attr;
	struct rsk_hello hello;
	uint8_t choice = take_byte(in);

	claim(sk);
	atomic_store(&sk->nonblock, true);
	sk->options.sq_size = 16 + choice % 16;
	sk->options.rq_size = 16 + choice / 16;
	fake_be_iwarp(choice & 2);
	sk->options.inline_size = fake.iwarp ? choice | 4 : choice;
	sk->options.iomap_size = choice & 8 ? MAPPINGS : 0;
	sk->options.rcvbuf = choice & 1 ? 4096 : 0;
	claim(!rsk_stream_setup(sk, &fake.verbs, &attr));
	claim(!rsk_stream_attach(sk, fake_qp(&attr), attr.cap.max_inline_data, &hello));
	room = hello.segment.length;
	sk->state = RSK_CONNECTING;
	rsk_lock(&sk->lock);
	rsk_stream_open(sk, &peer);
	rsk_unlock(&sk->lock);
	return sk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct rsk_sock *sk;

	setenv("RSK_LOG", "off", 1);
	if (!greet(&in))
		return 0;
	fake_on_send = check_send;
	noffers = nmapped = 0;
	offer(peer.segment);
	announced = received = 0;
	sk = open_socket(&in);
	while (in.left) {
		step(sk, &in);
		check_limits(sk);
	}
	rsk_stream_destroy(sk);
	rsk_sock_unref(sk);
	return 0;
}
