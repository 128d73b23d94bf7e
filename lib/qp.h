/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Verbs: this is the only module that calls ibv_*. It owns registered memory, and of each connection
 * the QP, its completion channel and its two CQs.
 *
 * Two CQs, not one: the completion of a send must not wake a thread that waits for data. Both raise
 * their events on the one completion channel. RSK_CQ_RX is armed by who waits for anything from the
 * peer, RSK_CQ_TX also by who waits for room to send.
 *
 * Data sends are signalled only as often as the bookkeeping needs: a completion stands for all data
 * sends before it. The wr_id of one holds its sequence number and the position in the send ring up to
 * which memory is free once it has completed. Control messages are rare, and all signalled.
 *
 * iWARP has no immediate data: there a message is a SEND of its own behind the write, and each receive
 * needs a few bytes of memory. Nobody above knows. Each data send is signalled there, so that only those
 * that are signalled ask what the device is.
 *
 * Locks: all of this is done under the socket's state lock, except posting data, which is done under
 * its tx.lock alone, so that no doorbell is rung under the state lock of a busy sender. That is why
 * data and control messages are counted apart: each count has one writer.
 */
#ifndef RSK_QP_H
#define RSK_QP_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "wire.h"

enum rsk_cq { RSK_CQ_RX, RSK_CQ_TX, RSK_CQS };

enum {
	RSK_QP_SIZE_MIN = 16,        /* protocol: smallest SQ and RQ */
	RSK_QP_SIZE_MAX = 65534,
	RSK_QP_CTRL = 8,             /* SQ entries beyond the data's, for control messages */
	RSK_QP_PROBES = 1,           /* and for a probe */
	RSK_QP_SPARE_RECVS = 16,     /* receives beyond the credits, for control messages */
	RSK_QP_BATCH = 16,           /* CQEs per poll, receives per post */
};

/* An opened device: one protection domain, and a pool of send memory. Never freed. */
struct rsk_device {
	struct rsk_device *next;
	struct ibv_context *verbs;
	struct ibv_pd *pd;
	int max_qp_wr;
	const char *name;
	pthread_mutex_t pool_lock;   /* guards the next two; see pool.h */
	struct rsk_chunk *pool;
	size_t pool_bytes;
};

/* Registered memory. */
struct rsk_mem {
	uint8_t *addr;
	size_t len;
	struct ibv_mr *mr;
};

struct rsk_qp {
	struct rsk_device *dev;
	struct ibv_qp *qp;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq[RSK_CQS];
	bool channel_blocks;         /* reading it waits for an event */
	bool armed[RSK_CQS];         /* an event will follow the next CQE */
	bool fired[RSK_CQS];         /* an event is on the channel, or will be, for a CQE that was seen */
	unsigned unacked[RSK_CQS];   /* events read; acknowledged before the CQ is destroyed */
	unsigned quiet;              /* drains since the last unprompted look at the channel */
	unsigned idle_looks;         /* polls without a completion, since the CQ was armed or one came */
	unsigned patience;           /* so many of them before it is armed for who may be spinning */
	unsigned recvs_owed;         /* receives reaped and not yet posted again */
	uint32_t sq_size;            /* data sends in flight at most; RSK_QP_CTRL more are kept */
	uint32_t rq_size;            /* receives posted */
	uint32_t max_inline;

	/* Sequence numbers of data sends: */
	_Atomic(uint32_t) posted;    /* the last one; tx.lock */
	_Atomic(uint32_t) signalled; /* the last signalled one; tx.lock */
	uint32_t completed;
	uint32_t ring_posted;        /* ring position behind the last send; tx.lock */

	unsigned ctrl_in_flight;
	bool probing;                /* a probe is in flight */
	int error;                   /* negative errno of the first failed completion */
	bool grow_failed;            /* larger segments could not be registered; rx.lock */
	bool flushed;                /* a work request was flushed: the QP is in the error state */

