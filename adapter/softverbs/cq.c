/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Completion queues and channels. Arming holds for one event: the next entry raises it; an entry that was
 * there before does not. That is the rule of the hardware, and the reason to poll once more after arming.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "objects.h"
#include "options.h"

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
	struct soft_channel *channel;
	int ret;

	soft_lock();
	ret = soft_fail_at(SOFT_AT_CREATE_CHANNEL);
	soft_unlock();
	channel = ret ? NULL : calloc(1, sizeof(*channel));
	if (!channel) {
		errno = ret ? ret : ENOMEM;
		return NULL;
	}
	channel->ibv.context = context;
	channel->ibv.fd = soft_queue_open();
	if (channel->ibv.fd >= 0)
		return &channel->ibv;
	errno = -channel->ibv.fd;
	free(channel);
	return NULL;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *ibv)
{
	int busy;

	soft_lock();
	busy = ibv->refcnt;
	soft_unlock();
	if (busy)
		return EBUSY;
	close(ibv->fd);
	free(ibv);
	return 0;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			     struct ibv_comp_channel *channel, int comp_vector)
{
	struct soft_cq *cq;
	int ret;

	if (cqe < 1 || cqe > soft_options.max_cqe || comp_vector < 0 ||
	    comp_vector >= context->num_comp_vectors) {
		errno = EINVAL;
		return NULL;
	}
	cq = calloc(1, sizeof(*cq));
	if (cq)
		cq->entries = calloc(soft_ring_size((uint32_t)cqe), sizeof(*cq->entries));
	if (!cq || !cq->entries) {
		free(cq);
		errno = ENOMEM;
		return NULL;
	}
	cq->ibv = (struct ibv_cq){ .context = context, .channel = channel, .cq_context = cq_context,
				   .cqe = cqe };
	cq->mask = soft_ring_size((uint32_t)cqe) - 1;
	soft_lock();
	ret = soft_count_new(&soft_counts.cqs, soft_options.max_cq, SOFT_AT_CREATE_CQ);
	if (!ret && channel)
		channel->refcnt++;
	soft_unlock();
	if (!ret)
		return &cq->ibv;
	free(cq->entries);
	free(cq);
	errno = ret;
	return NULL;
}

int ibv_destroy_cq(struct ibv_cq *ibv)
{
	struct soft_cq *cq = soft_cq(ibv);

	soft_lock();
	if (cq->users) {
		soft_unlock();
		return EBUSY;
	}
	if (ibv->channel) {
		soft_queue_remove(&((struct soft_channel *)ibv->channel)->queue, ibv->channel->fd, &cq->event);
		while (cq->pending--)
			soft_queue_unring(ibv->channel->fd);
		ibv->channel->refcnt--;
	}
	soft_timer_stop(&cq->late_event);
	soft_timer_stop(&cq->late_entries);
	soft_counts.cqs--;
	soft_async_forget(cq);
	soft_acks_await(&cq->acks);
	soft_acks_await(&cq->async_acks);
	soft_unlock();
	free(cq->entries);
	free(cq);
	return 0;
}

static void put_event(struct soft_cq *cq)
{
	struct soft_channel *channel = (struct soft_channel *)cq->ibv.channel;

	if (!cq->event.queued) {
		soft_queue_put(&channel->queue, channel->ibv.fd, &cq->event);
		return;
	}
	/* Armed again while the event of the last arming has not been read: another one. It wakes, too, as
	 * the kernel's do: an edge-triggered waiter counts on it. */
	cq->pending++;
	soft_queue_ring(channel->ibv.fd);
}

static void event_is_due(struct soft_timer *timer)
{
	put_event((struct soft_cq *)((char *)timer - offsetof(struct soft_cq, late_event)));
}

static void raise_event(struct soft_cq *cq)
{
	struct soft_fault fault;

	cq->armed = SOFT_UNARMED;
	if (!cq->ibv.channel)
		return;
	fault = soft_fault_at(SOFT_AT_EVENT, 0);
	/* One for all that come meanwhile, as from Soft-RoCE. */
	if (soft_timer_runs(&cq->late_event))
		return;
	if (fault.action == SOFT_DELAY)
		soft_timer_start(&cq->late_event, (uint64_t)fault.value * SOFT_MS, event_is_due);
	else
		put_event(cq);
}

