/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The results: upstream's columns, or one JSON document at the end.
 */
#include "rsk-stream.h"

#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

static json_t *results; /* NULL unless --json */

/* 65536 in units of 1024 is "64k" and, with tenths, 1536 is "1.5k"; never rounded up. */
static const char *shorten(char text[SIZE_TEXT_MAX], uint64_t value, unsigned int base,
			   const char *units, bool with_tenths)
{
	uint64_t unit = 1, tenths;

	while (units[1] && value / unit >= base) {
		unit *= base;
		units++;
	}
	tenths = value % unit * 10 / unit;
	if (with_tenths && value / unit < 10 && tenths)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 ".%" PRIu64 "%c", value / unit, tenths,
			 *units);
	else if (unit > 1)
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 "%c", value / unit, *units);
	else
		snprintf(text, SIZE_TEXT_MAX, "%" PRIu64, value);
	return text;
}

const char *size_text(char text[SIZE_TEXT_MAX], uint64_t bytes)
{
	return shorten(text, bytes, 1024, " kmg", true);
}

static const char *count_text(char text[SIZE_TEXT_MAX], uint64_t count)
{
	return shorten(text, count, 1000, " kmb", false);
}

/* The columns are rstream's, to a space: people's scripts read them. */
static void print_row(const struct test *test, uint64_t total, double seconds, double gbits,
		      double usec)
{
	char size[SIZE_TEXT_MAX], bytes[SIZE_TEXT_MAX];
	char count[SIZE_TEXT_MAX], iterations[SIZE_TEXT_MAX];

	printf("%-10s%-8s%-8s%-8s%-8s%8.2fs%10.2f%11.2f\n", test->name,
	       size_text(size, test->size), count_text(count, test->count),
	       count_text(iterations, test->iterations), size_text(bytes, total),
	       seconds, gbits, usec);
	fflush(stdout);
}

static json_t *row_object(const struct test *test, uint64_t total, double seconds, double gbits,
			  double usec)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f}",
			 "name", test->name,
			 "transfer_bytes", (json_int_t)test->size,
			 "transfers", (json_int_t)test->count,
			 "iterations", (json_int_t)test->iterations,
			 "total_bytes", (json_int_t)total,
			 "seconds", seconds,
			 "gigabits_per_second", gbits,
			 "microseconds_per_transfer", usec);
}

void report_begin(void)
{
	if (opt.json) {
		results = json_array();
		return;
	}
	printf("%-10s%-8s%-8s%-8s%-8s%8s %10s%13s\n", "name", "bytes", "xfers", "iters", "total",
	       "time", "Gb/sec", "usec/xfer");
	fflush(stdout);
}

void report_test(const struct test *test)
{
	uint64_t transfers = 2 * (uint64_t)test->iterations * test->count; /* there and back */
	uint64_t total = transfers * test->size;
	double ns = test->elapsed_ns ? (double)test->elapsed_ns : 1;
	double seconds = ns / 1e9, gbits = (double)total * 8 / ns;
	double usec = ns / 1e3 / (double)transfers;

	if (opt.json)
		json_array_append_new(results, row_object(test, total, seconds, gbits, usec));
	else
		print_row(test, total, seconds, gbits, usec);
}

static int print_document(const char *peer, bool completed)
{
	json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:o}",
				"program", program.name,
				"version", rsk_version(),
				"role", opt.server ? "client" : "server",
				"peer", peer,
				"transport", opt.net->name,
				"calls", opt.blocking ? "blocking" : "nonblocking",
				"verified", opt.pattern != NULL,
				"completed", completed,
				"tests", results);
	int ret;

	if (!doc)
		return -1;
	ret = json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(doc);
	putchar('\n');
	return ret;
}

int report_end(const char *peer, bool completed)
{
	int ret = opt.json ? print_document(peer, completed) : 0;

	return fflush(stdout) || ferror(stdout) ? -1 : ret;
}
