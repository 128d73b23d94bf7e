/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Is a wake-up ever lost? A model of how librsk arms its CQ, polls, sleeps and tells others (lib/wait.c,
 * lib/qp.c, lib/ready.c, lib/epoll.c), to be checked by spin: tests/model/check does.
 *
 * A device brings DATA messages for a receiver and ROOM messages (credits) for a sender to one connection. Who
 * waits for them is chosen by macros, each a process:
 *   READER        blocking receives: rsk_sock_wait(), asleep on the completion channel; with READER=2 they have a
 *                 time limit, which may be over whenever they sleep: then they give up
 *   EPOLL         rsk_epoll_wait() on the socket, with one receive for each report; with EPOLL=2 edge
 *                 triggered, with receives until EAGAIN
 *   WRITER        blocking sends, in the same two manners as READER
 *   LOOP          a foreign event loop: non-blocking sends until EAGAIN, then poll(2) on the descriptor, or,
 *                 with LOOP=2, epoll(7), edge triggered; with LAZY it is not the socket that is non-blocking,
 *                 but each send, by MSG_DONTWAIT, which does not go with edges
 *   ENGINE        on iWARP it waits for the peer to begin
 *   CLOSER        rsk_close() at any time; not with LOOP=2, as a program takes a descriptor out of its loop before
 * READER and EPOLL share what there is to receive, WRITER and LOOP the room, of which WRITER takes WRITES: one has
 * the turn at a time.
 * The state lock is modelled as such: what a thread does under it is seen by the others as one step, but by the
 * device, which knows no lock, step by step.
 *
 * The claim: every process comes to its end, there is no invalid end state. BROKEN leaves one step of the protocol
 * out: each such model must be rejected, or the check is worth nothing. What is not claimed is how long it takes:
 * several who wait for the same socket may go round a few times for each other's news (REMINDERS in wait.c).
 */
#ifndef DATA
#define DATA 2
#endif
#ifndef ROOM
#define ROOM 1
#endif
#ifndef BROKEN
#define BROKEN 0
#endif

/* What may be left out. */
#define NO_SECOND_LOOK 1     /* of a sleeper, after arming */
#define NO_REARM 2           /* for the observers, by who took the event */
#define NOT_SPENT 3          /* an event taken leaves the CQ armed, it is thought */
#define NO_TELLING 4         /* of followers, by who slept for them */
#define NO_SETTLING 5        /* the descriptor rests, whatever others were told */
#define NO_RAISE 6           /* closing does not raise the descriptor */
#define DRAIN_ASLEEP 7       /* events are taken away from the sleeper */
#define NO_ENQUEUE 8         /* what arrives while another call looks is not put on the ready list */
#define NO_LOOK 9            /* at the channel, for an event too many, when none is expected */
#define TOO_LAZY 10          /* no arming, though nothing keeps the descriptor readable */
#define NO_TURN_OVER 11      /* who gives up the turn tells nobody */
#define NO_TURN_EDGE 12      /* or raises the descriptor, which it may be already */
#define NO_TURN_TELLING 13   /* or does not tell the observers */
#define COUNT_EVENTS 14      /* each completion of an armed CQ makes one, it is thought */
#define FORGET_FIRST 15      /* who begins to wait forgets what others were told is not there */
#define LOWER_CLOSED 16      /* the descriptor is lowered after closing, too */
#define FORGET_LAST 17       /* who has waited forgets it, or who did not have to */
#define NO_BEGIN 18          /* who takes the event that the engine waits for does not tell its followers */

#ifdef EPOLL
#define OBSERVED true
#else
#define OBSERVED false
#endif
#define IN 1                 /* POLLIN */
#define OUT 2                /* POLLOUT */
#define ANYTHING 4
#define PATIENCE 1           /* looks; in the code it is learned */
#ifdef LAZY
#define IS_LAZY true
#else
#define IS_LAZY false
#endif

#if defined(READER) && defined(EPOLL)
#define DATA_EACH (DATA / 2)
#else
#define DATA_EACH DATA
#endif
#if defined(WRITER) && defined(LOOP)
#ifndef WRITES
#define WRITES (ROOM / 2)
#endif
#define SENDS (ROOM - WRITES)
#else
#define WRITES ROOM
#define SENDS ROOM
#endif

/* The device. */
byte cq_data, cq_room;       /* completions nobody has polled */
bool notify;                 /* the CQ raises an event with the next one */
byte due;                    /* events on their way to the channel */
byte events, nudges;         /* on it: of the receive CQ; of the send CQ, by rsk_qp_nudge() */

