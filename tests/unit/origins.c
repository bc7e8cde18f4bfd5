/* SPDX-License-Identifier: Apache-2.0 */
/* origins: what was applied lately is known, also to the store after it. */
#include "src/origins.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/storekit.h"
#include "tests/tap.h"

static struct origins o, again;
static struct op_origin listed[ORIGINS_MAX];

static bool has(const struct origins *from, uint64_t request)
{
	struct op_origin key = {.session = 7, .request = request};
	int32_t result = 99;

	return origins_find(from, &key, &result) && result == -(int32_t)(request & 15);
}

static void add(uint64_t request)
{
	origins_add(&o, &(struct op_origin){
		7, request, -(int32_t)(request & 15)});
}

static void test_rings(void)
{
	uint32_t n;

	origins_add(&o, &(struct op_origin){.session = 0, .request = 1});
	ok(origins_list(&o, listed) == 0, "what nobody repeats is not kept");
	for (uint64_t i = 1; i <= ORIGINS_KEPT + 1; i++)
		add(i);
	ok(!has(&o, 1) && has(&o, 2) && has(&o, ORIGINS_KEPT + 1),
		"the last 4096 requests are known");
	ok(!origins_find(&o, &(struct op_origin){.session = 8, .request = 2},
		   &(int32_t){0}),
		"of their session only");
	for (uint64_t i = 0; i < ORIGINS_STREAM + 3; i++)
		add(ORIGIN_IS_ROW | i);
	ok(has(&o, 2) && has(&o, ORIGIN_IS_ROW | (ORIGINS_STREAM + 2)) &&
			!has(&o, ORIGIN_IS_ROW | 2),
		"rows of imports push out rows only");
	n = origins_list(&o, listed);
	for (uint32_t i = 0; i < n; i++)
		origins_add(&again, &listed[i]);
	ok(n == ORIGINS_MAX && listed[0].request == 2,
		"a list has all of them, oldest first");
	ok(!has(&again, 1) && has(&again, 2) &&
			has(&again, ORIGIN_IS_ROW | ORIGINS_STREAM),
		"and makes the same again");
	origins_clear(&o);
	ok(!has(&o, 2) && origins_list(&o, listed) == 0, "cleared is empty");
}

/* Repeats the removal of id, which a store has applied under this origin. */
static int repeat(struct store *s, struct collection *c, uint64_t request,
	bool is_repeat)
{
	struct change ch = {.type = OP_DEL,
		.coll = c,
		.id = {"a", 1},
		.is_repeat = is_repeat,
		.origin = {.session = 7, .request = request}};
	struct commit commit = {.changes = &ch, .n = 1};

	return store_commit_wait(s, &commit);
}

static void put(struct store *s, struct collection *c)
{
	float vec[2] = {1, 2};
	struct change ch = {.type = OP_PUT,
		.coll = c,
		.id = {"a", 1},
		.vec = vec,
		.dim = 2,
		.source = OP_SOURCE_RAW};
	struct commit commit = {.changes = &ch, .n = 1};

	must(store_commit_wait(s, &commit) == 0);
}

static struct store *reopen(struct store *s, const char *dir, uint64_t bytes)
{
	struct store_config cfg = {.dir = dir, .checkpoint_bytes = bytes};
	struct store_report rep;

	store_close(s);
	must(store_open(&cfg, &rep, &s) == 0);
	return s;
}

static struct collection *make(struct store *s)
{
	struct change ch = {.type = OP_CREATE,
		.name = {"c", 1},
		.attr = {.mode = 0755}};
	struct commit commit = {.changes = &ch, .n = 1};

	must(store_commit_wait(s, &commit) == 0);
	return catalogue_find_no(store_catalogue(s), 0);
}

static void test_store(const char *dir, uint64_t bytes, const char *how)
{
	struct store *s = reopen(NULL, dir, bytes);
	struct collection *c = make(s);

	put(s, c);
	ok(repeat(s, c, 1000, false) == 0, "%s: a record is removed", how);
	put(s, c);
	ok(repeat(s, c, 1000, true) == 0 && atomic_load(&c->n_live) == 1,
		"%s: a request that comes again is answered, not applied", how);
	collection_unref(c);
	s = reopen(s, dir, bytes);
	c = catalogue_find_no(store_catalogue(s), 0);
	ok(repeat(s, c, 1000, true) == 0, "%s: also by the next store", how);
	ok(repeat(s, c, 1002, true) == 0, "%s: a new one is applied", how);
	ok(repeat(s, c, 1002, false) == -ENOENT,
		"%s: who does not repeat is not looked up", how);
	collection_unref(c);
	store_close(s);
}

int main(void)
{
	char dir[300];

	plan(17);
	test_rings();
	snprintf(dir, sizeof(dir), "%s/log", scratch());
	test_store(dir, UINT64_MAX, "by the log");
	snprintf(dir, sizeof(dir), "%s/manifest", scratch());
	test_store(dir, 0, "by the manifest");
	return done();
}
