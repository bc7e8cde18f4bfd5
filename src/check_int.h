/* SPDX-License-Identifier: Apache-2.0 */
/* check_int.h: what check.c and check_files.c share. */
#ifndef VG_CHECK_INT_H
#define VG_CHECK_INT_H

#include "src/check.h"
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

/* The files that m names, one by one. */
void check_manifest(struct check *ck, const struct manifest *m);

#endif
