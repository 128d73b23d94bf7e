/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rsk-echo's results. Round trips are counted by how long they took, in steps of at most 1.6 percent: so many
 * take the same memory as a few.
 */
#include "rsk-echo.h"

#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

enum {
	STEP_BITS = 6,
	STEPS = 1 << STEP_BITS, /* in each doubling */
};

static uint64_t histogram[(65 - STEP_BITS) * STEPS];
static uint64_t trips, sum_ns, max_ns;

/* 0 .. 63 are steps of 1, 64 .. 127 are, too, 128 .. 255 are steps of 2, and so on. */
static unsigned step_of(uint64_t ns)
{
	unsigned doublings = 0;

	while (ns >> doublings >= 2 * STEPS)
		doublings++;
	return doublings * STEPS + (unsigned)(ns >> doublings);
}

/* The largest number of the step. */
static uint64_t end_of(unsigned step)
{
	unsigned doublings = step < 2 * STEPS ? 0 : step / STEPS - 1;

	return ((uint64_t)(step - doublings * STEPS + 1) << doublings) - 1;
}

void count_trip(uint64_t ns)
{
	histogram[step_of(ns)]++;
	trips++;
	sum_ns += ns;
	if (ns > max_ns)
		max_ns = ns;
}

/* How long all but the slowest took, in microseconds; @part of 1 are not among those. */
static double percentile(double part)
{
	uint64_t seen = 0, ns = max_ns;

	for (unsigned step = 0; step < sizeof(histogram) / sizeof(histogram[0]); step++) {
		seen += histogram[step];
		if (seen && (double)seen >= part * (double)trips) {
			ns = end_of(step);
			break;
		}
	}
	return (double)(ns < max_ns ? ns : max_ns) / 1e3;
}

static int print_document(json_t *doc)
{
	int ret;

	if (!doc)
		return -1;
	ret = json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(doc);
	putchar('\n');
	return ret;
}

static json_t *trips_document(const char *peer, unsigned connected, double seconds, bool completed)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:f, s:f, s:{s:f, s:f, s:f, s:f, s:f, s:f}}",
			 "program", "rsk-echo",
			 "version", rsk_version(),
			 "role", "client",
			 "peer", peer,
			 "transport", opt.net->name,
			 "completed", completed,
			 "connections", (json_int_t)connected,
			 "message_bytes", (json_int_t)opt.size,
			 "round_trips", (json_int_t)trips,
			 "seconds", seconds,
			 "round_trips_per_second", seconds > 0 ? (double)trips / seconds : 0.0,
			 "microseconds",
			 "mean", trips ? (double)sum_ns / 1e3 / (double)trips : 0.0,
			 "p50", percentile(0.5),
			 "p90", percentile(0.9),
			 "p99", percentile(0.99),
			 "p999", percentile(0.999),
			 "max", (double)max_ns / 1e3);
}

static void print_trips(double seconds)
{
	printf("%-6s%8s%10s%9s%12s%11s%11s%11s%11s\n", "conns", "bytes", "trips", "time", "trips/sec",
	       "usec 50%", "90%", "99%", "max");
	printf("%-6u%8zu%10" PRIu64 "%8.2fs%12.1f%11.1f%11.1f%11.1f%11.1f\n", opt.connections, opt.size, trips,
	       seconds, (double)trips / seconds, percentile(0.5), percentile(0.9), percentile(0.99),
	       (double)max_ns / 1e3);
}

static int written(int ret)
{
	if (!ret && !fflush(stdout) && !ferror(stdout))
		return 0;
	fputs("rsk-echo: standard output: results not written\n", stderr);
	return -1;
}

int report_trips(const char *peer, unsigned connected, uint64_t elapsed_ns, bool completed)
{
	double seconds = (double)elapsed_ns / 1e9;
	int ret = 0;

	if (opt.json)
		ret = print_document(trips_document(peer, connected, seconds, completed));
	else if (trips)
		print_trips(seconds);
	return written(ret);
}

int report_service(uint64_t served, uint64_t bytes)
{
	int ret = 0;

	if (opt.json)
		ret = print_document(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}",
					       "program", "rsk-echo",
					       "version", rsk_version(),
					       "role", "server",
					       "transport", opt.net->name,
					       "connections", (json_int_t)served,
					       "total_bytes", (json_int_t)bytes));
	else
		printf("%" PRIu64 " connections, %" PRIu64 " bytes\n", served, bytes);
	return written(ret);
}
