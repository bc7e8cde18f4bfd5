/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.c: collections of f16, i8 and b1 in the store: what goes in, what is
 * found, and that restarts, compactions and snapshots keep it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/config.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define N 300u
#define DIM 24u

static const struct store_config plain = {.durability = STORE_FSYNC,
	.no_compaction = true,
	.has_grace = true};

static const struct kind {
	enum vg_dtype dtype;
	const char *word, *metric;
} kinds[] = {
	{VG_F16, "f16", "l2"},
	{VG_I8, "i8", "l1"},
	{VG_B1, "b1", "hamming"},
};

/* Row i, any bytes that are no infinities of halves. */
static const uint8_t *row_of(const struct kind *k, unsigned i, uint8_t out[64])
{
	for (uint32_t j = 0; j < vg_row_len(k->dtype, DIM); j++)
		out[j] = (uint8_t)((i * 2654435761u + j * 40503u) >> 7);
	if (k->dtype == VG_F16)
		for (uint32_t j = 1; j < 2 * DIM; j += 2)
			out[j] &= 0xbb;
	return out;
}

static int put_row(struct store *s, struct collection *c, const struct kind *k,
	unsigned i)
{
	char id[16];
	uint8_t row[64];

	snprintf(id, sizeof(id), "%u", i);
	return sk_run(s, &(struct change){.type = OP_PUT,
				 .coll = c,
				 .id = sk_id(id),
				 .vec = row_of(k, i, row),
				 .dim = DIM,
				 .dtype = k->dtype,
				 .source = OP_SOURCE_RAW,
				 .body_len = 1});
}

/* Whether the records i < N but every third, or all, are there as put. */
static bool is_there(struct store *s, struct collection *c,
	const struct kind *k, bool has_all)
{
	unsigned wrong = 0;
	uint8_t row[64];
	char id[16];

	for (unsigned i = 0; i < N; i++) {
		uint32_t no;

		snprintf(id, sizeof(id), "%u", i);
		no = sk_find(s, c, id);
		if (!has_all && i % 3 == 0) {
			wrong += no != VERSION_NONE;
			continue;
		}
		if (no == VERSION_NONE) {
			wrong++;
			continue;
		}
		const struct version *v = generation_version(c->gen, no);

		wrong += v->cell->dtype != k->dtype || v->cell->dim != DIM ||
			 version_vec_len(v) != vg_row_len(k->dtype, DIM) ||
			 memcmp(version_vec(v), row_of(k, i, row),
				 version_vec_len(v)) != 0;
	}
	return wrong == 0;
}

/* Whether each record asked for is found first, 0 away, by scan and graph. */
static bool is_found(struct store *s, struct collection *c,
	const struct kind *k)
{
	struct search_hit hits[5];
	unsigned wrong = 0;
	uint8_t row[64];
	uint32_t n;

	for (unsigned i = 1; i < N; i += 3) {
		struct search q = {.vec = row_of(k, i, row),
			.dim = DIM,
			.dtype = k->dtype,
			.k = 5,
			.ef = 30,
			.exact = i % 2};

		wrong += sk_search(s, c, &q, hits, &n) != 0 || n != 5 ||
			 hits[0].dist != 0 || hits[4].dist < hits[0].dist;
	}
	return wrong == 0;
}