	bool iwarp;
	uint32_t signal_after;       /* so many data sends after a signalled one, the next is due */
	/* iWARP only: */
	uint32_t held;               /* sq_size to be, while the peer is to send first */
	uint32_t next_slot;          /* of the next receive to be posted */
	struct rsk_mem slots;        /* where messages arrive, one after the other, round and round */
};

struct rsk_device *rsk_device_get(struct ibv_context *verbs);
/* After fork: the parent's devices are not ours. */
void rsk_device_forget(void);

/* Calls @fn for each opened device. */
void rsk_device_each(void (*fn)(struct rsk_device *));

/* Allocates and registers page-aligned, zeroed memory. @remote: the peer may write to it. */
int rsk_mem_alloc(struct rsk_mem *mem, struct rsk_device *dev, size_t len, bool remote);
void rsk_mem_free(struct rsk_mem *mem);

/* Registers memory of the application's, and gives it back. */
int rsk_mem_register(struct rsk_mem *mem, struct rsk_device *dev, void *addr, size_t len, bool remote);
void rsk_mem_unregister(struct rsk_mem *mem);

/* Creates channel and CQs and fills in @attr for the QP, which the CM creates; sizes are clipped to
 * the device's. After that, rsk_qp_attach() or rsk_qp_destroy(). */
int rsk_qp_prepare(struct rsk_qp *qp, struct rsk_device *dev, uint16_t sq, uint16_t credits,
		   uint32_t max_inline, struct ibv_qp_init_attr *attr);
/* The least that the QP's inline size may be. */
uint32_t rsk_qp_inline_min(const struct rsk_qp *qp);
/* Takes the QP that the CM made and posts the receives. */
int rsk_qp_attach(struct rsk_qp *qp, struct ibv_qp *made, uint32_t max_inline);
/* For the side that accepts: on iWARP it must not send before the other has, or devices break off. Until
 * then there is no room in the queue. */
void rsk_qp_let_peer_begin(struct rsk_qp *qp);
/* Is that over? State lock held. */
static inline bool rsk_qp_may_begin(const struct rsk_qp *qp)
{
	return !qp->held;
}

/* Frees channel and CQs; the QP itself must be gone. */
void rsk_qp_destroy(struct rsk_qp *qp);

/* Shortens what a peer waits after an RNR NAK, from the 655 ms that the kernel's CM programs. */
void rsk_qp_set_rnr_timer(struct rsk_qp *qp);
/* Flushes all work: every waiter on the channel wakes. */
void rsk_qp_set_error(struct rsk_qp *qp);
/* RDMA path MTU in bytes. */
int rsk_qp_mtu(struct rsk_qp *qp);

enum rsk_post_flags {
	RSK_POST_INLINE = IBV_SEND_INLINE, /* the bytes may be anywhere, and are free on return */
	RSK_POST_SIGNALLED = IBV_SEND_SIGNALED,
};

/* RDMA WRITE WITH IMMEDIATE of @msg and the bytes of @sge to @to. For data, which is in the send ring unless
 * it is sent inline; tx.lock held. Returns 0 or -errno. */
int rsk_qp_write(struct rsk_qp *qp, struct ibv_sge *sge, int nsge, const struct rsk_entry *to,
		 uint32_t msg, unsigned flags);
/* The same without a message: the peer is not told. */
int rsk_qp_write_silently(struct rsk_qp *qp, struct ibv_sge *sge, int nsge, const struct rsk_entry *to,
			  unsigned flags);
/* The first again, for control messages, of which RSK_QP_CTRL may be in flight. State lock held. */
int rsk_qp_write_ctrl(struct rsk_qp *qp, struct ibv_sge *sge, int nsge, const struct rsk_entry *to,
		      uint32_t msg, unsigned flags);

/* Data sends in flight. State lock held; exact with tx.lock, too. */
static inline uint32_t rsk_qp_data_in_flight(const struct rsk_qp *qp)
{
	return atomic_load_explicit(&qp->posted, memory_order_acquire) - qp->completed;
}

/* Is a completion to come on RSK_CQ_TX? State lock held. */
static inline bool rsk_qp_completion_due(const struct rsk_qp *qp)
{
	return qp->ctrl_in_flight || qp->probing ||
	       (int32_t)(atomic_load_explicit(&qp->signalled, memory_order_relaxed) - qp->completed) > 0;
}

