/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Verbs: see qp.h. Functions return 0 or a negative errno, however verbs reports it. */
#include "qp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

enum {                               /* see learn_patience() */
	FEW_LOOKS = 16,
	PATIENCE_MIN = 256,
	PATIENCE_MAX = 65536,
};

static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rsk_device *devices;

static struct rsk_device *open_device(struct ibv_context *verbs)
{
	struct rsk_device *dev = calloc(1, sizeof(*dev));
	struct ibv_device_attr attr;

	if (!dev)
		return NULL;
	dev->verbs = verbs;
	dev->name = ibv_get_device_name(verbs->device);
	dev->max_qp_wr = RSK_QP_SIZE_MAX;
	pthread_mutex_init(&dev->pool_lock, NULL);
	if (!ibv_query_device(verbs, &attr))
		dev->max_qp_wr = attr.max_qp_wr;
	dev->pd = ibv_alloc_pd(verbs);
	if (!dev->pd) {
		free(dev);
		return NULL;
	}
	return dev;
}

struct rsk_device *rsk_device_get(struct ibv_context *verbs)
{
	struct rsk_device *dev;

	pthread_mutex_lock(&devices_lock);
	for (dev = devices; dev && dev->verbs != verbs; dev = dev->next)
		;
	if (!dev) {
		dev = open_device(verbs);
		if (dev) {
			dev->next = devices;
			devices = dev;
		}
	}
	pthread_mutex_unlock(&devices_lock);
	return dev;
}

void rsk_device_forget(void)
{
	pthread_mutex_init(&devices_lock, NULL);
	devices = NULL;
}

void rsk_device_each(void (*fn)(struct rsk_device *))
{
	pthread_mutex_lock(&devices_lock);
	for (struct rsk_device *dev = devices; dev; dev = dev->next)
		fn(dev);
	pthread_mutex_unlock(&devices_lock);
}

int rsk_mem_register(struct rsk_mem *mem, struct rsk_device *dev, void *addr, size_t len, bool remote)
{
	int access = IBV_ACCESS_LOCAL_WRITE | (remote ? IBV_ACCESS_REMOTE_WRITE : 0);
	int err;

	*mem = (struct rsk_mem){ addr, len, ibv_reg_mr(dev->pd, addr, len, access) };
	if (mem->mr)
		return 0;
	err = errno;
	rsk_log(RSK_LOG_WARN, "%s: cannot register %zu bytes: %s%s", dev->name, len, strerror(err),
		err == ENOMEM ? " (raise the memory-lock limit: ulimit -l)" : "");
	return -err;
}

void rsk_mem_unregister(struct rsk_mem *mem)
{
	if (mem->mr)
		ibv_dereg_mr(mem->mr);
	mem->mr = NULL;
}

int rsk_mem_alloc(struct rsk_mem *mem, struct rsk_device *dev, size_t len, bool remote)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (len + page - 1) & ~(page - 1);
	uint8_t *addr;
	int ret;

	/* Whole pages of its own: rdma-core marks registered pages not to be copied on fork. */
	addr = aligned_alloc(page, room);
	if (!addr)
		return -ENOMEM;
	memset(addr, 0, room);
	ret = rsk_mem_register(mem, dev, addr, len, remote);
	if (ret) {
		free(addr);
		*mem = (struct rsk_mem){ 0 };
	}
	return ret;
}

void rsk_mem_free(struct rsk_mem *mem)
{
	if (!mem->mr)
		return;
	rsk_mem_unregister(mem);
	free(mem->addr);
	*mem = (struct rsk_mem){ 0 };
}

static int make_cq(struct rsk_qp *qp, enum rsk_cq which, uint32_t entries)
{
	qp->cq[which] = ibv_create_cq(qp->dev->verbs, (int)entries, (void *)(uintptr_t)which,
				      qp->channel, 0);
	return qp->cq[which] ? 0 : -errno;
}

