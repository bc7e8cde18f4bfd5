/* SPDX-License-Identifier: Apache-2.0 */
/* origins.h: which requests were applied lately, so that none is twice. */
#ifndef VG_ORIGINS_H
#define VG_ORIGINS_H

#include "src/op.h"

/*
 * A daemon that ends without a word may have applied requests that it did not
 * answer. The next one is asked them again, and finds here what became of
 * them: the origins of the last ORIGINS_KEPT ops, and of the last
 * ORIGINS_STREAM ops that rows of imports made, which would soon push the
 * others out. Filled by the manifest, by replay and by each commit, in the
 * order of the log; manifests carry it, for the log before them may be gone.
 *
 * A request is answered before ORIGINS_KEPT others come behind it, unless more
 * clients wait at a time; of such ones a second time is not noticed.
 *
 * One thread at a time: whoever replays, then the committer's leader.
 */
#define ORIGINS_KEPT 4096u
#define ORIGINS_STREAM 8192u
#define ORIGINS_MAX (ORIGINS_KEPT + ORIGINS_STREAM)

/* In a request's number: it is a row of an import. */
#define ORIGIN_IS_ROW (1ull << 62)

struct origins {
	struct op_origin kept[ORIGINS_KEPT]; /* rings; session 0: empty */
	struct op_origin stream[ORIGINS_STREAM];
	uint64_t n_kept, n_stream; /* ever */
};

/* Forgets all. Zeros are the same. */
void origins_clear(struct origins *o);

/* Adds an op's; one of nobody who could repeat it (session 0) is passed over. */
void origins_add(struct origins *o, const struct op_origin *origin);

/* Whether (session, request) of key was applied; then *result is its result. */
bool origins_find(const struct origins *o, const struct op_origin *key,
	int32_t *result);

/* Copies them, oldest first, to out[ORIGINS_MAX]; returns how many. Adding them
 * in this order makes the same again. */
uint32_t origins_list(const struct origins *o, struct op_origin *out);

#endif
