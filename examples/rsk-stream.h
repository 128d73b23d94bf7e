/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The parts of rsk-stream and rsk-iostream: their command line (stream-options.c), their sockets
 * (stream-net.c), moving bytes through them (stream-transfer.c), the bytes that are verified
 * (stream-pattern.c), their results (stream-report.c), the series of tests (stream-main.c), and what
 * differs: a test itself (rsk-stream.c, rsk-iostream.c).
 */
#ifndef RSK_EXAMPLES_STREAM_H
#define RSK_EXAMPLES_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common.h"
#include "transport.h"

enum {
	SYNC_BYTES = 16,
	LARGEST_IN_SERIES = 6 << 20,
};

/* What differs between the programs. */
struct program {
	const char *name;
	const char *does;   /* for the help */
	const char *tests;  /* letters of -T that it knows */
	int mappings;       /* that the peer may offer */
};

extern const struct program program;

/* Fill @to with the @len bytes that belong at @offset of what one end sends. */
typedef void pattern_fn(uint8_t *to, size_t len, uint64_t offset, bool from_client);

pattern_fn pattern_rstream, pattern_strong;

/* The command line; does not change while running. */
struct options {
	const struct transport *net;
	const char *server; /* NULL: be the server */
	const char *local;
	const char *port;
	int ai_flags, family;
	bool all_sizes, one_test;
	size_t iterations, count, size;
	int buffer_bytes;
	int sq_entries, rq_entries, inline_bytes; /* -1: the library's default */
	bool blocking, polling;
	pattern_fn *pattern; /* NULL: nothing is verified */
	bool json;
};

extern struct options opt;

void parse_command_line(int argc, char **argv);

/* The byte counts go on over all connections of a run, as rstream's do. */
struct stream {
	int fd;
	char peer[ADDRESS_TEXT_MAX];
	uint8_t *buf;
	uint64_t sent, received;
};

/* All return -1 after telling the user why. The listener is -1 in a client. */
int stream_listen(int *listener);
int stream_open(struct stream *s, int listener);
void stream_close(struct stream *s);

struct test {
	char name[16];
	size_t size, count, iterations; /* per iteration, count transfers of size bytes each way */
	uint64_t elapsed_ns;
};

/* Of each program: runs one test and reports it. */
int run_test(struct stream *s, struct test *test);

/* With opt.pattern: fill the buffer with what comes next, to be verified; check that it came. */
void stream_fill(struct stream *s, size_t size);
int stream_verify(struct stream *s, const struct test *test, size_t size);

/* Send and receive all of the buffer's first @size bytes. */
int stream_send(struct stream *s, const struct test *test, size_t size);
int stream_receive(struct stream *s, const struct test *test, size_t size);

/* Call when a call failed: says so and returns -1. */
int stream_lost(struct stream *s, const struct test *test, const char *what);
/* rstream spins here too unless it blocks, so figures can be compared. */
int stream_wait(struct stream *s, short events);
/* Did the last call fail only for now? */
bool try_again(void);

#define SIZE_TEXT_MAX 24

/* "64", "1.5k", "6m" in @text; returns @text. */
const char *size_text(char text[SIZE_TEXT_MAX], uint64_t bytes);

void report_begin(void);
void report_test(const struct test *test);
int report_end(const char *peer, bool completed);

#endif