static uint32_t at_most(uint32_t want, int limit)
{
	return limit > 0 && want > (uint32_t)limit ? (uint32_t)limit : want;
}

int rsk_qp_prepare(struct rsk_qp *qp, struct rsk_device *dev, uint16_t sq, uint16_t credits,
		   uint32_t max_inline, struct ibv_qp_init_attr *attr)
{
	uint32_t wrs, send_wrs;
	int ret;

	*qp = (struct rsk_qp){ .dev = dev, .channel_blocks = true };
	qp->iwarp = dev->verbs->device->transport_type == IBV_TRANSPORT_IWARP;
	wrs = qp->iwarp ? 2 : 1;     /* of a message */
	qp->sq_size = at_most(sq, dev->max_qp_wr / (int)wrs - RSK_QP_CTRL - RSK_QP_PROBES);
	send_wrs = wrs * (qp->sq_size + RSK_QP_CTRL) + RSK_QP_PROBES;
	/* A quarter of the queue without a signal, or a full queue might have none to wait for. */
	qp->signal_after = qp->iwarp ? 0 : qp->sq_size / 4;
	qp->rq_size = at_most((uint32_t)credits + RSK_QP_SPARE_RECVS, dev->max_qp_wr);

	qp->channel = ibv_create_comp_channel(dev->verbs);
	if (!qp->channel) {
		ret = -errno;
		goto destroy;
	}
	ret = make_cq(qp, RSK_CQ_RX, qp->rq_size);
	if (!ret)
		ret = make_cq(qp, RSK_CQ_TX, send_wrs);
	if (ret)
		goto destroy;

	*attr = (struct ibv_qp_init_attr){
		.send_cq = qp->cq[RSK_CQ_TX],
		.recv_cq = qp->cq[RSK_CQ_RX],
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = send_wrs,
			.max_recv_wr = qp->rq_size,
			.max_send_sge = 2,
			.max_recv_sge = 1,
			.max_inline_data = max_inline > rsk_qp_inline_min(qp) ? max_inline :
										rsk_qp_inline_min(qp),
		},
	};
	return 0;

destroy:
	rsk_qp_destroy(qp);
	return ret;
}

uint32_t rsk_qp_inline_min(const struct rsk_qp *qp)
{
	return qp->iwarp ? sizeof(uint32_t) : 0; /* messages are sent so */
}

/* Memory for messages to arrive in. Receives complete in the order in which they were posted, so the
 * slots are free again in order. */
static __attribute__((noinline)) void take_slots(struct rsk_qp *qp, struct ibv_recv_wr *wr,
						 struct ibv_sge *sge, unsigned count)
{
	for (; count; count--, wr++, sge++) {
		wr->wr_id = qp->next_slot;
		wr->sg_list = sge;
		wr->num_sge = 1;
		*sge = (struct ibv_sge){ (uintptr_t)qp->slots.addr + wr->wr_id * sizeof(uint32_t),
					 sizeof(uint32_t), qp->slots.mr->lkey };
		qp->next_slot = (qp->next_slot + 1) % qp->rq_size;
	}
}

/* Of a post: 0 or -errno. Some providers return -1 and set errno, as siw's. */
static inline int outcome(int ret)
{
	return ret < 0 ? -errno : -ret;
}

static int post_recvs(struct rsk_qp *qp, unsigned count)
{
	struct ibv_recv_wr wr[RSK_QP_BATCH], *bad;
	struct ibv_sge sge[RSK_QP_BATCH];

	while (count) {
		unsigned n = count < RSK_QP_BATCH ? count : RSK_QP_BATCH;
		int ret;

		/* Where messages are immediate data, a receive needs no memory. */
		for (unsigned i = 0; i < n; i++)
			wr[i] = (struct ibv_recv_wr){ .next = i + 1 < n ? &wr[i + 1] : NULL };
		if (qp->iwarp)
			take_slots(qp, wr, sge, n);
		ret = outcome(ibv_post_recv(qp->qp, wr, &bad));
		if (ret)
			return ret;
		count -= n;
	}
	return 0;
}

