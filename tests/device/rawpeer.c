/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "rawpeer.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>

/* The peer's memory: its target list, then the segment it offers, then what it sends. */
#define MEMORY_BYTES 32768
#define LIST_OFFSET 0
#define LIST_ENTRIES 2
#define ENTRY_BYTES 16
#define MAPPING_BYTES 24
#define SCRATCH_OFFSET 4096
#define MAPPED_OFFSET 8192
#define ARRIVAL_OFFSET 12288
#define SEGMENT_OFFSET 16384
#define SEGMENT_BYTES 16384

#define RESOLVE_MS 10000

/* The event owns what it points to, and ends when acknowledged. */
static void remember(struct raw *r, const struct rdma_conn_param *peer)
{
	r->responder_resources = peer->responder_resources;
	r->initiator_depth = peer->initiator_depth;
	if (peer->private_data && peer->private_data_len >= GREETING_BYTES)
		memcpy(r->theirs, peer->private_data, GREETING_BYTES);
}

enum rdma_cm_event_type raw_event(struct raw *r, int *status)
{
	struct pollfd ready = { .fd = r->events->fd, .events = POLLIN };
	enum rdma_cm_event_type type;
	struct rdma_cm_event *e;

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "no CM event");
	ck_assert_int_eq(rdma_get_cm_event(r->events, &e), 0);
	type = e->event;
	if (status)
		*status = e->status;
	if (type == RDMA_CM_EVENT_CONNECT_REQUEST)
		r->id = e->id;
	if (type == RDMA_CM_EVENT_CONNECT_REQUEST || type == RDMA_CM_EVENT_ESTABLISHED)
		remember(r, &e->param.conn);
	rdma_ack_cm_event(e);
	return type;
}

static void expect_event(struct raw *r, enum rdma_cm_event_type type)
{
	int status;
	enum rdma_cm_event_type got = raw_event(r, &status);

	ck_assert_msg(got == type, "CM event %s (%d), not %s", rdma_event_str(got), status,
		      rdma_event_str(type));
}

/* The other end may write until the process ends, so a raw peer's memory stays: no leak. */
static void keep(struct ibv_mr *mr)
{
	static struct ibv_mr *kept[64];
	static size_t count;

	ck_assert_uint_lt(count, sizeof(kept) / sizeof(kept[0]));
	kept[count++] = mr;
}

static bool is_iwarp(const struct rdma_cm_id *id)
{
	return id->verbs->device->transport_type == IBV_TRANSPORT_IWARP;
}

bool device_is_iwarp(void)
{
	struct address here = address_of_device(AF_INET, 0);
	struct rdma_event_channel *events = rdma_create_event_channel();
	struct rdma_cm_id *id;
	bool yes;

	ck_assert_ptr_nonnull(events);
	ck_assert_int_eq(rdma_create_id(events, &id, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_bind_addr(id, &here.any), 0);
	yes = is_iwarp(id);
	rdma_destroy_id(id);
	rdma_destroy_event_channel(events);
	return yes;
}

static void post_receive(struct raw *r, int number)
{
	struct ibv_sge sge = { (uintptr_t)r->memory + ARRIVAL_OFFSET + 4 * (size_t)number, 4, r->mr->lkey };
	struct ibv_recv_wr *bad, wr = { .wr_id = number, .sg_list = &sge, .num_sge = r->iwarp ? 1 : 0 };

	ck_assert_int_eq(ibv_post_recv(r->id->qp, &wr, &bad), 0);
}

static void make_endpoint(struct raw *r, const struct flaw *flaw)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
		.cap = { .max_send_wr = RAW_CREDITS, .max_recv_wr = 2 * RAW_CREDITS,
			 .max_send_sge = 1, .max_recv_sge = 1, .max_inline_data = 4 },
	};

	r->iwarp = is_iwarp(r->id);
	r->memory = aligned_alloc(4096, MEMORY_BYTES);
	ck_assert_ptr_nonnull(r->memory);
	memset(r->memory, 0, MEMORY_BYTES);
	r->pd = ibv_alloc_pd(r->id->verbs);
	ck_assert_ptr_nonnull(r->pd);
	r->cq = ibv_create_cq(r->id->verbs, 3 * RAW_CREDITS, NULL, NULL, 0);
	ck_assert_ptr_nonnull(r->cq);
	r->mr = ibv_reg_mr(r->pd, r->memory, MEMORY_BYTES,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	ck_assert_ptr_nonnull(r->mr);
	keep(r->mr);
	attr.send_cq = r->cq;
	attr.recv_cq = r->cq;
	ck_assert_int_eq(rdma_create_qp(r->id, r->pd, &attr), 0);
	for (int i = 0; i < 2 * RAW_CREDITS && !(flaw && flaw->deaf); i++)
		post_receive(r, i);
}

static void put(uint8_t *at, int size, uint64_t value)
{
	for (int i = 0; i < size; i++)
		at[i] = value >> 8 * (size - 1 - i);
}

