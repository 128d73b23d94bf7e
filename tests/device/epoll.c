/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "epoll.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sockets.h"

int instance(void)
{
	int ep = rsk_epoll_create1(EPOLL_CLOEXEC);

	ck_assert_msg(ep >= 0, "rsk_epoll_create1: %s", strerror(errno));
	return ep;
}

int change(int ep, int op, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	return rsk_epoll_ctl(ep, op, fd, &e);
}

void add(int ep, int fd, uint32_t events)
{
	OK(change(ep, EPOLL_CTL_ADD, fd, events));
}

int instance_with(int fd, uint32_t events)
{
	int ep = instance();

	add(ep, fd, events);
	return ep;
}

uint32_t wait_for_report(int ep, int fd, int line)
{
	struct epoll_event e[2];
	int n = rsk_epoll_wait(ep, e, 2, LIMIT_MS);

	ck_assert_msg(n == 1, "line %d: rsk_epoll_wait returned %d (%s)", line, n,
		      n < 0 ? strerror(errno) : "");
	ck_assert_int_eq(e[0].data.fd, fd);
	return e[0].events;
}

void check_silent(int ep, int line)
{
	struct epoll_event e;
	int n = rsk_epoll_wait(ep, &e, 1, QUIET_MS);

	ck_assert_msg(n == 0, "line %d: rsk_epoll_wait returned %d: bits %#x of %d", line, n, e.events,
		      e.data.fd);
}

void take(int fd, size_t len)
{
	char buf[64];

	ck_assert_int_eq(rsk_recv(fd, buf, len, MSG_DONTWAIT), len);
}

/* -- the kernel's descriptors ------------------------------------------------------------------- */

struct kernel_pair kernel_pipe(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	return (struct kernel_pair){ ends[1], ends[0] };
}

struct kernel_pair kernel_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	return (struct kernel_pair){ fd, fd };
}

struct kernel_pair kernel_tcp(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(here);
	struct kernel_pair p;
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(listening, (struct sockaddr *)&here, len), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&here, &len), 0);
	p.write_end = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(p.write_end, (struct sockaddr *)&here, len), 0);
	p.fd = accept(listening, NULL, NULL);
	ck_assert_int_ge(p.fd, 0);
	close(listening);
	return p;
}

void number_pipe(int ends[2], int number)
{
	int made[2];

	ck_assert_int_eq(pipe(made), 0);
	ends[1] = fcntl(made[1], F_DUPFD, number + 1);
	ends[0] = fcntl(made[0], F_DUPFD, number + 1);
	close(made[0]);
	close(made[1]);
	ck_assert_int_eq(dup2(ends[0], number), number);
	close(ends[0]);
	ends[0] = number;
}

void write_kernel(int fd)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

void read_kernel(int fd)
{
	uint64_t value;

	ck_assert_int_eq(read(fd, &value, sizeof(value)), sizeof(value));
}