int rsk_qp_attach(struct rsk_qp *qp, struct ibv_qp *made, uint32_t max_inline)
{
	qp->qp = made;
	qp->max_inline = max_inline;
	if (qp->iwarp) {
		int ret = max_inline < rsk_qp_inline_min(qp) ? -ENOTSUP :
			  rsk_mem_alloc(&qp->slots, qp->dev, qp->rq_size * sizeof(uint32_t), false);
		if (ret)
			return ret;
	}
	return post_recvs(qp, qp->rq_size);
}

void rsk_qp_let_peer_begin(struct rsk_qp *qp)
{
	if (!qp->iwarp)
		return;
	qp->held = qp->sq_size;
	qp->sq_size = 0;
	qp->ctrl_in_flight = RSK_QP_CTRL;
}

static void peer_has_begun(struct rsk_qp *qp)
{
	qp->sq_size = qp->held;
	qp->ctrl_in_flight -= RSK_QP_CTRL;
	qp->held = 0;
}

void rsk_qp_destroy(struct rsk_qp *qp)
{
	for (int i = 0; i < RSK_CQS; i++) {
		if (!qp->cq[i])
			continue;
		if (qp->unacked[i])
			ibv_ack_cq_events(qp->cq[i], qp->unacked[i]);
		ibv_destroy_cq(qp->cq[i]);
		qp->cq[i] = NULL;
	}
	if (qp->channel) {
		ibv_destroy_comp_channel(qp->channel);
		qp->channel = NULL;
	}
	rsk_mem_free(&qp->slots);
	qp->qp = NULL;
}

void rsk_qp_set_rnr_timer(struct rsk_qp *qp)
{
	struct ibv_qp_attr attr = { .min_rnr_timer = 12 }; /* 0.64 ms */

	/* A matter of comfort: a device that refuses it works all the same. */
	(void)ibv_modify_qp(qp->qp, &attr, IBV_QP_MIN_RNR_TIMER);
}

void rsk_qp_set_error(struct rsk_qp *qp)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	if (!qp->qp)
		return;
	int ret = ibv_modify_qp(qp->qp, &attr, IBV_QP_STATE);
	if (ret)
		rsk_log(RSK_LOG_DEBUG, "QP %u: cannot move to the error state: %s", qp->qp->qp_num,
			strerror(ret));
}

int rsk_qp_mtu(struct rsk_qp *qp)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	if (!qp->qp || ibv_query_qp(qp->qp, &attr, IBV_QP_PATH_MTU, &init))
		return 0;
	return 128 << attr.path_mtu;
}

/* wr_id of data: bits 47..32 the sequence number, 31..0 the ring position. Fewer than 2^16 sends are
 * in flight, so 16 bits tell them apart. */
static const uint64_t ctrl_wr_id = UINT64_C(1) << 63;
static const uint64_t probe_wr_id = UINT64_C(1) << 62;
static const uint64_t first_half_wr_id = UINT64_C(1) << 61;

static inline uint64_t data_wr_id(uint32_t seq, uint32_t ring_position)
{
	return (uint64_t)(seq & 0xffff) << 32 | ring_position;
}

/* For iWARP: the write, if there is anything to write, then the message. Both are signalled: of an
 * unsignalled write, siw lends the memory to TCP, which may read it again after the message's completion. */
static __attribute__((noinline)) int post_iwarp(struct rsk_qp *qp, struct ibv_sge *sge, int nsge,
						const struct rsk_entry *to, uint32_t msg, unsigned flags,
						uint64_t wr_id)
{
	struct ibv_sge four_bytes = { (uintptr_t)&msg, sizeof(msg), 0 };
	struct ibv_send_wr *bad, send = {
		.wr_id = wr_id,
		.sg_list = &four_bytes,
		.num_sge = 1,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_INLINE | IBV_SEND_SIGNALED,
	}, write = {
		.wr_id = first_half_wr_id,
		.next = &send,
		.sg_list = sge,
		.num_sge = nsge,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = flags,
		.wr.rdma = { to->addr, to->key },
	};

	return outcome(ibv_post_send(qp->qp, nsge ? &write : &send, &bad));
}

