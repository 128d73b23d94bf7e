/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Sets of descriptors, and rsk_epoll_*(): see epoll.h. */
#include "epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fdtab.h"

enum {
	BATCH = 64,                  /* events asked of the kernel at a time */
	FIRST_SIZE = 64,             /* of an instance's table of items */
	/* Beside the events themselves: */
	FLAGS = EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE,
	/* What EPOLLEXCLUSIVE goes with, in epoll_ctl(2). */
	EXCLUSIVE_OK = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE,
	/* Members of an instance's descriptor that are no items, whose names are larger. */
	BELL = 0,
	KERNEL = 1,
};

/* The instance that this thread takes reports from: what it finds itself, it need not be told. */
static _Thread_local struct rsk_epoll *taking;

/* Items */

void rsk_item_put(struct rsk_item *item)
{
	if (atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) != 1)
		return;
	rsk_sock_unref(item->sk);
	free(item);
}

/* The kernel hands this back with an event. */
static uint64_t name_of(const struct rsk_item *item)
{
	return (uint64_t)item->serial << 32 | (unsigned)item->fd;
}

static struct rsk_item *by_name(struct rsk_epoll *ep, uint64_t name)
{
	unsigned fd = (uint32_t)name;
	struct rsk_item *item = fd < ep->size ? ep->items[fd] : NULL;

	return item && item->serial == name >> 32 ? item : NULL;
}

/* To raise it is an edge each time. The instance's lock held. */
static void set_raised(struct rsk_epoll *ep, bool raised)
{
	eventfd_t count;

	if (raised && !ep->raised)
		eventfd_write(ep->bell, 1);
	else if (!raised && ep->raised)
		eventfd_read(ep->bell, &count);
	ep->raised = raised;
}

/* Does not raise the descriptor. The instance's lock held. */
static void enqueue(struct rsk_item *item)
{
	struct rsk_epoll *ep = item->ep;

	if (item->queued || item->gone)
		return;
	item->queued = true;
	item->next = NULL;
	atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
	*ep->last = item;
	ep->last = &item->next;
	ep->nready++;
}

/* Takes over the list's reference. The instance's lock held. */
static struct rsk_item *dequeue(struct rsk_epoll *ep)
{
	struct rsk_item *item = ep->first;

	ep->first = item->next;
	if (!ep->first)
		ep->last = &ep->first;
	ep->nready--;
	item->queued = false;
	return item;
}

static void tell(struct rsk_observer *observer, uint32_t arrived)
{
	struct rsk_item *item = (struct rsk_item *)observer;
	struct rsk_epoll *ep = item->ep;

	item->arrived |= arrived;
	if (taking == ep)
		return;              /* by report(), which looks at this very item, and will see it */
	rsk_lock(&ep->lock);
	enqueue(item);
	if (item->queued)
		set_raised(ep, true);
	rsk_unlock(&ep->lock);
}

/* The same by who changes the set: an edge of the instance, though others may wait already. */
static void tell_anew(struct rsk_item *item, uint32_t mask)
{
	struct rsk_epoll *ep = item->ep;

	rsk_lock(&ep->lock);
	if (ep->raised)
		eventfd_write(ep->bell, 1);
	rsk_unlock(&ep->lock);
	tell(&item->observer, mask);
}

/* Takes an item out of the table. */
static void forget(struct rsk_item *item)
{
	struct rsk_epoll *ep = item->ep;
	bool mine;

	rsk_lock(&ep->lock);
	mine = !item->gone;
	if (mine) {
		item->gone = true;
		ep->items[item->fd] = NULL;
	}
	rsk_unlock(&ep->lock);
	if (mine)
		rsk_item_put(item);
}

/* The socket is being closed by its last holder but us: it outlives the item. */
static void dismiss(struct rsk_observer *observer)
{
	observer->events = 0;
	forget((struct rsk_item *)observer);
}

static void unlink_item(struct rsk_item *item)
{
	rsk_lock(&item->sk->lock);
	rsk_sock_unobserve(item->sk, &item->observer);
	item->observer.events = 0;
	rsk_unlock(&item->sk->lock);
	forget(item);
}

