/* SPDX-License-Identifier: Apache-2.0 */
/* store: changes are checked, logged, applied, found, and there after a restart. */
#include "src/store.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 8

static struct vg_id id_of(const char *s)
{
	return (struct vg_id){.bytes = s, .len = (uint32_t)strlen(s)};
}

static struct store *open_store(const char *dir)
{
	struct store_config cfg = {.dir = dir};
	struct store_report rep;
	struct store *s = NULL;
	int rc = store_open(&cfg, &rep, &s);

	if (rc < 0)
		diag("open: %d %s", rc, rep.error);
	must(rc == 0);
	return s;
}

static int run(struct store *s, struct change *ch)
{
	struct commit commit = {.changes = ch, .n = 1};
	int rc = store_commit_wait(s, &commit);

	if (rc < 0 && getenv("VG_VERBOSE"))
		diag("rc %d: %s", rc, ch->why);
	return rc;
}

static struct collection *make(struct store *s, const char *name)
{
	struct change ch = {.type = OP_CREATE, .name = id_of(name),
		.attr = {.mode = 0755}};
	struct entry_info info;

	must(run(s, &ch) == 0);
	must(catalogue_get(store_catalogue(s), id_of(name), &info) == 0);
	return info.coll;
}

static struct collection *get(struct store *s, const char *name)
{
	struct entry_info info;

	if (catalogue_get(store_catalogue(s), id_of(name), &info) < 0)
		return NULL;
	return info.coll;
}

static void vec_of(unsigned n, float out[DIM])
{
	for (unsigned i = 0; i < DIM; i++)
		out[i] = (float)sin(n * 1.7 + i * 0.9 * (n % 7 + 1)) + 0.01f;
}

static int put(struct store *s, struct collection *c, const char *id,
	const float *vec, unsigned flags)
{
	struct change ch = {.type = OP_PUT, .coll = c, .id = id_of(id),
		.vec = vec, .dim = DIM, .source = OP_SOURCE_RAW,
		.body_len = DIM * 4, .flags = flags};

	return run(s, &ch);
}

static uint32_t find(struct store *s, struct collection *c, const char *id)
{
	struct moment *m = moment_get(store_moments(s));
	uint32_t no = generation_find(c->gen, id_of(id), m);

	moment_unref(store_moments(s), m);
	return no;
}

static const char *nearest(
	struct store *s, struct collection *c, const float *vec, bool exact)
{
	static _Thread_local char name[VG_ID_MAX + 1];
	struct search q = {.vec = vec, .dim = DIM, .k = 1, .exact = exact};
	struct search_hit hit;
	uint32_t n;

	if (sk_search(s, c, &q, &hit, &n) < 0 || n == 0)
		return "";
	snprintf(name, sizeof(name), "%.*s",
		(int)version_id(hit.version).len, version_id(hit.version).bytes);
	return name;
}

static void is_sound(struct store *s)
{
	const char *why = NULL;

	if (!ok(store_check(s, &why) == 0, "the store is sound"))
		diag("%s", why ? why : "?");
}

static void test_changes(struct store *s)
{
	struct collection *c = make(s, "c");
	float a[DIM], b[DIM], zero[DIM] = {0};
	struct change ch;

	vec_of(1, a);
	vec_of(2, b);
	ok(put(s, c, "a", a, 0) == 0, "a vector goes in");
	ok(collection_config(c).dim == DIM, "the first one sets the dimension");
	ok(put(s, c, "a", b, CHANGE_EXCL) == -EEXIST,
		"an exclusive put of an id that exists is refused");
	ok(put(s, c, "z", zero, 0) == -EINVAL,
		"cosine refuses a zero vector");
	ok(put(s, c, "b", b, CHANGE_EXCL) == 0, "a second one goes in");
	ok(!strcmp(nearest(s, c, a, false), "a") &&
			!strcmp(nearest(s, c, b, true), "b"),
		"each is its own nearest");
	ch = (struct change){.type = OP_SET, .coll = c, .id = id_of("a"),
		.meta_mode = CHANGE_META_MERGE, .meta = {"{\"y\":1}", 7}};
	ok(run(s, &ch) == 0, "metadata is set");
	ok(version_meta(generation_version(c->gen, find(s, c, "a"))).len == 7,
		"and read back");
	ch = (struct change){.type = OP_RENAME, .coll = c, .id = id_of("a"),
		.id2 = id_of("q")};
	ok(run(s, &ch) == 0 && find(s, c, "a") == VERSION_NONE,
		"a renamed record is gone from its old id");
	ok(!strcmp(nearest(s, c, a, false), "q"), "and found under its new");
	ok(version_meta(generation_version(c->gen, find(s, c, "q"))).len == 7,
		"with its metadata");
	ch = (struct change){.type = OP_DEL, .coll = c, .id = id_of("b")};
	ok(run(s, &ch) == 0 && run(s, &ch) == -ENOENT,
		"a record is deleted once");
	ok(!strcmp(nearest(s, c, b, false), "q"),
		"what was deleted is in no answer");
	ch = (struct change){.type = OP_DROP, .coll = c};
	ok(run(s, &ch) == -ENOTEMPTY,
		"a collection with vectors is not dropped");
	is_sound(s);
	collection_unref(c);
}

