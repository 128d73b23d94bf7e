/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

/* -- addresses --------------------------------------------------------------------------------- */

struct address address_of_text(const char *numeric, uint16_t port)
{
	struct address a = { .len = sizeof(a.v4) };

	if (inet_pton(AF_INET, numeric, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		return a;
	}
	a.len = sizeof(a.v6);
	ck_assert_msg(inet_pton(AF_INET6, numeric, &a.v6.sin6_addr) == 1, "%s: not an address",
		      numeric);
	a.v6.sin6_family = AF_INET6;
	a.v6.sin6_port = htons(port);
	return a;
}

struct address address_of_device(int family, uint16_t port)
{
	return address_of_text(device_text(family), port);
}

struct address address_wildcard(int family)
{
	return address_of_text(family == AF_INET6 ? "::" : "0.0.0.0", 0);
}

struct address local_address(int fd)
{
	struct address a = { .len = sizeof(a.room) };

	OK(rsk_getsockname(fd, &a.any, &a.len));
	return a;
}

struct address peer_address(int fd)
{
	struct address a = { .len = sizeof(a.room) };

	OK(rsk_getpeername(fd, &a.any, &a.len));
	return a;
}

uint16_t address_port(const struct address *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

const char *address_text(const struct address *a)
{
	static _Thread_local char text[INET6_ADDRSTRLEN + 10];
	char ip[INET6_ADDRSTRLEN];

	if (a->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof(ip));
		snprintf(text, sizeof(text), "[%s]:%u", ip, address_port(a));
	} else {
		inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof(ip));
		snprintf(text, sizeof(text), "%s:%u", ip, address_port(a));
	}
	return text;
}

void check_same_address(const struct address *a, const struct address *b)
{
	char text[INET6_ADDRSTRLEN + 10];

	ck_assert_int_eq(a->any.sa_family, b->any.sa_family);
	ck_assert_uint_eq(a->len, b->len);
	snprintf(text, sizeof(text), "%s", address_text(a));
	ck_assert_str_eq(text, address_text(b));
}

struct address address_deserted(void)
{
	static int holder = -1; /* bound, so that nobody else takes the port */
	struct address here = address_of_device(AF_INET, 0);

	if (holder < 0) {
		holder = socket_with(AF_INET, NO_OPTIONS);
		OK(rsk_bind(holder, &here.any, here.len));
	}
	return local_address(holder);
}

/* -- sockets and pairs ------------------------------------------------------------------------- */

int socket_with(int family, const struct option *options)
{
	int fd = rsk_socket(family, SOCK_STREAM, 0);

	ck_assert_msg(fd >= 0, "rsk_socket: %s", strerror(errno));
	for (const struct option *o = options; o && (o->level || o->name); o++)
		OK(rsk_setsockopt(fd, o->level, o->name, &o->value, sizeof(o->value)));
	return fd;
}

int get_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	OK(rsk_getsockopt(fd, level, name, &value, &len));
	ck_assert_uint_eq(len, sizeof(value));
	return value;
}

void set_nonblocking(int fd, bool on)
{
	OK(rsk_fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0));
}

int listener_with(int family, const struct option *options, int backlog)
{
	struct address here = address_of_device(family, 0);
	int fd = socket_with(family, options);

	OK(rsk_bind(fd, &here.any, here.len));
	OK(rsk_listen(fd, backlog));
	return fd;
}

int listener(void)
{
	return listener_with(AF_INET, NO_OPTIONS, 64);
}

int connect_begun(const struct address *to, const struct option *options)
{
	int fd = socket_with(to->any.sa_family, options);

	set_nonblocking(fd, true);
	/* To a neighbour it may well be done at once. */
	if (rsk_connect(fd, &to->any, to->len) < 0)
		FAILS(-1, EINPROGRESS);
	return fd;
}

int connect_outcome(int fd)
{
	ck_assert_int_ne(wait_for(fd, POLLOUT) & (POLLOUT | POLLERR), 0);
	return get_option(fd, SOL_SOCKET, SO_ERROR);
}

void connect_finished(int fd)
{
	int error = connect_outcome(fd);
	char why[256] = "";

	rsk_error(fd, why, sizeof(why));
	ck_assert_msg(error == 0, "connect: %s; %s", strerror(error), why);
	set_nonblocking(fd, false);
}

int connected_to(const struct address *to)
{
	int fd = connect_begun(to, NO_OPTIONS);

	connect_finished(fd);
	return fd;
}

int accept_from(int listening)
{
	int fd;

	wait_for(listening, POLLIN);
	fd = rsk_accept(listening, NULL, NULL);
	ck_assert_msg(fd >= 0, "rsk_accept: %s", strerror(errno));
	return fd;
}

static struct pair pair_from(int listening, const struct option *a)
{
	struct address there = local_address(listening);
	struct pair p;

	p.a = connect_begun(&there, a);
	p.b = accept_from(listening);
	connect_finished(p.a);
	return p;
}

struct pair pair_on(int listening)
{
	return pair_from(listening, NO_OPTIONS);
}

struct pair pair_with(int family, const struct option *a, const struct option *b)
{
	int listening = listener_with(family, b, 1);
	struct pair p = pair_from(listening, a);

	OK(rsk_close(listening));
	return p;
}

struct pair pair_connected(void)
{
	return pair_with(AF_INET, NO_OPTIONS, NO_OPTIONS);
}

struct pair pair_narrow(void)
{
	const struct option *narrow = OPTIONS({ SOL_SOCKET, SO_SNDBUF, 8192 },
					      { SOL_SOCKET, SO_RCVBUF, 8192 });

	return pair_with(AF_INET, narrow, narrow);
}

void pair_close(struct pair p)
{
	OK(rsk_close(p.a));
	OK(rsk_close(p.b));
}

/* -- readiness --------------------------------------------------------------------------------- */

short wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = rsk_poll(&p, 1, LIMIT_MS);

	ck_assert_msg(n == 1, "rsk_poll for %#x returned %d (%s)", (unsigned int)events, n,
		      n < 0 ? strerror(errno) : "time out");
	ck_assert_msg(!(p.revents & POLLNVAL), "rsk_poll: not an open descriptor");
	return p.revents;
}

short ready_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = rsk_poll(&p, 1, 0);

	ck_assert_int_eq(n, p.revents ? 1 : 0);
	return p.revents;
}

void wait_readable_in_kernel(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = poll(&p, 1, LIMIT_MS);

	ck_assert_msg(n == 1 && (p.revents & POLLIN), "poll(2) returned %d, revents %#x", n,
		      (unsigned int)p.revents);
}

void check_end_of_file(int fd)
{
	char byte;
	ssize_t n = rsk_recv(fd, &byte, 1, 0);

	ck_assert_msg(n == 0, "rsk_recv returned %zd (%s), not end of file", n,
		      n < 0 ? strerror(errno) : "data");
}

void check_says(int fd, const char *what)
{
	char words[512] = "";

	OK(rsk_error(fd, words, sizeof(words)));
	ck_assert_msg(strcasestr(words, what) != NULL, "\"%s\" does not mention \"%s\"", words, what);
}