/* struct rsk_qp, struct rsk_sock. */
bool locked;                 /* the state lock */
bool armed;
byte fired;
byte idle_looks;
byte data, room;             /* arrived, and not yet taken by the application */
byte raised = ANYTHING;      /* for whom: as rsk_sock_publish() leaves it */
bool asleep;
byte waiters;
byte news;
byte wanted;
bool closed;
bool rx_turn, tx_turn;       /* rx.lock, tx.lock */
byte turned_away;
#ifdef ENGINE
bool begun;                  /* the peer has: rsk_qp_may_begin() */
#else
bool begun = true;
#endif
byte news_for_others;        /* a local variable of those who hold the state lock */

/* The kernel's memory of an edge, of each epoll instance that the descriptor is an edge-triggered member of. */
bool edge_loop = true, edge_epoll = true;

/* struct rsk_epoll and its one item. */
bool item_queued, item_arrived, bell;
bool taking;                 /* by the thread that holds the state lock */

#define THERE ((data > 0 -> IN : 0) | (room > 0 -> OUT : 0))
#define MASK (closed -> IN | OUT : THERE) /* what a look finds */
#define AWAITED (wanted & ~raised)
#define READABLE (raised > 0 || events > 0 || nudges > 0)
#define SILENT (BROKEN != TOO_LAZY && !raised && !armed && !fired)
#if BROKEN == COUNT_EVENTS
#define FIRED_AGAIN (fired + 1)
#define FIRED_LESS (fired > 0 -> fired - 1 : 0)
#else
#define FIRED_AGAIN 1
#define FIRED_LESS 0
#endif

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline edge() { edge_loop = true; edge_epoll = true }

/* rsk_ready_raise() and rsk_ready_lower() */
inline raise_descriptor(bits)
{
	d_step { if :: bits & ~raised -> raised = raised | (bits); edge() :: else fi }
}
inline lower_descriptor() { raised = 0 }

/* lower() */
inline lower()
{
#if BROKEN == LOWER_CLOSED
	lower_descriptor()
#else
	if :: !closed -> lower_descriptor() :: else fi
#endif
}

/* tell() and enqueue(), called by rsk_sock_tell() */
inline tell_observer()
{
#ifdef EPOLL
	item_arrived = true;
#if BROKEN != NO_ENQUEUE
	if :: !taking -> item_queued = true; bell = true :: else fi;
#endif
#endif
	skip
}

inline tell_followers() { d_step { if :: waiters > 0 -> news++ :: else fi } }

/* rsk_stream_progress() with rsk_qp_poll_rx(), note_completion(); then rsk_sock_tell() */
inline progress()
{
	atomic {
		if
		:: cq_data + cq_room > 0 ->
			if :: armed -> armed = false; fired = FIRED_AGAIN :: else fi;
			idle_looks = 0;
			begun = true;
			if :: cq_data > 0 -> tell_observer() :: else fi;
			data = data + cq_data; cq_data = 0;
			room = room + cq_room; cq_room = 0
		:: else
		fi
	}
}

/* rsk_qp_arm(): newly tells whether the caller has to look again */
inline arm(newly)
{
	d_step {
		newly = !armed;
		if :: !armed -> armed = true; notify = true :: else fi
	}
}

/* rsk_qp_took_event(), of the receive CQ */
inline took_event()
{
	d_step {
		fired = FIRED_LESS;
#if BROKEN != NOT_SPENT
		armed = false
#endif
	}
}

/* rsk_qp_drain() */
inline drain(readable)
{
	do
	:: atomic { (readable || fired > 0) && events > 0 -> events--; took_event(); readable = false }
	:: atomic { (readable || fired > 0) && nudges > 0 -> nudges--; readable = false }
	:: else -> break
	od;
	readable = false
}

/* quiesce(), with news_for_others() */
inline quiesce(own)
{
	news_for_others = THERE & wanted & ~(own);
	if
#if BROKEN != NO_SETTLING
	:: news_for_others ->
		raise_descriptor(news_for_others);
		raised = raised & ~(own)
#endif
	:: else -> lower()
	fi;
	if
#if BROKEN == DRAIN_ASLEEP
	:: true ->
#else
	:: !asleep ->
#endif
		again = BROKEN != NO_LOOK;
		drain(again);
#if BROKEN != NO_BEGIN
		tell_followers()
#endif
	:: else
	fi
}

/* settle() */
inline settle(own)
{
#if BROKEN != NO_SETTLING
	news_for_others = THERE & wanted & ~(own);
	if :: news_for_others -> raise_descriptor(news_for_others) :: else fi;
#endif
	skip
}

