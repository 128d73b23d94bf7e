/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-iostream: latency and bandwidth of direct writes to the memory of another host.
 *
 * It is used as rsk-stream is, and does what riostream of rdmacm-utils does, so either end may be
 * riostream. For each test both ends map a buffer, at offset 0, and send each other 16 bytes: then
 * each knows the other's mapping, and the clock starts. Per iteration the client writes COUNT times
 * to the server's buffer and the server as many times back.
 *
 * Nobody is told when a write arrives. The buffer's last byte says so: in the last write of a turn it is
 * the turn's number, and the other end looks at it until it changes. This trusts the device to write the
 * bytes of a transfer in order, which the ones that there are do.
 */
#include "rsk-stream.h"

#include <err.h>
#include <sys/mman.h>

const struct program program = {
	.name = "rsk-iostream",
	.does = "Measure direct writes. Both ends need the same -I, -C, -S, -T v.",
	.tests = "abnv",
	.mappings = 1,
};

enum { LOOKS = 4096 }; /* at the last byte, between looks at the connection */

static int write_transfer(struct stream *s, const struct test *test)
{
	int flags = opt.blocking ? 0 : MSG_DONTWAIT;
	size_t done = 0;

	while (done < test->size) {
		ssize_t n;

		if (opt.polling && stream_wait(s, POLLOUT))
			return stream_lost(s, test, "poll for");
		n = rsk_iowrite(s->fd, s->buf + done, test->size - done, (off_t)done, flags);
		if (n >= 0)
			done += (size_t)n;
		else if (!try_again())
			return stream_lost(s, test, "write to");
	}
	return 0;
}

/* The bytes but the last one are those that are verified. */
static int write_turn(struct stream *s, const struct test *test, uint8_t turn)
{
	for (size_t n = 1; n < test->count; n++)
		if (write_transfer(s, test))
			return -1;
	s->buf[test->size - 1] = turn;
	if (opt.pattern)
		stream_fill(s, test->size - 1);
	return write_transfer(s, test);
}

static bool is_lost(const struct stream *s)
{
	struct pollfd pfd = { .fd = s->fd };

	return rsk_poll(&pfd, 1, 0) != 0;
}

static int await_turn(struct stream *s, const struct test *test, uint8_t turn)
{
	uint8_t *last = s->buf + test->size - 1;
	int looks = LOOKS;

	while (__atomic_load_n(last, __ATOMIC_ACQUIRE) != turn) {
		if (--looks)
			continue;
		looks = LOOKS;
		/* What was written before it was lost counts. */
		if (is_lost(s) && __atomic_load_n(last, __ATOMIC_ACQUIRE) != turn) {
			warnx("%s: %s closed the connection before its turn was over", test->name, s->peer);
			warnx("give both ends the same options; see the message of the other end");
			return -1;
		}
	}
	return opt.pattern ? stream_verify(s, test, test->size - 1) : 0;
}

/* Both are ready when each has heard from the other. */
static int synchronize(struct stream *s, const struct test *test)
{
	if (opt.server)
		return stream_send(s, test, SYNC_BYTES) || stream_receive(s, test, SYNC_BYTES);
	return stream_receive(s, test, SYNC_BYTES) || stream_send(s, test, SYNC_BYTES);
}

static int run_turns(struct stream *s, const struct test *test)
{
	uint8_t turn = 0;

	for (size_t i = 0; i < test->iterations; i++, turn += 2) {
		if (opt.server ? write_turn(s, test, turn) : await_turn(s, test, turn))
			return -1;
		if (opt.server ? await_turn(s, test, turn + 1) : write_turn(s, test, turn + 1))
			return -1;
	}
	return 0;
}

int run_test(struct stream *s, struct test *test)
{
	uint64_t start;
	int ret;

	s->buf[test->size - 1] = 0xff; /* no turn's number for long */
	if (rsk_iomap(s->fd, s->buf, test->size, PROT_WRITE, 0, 0) == -1)
		return stream_lost(s, test, "map memory for");
	ret = synchronize(s, test) ? -1 : 0;
	start = now_ns();
	if (!ret)
		ret = run_turns(s, test);
	test->elapsed_ns = now_ns() - start;
	if (rsk_iounmap(s->fd, s->buf, test->size) && !ret)
		ret = stream_lost(s, test, "end the mapping for");
	if (!ret)
		report_test(test);
	return ret;
}
