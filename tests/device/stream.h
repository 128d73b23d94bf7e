/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Bytes that can be told apart, sent and taken in every manner. */
#ifndef RSK_TEST_STREAM_H
#define RSK_TEST_STREAM_H

#include "sockets.h"
#include "task.h"

/* Bytes of a stream depend on its seed and their offset only, and do not repeat. */
void pattern_fill(void *buf, size_t len, uint64_t seed, uint64_t offset);
void pattern_check(const void *buf, size_t len, uint64_t seed, uint64_t offset);

/* Numbers that look random and are the same in each run. */
struct dice {
	uint64_t state;
};

uint64_t roll(struct dice *d, uint64_t lowest, uint64_t highest);

typedef ssize_t (*mover)(int fd, void *buf, size_t len);

struct stream {
	uint64_t seed;
	uint64_t bytes;
	size_t send_piece; /* largest piece for one call; 0: 64 KiB */
	size_t take_piece;
	bool ragged;       /* pieces of 1 .. largest bytes */
	mover send_by;     /* NULL: rsk_send() */
	mover take_by;     /* NULL: rsk_recv() */
};

/* Both work on blocking and on non-blocking sockets. */
void stream_send(int fd, const struct stream *s);
void stream_take(int fd, const struct stream *s);

/* One end of a stream, worked by a thread. Join its task. */
struct stream_end {
	int fd;
	const struct stream *stream;
	struct task task;
};

void stream_send_in_thread(struct stream_end *end, int fd, const struct stream *s);
void stream_take_in_thread(struct stream_end *end, int fd, const struct stream *s);

/* Sends in a thread, takes in this one. */
void stream_pass(int from, int to, const struct stream *s);

/* Two streams, four threads. */
void stream_both_ways(struct pair p, const struct stream *ab, const struct stream *ba);

/* Sends until there is no room at either end; returns how many bytes of stream @seed went in. */
uint64_t fill_send_side(int fd, uint64_t seed);

/* Sends the text. */
void say(int fd, const char *what);

/* The two ends are connected to each other: a byte each way says so. */
void check_connected(int a, int b);

#endif