static inline int post_write(struct rsk_qp *qp, enum ibv_wr_opcode opcode, struct ibv_sge *sge, int nsge,
			     const struct rsk_entry *to, uint32_t msg, unsigned flags, uint64_t wr_id)
{
	struct ibv_send_wr *bad, wr;

	if (flags & RSK_POST_SIGNALLED && opcode == IBV_WR_RDMA_WRITE_WITH_IMM && qp->iwarp)
		return post_iwarp(qp, sge, nsge, to, msg, flags, wr_id);
	/* Member by member: most of the 128 bytes belong to other operations, and clearing them would
	 * be a good part of the work on a small message. */
	wr.wr_id = wr_id;
	wr.next = NULL;
	wr.sg_list = sge;
	wr.num_sge = nsge;
	wr.opcode = opcode;
	wr.send_flags = flags;
	wr.imm_data = htonl(msg);
	wr.wr.rdma.remote_addr = to->addr;
	wr.wr.rdma.rkey = to->key;
	return outcome(ibv_post_send(qp->qp, &wr, &bad));
}

/* Notes a data send of @len bytes that is about to be posted. Returns its wr_id. */
static inline uint64_t note_send(struct rsk_qp *qp, unsigned *flags, uint32_t len)
{
	uint32_t seq = atomic_load_explicit(&qp->posted, memory_order_relaxed) + 1;

	if (seq - atomic_load_explicit(&qp->signalled, memory_order_relaxed) >= qp->signal_after)
		*flags |= RSK_POST_SIGNALLED;
	/* Counted first: the completion may be seen before the call returns. If it fails, so does the
	 * connection. Release, as the ring's memory may go to another connection after the completion. */
	if (!(*flags & RSK_POST_INLINE))
		qp->ring_posted += len;
	if (*flags & RSK_POST_SIGNALLED)
		atomic_store_explicit(&qp->signalled, seq, memory_order_relaxed);
	atomic_store_explicit(&qp->posted, seq, memory_order_release);
	return data_wr_id(seq, qp->ring_posted);
}

int rsk_qp_write(struct rsk_qp *qp, struct ibv_sge *sge, int nsge, const struct rsk_entry *to,
		 uint32_t msg, unsigned flags)
{
	uint64_t wr_id = note_send(qp, &flags, to->length);

	return post_write(qp, IBV_WR_RDMA_WRITE_WITH_IMM, sge, nsge, to, msg, flags, wr_id);
}

int rsk_qp_write_silently(struct rsk_qp *qp, struct ibv_sge *sge, int nsge, const struct rsk_entry *to,
			  unsigned flags)
{
	uint64_t wr_id = note_send(qp, &flags, to->length);

	return post_write(qp, IBV_WR_RDMA_WRITE, sge, nsge, to, 0, flags, wr_id);
}

int rsk_qp_write_ctrl(struct rsk_qp *qp, struct ibv_sge *sge, int nsge, const struct rsk_entry *to,
		      uint32_t msg, unsigned flags)
{
	int ret = post_write(qp, IBV_WR_RDMA_WRITE_WITH_IMM, sge, nsge, to, msg,
			     flags | RSK_POST_SIGNALLED, ctrl_wr_id);

	if (!ret)
		qp->ctrl_in_flight++;
	return ret;
}

static int post_nothing(struct rsk_qp *qp, uint64_t wr_id)
{
	struct ibv_send_wr *bad, wr = {
		.wr_id = wr_id,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
	};

	return outcome(ibv_post_send(qp->qp, &wr, &bad));
}

int rsk_qp_probe(struct rsk_qp *qp)
{
	int ret = post_nothing(qp, probe_wr_id);

	qp->probing = !ret;
	return ret;
}

