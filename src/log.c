/* SPDX-License-Identifier: Apache-2.0 */
/* log.c: see log.h. */
#include "src/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Atomic int log_level = LOG_INFO; /* relaxed: a hint, orders nothing */

void log_level_set(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const word[] = {"err", "warn", "info", "debug"};
	static const char *const prio[] = {"<3>", "<4>", "<6>", "<7>"};
	int keep_errno = errno;
	char line[1024];
	va_list ap;
	int n, rest;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	n = snprintf(line, sizeof(line), "%svecgridfs: %s: ",
		getenv("JOURNAL_STREAM") ? prio[level] : "", word[level]);
	va_start(ap, fmt);
	rest = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n = VG_MIN(n + VG_MAX(rest, 0), (int)sizeof(line) - 2);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		/* Standard error is gone: there is nobody left to tell. */
	}
	errno = keep_errno;
}
