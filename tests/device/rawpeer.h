/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A peer that speaks RDMA CM by itself, to do what no rsockets library does: stay silent, greet
 * with nonsense, break the protocol. It acts only when told to; the rest is in sockets.h.
 */
#ifndef RSK_TEST_RAWPEER_H
#define RSK_TEST_RAWPEER_H

#include <rdma/rdma_cma.h>

#include "sockets.h"

#define GREETING_BYTES 40
#define RAW_CREDITS 64
#define RAW_MAPPINGS 16 /* entries of its table */

/* Where things are in the 40 bytes that each side sends when connecting. */
enum greeting_offset {
	GREETING_VERSION = 0,
	GREETING_FLAGS = 1,
	GREETING_CREDITS = 2,
	GREETING_MAPPINGS = 7,
	GREETING_LIST_ADDR = 8,
	GREETING_LIST_KEY = 16,
	GREETING_LIST_LENGTH = 20,
	GREETING_DATA_ADDR = 24,
	GREETING_DATA_KEY = 32,
	GREETING_DATA_LENGTH = 36,
};

/* How a peer differs from a good one. In its greeting: @size bytes at @offset, big endian; then cut to
 * @keep. */
struct flaw {
	const char *name;
	enum greeting_offset offset;
	int size;
	uint64_t value;
	size_t keep; /* bytes sent; 0: all of them */
	bool nothing;
	bool deaf;   /* it posts no receives: nothing that is sent to it is ever taken */
};

struct raw {
	struct rdma_event_channel *events;
	struct rdma_cm_id *listening;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
	char *memory;
	uint8_t theirs[GREETING_BYTES];
	uint8_t responder_resources;
	uint8_t initiator_depth;
	int posted;  /* sends that have not completed */
	bool iwarp;  /* a message is a SEND of four bytes */
};

/* Is the device one of iWARP? */
bool device_is_iwarp(void);

/* Sends the request and leaves the answer unread, which keeps the connection half open. */
void raw_connect(struct raw *r, const struct address *to, const struct flaw *flaw);

/* The next CM event, which must come; *status is the event's, unless NULL. */
enum rdma_cm_event_type raw_event(struct raw *r, int *status);

struct address raw_listen(struct raw *r);

/* Waits for a request, and leaves it unanswered. */
void raw_take_request(struct raw *r);

void raw_accept(struct raw *r, const struct flaw *flaw);
void raw_reject(struct raw *r);

/* Destroys the connection or the request. */
void raw_drop(struct raw *r);
/* What it leaves to the process's end: noted, as no leak. */
extern struct raw raw_dropped;

/* A connection to this peer, which accepts it with this flaw. */
int raw_connection(struct raw *r, const struct option *options, const struct flaw *flaw);

struct address raw_local_address(const struct raw *r);

/* A protocol message without data. */
void raw_post(struct raw *r, uint32_t message);

/* @len bytes written to the start of the peer's first segment, announced by @message. */
void raw_post_data(struct raw *r, uint32_t message, const void *data, size_t len);

/* An entry of the peer's target list, announced by @message. */
void raw_post_entry(struct raw *r, uint32_t message, int index, uint64_t addr, uint32_t length);

/* A mapping, written to entry @index of the peer's table and announced. Its memory is what raw_mapped()
 * returns, if @addr is that. */
void raw_post_mapping(struct raw *r, uint32_t index, uint64_t offset, uint64_t addr, uint32_t length);
char *raw_mapped(const struct raw *r);

/* What the peer wrote to entry @index of this one's table. */
struct raw_mapping {
	uint64_t offset, addr;
	uint32_t key, length;
};

const volatile struct raw_mapping *raw_table(const struct raw *r, int index);

/* Something other than a write with an immediate value. */
void raw_post_send(struct raw *r, enum ibv_wr_opcode opcode);

/* Waits until the other side has written the entry of this peer's target list. */
const uint8_t *raw_entry(struct raw *r, int index);

/* Waits for the next message; and where the data of all lies, one behind the other. */
uint32_t raw_message(struct raw *r);
const char *raw_arrived(const struct raw *r);

/* Waits until the other side's device has taken all that was posted. */
void raw_sync(struct raw *r);

#endif
