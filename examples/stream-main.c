/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What rsk-stream and rsk-iostream do alike: one test or the series, over one connection or two.
 */
#include "rsk-stream.h"

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* Larger transfers are repeated less often; both ends must count alike. */
static size_t repeats(size_t size)
{
	return size >= 1 << 20 ? 100 : size >= 1 << 16 ? 1000 : size >= 1 << 10 ? 10000 : 100000;
}

/* 64, 128, 192, 256, 384, 512, 768 ... 6m: powers of two and what is halfway between them. */
static size_t next_size(size_t size)
{
	bool power_of_two = !(size & (size - 1));

	if (size == 64)
		return 128;
	return power_of_two ? size + size / 2 : size / 3 * 4;
}

static bool in_short_series(size_t size)
{
	return size == 64 || size == 1 << 12 || size == 1 << 16 || size == 1 << 20;
}

static int run_sizes(struct stream *s, bool latency)
{
	for (size_t size = 64; size <= LARGEST_IN_SERIES; size = next_size(size)) {
		struct test test = {
			.size = size,
			.count = latency ? 1 : repeats(size),
			.iterations = latency ? repeats(size) : 1,
		};
		char text[SIZE_TEXT_MAX];

		if (!opt.all_sizes && !in_short_series(size))
			continue;
		snprintf(test.name, sizeof(test.name), "%.8s_%s", size_text(text, size),
			 latency ? "lat" : "bw");
		if (run_test(s, &test))
			return -1;
	}
	return 0;
}

static int run_one(struct stream *s)
{
	struct test test = {
		.name = "custom",
		.size = opt.size,
		.count = opt.count,
		.iterations = opt.iterations,
	};

	return run_test(s, &test);
}

static int run(struct stream *s, int listener)
{
	int connections = opt.one_test ? 1 : 2;

	for (int nth = 0; nth < connections; nth++) {
		int ret;

		if (stream_open(s, listener))
			return -1;
		ret = opt.one_test ? run_one(s) : run_sizes(s, nth == 0);
		stream_close(s);
		if (ret)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct stream s = { .fd = -1 };
	size_t room;
	int listener, ret;

	parse_command_line(argc, argv);
	signal(SIGPIPE, SIG_IGN); /* sending to a peer that left fails with EPIPE instead */

	room = opt.one_test ? opt.size : LARGEST_IN_SERIES;
	s.buf = calloc(1, room < SYNC_BYTES ? SYNC_BYTES : room);
	if (!s.buf)
		err(EXIT_RUN_FAILED, "buffer of %zu bytes", room);
	if (stream_listen(&listener))
		return EXIT_RUN_FAILED;

	report_begin();
	ret = run(&s, listener);
	if (report_end(s.peer, ret == 0)) {
		warnx("standard output: results not written");
		ret = -1;
	}

	if (listener >= 0)
		opt.net->close(listener);
	free(s.buf);
	return ret ? EXIT_RUN_FAILED : EXIT_GOOD;
}
