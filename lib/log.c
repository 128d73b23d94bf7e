/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Log lines to stderr: see log.h. */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "off", "error", "warn", "info", "debug" };
static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned threshold = RSK_LOG_WARN;

static void read_threshold(void)
{
	const char *want = getenv("RSK_LOG");

	if (!want)
		return;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(want, names[i])) {
			threshold = i;
			return;
		}
	}
	fprintf(stderr, "rsk: RSK_LOG=%s is none of off, error, warn, info, debug; using warn\n", want);
}

bool rsk_log_on(enum rsk_log_level level)
{
	pthread_once(&once, read_threshold);
	return level <= threshold;
}

void rsk_log(enum rsk_log_level level, const char *fmt, ...)
{
	char line[512];
	va_list args;

	if (!rsk_log_on(level))
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	/* One call, so that lines of several threads do not mix. */
	fprintf(stderr, "rsk: %s: %s\n", names[level], line);
}
