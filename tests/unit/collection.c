/* SPDX-License-Identifier: Apache-2.0 */
/* collection: what a moment shows, whatever happens after it. */
#include "src/collection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4

static struct store *s;

static struct moment *now(void)
{
	return moment_get(store_moments(s));
}

static void let_go(struct moment *m)
{
	moment_unref(store_moments(s), m);
}

static bool shows(struct collection *c, const char *id, unsigned n,
	const struct moment *m)
{
	uint32_t no = generation_find(c->gen, sk_id(id), m);
	float v[SK_DIM_MAX];

	return no != VERSION_NONE &&
	       memcmp(version_vec(generation_version(c->gen, no)),
		       sk_vec(n, DIM, v), DIM * sizeof(float)) == 0;
}

static bool lacks(struct collection *c, const char *id, const struct moment *m)
{
	return generation_find(c->gen, sk_id(id), m) == VERSION_NONE;
}

static unsigned count(struct collection *c, const struct moment *m)
{
	unsigned n = 0;

	for (uint32_t no = generation_next(c->gen, 0, m); no != VERSION_NONE;
		no = generation_next(c->gen, no + 1, m))
		n++;
	return n;
}

/* Two ids of different partitions and two of the same. */
static void find_ids(char far[16], char near[16])
{
	for (unsigned i = 1; !*far || !*near; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", i);
		if (op_partition(sk_id(id)) == op_partition(sk_id("a")))
			memcpy(near, id, sizeof(id));
		else
			memcpy(far, id, sizeof(id));
	}
}

/* A moment taken between any two changes shows what was then, for ever. */
static void test_moments(void)
{
	struct collection *c = sk_make(s, "moments");
	struct change clear = {.type = OP_CLEAR, .coll = c};
	struct moment *m[10];
	char far[16] = "", near[16] = "";

	find_ids(far, near);
	m[0] = now();
	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	m[1] = now();
	must(sk_put(s, c, (struct sk_put){"a", 2, DIM, 0}) == 0);
	m[2] = now();
	must(sk_meta(s, c, "a", CHANGE_META_REPLACE, "{\"k\":1}") == 0);
	m[3] = now();
	must(sk_rename(s, c, "a", far) == 0);
	m[4] = now();
	must(sk_put(s, c, (struct sk_put){"a", 5, DIM, 0}) == 0);
	m[5] = now();
	must(sk_rename(s, c, far, near) == 0);
	m[6] = now();
	must(sk_rename(s, c, near, "a") == 0);
	m[7] = now();
	must(sk_put(s, c, (struct sk_put){"b", 8, DIM, 0}) == 0);
	must(sk_run(s, &clear) == 0);
	m[8] = now();
	must(sk_put(s, c, (struct sk_put){"a", 9, DIM, 0}) == 0);
	m[9] = now();

	ok(lacks(c, "a", m[0]) && count(c, m[0]) == 0,
		"before the first put nothing is there");
	ok(shows(c, "a", 1, m[1]) && count(c, m[1]) == 1,
		"an overwrite leaves the old to who came before");
	ok(shows(c, "a", 2, m[2]) && count(c, m[2]) == 1,
		"and the new to who came after");
	ok(!version_meta(generation_version(c->gen, generation_find(c->gen, sk_id("a"), m[2])))
				.json &&
			version_meta(generation_version(c->gen,
					     generation_find(c->gen, sk_id("a"), m[3])))
				.json,
		"metadata has its moments, too");
	ok(lacks(c, "a", m[4]) && shows(c, far, 2, m[4]) &&
			count(c, m[4]) == 1,
		"a rename to another partition is one step");
	ok(shows(c, "a", 2, m[3]) && lacks(c, far, m[3]),
		"before it the old name has the record");
	ok(shows(c, "a", 5, m[5]) && shows(c, far, 2, m[5]) &&
			count(c, m[5]) == 2,
		"a name is free after a rename");
	ok(lacks(c, far, m[6]) && shows(c, near, 2, m[6]) &&
			shows(c, "a", 5, m[6]),
		"a rename within a partition is, too");
	ok(shows(c, "a", 2, m[7]) && lacks(c, near, m[7]) &&
			count(c, m[7]) == 1,
		"a rename onto a record takes its place");
	ok(count(c, m[8]) == 0 && lacks(c, "a", m[8]) && lacks(c, "b", m[8]),
		"a clear leaves nothing");
	ok(shows(c, "a", 9, m[9]) && count(c, m[9]) == 1,
		"after it an id begins anew");
	ok(version_meta(generation_version(c->gen, generation_find(c->gen, sk_id("a"),
						      m[7])))
			.json != NULL,
		"a rename takes the metadata along");
	for (unsigned i = 0; i < 10; i++)
		let_go(m[i]);
	sk_is_sound(s);
	collection_unref(c);
}

