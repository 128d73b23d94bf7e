/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the example programs share: numbers of the command line, looking up addresses, naming them,
 * and telling the user why a call on a socket failed. Everything else is in the programs, where one
 * can read it.
 */
#ifndef RSK_EXAMPLES_COMMON_H
#define RSK_EXAMPLES_COMMON_H

#include <stdint.h>
#include <sys/socket.h>

#include <netdb.h>

/* Exit statuses of all programs. */
enum {
	EXIT_GOOD = 0,
	EXIT_RUN_FAILED = 1,
	EXIT_USAGE = 2,
};

/* Room for an address, its brackets, its zone and the port. */
#define ADDRESS_TEXT_MAX 96

/* The command line was wrong, and the user has been told how. */
void bad_usage(void) __attribute__((noreturn));

/* An option's value, a number from @min to @max, or bad_usage(); @what names it. */
int parse_number(const char *text, const char *what, int min, int max);

/* A port, number or name of a service, as it was given. */
const char *parse_port(const char *text);

/*
 * Look up @host and @port for stream sockets; @host NULL is the wildcard address of a server.
 * Returns a list for freeaddrinfo(), or NULL after telling the user what was wrong.
 */
struct addrinfo *resolve(const char *host, const char *port, int flags, int family);

/* "10.0.0.2:7471" or "[fe80::1%eth0]:7471", in @text; returns @text. */
char *address_text(const struct sockaddr *addr, socklen_t addrlen, char text[ADDRESS_TEXT_MAX]);

/* Tell the user where @fd listens: port 0 stands for one that was free. */
void say_where(int fd, int (*name_of)(int fd, struct sockaddr *addr, socklen_t *len));

/*
 * Call right after a socket call failed: prints what the program was doing, with whom, why it
 * failed and, where that is known, what to do. @fd may be a kernel socket, or -1; @context comes
 * first, unless it is NULL.
 */
void complain(int fd, const char *context, const char *doing, const char *peer);

/* Monotonic clock. */
uint64_t now_ns(void);

#endif
