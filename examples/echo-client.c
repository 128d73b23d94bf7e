/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-echo's client: on each of many connections it sends a message, takes the echo, and sends the next one.
 * When all are connected the clock starts; at the end each finishes the round trip that it is in.
 */
#include "rsk-echo.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONNECTING_AT_ONCE = 32,
	/* A message is a piece of one pattern; where it starts tells connections and trips apart. */
	STARTS = 251,
};

struct connection {
	ev_io io;
	const uint8_t *message;
	size_t sent, received;
	uint64_t started_ns;
	unsigned trips;
};

static struct connection *connections;
static unsigned opened, connected, open_now;
static struct addrinfo *to;
static char peer[ADDRESS_TEXT_MAX];
static uint8_t *pattern, *echo;
static uint64_t start_ns;
static ev_timer time_limit;
static bool stopping, failed;

static void give_up(void)
{
	failed = true;
	ev_break(EV_DEFAULT_ EVBREAK_ALL);
}

static int lost(struct connection *c, const char *doing)
{
	complain(c->io.fd, NULL, doing, peer);
	give_up();
	return -1;
}

static void close_connection(struct connection *c)
{
	ev_io_stop(EV_DEFAULT_ &c->io);
	opt.net->close(c->io.fd);
	c->io.fd = -1;
	if (--open_now == 0)
		ev_break(EV_DEFAULT_ EVBREAK_ALL);
}

/* Round trips */

static void start_trip(struct connection *c)
{
	c->message = pattern + (size_t)(c - connections + c->trips) % STARTS;
	c->sent = c->received = 0;
	c->started_ns = now_ns();
}

