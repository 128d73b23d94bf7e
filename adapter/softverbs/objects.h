/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The verbs objects: what libibverbs shows of each, and behind it what the device keeps. All of it is
 * guarded by the device lock. Functions return what the verb returns (0 or a positive errno), unless
 * they say otherwise.
 */
#ifndef SOFT_OBJECTS_H
#define SOFT_OBJECTS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <infiniband/verbs.h>

#include "fault.h"
#include "link.h"
#include "node.h"
#include "queue.h"
#include "wire.h"

/* The context of the one device: it is never closed, as opening it again gives the same. */
struct ibv_context *soft_context(void);
struct ibv_device *soft_device(void);
/* Hands an event to ibv_get_async_event(). */
void soft_async_event(enum ibv_event_type type, void *element);
/* Takes back what was raised for an object that is being destroyed. */
void soft_async_forget(const void *element);

/* How many there are of each kind. */
struct soft_counts {
	int qps, cqs, mrs, pds, srqs, ahs;
};

extern struct soft_counts soft_counts;

/* One more of a kind: 0, ENOMEM beyond the limit, or the errno that a fault script has for the place. */
static inline int soft_count_new(int *count, int limit, enum soft_place place)
{
	int ret = *count >= limit ? ENOMEM : soft_fail_at(place);

	*count += !ret;
	return ret;
}

/* Rings of entries are powers of two, so that positions may wrap. */
static inline uint32_t soft_ring_size(uint32_t n)
{
	uint32_t size = 1;

	while (size < n)
		size *= 2;
	return size;
}

struct soft_pd {
	struct ibv_pd ibv;
	unsigned users;
};

static inline struct soft_pd *soft_pd(struct ibv_pd *pd)
{
	return (struct soft_pd *)pd;
}

/* Memory: mr.c */

/* Bytes in the memory of this process, or NULL if @key does not allow @access to them. */
void *soft_mr_memory(struct ibv_pd *pd, uint32_t key, uint64_t addr, uint64_t len, int access);
/* Finds the memory of @len bytes at @offset of the list: the number of pieces, at most SOFT_SGES_MAX. -1: the
 * list is too short, or @access is not allowed. */
int soft_sge_map(struct ibv_pd *pd, const struct ibv_sge *sge, int count, uint64_t offset, size_t len, int access,
		 struct iovec *pieces);
uint64_t soft_sge_bytes(const struct ibv_sge *sge, int count);

/* Completion queues: cq.c */

struct soft_channel {
	struct ibv_comp_channel ibv;
	struct soft_queue queue;
};

struct soft_cq {
	struct ibv_cq ibv;
	struct soft_event event;     /* on its channel */
	struct soft_qp *qps;         /* that complete here: polling drives them */
	struct ibv_wc *entries;
	uint32_t mask, head, tail;
	uint32_t shown;              /* up to here they can be polled; all but for delayed ones */
	bool notable;                /* one of the others is solicited or has failed */
	struct soft_timer late_entries, late_event;
	enum { SOFT_UNARMED, SOFT_ARMED, SOFT_ARMED_SOLICITED } armed;
	unsigned users;
	unsigned pending;            /* events on the channel beyond the first */
	struct soft_acks acks, async_acks;
	bool overrun;
};

static inline struct soft_cq *soft_cq(struct ibv_cq *cq)
{
	return (struct soft_cq *)cq;
}

void soft_cq_push(struct ibv_cq *cq, const struct ibv_wc *wc, bool solicited);
/* What is pushed from now on is not seen for a while. */
void soft_cq_delay(struct ibv_cq *cq, unsigned ms);

/* Receive queues, own or shared: recv.c */

struct soft_recv {
	uint64_t wr_id;
	int nsge;
	struct ibv_sge *sge;
};

struct soft_rq {
	struct soft_recv *recvs;
	struct ibv_sge *sges;
	uint32_t size, mask, max_sge;
	uint32_t head, tail;         /* posted, taken */
};

int soft_rq_init(struct soft_rq *rq, uint32_t size, uint32_t max_sge);
void soft_rq_free(struct soft_rq *rq);

struct soft_srq {
	struct ibv_srq ibv;
	struct soft_rq rq;
	uint32_t limit;
	unsigned users;
	struct soft_acks acks;
};

static inline struct soft_srq *soft_srq(struct ibv_srq *srq)
{
	return (struct soft_srq *)srq;
}

/* Queue pairs: qp.c, send.c, recv.c */

struct soft_send {
	uint64_t wr_id;
	enum ibv_wr_opcode opcode;
	unsigned flags;
	enum ibv_wc_status status;   /* known before it is its turn to complete */
	bool done;                   /* the response has come */
	uint32_t length;
	uint32_t imm;
	uint64_t addr;
	uint32_t rkey;
	int nsge;
	struct ibv_sge *sge;
	uint8_t *inline_data;        /* NULL: the bytes are where sge says */
};