/* Shows what has been pushed. */
static void show(struct soft_cq *cq)
{
	cq->shown = cq->head;
	if (cq->armed == SOFT_ARMED || (cq->armed == SOFT_ARMED_SOLICITED && cq->notable))
		raise_event(cq);
	cq->notable = false;
}

static void entries_are_due(struct soft_timer *timer)
{
	show((struct soft_cq *)((char *)timer - offsetof(struct soft_cq, late_entries)));
}

void soft_cq_delay(struct ibv_cq *ibv, unsigned ms)
{
	if (!soft_timer_runs(&soft_cq(ibv)->late_entries))
		soft_timer_start(&soft_cq(ibv)->late_entries, ms * SOFT_MS, entries_are_due);
}

void soft_cq_push(struct ibv_cq *ibv, const struct ibv_wc *wc, bool solicited)
{
	struct soft_cq *cq = soft_cq(ibv);

	if (cq->head - cq->tail == (uint32_t)ibv->cqe) {
		if (!cq->overrun)
			soft_async_event(IBV_EVENT_CQ_ERR, ibv);
		cq->overrun = true;
		return;
	}
	cq->entries[cq->head++ & cq->mask] = *wc;
	cq->notable = cq->notable || solicited || wc->status != IBV_WC_SUCCESS;
	if (!soft_timer_runs(&cq->late_entries))
		show(cq);
}

static void drive_qps(struct soft_cq *cq, bool senders_only)
{
	struct soft_qp *next;

	for (struct soft_qp *qp = cq->qps; qp; qp = next) {
		bool sends = &cq->ibv == qp->ibv.send_cq;

		next = sends ? qp->next_send : qp->next_recv;
		if (!senders_only || (sends && qp->sq_done != qp->sq_posted))
			soft_qp_progress(qp);
	}
}

/* A card works while a program spins; this device needs the processor, as the peer does. */
static void give_way(void)
{
	static _Thread_local unsigned empty_polls;

	if (++empty_polls % 16 == 0)
		sched_yield();
}

int soft_poll_cq(struct ibv_cq *ibv, int count, struct ibv_wc *wc)
{
	struct soft_cq *cq = soft_cq(ibv);
	int n;

	soft_lock();
	if (cq->shown == cq->tail)
		drive_qps(cq, false);
	for (n = 0; n < count && cq->shown != cq->tail; n++)
		wc[n] = cq->entries[cq->tail++ & cq->mask];
	soft_unlock();
	if (!n)
		give_way();
	return n;
}

int soft_req_notify_cq(struct ibv_cq *ibv, int solicited)
{
	struct soft_cq *cq = soft_cq(ibv);
	bool was_armed;

	soft_lock();
	was_armed = cq->armed;
	/* Armed for any stays so. */
	if (cq->armed != SOFT_ARMED)
		cq->armed = solicited ? SOFT_ARMED_SOLICITED : SOFT_ARMED;
	/* From now on peers have to ring for acknowledgements. */
	if (!was_armed)
		drive_qps(cq, true);
	soft_unlock();
	return 0;
}

int ibv_get_cq_event(struct ibv_comp_channel *ibv, struct ibv_cq **cq, void **cq_context)
{
	struct soft_channel *channel = (struct soft_channel *)ibv;
	struct soft_event *event = soft_queue_take(&channel->queue, ibv->fd);
	struct soft_cq *source;

	if (!event)
		return -1;
	source = (struct soft_cq *)((char *)event - offsetof(struct soft_cq, event));
	source->acks.given++;
	if (source->pending) {
		source->pending--;
		soft_queue_add(&channel->queue, event);
	}
	*cq = &source->ibv;
	*cq_context = source->ibv.cq_context;
	soft_unlock();
	return 0;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int nevents)
{
	soft_acks_add(&soft_cq(cq)->acks, nevents);
}
