/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A device that is nothing but memory, in place of libibverbs: what is posted is recorded and checked,
 * and completions are what the fuzzer says. One QP at a time.
 */
#ifndef RSK_FUZZ_VERBS_H
#define RSK_FUZZ_VERBS_H

#include <infiniband/verbs.h>

#include "fuzz.h"

struct fake_device {
	struct ibv_context verbs;
	struct ibv_qp qp;
	struct ibv_qp_cap cap;       /* what the QP was made with */
	unsigned receives, sends;    /* posted and not completed */
	bool broken;                 /* moved to the error state */
	bool iwarp;                  /* messages are sends of four bytes, not immediate data */
};

extern struct fake_device fake;

/* Before anything else of a connection. */
void fake_be_iwarp(bool iwarp);
/* A QP with these attributes. */
struct ibv_qp *fake_qp(const struct ibv_qp_init_attr *attr);

/* A message has arrived: false when no receive is posted, so that it never would have. */
bool fake_message(uint32_t msg);
/* A completion of a receive that is no message, or a failed one; fewer than four bytes came. */
bool fake_completion(enum ibv_wc_status status, enum ibv_wc_opcode opcode, uint32_t imm);
/* Up to @count of the sends complete. */
void fake_complete_sends(unsigned count, enum ibv_wc_status status);

/* Told of each send, before it counts as posted. */
extern void (*fake_on_send)(const struct ibv_send_wr *wr);

/* Is this registered, with this key, by somebody? */
bool fake_is_registered(uint64_t addr, uint64_t len, uint32_t lkey);

#endif