int rsk_qp_mark(struct rsk_qp *qp)
{
	uint32_t seq = atomic_load_explicit(&qp->posted, memory_order_relaxed) + 1;

	/* A full queue has a signalled one among its entries. */
	if (rsk_qp_data_in_flight(qp) == qp->sq_size)
		return 0;
	atomic_store_explicit(&qp->signalled, seq, memory_order_relaxed);
	atomic_store_explicit(&qp->posted, seq, memory_order_release);
	return post_nothing(qp, data_wr_id(seq, qp->ring_posted));
}

static int errno_of(const struct rsk_qp *qp, enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	case IBV_WC_REM_ACCESS_ERR:
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_REM_ABORT_ERR:
		return -ECONNRESET;
	default:
		/* iWARP has no status for what the peer refused or broke off. */
		return qp->iwarp ? -ECONNRESET : -EIO;
	}
}

/* A completion failed, or is no message. */
static void note_failure(struct rsk_qp *qp, const struct ibv_wc *wc)
{
	if (wc->status == IBV_WC_SUCCESS) {
		qp->error = qp->error ? qp->error : -EPROTO;
		return;
	}
	if (wc->status == IBV_WC_WR_FLUSH_ERR) {
		qp->flushed = true;
		return;
	}
	rsk_log(RSK_LOG_INFO, "QP %u: work request failed: %s (vendor code %#x)", qp->qp->qp_num,
		ibv_wc_status_str(wc->status), wc->vendor_err);
	if (!qp->error)
		qp->error = errno_of(qp, wc->status);
}

bool rsk_qp_other_message(struct rsk_qp *qp, const struct ibv_wc *wc, uint32_t *msg)
{
	if (!qp->iwarp || wc->status != IBV_WC_SUCCESS || wc->opcode != IBV_WC_RECV ||
	    wc->byte_len != sizeof(*msg)) {
		note_failure(qp, wc);
		return false;
	}
	if (qp->held)
		peer_has_begun(qp);
	memcpy(msg, qp->slots.addr + wc->wr_id * sizeof(*msg), sizeof(*msg));
	qp->recvs_owed++;
	return true;
}

/* Who kept looking although an event was promised does not wait for events: see be_lazy() in wait.c. */
static void learn_patience(struct rsk_qp *qp)
{
	if (qp->idle_looks <= FEW_LOOKS)
		qp->patience /= 4;
	else if (qp->patience < PATIENCE_MAX)
		qp->patience *= 4;
	if (qp->patience < PATIENCE_MIN)
		qp->patience = PATIENCE_MIN;
}

/* A CQE has been taken from this CQ: the arming, if any, is spent. */
static void note_completion(struct rsk_qp *qp, enum rsk_cq which)
{
	if (qp->armed[which]) {
		qp->armed[which] = false;
		qp->fired[which] = true;
		learn_patience(qp);
	}
	qp->idle_looks = qp->quiet = 0;
}

int rsk_qp_poll_rx(struct rsk_qp *qp, struct ibv_wc wc[static RSK_QP_BATCH])
{
	int n = ibv_poll_cq(qp->cq[RSK_CQ_RX], RSK_QP_BATCH, wc);

	if (n > 0) {
		note_completion(qp, RSK_CQ_RX);
		return n;
	}
	if (n < 0 && !qp->error)
		qp->error = -EIO;
	return 0;
}

bool rsk_qp_poll_tx(struct rsk_qp *qp, uint32_t *ring_tail)
{
	struct ibv_wc wc[RSK_QP_BATCH];
	int n = ibv_poll_cq(qp->cq[RSK_CQ_TX], RSK_QP_BATCH, wc);
	bool data = false;

	if (n <= 0) {
		if (n < 0)
			qp->error = qp->error ? qp->error : -EIO;
		return false;
	}
	note_completion(qp, RSK_CQ_TX);
	for (int i = 0; i < n; i++) {
		if (wc[i].status != IBV_WC_SUCCESS) {
			note_failure(qp, &wc[i]);
			continue;
		}
		if (wc[i].wr_id == ctrl_wr_id) {
			qp->ctrl_in_flight--;
			continue;
		}
		if (wc[i].wr_id == first_half_wr_id)
			continue;
		if (wc[i].wr_id == probe_wr_id) {
			qp->probing = false;
			continue;
		}
		qp->completed += (uint16_t)((wc[i].wr_id >> 32) - qp->completed);
		*ring_tail = (uint32_t)wc[i].wr_id;
		data = true;
	}
	return data;
}

