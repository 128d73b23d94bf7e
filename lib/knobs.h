/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Settings of the process. One table holds every knob with its unit, range, default and sources;
 * rsk-config(5) lists the same, and a test compares the two. The first source that has a value wins:
 *
 *   the environment variable
 *   the file of the knob's name in rsk's own directory
 *   the site's: in rsockets' directory, so that a site's settings carry over, or a file of the kernel
 *
 * All are read once, with the first question. What makes no sense gets one log line and the default.
 */
#ifndef RSK_KNOBS_H
#define RSK_KNOBS_H

enum rsk_knob {
	RSK_KNOB_LOG,                /* first: the others are complained about at its level */
	RSK_KNOB_POLLING_TIME,
	RSK_KNOB_MEM,
	RSK_KNOB_WMEM,
	RSK_KNOB_SQSIZE,
	RSK_KNOB_RQSIZE,
	RSK_KNOB_INLINE,
	RSK_KNOB_IOMAP,
	RSK_KNOB_KEEPALIVE_TIME,
	RSK_KNOB_KEEPALIVE_INTVL,
	RSK_KNOB_KEEPALIVE_PROBES,
	RSK_KNOB_CONNECT_TIMEOUT,
	RSK_KNOB_CLOSE_TIMEOUT,
	RSK_KNOBS
};

struct rsk_knob_info {
	const char *name;            /* and that of its file */
	const char *variable;
	const char *site;            /* in rsockets' directory, or an absolute path, or NULL */
	const char *unit;            /* of a number; else the list of words */
	const char *const *words;    /* the names of the values 0, 1...; NULL: they are numbers */
	int min, max;                /* a number that lies beyond is clipped */
	int initial;                 /* may lie outside, to stand for "not set" */
};

extern const struct rsk_knob_info rsk_knobs[RSK_KNOBS];

/* Its value. */
int rsk_knob_value(enum rsk_knob knob);

/* Reads all of them; behind rsk_knob_value(), and for tests. */
void rsk_knobs_read(const char *own_dir, const char *rsocket_dir, int values[static RSK_KNOBS]);

#endif