static struct rdma_conn_param greeting(const struct raw *r, uint8_t text[GREETING_BYTES],
				       const struct flaw *flaw)
{
	struct rdma_conn_param param = { .flow_control = 1, .retry_count = 7, .rnr_retry_count = 7 };
	uintptr_t memory = (uintptr_t)r->memory;

	memset(text, 0, GREETING_BYTES);
	put(text + GREETING_VERSION, 1, 1);
	put(text + GREETING_FLAGS, 1, 2);
	put(text + GREETING_MAPPINGS, 1, RAW_MAPPINGS);
	put(text + GREETING_CREDITS, 2, RAW_CREDITS);
	put(text + GREETING_LIST_ADDR, 8, memory + LIST_OFFSET);
	put(text + GREETING_LIST_KEY, 4, r->mr->rkey);
	put(text + GREETING_LIST_LENGTH, 4, LIST_ENTRIES);
	put(text + GREETING_DATA_ADDR, 8, memory + SEGMENT_OFFSET);
	put(text + GREETING_DATA_KEY, 4, r->mr->rkey);
	put(text + GREETING_DATA_LENGTH, 4, SEGMENT_BYTES);
	param.private_data = text;
	param.private_data_len = GREETING_BYTES;
	if (flaw) {
		put(text + flaw->offset, flaw->size, flaw->value);
		if (flaw->keep)
			param.private_data_len = flaw->keep;
		if (flaw->nothing)
			param.private_data_len = 0;
	}
	return param;
}

void raw_connect(struct raw *r, const struct address *to, const struct flaw *flaw)
{
	uint8_t text[GREETING_BYTES];
	struct rdma_conn_param param;
	struct address there = *to;

	*r = (struct raw){ .events = rdma_create_event_channel() };
	ck_assert_ptr_nonnull(r->events);
	ck_assert_int_eq(rdma_create_id(r->events, &r->id, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_resolve_addr(r->id, NULL, &there.any, RESOLVE_MS), 0);
	expect_event(r, RDMA_CM_EVENT_ADDR_RESOLVED);
	ck_assert_int_eq(rdma_resolve_route(r->id, RESOLVE_MS), 0);
	expect_event(r, RDMA_CM_EVENT_ROUTE_RESOLVED);
	make_endpoint(r, flaw);
	param = greeting(r, text, flaw);
	ck_assert_int_eq(rdma_connect(r->id, &param), 0);
}

struct address raw_listen(struct raw *r)
{
	struct address here = address_of_device(AF_INET, 0);

	*r = (struct raw){ .events = rdma_create_event_channel() };
	ck_assert_ptr_nonnull(r->events);
	ck_assert_int_eq(rdma_create_id(r->events, &r->listening, NULL, RDMA_PS_TCP), 0);
	ck_assert_int_eq(rdma_bind_addr(r->listening, &here.any), 0);
	ck_assert_int_eq(rdma_listen(r->listening, 16), 0);
	here.v4.sin_port = rdma_get_src_port(r->listening);
	return here;
}

void raw_take_request(struct raw *r)
{
	expect_event(r, RDMA_CM_EVENT_CONNECT_REQUEST);
}

void raw_accept(struct raw *r, const struct flaw *flaw)
{
	uint8_t text[GREETING_BYTES];
	struct rdma_conn_param param;

	make_endpoint(r, flaw);
	param = greeting(r, text, flaw);
	param.responder_resources = r->responder_resources;
	param.initiator_depth = r->initiator_depth;
	ck_assert_int_eq(rdma_accept(r->id, &param), 0);
}

int raw_connection(struct raw *r, const struct option *options, const struct flaw *flaw)
{
	struct address there = raw_listen(r);
	int fd = connect_begun(&there, options);

	raw_take_request(r);
	raw_accept(r, flaw);
	connect_finished(fd);
	return fd;
}

void raw_reject(struct raw *r)
{
	ck_assert_int_eq(rdma_reject(r->id, NULL, 0), 0);
}

struct raw raw_dropped;

void raw_drop(struct raw *r)
{
	raw_dropped = *r;
	if (r->id->qp)
		rdma_destroy_qp(r->id);
	ck_assert_int_eq(rdma_destroy_id(r->id), 0);
	r->id = NULL;
}

struct address raw_local_address(const struct raw *r)
{
	struct address a = { .len = sizeof(a.v4) };

	memcpy(&a.room, rdma_get_local_addr(r->id), sizeof(a.v4));
	return a;
}

static uint64_t peer_word(const struct raw *r, enum greeting_offset offset, int size)
{
	const uint8_t *at = r->theirs + offset;
	uint64_t value = 0;

	for (int i = 0; i < size; i++)
		value = value << 8 | at[i];
	return value;
}

/* On iWARP, a message with an immediate value is a write, if there is something to write, and a SEND. */
static void post(struct raw *r, struct ibv_send_wr *wr, const void *data, size_t len)
{
	char *copy = r->memory + SCRATCH_OFFSET;
	struct ibv_sge sge = { .addr = (uintptr_t)copy, .length = len, .lkey = r->mr->lkey };
	uint32_t message = ntohl(wr->imm_data);
	struct ibv_sge four_bytes = { (uintptr_t)&message, sizeof(message), 0 };
	struct ibv_send_wr *bad, send = {
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_INLINE,
		.sg_list = &four_bytes,
		.num_sge = 1,
	};

	if (len) {
		raw_sync(r); /* the bytes of the one before may still be needed */
		memcpy(copy, data, len);
		wr->sg_list = &sge;
		wr->num_sge = 1;
	}
	r->posted++;
	if (r->iwarp && wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM) {
		wr->opcode = IBV_WR_RDMA_WRITE;
		wr->next = &send;
		r->posted += len != 0;
		wr = len ? wr : &send;
	}
	ck_assert_int_eq(ibv_post_send(r->id->qp, wr, &bad), 0);
}

void raw_post_data(struct raw *r, uint32_t message, const void *data, size_t len)
{
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
		.imm_data = htonl(message),
		.wr.rdma.remote_addr = len ? peer_word(r, GREETING_DATA_ADDR, 8) : 0,
		.wr.rdma.rkey = len ? peer_word(r, GREETING_DATA_KEY, 4) : 0,
	};

	post(r, &wr, data, len);
}

