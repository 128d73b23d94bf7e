/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-stream: latency and bandwidth of a stream between two hosts, over RDMA or over TCP.
 *
 * Start it without -s on one host (the server) and with -s ADDRESS on the other (the client). It
 * does what rstream of rdmacm-utils does, call for call and byte for byte, so either end may be
 * rstream:
 *
 *   one test     the client sends 16 bytes, the server answers with 16: both are ready, the clock
 *                starts. Then, per iteration, the client sends COUNT transfers of SIZE bytes and
 *                the server sends as many back.
 *   the series   over one connection the latency of each size (COUNT is 1), over a second one its
 *                bandwidth (one iteration).
 *   -T v         byte N that a program sends, over all its connections, is N modulo 256.
 */
#include "rsk-stream.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int lost(struct stream *s, const struct test *test, const char *what)
{
	complain(s->fd, test->name, what, s->peer);
	return -1;
}

/* rstream spins here too unless it blocks, so figures can be compared. */
static int wait_for(struct stream *s, short events)
{
	struct pollfd pfd = { .fd = s->fd, .events = events };
	int n;

	do {
		n = opt.net->poll(&pfd, 1, opt.blocking ? -1 : 0);
	} while (n == 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -1 : 0;
}

static bool try_again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static int send_transfer(struct stream *s, const struct test *test, size_t size)
{
	int flags = opt.blocking ? 0 : MSG_DONTWAIT;
	size_t done = 0;

	if (opt.pattern)
		opt.pattern(s->buf, size, s->sent, opt.server);
	while (done < size) {
		ssize_t n;

		if (opt.polling && wait_for(s, POLLOUT))
			return lost(s, test, "poll for");
		n = opt.net->send(s->fd, s->buf + done, size - done, flags);
		if (n >= 0)
			done += (size_t)n;
		else if (!try_again())
			return lost(s, test, "send to");
	}
	s->sent += size;
	return 0;
}

/* Compare the buffer with what the peer should have sent. */
static int verify(struct stream *s, const struct test *test, size_t size)
{
	uint8_t expected[4096];

	for (size_t at = 0, len; at < size; at += len) {
		size_t i = 0;

		len = size - at < sizeof(expected) ? size - at : sizeof(expected);
		opt.pattern(expected, len, s->received + at, !opt.server);
		if (!memcmp(s->buf + at, expected, len))
			continue;
		while (s->buf[at + i] == expected[i])
			i++;
		warnx("%s: verification failed: byte %" PRIu64 " from %s: expected 0x%02x, got "
		      "0x%02x", test->name, s->received + at + i, s->peer, expected[i],
		      s->buf[at + i]);
		warnx("if both ends ran with -T v, or both with --verify, data was damaged");
		return -1;
	}
	return 0;
}

static int receive_transfer(struct stream *s, const struct test *test, size_t size)
{
	int flags = opt.blocking ? MSG_WAITALL : MSG_DONTWAIT;
	size_t done = 0;

	while (done < size) {
		ssize_t n;

		if (opt.polling && wait_for(s, POLLIN))
			return lost(s, test, "poll for");
		n = opt.net->recv(s->fd, s->buf + done, size - done, flags);
		if (n == 0) {
			warnx("%s: %s closed the connection after %zu of %zu bytes of a transfer",
			      test->name, s->peer, done, size);
			warnx("give both ends the same options; see the message of the other end");
			return -1;
		}
		if (n > 0)
			done += (size_t)n;
		else if (!try_again())
			return lost(s, test, "receive from");
	}
	if (opt.pattern && verify(s, test, size))
		return -1;
	s->received += size;
	return 0;
}

static int client_to_server(struct stream *s, const struct test *test, size_t size)
{
	return opt.server ? send_transfer(s, test, size) : receive_transfer(s, test, size);
}

static int server_to_client(struct stream *s, const struct test *test, size_t size)
{
	return opt.server ? receive_transfer(s, test, size) : send_transfer(s, test, size);
}

static int run_test(struct stream *s, struct test *test)
{
	uint64_t start;

	if (client_to_server(s, test, SYNC_BYTES) || server_to_client(s, test, SYNC_BYTES))
		return -1;
	start = now_ns();
	for (size_t i = 0; i < test->iterations; i++) {
		for (size_t n = 0; n < test->count; n++)
			if (client_to_server(s, test, test->size))
				return -1;
		for (size_t n = 0; n < test->count; n++)
			if (server_to_client(s, test, test->size))
				return -1;
	}
	test->elapsed_ns = now_ns() - start;
	report_test(test);
	return 0;
}

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
