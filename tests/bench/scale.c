/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * scale ADDRESS NUMBER - what do many idle connections cost a process?
 *
 * Connects NUMBER sockets to itself at ADDRESS, leaves them idle, and prints
 *   epoll NUMBER RSK KERNEL       microseconds of an rsk_epoll_wait() with these members, and one that is ready;
 *                                 the same of epoll_wait(2) on as many eventfds
 *   idle NUMBER WAKEUPS CPU       of the process in a second: how often a thread woke up; milliseconds of CPU
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rsk/rsk.h>

enum {
	WAITS = 20000,
	SETTLE_SECONDS = 2,
	IDLE_SECONDS = 10,
};

static void fail(const char *what, int i)
{
	fprintf(stderr, "scale: %s %d: %s\n", what, i, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void add_rsk(int epoll, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (rsk_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		fail("rsk_epoll_ctl", fd);
}

/* Connects @number sockets, which become members; returns the other end of the last. */
static int connect_members(int epoll, struct sockaddr_in *address, int number)
{
	socklen_t len = sizeof(*address);
	int listener = rsk_socket(AF_INET, SOCK_STREAM, 0), here, there = -1;

	if (listener < 0 || rsk_bind(listener, (struct sockaddr *)address, len) || rsk_listen(listener, 16) ||
	    rsk_getsockname(listener, (struct sockaddr *)address, &len))
		fail("listen", 0);
	for (int i = 0; i < number; i++) {
		here = rsk_socket(AF_INET, SOCK_STREAM, 0);
		if (here < 0 || rsk_connect(here, (struct sockaddr *)address, sizeof(*address)))
			fail("connection", i);
		there = rsk_accept(listener, NULL, NULL);
		if (there < 0)
			fail("accept", i);
		add_rsk(epoll, here);
	}
	return there;
}

static double time_rsk(int epoll)
{
	struct epoll_event e;
	double start = now_us();

	for (int i = 0; i < WAITS; i++)
		if (rsk_epoll_wait(epoll, &e, 1, -1) != 1)
			fail("rsk_epoll_wait", i);
	return (now_us() - start) / WAITS;
}

static double time_kernel(int number)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), fd;
	struct epoll_event e = { .events = EPOLLIN };
	double start;

	for (int i = 0; i <= number; i++) {
		fd = eventfd(i == number, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
			fail("eventfd", i);
	}
	start = now_us();
	for (int i = 0; i < WAITS; i++)
		if (epoll_wait(epoll, &e, 1, -1) != 1)
			fail("epoll_wait", i);
	return (now_us() - start) / WAITS;
}

/* Of all threads: a thread that sleeps has switched voluntarily. */
static long sleeps(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	char path[300], line[200];
	long sum = 0, n;

	while (tasks && (task = readdir(tasks))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
		f = task->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
				sum += n;
		if (f)
			fclose(f);
	}
	if (tasks)
		closedir(tasks);
	return sum;
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The main thread sleeps once itself; looking takes time on the CPU, but not in between. */
static void print_idle(int number)
{
	double cpu;
	long before;

	sleep(SETTLE_SECONDS);
	before = sleeps();
	cpu = cpu_ms();
	sleep(IDLE_SECONDS);
	cpu = cpu_ms() - cpu;
	printf("idle %d %.2f %.3f\n", number, (double)(sleeps() - before - 1) / IDLE_SECONDS,
	       cpu / IDLE_SECONDS);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct rlimit limit;
	int number, epoll, there;
	double rsk;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || (number = atoi(argv[2])) < 1) {
		fprintf(stderr, "usage: scale ADDRESS NUMBER\n");
		return 2;
	}
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	epoll = rsk_epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		fail("rsk_epoll_create1", 0);
	connect_members(epoll, &address, number);
	print_idle(number);
	address.sin_port = 0;
	there = connect_members(epoll, &address, 1);
	if (rsk_send(there, "x", 1, 0) != 1)
		fail("send", 0);
	rsk = time_rsk(epoll);
	printf("epoll %d %.2f %.2f\n", number, rsk, time_kernel(number));
	fflush(stdout);
	_exit(0); /* without closing them in order, which takes long under emulation */
}
