/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Event queues: see queue.h. */
#include "queue.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "node.h"

int soft_queue_open(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);

	return fd < 0 ? -errno : fd;
}

void soft_queue_ring(int fd)
{
	const uint64_t one = 1;

	/* The counter cannot be full, so this does not fail or wait. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void soft_queue_add(struct soft_queue *queue, struct soft_event *event)
{
	struct soft_event **slot = &queue->first;

	while (*slot)
		slot = &(*slot)->next;
	*slot = event;
	event->next = NULL;
	event->queued = true;
}

void soft_queue_put(struct soft_queue *queue, int fd, struct soft_event *event)
{
	soft_queue_add(queue, event);
	soft_queue_ring(fd);
}

void soft_queue_unring(int fd)
{
	uint64_t one;
	struct iovec part = { &one, sizeof(one) };

	/* A reader may have been faster: it will find nothing. */
	if (preadv2(fd, &part, 1, -1, RWF_NOWAIT) < 0)
		return;
}

void soft_queue_remove(struct soft_queue *queue, int fd, struct soft_event *event)
{
	struct soft_event **slot = &queue->first;

	if (!event->queued)
		return;
	while (*slot != event)
		slot = &(*slot)->next;
	*slot = event->next;
	event->queued = false;
	soft_queue_unring(fd);
}

struct soft_event *soft_queue_take(struct soft_queue *queue, int fd)
{
	struct soft_event *event;
	uint64_t one;

	for (;;) {
		if (read(fd, &one, sizeof(one)) < 0)
			return NULL;
		soft_lock();
		event = queue->first;
		if (event)
			break;
		soft_unlock();
	}
	queue->first = event->next;
	event->queued = false;
	return event;
}
