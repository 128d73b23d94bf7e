/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A peer whose whole host is out of reach: all packets are dropped, and nobody says so. Needs two hosts
 * on one wire, and that the peer's interface may be shut down:
 *
 *   tests/vm/run --hosts 2 --peer 'tests/device/test_partition peer' -- tests/device/test_partition
 *
 * All cases are one test, as a host can be lost only once.
 */
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "stream.h"
#include "task.h"

#define PORT 7480

static ssize_t send_until_it_fails(int fd)
{
	ssize_t n;

	while ((n = call_send_4mib(fd)) > 0)
		;
	return n;
}

static ssize_t send_a_little_and_receive(int fd)
{
	return rsk_send(fd, "hello", 5, 0) == 5 ? call_recv(fd) : 0;
}

static ssize_t poll_and_receive(int fd)
{
	return call_poll_in(fd) == 1 ? call_recv(fd) : 0;
}

static ssize_t wait_in_kernel_and_receive(int fd)
{
	char byte;

	set_nonblocking(fd, true);
	while (rsk_recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN)
		wait_readable_in_kernel(fd);
	return rsk_recv(fd, &byte, 1, 0);
}

/* An answer is due 1 s after the loss, and has 2 s. */
#define KEEPALIVE \
	{ SOL_SOCKET, SO_KEEPALIVE, 1 }, { IPPROTO_TCP, TCP_KEEPIDLE, 1 }, \
	{ IPPROTO_TCP, TCP_KEEPINTVL, 1 }, { IPPROTO_TCP, TCP_KEEPCNT, 2 }
#define USER_TIMEOUT { IPPROTO_TCP, TCP_USER_TIMEOUT, 2000 }

static const struct {
	ssize_t (*blocked)(int fd);
	struct option options[5];
	bool after_the_loss;         /* made then; the others are blocked at that time */
} cases[] = {
	{ call_recv, { KEEPALIVE }, false },
	{ poll_and_receive, { KEEPALIVE }, false },
	{ wait_in_kernel_and_receive, { KEEPALIVE }, false },
	{ send_until_it_fails, { KEEPALIVE }, false },
	{ call_recv, { KEEPALIVE }, true },
	{ send_a_little_and_receive, { USER_TIMEOUT }, true },
	{ send_until_it_fails, { USER_TIMEOUT }, true },
	{ send_until_it_fails, { USER_TIMEOUT }, false },
};

static int connect_to_peer(const struct option *options)
{
	struct address there = address_of_text(getenv("RSK_PEER_ADDR"), PORT);
	uint64_t limit = now_ms() + LIMIT_MS;
	int fd;

	/* The peer may still be starting. */
	while (fd = socket_with(AF_INET, options), rsk_connect(fd, &there.any, there.len)) {
		ck_assert_msg(now_ms() < limit, "no connection: %s", strerror(errno));
		OK(rsk_close(fd));
		poll(NULL, 0, 500);
	}
	return fd;
}

/* The peer shuts down its interface when it hears a byte; it is lost once it confirms nothing more. */
static void lose_peer(int control)
{
	while (rsk_send(control, "x", 1, MSG_NOSIGNAL) == 1)
		;
	ck_assert_int_eq(errno, ETIMEDOUT);
}

START_TEST(lost_host_is_noticed_in_time_by_every_call)
{
	struct call calls[COUNT(cases)];
	int fd[COUNT(cases)], control;

	for (size_t i = 0; i < COUNT(cases); i++)
		fd[i] = connect_to_peer(cases[i].options);
	control = connect_to_peer(OPTIONS(USER_TIMEOUT));
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (!cases[i].after_the_loss)
			call_blocks(&calls[i], cases[i].blocked, fd[i]);
	}
	lose_peer(control);
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (cases[i].after_the_loss) {
			calls[i].make = cases[i].blocked;
			calls[i].ret = cases[i].blocked(fd[i]);
			calls[i].error = errno;
		} else {
			call_returns(&calls[i]);
		}
		ck_assert_msg(calls[i].ret == -1 && calls[i].error == ETIMEDOUT,
			      "case %zu: returned %zd (%s)", i, calls[i].ret, strerror(calls[i].error));
		/* In these words: it was the limit that was set, not the adapter's. */
		check_says(fd[i], "has not answered for 2000 ms");
		OK(rsk_close(fd[i]));
	}
}
END_TEST

/* What runs on the other host. */
static int serve(void)
{
	struct address here = address_of_device(AF_INET, PORT);
	int listening = rsk_socket(AF_INET, SOCK_STREAM, 0), fd = -1;
	char byte;

	if (rsk_bind(listening, &here.any, here.len) || rsk_listen(listening, 64))
		return 1;
	for (size_t i = 0; i <= COUNT(cases); i++)
		fd = rsk_accept(listening, NULL, NULL);
	if (rsk_recv(fd, &byte, 1, 0) != 1 || system("ip link set eth0 down"))
		return 1;
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	Suite *s;

	if (argc > 1 && !strcmp(argv[1], "peer"))
		return serve();
	if (!getenv("RSK_PEER_ADDR")) {
		printf("skipped: RSK_PEER_ADDR does not name an address of a second host\n");
		return 77;
	}
	s = suite_create("partition");
	tcase_add_test(group(s, "lost", 200), lost_host_is_noticed_in_time_by_every_call);
	return run_suite(s);
}
