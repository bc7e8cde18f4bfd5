/* SPDX-License-Identifier: Apache-2.0 */
/* plan: what is asked against what is there: each refusal and its sentence. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4

static struct store *s;
static struct change last; /* the last change, answered */

static int run(struct change ch)
{
	int rc = sk_run(s, &ch);

	last = ch;
	return rc;
}

static struct change put_of(
	struct collection *c, const char *id, unsigned n, unsigned dim)
{
	static float v[SK_DIM_MAX];

	return (struct change){.type = OP_PUT, .coll = c, .id = sk_id(id),
		.vec = sk_vec(n, dim, v), .dim = dim,
		.source = OP_SOURCE_TEXT, .body_len = 33};
}

static int put(struct collection *c, const char *id, unsigned flags)
{
	struct change ch = put_of(c, id, 1, DIM);

	ch.flags = flags;
	return run(ch);
}

static void test_exists(void)
{
	struct collection *c = sk_make(s, "exists");

	ok(put(c, "a", CHANGE_MUST_EXIST) == -ENOENT && last.why[0],
		"MUST_EXIST refuses a new id: %s", last.why);
	ok(put(c, "a", CHANGE_EXCL) == 0, "EXCL takes it");
	ok(put(c, "a", CHANGE_EXCL) == -EEXIST, "once");
	ok(put(c, "a", CHANGE_MUST_EXIST) == 0 && put(c, "a", 0) == 0,
		"an id that exists is overwritten");
	must(sk_del(s, c, "a") == 0);
	ok(put(c, "a", CHANGE_MUST_EXIST) == -ENOENT,
		"a deleted one does not exist");
	ok(put(c, "a", CHANGE_EXCL) == 0, "and may begin again");
	ok(sk_del(s, c, "nil") == -ENOENT &&
			sk_rename(s, c, "nil", "x") == -ENOENT &&
			sk_meta(s, c, "nil", CHANGE_META_MERGE, "{\"k\":1}") ==
				-ENOENT,
		"what is not there is not deleted, renamed or described");
	collection_unref(c);
}

static void test_rename(void)
{
	struct collection *c = sk_make(s, "rename");
	struct change ch = {.type = OP_RENAME, .coll = c, .id = sk_id("a"),
		.id2 = sk_id("b"), .flags = CHANGE_NOREPLACE};
	uint32_t before;

	must(put(c, "a", 0) == 0 && put(c, "b", 0) == 0);
	ok(run(ch) == -EEXIST && last.why[0],
		"NOREPLACE keeps who has the name: %s", last.why);
	before = sk_find(s, c, "a");
	ok(sk_rename(s, c, "a", "a") == 0 && sk_find(s, c, "a") == before,
		"a rename to itself does nothing");
	must(sk_del(s, c, "b") == 0);
	ok(run(ch) == 0 && sk_find(s, c, "b") == last.version,
		"a free name is taken");
	collection_unref(c);
}

/* ---- metadata ---- */

static int meta(struct collection *c, enum change_meta mode, const char *key,
	const char *value, unsigned flags)
{
	return run((struct change){.type = OP_SET, .coll = c, .id = sk_id("a"),
		.meta_mode = mode, .key = sk_id(key), .flags = flags,
		.meta = {value, value ? (uint32_t)strlen(value) : 0}});
}

