/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Readiness for nStack: see events.h. */
#include "events.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "abi.h"
#include "librsk.h"
#include "range.h"

enum {
	WORD_BITS = 8 * sizeof(unsigned long),
	/* What librsk knows; EPOLLET and the like are nStack's. */
	EVENTS = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDHUP,
	ALWAYS = EPOLLERR | EPOLLHUP,
	/* What select() calls ready, as Linux: */
	READABLE = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR,
	WRITABLE = EPOLLOUT | EPOLLERR,
	NICE = -10,                  /* of the thread that tells */
};

static int (*tell)(void *pdata, int events);

void dmm_events_init(int (*event_cb)(void *pdata, int events))
{
	tell = event_cb;
}

/* What is ready now. */
static unsigned look(int fd, unsigned events)
{
	struct pollfd p = { .fd = fd, .events = (short)(events & EVENTS) };

	if (fd == DMM_INHERITED)
		return (events & (EPOLLIN | EPOLLOUT | EPOLLRDHUP)) | ALWAYS;
	if (fd == DMM_FREE || rsk.poll(&p, 1, 0) < 1)
		return 0;
	return (unsigned)p.revents & ~(unsigned)POLLNVAL;
}

/* nStack wakes the application's thread while it holds a spinlock that this one takes first of all. Should it
 * get our processor, it spins there for the rest of its time slice, until we may go on and release the lock. It
 * does not get it from a thread with a better nice value, where that is permitted. */
static void take_precedence(void)
{
	static _Thread_local bool tried;

	if (!tried && getpriority(PRIO_PROCESS, 0) > NICE)
		setpriority(PRIO_PROCESS, 0, NICE);
	tried = true;
}

/* Something became ready. On librsk's engine thread, with no lock held. */
static void became_ready(int fd, uint32_t events, void *arg)
{
	enum dmm_shot armed = DMM_SHOT_ARMED;
	struct dmm_fd *entry = arg;

	(void)fd;
	atomic_fetch_add(&entry->calls, 1);
	if (atomic_load(&entry->shot) != DMM_SHOT_OFF &&
	    !atomic_compare_exchange_strong(&entry->shot, &armed, DMM_SHOT_FIRED))
		return;
	take_precedence();
	tell(entry->pdata, (int)events);
}

/* Starts, or changes, the watch. Returns what of @events is ready now, or -1. With nStack that takes the place of
 * what was told meanwhile: so after a call in between look again. (In the moment until nStack has stored it, what
 * is told still gets lost where edges are wanted; for others nStack asks again.) Nor is a one-shot registration
 * armed before what it waited for earlier cannot be told any more. */
static unsigned watch(struct dmm_fd *entry, unsigned events)
{
	bool once = events & EPOLLONESHOT;
	int fd = atomic_load(&entry->fd), ready;
	unsigned calls;

	if (fd == DMM_INHERITED)
		return look(fd, events);
	do {
		calls = atomic_load(&entry->calls);
		atomic_store(&entry->shot, once ? DMM_SHOT_SPENT : DMM_SHOT_OFF);
		/* The look comes last, after the arming: that is what rsk_watch() promises. */
		ready = rsk.watch(fd, entry->mask, became_ready, entry);
		if (ready < 0)
			return (unsigned)-1;
		ready &= (int)((events & EVENTS) | ALWAYS);
		if (once)
			atomic_store(&entry->shot, ready ? DMM_SHOT_FIRED : DMM_SHOT_ARMED);
	} while (!ready && atomic_load(&entry->calls) != calls);
	return (unsigned)ready;
}

void dmm_events_end(struct dmm_fd *entry)
{
	int fd = atomic_load(&entry->fd);

	if (entry->sets && fd >= 0)
		rsk.watch(fd, 0, NULL, NULL);
	entry->sets = 0;
}

/* One descriptor may be in several sets, and a module is not told in which: they are counted, and what they
 * want is put together. Only of the last one is it known that nothing else is wanted. */
