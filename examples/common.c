/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "common.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rsk/rsk.h>

void bad_usage(void)
{
	fprintf(stderr, "Try '%s --help'.\n", program_invocation_short_name);
	exit(EXIT_USAGE);
}

int parse_number(const char *text, const char *what, int min, int max)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max) {
		warnx("%s '%s': not a number from %d to %d", what, text, min, max);
		bad_usage();
	}
	return (int)n;
}

/* getaddrinfo() would take numbers modulo 65536. */
const char *parse_port(const char *text)
{
	char *end;

	(void)strtol(text, &end, 10);
	if (!*end)
		parse_number(text, "port", 0, UINT16_MAX);
	return text;
}

struct addrinfo *resolve(const char *host, const char *port, int flags, int family)
{
	struct addrinfo hints = {
		.ai_flags = flags | (host ? 0 : AI_PASSIVE),
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list;
	int ret = getaddrinfo(host, port, &hints, &list);

	if (ret) {
		warnx("look up %s port %s: %s", host ? host : "any address", port ? port : "any",
		      ret == EAI_SYSTEM ? strerror(errno) : gai_strerror(ret));
		return NULL;
	}
	return list;
}

char *address_text(const struct sockaddr *addr, socklen_t addrlen, char text[ADDRESS_TEXT_MAX])
{
	char host[ADDRESS_TEXT_MAX - 16], port[8];

	if (getnameinfo(addr, addrlen, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(text, ADDRESS_TEXT_MAX, "unknown address");
	else
		snprintf(text, ADDRESS_TEXT_MAX, addr->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
			 host, port);
	return text;
}

void say_where(int fd, int (*name_of)(int fd, struct sockaddr *addr, socklen_t *len))
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof(addr);
	char text[ADDRESS_TEXT_MAX];

	(void)name_of(fd, (struct sockaddr *)&addr, &len); /* a name that is unknown stops nobody */
	warnx("waiting on %s", address_text((struct sockaddr *)&addr, len, text));
}

/* What to do; @why is the library's text, and @fd is -1 if there was no socket to be had. */
static const char *advice(int error, const char *why, int fd)
{
	switch (error) {
	case ECONNREFUSED:
		if (strstr(why, "refused by the listener")) /* errno does not tell the two apart */
			return "there is a server, but it takes no more clients now, or speaks another "
			       "protocol: its own messages may say why";
		return "start the server first, with the same port (-p)";
	case ENODEV:
		if (fd < 0)
			return "there is no RDMA device (see 'rdma link'), or the kernel module rdma_ucm "
			       "is not loaded; 'rsk-run PROGRAM' uses software verbs then";
		return "use an address of an RDMA device, 127.0.0.1 is on none: see 'rdma link' "
		       "and 'ip address'; is the kernel module rdma_ucm loaded?";
	case EADDRINUSE:
		return "stop the other server, or choose another port with -p";
	case EADDRNOTAVAIL:
		return "use an address of this host: see 'ip address'";
	case EACCES:
		return "ports below 1024 are for root: choose another with -p";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "see 'ip route get' for how the host is reached";
	case ETIMEDOUT:
		return "see whether the host is up and answers on that network";
	case ENOMEM:
		return "allow more locked memory: 'ulimit -l unlimited', or smaller buffers";
	case ECONNRESET:
	case EPIPE:
		return "the program at the other end stopped: its own message says why";
	default:
		return NULL;
	}
}

void complain(int fd, const char *context, const char *doing, const char *peer)
{
	int error = errno;
	const char *todo;
	char why[256] = "";

	/* The library's text names the call, the peer and the cause. It has none for a socket that
	 * was not made, and for kernel sockets, which it does not know. */
	if (fd < 0 || rsk_error(fd, why, sizeof(why)) || !*why)
		snprintf(why, sizeof(why), "%s %s: %s", doing, peer, strerror(error));
	warnx("%s%s%s", context ? context : "", context ? ": " : "", why);
	todo = advice(error, why, fd);
	if (todo)
		warnx("%s", todo);
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