/* A slot is one row whatever its names were; a moment gives it the right. */
static void test_slots(void)
{
	struct collection *c = sk_make(s, "slots");
	struct moment *first, *second, *third;
	struct cell *cell;
	uint32_t slot;

	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	cell = atomic_load(&c->gen->cell);
	slot = generation_version(c->gen, sk_find(s, c, "a"))->slot;
	first = now();
	must(sk_rename(s, c, "a", "b") == 0);
	second = now();
	must(sk_del(s, c, "b") == 0);
	third = now();
	ok(atomic_load(&cell->n_slots) == 1, "a rename takes no new slot");
	ok(cell_find(cell, slot, first) ==
			generation_find(c->gen, sk_id("a"), first),
		"a slot is its first name's at first");
	ok(cell_find(cell, slot, second) ==
			generation_find(c->gen, sk_id("b"), second),
		"its second one's later");
	ok(cell_find(cell, slot, third) == VERSION_NONE,
		"and nobody's after a delete");
	let_go(first);
	let_go(second);
	let_go(third);
	collection_unref(c);
}

/* Ids: any bytes, of every length, and what only looks alike. */
static void test_ids(void)
{
	struct collection *c = sk_make(s, "ids");
	char id[VG_ID_MAX + 1];
	unsigned wrong = 0;
	struct moment *m;

	memset(id, 'x', VG_ID_MAX);
	for (unsigned len = 1; len <= VG_ID_MAX; len++) {
		id[len] = '\0';
		wrong += sk_put(s, c, (struct sk_put){id, len, DIM, 0}) != 0;
		id[len] = 'x';
	}
	m = now();
	for (unsigned len = 1; len <= VG_ID_MAX; len++) {
		id[len] = '\0';
		wrong += !shows(c, id, len, m);
		id[len] = 'x';
	}
	ok(wrong == 0, "ids of 1 to %u bytes are told apart", VG_ID_MAX);
	ok(lacks(c, "X", m) && lacks(c, "xy", m), "others are not there");
	must(sk_put(s, c, (struct sk_put){"\xff\x01\n\"", 3, DIM, 0}) == 0);
	ok(sk_find(s, c, "\xff\x01\n\"") != VERSION_NONE,
		"any bytes are an id");
	ok(lacks(c, "\xff\x01\n\"", m), "which an older moment does not show");
	let_go(m);
	collection_unref(c);
}

