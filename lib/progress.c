/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The engine thread: see progress.h. */
#include "progress.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ev.h>

_Static_assert(sizeof(ev_timer) <= sizeof(((struct rsk_timer *)0)->storage), "room for ev_timer");
_Static_assert(sizeof(ev_io) <= sizeof(((struct rsk_io *)0)->storage), "room for ev_io");

static struct {
	pthread_mutex_t lock;        /* guards running and the work list */
	atomic_bool running;
	struct rsk_work *first, **last;
	struct ev_loop *loop;
	int bell;                    /* eventfd: work was posted */
	ev_io bell_io;
} engine = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local bool is_engine;

bool rsk_progress_is_engine(void)
{
	return is_engine;
}

bool rsk_progress_runs(void)
{
	return engine.running;
}

static struct rsk_work *next_work(void)
{
	struct rsk_work *work;

	pthread_mutex_lock(&engine.lock);
	work = engine.first;
	if (work) {
		engine.first = work->next;
		if (!engine.first)
			engine.last = &engine.first;
		work->queued = false;
	}
	pthread_mutex_unlock(&engine.lock);
	return work;
}

static void run_work(struct ev_loop *loop, ev_io *bell, int events)
{
	struct rsk_work *work;
	uint64_t rung;

	(void)loop, (void)events;
	if (read(bell->fd, &rung, sizeof(rung)) < 0)
		return;              /* nothing new: a spurious wake-up */
	while ((work = next_work()))
		work->fn(work);
}

static void *run_engine(void *arg)
{
	(void)arg;
	is_engine = true;
	ev_run(engine.loop, 0);
	return NULL;
}

/* Signals are the application's: its handlers never run on a thread of ours. */
int rsk_thread_start(void *(*run)(void *))
{
	sigset_t all, old;
	pthread_t thread;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret)
		pthread_detach(thread);
	return -ret;
}

/* Not ev_async: without descriptors left, libev would end the process. */
static int make_loop(void)
{
	engine.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (engine.bell < 0)
		return -errno;
	engine.loop = ev_loop_new(EVFLAG_AUTO);
	if (!engine.loop) {
		close(engine.bell);
		return -ENOMEM;
	}
	ev_io_init(&engine.bell_io, run_work, engine.bell, EV_READ);
	ev_io_start(engine.loop, &engine.bell_io);
	return 0;
}

int rsk_progress_start(void)
{
	int ret = 0;

	pthread_mutex_lock(&engine.lock);
	if (!engine.running) {
		engine.last = &engine.first;
		ret = make_loop();
		if (!ret) {
			ret = rsk_thread_start(run_engine);
			engine.running = !ret;
			if (ret) {
				ev_loop_destroy(engine.loop);
				close(engine.bell);
			}
		}
	}
	pthread_mutex_unlock(&engine.lock);
	return ret;
}

void rsk_progress_forget(void)
{
	pthread_mutex_init(&engine.lock, NULL);
	engine.running = false;
	engine.first = NULL;
	engine.last = &engine.first;
	is_engine = false;
}

bool rsk_progress_post(struct rsk_work *work)
{
	const uint64_t one = 1;
	bool fresh;

	pthread_mutex_lock(&engine.lock);
	fresh = !work->queued;
	if (fresh) {
		work->queued = true;
		work->next = NULL;
		*engine.last = work;
		engine.last = &work->next;
	}
	pthread_mutex_unlock(&engine.lock);
	/* Cannot fail but for a full counter, which rings as well. */
	if (fresh && write(engine.bell, &one, sizeof(one)) < 0)
		return true;
	return fresh;
}

struct call {
	struct rsk_work work;
	int (*fn)(void *arg);
	void *arg;
	int result;
	bool done;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void run_call(struct rsk_work *work)
{
	struct call *call = (struct call *)work;
	int result = call->fn(call->arg);

	pthread_mutex_lock(&call->lock);
	call->result = result;
	call->done = true;
	pthread_cond_signal(&call->cond);
	pthread_mutex_unlock(&call->lock);
}

int rsk_progress_call(int (*fn)(void *arg), void *arg)
{
	struct call call = {
		.work.fn = run_call,
		.fn = fn,
		.arg = arg,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};

	if (is_engine)
		return fn(arg);
	rsk_progress_post(&call.work);
	pthread_mutex_lock(&call.lock);
	while (!call.done)
		pthread_cond_wait(&call.cond, &call.lock);
	pthread_mutex_unlock(&call.lock);
	return call.result;
}

void rsk_progress_turn(void)
{
	ev_run(engine.loop, EVRUN_ONCE);
}

static void timer_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct rsk_timer *timer = watcher->data;

	(void)loop, (void)events;
	timer->fn(timer);
}

void rsk_timer_start(struct rsk_timer *timer, unsigned ms, void (*fn)(struct rsk_timer *))
{
	ev_timer *watcher = (ev_timer *)timer->storage;

	rsk_timer_stop(timer);
	timer->fn = fn;
	ev_timer_init(watcher, timer_fired, ms / 1000.0, 0);
	watcher->data = timer;
	/* The loop's idea of now is as old as its last wake-up. */
	ev_now_update(engine.loop);
	ev_timer_start(engine.loop, watcher);
}

void rsk_timer_stop(struct rsk_timer *timer)
{
	if (timer->fn)
		ev_timer_stop(engine.loop, (ev_timer *)timer->storage);
	timer->fn = NULL;
}

static void io_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct rsk_io *io = watcher->data;

	(void)loop, (void)events;
	io->fn(io);
}

void rsk_io_start(struct rsk_io *io, int fd, void (*fn)(struct rsk_io *))
{
	ev_io *watcher = (ev_io *)io->storage;

	rsk_io_stop(io);
	io->fn = fn;
	ev_io_init(watcher, io_ready, fd, EV_READ);
	watcher->data = io;
	ev_io_start(engine.loop, watcher);
}

void rsk_io_stop(struct rsk_io *io)
{
	if (io->fn)
		ev_io_stop(engine.loop, (ev_io *)io->storage);
	io->fn = NULL;
}
