/* SPDX-License-Identifier: Apache-2.0 */
/* witness.h: a file that a copy shares, which is to stay as it is. */
#ifndef TESTS_WITNESS_H
#define TESTS_WITNESS_H

#include "tests/simdisk.h"

/*
 * What cp -al and rsync --link-dest leave: another name of a collection's file.
 * Whoever owns that name may mount it as a copy and add to it, so it must not
 * be written to any more under its first name either. One file at a time is
 * watched: from witness_put on, its bytes are compared with what they were.
 */
struct witness {
	char *bytes; /* owned; NULL: no file is watched */
	size_t len;
	char path[160]; /* its first name */
};

/* Links any file below c/ of the disk to "shared" in its root, unless one is
 * watched; dice chooses, and may choose none. The store writes nothing. */
void witness_put(struct witness *w, struct sim *sim, uint64_t dice);

/* Whether it is as it was. A name that is gone (its creation was not synced)
 * is watched no more. */
bool witness_check(struct witness *w, struct sim *sim);

/* Of zeros, too. */
void witness_fini(struct witness *w);

#endif