static void test_kind(const struct kind *k)
{
	const char *dir = scratch_path(k->word);
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c"), *snap;
	unsigned failed = 0;
	char id[16];

	must(sk_config(s, c, "dtype", k->word) == 0);
	must(sk_config(s, c, "metric", k->metric) == 0);
	for (unsigned i = 0; i < N; i++)
		failed += put_row(s, c, k, i) != 0;
	sk_wait_linked(s);
	ok(failed == 0 && is_there(s, c, k, true) && is_found(s, c, k),
		"%s: what goes in is there, and found", k->word);
	must(sk_snap(s, c, "s") == 0);
	for (unsigned i = 0; i < N; i += 3) {
		snprintf(id, sizeof(id), "%u", i);
		failed += sk_del(s, c, id) != 0;
	}
	must(store_compact(s, c) == 0);
	sk_wait_linked(s);
	snap = collection_find_snap(c, sk_id("s"));
	ok(failed == 0 && is_there(s, c, k, false) && is_found(s, c, k) &&
			is_there(s, snap, k, true) && is_found(s, snap, k),
		"%s: a compaction carries it, a snapshot keeps it", k->word);
	collection_unref(snap);
	collection_unref(c);
	store_close(s);

	s = sk_open(dir, &plain);
	c = sk_get(s, "c");
	must(c);
	snap = collection_find_snap(c, sk_id("s"));
	ok(is_there(s, c, k, false) && is_found(s, c, k) &&
			is_there(s, snap, k, true) && is_found(s, snap, k) &&
			collection_config(c).dtype == k->dtype &&
			collection_config(snap).dtype == k->dtype,
		"%s: all of it is there after a restart", k->word);
	for (unsigned i = 0; i < N; i += 3)
		failed += put_row(s, c, k, i) != 0;
	collection_unref(snap);
	sk_copy(dir, scratch_path("copy"));
	collection_unref(c);
	store_close(s);

	s = sk_open(scratch_path("copy"), &plain);
	c = sk_get(s, "c");
	must(c);
	sk_wait_linked(s);
	ok(failed == 0 && is_there(s, c, k, true) && is_found(s, c, k),
		"%s: and what only the log has, in a copy", k->word);
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* ---- what does not go together ---- */

static int put_floats(struct store *s, struct collection *c, const char *id,
	enum vg_dtype dtype)
{
	static const float row[DIM] = {1, 2, 3};
	struct change ch = {.type = OP_PUT,
		.coll = c,
		.id = sk_id(id),
		.vec = row,
		.dim = DIM,
		.dtype = dtype,
		.source = OP_SOURCE_RAW,
		.body_len = 1};
	int rc = sk_run(s, &ch);

	if (rc < 0)
		diag("%s", ch.why);
	return rc;
}

static void test_misfits(void)
{
	struct store *s = sk_open(scratch_path("misfits"), &plain);
	struct collection *c = sk_make(s, "c");
	static const int8_t bytes[DIM] = {1, 2, 3};
	static const float floats[DIM] = {1, 2, 3};
	struct search_hit hits[2];
	struct search q = {.vec = bytes, .dim = DIM, .dtype = VG_I8, .k = 2};
	uint32_t n = 9;

	must(sk_config(s, c, "dtype", "i8") == 0);
	ok(put_floats(s, c, "a", VG_F32) == -EINVAL &&
			put_floats(s, c, "a", 0) == -EINVAL &&
			sk_find(s, c, "a") == VERSION_NONE,
		"a vector of another dtype than the collection's is refused");
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 0,
		"an empty collection has no answer");
	must(put_row(s, c, &kinds[1], 7) == 0);
	q.vec = floats;
	q.dtype = VG_F32;
	ok(sk_search(s, c, &q, hits, &n) == -EINVAL,
		"so is a query of another dtype");
	ok(sk_config(s, c, "dtype", "f32") == -EBUSY &&
			sk_config(s, c, "metric", "hamming") == -EINVAL,
		"dtype is fixed by the first vector, and fixes the metrics");

	/* Emptied, it takes another; what is left of the old one answers
	 * nothing. */
	must(sk_del(s, c, "7") == 0 && sk_config(s, c, "dtype", "f32") == 0);
	ok(sk_config(s, c, "dim", "24") == 0 &&
			sk_search(s, c, &q, hits, &n) == 0 && n == 0,
		"an emptied collection takes another dtype");
	q.vec = bytes;
	q.dtype = VG_I8;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 0,
		"who asks for the old one finds nothing");
	ok(store_compact(s, c) == 0 && put_floats(s, c, "a", VG_F32) == 0 &&
			store_compact(s, c) == 0 &&
			sk_find(s, c, "a") != VERSION_NONE,
		"compactions before and behind the first vector of it succeed");
	q.vec = floats;
	q.dtype = 0;
	ok(sk_search(s, c, &q, hits, &n) == 0 && n == 1 && hits[0].dist == 0,
		"which is found");
	must(store_checkpoint(s, true) == 0);
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

/* A log that changes dtype between vectors is replayed as it was. */
static void test_replay(void)
{
	const char *dir = scratch_path("replay");
	struct store *s = sk_open(dir, &plain);
	struct collection *c = sk_make(s, "c");
	bool holds = true;

	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++) {
			holds &= sk_config(s, c, "dtype", kinds[i].word) == 0;
			holds &= put_row(s, c, &kinds[i], 1) == 0;
			holds &= put_row(s, c, &kinds[i], 2) == 0;
			if (round == 1)
				holds &= sk_snap(s, c, kinds[i].word) == 0;
			holds &= sk_del(s, c, "1") == 0;
			holds &= sk_del(s, c, "2") == 0;
		}
	must(sk_config(s, c, "dtype", "i8") == 0);
	must(put_row(s, c, &kinds[1], 5) == 0);
	sk_copy(dir, scratch_path("replayed"));
	collection_unref(c);
	store_close(s);
	s = sk_open(scratch_path("replayed"), &plain);
	c = sk_get(s, "c");
	must(c);
	for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++) {
		struct collection *snap =
			collection_find_snap(c, sk_id(kinds[i].word));
		uint32_t no = snap ? sk_find(s, snap, "2") : VERSION_NONE;
		uint8_t row[64];

		holds &= no != VERSION_NONE;
		if (no == VERSION_NONE)
			continue;
		const struct version *v = generation_version(snap->gen, no);

		holds &= v->cell->dtype == kinds[i].dtype &&
			 !memcmp(version_vec(v), row_of(&kinds[i], 2, row),
				 version_vec_len(v));
		collection_unref(snap);
	}
	ok(holds && sk_find(s, c, "5") != VERSION_NONE &&
			collection_config(c).dtype == VG_I8,
		"a log of several dtypes is replayed, with their snapshots");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	plan(3 * 5 + 9 + 2);
	for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++)
		test_kind(&kinds[i]);
	test_misfits();
	test_replay();
	return done();
}
