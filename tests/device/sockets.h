/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Addresses of the device, sockets, listeners, connected pairs, and waiting for them. */
#ifndef RSK_TEST_SOCKETS_H
#define RSK_TEST_SOCKETS_H

#include <netinet/in.h>

#include "fixture.h"

/* -- addresses --------------------------------------------------------------------------------- */

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	};
	socklen_t len;
};

struct address address_of_text(const char *numeric, uint16_t port);
struct address address_of_device(int family, uint16_t port);
struct address address_wildcard(int family);
struct address local_address(int fd);
struct address peer_address(int fd);
uint16_t address_port(const struct address *a);
void check_same_address(const struct address *a, const struct address *b);

/* An address of the device with a port where nobody listens, nor will while the test runs. */
struct address address_deserted(void);

/* "10.0.0.2:7471" or "[fd00::2]:7471", in a buffer that the thread's next call reuses. */
const char *address_text(const struct address *a);

/* -- sockets and pairs ------------------------------------------------------------------------- */

struct option {
	int level;
	int name;
	int value;
};

/* A list of options that are ints: OPTIONS({ SOL_RDMA, RDMA_RQSIZE, 16 }) */
#define OPTIONS(...) ((const struct option[]){ __VA_ARGS__, { 0, 0, 0 } })
#define NO_OPTIONS NULL

struct pair {
	int a; /* the end that connected */
	int b; /* the end that was accepted */
};

int socket_with(int family, const struct option *options);
int get_option(int fd, int level, int name);
void set_nonblocking(int fd, bool on);

/* A listener at the device's address, on a port of its own. */
int listener(void);
int listener_with(int family, const struct option *options, int backlog);

/* A non-blocking connect that has begun. */
int connect_begun(const struct address *to, const struct option *options);

/* Waits until it is decided, and says how: 0 or an errno. */
int connect_outcome(int fd);

/* Waits until it is connected, and makes the socket blocking. */
void connect_finished(int fd);

/* A connected socket; somebody may still have to accept it. */
int connected_to(const struct address *to);

int accept_from(int listening);

struct pair pair_connected(void);
struct pair pair_with(int family, const struct option *a, const struct option *b);
struct pair pair_on(int listening);

/* A pair that has room for only a few kilobytes in each direction. */
struct pair pair_narrow(void);

void pair_close(struct pair p);

/* -- readiness --------------------------------------------------------------------------------- */

/* Waits with rsk_poll() until the descriptor has any bits; returns them. */
short wait_for(int fd, short events);

/* The bits rsk_poll() sees now. */
short ready_now(int fd, short events);

/* Waits with poll(2), as a foreign event loop does, until the descriptor is readable. */
void wait_readable_in_kernel(int fd);

void check_end_of_file(int fd);

/* rsk_error() mentions it. */
void check_says(int fd, const char *what);

#endif
