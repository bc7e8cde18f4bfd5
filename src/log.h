/* SPDX-License-Identifier: Apache-2.0 */
/* log.h: messages to the operator: one line each, key=value. */
#ifndef VG_LOG_H
#define VG_LOG_H

#include "src/vg.h"

/*
 * err: act. warn: degraded. info: the state changed. debug: each operation.
 * Lines go to standard error; under systemd (JOURNAL_STREAM is set) each
 * starts with its syslog priority <3>, <4>, <6> or <7>. Any thread; a line is
 * written by one write(2), so lines never mix. Never called under a lock that
 * searches take.
 */
enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* What is less urgent than level is dropped; LOG_INFO at the start. */
void log_level_set(enum log_level level);

/* Formats and writes one line; cut at 1,000 bytes. Keeps errno. */
void log_write(enum log_level level, const char *fmt, ...) VG_PRINTF(2, 3);

#define log_err(...) log_write(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
