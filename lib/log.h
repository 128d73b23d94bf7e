/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Log lines, to stderr. The setting "log" (knobs.h) says how many. A line says what was being done, to
 * whom, why it failed and what to do about it; it is written once, where the cause is known.
 */
#ifndef RSK_LOG_H
#define RSK_LOG_H

#include <stdbool.h>

enum rsk_log_level { RSK_LOG_OFF, RSK_LOG_ERROR, RSK_LOG_WARN, RSK_LOG_INFO, RSK_LOG_DEBUG };

/* Their names, by level; NULL ends the list. */
extern const char *const rsk_log_names[];

/* Lines up to this level are written; RSK_LOG_WARN until this is called. */
void rsk_log_set_level(enum rsk_log_level level);

/* Cheap: worth asking before the arguments of a debug line are put together. */
bool rsk_log_on(enum rsk_log_level level);

void rsk_log(enum rsk_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
