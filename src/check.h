/* SPDX-License-Identifier: Apache-2.0 */
/* check.h: `vecgridfs --check`: is everything in a data directory right? */
#ifndef VG_CHECK_H
#define VG_CHECK_H

#include "src/io.h"

/*
 * Reads a data directory, or a copy of one, that nobody has mounted, and
 * changes nothing: every manifest and each file it names, every sum, every
 * invariant of versions, ids, ends and graphs, the log from the oldest
 * manifest's place to its end, and whether each change fits the state that it
 * was made on. Says a line for each thing that is not as it was written:
 *
 *   a finding   something is damaged or lost: what, and what is lost with it;
 *               or that it is derived and is rebuilt
 *   a note      what a crash, or a copy made under load, leaves and the next
 *               mount clears: nothing of it was ever promised to anybody
 */
struct check_config {
	const char *dir;
	struct io *io;	/* borrowed: the disk, for tests; NULL: the system's */
	bool has_dirfd; /* then dir is not looked at, nor locked, but... */
	int dirfd;	/* ...this, borrowed from io */

	/* Called for each line, without its end; text is borrowed. */
	void (*say)(void *ctx, bool is_finding, const char *text);
	void *ctx;
};

struct check_result {
	uint64_t findings, notes;
	uint64_t manifest; /* the one a mount would take; 0: none, the log */
	uint64_t lsn;	   /* the last change of the log */
	uint32_t collections;
	uint64_t records;
	char error[512]; /* one sentence, when it could not be run */
};

/*
 * 0: it was looked at, and res has the counts. -EBUSY: it is in use; -ENOENT:
 * there is none; -VG_EFORMAT: of a later version; -ENOMEM, and errno of the
 * disk where nothing could be read at all: res->error has the sentence. Main
 * thread.
 */
int check_each(const struct check_config *cfg, struct check_result *res);

#endif
