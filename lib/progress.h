/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The engine thread: one per process, started with the first socket, asleep unless there is work. It
 * drives what no application thread waits for: connecting and accepting, timers, closing sockets.
 *
 * Timers, descriptors and work run on the engine thread, one at a time, with no lock held; so
 * everything that only they touch needs no lock. This is the only module that knows libev.
 */
#ifndef RSK_PROGRESS_H
#define RSK_PROGRESS_H

#include <stdbool.h>

/* Embedded in what it belongs to; zeroed memory is a valid idle one. storage is the libev watcher. */
struct rsk_timer {
	void (*fn)(struct rsk_timer *);
	void *storage[8];
};

struct rsk_io {
	void (*fn)(struct rsk_io *);
	void *storage[8];
};

struct rsk_work {
	void (*fn)(struct rsk_work *);
	struct rsk_work *next;
	bool queued;
};

/* Starts the engine unless it runs. 0 or -errno. */
int rsk_progress_start(void);
/* In a forked child: there is no engine yet. */
void rsk_progress_forget(void);
bool rsk_progress_runs(void);
bool rsk_progress_is_engine(void);

/* A thread of its own, for what may hang when the process exits. 0 or -errno. */
int rsk_thread_start(void *(*run)(void *));

/* Runs @work->fn on the engine thread, soon. Any thread; posting queued work again does nothing and
 * returns false. */
bool rsk_progress_post(struct rsk_work *work);
/* Runs @fn on the engine thread and waits for its result. The caller holds no lock. */
int rsk_progress_call(int (*fn)(void *arg), void *arg);

/* The rest is for the engine thread alone. */
/* Does what there is to do next, waiting for it. */
void rsk_progress_turn(void);
void rsk_timer_start(struct rsk_timer *timer, unsigned ms, void (*fn)(struct rsk_timer *));
void rsk_timer_stop(struct rsk_timer *timer);
/* Calls @fn whenever @fd is readable. */
void rsk_io_start(struct rsk_io *io, int fd, void (*fn)(struct rsk_io *));
void rsk_io_stop(struct rsk_io *io);

#endif
