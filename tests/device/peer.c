/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "peer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void peer_start(struct peer *p, void (*body)(struct peer *me))
{
	int there[2], back[2];
	pid_t test = getpid();

	ck_assert_int_eq(pipe2(there, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(back, O_CLOEXEC), 0);
	p->pid = fork();
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0) {
		struct peer me = { .pid = test, .tell = back[1], .hear = there[0] };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(there[1]);
		close(back[0]);
		body(&me);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	p->tell = there[1];
	p->hear = back[0];
}

void peer_say(struct peer *p, const void *what, size_t len)
{
	ck_assert_int_eq(write(p->tell, what, len), len);
}

void peer_listen(struct peer *p, void *what, size_t len)
{
	struct pollfd ready = { .fd = p->hear, .events = POLLIN };

	ck_assert_msg(poll(&ready, 1, LIMIT_MS) == 1, "the other process says nothing");
	ck_assert_msg(read(p->hear, what, len) == (ssize_t)len, "the other process ended early");
}

void peer_signal(struct peer *p)
{
	peer_say(p, "", 1);
}

void peer_await(struct peer *p)
{
	char byte;

	peer_listen(p, &byte, 1);
}

int peer_accept(struct peer *p, const struct option *options)
{
	int listening = listener_with(AF_INET, options, 1);
	struct address here = local_address(listening);
	int fd;

	peer_say(p, &here, sizeof(here));
	fd = accept_from(listening);
	OK(rsk_close(listening));
	return fd;
}

int peer_connect(struct peer *me, const struct option *options)
{
	struct address there;
	int fd;

	peer_listen(me, &there, sizeof(there));
	fd = socket_with(there.any.sa_family, options);
	OK(rsk_connect(fd, &there.any, there.len));
	return fd;
}

void peer_kill(struct peer *p)
{
	ck_assert_int_eq(kill(p->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(p->pid, NULL, 0), p->pid);
}

void peer_finish(struct peer *p)
{
	int status = 0;

	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "the peer process ended with status %#x", (unsigned int)status);
}