static int make_room(struct rsk_epoll *ep, int fd)
{
	unsigned size = ep->size ? ep->size : FIRST_SIZE;
	struct rsk_item **items, **old;

	if ((unsigned)fd < ep->size)
		return 0;
	while (size <= (unsigned)fd)
		size *= 2;
	items = calloc(size, sizeof(*items));
	if (!items)
		return -ENOMEM;
	rsk_lock(&ep->lock);
	old = ep->items;
	for (unsigned i = 0; i < ep->size; i++)
		items[i] = old[i];
	ep->items = items;
	ep->size = size;
	rsk_unlock(&ep->lock);
	free(old);
	return 0;
}

/* Not in the table yet; one reference. ctl_lock held. */
static struct rsk_item *new_item(struct rsk_epoll *ep, int fd, struct rsk_sock *sk)
{
	struct rsk_item *item;

	if (make_room(ep, fd))
		return NULL;
	item = calloc(1, sizeof(*item));
	if (!item)
		return NULL;
	item->ep = ep;
	item->fd = fd;
	item->sk = rsk_sock_ref(sk);
	item->serial = ++ep->serial ? ep->serial : ++ep->serial;
	item->observer.tell = tell;
	item->observer.dismiss = dismiss;
	atomic_init(&item->refs, 1);
	return item;
}