/* Listing goes by version number, so its cursor survives what happens. */
static void test_listing(void)
{
	struct collection *c = sk_make(s, "listing");
	struct moment *m;
	unsigned seen = 0, other = 0;
	uint32_t no;

	for (unsigned i = 0; i < 100; i++) {
		char id[16];

		snprintf(id, sizeof(id), "l%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
	}
	m = now();
	for (no = generation_next(c->gen, 0, m); no != VERSION_NONE;
		no = generation_next(c->gen, no + 1, m)) {
		char id[16];

		/* The one behind, the one ahead, and a new one. */
		snprintf(id, sizeof(id), "l%u", seen * 7 % 100);
		sk_del(s, c, id);
		snprintf(id, sizeof(id), "n%u", seen);
		must(sk_put(s, c, (struct sk_put){id, seen, DIM, 0}) == 0);
		other += version_id(generation_version(c->gen, no)).bytes[0] != 'l';
		seen++;
	}
	ok(seen == 100 && other == 0,
		"a listing shows its moment, whatever is written meanwhile");
	let_go(m);
	m = now();
	ok(count(c, m) == 100, "the next one shows what was left and made");
	let_go(m);
	collection_unref(c);
}

/* ---- readers beside the writer ---- */

#define GROWN 3000
static _Atomic unsigned n_put;
static _Atomic bool is_over;

struct reader {
	struct collection *c;
	uint64_t looks, lost, early;
};

/* Whoever takes a moment after a put was answered finds it, while the id
 * table grows under him; and a moment never shows more later. */
static void *reader_main(void *arg)
{
	struct reader *r = arg;
	uint64_t dice = 88172645463325252ull;

	while (!atomic_load(&is_over) || r->looks == 0) {
		unsigned n = atomic_load(&n_put), i, listed;
		struct moment *m = now();
		char id[16];

		if (n == 0) {
			let_go(m);
			continue;
		}
		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		i = (unsigned)(dice >> 33) % n;
		snprintf(id, sizeof(id), "g%u", i);
		r->lost += lacks(r->c, id, m);
		snprintf(id, sizeof(id), "g%u", n - 1);
		r->lost += lacks(r->c, id, m);
		if (r->looks % 64 == 0) {
			listed = count(r->c, m);
			r->lost += listed < n;
			r->early += count(r->c, m) != listed;
		}
		r->looks++;
		let_go(m);
	}
	return NULL;
}

static void test_growing(void)
{
	struct store_config cfg = {.durability = STORE_FSYNC};
	char dir[160];
	struct store *before = s;
	struct reader r[2];
	pthread_t threads[2];
	struct collection *c;

	snprintf(dir, sizeof(dir), "%s/growing", scratch());
	s = sk_open(dir, &cfg);
	c = sk_make(s, "c");
	must(sk_config(s, c, "index", "flat") == 0);
	for (unsigned i = 0; i < 2; i++) {
		r[i] = (struct reader){.c = c};
		must(pthread_create(&threads[i], NULL, reader_main, &r[i]) ==
			0);
	}
	for (unsigned i = 0; i < GROWN; i++) {
		char id[16];

		snprintf(id, sizeof(id), "g%u", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
		atomic_store(&n_put, i + 1);
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(r[0].looks > 0 && r[0].lost + r[1].lost == 0,
		"readers find every record while the table grows (%llu looks)",
		(unsigned long long)(r[0].looks + r[1].looks));
	ok(r[0].early + r[1].early == 0, "and a moment always lists the same");
	sk_is_sound(s);
	collection_unref(c);
	store_close(s);
	s = before;
}

/* ---- reserve and take back ---- */

static struct op op_put(const char *id, const float *v, const char *meta)
{
	return (struct op){.type = OP_PUT, .n_places = 1, .id = sk_id(id),
		.vec = v, .vec_len = DIM * sizeof(float),
		.source = OP_SOURCE_RAW, .meta = meta,
		.meta_len = meta ? (uint32_t)strlen(meta) : 0};
}

/* As a refused write of the log does: newest first, all of it. */
static void test_unreserve(void)
{
	static const uint8_t uuid[16] = {1};
	struct op_config config = {.m = 8, .ef_construction = 20,
		.ef_search = 20, .metric = VG_L2, .dtype = VG_F32,
		.index = VG_HNSW};
	struct op_attr attr = {0};
	struct collection *c;
	struct reservation r[300], again;
	char long_meta[200], ids[300][8];
	float v[SK_DIM_MAX];
	unsigned failed = 0;
	uint64_t bytes;
	struct op op;

	must(collection_new(0, uuid, &config, &attr, &c) == 0);
	sk_vec(1, DIM, v);
	memset(long_meta, 'm', sizeof(long_meta));
	long_meta[199] = '\0';
	op = op_put("first", v, NULL);
	must(generation_reserve(c->gen, &op, &r[0]) == 0);
	ok(r[0].is_new_cell && r[0].is_new_id && r[0].version == 0,
		"the first vector reserves a cell, an id and version 0");
	generation_unreserve(c->gen, &r[0]);
	ok(c->gen->n_reserved == 0 && c->gen->n_ids == 0 && !atomic_load(&c->gen->cell),
		"taken back, nothing is left of it");
	generation_unreserve(c->gen, &r[0]);
	ok(c->gen->n_reserved == 0, "twice is harmless");
	must(generation_reserve(c->gen, &op, &r[0]) == 0);
	op.places[0] = (struct op_place){op_partition(op.id), 1};
	generation_apply(c->gen, &op, &r[0]);
	bytes = c->gen->blob.n;
	for (unsigned i = 0; i < 300; i++) {
		snprintf(ids[i], sizeof(ids[i]), "u%u", i);
		op = op_put(ids[i], v, long_meta + i % 190);
		failed += generation_reserve(c->gen, &op, &r[i]) != 0;
	}
	ok(failed == 0 && c->gen->n_reserved == 301 && c->gen->n_ids == 301,
		"a group reserves one after the other");
	ok(atomic_load(&c->gen->n_versions) == 1, "of which nobody sees anything");
	for (unsigned i = 300; i-- > 0;)
		generation_unreserve(c->gen, &r[i]);
	ok(c->gen->n_reserved == 1 && c->gen->n_ids == 1 && c->gen->blob.n == bytes &&
			atomic_load(&c->gen->cell)->n_reserved == 1,
		"and gives all of it back, over chunks of bytes");
	op = op_put("u0", v, "{}");
	must(generation_reserve(c->gen, &op, &again) == 0);
	ok(again.version == 1 && again.slot == 1,
		"the next one gets the first free numbers");
	generation_unreserve(c->gen, &again);
	collection_unref(c);
}

/* A cell fits one dimension and setting; another begins one. */
static void test_cells(void)
{
	struct collection *c = sk_make(s, "cells");
	struct cell *first, *second;
	struct moment *m;

	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	first = atomic_load(&c->gen->cell);
	ok(first->dim == DIM && first->tail_max >= 64,
		"a cell knows its dimension and how long its tail may be");
	m = now();
	must(sk_put(s, c, (struct sk_put){"a", 2, DIM + 3, CHANGE_REINFER}) ==
		0);
	second = atomic_load(&c->gen->cell);
	ok(second != first && second->dim == DIM + 3 &&
			second->retired == first,
		"another dimension begins another cell, the old one is kept");
	ok(shows(c, "a", 1, m), "for who holds a moment of it");
	ok(collection_config(c).dim == DIM + 3 &&
			collection_config(c).dim_body_len == (DIM + 3) * 4,
		"the configuration follows");
	let_go(m);
	must(sk_del(s, c, "a") == 0);
	must(sk_config(s, c, "metric", "l2") == 0);
	must(sk_put(s, c, (struct sk_put){"a", 3, DIM + 3, 0}) == 0);
	ok(atomic_load(&c->gen->cell) != second &&
			atomic_load(&c->gen->cell)->metric == VG_L2,
		"and so does another metric");
	must(sk_del(s, c, "a") == 0);
	must(sk_put(s, c, (struct sk_put){"a", 3, DIM + 3, 0}) == 0);
	ok(atomic_load(&atomic_load(&c->gen->cell)->n_slots) == 2,
		"an emptied collection goes on with the cell it has");
	sk_is_sound(s);
	collection_unref(c);
}

static void test_counts(void)
{
	struct collection *c = sk_make(s, "counts");
	struct change clear = {.type = OP_CLEAR, .coll = c};

	must(sk_put(s, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	must(sk_put(s, c, (struct sk_put){"b", 2, DIM, 0}) == 0);
	must(sk_meta(s, c, "a", CHANGE_META_REPLACE, "{\"k\":12}") == 0);
	ok(atomic_load(&c->n_live) == 2 && atomic_load(&c->meta_bytes) == 8,
		"records and bytes of metadata are counted");
	must(sk_rename(s, c, "a", "b") == 0);
	ok(atomic_load(&c->n_live) == 1 && atomic_load(&c->meta_bytes) == 8,
		"a rename onto a record counts it out");
	must(sk_run(s, &clear) == 0);
	ok(atomic_load(&c->n_live) == 0 && atomic_load(&c->meta_bytes) == 0,
		"and a clear all");
	collection_unref(c);
}

int main(void)
{
	char dir[160];

	plan(43);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	s = sk_open(dir, &(struct store_config){.durability = STORE_FSYNC});
	test_moments();
	test_slots();
	test_ids();
	test_listing();
	test_growing();
	test_unreserve();
	test_cells();
	test_counts();
	store_close(s);
	return done();
}
