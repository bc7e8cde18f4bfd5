/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_int.h: what checkpoint_load.c and checkpoint_fill.c share. */
#ifndef VG_CHECKPOINT_INT_H
#define VG_CHECKPOINT_INT_H

#include "src/store_int.h"

/* How much of a manifest has to be right. */
enum whole {
	WHOLE,	/* all of it */
	RECORDS, /* vectors may be damaged: their records are left out */
	PARTS,	/* a recovery: collections may be damaged */
	NO_LOG, /* and the place in the log may be missing */
};

/*
 * Fills the empty catalogue of s with what m describes. A recovery notes
 * collections that cannot be loaded (store_note_loss) and goes on, unless all
 * has to be right. Errors as collection_load, with its sentence in why; the
 * catalogue is to be emptied then.
 */
int checkpoint_fill(struct store *s, const struct manifest *m,
	const struct collection_files *files, enum whole whole, char why[256]);

#endif
