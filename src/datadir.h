/* SPDX-License-Identifier: Apache-2.0 */
/* datadir.h: taking a data directory: its lock, its format, its identity. */
#ifndef VG_DATADIR_H
#define VG_DATADIR_H

#include "src/io.h"

/* Where datadir_open puts what it opened. Descriptors are owned by the caller
 * from then on, also when the call fails; -1 before. */
struct datadir {
	struct io *io; /* borrowed: whose descriptors dirfd and waldirfd are */
	int *dirfd, *lockfd, *waldirfd;
	uint8_t *uuid;	/* 16 bytes: the store's */
	bool is_locked; /* dirfd was opened by who has it for himself alone: a
			   disk of a test. dir is not looked at then */
	bool is_read_only; /* nothing is written; who else reads may, too */
};

/*
 * Makes dir if it is missing, locks it (waiting up to wait_ms for an owner that
 * is ending), reads or writes FORMAT and opens wal/. The lock lives as long as
 * lockfd and dirfd. why[512] gets a sentence on error. -ENOTEMPTY: it holds
 * files and is no data directory; nothing was written. -EBUSY: another
 * process owns it; -VG_EFORMAT: a later version's, or not a data directory;
 * -VG_ECORRUPT: a part of one, FORMAT or wal/ is missing.
 *
 * Read only, dir is locked against owners, but not against others who read:
 * it must be there, with FORMAT and wal/.
 */
int datadir_open(const char *dir, unsigned wait_ms, const struct datadir *out,
	char *why);

#endif