static void test_meta(void)
{
	struct collection *c = sk_make(s, "meta");
	struct change ch;

	must(put(c, "a", 0) == 0);
	ok(strcmp(sk_meta_of(s, c, "a"), "") == 0, "no metadata at first");
	ok(meta(c, CHANGE_META_REPLACE, "", "{\"x\":1,\"y\":null}", 0) == 0 &&
			strcmp(sk_meta_of(s, c, "a"), "{\"x\":1}") == 0,
		"REPLACE sets it, without nulls");
	ok(meta(c, CHANGE_META_MERGE, "", "{\"y\":2,\"x\":null}", 0) == 0 &&
			strcmp(sk_meta_of(s, c, "a"), "{\"y\":2}") == 0,
		"MERGE replaces and removes keys");
	ok(meta(c, CHANGE_META_SET, "z", "\"w\"", 0) == 0 &&
			strcmp(sk_meta_of(s, c, "a"),
				"{\"y\":2,\"z\":\"w\"}") == 0,
		"SET one key");
	ok(meta(c, CHANGE_META_SET, "z", "1", CHANGE_KEY_NEW) == -EEXIST &&
			meta(c, CHANGE_META_SET, "n", "1", CHANGE_KEY_OLD) ==
				-ENODATA,
		"KEY_NEW and KEY_OLD are heeded");
	ok(meta(c, CHANGE_META_SET, "n", "1", CHANGE_KEY_NEW) == 0 &&
			meta(c, CHANGE_META_SET, "n", "2", CHANGE_KEY_OLD) ==
				0,
		"either way");
	ok(meta(c, CHANGE_META_REMOVE, "y", NULL, 0) == 0 &&
			meta(c, CHANGE_META_REMOVE, "y", NULL, 0) == -ENODATA,
		"REMOVE takes a key once");
	ok(meta(c, CHANGE_META_KEEP, "", NULL, 0) == 0 &&
			strcmp(sk_meta_of(s, c, "a"), "{\"z\":\"w\",\"n\":2}") ==
				0,
		"KEEP keeps: %s", sk_meta_of(s, c, "a"));
	ok(put(c, "a", 0) == 0 &&
			strcmp(sk_meta_of(s, c, "a"), "{\"z\":\"w\",\"n\":2}") ==
				0,
		"an overwrite keeps, too");
	ch = put_of(c, "a", 3, DIM);
	ch.meta_mode = CHANGE_META_MERGE;
	ch.meta = (struct meta){"{\"n\":null}", 10};
	ok(run(ch) == 0 && strcmp(sk_meta_of(s, c, "a"), "{\"z\":\"w\"}") == 0,
		"or merges what its body says");
	ok(meta(c, CHANGE_META_REPLACE, "", NULL, 0) == 0 &&
			strcmp(sk_meta_of(s, c, "a"), "") == 0,
		"REPLACE by nothing leaves none");
	ok(meta(c, CHANGE_META_MERGE, "", "[1]", 0) < 0 &&
			strcmp(sk_meta_of(s, c, "a"), "") == 0,
		"what is no object is refused");
	collection_unref(c);
}

static void test_meta_size(void)
{
	struct collection *c = sk_make(s, "size");
	char *large = malloc(VG_META_MAX);

	must(large && put(c, "a", 0) == 0);
	memset(large, 'x', VG_META_MAX);
	large[0] = large[VG_META_MAX - 12] = '"';
	large[VG_META_MAX - 11] = '\0';
	ok(meta(c, CHANGE_META_SET, "k", large, 0) == 0,
		"metadata of almost a MiB is taken");
	ok(meta(c, CHANGE_META_SET, "k2", "\"0123456789\"", 0) == -EFBIG &&
			strstr(last.why, "1 MiB"),
		"more is not: %s", last.why);
	ok(sk_rename(s, c, "a", "b") == 0 &&
			version_meta(generation_version(c->gen, sk_find(s, c, "b")))
					.len > VG_META_MAX - 20,
		"and a rename takes all of it along");
	free(large);
	collection_unref(c);
}

static void test_times(void)
{
	struct collection *c = sk_make(s, "times");
	struct change ch = put_of(c, "a", 1, DIM);

	ch.flags = CHANGE_TIME;
	ch.time_ns = 1234;
	must(run(ch) == 0);
	ok(generation_version(c->gen, sk_find(s, c, "a"))->mtime_ns == 1234,
		"a time that is given is kept");
	must(meta(c, CHANGE_META_SET, "k", "1", 0) == 0);
	ok(generation_version(c->gen, sk_find(s, c, "a"))->mtime_ns == 1234,
		"metadata leaves it");
	must(sk_rename(s, c, "a", "b") == 0);
	ok(generation_version(c->gen, sk_find(s, c, "b"))->mtime_ns == 1234,
		"a rename, too");
	must(put(c, "b", 0) == 0);
	ok(generation_version(c->gen, sk_find(s, c, "b"))->mtime_ns >
			1600000000000000000,
		"else it is the clock's");
	collection_unref(c);
}

/* ---- dimension and settings ---- */

static int put_dim(
	struct collection *c, const char *id, unsigned dim, unsigned flags)
{
	struct change ch = put_of(c, id, 1, dim);

	ch.flags = flags;
	return run(ch);
}

