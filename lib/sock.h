/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The socket object: its life and its locks (sock.c), its readiness and how its callers sleep (wait.c).
 *
 * Life: references. The descriptor table holds one while the descriptor is open, a call holds the
 * descriptor's slot, the connection manager holds one from the id's creation to its destruction, a
 * listener one for each child. The last to go frees the memory; by then the verbs objects are gone.
 *
 * Locks, outermost first:
 *   tx.lock   one sender at a time; may be held while copying or waiting for room
 *   rx.lock   the same for receivers
 *   lock      ("the state lock") all that completions and the CM change; short, fixed work, never
 *             across a copy or a sleep. All members without another guard named are guarded by it.
 *   pool_lock
 * Of two sockets no two locks are ever held together.
 */
#ifndef RSK_SOCK_H
#define RSK_SOCK_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include "cm.h"
#include "cork.h"
#include "credit.h"
#include "hold.h"
#include "iomap.h"
#include "keepalive.h"
#include "lock.h"
#include "options.h"
#include "pool.h"
#include "qp.h"
#include "ready.h"
#include "ring.h"

/* What is to be sent without a call that waits for it, besides segments and credits that are due by themselves. */
enum rsk_due {
	RSK_DUE_CREDITS = 1,         /* credits, however few */
	RSK_DUE_MAPS = 2,            /* the end of a mapping */
	RSK_DUE_END = 4,             /* SHUTDOWN or DISCONNECT */
	RSK_DUE_HELD = 8,            /* data that waits for room: see cork.h */
};

struct rsk_tx {
	struct rsk_lock lock;
	struct rsk_tx_credit credit;
	struct rsk_ring ring;
	struct rsk_chunk *chunk;     /* the ring's memory, lent while bytes are in flight */
	uint32_t ring_signalled;     /* ring position of the last signalled send; tx.lock */
	struct rsk_entry peer_list;  /* where our entries go; length counts entries */
	uint32_t peer_index;         /* the entry to write next */
	unsigned out_slot;           /* see rsk_stream_out_slot() */
	bool swap;                   /* the peer has the other byte order */
	bool end_sent;               /* SHUTDOWN or DISCONNECT was sent */
	unsigned due;                /* enum rsk_due, as bits */
	int joins;                   /* MSG_MORE: sends without that flag must look at cork.h, too; else 0. Changed
				      * under the state lock, read without */
};

/* Where the application reads next. */
struct rsk_place {
	uint32_t segment;            /* its number */
	uint32_t left;               /* bytes from here to the segment's end */
	uint8_t *at;
};

struct rsk_rx {
	struct rsk_lock lock;
	struct rsk_rx_credit credit;
	struct rsk_mem segment[RSK_SEGMENTS]; /* rx.lock while not advertised */
	uint32_t ready;              /* segments whose memory may be advertised */
	struct rsk_mem list;         /* our target list, which the peer writes to, and more: */
	uint8_t *mappings;           /* its mappings, behind the list's entries */
	uint8_t *out;                /* entries on their way out */
	unsigned list_index;         /* the entry to look at next */
	struct rsk_hold hold;        /* the last bytes that arrived may not be shown yet */
	/* Positions in the stream, in bytes from its beginning: */
	uint64_t hold_timed;         /* what has arrived, when the limit of a hold was last set */
	uint64_t end;                /* where it ends, once shut_by_peer */
	uint64_t seen;               /* what has arrived, when last looked at; rx.lock */
	_Atomic(uint64_t) drained;   /* what the application has taken; written under rx.lock */
	struct rsk_place place;      /* where drained lies; rx.lock */
};

enum {
	RSK_SEND_USEFUL = 2048,      /* POLLOUT promises room for this much, as upstream */
};

enum {
	RSK_TURNED_PUSH = 1 << 14,   /* none of poll(2)'s bits */
};

/* Who is told what arrives, whoever takes it in: a member of an epoll instance, or a watch. It never loses
 * anything: the CQ stays armed, and the descriptor becomes readable, for what nobody takes in. */
