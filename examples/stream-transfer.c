/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Moving the bytes of a transfer through a stream, and checking them.
 */
#include "rsk-stream.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

int stream_lost(struct stream *s, const struct test *test, const char *what)
{
	complain(s->fd, test->name, what, s->peer);
	return -1;
}

int stream_wait(struct stream *s, short events)
{
	struct pollfd pfd = { .fd = s->fd, .events = events };
	int n;

	do {
		n = opt.net->poll(&pfd, 1, opt.blocking ? -1 : 0);
	} while (n == 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -1 : 0;
}

bool try_again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

int stream_send(struct stream *s, const struct test *test, size_t size)
{
	int flags = opt.blocking ? 0 : MSG_DONTWAIT;
	size_t done = 0;

	while (done < size) {
		ssize_t n;

		if (opt.polling && stream_wait(s, POLLOUT))
			return stream_lost(s, test, "poll for");
		n = opt.net->send(s->fd, s->buf + done, size - done, flags);
		if (n >= 0)
			done += (size_t)n;
		else if (!try_again())
			return stream_lost(s, test, "send to");
	}
	return 0;
}

void stream_fill(struct stream *s, size_t size)
{
	opt.pattern(s->buf, size, s->sent, opt.server);
	s->sent += size;
}

int stream_verify(struct stream *s, const struct test *test, size_t size)
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
	s->received += size;
	return 0;
}

int stream_receive(struct stream *s, const struct test *test, size_t size)
{
	int flags = opt.blocking ? MSG_WAITALL : MSG_DONTWAIT;
	size_t done = 0;

	while (done < size) {
		ssize_t n;

		if (opt.polling && stream_wait(s, POLLIN))
			return stream_lost(s, test, "poll for");
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
			return stream_lost(s, test, "receive from");
	}
	return 0;
}

