/* SPDX-License-Identifier: Apache-2.0 */
/* tap.h: tests say what holds, in the Test Anything Protocol. */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdbool.h>
#include <stdlib.h> /* must() */
#include <stdlib.h> /* _Exit */

/*
 * A test program calls plan() once, then ok() or skip() that many times, and
 * returns done() from main: 0 if the plan was kept and everything held.
 * One thread only.
 */
void plan(int n);
void skip_all(const char *why); /* prints "1..0 # SKIP why" and exits 0 */
bool ok_at(bool holds, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void skip(int n, const char *why);
void diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int done(void);

/* ok(condition, "a sentence that says what holds", ...): returns condition. */
#define ok(holds, ...) ok_at((holds), __FILE__, __LINE__, __VA_ARGS__)

/* Ends the test at once when the ground it stands on is missing. */
#define must(expr)                                                         \
	do {                                                               \
		if (!(expr)) {                                             \
			diag("%s:%d: setup failed: %s", __FILE__,          \
				__LINE__, #expr);                          \
			_Exit(99);                                         \
		}                                                          \
	} while (0)

/* A scratch directory of this test, removed by done(). Borrowed for good. */
const char *scratch(void);

/* scratch()/name; borrowed until the fourth call after this. One thread. */
const char *scratch_path(const char *name);

/* The seed of random tests: VG_SEED, or the clock; printed as a diagnostic. */
unsigned long seed(void);

/* A value of the environment as a number, for counts that a soak raises. */
long env_long(const char *name, long otherwise);

#endif