/* A READ that the peer waits for. */
struct soft_answer {
	uint32_t msn, total, sent;
	uint64_t addr;
	uint32_t rkey;
};

enum { SOFT_ANSWERS = 16 };

struct soft_qp {
	struct ibv_qp ibv;
	struct soft_qp *next_send, *next_recv; /* of its CQs */
	struct ibv_qp_attr attr;
	struct ibv_qp_init_attr init;
	struct soft_acks acks;

	/* The peer */
	struct soft_wire wire;
	struct soft_wire early;      /* came before this QP was ready to receive */
	uint32_t early_from;
	bool gone;                   /* nobody is there to acknowledge anything */
	bool lost;                   /* and never will be: its process, or the QP, has ended */
	bool cut;                    /* by a fault: nothing passes */
	bool speaks_second;          /* iWARP: the peer breaks off if this side begins */
	struct soft_timer heal;

	/* Requester. Positions count messages: completed <= acknowledged, sent <= posted. */
	struct soft_send *sends;
	struct ibv_sge *send_sges;
	uint8_t *inline_room;
	uint32_t sq_mask, sq_posted, sq_sent, sq_done;
	uint32_t sent_bytes;         /* of the message sq_sent */
	uint32_t reads;              /* outstanding */
	uint32_t read_got;           /* bytes of the oldest */
	unsigned rnr_left;
	bool rnr_wait;
	struct soft_timer timer;     /* after an RNR NAK, or to give up */

	/* Responder */
	struct soft_rq rq;
	uint32_t msn;                /* expected */
	bool dropping;               /* until that one is sent again */
	bool in_message;
	bool ack_wanted;
	struct soft_recv recv;       /* of this message, if it takes one */
	struct ibv_sge *recv_sges;
	bool has_recv;
	uint64_t received;
	struct soft_answer answers[SOFT_ANSWERS];
	unsigned answer_head, answer_tail;
	bool nak_due;
	struct soft_head nak;
};

static inline struct soft_qp *soft_qp(struct ibv_qp *qp)
{
	return (struct soft_qp *)qp;
}

struct soft_qp *soft_qp_find(uint32_t qpn);
int soft_qp_modify(struct soft_qp *qp, const struct ibv_qp_attr *attr, int mask);
struct ibv_qp *soft_qp_create(struct ibv_pd *pd, struct ibv_qp_init_attr *init);
void soft_qp_destroy(struct soft_qp *qp);
/* To the error state: all work is flushed. */
void soft_qp_fail(struct soft_qp *qp);
/* Does what can be done now: takes in what has come, completes, sends. */
void soft_qp_progress(struct soft_qp *qp);
void soft_qp_bell(struct soft_qp *qp, enum soft_sleep until);
/* Faults: nothing passes on this QP, or on any; 0 ms is for ever. */
void soft_qp_cut(struct soft_qp *qp, unsigned ms);
void soft_qp_cut_all(unsigned ms);

/* Requester: send.c */
int soft_post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
void soft_send_pump(struct soft_qp *qp);
void soft_send_complete(struct soft_qp *qp);
void soft_send_flush(struct soft_qp *qp);
/* As soft_sge_map(): what is sent, or for a READ where the response goes. */
int soft_send_map(const struct soft_qp *qp, const struct soft_send *send, uint32_t offset, uint32_t len,
		  struct iovec *pieces);
/* Must its peer wake it for an acknowledgement? Else it finds them when somebody polls. */
bool soft_send_awaits_acks(const struct soft_qp *qp);
/* The responder's answers. */
void soft_send_take_nak(struct soft_qp *qp, const struct soft_head *head);
void soft_send_take_response(struct soft_qp *qp, const struct soft_head *head);

/* Responder: recv.c */
int soft_post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int soft_post_srq_recv(struct ibv_srq *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
/* Takes in one packet. */
void soft_recv_take(struct soft_qp *qp, const struct soft_head *head);
/* Sends answers and NAKs that are due, as far as there is room. */
void soft_recv_answer(struct soft_qp *qp);
void soft_recv_flush(struct soft_qp *qp);
/* Takes the next receive for a message; false: there is none. */
bool soft_recv_next(struct soft_qp *qp);

/* Datagrams: ud.c */
int soft_ud_send(struct soft_qp *qp, const struct soft_send *send, const struct ibv_send_wr *wr);

int soft_poll_cq(struct ibv_cq *ibv, int count, struct ibv_wc *wc);
int soft_req_notify_cq(struct ibv_cq *ibv, int solicited);

#endif