static void test_infer(void)
{
	struct collection *c = sk_make(s, "infer");
	struct op_config config;

	must(put_dim(c, "a", 5, 0) == 0);
	config = collection_config(c);
	ok(config.dim == 5 && config.dim_source == OP_SOURCE_TEXT &&
			config.dim_body_len == 33,
		"the first vector says dim, and it is noted from what");
	ok(put_dim(c, "a", 6, 0) == -EINVAL &&
			strstr(last.why, "6 dimensions, the collection 5"),
		"another is refused: %s", last.why);
	ok(put_dim(c, "b", 6, CHANGE_REINFER) == -EINVAL,
		"also from a file that is open, if it is another record's");
	ok(put_dim(c, "a", 6, CHANGE_REINFER) == 0 &&
			collection_config(c).dim == 6,
		"the only record's own may set it again");
	must(put_dim(c, "b", 6, 0) == 0);
	ok(put_dim(c, "a", 7, CHANGE_REINFER) == -EINVAL,
		"but not once there are two");
	must(sk_del(s, c, "a") == 0 && sk_del(s, c, "b") == 0);
	ok(put_dim(c, "c", 9, 0) == 0 && collection_config(c).dim == 9,
		"emptied, the next one says it");
	must(sk_del(s, c, "c") == 0 && sk_config(s, c, "dim", "3") == 0);
	ok(put_dim(c, "c", 9, 0) == -EINVAL && put_dim(c, "c", 3, 0) == 0,
		"a dim that was written stays, also of an empty collection");
	ok(put_dim(c, "c", 4, CHANGE_REINFER) == -EINVAL &&
			collection_config(c).dim_source == 0,
		"whoever writes");
	collection_unref(c);
}

static void test_settings(void)
{
	struct collection *c = sk_make(s, "settings");
	float zero[DIM] = {0};
	struct change ch = put_of(c, "z", 1, DIM);

	ch.vec = zero;
	ok(run(ch) == -EINVAL && strstr(last.why, "direction"),
		"cosine refuses a zero vector: %s", last.why);
	ok(sk_config(s, c, "metric", "l2") == 0 && run(ch) == 0,
		"l2 takes it");
	ok(sk_config(s, c, "dim", "8") == -EBUSY,
		"with a vector in, dim is fixed");
	ok(sk_config(s, c, "metric", "l2") == 0 &&
			sk_config(s, c, "dim", "4") == 0 &&
			sk_config(s, c, "", "{\"metric\":\"l2\",\"dim\":4}") ==
				0,
		"but for what they are");
	ok(sk_config(s, c, "", "{\"metric\":\"ip\",\"dim\":5}") == -EBUSY &&
			collection_config(c).metric == VG_L2,
		"in JSON as well");
	ok(sk_config(s, c, "ef_search", "9") == 0 &&
			collection_config(c).ef_search == 9,
		"ef_search is free");
	ok(sk_config(s, c, "nosuch", "1") == -ENOENT &&
			sk_config(s, c, "dim_source", "raw") == -EACCES,
		"others are not there, or not written");
	must(sk_del(s, c, "z") == 0);
	ok(sk_config(s, c, "metric", "ip") == 0 && put(c, "a", 0) == 0 &&
			atomic_load(&c->gen->cell)->metric == VG_IP,
		"emptied, its next vector is linked by what is set");
	collection_unref(c);
}

static void test_attr(void)
{
	struct collection *c = sk_make(s, "attr");
	struct change ch = {.type = OP_ATTR, .coll = c, .flags = CHANGE_MODE,
		.attr = {.mode = 0511, .uid = 7, .gid = 8}};

	ok(run(ch) == 0 && collection_attr(c).mode == 0511 &&
			collection_attr(c).uid == 0,
		"a mode is set alone");
	ch.flags = CHANGE_UID | CHANGE_GID | CHANGE_TIME;
	ch.attr.mode = 0;
	ch.time_ns = 99;
	ok(run(ch) == 0 && collection_attr(c).mode == 0511 &&
			collection_attr(c).uid == 7 &&
			collection_attr(c).gid == 8 && c->mtime_ns == 99,
		"and so are owner and time");
	collection_unref(c);
}

static void test_clear(void)
{
	struct collection *c = sk_make(s, "clear");
	struct change ch = {.type = OP_CLEAR, .coll = c};
	struct store_stat before, after;
	char id[16];

	store_stat(s, &before);
	ok(run(ch) == 0, "clearing nothing succeeds");
	store_stat(s, &after);
	ok(after.log_bytes == before.log_bytes, "and is not logged");
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "%u", i);
		must(put(c, id, 0) == 0);
	}
	ok(run(ch) == 0 && atomic_load(&c->n_live) == 0,
		"one change clears 1,000 records of all partitions");
	ok(run((struct change){.type = OP_DROP, .coll = c}) == 0,
		"then it can be dropped");
	ok(put(c, "a", 0) == -ENOENT && strstr(last.why, "removed"),
		"and takes nothing more: %s", last.why);
	collection_unref(c);
}

int main(void)
{
	char dir[160];

	plan(53);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	s = sk_open(dir, &(struct store_config){.durability = STORE_FSYNC});
	test_exists();
	test_rename();
	test_meta();
	test_meta_size();
	test_times();
	test_infer();
	test_settings();
	test_attr();
	test_clear();
	sk_is_sound(s);
	store_close(s);
	return done();
}
