/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * dmm-echo MODULE ADDRESS CONNECTIONS BYTES - how fast is an application under DMM?
 *
 * Two processes at ADDRESS do what DMM's samples vs_epoll and vc_common do. The server has a thread and an
 * edge triggered epoll set for each connection; the client takes the connections in turn, in one thread:
 * it sends a record and waits until it is back. Their calls are libc's names, which nStack's part
 * (tests/dmm/nstack.h) hands to MODULE; when that is "-", they stay libc's: kernel TCP.
 * Prints round trips per second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../dmm/nstack.h"

enum {
	CONNECTIONS_MAX = 1000,
	RECORD_MAX = 64 << 10,
	SECONDS = 5,
};

static struct sockaddr_in address = { .sin_family = AF_INET };
static int connections;
static size_t record_bytes;

static void fail(const char *what)
{
	fprintf(stderr, "dmm-echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void send_record(int fd, const char *record)
{
	if (send(fd, record, record_bytes, MSG_NOSIGNAL) != (ssize_t)record_bytes)
		fail("send");
}

static void *echo(void *arg)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	int fd = (int)(intptr_t)arg, ep = epoll_create(1);
	char record[RECORD_MAX];
	size_t have = 0;
	ssize_t n;

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		fail("epoll");
	for (;;) {
		if (epoll_wait(ep, &e, 1, -1) != 1)
			fail("epoll_wait");
		while ((n = recv(fd, record + have, record_bytes - have, 0)) > 0) {
			have += (size_t)n;
			if (have < record_bytes)
				continue;
			send_record(fd, record);
			have = 0;
		}
		if (n == 0 || errno != EAGAIN)
			fail("server's recv");
	}
	return NULL;
}

/* Tells its port through @pipe. */
static void serve(int pipe)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	socklen_t len = sizeof(address);
	pthread_t thread;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) ||
	    listen(listener, connections) || getsockname(listener, (struct sockaddr *)&address, &len))
		fail("listen");
	if (write(pipe, &address.sin_port, sizeof(address.sin_port)) != sizeof(address.sin_port))
		fail("pipe");
	for (;;) {
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0 || pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd))
			fail("accept");
	}
}

static void round_trips(const int *fds)
{
	static char record[RECORD_MAX];

	for (int i = 0; i < connections; i++) {
		send_record(fds[i], record);
		if (recv(fds[i], record, record_bytes, MSG_WAITALL) != (ssize_t)record_bytes)
			fail("client's recv");
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(void)
{
	int fds[CONNECTIONS_MAX];
	double start, end;
	long done = 0;

	for (int i = 0; i < connections; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&address, sizeof(address)))
			fail("connect");
	}
	round_trips(fds); /* the server's threads are there now */
	start = now();
	do {
		round_trips(fds);
		done += connections;
		end = now();
	} while (end - start < SECONDS);
	printf("%.0f\n", (double)done / (end - start));
}

/* Each process for itself: RDMA does not outlive a fork. */
static void load(const char *module)
{
	if (strcmp(module, "-") && host_load(module))
		exit(1);
}

int main(int argc, char **argv)
{
	int ends[2];
	pid_t server;

	if (argc != 5 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1 ||
	    (connections = atoi(argv[3])) < 1 || connections > CONNECTIONS_MAX ||
	    (record_bytes = strtoul(argv[4], NULL, 10)) < 1 || record_bytes > RECORD_MAX) {
		fprintf(stderr, "usage: dmm-echo MODULE|- ADDRESS CONNECTIONS BYTES\n");
		return 2;
	}
	server = pipe(ends) ? -1 : fork();
	if (server < 0)
		fail("fork");
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		load(argv[1]);
		serve(ends[1]);
	}
	close(ends[1]);
	load(argv[1]);
	if (read(ends[0], &address.sin_port, sizeof(address.sin_port)) != sizeof(address.sin_port))
		fail("server");
	measure();
	kill(server, SIGKILL);
	return waitpid(server, NULL, 0) == server ? 0 : 1;
}
