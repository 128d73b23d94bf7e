/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#include "stream.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>

#define DEFAULT_PIECE (64 * KIB)

/* The finaliser of splitmix64. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	return htole64(mix(mix(seed) + index));
}

void pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	uint8_t *to = buf;

	while (len) {
		uint64_t word = pattern_word(seed, offset / 8);
		size_t skip = offset % 8;
		size_t n = len < 8 - skip ? len : 8 - skip;

		memcpy(to, (uint8_t *)&word + skip, n);
		to += n;
		offset += n;
		len -= n;
	}
}

static bool pattern_holds(const uint8_t *buf, size_t len, uint64_t seed, uint64_t offset)
{
	while (len) {
		uint64_t word = pattern_word(seed, offset / 8);
		size_t skip = offset % 8;
		size_t n = len < 8 - skip ? len : 8 - skip;

		if (memcmp(buf, (uint8_t *)&word + skip, n))
			return false;
		buf += n;
		offset += n;
		len -= n;
	}
	return true;
}

void pattern_check(const void *buf, size_t len, uint64_t seed, uint64_t offset)
{
	const uint8_t *got = buf;
	uint8_t expected;

	if (pattern_holds(got, len, seed, offset))
		return;
	for (size_t i = 0; i < len; i++) {
		pattern_fill(&expected, 1, seed, offset + i);
		ck_assert_msg(got[i] == expected, "byte %llu of stream %llu is %#x, not %#x",
			      (unsigned long long)(offset + i), (unsigned long long)seed, got[i],
			      expected);
	}
}

uint64_t roll(struct dice *d, uint64_t lowest, uint64_t highest)
{
	return lowest + mix(d->state++) % (highest - lowest + 1);
}

static bool is_nonblocking(int fd)
{
	int flags = rsk_fcntl(fd, F_GETFL);

	ck_assert_int_ge(flags, 0);
	return flags & O_NONBLOCK;
}

static ssize_t move_by_send(int fd, void *buf, size_t len)
{
	return rsk_send(fd, buf, len, MSG_NOSIGNAL);
}

static ssize_t move_by_recv(int fd, void *buf, size_t len)
{
	return rsk_recv(fd, buf, len, 0);
}

static size_t next_piece(struct dice *d, const struct stream *s, size_t largest, uint64_t left)
{
	size_t piece = largest ? largest : DEFAULT_PIECE;

	if (s->ragged)
		piece = roll(d, 1, piece);
	return piece < left ? piece : left;
}

void stream_send(int fd, const struct stream *s)
{
	mover move = s->send_by ? s->send_by : move_by_send;
	char *buf = malloc(s->send_piece ? s->send_piece : DEFAULT_PIECE);
	struct dice d = { s->seed };
	bool whole = !is_nonblocking(fd);
	uint64_t sent = 0;

	while (sent < s->bytes) {
		size_t len = next_piece(&d, s, s->send_piece, s->bytes - sent);
		ssize_t n;

		pattern_fill(buf, len, s->seed, sent);
		n = move(fd, buf, len);
		if (n < 0 && errno == EAGAIN && !whole) {
			wait_for(fd, POLLOUT);
			continue;
		}
		ck_assert_msg(n > 0, "sending %zu bytes at %llu of %llu returned %zd (%s)", len,
			      (unsigned long long)sent, (unsigned long long)s->bytes, n,
			      strerror(errno));
		ck_assert_int_le(n, len);
		ck_assert_msg(!whole || (size_t)n == len, "a blocking send took %zd of %zu bytes", n,
			      len);
		sent += n;
	}
	free(buf);
}

void stream_take(int fd, const struct stream *s)
{
	mover move = s->take_by ? s->take_by : move_by_recv;
	char *buf = malloc(s->take_piece ? s->take_piece : DEFAULT_PIECE);
	struct dice d = { ~s->seed };
	bool may_block = !is_nonblocking(fd);
	uint64_t taken = 0;

	while (taken < s->bytes) {
		size_t len = next_piece(&d, s, s->take_piece, s->bytes - taken);
		ssize_t n = move(fd, buf, len);

		if (n < 0 && errno == EAGAIN && !may_block) {
			wait_for(fd, POLLIN);
			continue;
		}
		ck_assert_msg(n > 0, "receiving at %llu of %llu returned %zd (%s)",
			      (unsigned long long)taken, (unsigned long long)s->bytes, n,
			      n < 0 ? strerror(errno) : "end of file");
		ck_assert_int_le(n, len);
		pattern_check(buf, n, s->seed, taken);
		taken += n;
	}
	free(buf);
}

static void run_send(void *arg)
{
	const struct stream_end *end = arg;

	stream_send(end->fd, end->stream);
}

static void run_take(void *arg)
{
	const struct stream_end *end = arg;

	stream_take(end->fd, end->stream);
}

void stream_send_in_thread(struct stream_end *end, int fd, const struct stream *s)
{
	end->fd = fd;
	end->stream = s;
	task_start(&end->task, run_send, end);
}

void stream_take_in_thread(struct stream_end *end, int fd, const struct stream *s)
{
	end->fd = fd;
	end->stream = s;
	task_start(&end->task, run_take, end);
}

void stream_pass(int from, int to, const struct stream *s)
{
	struct stream_end sender;

	stream_send_in_thread(&sender, from, s);
	stream_take(to, s);
	task_join(&sender.task);
}

void stream_both_ways(struct pair p, const struct stream *ab, const struct stream *ba)
{
	struct stream_end send_a, send_b, take_a;

	stream_send_in_thread(&send_a, p.a, ab);
	stream_send_in_thread(&send_b, p.b, ba);
	stream_take_in_thread(&take_a, p.a, ba);
	stream_take(p.b, ab);
	task_join(&send_a.task);
	task_join(&send_b.task);
	task_join(&take_a.task);
}

uint64_t fill_send_side(int fd, uint64_t seed)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	uint64_t sent = 0;
	char piece[4096];
	ssize_t n;

	/* What was accepted moves on to the peer and leaves room; full is when none comes back. */
	do {
		pattern_fill(piece, sizeof(piece), seed, sent);
		n = rsk_send(fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			sent += n;
		else
			FAILS(n, EAGAIN);
		ck_assert_uint_lt(sent, 256 * MIB);
	} while (n > 0 || rsk_poll(&room, 1, 2 * QUIET_MS) == 1);
	return sent;
}

void say(int fd, const char *what)
{
	ck_assert_int_eq(rsk_send(fd, what, strlen(what), 0), strlen(what));
}

void check_connected(int a, int b)
{
	const struct stream few = { .seed = a * 1000 + b, .bytes = 100 };

	stream_send(a, &few);
	stream_take(b, &few);
	stream_send(b, &few);
	stream_take(a, &few);
}
