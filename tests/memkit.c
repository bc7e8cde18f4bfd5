/* SPDX-License-Identifier: Apache-2.0 */
/* memkit.c: see memkit.h. */
#include "tests/memkit.h"

#include <stdatomic.h>

static _Atomic bool is_armed;
static _Atomic long n_calls, n_failed, n_alive;
static _Atomic size_t largest;
static long fail_at;
static bool for_ever;

void mem_arm(long at, bool ever)
{
	fail_at = at;
	for_ever = ever;
	atomic_store(&n_calls, 0);
	atomic_store(&n_failed, 0);
	atomic_store(&largest, 0);
	atomic_store(&is_armed, true);
}

void mem_disarm(void)
{
	atomic_store(&is_armed, false);
}

bool mem_hold(void)
{
	return atomic_exchange(&is_armed, false);
}

void mem_go_on(bool was_armed)
{
	atomic_store(&is_armed, was_armed);
}

long mem_alive(void)
{
	return atomic_load(&n_alive);
}

long mem_failed(void)
{
	return atomic_load(&n_failed);
}

size_t mem_largest(void)
{
	return atomic_load(&largest);
}

bool mem_fails(void)
{
	long n;

	if (!atomic_load(&is_armed))
		return false;
	n = atomic_fetch_add(&n_calls, 1) + 1;
	if (fail_at == 0 || (for_ever ? n < fail_at : n != fail_at))
		return false;
	atomic_fetch_add(&n_failed, 1);
	return true;
}

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *old, size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *old, size_t len);
void __wrap_free(void *p);

static bool fails(size_t len)
{
	size_t most = atomic_load(&largest);

	while (atomic_load(&is_armed) && most < len &&
		!atomic_compare_exchange_weak(&largest, &most, len))
		;
	return mem_fails();
}

/* Counts what is new. */
static void *note(void *p)
{
	if (p)
		atomic_fetch_add(&n_alive, 1);
	return p;
}

void *__wrap_malloc(size_t len)
{
	return fails(len) ? NULL : note(__real_malloc(len));
}

void *__wrap_calloc(size_t n, size_t len)
{
	return fails(n * len) ? NULL : note(__real_calloc(n, len));
}

void *__wrap_realloc(void *old, size_t len)
{
	if (fails(len))
		return NULL;
	return old ? __real_realloc(old, len) : note(__real_realloc(old, len));
}

void __wrap_free(void *p)
{
	if (p)
		atomic_fetch_sub(&n_alive, 1);
	__real_free(p);
}
