/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The command line.
 */
#include "rsk-stream.h"

#include <err.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	DEFAULT_BUFFER_BYTES = 1 << 19, /* rstream's */
	/* What the library's options take. */
	MIN_QUEUE = 16,
	MAX_QUEUE = 65534,
	MAX_INLINE = 65534,
};

struct options opt = {
	.net = &transport_rdma,
	.port = "7471",
	.iterations = 1,
	.count = 1000,
	.size = 1000,
	.buffer_bytes = DEFAULT_BUFFER_BYTES,
	.sq_entries = -1,
	.rq_entries = -1,
	.inline_bytes = -1,
};

/* What -T takes: a letter, or the word from its stem on: 'block' and 'blocking' are 'b'. */
static const struct {
	const char *stem, *help;
} tests[] = {
	{ "async", "a, async        poll before each call" },
	{ "block", "b, blocking     sleep in calls" },
	{ "nonblock", "n, nonblocking  spin over calls that return (default)" },
	{ "resolve", "r, resolve      no effect: the RDMA CM always resolves" },
	{ "socket", "s, socket       TCP of the kernel instead of RDMA" },
	{ "verify", "v, verify       check the data, as rstream and riostream do" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void usage(void)
{
	printf("usage: %s [OPTION]...             be the server: serve one client, exit\n"
	       "       %s -s ADDRESS [OPTION]...  be the client\n"
	       "%s\n", program.name, program.name, program.does);
	fputs("\n"
	      "  -s, --server ADDRESS  where the server is\n"
	      "  -b, --bind ADDRESS    local address (server: all of IPv4; '::' for IPv6)\n"
	      "  -f, --format FORMAT   of the addresses: ip, ipv6 or name\n"
	      "  -B, --buffer BYTES    send and receive buffers (524288)\n"
	      "  -I, --iterations N    one test: there and back N times (1)\n"
	      "  -C, --count N         one test: N transfers each way per iteration (1000)\n"
	      "  -S, --size BYTES      one test: bytes of a transfer (1000); 'all': every size\n"
	      "  -p, --port PORT       of the server (7471)\n"
	      "  -T, --test OPTION     ", stdout);
	for (size_t i = 0; i < COUNT(tests); i++)
		if (strchr(program.tests, tests[i].stem[0]))
			printf("%s%s\n", i ? "                        " : "", tests[i].help);
	fputs("      --verify          check the data strictly; both ends of rsk\n"
	      "      --sq N            send queue, entries: 16 .. 65534\n"
	      "      --rq N            receive queue, entries: 16 .. 65534\n"
	      "  -i, --inline BYTES    largest inline send: 0 .. what the device can\n"
	      "      --json            print one JSON document\n"
	      "  -h, --help            print this\n"
	      "  -V, --version         print the version\n", stdout);
}

static void parse_size(const char *text)
{
	if (!strcasecmp(text, "all")) {
		opt.all_sizes = true;
		return;
	}
	opt.size = (size_t)parse_number(text, "size", 1, INT_MAX);
	opt.one_test = true;
}

static void parse_format(const char *text)
{
	if (!strcasecmp(text, "ip")) {
		opt.ai_flags = AI_NUMERICHOST;
	} else if (!strcasecmp(text, "ipv6")) {
		opt.ai_flags = AI_NUMERICHOST;
		opt.family = AF_INET6;
	} else if (strcasecmp(text, "name")) {
		warnx("address format '%s': not one of ip, ipv6, name", text);
		bad_usage();
	}
}

static void parse_test_option(const char *text)
{
	char letter = text[0] && !text[1] ? text[0] : '\0';

	for (size_t i = 0; i < COUNT(tests); i++)
		if (!strncasecmp(text, tests[i].stem, strlen(tests[i].stem)))
			letter = tests[i].stem[0];
	switch (letter && strchr(program.tests, letter) ? letter : '\0') {
	case 's':
		opt.net = &transport_tcp;
		break;
	case 'a':
		opt.polling = true;
		break;
	case 'b':
		opt.blocking = true;
		break;
	case 'n':
		opt.blocking = false;
		break;
	case 'r':
		break;
	case 'v':
		opt.pattern = pattern_rstream;
		break;
	default:
		warnx("test option '%s': not one of these letters: %s", text, program.tests);
		bad_usage();
	}
}

void parse_command_line(int argc, char **argv)
{
	enum { VERIFY = 256, SQ, RQ, JSON };
	static const struct option options[] = {
		{ "server", required_argument, NULL, 's' },
		{ "bind", required_argument, NULL, 'b' },
		{ "format", required_argument, NULL, 'f' },
		{ "buffer", required_argument, NULL, 'B' },
		{ "iterations", required_argument, NULL, 'I' },
		{ "count", required_argument, NULL, 'C' },
		{ "size", required_argument, NULL, 'S' },
		{ "port", required_argument, NULL, 'p' },
		{ "test", required_argument, NULL, 'T' },
		{ "inline", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "verify", no_argument, NULL, VERIFY },
		{ "sq", required_argument, NULL, SQ },
		{ "rq", required_argument, NULL, RQ },
		{ "json", no_argument, NULL, JSON },
		{ 0 },
	};
	bool strict = false;
	int letter;

	while ((letter = getopt_long(argc, argv, "s:b:f:B:i:I:C:S:p:T:hV", options, NULL)) != -1) {
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
		case 'B':
			opt.buffer_bytes = parse_number(optarg, "buffer size", 1, INT_MAX);
			break;
		case 'i':
			opt.inline_bytes = parse_number(optarg, "inline size", 0, MAX_INLINE);
			break;
		case 'I':
			opt.iterations = (size_t)parse_number(optarg, "iterations", 1, INT_MAX);
			opt.one_test = true;
			break;
		case 'C':
			opt.count = (size_t)parse_number(optarg, "transfer count", 1, INT_MAX);
			opt.one_test = true;
			break;
		case 'S':
			parse_size(optarg);
			break;
		case 'p':
			opt.port = parse_port(optarg);
			break;
		case 'T':
			parse_test_option(optarg);
			break;
		case VERIFY:
			strict = true;
			break;
		case SQ:
			opt.sq_entries = parse_number(optarg, "send queue size", MIN_QUEUE, MAX_QUEUE);
			break;
		case RQ:
			opt.rq_entries = parse_number(optarg, "receive queue size", MIN_QUEUE, MAX_QUEUE);
			break;
		case JSON:
			opt.json = true;
			break;
		case 'h':
			usage();
			exit(EXIT_GOOD);
		case 'V':
			printf("%s %s\n", program.name, rsk_version());
			exit(EXIT_GOOD);
		default:
			bad_usage();
		}
	}
	if (optind < argc) {
		warnx("unexpected argument '%s'", argv[optind]);
		bad_usage();
	}
	if (strict)
		opt.pattern = pattern_strong;
	if (opt.net == &transport_tcp &&
	    (opt.sq_entries >= 0 || opt.rq_entries >= 0 || opt.inline_bytes >= 0)) {
		warnx("--sq, --rq and --inline are for RDMA, not for -T s");
		bad_usage();
	}
}