static void test_restart(struct store *s)
{
	struct collection *c = get(s, "c");
	float a[DIM];

	vec_of(1, a);
	ok(c && find(s, c, "q") != VERSION_NONE &&
			find(s, c, "b") == VERSION_NONE,
		"after a restart every record is as it was");
	ok(!memcmp(version_vec(generation_version(c->gen, find(s, c, "q"))), a,
		   sizeof(a)),
		"bit for bit");
	ok(atomic_load(&c->n_live) == 1, "and counted");
	is_sound(s);
	collection_unref(c);
}

#define WRITERS 8
#define PER_WRITER 200

struct writer {
	struct store *s;
	struct collection *c;
	unsigned no;
	int failed;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < PER_WRITER; i++) {
		char name[32];
		float v[DIM];

		snprintf(name, sizeof(name), "w%u-%u", w->no, i % 150);
		vec_of(w->no * PER_WRITER + i, v);
		w->failed += put(w->s, w->c, name, v, 0) < 0;
		w->failed += strcmp(nearest(w->s, w->c, v, false), "") == 0;
	}
	return NULL;
}

static void test_writers(struct store *s)
{
	struct collection *c = make(s, "many");
	pthread_t threads[WRITERS];
	struct writer w[WRITERS];
	int failed = 0;
	struct store_stat st;

	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){.s = s, .c = c, .no = i};
		must(pthread_create(&threads[i], NULL, writer_main, &w[i]) == 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(threads[i], NULL);
		failed += w[i].failed;
	}
	store_stat(s, &st);
	ok(failed == 0, "8 writers put and search without an error");
	ok(st.syncs < WRITERS * PER_WRITER,
		"they share syncs: %llu for %d puts",
		(unsigned long long)st.syncs, WRITERS * PER_WRITER);
	ok(atomic_load(&c->n_live) == WRITERS * 150,
		"each id counts once however often it was written");
	is_sound(s);
	collection_unref(c);
}

static void test_clear(struct store *s)
{
	struct collection *c = get(s, "many");
	struct change ch = {.type = OP_CLEAR, .coll = c};
	float v[DIM];

	vec_of(3, v);
	ok(run(s, &ch) == 0 && atomic_load(&c->n_live) == 0,
		"clear deletes all in one step");
	ok(!strcmp(nearest(s, c, v, false), "") &&
			!strcmp(nearest(s, c, v, true), ""),
		"and nothing is found any more");
	ch = (struct change){.type = OP_DROP, .coll = c};
	ok(run(s, &ch) == 0 && !get(s, "many"), "then it can be dropped");
	collection_unref(c);
}

int main(void)
{
	char dir[128];
	struct store *s;
	struct store_report rep;
	struct store *second;

	plan(27);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	s = open_store(dir);
	test_changes(s);
	ok(store_open(&(struct store_config){.dir = dir}, &rep, &second) ==
			-EBUSY,
		"a second owner is refused: %s", rep.error);
	store_close(s);
	s = open_store(dir);
	test_restart(s);
	test_writers(s);
	test_clear(s);
	store_close(s);
	return done();
}
