/* SPDX-License-Identifier: Apache-2.0 */
/* distkit.h: what the tests of distances share: kernels, numbers, lengths. */
#ifndef TESTS_DISTKIT_H
#define TESTS_DISTKIT_H

#include <stdbool.h>
#include <stdint.h>

#include "index/dist.h"

/* All sets of kernels that there are, on any processor. */
#define DISTKIT_SETS 6
extern const char *const distkit_sets[DISTKIT_SETS];

/* The scalar ones, which the others are compared with. */
const struct dist_kernels *distkit_reference(void);

/* Those of a name, now in use; NULL: this processor lacks them. */
const struct dist_kernels *distkit_force(const char *name);

/* xorshift64*: the same numbers from the same seed everywhere. One thread. */
void distkit_seed(uint64_t seed);
uint64_t distkit_next(void);
float distkit_uniform(void); /* -1 to 1 */

/* Every length to 130, so every rest behind any round, and some beyond. */
#define DISTKIT_DIMS (130 + 13)
uint32_t distkit_dim(uint32_t i); /* i < DISTKIT_DIMS; ascending */

bool distkit_same(double a, double b); /* bit for bit */

#endif
