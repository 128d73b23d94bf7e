/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A queue of events with a kernel descriptor, as completion channels, CM event channels and a context's
 * async events have. The descriptor counts what is queued; an event that is taken back when its object
 * is destroyed stays counted, so a reader that finds nothing reads on.
 */
#ifndef SOFT_QUEUE_H
#define SOFT_QUEUE_H

#include <stdbool.h>

struct soft_event {
	struct soft_event *next;
	bool queued;
};

struct soft_queue {
	struct soft_event *first;
};

/* A descriptor for a queue, or -errno. */
int soft_queue_open(void);
void soft_queue_put(struct soft_queue *queue, int fd, struct soft_event *event);
/* Its two halves: an event on the list, and one more on the descriptor's count. */
void soft_queue_add(struct soft_queue *queue, struct soft_event *event);
void soft_queue_ring(int fd);
void soft_queue_remove(struct soft_queue *queue, struct soft_event *event);
/* Waits for an event, unless @fd does not block. Called without the device lock, returns with it if there
 * is an event; NULL with errno set if there is none. */
struct soft_event *soft_queue_take(struct soft_queue *queue, int fd);

#endif
