/* SPDX-License-Identifier: Apache-2.0 */
/* datadir_int.h: what datadir.c and datadir_lock.c share. */
#ifndef VG_DATADIR_INT_H
#define VG_DATADIR_INT_H

#include "src/datadir.h"

#define WHY 512 /* bytes of a sentence */

/* Writes "DIR: WHAT" into why and returns rc. */
int datadir_say(char *why, int rc, const char *dir, const char *what);

/* Reads FORMAT into d->uuid. -ENOENT: there is none, without a sentence;
 * -VG_EFORMAT: it is not of this version; errno. */
int datadir_load_format(const char *dir, const struct datadir *d, char *why);

/* Makes FORMAT with d->uuid, durably. errno. */
int datadir_save_format(const struct datadir *d);

/* Takes d's directory for this process alone, waiting up to wait_ms; d->lockfd
 * is open then. -EBUSY: another has it; errno. Each with a sentence. */
int datadir_lock(const char *dir, unsigned wait_ms, const struct datadir *d,
	char *why);

/* Takes it to read, beside others who only read. Errors as above. */
int datadir_lock_shared(const char *dir, unsigned wait_ms,
	const struct datadir *d, char *why);

#endif
