/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A device that is nothing but memory: see verbs.h. */
#include "verbs.h"

#include <arpa/inet.h>
#include <errno.h>

#undef ibv_reg_mr

enum { QUEUE = 1 << 17, REGIONS = 64 };

void (*fake_on_send)(const struct ibv_send_wr *wr);

/* Completions to be polled; work requests that have none yet. */
struct queue {
	struct ibv_wc wc[QUEUE];
	unsigned head, tail;
};

/* Receives that nothing has come for. */
struct receive {
	uint64_t wr_id;
	void *to;
};

static struct receive receives[QUEUE];
static unsigned first_receive;       /* the oldest */
static struct queue rx_done, tx_done, tx_posted;
static struct ibv_cq *rx_cq;
static struct ibv_mr *regions[REGIONS];
static uint32_t next_key;

static void push(struct queue *q, struct ibv_wc wc)
{
	claim(q->head - q->tail < QUEUE);
	q->wc[q->head++ % QUEUE] = wc;
}

static struct ibv_wc pop(struct queue *q)
{
	claim(q->head != q->tail);
	return q->wc[q->tail++ % QUEUE];
}

/* -- what the fuzzer says ---------------------------------------------------------------------- */

static bool complete_receive(struct ibv_wc wc, uint32_t bytes)
{
	struct receive *receive = &receives[first_receive % QUEUE];

	if (!fake.receives)
		return false;
	fake.receives--;
	first_receive++;
	wc.wr_id = receive->wr_id;
	if (receive->to)
		memcpy(receive->to, &bytes, wc.byte_len);
	push(&rx_done, wc);
	return true;
}

bool fake_completion(enum ibv_wc_status status, enum ibv_wc_opcode opcode, uint32_t imm)
{
	struct ibv_wc wc = { .status = status, .opcode = opcode, .imm_data = htonl(imm),
			     .byte_len = imm % sizeof(imm) };

	return complete_receive(wc, imm);
}

bool fake_message(uint32_t msg)
{
	struct ibv_wc wc = { .opcode = IBV_WC_RECV_RDMA_WITH_IMM, .imm_data = htonl(msg) };

	if (fake.iwarp)
		wc = (struct ibv_wc){ .opcode = IBV_WC_RECV, .byte_len = sizeof(msg) };
	return complete_receive(wc, msg);
}

/* A work request that is not signalled completes in silence, unless it fails. */
void fake_complete_sends(unsigned count, enum ibv_wc_status status)
{
	while (count-- && tx_posted.head != tx_posted.tail) {
		struct ibv_wc wc = pop(&tx_posted);
		bool signalled = wc.wc_flags;

		wc.status = status;
		wc.wc_flags = 0;
		fake.sends--;
		if (signalled || status != IBV_WC_SUCCESS)
			push(&tx_done, wc);
	}
}

struct ibv_qp *fake_qp(const struct ibv_qp_init_attr *attr)
{
	fake.cap = attr->cap;
	fake.receives = fake.sends = first_receive = 0;
	fake.broken = false;
	rx_cq = attr->recv_cq;
	rx_done.head = rx_done.tail = 0;
	tx_done.head = tx_done.tail = 0;
	tx_posted.head = tx_posted.tail = 0;
	fake.qp = (struct ibv_qp){ .context = &fake.verbs, .qp_num = 1 };
	return &fake.qp;
}

bool fake_is_registered(uint64_t addr, uint64_t len, uint32_t lkey)
{
	for (int i = 0; i < REGIONS; i++) {
		struct ibv_mr *mr = regions[i];
		uint64_t start = mr ? (uintptr_t)mr->addr : 0;

		if (mr && mr->lkey == lkey && addr >= start && addr - start <= mr->length &&
		    len <= mr->length - (addr - start))
			return true;
	}
	return false;
}

/* -- what the library calls -------------------------------------------------------------------- */

static int poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
	struct queue *q = cq == rx_cq ? &rx_done : &tx_done;
	int n = 0;

	while (n < count && q->head != q->tail)
		wc[n++] = pop(q);
	return n;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	(void)cq, (void)solicited_only;
	return 0;
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)qp;
	for (; wr; wr = wr->next) {
		*bad = wr;
		claim(fake.sends < fake.cap.max_send_wr);
		fake_on_send(wr);
		fake.sends++;
		push(&tx_posted, (struct ibv_wc){ .wr_id = wr->wr_id, .opcode = IBV_WC_RDMA_WRITE,
						  .wc_flags = wr->send_flags & IBV_SEND_SIGNALED });
	}
	return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	(void)qp;
	for (; wr; wr = wr->next) {
		*bad = wr;
		claim(fake.receives < fake.cap.max_recv_wr);
		claim(wr->num_sge == fake.iwarp);
		receives[(first_receive + fake.receives++) % QUEUE] = (struct receive){
			wr->wr_id, wr->num_sge ? (void *)(uintptr_t)wr->sg_list->addr : NULL };
	}
	return 0;
}

static struct ibv_device device = { .transport_type = IBV_TRANSPORT_IB };

struct fake_device fake = {
	.verbs.device = &device,
	.verbs.ops = { .poll_cq = poll_cq, .req_notify_cq = req_notify_cq,
		       .post_send = post_send, .post_recv = post_recv },
};

void fake_be_iwarp(bool iwarp)
{
	fake.iwarp = iwarp;
	device.transport_type = iwarp ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB;
}

const char *ibv_get_device_name(struct ibv_device *unused)
{
	(void)unused;
	return "fuzz";
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	(void)context;
	*attr = (struct ibv_device_attr){ .max_qp_wr = 65535 };
	return 0;
}

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	static struct ibv_pd pd;

	pd.context = context;
	return &pd;
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	struct ibv_mr *mr = calloc(1, sizeof(*mr));
	int i = 0;

	(void)pd, (void)access;
	while (i < REGIONS && regions[i])
		i++;
	claim(mr && i < REGIONS);
	next_key++;
	*mr = (struct ibv_mr){ .addr = addr, .length = length, .lkey = next_key, .rkey = next_key };
	regions[i] = mr;
	return mr;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				unsigned int access)
{
	(void)iova;
	return ibv_reg_mr(pd, addr, length, (int)access);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	for (int i = 0; i < REGIONS; i++) {
		if (regions[i] == mr)
			regions[i] = NULL;
	}
	free(mr);
	return 0;
}

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
	static struct ibv_comp_channel channel = { .fd = -1 };

	channel.context = context;
	return &channel;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	(void)channel;
	return 0;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			     struct ibv_comp_channel *channel, int comp_vector)
{
	struct ibv_cq *cq = calloc(1, sizeof(*cq));

	(void)comp_vector;
	claim(cq);
	*cq = (struct ibv_cq){ .context = context, .channel = channel, .cq_context = cq_context,
			       .cqe = cqe };
	return cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	free(cq);
	return 0;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int count)
{
	(void)cq, (void)count;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
{
	(void)channel, (void)cq, (void)cq_context;
	errno = EAGAIN;
	return -1;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	(void)qp;
	if (mask & IBV_QP_STATE && attr->qp_state == IBV_QPS_ERR)
		fake.broken = true;
	return 0;
}

int ibv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask, struct ibv_qp_init_attr *init)
{
	(void)qp, (void)mask, (void)init;
	*attr = (struct ibv_qp_attr){ .path_mtu = IBV_MTU_1024 };
	return 0;
}

const char *ibv_wc_status_str(enum ibv_wc_status status)
{
	(void)status;
	return "made up";
}