int rsk_qp_refill(struct rsk_qp *qp)
{
	unsigned owed = qp->recvs_owed;

	qp->recvs_owed = 0;
	return post_recvs(qp, owed);
}

int rsk_qp_arm(struct rsk_qp *qp, enum rsk_cq which)
{
	int ret;

	if (qp->armed[which])
		return 0;
	ret = ibv_req_notify_cq(qp->cq[which], 0);
	if (ret)
		return -ret;
	qp->armed[which] = true;
	return 1;
}

static inline int read_event(struct rsk_qp *qp)
{
	struct ibv_cq *cq;
	void *which;

	if (ibv_get_cq_event(qp->channel, &cq, &which))
		return -errno;
	return (int)(uintptr_t)which;
}

static __attribute__((noinline)) int sleep_by_poll(struct rsk_qp *qp, int ms)
{
	struct pollfd channel = { .fd = qp->channel->fd, .events = POLLIN };
	int ret = poll(&channel, 1, ms);

	if (ret <= 0)
		return ret ? -errno : -EAGAIN;
	return read_event(qp);
}

int rsk_qp_sleep(struct rsk_qp *qp, int ms)
{
	int ret;

	if (ms >= 0)
		return sleep_by_poll(qp, ms);
	ret = read_event(qp);
	/* Unless the channel was switched to non-blocking just then, that was the one system call. */
	return ret == -EAGAIN ? sleep_by_poll(qp, -1) : ret;
}

static bool take_event(struct rsk_qp *qp)
{
	struct pollfd channel = { .fd = qp->channel->fd, .events = POLLIN };
	int which;

	if (qp->channel_blocks && poll(&channel, 1, 0) != 1)
		return false;
	which = read_event(qp);
	if (which < 0)
		return false;
	rsk_qp_took_event(qp, (enum rsk_cq)which);
	return true;
}

int rsk_qp_set_channel_blocking(struct rsk_qp *qp, bool blocking)
{
	int flags;

	if (qp->channel_blocks == blocking)
		return 0;
	flags = fcntl(qp->channel->fd, F_GETFL);
	flags = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
	if (fcntl(qp->channel->fd, F_SETFL, flags))
		return -errno;
	qp->channel_blocks = blocking;
	return 0;
}

void rsk_qp_nudge(struct rsk_qp *qp)
{
	/* Armed first. With all entries in use there are completions to come anyway. */
	if (rsk_qp_arm(qp, RSK_CQ_TX) >= 0 && qp->ctrl_in_flight >= RSK_QP_CTRL)
		return;
	if (!post_nothing(qp, ctrl_wr_id))
		qp->ctrl_in_flight++;
	else
		rsk_qp_set_error(qp); /* flushed receives wake it, and the connection is lost */
}

void rsk_qp_drain(struct rsk_qp *qp, bool readable)
{
	/* An event can be late by a moment, so it stays expected while it is missing. And one can be too many: a
	 * device may raise it for a completion that was polled before the CQ was armed. Then the arming is
	 * spent, and no edge will come any more. So look although none is expected, but seldom for who keeps
	 * calling: in the first 16 drains, then after 32, 64... */
	if (++qp->quiet <= 16 || !(qp->quiet & (qp->quiet - 1)))
		readable = true;
	while (readable || qp->fired[RSK_CQ_RX] || qp->fired[RSK_CQ_TX]) {
		readable = false;
		if (!take_event(qp))
			break;
	}
}
