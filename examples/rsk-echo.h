/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The parts of rsk-echo: its command line and the descriptor contract (rsk-echo.c), the server
 * (echo-server.c), the client (echo-client.c) and its results (echo-report.c).
 */
#ifndef RSK_EXAMPLES_ECHO_H
#define RSK_EXAMPLES_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "common.h"
#include "transport.h"

/* The command line; does not change while running. */
struct options {
	const struct transport *net;
	const char *server; /* NULL: be the server */
	const char *local;
	const char *port;
	int ai_flags, family;
	unsigned connections;
	size_t size;
	unsigned seconds;
	unsigned trips; /* of each connection; 0: as many as there is time for */
	bool json;
};

extern struct options opt;

/* A non-blocking socket, or -1 after telling the user why not. */
int new_socket(const struct addrinfo *ai);
int bind_socket(int fd, const struct addrinfo *ai);

/*
 * Lets @io wait for EV_READ, EV_WRITE or both. Before a program waits, it has called until EAGAIN.
 */
void wait_for(ev_io *io, int events);

/* Both return the exit status. */
int serve(void);
int drive(void);

/* What a client measures: how long round trips take. */
void count_trip(uint64_t ns);
/* What the clients, or the server, did. Returns -1 if it could not be written. */
int report_trips(const char *peer, unsigned connected, uint64_t elapsed_ns, bool completed);
int report_service(uint64_t served, uint64_t bytes);

#endif
