/* SPDX-License-Identifier: Apache-2.0 */
/* distkit.c: see distkit.h. */
#include "tests/distkit.h"

#include <string.h>

#include "tests/tap.h"

const char *const distkit_sets[DISTKIT_SETS] = {"scalar", "avx2", "avx512",
	"avx512vnni", "neon", "neondot"};

static uint64_t state = 1;

const struct dist_kernels *distkit_reference(void)
{
	must(dist_force("scalar") == 0);
	return dist_kernels_get();
}

const struct dist_kernels *distkit_force(const char *name)
{
	return dist_force(name) < 0 ? NULL : dist_kernels_get();
}

void distkit_seed(uint64_t seed)
{
	state = seed | 1;
}

uint64_t distkit_next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1du;
}

float distkit_uniform(void)
{
	return (float)(distkit_next() >> 40) * 0x1p-23f - 1;
}

uint32_t distkit_dim(uint32_t i)
{
	static const uint32_t more[] = {200, 255, 256, 257, 384, 511, 784, 1000,
		1536, 4095, 4096, 4097, VG_DIM_MAX};

	must(i < DISTKIT_DIMS && VG_ARRAY_LEN(more) == DISTKIT_DIMS - 130);
	return i < 130 ? i + 1 : more[i - 130];
}

bool distkit_same(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}
