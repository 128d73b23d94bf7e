/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-echo's server: sends back what it receives, to any number of clients, in one thread.
 *
 * A client has one buffer. It is filled, sent back, and filled again; while the client does not take what
 * is sent back, nothing more is received from it, and so it can send no more: that is all the memory it
 * can have. SIGINT or SIGTERM ends the server: it accepts nobody any more, sends back what has arrived
 * until then, and exits.
 */
#include "rsk-echo.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

enum {
	BUFFER_BYTES = 64 << 10,
	TURNS = 16,             /* buffers of one client before the others are looked after */
	BACKLOG = 128,
	RETRY_SECONDS = 1,      /* to accept, when there were no descriptors */
	STOP_SECONDS = 10,      /* that clients have to take the rest */
};

struct client {
	ev_io io;
	ev_timer again;
	struct client *next, **prev;
	bool ended; /* nothing more is received */
	size_t filled, sent;
	char peer[ADDRESS_TEXT_MAX];
	uint8_t buf[BUFFER_BYTES];
};

static ev_io listener;
static ev_timer accept_later, stop_limit;
static struct client *clients;
static uint64_t served, echoed;
static bool stopping, failed;

static void close_client(struct client *c)
{
	ev_io_stop(EV_DEFAULT_ &c->io);
	ev_timer_stop(EV_DEFAULT_ &c->again);
	opt.net->close(c->io.fd);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
	if (stopping && !clients)
		ev_break(EV_DEFAULT_ EVBREAK_ALL);
}

/* Receives until EAGAIN, or until the buffer is full. -1: the client is lost. */
static int fill(struct client *c, bool *would_block)
{
	while (!c->ended && c->filled < sizeof(c->buf)) {
		ssize_t n = opt.net->recv(c->io.fd, c->buf + c->filled, sizeof(c->buf) - c->filled, 0);

		if (n > 0) {
			c->filled += (size_t)n;
		} else if (n == 0) {
			c->ended = true;
		} else if (errno == EAGAIN) {
			*would_block = true;
			c->ended = stopping;
			break;
		} else {
			complain(c->io.fd, NULL, "receive from", c->peer);
			return -1;
		}
	}
	return 0;
}

/* Sends until EAGAIN, or until the buffer is empty. */
static int drain(struct client *c, bool *would_block)
{
	while (c->sent < c->filled) {
		ssize_t n = opt.net->send(c->io.fd, c->buf + c->sent, c->filled - c->sent, MSG_NOSIGNAL);

		if (n >= 0) {
			c->sent += (size_t)n;
			echoed += (uint64_t)n;
		} else if (errno == EAGAIN) {
			*would_block = true;
			return 0;
		} else {
			complain(c->io.fd, NULL, "send to", c->peer);
			return -1;
		}
	}
	c->filled = c->sent = 0;
	return 0;
}

static void work(struct client *c)
{
	bool would_block = false;

	for (int turn = 0; turn < TURNS && !would_block; turn++) {
		if (fill(c, &would_block) || drain(c, &would_block) || (c->ended && !c->filled)) {
			close_client(c);
			return;
		}
	}
	/* There is more to do, so the descriptor promises nothing: come back after the other clients. */
	if (!would_block)
		ev_timer_start(EV_DEFAULT_ &c->again);
	wait_for(&c->io, c->filled ? EV_WRITE : EV_READ);
}

static void look_again(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	work(io->data);
}

static void go_on(struct ev_loop *loop, ev_timer *again, int events)
{
	(void)loop, (void)events;
	work(again->data);
}

static void new_client(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		warnx("no memory for another client");
		opt.net->close(fd);
		return;
	}
	address_text(addr, len, c->peer);
	ev_io_init(&c->io, look_again, fd, EV_READ);
	ev_timer_init(&c->again, go_on, 0, 0);
	c->io.data = c->again.data = c;
	c->next = clients;
	c->prev = &clients;
	if (clients)
		clients->prev = &c->next;
	clients = c;
	served++;
	work(c);
}

