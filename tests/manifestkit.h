/* SPDX-License-Identifier: Apache-2.0 */
/* manifestkit.h: what tests of manifests share: one with everything in it. */
#ifndef TESTS_MANIFESTKIT_H
#define TESTS_MANIFESTKIT_H

#include "src/manifest.h"

/* Two collections, one without vectors, and two links. The other has a snapshot
 * of the present, "noon", and a generation that only "dawn" and "dusk" show.
 * Borrowed for good; *m is copied anew by each call, what it points to is
 * not. */
struct manifest kit_manifest(void);

/* The same, the first collection's present with indexes of fields: version 2. */
struct manifest kit_manifest_fields(void);

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
	AT_NEXT_GEN = AT_NEXT_NO + 4,
	AT_NEXT_CURSOR = AT_NEXT_GEN + 4,
	AT_HAS_ROOT = AT_NEXT_CURSOR + 16,
	AT_ROOT_MODE,
	AT_N_COLLS = AT_ROOT_MODE + 12,
	AT_FULL = AT_N_COLLS + 4, /* the first collection... */
	AT_NOON = AT_FULL + 336,  /* ...its snapshot... */
	AT_PAST = AT_NOON + 97 + 8 * VG_SEQS, /* ...its past generation... */
	AT_DAWN = AT_PAST + 208,	      /* ...with two more... */
	AT_DUSK = AT_DAWN + 97 + 8 * VG_SEQS,
	AT_BARE = AT_DUSK + 97 + 8 * VG_SEQS, /* ...and the second */
	AT_N_ALIASES = AT_BARE + 101,
	AT_ALIAS = AT_N_ALIASES + 4, /* each has a name of four bytes */
	AT_N_ORIGINS = AT_ALIAS + 32 + 35,
	AT_ORIGIN = AT_N_ORIGINS + 4,
	AT_END = AT_ORIGIN + 2 * 20,

	/* In a collection whose name has four bytes. */
	IN_GEN = 4,
	IN_UUID = 8,
	IN_CURSOR = 24,
	IN_NAME = 32,
	IN_CONFIG = 40,
	IN_MODE = 65,
	IN_DIM = 93,
	IN_METRIC = 97,
	IN_INDEX = 98,
	IN_QUANT = 99,
	IN_M = 100,
	IN_EF = 104,
	IN_VEC = 112, /* its n_parts, then two parts */
	IN_PARTS = 116,
	IN_VERSION = 172, /* these have one */
	IN_META = 204,
	IN_END = 236,
	IN_GRAPH = 268,
	IN_N_DELTAS = 288,
	IN_DELTAS = 292,
	IN_N_SNAPS = 332,

	/* In the past generation, whose name is empty. */
	PAST_NO = 0,
	PAST_DIM = 89,
	PAST_VEC = 108, /* this and the next have one part */
	PAST_VERSION = 140,
	PAST_N_SNAPS = 204,

	/* In version 2, where IN_N_SNAPS and PAST_N_SNAPS are in 1. */
	FILE_LEN = 20,

	/* In a snapshot; its name has four bytes. */
	SNAP_UUID = 4,
	SNAP_NAME = 20,
	SNAP_CONFIG = 28,
	SNAP_MODE = 53,
	SNAP_LIVE = 81,
	SNAP_META = 89,
	SNAP_SEQ = 97,
};

/* Makes length and hash what they would be of these bytes, at least 32. */
void kit_manifest_fix(uint8_t *bytes, size_t len);

#endif