struct rsk_observer {
	struct rsk_observer *next;
	uint32_t events;             /* EPOLL* bits that it wants; 0: it is not to be told */
	bool edge;                   /* of each arrival, even if the same bits are there already */
	/* Called with the state lock held: @arrived bits came. */
	void (*tell)(struct rsk_observer *observer, uint32_t arrived);
	/* The same, when the socket is closed: it is not observed any more. */
	void (*dismiss)(struct rsk_observer *observer);
};

struct rsk_sock {
	struct rsk_slot *slot;       /* its place in the descriptor table */
	atomic_uint refs;
	int domain;
	atomic_bool nonblock;
	_Atomic(short) turned_away;  /* POLLIN, POLLOUT: a call that must not wait met one that had the turn;
				      * RSK_TURNED_PUSH: somebody who would have sent what is held */

	pthread_mutex_t setup_lock;  /* one bind, listen or connect at a time; outermost */

	struct rsk_lock lock;
	_Atomic(uint32_t) news;      /* what those sleep on who wait while another sleeps for all */
	struct rsk_ready ready;
	bool asleep;                 /* a thread sleeps on the channel: it takes the events, for all waiters */
	unsigned waiters;            /* threads inside rsk_sock_wait() */
	short wanted;                /* POLLIN, POLLOUT: somebody was told that it is not there. Raising the descriptor
				      * for it is the answer: see awaited() in wait.c */
	unsigned reminders;          /* how often the descriptor was kept readable for them */
	struct rsk_observer *observers;
	uint32_t told;               /* the bits that were there when they were last told */
	uint64_t told_arrived;       /* and how many bytes had arrived; the end counts as one */

	enum rsk_state state;
	bool bound;                  /* setup_lock */
	bool connect_untold;         /* no rsk_connect() has said yet how it went */
	bool opened;                 /* was connected once */
	/* As bits, for most calls ask for several of them together, which gcc does in one test unless they are bool: */
	unsigned closed : 1;         /* rsk_close() was called: everybody out */
	unsigned shut_rd : 1, shut_wr : 1; /* our own shutdowns */
	unsigned shut_by_peer : 1;   /* its stream has ended */
	unsigned left_by_peer : 1;   /* DISCONNECT: it takes nothing any more, either */
	int pending_error;           /* for SO_ERROR and the next call; positive errno */
	int failure;                 /* why the state is RSK_FAILED; positive errno */
	char error_text[200];        /* the same in words */

	struct rsk_options options;
	struct sockaddr_storage local, peer;

	struct rsk_cm cm;
	struct rsk_qp qp;
	struct rsk_tx tx;
	struct rsk_rx rx;
	struct rsk_maps maps;

	/* Engine thread: */
	struct rsk_work close_work, hang_up_work, hold_work;
	struct rsk_timer hold_limit;
	struct rsk_io channel_io;    /* waits for the peer to begin, and when closed */
	struct rsk_timer drain_limit;
	struct rsk_keepalive keepalive;
	struct rsk_cork cork;        /* for the most part not the engine's: see there */
	bool gone;                   /* nothing is left of the connection; closing_lock of sock.c */
};

/* Up to where data has arrived, and may be shown. State lock held. */
static inline uint64_t rsk_rx_arrived(const struct rsk_sock *sk)
{
	return sk->shut_by_peer ? sk->rx.end : sk->rx.credit.arrived - sk->rx.hold.bytes;
}

/* Bytes that have arrived and nobody has taken. State lock held. */
static inline uint64_t rsk_rx_waiting(const struct rsk_sock *sk)
{
	return rsk_rx_arrived(sk) - atomic_load_explicit(&sk->rx.drained, memory_order_relaxed);
}

/* Enough to read for SO_RCVLOWAT, or as much as the peer has room to send? State lock held. */
static inline bool rsk_rx_readable(const struct rsk_sock *sk)
{
	uint64_t waiting = rsk_rx_waiting(sk);

	return waiting >= (unsigned)sk->options.rcvlowat ||
	       (waiting && sk->rx.credit.filling == sk->rx.credit.advertised);
}

