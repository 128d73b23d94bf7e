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

const struct program program = {
	.name = "rsk-stream",
	.does = "Measure latency and bandwidth. Both ends need the same -I, -C, -S, -T s, -T v.",
	.tests = "sabnrv",
};

static int send_transfer(struct stream *s, const struct test *test, size_t size)
{
	if (opt.pattern)
		stream_fill(s, size);
	return stream_send(s, test, size);
}

static int receive_transfer(struct stream *s, const struct test *test, size_t size)
{
	if (stream_receive(s, test, size))
		return -1;
	return opt.pattern ? stream_verify(s, test, size) : 0;
}

static int client_to_server(struct stream *s, const struct test *test, size_t size)
{
	return opt.server ? send_transfer(s, test, size) : receive_transfer(s, test, size);
}

static int server_to_client(struct stream *s, const struct test *test, size_t size)
{
	return opt.server ? receive_transfer(s, test, size) : send_transfer(s, test, size);
}

int run_test(struct stream *s, struct test *test)
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