/* rearm() */
inline rearm()
{
#if BROKEN != NO_REARM
	if
	:: OBSERVED || AWAITED ->
		arm(again);
		do :: again -> progress(); arm(again) :: else -> break od
	:: else
	fi;
#endif
	skip
}

/* be_lazy() */
inline be_lazy(lazily)
{
	d_step {
		if
		:: !lazily || OBSERVED || SILENT -> lazily = false
		:: else ->
			idle_looks++;
			if :: idle_looks > PATIENCE -> idle_looks = 0; lazily = false :: else fi
		fi
	}
}

/* rsk_sock_poll(), RSK_LOOK_AND_ARM or RSK_LOOK_AND_ARM_LAZILY: what a non-blocking call does before it fails
 * with EAGAIN */
inline sock_poll(own, mask, lazily)
{
	progress();
	mask = MASK & own;
	wanted = wanted & ~mask;
	again = lazily;
	if :: !mask -> wanted = wanted | own; be_lazy(again) :: else fi;
	if
	:: mask || again -> again = false
	:: else ->
		quiesce(own);
		arm(again);
		again = false;
		progress();
		mask = MASK & own;
		wanted = wanted & ~mask;
		settle(mask)
	fi
}

/* rsk_sock_look(), for the item of the epoll instance */
inline sock_look(mask)
{
	progress();
	mask = MASK & IN;
#if EPOLL == 1
	if
	:: mask -> skip
	:: else ->
#endif
		quiesce(0);
		rearm();
		again = false;
		settle(0);
		mask = MASK & IN
#if EPOLL == 1
	fi
#endif
}

/* sleep_on_channel(): the event is taken without the lock */
inline sleep_on_channel(timed)
{
	asleep = true;
	unlock();
	if
	:: atomic { events > 0 -> events-- };
		lock();
		asleep = false;
		took_event()
	:: atomic { nudges > 0 -> nudges-- };
		lock();
		asleep = false
	:: timed ->
		lock();
		asleep = false;
		over = true
	fi;
#if BROKEN != NO_TELLING
	if :: waiters > 1 -> tell_followers() :: else fi
#endif
}

/* follow() */
inline follow(timed)
{
	seen = news;
	unlock();
	if
	:: news != seen
	:: timed -> over = true
	fi;
	lock()
}

/* rsk_sock_wait(); the state lock held */
inline sock_wait(own, timed)
{
	progress();
	if
	:: MASK & own -> skip
	:: else ->
		waiters++;
		over = false;
		do
		:: closed -> break
		:: else ->
			arm(again);
			again = false;
#if BROKEN != NO_SECOND_LOOK
			progress();
#endif
			if :: (MASK & own) || over -> break :: else fi;
			if
			:: asleep || !begun -> follow(timed)
			:: else -> sleep_on_channel(timed)
			fi;
			progress();
			if :: MASK & own -> break :: else fi;
			settle(0)
		od;
		waiters--;
		if :: OBSERVED || AWAITED -> quiesce(0) :: else fi;
		rearm();
		again = false;
		settle(0);
#if BROKEN != NO_TELLING
		tell_followers()
#endif
	fi
}

/* rsk_sock_turn_over() */
inline turn_over()
{
	d_step { handed = turned_away; turned_away = 0 };
	if
	:: handed ->
		lock();
		wanted = wanted | handed;
#if BROKEN != NO_TURN_EDGE
		lower_descriptor();
#endif
		raise_descriptor(ANYTHING);
#if BROKEN != NO_TURN_TELLING
		tell_observer();
#endif
		unlock()
	:: else
	fi
}

/* rsk_sock_take_turn(), of a call that waits for it */
inline await_turn(turn) { atomic { !turn -> turn = true } }

/* The same of a call that does not: is it mine? */
inline take_turn(turn, own, mine)
{
	d_step { mine = !turn; turn = true };
	if
	:: mine -> skip
	:: else ->
		turned_away = turned_away | own;
		d_step { mine = !turn; turn = true }
	fi
}

/* rsk_sock_give_turn() */
inline give_turn(turn)
{
	turn = false;
#if BROKEN != NO_TURN_OVER
	if :: turned_away -> turn_over() :: else fi
#endif
}

/* A completion can be seen, and the CQ be armed again, before its event is on its way; and that takes a while, in
 * which the event of another may join it. */
active proctype device()
{
	byte more_data = DATA, more_room = ROOM;

	do
	:: more_data + more_room > 0 ->
		if
		:: more_data > 0 -> more_data--; cq_data++
		:: more_room > 0 -> more_room--; cq_room++
		fi;
		atomic {
			if
			:: notify ->
				notify = false;
				if :: due++ :: due > 0 -> skip fi
			:: else
			fi
		}
	:: d_step { due > 0 -> due--; events++; edge() }
#ifdef CLOSER
	:: due == 0 -> break         /* the rest never comes */
#endif
	:: more_data + more_room + due == 0 -> break
	od
}

