/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * idle ADDRESS NUMBER - what does a connection cost while nothing is sent?
 *
 * Opens NUMBER connections to itself at ADDRESS, prints "ready" and sleeps until it is killed; whoever
 * started it looks at its memory regions and descriptors. With UPSTREAM defined it does so through
 * librdmacm instead of librsk.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef UPSTREAM
#include <rdma/rsocket.h>
#define rsk_socket rsocket
#define rsk_bind rbind
#define rsk_listen rlisten
#define rsk_accept raccept
#define rsk_connect rconnect
#define rsk_getsockname rgetsockname
#else
#include <rsk/rsk.h>
#endif

static struct sockaddr_in address;
static int number;

static void fail(const char *what)
{
	fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *connect_all(void *unused)
{
	int fd;

	(void)unused;
	for (int i = 0; i < number; i++) {
		fd = rsk_socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || rsk_connect(fd, (struct sockaddr *)&address, sizeof(address)))
			fail("connect");
	}
	return NULL;
}

int main(int argc, char **argv)
{
	socklen_t len = sizeof(address);
	pthread_t client;
	int listener;

	address.sin_family = AF_INET;
	if (argc != 3 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || (number = atoi(argv[2])) < 1) {
		fprintf(stderr, "usage: idle ADDRESS NUMBER\n");
		return 2;
	}
	listener = rsk_socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || rsk_bind(listener, (struct sockaddr *)&address, len) || rsk_listen(listener, number) ||
	    rsk_getsockname(listener, (struct sockaddr *)&address, &len))
		fail("listen");
	errno = pthread_create(&client, NULL, connect_all, NULL);
	if (errno)
		fail("pthread_create");
	for (int i = 0; i < number; i++)
		if (rsk_accept(listener, NULL, NULL) < 0)
			fail("accept");
	pthread_join(client, NULL);
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
