/* SPDX-License-Identifier: Apache-2.0 */
/* among.h: some rows of all, for searches that want no others. */
#ifndef INDEX_AMONG_H
#define INDEX_AMONG_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The rows as bits, slot % 64 of word slot / 64, for n_bits slots (those behind
 * are not wanted), and as a list, in any order. Borrowed. They may be linked or
 * not.
 */
struct among {
	const uint64_t *bits;
	uint32_t n_bits;
	const uint32_t *slots;
	uint32_t n;
};

static inline bool among_has(const struct among *a, uint32_t slot)
{
	return slot < a->n_bits && (a->bits[slot / 64] >> slot % 64 & 1) != 0;
}

#endif