static unsigned control(struct dmm_fd *entry, int op, unsigned events, void *pdata)
{
	unsigned mask = events & EVENTS;

	switch (op) {
	case DMM_EP_ADD:
		if (!entry->sets++) {
			entry->pdata = pdata;
			entry->mask = 0;
		}
		entry->mask |= mask;
		return watch(entry, events);
	case DMM_EP_MOD:
		if (!entry->sets)
			return (unsigned)-1;
		entry->mask = entry->sets > 1 ? entry->mask | mask : mask;
		return watch(entry, events);
	case DMM_EP_DEL:
		if (entry->sets > 1)
			entry->sets--;
		else
			dmm_events_end(entry);
		return 0;
	default:
		return (unsigned)-1;
	}
}

unsigned dmm_ep_ctl(int ep, int s, int op, struct epoll_event *event, void *pdata)
{
	struct dmm_fd *entry = dmm_fd_find(s);
	unsigned ready;

	(void)ep;
	if (!entry || !event || !pdata)
		return (unsigned)-1;
	pthread_mutex_lock(&entry->lock);
	ready = control(entry, op, event->events, pdata);
	pthread_mutex_unlock(&entry->lock);
	return ready;
}

/* The same for a one-shot registration: this is the delivery, unless nothing is ready and nothing was told. It is
 * spent before the look, or what is found might be told as well. */
static unsigned look_once(struct dmm_fd *entry, unsigned events)
{
	enum dmm_shot shot;
	unsigned calls, ready;

	do {
		calls = atomic_load(&entry->calls);
		shot = atomic_exchange(&entry->shot, DMM_SHOT_SPENT);
		ready = shot == DMM_SHOT_SPENT ? 0 : look(atomic_load(&entry->fd), events);
		if (ready || shot != DMM_SHOT_ARMED)
			return ready;
		atomic_store(&entry->shot, DMM_SHOT_ARMED);
	} while (atomic_load(&entry->calls) != calls);
	return 0;
}

/* nStack is about to deliver the events of this descriptor, and asks what is true now. */
unsigned dmm_ep_getevt(int ep, int s, unsigned events)
{
	struct dmm_fd *entry = dmm_fd_find(s);
	unsigned ready;

	(void)ep;
	if (!entry)
		return 0;
	if (atomic_load(&entry->shot) == DMM_SHOT_OFF)
		ready = look(atomic_load(&entry->fd), events);
	else
		ready = look_once(entry, events);
	return ready & ((events & EVENTS) | ALWAYS);
}

/* select(): the sets are up to DMM_FDS bits wide, wider than an fd_set, whose macros must not touch them. */

static unsigned long word_of(const fd_set *set, int word)
{
	return set ? ((const unsigned long *)set)[word] : 0;
}

/* Clears the bit unless it stays. Returns 1 if it was set, and stays. */
static int settle(fd_set *set, int s, bool stays)
{
	unsigned long bit = 1ul << s % WORD_BITS;
	unsigned long *word = set ? (unsigned long *)set + s / WORD_BITS : NULL;

	if (!word || !(*word & bit))
		return 0;
	if (!stays)
		*word &= ~bit;
	return stays;
}

/* The lock keeps the descriptor open while it is looked at: nStack's select() thread may come during
 * close. What is not open is not ready. */
static unsigned look_at(int s)
{
	struct dmm_fd *entry = dmm_fd_find(s);
	unsigned ready;

	if (!entry)
		return 0;
	pthread_mutex_lock(&entry->lock);
	ready = look(atomic_load(&entry->fd), EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP);
	pthread_mutex_unlock(&entry->lock);
	return ready;
}

int dmm_select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	int count = 0;

	(void)timeout;               /* nStack does the waiting */
	if (n < 0 || n > DMM_FDS) {
		errno = EINVAL;
		return -1;
	}
	for (int s = 0; s < n; s++) {
		unsigned long asked = word_of(in, s / WORD_BITS) | word_of(out, s / WORD_BITS) |
				      word_of(except, s / WORD_BITS);
		unsigned ready;

		if (!(asked >> s % WORD_BITS & 1))
			continue;
		ready = look_at(s);
		count += settle(in, s, ready & READABLE);
		count += settle(out, s, ready & WRITABLE);
		count += settle(except, s, ready & EPOLLPRI);
	}
	return count;
}
