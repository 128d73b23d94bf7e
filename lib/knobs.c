/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Settings of the process: see knobs.h. */
#include "knobs.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "options.h"
#include "qp.h"
#include "wire.h"

#define KERNEL "/proc/sys/net/ipv4/"

enum {
	SECONDS_MAX = INT_MAX / 1000, /* time is counted in ms */
};

const struct rsk_knob_info rsk_knobs[RSK_KNOBS] = {
	[RSK_KNOB_LOG] = {
		"log", "RSK_LOG", NULL, "off, error, warn, info, debug", rsk_log_names,
		0, RSK_LOG_DEBUG, RSK_LOG_WARN },
	[RSK_KNOB_POLLING_TIME] = {
		"polling_time", "RSK_POLLING_TIME", "polling_time", "us", NULL, 0, 1000000, 10 },
	/* Not set, a receive buffer grows with the traffic. */
	[RSK_KNOB_MEM] = {
		"mem_default", "RSK_MEM_DEFAULT", "mem_default", "bytes", NULL,
		RSK_BUFFER_MIN, RSK_BUFFER_MAX, 0 },
	[RSK_KNOB_WMEM] = {
		"wmem_default", "RSK_WMEM_DEFAULT", "wmem_default", "bytes", NULL,
		RSK_BUFFER_MIN, RSK_BUFFER_MAX, RSK_BUFFER_DEFAULT },
	[RSK_KNOB_SQSIZE] = {
		"sqsize_default", "RSK_SQSIZE_DEFAULT", "sqsize_default", "entries", NULL,
		RSK_QP_SIZE_MIN, RSK_QP_SIZE_MAX, 384 },
	[RSK_KNOB_RQSIZE] = {
		"rqsize_default", "RSK_RQSIZE_DEFAULT", "rqsize_default", "entries", NULL,
		RSK_QP_SIZE_MIN, RSK_QP_SIZE_MAX, 384 },
	[RSK_KNOB_INLINE] = {
		"inline_default", "RSK_INLINE_DEFAULT", "inline_default", "bytes", NULL,
		0, RSK_QP_SIZE_MAX, 64 },
	[RSK_KNOB_IOMAP] = {
		"iomap_size", "RSK_IOMAP_SIZE", "iomap_size", "entries", NULL,
		0, WIRE_MAPPINGS_MAX, 0 },
	[RSK_KNOB_KEEPALIVE_TIME] = {
		"keepalive_time", "RSK_KEEPALIVE_TIME", KERNEL "tcp_keepalive_time", "s", NULL,
		1, SECONDS_MAX, 7200 },
	[RSK_KNOB_KEEPALIVE_INTVL] = {
		"keepalive_intvl", "RSK_KEEPALIVE_INTVL", KERNEL "tcp_keepalive_intvl", "s", NULL,
		1, SECONDS_MAX, 75 },
	[RSK_KNOB_KEEPALIVE_PROBES] = {
		"keepalive_probes", "RSK_KEEPALIVE_PROBES", KERNEL "tcp_keepalive_probes", "probes", NULL,
		1, RSK_KEEPCNT_MAX, 9 },
	[RSK_KNOB_CONNECT_TIMEOUT] = {
		"connect_timeout", "RSK_CONNECT_TIMEOUT", NULL, "s", NULL, 1, 3600, 30 },
	[RSK_KNOB_CLOSE_TIMEOUT] = {
		"close_timeout", "RSK_CLOSE_TIMEOUT", NULL, "s", NULL, 0, 3600, 10 },
};

static bool find_word(const struct rsk_knob_info *knob, const char *text, int *value)
{
	for (int i = 0; knob->words[i]; i++) {
		if (!strcmp(text, knob->words[i])) {
			*value = i;
			return true;
		}
	}
	return false;
}

static bool find_number(const struct rsk_knob_info *knob, const char *text, int *value)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (end == text || *end)
		return false;
	*value = number < knob->min ? knob->min : number > knob->max ? knob->max : (int)number;
	/* A default outside the range can be written, too. */
	if (number == knob->initial)
		*value = knob->initial;
	return *value == number;
}

/* What the knob is when @source says @text. */
static int judge(const struct rsk_knob_info *knob, const char *source, const char *text)
{
	int value = knob->initial;

	if (knob->words) {
		if (!find_word(knob, text, &value))
			rsk_log(RSK_LOG_WARN, "%s: \"%s\" is none of %s; using %s", source, text,
				knob->unit, knob->words[value]);
	} else if (!find_number(knob, text, &value)) {
		rsk_log(RSK_LOG_WARN, "%s: \"%s\" is not a number of %s from %d to %d; using %d", source,
			text, knob->unit, knob->min, knob->max, value);
	}
	return value;
}

/* The first line of @file without the white space around it; "" when it has none. */
static void read_line(FILE *file, char *text, size_t size)
{
	size_t len;

	if (!fgets(text, (int)size, file))
		*text = '\0';
	len = strlen(text);
	while (len && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	len = strspn(text, " \t");
	memmove(text, text + len, strlen(text + len) + 1);
}

/* False: there is no such file. */
static bool ask_file(const struct rsk_knob_info *knob, const char *path, int *value)
{
	FILE *file = fopen(path, "re");
	char text[64];

	*value = knob->initial;
	if (!file) {
		if (errno == ENOENT || errno == ENOTDIR)
			return false;
		rsk_log(RSK_LOG_WARN, "%s: %s; using the default", path, strerror(errno));
		return true;
	}
	read_line(file, text, sizeof(text));
	fclose(file);
	*value = judge(knob, path, text);
	return true;
}

static int ask(const struct rsk_knob_info *knob, const char *own_dir, const char *rsocket_dir)
{
	const char *text = secure_getenv(knob->variable);
	char path[PATH_MAX];
	int value;

	if (text && *text)
		return judge(knob, knob->variable, text);
	snprintf(path, sizeof(path), "%s/%s", own_dir, knob->name);
	if (ask_file(knob, path, &value) || !knob->site)
		return value;
	if (*knob->site != '/')
		snprintf(path, sizeof(path), "%s/%s", rsocket_dir, knob->site);
	ask_file(knob, *knob->site == '/' ? knob->site : path, &value);
	return value;
}

void rsk_knobs_read(const char *own_dir, const char *rsocket_dir, int values[static RSK_KNOBS])
{
	for (int i = 0; i < RSK_KNOBS; i++) {
		values[i] = ask(&rsk_knobs[i], own_dir, rsocket_dir);
		if (i == RSK_KNOB_LOG)
			rsk_log_set_level((enum rsk_log_level)values[i]);
	}
}

static int values[RSK_KNOBS];

static void read_all(void)
{
	rsk_knobs_read(RSK_CONFIG_DIR, RSOCKET_CONFIG_DIR, values);
}

int rsk_knob_value(enum rsk_knob knob)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_all);
	return values[knob];
}
