/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "app.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nstack.h"

void app_start(void)
{
	ck_assert_msg(host_load(DMM_MODULE) == 0, "the module does not start");
}

void app_configure(int minfd, int maxfd)
{
	char name[] = "/tmp/rsk-dmm.XXXXXX";
	int fd = mkstemp(name);
	FILE *f = fdopen(fd, "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "{ \"module_list\": [ { \"stack_name\": \"rsocket\", \"minfd\": %d, \"maxfd\": %d } ] }",
		minfd, maxfd);
	fclose(f);
	setenv("NSTACK_MOD_CFG_FILE", name, 1);
}

struct sockaddr_in app_address(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	ck_assert_int_eq(inet_pton(AF_INET, device_text(AF_INET), &in.sin_addr), 1);
	return in;
}

struct sockaddr_in app_name(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	OK(getsockname(fd, (struct sockaddr *)&in, &len));
	return in;
}

int app_listener(void)
{
	struct sockaddr_in here = app_address(0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_msg(fd >= 0, "socket: %s", strerror(errno));
	OK(bind(fd, (struct sockaddr *)&here, sizeof(here)));
	OK(listen(fd, 64));
	return fd;
}

int app_connecting(struct sockaddr_in to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_msg(fd >= 0, "socket: %s", strerror(errno));
	FAILS(connect(fd, (struct sockaddr *)&to, sizeof(to)), EINPROGRESS);
	return fd;
}

int app_accept(int listening)
{
	int ep = app_set(listening, EPOLLIN), fd;

	ck_assert_uint_eq(app_event(ep), EPOLLIN);
	fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_msg(fd >= 0, "accept4: %s", strerror(errno));
	close(ep);
	return fd;
}

struct ends app_pair_on(int listening)
{
	struct ends e;
	int ep;

	e.a = app_connecting(app_name(listening));
	ep = app_set(e.a, EPOLLOUT);
	e.b = app_accept(listening);
	ck_assert_uint_eq(app_event(ep), EPOLLOUT);
	ck_assert_int_eq(app_socket_error(e.a), 0);
	close(ep);
	return e;
}

struct ends app_pair(void)
{
	int listening = app_listener();
	struct ends e = app_pair_on(listening);

	close(listening);
	return e;
}

void app_set_nonblocking(int fd, bool on)
{
	OK(fcntl(fd, F_SETFL, on ? O_NONBLOCK : 0));
}

int app_socket_error(int fd)
{
	int error = -1;
	socklen_t len = sizeof(error);

	OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
	return error;
}

void app_send(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void app_expect(int fd, const char *text)
{
	int ep = app_set(fd, EPOLLIN);
	size_t have = 0;
	char got[256];

	while (have < strlen(text)) {
		ssize_t n;

		ck_assert_uint_ne(app_event(ep) & EPOLLIN, 0);
		n = recv(fd, got + have, strlen(text) - have, 0);
		ck_assert_msg(n > 0, "recv returned %zd (%s)", n, strerror(errno));
		have += (size_t)n;
	}
	ck_assert_mem_eq(got, text, have);
	close(ep);
}

int app_set(int fd, uint32_t events)
{
	int ep = epoll_create(1);

	ck_assert_int_ge(ep, 0);
	app_control(ep, EPOLL_CTL_ADD, fd, events);
	return ep;
}

void app_control(int ep, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	OK(epoll_ctl(ep, op, fd, &event));
}

uint32_t app_event(int ep)
{
	struct epoll_event event;
	int n = epoll_wait(ep, &event, 1, LIMIT_MS);

	ck_assert_msg(n == 1, "no event");
	return event.events;
}

uint32_t app_event_with(int ep, uint32_t events)
{
	uint32_t have;

	do
		have = app_event(ep);
	while ((have & events) != events);
	return have;
}

uint32_t app_event_now(int ep)
{
	struct epoll_event event;

	return epoll_wait(ep, &event, 1, 0) == 1 ? event.events : 0;
}

void app_quiet(int ep)
{
	struct epoll_event event;
	int n = epoll_wait(ep, &event, 1, QUIET_MS);

	ck_assert_msg(n == 0, "event %#x of descriptor %d", event.events, event.data.fd);
}

void app_check_isolation(void)
{
#ifndef RSK_SANITIZED
	ck_assert_msg(!host_unsafe_call(), "%s", host_unsafe_call());
#endif
}

void other_start(struct other *o, void (*body)(struct other *me))
{
	int there[2], back[2];

	ck_assert_int_eq(pipe2(there, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(back, O_CLOEXEC), 0);
	o->pid = fork();
	ck_assert_int_ge(o->pid, 0);
	if (o->pid == 0) {
		struct other me = { .tell = back[1], .hear = there[0] };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body(&me);
		_exit(0);
	}
	o->tell = there[1];
	o->hear = back[0];
}

void other_say(struct other *o, const void *what, size_t len)
{
	ck_assert_int_eq(write(o->tell, what, len), len);
}

void other_listen(struct other *o, void *what, size_t len)
{
	struct pollfd ready = { .fd = o->hear, .events = POLLIN };

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "the other process says nothing");
	ck_assert_int_eq(read(o->hear, what, len), len);
}

void other_kill(struct other *o)
{
	ck_assert_int_eq(kill(o->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(o->pid, NULL, 0), o->pid);
}
