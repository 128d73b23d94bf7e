/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-copy: send a file to another host over RDMA. Either end may be rcopy of rdmacm-utils.
 *
 * Start it without arguments on one host (the server), and as rsk-copy FILE HOST on another. Both
 * print the SHA-256 of what they sent and received. See rsk-copy.h for the protocol.
 */
#include "rsk-copy.h"

#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rsk/rsk.h>

struct options opt = { .port = "7427" };
volatile sig_atomic_t interrupted;

static void usage(void)
{
	fputs("usage: rsk-copy [OPTION]...                   be the server: receive files\n"
	      "       rsk-copy FILE HOST[:NAME] [OPTION]...  be the client: send a file\n"
	      "Copy a file to another host over RDMA. Write [ADDRESS]:NAME for IPv6 addresses.\n"
	      "\n"
	      "  -p, --port PORT      of the server (7427)\n"
	      "      --progress       show progress even if stderr is no terminal\n"
	      "  -h, --help           print this\n"
	      "  -V, --version        print the version\n"
	      "Server:\n"
	      "  -b, --bind ADDRESS   local address (all of IPv4; '::' for IPv6)\n"
	      "  -d, --directory DIR  where files go (the current directory)\n"
	      "      --any-path       write where the client says, not only into DIR\n"
	      "      --once           serve one client, then exit: 0 if all files arrived\n",
	      stdout);
}

static void __attribute__((noreturn)) reject(const char *text)
{
	warnx("%s", text);
	bad_usage();
}

#define IPV6_HINT "write IPv6 addresses as [ADDRESS] or [ADDRESS]:NAME"

/* Where such an address ends and a name begins, nobody can tell. */
static bool starts_with_ipv6(const char *target)
{
	const char *gap = strstr(target, "::");

	return gap && strspn(target, "0123456789abcdefABCDEF:") >= (size_t)(gap - target) + 2;
}

/* Cut HOST[:NAME] or [ADDRESS][:NAME] in two; without a NAME it is that of the source. */
static void parse_target(char *target)
{
	char *end;

	opt.host = target;
	if (*target == '[') {
		opt.host = target + 1;
		end = strchr(target, ']');
		if (!end || (end[1] && end[1] != ':'))
			reject(IPV6_HINT);
		*end++ = '\0';
	} else {
		if (starts_with_ipv6(target))
			reject(IPV6_HINT);
		end = target + strcspn(target, ":");
	}
	opt.destination = opt.source;
	if (*end == ':' && end[1])
		opt.destination = end + 1;
	*end = '\0';
	if (!*opt.host)
		reject("the host is missing");
	if (strlen(opt.destination) >= PATH_MAX)
		reject("the destination's name is too long");
}

static void parse_command_line(int argc, char **argv)
{
	enum { ANY_PATH = 256, ONCE, PROGRESS };
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "bind", required_argument, NULL, 'b' },
		{ "directory", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "any-path", no_argument, NULL, ANY_PATH },
		{ "once", no_argument, NULL, ONCE },
		{ "progress", no_argument, NULL, PROGRESS },
		{ 0 },
	};
	int letter;

	opt.progress = isatty(STDERR_FILENO);
	while ((letter = getopt_long(argc, argv, "p:b:d:hV", options, NULL)) != -1) {
		switch (letter) {
		case 'p':
			opt.port = parse_port(optarg);
			break;
		case 'b':
			opt.local = optarg;
			break;
		case 'd':
			opt.directory = optarg;
			break;
		case ANY_PATH:
			opt.any_path = true;
			break;
		case ONCE:
			opt.once = true;
			break;
		case PROGRESS:
			opt.progress = true;
			break;
		case 'h':
			usage();
			exit(EXIT_GOOD);
		case 'V':
			printf("rsk-copy %s\n", rsk_version());
			exit(EXIT_GOOD);
		default:
			bad_usage();
		}
	}
	if (argc - optind != 0 && argc - optind != 2)
		reject("give a file and a host, or neither to be the server");
	if (argc - optind == 2) {
		if (opt.local || opt.directory || opt.any_path || opt.once)
			reject("-b, -d, --any-path and --once are for the server");
		opt.source = argv[optind];
		parse_target(argv[optind + 1]);
	}
}

static void on_signal(int number)
{
	interrupted = number;
}

/* Let blocking calls return, to clean up. A second signal ends the program there and then. */
static void catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &action, NULL);
}

int main(int argc, char **argv)
{
	int status;

	parse_command_line(argc, argv);
	catch_signals();
	signal(SIGPIPE, SIG_IGN); /* a reader of the results that left is no reason to stop */
	status = opt.source ? run_client() : run_server();
	if (interrupted) { /* end as the signal asked, so that the shell knows */
		signal(interrupted, SIG_DFL);
		raise(interrupted);
	}
	return status;
}