static void stop_listening(void)
{
	if (listener.fd < 0)
		return;
	ev_io_stop(EV_DEFAULT_ &listener);
	ev_timer_stop(EV_DEFAULT_ &accept_later);
	opt.net->close(listener.fd);
	listener.fd = -1;
}

static void cannot_accept(void)
{
	switch (errno) {
	case EAGAIN:
		wait_for(&listener, EV_READ);
		break;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		/* The client stays in the queue. Who leaves makes room, a moment after that. */
		if (!ev_is_active(&accept_later))
			warn("the next client has to wait for one to leave");
		ev_io_stop(EV_DEFAULT_ &listener);
		ev_timer_again(EV_DEFAULT_ &accept_later);
		break;
	default:
		complain(listener.fd, NULL, "accept a client on port", opt.port);
		failed = true;
		ev_break(EV_DEFAULT_ EVBREAK_ALL);
	}
}

static void accept_clients(void)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd;

	for (;;) {
		len = sizeof(addr);
		fd = opt.net->accept4(listener.fd, (struct sockaddr *)&addr, &len,
				      SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			ev_timer_stop(EV_DEFAULT_ &accept_later);
			new_client(fd, (struct sockaddr *)&addr, len);
		} else if (errno != ECONNABORTED) { /* one that has left already */
			break;
		}
	}
	cannot_accept();
}

static void look_for_clients(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)io, (void)events;
	accept_clients();
}

static void accept_again(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)timer, (void)events;
	accept_clients();
}

static void out_of_time(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)timer, (void)events;
	warnx("not all clients took what was sent back to them");
	failed = true;
	ev_break(loop, EVBREAK_ALL);
}

static void stop(struct ev_loop *loop, ev_signal *watcher, int events)
{
	struct client *c, *next;

	(void)watcher;
	if (stopping) {
		out_of_time(loop, NULL, events);
		return;
	}
	stopping = true;
	stop_listening();
	if (!clients)
		ev_break(loop, EVBREAK_ALL);
	for (c = clients; c; c = next) {
		next = c->next;
		work(c);
	}
	ev_timer_init(&stop_limit, out_of_time, STOP_SECONDS, 0);
	ev_timer_start(loop, &stop_limit);
}

static int listen_on(const struct addrinfo *ai)
{
	const int one = 1;
	int fd = new_socket(ai);

	if (fd < 0)
		return -1;
	ev_io_init(&listener, look_for_clients, fd, EV_READ);
	ev_init(&accept_later, accept_again);
	accept_later.repeat = RETRY_SECONDS;
	if (opt.net->setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))) {
		complain(fd, NULL, "set SO_REUSEADDR", "on the socket");
		goto close_socket;
	}
	if (bind_socket(fd, ai))
		goto close_socket;
	if (opt.net->listen(fd, BACKLOG)) {
		complain(fd, NULL, "listen on port", opt.port);
		goto close_socket;
	}
	say_where(fd, opt.net->getsockname);
	return 0;

close_socket:
	opt.net->close(fd);
	return -1;
}

int serve(void)
{
	struct addrinfo *ai = resolve(opt.local, opt.port, opt.ai_flags, opt.family);
	ev_signal signals[2];
	int ret;

	if (!ai)
		return EXIT_RUN_FAILED;
	ret = listen_on(ai);
	freeaddrinfo(ai);
	if (ret)
		return EXIT_RUN_FAILED;
	ev_signal_init(&signals[0], stop, SIGINT);
	ev_signal_init(&signals[1], stop, SIGTERM);
	ev_signal_start(EV_DEFAULT_ &signals[0]);
	ev_signal_start(EV_DEFAULT_ &signals[1]);
	accept_clients();
	if (!failed)
		ev_run(EV_DEFAULT_ 0);

	stop_listening();
	while (clients)
		close_client(clients);
	if (report_service(served, echoed))
		failed = true;
	return failed ? EXIT_RUN_FAILED : EXIT_GOOD;
}
