/* SPDX-License-Identifier: Apache-2.0 */
/* ask.h: runs a query and renders its answer. */
#ifndef FS_ASK_H
#define FS_ASK_H

#include "fs/fs.h"

/* What is asked of whom. Everything is borrowed until ask_run returns. */
struct ask {
	struct fs *fs;
	struct collection *coll;
	const struct query *query; /* with a source */
	uint32_t uid;		   /* whose named requests */
	_Atomic bool *cancel;	   /* set by an interrupt, and by a timeout */
	struct collection *in; /* ask_run's: coll, or the snapshot asked */
	char why[256];		   /* a sentence, after -EINVAL and of like=
				  after -ENOENT */
};

/*
 * Searches and renders. *out is returned with one reference. -EINVAL: the
 * query does not fit the collection; -ENOENT: no such record, named request or
 * snapshot;
 * -EINTR: cancelled; -ETIMEDOUT; -EIO: strict=1 and the answer is partial;
 * -ENOMEM. Any thread; may take as long as the search.
 */
int ask_run(struct ask *ask, struct answer_bytes **out);

/*
 * What q is asked of: c itself, or the snapshot that it names; referenced. NULL:
 * there is no such snapshot, or c is one, which has none. Any thread.
 */
struct collection *ask_collection(
	struct collection *c, const struct query *q);

/* Whether it may take so long that a thread of the pool should do it. */
bool ask_is_long(struct ask *ask);

/* Opens the rows of an answer to `all` over spec->look once more; spec has
 * that and a pool. Errors of rowfile_open. */
struct rowfile_spec;
int ask_open_rows(struct fs *fs, struct qnode *node,
	struct rowfile_spec *spec, struct rowfile **out);

/*
 * Copies the answer's bytes from off on into buf[len]. Returns how many, 0 at
 * the end, or a negative errno.
 */
int64_t answer_read(struct answer_bytes *a, uint64_t off, char *buf,
	size_t len);

#endif
