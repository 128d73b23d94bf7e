/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-echo: many connections in one thread, with an event loop of the program's own (libev).
 *
 * Start it without -s on one host (the server: it sends back whatever it receives), and with -s ADDRESS on
 * the other (the client: it keeps a message going around on each of its connections, and measures). Read
 * wait_for() below and work() in echo-server.c to see how rsk sockets go together with any event loop.
 */
#include "rsk-echo.h"

#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

struct options opt = {
	.net = &transport_rdma,
	.port = "7473",
	.connections = 1,
	.size = 64,
	.seconds = 10,
};

/*
 * The descriptor contract, all there is of it. A kernel socket is asked for what one waits for. An rsk
 * descriptor is readable when it is time to look again, whatever one waits for: always wait for EV_READ, and
 * then make the calls that one wants to get through, each until EAGAIN. Who waits without that may wait
 * for ever: EAGAIN is also the promise that the descriptor will tell the next change.
 */
void wait_for(ev_io *io, int events)
{
	if (opt.net == &transport_rdma)
		events = EV_READ;
	if (ev_is_active(io) && io->events == events)
		return;
	ev_io_stop(EV_DEFAULT_ io);
	ev_io_set(io, io->fd, events);
	ev_io_start(EV_DEFAULT_ io);
}

int new_socket(const struct addrinfo *ai)
{
	const int one = 1;
	int fd = opt.net->socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		complain(-1, NULL, "open a socket for", opt.net->name);
		return -1;
	}
	if (opt.net->setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0)
		return fd;
	complain(fd, NULL, "set TCP_NODELAY", "on the socket");
	opt.net->close(fd);
	return -1;
}

int bind_socket(int fd, const struct addrinfo *ai)
{
	char text[ADDRESS_TEXT_MAX];

	if (!opt.net->bind(fd, ai->ai_addr, ai->ai_addrlen))
		return 0;
	complain(fd, NULL, "bind to", address_text(ai->ai_addr, ai->ai_addrlen, text));
	return -1;
}

static void usage(void)
{
	fputs("usage: rsk-echo [OPTION]...             be the server: echo until SIGINT or SIGTERM\n"
	      "       rsk-echo -s ADDRESS [OPTION]...  be the client: send, await the echo, measure\n"
	      "Many connections in one thread.\n"
	      "\n"
	      "  -s, --server ADDRESS  where the server is\n"
	      "  -b, --bind ADDRESS    local address (server: all of IPv4; '::' for IPv6)\n"
	      "  -f, --format FORMAT   of the addresses: ip, ipv6 or name\n"
	      "  -p, --port PORT       of the server (7473)\n"
	      "  -T, --test s          TCP of the kernel instead of RDMA; both ends\n"
	      "      --json            print one JSON document\n"
	      "  -h, --help            print this\n"
	      "  -V, --version         print the version\n"
	      "Client:\n"
	      "  -n, --connections N   so many at once (1)\n"
	      "  -S, --size BYTES      of a message (64)\n"
	      "  -d, --duration SEC    measure so long (10)\n"
	      "  -C, --count N         so many round trips on each connection, however long it takes\n",
	      stdout);
}

/* A number of things, of which there is at least one. */
static unsigned parse_count(const char *text, const char *what)
{
	return (unsigned)parse_number(text, what, 1, INT_MAX);
}

static void parse_format(const char *text)
{
	if (!strcasecmp(text, "name"))
		return;
	opt.ai_flags = AI_NUMERICHOST;
	if (!strcasecmp(text, "ipv6")) {
		opt.family = AF_INET6;
	} else if (strcasecmp(text, "ip")) {
		warnx("address format '%s': not one of ip, ipv6, name", text);
		bad_usage();
	}
}

static void parse_command_line(int argc, char **argv)
{
	enum { JSON = 256 };
	static const struct option options[] = {
		{ "server", required_argument, NULL, 's' },
		{ "bind", required_argument, NULL, 'b' },
		{ "format", required_argument, NULL, 'f' },
		{ "port", required_argument, NULL, 'p' },
		{ "test", required_argument, NULL, 'T' },
		{ "connections", required_argument, NULL, 'n' },
		{ "size", required_argument, NULL, 'S' },
		{ "duration", required_argument, NULL, 'd' },
		{ "count", required_argument, NULL, 'C' },
		{ "json", no_argument, NULL, JSON },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "s:b:f:p:T:n:S:d:C:hV", options, NULL)) != -1) {
		switch (letter) {
		case 's':
			opt.server = optarg;
			break;
		case 'b':
			opt.local = optarg;
			break;
		case 'f':
			parse_format(optarg);
			break;
		case 'p':
			opt.port = parse_port(optarg);
			break;
		case 'T':
			if (strcasecmp(optarg, "s") && strcasecmp(optarg, "socket")) {
				warnx("test option '%s': only s", optarg);
				bad_usage();
			}
			opt.net = &transport_tcp;
			break;
		case 'n':
			opt.connections = parse_count(optarg, "number of connections");
			break;
		case 'S':
			opt.size = parse_count(optarg, "size");
			break;
		case 'd':
			opt.seconds = parse_count(optarg, "duration");
			break;
		case 'C':
			opt.trips = parse_count(optarg, "count of round trips");
			break;
		case JSON:
			opt.json = true;
			break;
		case 'h':
			usage();
			exit(EXIT_GOOD);
		case 'V':
			printf("rsk-echo %s\n", rsk_version());
			exit(EXIT_GOOD);
		default:
			bad_usage();
		}
	}
	if (optind < argc) {
		warnx("unexpected argument '%s'", argv[optind]);
		bad_usage();
	}
}

/* A connection over RDMA takes two descriptors. Not to get more only limits how many there can be. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	parse_command_line(argc, argv);
	signal(SIGPIPE, SIG_IGN); /* results that nobody takes fail to be written instead */
	allow_descriptors();
	if (!ev_default_loop(EVFLAG_AUTO))
		errx(EXIT_RUN_FAILED, "libev finds no way to wait for descriptors");
	return opt.server ? drive() : serve();
}