static int add_member(struct rsk_epoll *ep, int fd, uint64_t name)
{
	struct epoll_event event = { EPOLLIN | (name > KERNEL ? EPOLLET : 0), { .u64 = name } };

	return epoll_ctl(ep->fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

/* Has the kernel watch the descriptor, and puts the item in the table: one step for those who wait, and look
 * for the item of each event. ctl_lock held. */
static int insert(struct rsk_item *item)
{
	struct rsk_epoll *ep = item->ep;
	int ret;

	rsk_lock(&ep->lock);
	ret = add_member(ep, item->fd, name_of(item));
	if (!ret) {
		ep->items[item->fd] = item;
		atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
	}
	rsk_unlock(&ep->lock);
	return ret;
}

/* The member under this number, held, or NULL. ctl_lock held. */
static struct rsk_item *find(struct rsk_epoll *ep, int fd)
{
	struct rsk_item *item;

	rsk_lock(&ep->lock);
	item = (unsigned)fd < ep->size ? ep->items[fd] : NULL;
	if (item)
		atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
	rsk_unlock(&ep->lock);
	return item;
}

/* Changing a set */

/* What an item waits for, from now on. Returns what is there already. */
static int set_interest(struct rsk_item *item, const struct rsk_interest *interest, bool quiet, bool add)
{
	struct rsk_sock *sk = item->sk;
	uint32_t mask;

	rsk_lock(&sk->lock);
	if (sk->closed) {
		rsk_unlock(&sk->lock);
		return -EBADF;
	}
	item->observer.events = (interest->events & ~(uint32_t)FLAGS) | EPOLLERR | EPOLLHUP;
	item->observer.edge = interest->events & EPOLLET;
	item->once = interest->events & EPOLLONESHOT;
	item->exclusive = interest->events & EPOLLEXCLUSIVE;
	item->data = interest->data;
	item->fn = interest->fn;
	if (add)
		rsk_sock_observe(sk, &item->observer);
	mask = rsk_sock_look(sk, &item->observer);
	item->arrived = quiet ? 0 : mask;
	if (mask && !quiet)
		tell_anew(item, mask);
	rsk_unlock(&sk->lock);
	return (int)mask;
}

static int add_sock(struct rsk_epoll *ep, int fd, struct rsk_sock *sk, const struct rsk_interest *interest,
		    bool quiet)
{
	struct rsk_item *item = new_item(ep, fd, sk);
	int ret;

	if (!item)
		return -ENOMEM;
	ret = insert(item);
	if (!ret) {
		ret = set_interest(item, interest, quiet, true);
		if (ret < 0)
			unlink_item(item);
	}
	rsk_item_put(item);
	return ret;
}

int rsk_epoll_set(struct rsk_epoll *ep, int fd, struct rsk_sock *sk, const struct rsk_interest *interest,
		  bool quiet)
{
	struct rsk_item *item = find(ep, fd);
	int ret = 0;

	if (!item)
		return interest ? add_sock(ep, fd, sk, interest, quiet) : -ENOENT;
	if (interest) {
		ret = set_interest(item, interest, quiet, false);
	} else {
		unlink_item(item);
		epoll_ctl(ep->fd, EPOLL_CTL_DEL, fd, NULL);
	}
	rsk_item_put(item);
	return ret;
}

static int ctl_sock(struct rsk_epoll *ep, int op, int fd, struct rsk_sock *sk, const struct epoll_event *event)
{
	struct rsk_interest interest = { 0 };
	struct rsk_item *item = find(ep, fd);
	bool member = item, exclusive = member && item->exclusive;
	int ret;

	if (item)
		rsk_item_put(item);
	if (op == EPOLL_CTL_ADD && member)
		return -EEXIST;
	if (op != EPOLL_CTL_ADD && !member)
		return -ENOENT;
	if (op == EPOLL_CTL_MOD && exclusive)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL)
		interest = (struct rsk_interest){ event->events, event->data, NULL };
	ret = rsk_epoll_set(ep, fd, sk, op == EPOLL_CTL_DEL ? NULL : &interest, false);
	return ret < 0 ? ret : 0;
}

/* ctl_lock held. */
static int open_kernel(struct rsk_epoll *ep)
{
	int fd = epoll_create1(EPOLL_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = add_member(ep, fd, KERNEL);
	if (ret)
		close(fd);
	else
		ep->kernel_fd = fd;
	return ret;
}

/* The kernel knows its members: it says what is wrong. */
static int ctl_kernel(struct rsk_epoll *ep, int op, int fd, const struct epoll_event *event)
{
	int ret;

	if (ep->kernel_fd < 0) {
		if (op != EPOLL_CTL_ADD)
			return -ENOENT;
		ret = open_kernel(ep);
		if (ret)
			return ret;
	}
	return epoll_ctl(ep->kernel_fd, op, fd, (struct epoll_event *)event) ? -errno : 0;
}

static int check_ctl(int epfd, int op, int fd, const struct epoll_event *event)
{
	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return -EINVAL;
	if (fd == epfd)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL && event->events & EPOLLEXCLUSIVE &&
	    (op == EPOLL_CTL_MOD || event->events & ~(uint32_t)EXCLUSIVE_OK))
		return -EINVAL;
	return 0;
}

static int ctl(struct rsk_epoll *ep, int op, int fd, const struct epoll_event *event)
{
	struct rsk_sock *sk = rsk_fd_get(fd);
	int ret;

	pthread_mutex_lock(&ep->ctl_lock);
	ret = sk ? ctl_sock(ep, op, fd, sk, event) : ctl_kernel(ep, op, fd, event);
	pthread_mutex_unlock(&ep->ctl_lock);
	if (sk)
		rsk_fd_put(sk);
	return ret;
}

/* Taking reports */

/* What an item off the ready list has to report. *again: it stays ready until a look finds nothing. */
static uint32_t report(struct rsk_item *item, struct rsk_hit *hit, bool *again)
{
	struct rsk_sock *sk = item->sk;
	uint32_t mask = 0;

	rsk_lock(&sk->lock);
	if (item->observer.events) {
		mask = rsk_sock_look(sk, &item->observer);
		if (item->observer.edge && !(item->arrived & item->observer.events))
			mask = 0;
		item->arrived = 0;
		if (mask && item->once)
			item->observer.events = 0;
		else
			*again = mask && !item->observer.edge;
	}
	*hit = (struct rsk_hit){ item, mask, item->data, item->fn };
	rsk_unlock(&sk->lock);
	return mask;
}

/* From the ready list, each item once. The instance's lock held, but not while an item is looked at. */
static int take_ready(struct rsk_epoll *ep, struct rsk_hit *hits, int max)
{
	int n = 0;

	for (unsigned left = ep->nready; left && ep->nready && n < max; left--) {
		struct rsk_item *item = dequeue(ep);
		bool again = false;

		rsk_unlock(&ep->lock);
		if (report(item, &hits[n], &again))
			n++;
		else
			rsk_item_put(item);
		rsk_lock(&ep->lock);
		if (again)
			enqueue(item);
	}
	return n;
}

/* How many events to ask the kernel for: half of @max when there are items to look at, too. The instance's lock
 * held. */
static int kernel_share(struct rsk_epoll *ep, int max)
{
	if (!ep->nready)
		return max;
	ep->kernel_next = !ep->kernel_next;
	return (max + ep->kernel_next) / 2;
}

/* What the kernel reports of its members. */
static int take_kernel(struct rsk_epoll *ep, struct rsk_hit *hits, int max)
{
	struct epoll_event events[BATCH];
	int n = max ? epoll_wait(ep->kernel_fd, events, max, 0) : 0;

	for (int i = 0; i < n; i++)
		hits[i] = (struct rsk_hit){ .events = events[i].events, .data = events[i].data };
	return n < 0 ? 0 : n;
}

/* Sockets that woke the instance go on the ready list. Returns whether the kernel's members did, too. The
 * instance's lock held. */
static bool note_awake(struct rsk_epoll *ep, const struct epoll_event *events, int count)
{
	bool kernel = false;

	for (int i = 0; i < count; i++) {
		struct rsk_item *item = by_name(ep, events[i].data.u64);

		if (item)
			enqueue(item);       /* else the bell, or removed meanwhile, or: */
		kernel |= events[i].data.u64 == KERNEL;
	}
	return kernel;
}

static int kernel_wait(struct rsk_epoll *ep, struct epoll_event events[static BATCH], int64_t deadline,
		       const sigset_t *sigmask)
{
	int64_t left = deadline == RSK_NEVER ? 0 : deadline - rsk_now();
	struct timespec ts = { 0 };
	int n;

	if (left > 0)
		ts = (struct timespec){ left / 1000000000, left % 1000000000 };
	n = epoll_pwait2(ep->fd, events, BATCH, deadline == RSK_NEVER ? NULL : &ts, sigmask);
	if (n < 0 && errno == ENOSYS)
		n = epoll_pwait(ep->fd, events, BATCH, rsk_ms_until(deadline), sigmask);
	return n < 0 ? -errno : n;
}

/* One round: 0 when nothing was found, though something woke us. */
static int take_some(struct rsk_epoll *ep, struct rsk_hit *hits, int max, int64_t deadline,
		     const sigset_t *sigmask)
{
	struct epoll_event events[BATCH];
	int share, count, n = 0;
	bool closed;

	rsk_lock(&ep->lock);
	closed = ep->closed;
	if (ep->nready)
		deadline = 0;
	rsk_unlock(&ep->lock);

	if (closed)
		return -EBADF;
	count = kernel_wait(ep, events, deadline, sigmask);
	if (count < 0)
		return count;

	taking = ep;
	rsk_lock(&ep->lock);
	if (note_awake(ep, events, count)) {
		share = kernel_share(ep, max);
		rsk_unlock(&ep->lock);
		n = take_kernel(ep, hits, share);
		rsk_lock(&ep->lock);
	}
	n += take_ready(ep, hits + n, max - n);
	taking = NULL;
	set_raised(ep, ep->nready || ep->closed);
	rsk_unlock(&ep->lock);
	return n;
}

int rsk_epoll_take(struct rsk_epoll *ep, struct rsk_hit *hits, int max, int64_t deadline,
		   const sigset_t *sigmask)
{
	int n;

	do
		n = take_some(ep, hits, max, deadline, sigmask);
	while (!n && rsk_now() < deadline);
	return n;
}

/* An instance's life */

struct rsk_epoll *rsk_epoll_new(bool cloexec)
{
	struct rsk_epoll *ep = calloc(1, sizeof(*ep));
	int ret;

	if (!ep)
		return NULL;
	ep->last = &ep->first;
	ep->kernel_fd = -1;
	pthread_mutex_init(&ep->ctl_lock, NULL);
	ep->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ep->fd = epoll_create1(cloexec ? EPOLL_CLOEXEC : 0);
	ret = ep->bell < 0 || ep->fd < 0 ? -errno : add_member(ep, ep->bell, BELL);
	if (!ret)
		return ep;
	rsk_epoll_free(ep);
	errno = -ret;
	return NULL;
}

static void close_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void rsk_epoll_free(struct rsk_epoll *ep)
{
	for (unsigned fd = 0; fd < ep->size; fd++) {
		struct rsk_item *item = find(ep, (int)fd);

		if (item) {
			unlink_item(item);
			rsk_item_put(item);
		}
	}
	while (ep->nready)
		rsk_item_put(dequeue(ep));
	close_open(ep->fd);
	close_open(ep->bell);
	close_open(ep->kernel_fd);
	pthread_mutex_destroy(&ep->ctl_lock);
	free(ep->items);
	free(ep);
}

static void released(void *ep)
{
	rsk_epoll_free(ep);
}

bool rsk_epoll_close(int fd)
{
	struct rsk_epoll *ep = rsk_slot_enter(fd, RSK_FD_EPOLL);
	bool mine;

	if (!ep)
		return false;
	mine = rsk_slot_close(ep->slot);
	if (mine) {
		rsk_lock(&ep->lock);
		ep->closed = true;
		/* Whoever waits leaves. */
		set_raised(ep, true);
		rsk_unlock(&ep->lock);
	}
	rsk_slot_leave(ep->slot);
	return mine;
}

/* The calls */

static int result(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* The instance, held, or NULL and errno. */
static struct rsk_epoll *get(int epfd)
{
	struct rsk_epoll *ep = rsk_slot_enter(epfd, RSK_FD_EPOLL);

	if (!ep && fcntl(epfd, F_GETFD) >= 0)
		errno = EINVAL;
	return ep;
}

int rsk_epoll_create1(int flags)
{
	struct rsk_epoll *ep;
	int fd, ret;

	if (flags & ~EPOLL_CLOEXEC)
		return result(-EINVAL);
	ep = rsk_epoll_new(flags & EPOLL_CLOEXEC);
	if (!ep)
		return -1;
	fd = ep->fd;
	rsk_sock_disown(fd);
	ret = rsk_slot_fill(fd, RSK_FD_EPOLL, ep, &ep->slot, released);
	if (ret)
		rsk_epoll_free(ep);
	return result(ret ? ret : fd);
}

int rsk_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct epoll_event none = { 0 };
	struct rsk_epoll *ep;
	int ret;

	if (op != EPOLL_CTL_DEL && !event)
		return result(-EFAULT);
	/* What is wrong with the descriptors, the kernel says: EBADF, EPERM; else that 0 is no operation. */
	if (epoll_ctl(epfd, 0, fd, &none) && errno != EINVAL)
		return -1;
	ep = get(epfd);
	if (!ep)
		return -1;
	ret = check_ctl(epfd, op, fd, event);
	if (!ret)
		ret = ctl(ep, op, fd, event);
	rsk_slot_leave(ep->slot);
	return result(ret);
}

static int wait_until(int epfd, struct epoll_event *events, int maxevents, int64_t deadline,
		      const sigset_t *sigmask)
{
	struct rsk_hit hits[BATCH];
	struct rsk_epoll *ep = get(epfd);
	int ret = -EINVAL;

	if (!ep)
		return -1;
	if (maxevents > 0 && !events)
		ret = -EFAULT;
	else if (maxevents > 0 && maxevents <= INT_MAX / (int)sizeof(*events))
		ret = rsk_epoll_take(ep, hits, maxevents < BATCH ? maxevents : BATCH, deadline, sigmask);
	for (int i = 0; i < ret; i++) {
		events[i] = (struct epoll_event){ hits[i].events, hits[i].data };
		if (hits[i].item)
			rsk_item_put(hits[i].item);
	}
	rsk_slot_leave(ep->slot);
	return result(ret);
}

int rsk_epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	return rsk_epoll_pwait(epfd, events, maxevents, timeout, NULL);
}

int rsk_epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout, const sigset_t *sigmask)
{
	int64_t deadline = timeout < 0 ? RSK_NEVER : rsk_now() + timeout * INT64_C(1000000);

	return wait_until(epfd, events, maxevents, deadline, sigmask);
}

int rsk_epoll_pwait2(int epfd, struct epoll_event *events, int maxevents, const struct timespec *timeout,
		     const sigset_t *sigmask)
{
	int64_t deadline = rsk_deadline_of(timeout);

	if (deadline < 0)
		return result(-EINVAL);
	return wait_until(epfd, events, maxevents, deadline, sigmask);
}
