/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The module's descriptors (nStack calls them proFDs): small, dense numbers of our own, each standing for a
 * descriptor of librsk. nStack takes only numbers up to maxfd, and librsk's are kernel descriptors.
 *
 * nStack never overlaps close with another call on the same descriptor, but for its select() thread, which
 * is why what that does, and close, hold the entry's lock. Entries are never freed.
 */
#ifndef DMM_FDS_H
#define DMM_FDS_H

#include <pthread.h>
#include <stdatomic.h>

/* EPOLLONESHOT, which nStack leaves to the modules: one event, then none until the next MOD. */
enum dmm_shot {
	DMM_SHOT_OFF,
	DMM_SHOT_ARMED,
	DMM_SHOT_FIRED,              /* the event was told, epoll_wait() has not collected it yet */
	DMM_SHOT_SPENT,
};

enum {
	DMM_FREE = -1,
	DMM_INHERITED = -2,          /* of the parent process: nothing works, and it can be closed */
};

struct dmm_fd {
	atomic_int fd;               /* librsk's, or one of the above */
	int next_free;
	pthread_mutex_t lock;        /* guards the rest, and closing */
	/* How it is registered with epoll sets: */
	unsigned sets;               /* in how many */
	unsigned mask;               /* what they want, together */
	void *pdata;                 /* does not change while sets is not 0 */
	_Atomic(enum dmm_shot) shot;
	atomic_uint calls;           /* of became_ready() */
};

/* Before the first descriptor: which numbers there are. */
void dmm_fds_init(void);
/* In a forked child: the locks are free, all descriptors inherited. */
void dmm_fds_inherit(void);

/* A number for a descriptor to come, or -1 with EMFILE. Then dmm_fd_open() or dmm_fd_release(). */
int dmm_fd_reserve(void);
void dmm_fd_open(int s, int fd);
void dmm_fd_release(int s);

/* The entry of an open descriptor, or NULL with EBADF. */
struct dmm_fd *dmm_fd_find(int s);
/* librsk's descriptor, or -1 with EBADF, or ECONNRESET: inherited. */
int dmm_fd_get(int s);

#endif
