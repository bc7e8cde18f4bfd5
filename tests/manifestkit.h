/* SPDX-License-Identifier: Apache-2.0 */
/* manifestkit.h: what tests of manifests share: one with everything in it. */
#ifndef TESTS_MANIFESTKIT_H
#define TESTS_MANIFESTKIT_H

#include "src/manifest.h"

/* Two collections, one without vectors, and two links. Borrowed for good;
 * *m is copied anew by each call, what it points to is not. */
struct manifest kit_manifest(void);

/* All that they say is the same. */
bool kit_manifest_equal(const struct manifest *a, const struct manifest *b);

/* Offsets in its encoding: of what has its size from what is before it. */
enum {
	AT_VERSION = 8,
	AT_ZERO = 12,
	AT_LEN = 16,
	AT_HASH = 24,
	AT_NUMBER = 32,
	AT_LSN = 64,
	AT_SEGMENT = 72,
	AT_OFFSET = 80,
	AT_SEQ = 88,
	AT_NEXT_NO = AT_SEQ + 8 * VG_SEQS,
	AT_NEXT_CURSOR = AT_NEXT_NO + 4,
	AT_HAS_ROOT = AT_NEXT_CURSOR + 16,
	AT_ROOT_MODE,
	AT_N_COLLS = AT_ROOT_MODE + 12,
	AT_FULL = AT_N_COLLS + 4, /* the first collection... */
	AT_BARE = AT_FULL + 326,  /* ...and the second */
	AT_N_ALIASES = AT_BARE + 92,
	AT_ALIAS = AT_N_ALIASES + 4, /* each has a name of four bytes */
	AT_END = AT_ALIAS + 32 + 35,

	/* In a collection whose name has four bytes. */
	IN_UUID = 4,
	IN_CURSOR = 20,
	IN_NAME = 28,
	IN_CONFIG = 36,
	IN_MODE = 60,
	IN_DIM = 88,
	IN_METRIC = 92,
	IN_INDEX = 93,
	IN_M = 94,
	IN_EF = 98,
	IN_VEC = 106, /* its n_parts, then two parts */
	IN_PARTS = 110,
	IN_VERSION = 166, /* these have one */
	IN_META = 198,
	IN_END = 230,
	IN_GRAPH = 262,
	IN_N_DELTAS = 282,
	IN_DELTAS = 286,
};

/* Makes length and hash what they would be of these bytes, at least 32. */
void kit_manifest_fix(uint8_t *bytes, size_t len);

#endif
