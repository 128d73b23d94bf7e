/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Log lines, to stderr. RSK_LOG=off|error|warn|info|debug says how many; the default is warn. A line
 * says what was being done, to whom, why it failed and what to do about it; it is written once,
 * where the cause is known.
 */
#ifndef RSK_LOG_H
#define RSK_LOG_H

#include <stdbool.h>

enum rsk_log_level { RSK_LOG_ERROR = 1, RSK_LOG_WARN, RSK_LOG_INFO, RSK_LOG_DEBUG };

/* Cheap: worth asking before the arguments of a debug line are put together. */
bool rsk_log_on(enum rsk_log_level level);

void rsk_log(enum rsk_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
