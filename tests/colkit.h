/* SPDX-License-Identifier: Apache-2.0 */
/* colkit.h: what tests of columns on disk share: rows one can tell, copies of files. */
#ifndef TESTS_COLKIT_H
#define TESTS_COLKIT_H

#include "src/colfile.h"

/* Rows first..first + n of a column, whose bytes their place determines. */
void col_fill(void *rows, uint32_t first, uint32_t n, uint32_t stride);
bool col_is(const void *rows, uint32_t first, uint32_t n, uint32_t stride);

/* A column "vec" of the tests' store. io NULL: plain calls but for syncs,
 * which do nothing, for speed. */
struct colfile_config col_config(
	int dirfd, struct io *io, uint32_t stride, uint32_t part_rows);

/* Appends the next n rows. */
int col_append(struct colfile *cf, const struct colfile_config *cfg, uint32_t n);

/* Its parts as a manifest would have them; owned by the caller: free. */
struct colfile_part *col_parts(const struct colfile *cf, uint32_t *n);

/* Syncs, notes the parts and closes; then opens what was noted. */
struct colfile *col_again(struct colfile *cf, const struct colfile_config *cfg);

/* Rows first..first + n read right and without damage. */
bool col_reads(struct colfile *cf, const struct colfile_config *cfg,
	uint32_t first, uint32_t n);

/* Does the directory have it? */
bool col_has(int dirfd, const char *name);

/* What colfile_read told of rows that are damaged: the first 8 ranges. */
struct col_told {
	uint32_t n;
	uint32_t first[8], len[8];
};
void col_tell(void *told, uint32_t first, uint32_t n);

/* Flips a bit of a file's byte; flipped again it is whole. */
void col_flip(int dirfd, const char *name, uint64_t at);
void col_cut(int dirfd, const char *name, off_t len);

/* Descriptors that are open, this call's own included. */
int col_fds(void);

#endif
