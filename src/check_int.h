/* SPDX-License-Identifier: Apache-2.0 */
/* check_int.h: what check.c and check_files.c share. */
#ifndef VG_CHECK_INT_H
#define VG_CHECK_INT_H

#include "src/check.h"
#include "src/collection_file_int.h"
#include "src/store_int.h"

struct check {
	const struct check_config *cfg;
	struct check_result *res;
	struct store *s; /* opened as a recovery; changes nothing */
	struct manifest *m; /* those that can be read, newest first */
	uint32_t n;
	uint64_t taken; /* number of the manifest that s has; 0: none */
	struct wal_place oldest; /* the log is known from here; lsn 0: not */
	int rc; /* -ENOMEM: it could not go on */
};

#define CHECK_TEXT 4096 /* bytes of a line */

/* Says a line. */
void check_say(struct check *ck, bool is_finding, const char *fmt, ...)
	VG_PRINTF(3, 4);

/* Ranges of rows that cannot be read, in order. */
struct check_damage {
	struct range {
		uint32_t first, n;
	} *range; /* owned */
	uint32_t n, cap;
	uint64_t rows;
	bool failed; /* no memory for all of them */
};

/* One collection of one manifest. */
struct check_look {
	struct check *ck;
	const struct manifest *m;
	const struct manifest_collection *mc;
	struct collection_file *f;
	char uuid[33];
};

/* The collection's name, and what of it the generation that is looked at is:
 * "collection", or "snapshots of collection". */
const char *check_name_of(const struct check_look *at);
const char *check_part_of(const struct check_look *at);

/* colfile_damaged_fn: ctx is a struct check_damage. */
void check_add_range(void *ctx, uint32_t first, uint32_t n);

/* Says what is lost with rows of a column; d has some. */
void check_say_damage(struct check_look *at, enum column_kind kind,
	const char *column, const struct check_damage *d);

/* Files that nobody names: notes. */
void check_names(struct check *ck);

/* The files that m names, one by one. */
void check_manifest(struct check *ck, const struct manifest *m);

#endif
