/* SPDX-License-Identifier: Apache-2.0 */
/* memkit.h: allocations that fail when a test wants them to. */
#ifndef TESTS_MEMKIT_H
#define TESTS_MEMKIT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * For tests that are linked with --wrap of malloc, calloc, realloc and free: the
 * first three are counted from mem_arm on, in all threads, and the at-th fails,
 * and with `ever` all behind it; at 0: none. Nor does one before mem_arm and
 * behind mem_disarm.
 */
void mem_arm(long at, bool ever);
void mem_disarm(void);

/* None fails, or is counted, until mem_go_on with what mem_hold returned. */
bool mem_hold(void);
void mem_go_on(bool was_armed);

/* How many are not freed. */
long mem_alive(void);

/* How many failed since mem_arm, and the largest that was asked for. */
long mem_failed(void);
size_t mem_largest(void);

/* Counts one more, and says whether it is to fail: for a test's own wraps. */
bool mem_fails(void);

#endif