/* A probe: a write of no bytes, which the peer's adapter confirms behind all that was sent before. One
 * may be in flight: qp->probing. State lock held. 0 or -errno. */
int rsk_qp_probe(struct rsk_qp *qp);
/* Asks for a completion of the data sent so far, most of which is not signalled, by a write of no bytes
 * behind it. Both tx.lock and state lock held. 0 or -errno. */
int rsk_qp_mark(struct rsk_qp *qp);

/* Reaps up to RSK_QP_BATCH receive completions into @wc; returns how many. */
int rsk_qp_poll_rx(struct rsk_qp *qp, struct ibv_wc wc[static RSK_QP_BATCH]);

/* What a completion without immediate data is: a message of iWARP, or a failure, which sets qp->error or
 * qp->flushed. */
bool rsk_qp_other_message(struct rsk_qp *qp, const struct ibv_wc *wc, uint32_t *msg);

/* The message of a completion; false when it holds none. */
static inline bool rsk_qp_message(struct rsk_qp *qp, const struct ibv_wc *wc, uint32_t *msg)
{
	/* Only this kind has an immediate value to look at. */
	if (wc->status != IBV_WC_SUCCESS || wc->opcode != IBV_WC_RECV_RDMA_WITH_IMM) {
		uint32_t other;      /* by itself, which lets *msg be in a register */

		if (!rsk_qp_other_message(qp, wc, &other))
			return false;
		*msg = other;
		return true;
	}
	*msg = ntohl(wc->imm_data);
	qp->recvs_owed++;
	return true;
}

/* Reaps completed sends. True if there was data among them: then *ring_tail is the position up to
 * which the ring is free. Call until false. */
bool rsk_qp_poll_tx(struct rsk_qp *qp, uint32_t *ring_tail);

/* Are enough receives owed to be worth posting? Half of the spare ones may be missing: one chain and
 * one doorbell for several. */
static inline bool rsk_qp_refill_due(const struct rsk_qp *qp)
{
	return qp->recvs_owed >= RSK_QP_SPARE_RECVS / 2;
}

int rsk_qp_refill(struct rsk_qp *qp);

/* Sees to it that the next completion raises an event. 1: newly armed, so poll once more before
 * sleeping, as a CQE that came before raises none. 0: armed already. Or -errno. */
int rsk_qp_arm(struct rsk_qp *qp, enum rsk_cq which);

/* Takes events off the channel so that it stops being readable. @readable: it is known to be;
 * otherwise events are looked for only where completions suggest them. Never blocks. */
void rsk_qp_drain(struct rsk_qp *qp, bool readable);

/* Does reading the channel wait? It does at first. 0 or -errno. */
int rsk_qp_set_channel_blocking(struct rsk_qp *qp, bool blocking);

/* Sleeps on the channel until an event comes, at most @ms (negative: for ever, which on a channel that blocks is
 * one system call, and restarted after a signal just as recv(2) is): called without locks, by one thread at a
 * time, if rsk_qp_may_begin(). Then rsk_qp_took_event(), with the state lock. Returns the CQ, or -EINTR (a
 * signal), -EAGAIN (the time has passed), or another -errno. */
int rsk_qp_sleep(struct rsk_qp *qp, int ms);
static inline void rsk_qp_took_event(struct rsk_qp *qp, enum rsk_cq which)
{
	qp->unacked[which]++;
	/* Of several CQEs there may have been one event: Soft-RoCE joins two that are raised shortly after each
	 * other. If there is another, it is found as one too many: see rsk_qp_drain(). */
	qp->fired[which] = false;
	/* The CQ may have been armed since the completion was polled, but before the device had raised
	 * this event for it: then that arming was the same as the one before, and is spent as well. */
	qp->armed[which] = false;
}

/* Wakes a thread inside it: a write of no bytes, which the peer's software never sees,
 * completes. State lock held. */
void rsk_qp_nudge(struct rsk_qp *qp);

#endif