/* Bytes that a write to a mapping could carry now, up to @want. State lock held. */
static inline uint32_t rsk_tx_write_room(const struct rsk_sock *sk, uint32_t want)
{
	uint32_t free_bytes = rsk_ring_free(&sk->tx.ring);

	if (rsk_qp_data_in_flight(&sk->qp) == sk->qp.sq_size)
		return 0;
	/* No small change: better to wait for a useful piece than to send crumbs. */
	if (free_bytes < want && free_bytes < RSK_SEND_USEFUL)
		return 0;
	return want < free_bytes ? want : free_bytes;
}

/* The same for a message, which must have a credit and a place to go to. */
static inline uint32_t rsk_tx_room(const struct rsk_sock *sk, uint32_t want)
{
	uint32_t room = rsk_tx_credit_room(&sk->tx.credit);

	return rsk_tx_write_room(sk, room < want ? room : want);
}

/* A new socket with one reference and no descriptor, or NULL. */
struct rsk_sock *rsk_sock_new(int domain);
struct rsk_sock *rsk_sock_ref(struct rsk_sock *sk);
void rsk_sock_unref(struct rsk_sock *sk);

/* Gives it a descriptor and publishes it. The descriptor takes the caller's reference; it is returned,
 * or -errno. */
int rsk_sock_publish(struct rsk_sock *sk, bool cloexec);
/* The kernel gave out this number anew: a socket that still counts as its owner was closed by close(2), and has
 * neither a descriptor nor observers any more. Its connection is leaked, as nobody can close it. */
void rsk_sock_disown(int fd);

/* "10.0.0.2:7471", into @text. */
const char *rsk_sock_name(const struct sockaddr_storage *addr, char text[static 64]);

/* Moves the socket to RSK_FAILED with @err (positive), unless it is over already: QP to the error
 * state, peer told, everybody woken. Called with the state lock held. */
