/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A queue of events with a kernel descriptor, as completion channels, CM event channels and a context's
 * async events have. The descriptor counts what is queued. Readers wait for the count without the lock, so
 * one that finds nothing, as the event has been taken back in the meantime, waits again.
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
/* Takes an event back, if it is there. */
void soft_queue_remove(struct soft_queue *queue, int fd, struct soft_event *event);
/* One less on the descriptor's count. */
void soft_queue_unring(int fd);
/* Waits for an event, unless @fd does not block. Called without the device lock, returns with it if there
 * is an event; NULL with errno set if there is none. */
struct soft_event *soft_queue_take(struct soft_queue *queue, int fd);

#endif