static int send_message(struct connection *c)
{
	while (c->sent < opt.size) {
		ssize_t n = opt.net->send(c->io.fd, c->message + c->sent, opt.size - c->sent, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN ? 0 : lost(c, "send to");
		c->sent += (size_t)n;
	}
	return 0;
}

static int take_echo(struct connection *c)
{
	while (c->received < opt.size) {
		ssize_t n = opt.net->recv(c->io.fd, echo, opt.size - c->received, 0);

		if (n < 0)
			return errno == EAGAIN ? 0 : lost(c, "receive from");
		if (n == 0) {
			warnx("%s closed the connection in the middle of a round trip", peer);
			give_up();
			return -1;
		}
		if (memcmp(echo, c->message + c->received, (size_t)n)) {
			warnx("%s sent back something else than what it was sent", peer);
			give_up();
			return -1;
		}
		c->received += (size_t)n;
	}
	return 0;
}

static void work(struct connection *c)
{
	while (!send_message(c) && !take_echo(c)) {
		if (c->received < opt.size) {
			wait_for(&c->io, c->sent < opt.size ? EV_READ | EV_WRITE : EV_READ);
			return;
		}
		count_trip(now_ns() - c->started_ns);
		if (stopping || ++c->trips == opt.trips) {
			close_connection(c);
			return;
		}
		start_trip(c);
	}
}

static void look_again(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	if (!failed) /* else the loop is being left */
		work(io->data);
}

static void time_is_up(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop, (void)timer, (void)events;
	stopping = true;
}

static void interrupt(struct ev_loop *loop, ev_signal *watcher, int events)
{
	(void)loop, (void)watcher, (void)events;
	if (stopping || !start_ns)
		give_up();
	stopping = true;
}

static void start_clock(void)
{
	start_ns = now_ns();
	if (!opt.trips) {
		ev_timer_init(&time_limit, time_is_up, opt.seconds, 0);
		ev_now_update(EV_DEFAULT);
		ev_timer_start(EV_DEFAULT_ &time_limit);
	}
	for (unsigned i = 0; i < opt.connections && !failed; i++) {
		ev_set_cb(&connections[i].io, look_again);
		start_trip(&connections[i]);
		work(&connections[i]);
	}
}

/* Connecting */

static void connect_some(void);

/* Is it decided, and how? -1 with errno: it failed. */
static int outcome(int fd, bool *decided)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int error;
	socklen_t len = sizeof(error);

	*decided = opt.net->poll(&pfd, 1, 0) > 0;
	if (!*decided)
		return 0;
	if (opt.net->getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return -1;
	errno = error;
	return error ? -1 : 0;
}

static void is_connected(struct connection *c)
{
	/* It may rest until the clock starts; now it would only say that it is connected. */
	ev_io_stop(EV_DEFAULT_ &c->io);
	if (++connected == opt.connections)
		start_clock();
	else
		connect_some();
}

static void connect_failed(struct connection *c)
{
	int error = errno;

	if (connected || !to->ai_next) {
		errno = error;
		lost(c, "connect to");
		return;
	}
	/* The server may have another address. */
	ev_io_stop(EV_DEFAULT_ &c->io);
	opt.net->close(c->io.fd);
	c->io.fd = -1;
	to = to->ai_next;
	opened--;
	open_now--;
	connect_some();
}

static void look_at_connect(struct ev_loop *loop, ev_io *io, int events)
{
	bool decided;
	int ret;

	(void)loop, (void)events;
	if (failed)
		return;
	ret = outcome(io->fd, &decided);
	if (ret)
		connect_failed(io->data);
	else if (decided)
		is_connected(io->data);
}

static int bind_local(int fd)
{
	struct addrinfo *ai;
	int ret;

	if (!opt.local)
		return 0;
	ai = resolve(opt.local, NULL, opt.ai_flags, to->ai_family);
	if (!ai)
		return -1;
	ret = bind_socket(fd, ai);
	freeaddrinfo(ai);
	return ret;
}

static int connect_one(void)
{
	struct connection *c = &connections[opened];
	int fd = new_socket(to);

	if (fd < 0)
		return -1;
	opened++;
	open_now++;
	ev_io_init(&c->io, look_at_connect, fd, EV_READ);
	c->io.data = c;
	if (bind_local(fd))
		return -1;
	address_text(to->ai_addr, to->ai_addrlen, peer);
	if (!opt.net->connect(fd, to->ai_addr, to->ai_addrlen) || errno == EINPROGRESS)
		wait_for(&c->io, EV_WRITE);
	else
		connect_failed(c);
	return 0;
}

/* The first one finds the address that works; then there are always some under way. */
static void connect_some(void)
{
	unsigned at_once = connected ? CONNECTING_AT_ONCE : 1;

	while (!failed && opened < opt.connections && opened - connected < at_once) {
		if (connect_one())
			give_up();
	}
}

static int make_room(void)
{
	connections = calloc(opt.connections, sizeof(*connections));
	pattern = malloc(opt.size + STARTS);
	echo = malloc(opt.size);
	if (!connections || !pattern || !echo) {
		warn("%u connections and messages of %zu bytes", opt.connections, opt.size);
		return -1;
	}
	for (size_t i = 0; i < opt.size + STARTS; i++)
		pattern[i] = (uint8_t)(i % STARTS);
	return 0;
}

int drive(void)
{
	struct addrinfo *list = resolve(opt.server, opt.port, opt.ai_flags, opt.family);
	ev_signal signals[2];

	to = list;
	ev_signal_init(&signals[0], interrupt, SIGINT);
	ev_signal_init(&signals[1], interrupt, SIGTERM);
	ev_signal_start(EV_DEFAULT_ &signals[0]);
	ev_signal_start(EV_DEFAULT_ &signals[1]);
	if (!list || make_room())
		failed = true;
	connect_some();
	if (!failed)
		ev_run(EV_DEFAULT_ 0);

	if (report_trips(peer, connected, start_ns ? now_ns() - start_ns : 0, !failed))
		failed = true;
	for (unsigned i = 0; i < opened; i++) {
		if (connections[i].io.fd >= 0)
			opt.net->close(connections[i].io.fd);
	}
	if (list)
		freeaddrinfo(list);
	free(connections);
	free(pattern);
	free(echo);
	return failed ? EXIT_RUN_FAILED : EXIT_GOOD;
}