void rsk_sock_fail(struct rsk_sock *sk, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Notes why an operation failed, for rsk_error(). State lock held. */
void rsk_sock_explain(struct rsk_sock *sk, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A call returns @ret: a failure that it reports is not pending any more. Returns @ret. */
int rsk_sock_report(struct rsk_sock *sk, int ret);

/* Those who wait while another thread sleeps, or the engine looks, for them. State lock held. */
void rsk_sock_tell_followers(struct rsk_sock *sk);
/* Something changed other than by a completion: whoever waits looks again. State lock held. */
void rsk_sock_wake(struct rsk_sock *sk);

/* Readiness: poll(2) bits of the present state. State lock held. */
short rsk_sock_mask(struct rsk_sock *sk);
enum rsk_look {
	RSK_LOOK,                    /* look, no more */
	RSK_LOOK_AND_ARM,            /* if nothing is there, the descriptor reports the next change */
	RSK_LOOK_AND_ARM_LAZILY,     /* the same, but see be_lazy() in wait.c */
};

/* The bits of @events that are there, besides POLLERR, POLLHUP and POLLNVAL (closed by another
 * thread). State lock held. */
short rsk_sock_poll(struct rsk_sock *sk, short events, enum rsk_look look);

/* Observers. All with the state lock held. */
void rsk_sock_observe(struct rsk_sock *sk, struct rsk_observer *observer);
void rsk_sock_unobserve(struct rsk_sock *sk, struct rsk_observer *observer);
/* The bits that the observer wants and that are there. If there are none, or it is edge triggered, it will
 * be told the next change; else it has to look again. */
uint32_t rsk_sock_look(struct rsk_sock *sk, const struct rsk_observer *observer);
/* Tells them what arrived since they were last told; @all: everything that is there counts as new. */
void rsk_sock_tell(struct rsk_sock *sk, bool all);
/* The socket is closed: nobody observes it any more. */
void rsk_sock_dismiss(struct rsk_sock *sk);

/* Will the next completion make the descriptor readable? @tx: also that of a send. Returns true when a CQ
 * was newly armed: the caller looks again, as what came before raises no event. State lock held. */
bool rsk_sock_arm(struct rsk_sock *sk, bool tx);

/* O_NONBLOCK on or off. State lock held. 0 or -errno. */
int rsk_sock_set_nonblock(struct rsk_sock *sk, bool nonblock);

/* A point in time, in ns of the monotonic clock; RSK_NEVER is no limit. */
#define RSK_NEVER INT64_MAX
int64_t rsk_now(void);
int64_t rsk_deadline(const struct timeval *limit);
/* The same for ppoll(2) and others: NULL is no limit; -EINVAL. */
int64_t rsk_deadline_of(const struct timespec *limit);
/* Milliseconds left, rounded up; -1 for ever. */
int rsk_ms_until(int64_t deadline);
/* How long a blocking call polls before it sleeps. */
int64_t rsk_spin_ns(void);

/* Is this thread inside a call that waits? Near at hand, for every such call says so. */
extern _Thread_local bool rsk_sock_waiting __attribute__((tls_model("initial-exec")));

/* Sleeps until @look says yes, which takes in completions first; the caller has just looked. @tx: room to
 * send matters, too. The state lock is held on entry and exit, and when @look is called. Returns 0,
 * -EAGAIN (the deadline passed), -EINTR, or -ECONNABORTED (closed meanwhile). */
int rsk_sock_wait(struct rsk_sock *sk, bool (*look)(struct rsk_sock *), bool tx, int64_t deadline);

/* A call was turned away as another had the turn: now it has not, and there may be something left. */
void rsk_sock_turn_over(struct rsk_sock *sk);

/* Must a call with these flags not wait? */
static inline bool rsk_sock_nonblocking(struct rsk_sock *sk, int flags)
{
	return flags & MSG_DONTWAIT || atomic_load(&sk->nonblock);
}

void rsk_sock_answer(struct rsk_sock *sk, short what, int flags);

/* A call got what it asked for. One that does not wait counts as the same that was told before that it is not
 * there: nobody has to be told any more. One that waits answers nobody else. State lock held. */
static inline void rsk_sock_answered(struct rsk_sock *sk, short what, int flags)
{
	if (sk->wanted & what)
		rsk_sock_answer(sk, what, flags);
}

/* Sleeps until the turn is free; as rsk_sock_wait(). *deadline is set, for the rest of the call. */
int rsk_sock_await_turn(struct rsk_sock *sk, struct rsk_lock *turn, int64_t *deadline);

/* @turn is tx.lock or rx.lock, which another call may have for long. 0, -EAGAIN or -EINTR. */
static inline int rsk_sock_take_turn(struct rsk_sock *sk, struct rsk_lock *turn, int flags, int64_t *deadline)
{
	if (rsk_trylock(turn))
		return 0;
	if (!rsk_sock_nonblocking(sk, flags))
		return rsk_sock_await_turn(sk, turn, deadline);
	/* Noted first, then tried again: who gives up the turn in between sees the one or the other. */
	atomic_fetch_or(&sk->turned_away, turn == &sk->rx.lock ? POLLIN : POLLOUT);
	return rsk_trylock(turn) ? 0 : -EAGAIN;
}

static inline void rsk_sock_give_turn(struct rsk_sock *sk, struct rsk_lock *turn)
{
	rsk_unlock(turn);
	if (atomic_load(&sk->turned_away))
		rsk_sock_turn_over(sk);
}

/* Closes the descriptor: what rsk_close() does. */
bool rsk_sock_close(struct rsk_sock *sk);
/* Waits, if SO_LINGER asks for it, until a closed socket's data has arrived. Under no lock, and with a
 * reference. */
void rsk_sock_linger(struct rsk_sock *sk);
/* Closes all sockets and waits, within their limits, until what they sent has gone out. False: not all of it has, and
 * a lock of anything may be held for ever. */
bool rsk_sock_close_all(void);
void rsk_sock_forget_all(void);

#endif