#ifdef READER
active proctype reader()
{
	bool again, over;
	byte seen, got, handed;

	do
	:: got == DATA_EACH -> break
	:: else ->
		await_turn(rx_turn);
		lock();
		sock_wait(IN, READER == 2);
		if
		:: data > 0 -> d_step { data--; got++ }
		:: else -> got = DATA_EACH
		fi;
		unlock();
		give_turn(rx_turn)
	od
}
#endif

#ifdef WRITER
active proctype writer()
{
	bool again, over;
	byte seen, got, handed;

	do
	:: got == WRITES -> break
	:: else ->
		await_turn(tx_turn);
		lock();
#if BROKEN == FORGET_FIRST
		wanted = wanted & ~OUT;
#endif
		sock_wait(OUT, WRITER == 2);
#if BROKEN == FORGET_LAST
		wanted = wanted & ~OUT;
#endif
		if
		:: room > 0 -> d_step { room--; got++ }
		:: else -> got = WRITES
		fi;
		unlock();
		give_turn(tx_turn)
	od
}
#endif

#ifdef LOOP
active proctype loop()
{
	bool again, mine, last;
	byte mask, got, handed;

	do
	:: closed -> break
	:: else ->
		last = got == SENDS;
		take_turn(tx_turn, OUT, mine);
		mask = 0;
		if
		:: mine ->
			lock();
			sock_poll(OUT, mask, IS_LAZY);
			if :: mask -> wanted = wanted & ~OUT :: else fi; /* rsk_sock_answered() */
			if :: room > 0 && !last -> d_step { room--; got++ } :: else fi;
			unlock();
			give_turn(tx_turn)
		:: else
		fi;
		if
		:: last -> break
		:: mask && !last -> skip
		:: else ->
#if LOOP == 2
			do
			:: atomic { edge_loop && READABLE -> edge_loop = false; break }
			:: atomic { edge_loop && !READABLE -> edge_loop = false }
			od
#else
			READABLE
#endif
		fi
	od
}
#endif

#ifdef EPOLL
/* rsk_epoll_take(), and a receive, which by itself is a call as in a foreign loop. */
active proctype epoll()
{
	bool again, mine;
	byte mask, got, handed;

	do
	:: got == DATA_EACH -> break
	:: else ->
		/* take_some(): the ready list, or the kernel: the bell, and an edge of the socket's descriptor. */
		d_step {
			item_queued || bell || edge_epoll ->
			if :: edge_epoll && READABLE -> item_queued = true :: else fi; /* note_awake() */
			edge_epoll = false
		};
		if
		:: item_queued ->
			item_queued = false;
			/* report() */
			lock();
			taking = true;
			sock_look(mask);
#if EPOLL == 2
			if :: !item_arrived -> mask = 0 :: else fi;
#else
			if :: mask -> item_queued = true :: else fi;
#endif
			item_arrived = false;
			taking = false;
			unlock()
		:: else
		fi;
		d_step { bell = item_queued };
		/* The application's receive. */
		do
		:: mask ->
			take_turn(rx_turn, IN, mine);
			if
			:: mine ->
				lock();
				sock_poll(IN, mask, false);
				if
				:: mask && got < DATA_EACH -> d_step { wanted = wanted & ~IN; data--; got++ }
				:: else -> mask = 0
				fi;
				unlock();
				give_turn(rx_turn)
			:: else -> mask = 0
			fi;
#if EPOLL == 1
			mask = 0
#endif
		:: else -> break
		od
	od
}
#endif

#ifdef ENGINE
/* await_peer(), and look_for_peer() when the channel is readable: it takes no event. */
active proctype engine()
{
	bool again, over;

	do
	:: lock();
		progress();
		arm(again);
		do :: again && !begun -> progress(); arm(again) :: else -> again = false; break od;
		over = begun || closed;
		if :: over -> tell_followers() :: else fi;
		unlock();
		if
		:: over -> break
		:: else ->
end:			events > 0 || nudges > 0     /* or another took it all */
		fi
	od
}
#endif

#ifdef CLOSER
/* rsk_sock_close() and rsk_sock_wake() */
active proctype closer()
{
	lock();
	closed = true;
#if BROKEN != NO_RAISE
	raise_descriptor(ANYTHING);
	if :: asleep -> d_step { nudges++; edge() } :: else fi;
#endif
	tell_followers();
	unlock()
}
#endif
