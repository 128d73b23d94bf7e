/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Log lines to stderr: see log.h. */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

const char *const rsk_log_names[] = { "off", "error", "warn", "info", "debug", NULL };

static atomic_uint threshold = RSK_LOG_WARN;

void rsk_log_set_level(enum rsk_log_level level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

bool rsk_log_on(enum rsk_log_level level)
{
	return level <= atomic_load_explicit(&threshold, memory_order_relaxed);
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
	fprintf(stderr, "rsk: %s: %s\n", rsk_log_names[level], line);
}