void raw_post(struct raw *r, uint32_t message)
{
	raw_post_data(r, message, NULL, 0);
}

void raw_post_entry(struct raw *r, uint32_t message, int index, uint64_t addr, uint32_t length)
{
	struct {
		uint64_t addr;
		uint32_t key, length;
	} entry = { addr, r->mr->rkey, length };
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
		.imm_data = htonl(message),
		.wr.rdma.remote_addr = peer_word(r, GREETING_LIST_ADDR, 8) + sizeof(entry) * index,
		.wr.rdma.rkey = peer_word(r, GREETING_LIST_KEY, 4),
	};

	post(r, &wr, &entry, sizeof(entry));
}

void raw_post_mapping(struct raw *r, uint32_t index, uint64_t offset, uint64_t addr, uint32_t length)
{
	struct raw_mapping mapping = { offset, addr, r->mr->rkey, length };
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
		.imm_data = htonl(0xc0000000u | index),
		.wr.rdma.remote_addr = peer_word(r, GREETING_LIST_ADDR, 8) + MAPPING_BYTES * index +
				       ENTRY_BYTES * peer_word(r, GREETING_LIST_LENGTH, 4),
		.wr.rdma.rkey = peer_word(r, GREETING_LIST_KEY, 4),
	};

	_Static_assert(sizeof(mapping) == MAPPING_BYTES, "as in the protocol");
	post(r, &wr, &mapping, sizeof(mapping));
}

char *raw_mapped(const struct raw *r)
{
	return r->memory + MAPPED_OFFSET;
}

const volatile struct raw_mapping *raw_table(const struct raw *r, int index)
{
	char *table = r->memory + LIST_OFFSET + LIST_ENTRIES * ENTRY_BYTES;

	return (const volatile struct raw_mapping *)(table + index * MAPPING_BYTES);
}

void raw_post_send(struct raw *r, enum ibv_wr_opcode opcode)
{
	struct ibv_send_wr wr = { .opcode = opcode };

	post(r, &wr, NULL, 0);
}

static bool entry_is_written(long address)
{
	const uint64_t *entry = (const uint64_t *)address;

	return __atomic_load_n(&entry[1], __ATOMIC_ACQUIRE);
}

const uint8_t *raw_entry(struct raw *r, int index)
{
	char *entry = r->memory + LIST_OFFSET + 16 * index;

	wait_until(entry_is_written, (long)entry, "entry of the target list");
	return (const uint8_t *)entry;
}

/* The next completion. */
static struct ibv_wc wait_for_completion(struct raw *r, const char *what)
{
	uint64_t limit = now_ms() + LIMIT_MS;
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(r->cq, 1, &wc))) {
		ck_assert_msg(now_ms() < limit, "%s", what);
		poll(NULL, 0, 1);
	}
	ck_assert_int_eq(n, 1);
	if (!(wc.opcode & IBV_WC_RECV))
		r->posted--;
	return wc;
}

/* Completions of receives are of no interest. */
void raw_sync(struct raw *r)
{
	while (r->posted)
		wait_for_completion(r, "what was posted is not taken");
}

uint32_t raw_message(struct raw *r)
{
	struct ibv_wc wc;
	uint32_t message;

	do
		wc = wait_for_completion(r, "no message comes");
	while (!(wc.opcode & IBV_WC_RECV));
	ck_assert_msg(wc.status == IBV_WC_SUCCESS, "receive: %s", ibv_wc_status_str(wc.status));
	if (!r->iwarp)
		return ntohl(wc.imm_data);
	memcpy(&message, r->memory + ARRIVAL_OFFSET + 4 * wc.wr_id, sizeof(message));
	return message;
}

const char *raw_arrived(const struct raw *r)
{
	return r->memory + SEGMENT_OFFSET;
}
