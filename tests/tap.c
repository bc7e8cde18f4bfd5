/* SPDX-License-Identifier: Apache-2.0 */
/* tap.c: see tap.h. */
#include "tests/tap.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int planned, ran, failed;
static char scratch_dir[64];

void plan(int n)
{
	planned = n;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", n);
}

void skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(0);
}

bool ok_at(bool holds, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("%s %d - ", holds ? "ok" : "not ok", ++ran);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!holds) {
		failed++;
		diag("failed at %s:%d", file, line);
	}
	return holds;
}

void skip(int n, const char *why)
{
	for (int i = 0; i < n; i++)
		printf("ok %d # SKIP %s\n", ++ran, why);
}

void diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

int done(void)
{
	if (scratch_dir[0]) {
		char cmd[96];

		snprintf(cmd, sizeof(cmd), "rm -rf '%s'", scratch_dir);
		if (system(cmd) != 0)
			diag("could not remove %s", scratch_dir);
	}
	if (ran != planned)
		diag("planned %d, ran %d", planned, ran);
	return failed || ran != planned;
}

const char *scratch(void)
{
	if (!scratch_dir[0]) {
		const char *base = getenv("TMPDIR");

		snprintf(scratch_dir, sizeof(scratch_dir), "%s/vgtest.XXXXXX",
			base && strlen(base) < 40 ? base : "/tmp");
		if (!mkdtemp(scratch_dir)) {
			diag("no scratch directory");
			_Exit(99);
		}
	}
	return scratch_dir;
}

const char *scratch_path(const char *name)
{
	static char path[4][256];
	static unsigned n;
	char *out = path[n++ % 4];

	snprintf(out, sizeof(path[0]), "%s/%s", scratch(), name);
	return out;
}

unsigned long seed(void)
{
	static unsigned long value;
	const char *given = getenv("VG_SEED");

	if (!value) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		value = given ? strtoul(given, NULL, 0) :
				((unsigned long)ts.tv_nsec ^
					(unsigned long)getpid() << 20) | 1;
		diag("VG_SEED=%lu", value);
	}
	return value;
}

long env_long(const char *name, long otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtol(s, NULL, 0) : otherwise;
}
