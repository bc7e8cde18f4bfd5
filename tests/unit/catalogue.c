/* SPDX-License-Identifier: Apache-2.0 */
/* catalogue: names of collections and links, made, moved, replaced, dropped. */
#include "src/catalogue.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4

static struct store *s;
static char why[192];

static int run(struct change ch)
{
	int rc = sk_run(s, &ch);

	memcpy(why, ch.why, sizeof(why));
	return rc;
}

static int make(const char *name)
{
	return run((struct change){.type = OP_CREATE, .name = sk_id(name),
		.attr = {.mode = 0750, .uid = 5, .gid = 6}});
}

static int move(struct collection *c, const char *name, unsigned flags)
{
	return run((struct change){.type = OP_MOVE, .coll = c,
		.name = sk_id(name), .flags = flags});
}

static int drop(struct collection *c)
{
	return run((struct change){.type = OP_DROP, .coll = c});
}

static int link_to(const char *name, const char *target, unsigned flags)
{
	return run((struct change){.type = OP_ALIAS, .name = sk_id(name),
		.target = sk_id(target), .flags = flags});
}

static int unlink_of(const char *name)
{
	return run((struct change){.type = OP_UNALIAS, .name = sk_id(name)});
}

static const char *target_of(const char *name)
{
	static struct entry_info info;

	if (catalogue_get(store_catalogue(s), sk_id(name), &info) < 0)
		return "?";
	if (info.coll) {
		collection_unref(info.coll);
		return "/";
	}
	info.target[info.target_len] = '\0';
	return info.target;
}

/* All names in the order of a listing, "a b c ". */
static const char *list(void)
{
	static char text[20000];
	struct entry_info info;
	size_t len = 0;

	text[0] = '\0';
	for (uint64_t from = 0;
		catalogue_next(store_catalogue(s), from, &info) == 0;
		from = info.cursor + 1) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ",
			info.name);
		collection_unref(info.coll);
	}
	return text;
}

static void test_collections(void)
{
	struct collection *a, *b, *again;
	char name[CATALOGUE_NAME_CAP];

	ok(make("a") == 0 && make("b") == 0, "collections are made");
	ok(make("a") == -EEXIST && why[0], "a name is given once: %s", why);
	a = sk_get(s, "a");
	b = sk_get(s, "b");
	ok(a && b && a != b && memcmp(a->uuid, b->uuid, 16) != 0,
		"each has a uuid of its own");
	ok(collection_attr(a).mode == 0750 && collection_attr(a).uid == 5 &&
			collection_attr(a).gid == 6,
		"and the mode and owner that it was made with");
	ok(strcmp(list(), "a b ") == 0 &&
			catalogue_count(store_catalogue(s)) == 2,
		"a listing has them in order of creation");
	ok(catalogue_name(store_catalogue(s), a, name) == 0 &&
			strcmp(name, "a") == 0,
		"a collection knows its name");
	again = catalogue_find_no(store_catalogue(s), a->no);
	ok(again == a, "it is found by its number");
	collection_unref(again);
	again = catalogue_find_uuid(store_catalogue(s), a->uuid);
	ok(again == a, "and by its uuid");
	collection_unref(again);
	ok(!catalogue_find_no(store_catalogue(s), 1000) &&
			!catalogue_find_uuid(store_catalogue(s),
				(const uint8_t[16]){1}),
		"others are not");
	ok(!sk_get(s, "A") && !sk_get(s, "aa") && !sk_get(s, "c"),
		"names are bytes");
	collection_unref(a);
	collection_unref(b);
}

static void test_move(void)
{
	struct collection *a = sk_get(s, "a"), *b = sk_get(s, "b"), *c;

	must(sk_put(s, a, (struct sk_put){"x", 1, DIM, 0}) == 0);
	ok(move(a, "c", 0) == 0 && strcmp(list(), "b c ") == 0,
		"a collection takes another name, behind the others");
	c = sk_get(s, "c");
	ok(c == a && sk_find(s, c, "x") != VERSION_NONE,
		"it is the same one, with its records");
	collection_unref(c);
	ok(move(a, "c", 0) == 0 && move(a, "c", CHANGE_NOREPLACE) == -EEXIST,
		"to its own name it moves in vain, or not with NOREPLACE");
	ok(move(a, "b", CHANGE_NOREPLACE) == -EEXIST && !b->is_dropped,
		"NOREPLACE keeps who has the name: %s", why);
	ok(move(a, "b", 0) == 0 && strcmp(list(), "b ") == 0,
		"an empty collection gives way");
	ok(atomic_load(&b->is_dropped) && drop(b) == -ENOENT &&
			sk_put(s, b, (struct sk_put){"x", 1, DIM, 0}) ==
				-ENOENT,
		"and is gone, for who still has it, too");
	must(make("d") == 0);
	collection_unref(b);
	b = sk_get(s, "d");
	ok(move(b, "b", 0) == -ENOTEMPTY && why[0],
		"one with records does not: %s", why);
	ok(move(b, "e", 0) == 0 && drop(b) == 0 && !sk_get(s, "e"),
		"an empty one is dropped under its new name");
	ok(drop(a) == -ENOTEMPTY, "a filled one is not: %s", why);
	collection_unref(a);
	collection_unref(b);
}

static void test_links(void)
{
	struct collection *b = sk_get(s, "b");
	char longest[4096];

	ok(link_to("l", "b", 0) == 0 && strcmp(target_of("l"), "b") == 0,
		"a link has its target");
	ok(link_to("l", "../else where", 0) == 0 &&
			strcmp(target_of("l"), "../else where") == 0,
		"which another takes the place of, whatever it is");
	ok(link_to("l", "b", CHANGE_NOREPLACE) == -EEXIST,
		"but not with NOREPLACE: %s", why);
	ok(link_to("b", "x", 0) == -EISDIR, "nor that of a collection: %s",
		why);
	ok(make("l") == -EEXIST && move(b, "l", 0) == -ENOTDIR,
		"a collection does not replace a link: %s", why);
	ok(strcmp(target_of("b"), "/") == 0, "all is as it was");
	ok(unlink_of("b") == -EISDIR && unlink_of("nil") == -ENOENT,
		"only links are unlinked");
	ok(unlink_of("l") == 0 && strcmp(target_of("l"), "?") == 0 &&
			unlink_of("l") == -ENOENT,
		"once");
	memset(longest, 't', VG_ID_MAX);
	longest[VG_ID_MAX] = '\0';
	ok(link_to("long", longest, 0) == 0 &&
			strcmp(target_of("long"), longest) == 0,
		"the longest target is kept");
	must(unlink_of("long") == 0);
	collection_unref(b);
}

static void test_root(void)
{
	struct catalogue *cat = store_catalogue(s);
	struct op_attr attr = {.mode = 0711, .uid = 1, .gid = 2};

	ok(run((struct change){.type = OP_ATTR, .attr = attr,
		   .flags = CHANGE_MODE | CHANGE_UID | CHANGE_GID |
			    CHANGE_TIME,
		   .time_ns = 77}) == 0 &&
			cat->has_attr && cat->attr.mode == 0711 &&
			cat->attr.gid == 2 && cat->mtime_ns == 77,
		"the root has mode, owner and time");
	attr.mode = 0700;
	ok(run((struct change){.type = OP_ATTR, .attr = attr,
		   .flags = CHANGE_MODE}) == 0 &&
			cat->attr.mode == 0700 && cat->attr.uid == 1 &&
			cat->mtime_ns == 77,
		"each for itself");
}

/* Hundreds of names, more than the first table of numbers and the buckets. */
static void test_many(void)
{
	unsigned wrong = 0, listed = 0;
	struct entry_info info;
	char name[16];

	for (unsigned i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "many%u", i);
		wrong += (i % 2 ? link_to(name, "x", 0) : make(name)) != 0;
	}
	ok(wrong == 0, "1,500 names are given");
	for (unsigned i = 0; i < 1500; i += 3) {
		struct collection *c;

		snprintf(name, sizeof(name), "many%u", i);
		c = sk_get(s, name);
		wrong += i % 2 ? unlink_of(name) != 0 : drop(c) != 0;
		collection_unref(c);
	}
	for (uint64_t from = 0;
		catalogue_next(store_catalogue(s), from, &info) == 0;
		from = info.cursor + 1) {
		unsigned i;

		collection_unref(info.coll);
		if (sscanf(info.name, "many%u", &i) != 1)
			continue;
		wrong += i % 3 == 0 || (info.coll != NULL) != (i % 2 == 0);
		listed++;
	}
	ok(wrong == 0 && listed == 1000, "each third goes, 1,000 are listed");
	ok(catalogue_count(store_catalogue(s)) == 1001, "and counted");
}

static void test_restart(const char *dir)
{
	struct catalogue *cat;
	struct collection *b;

	must(link_to("kept", "b", 0) == 0);
	store_close(s);
	s = sk_open(dir, NULL);
	cat = store_catalogue(s);
	b = sk_get(s, "b");
	ok(catalogue_count(cat) == 1002 && strncmp(list(), "b many1 ", 8) == 0,
		"after a restart all names are there, in their order");
	ok(b && sk_find(s, b, "x") != VERSION_NONE, "with their records");
	ok(strcmp(target_of("kept"), "b") == 0, "and targets");
	ok(cat->attr.mode == 0700 && cat->attr.uid == 1,
		"and the root's attributes");
	collection_unref(b);
	sk_is_sound(s);
}

/* ---- many at once ---- */

#define MAKERS 6
#define NAMES 40

struct maker {
	struct store *s;
	unsigned n_made[NAMES], n_dropped[NAMES];
	unsigned wrong;
};

/* Makes each name; what is there is dropped, by one as well. */
static void *maker_main(void *arg)
{
	struct maker *m = arg;
	char name[16];

	for (unsigned i = 0; i < 2 * NAMES; i++) {
		struct change ch = {.type = OP_CREATE, .attr = {.mode = 0700}};
		int rc;

		snprintf(name, sizeof(name), "n%u", i % NAMES);
		ch.name = sk_id(name);
		rc = sk_run(m->s, &ch);
		m->n_made[i % NAMES] += rc == 0;
		m->wrong += rc < 0 && rc != -EEXIST;
		if (i >= NAMES)
			continue;
		ch = (struct change){
			.type = OP_DROP, .coll = sk_get(m->s, name)};
		if (!ch.coll)
			continue;
		rc = sk_run(m->s, &ch);
		m->n_dropped[i] += rc == 0;
		m->wrong += rc < 0 && rc != -ENOENT;
		collection_unref(ch.coll);
	}
	return NULL;
}

static void test_makers(const char *dir)
{
	const struct store_config cfg = {.durability = STORE_FSYNC};
	static struct maker m[MAKERS];
	struct store *t = sk_open(dir, &cfg);
	pthread_t thread[MAKERS];
	unsigned wrong = 0, differs = 0;

	for (unsigned i = 0; i < MAKERS; i++) {
		m[i].s = t;
		must(pthread_create(&thread[i], NULL, maker_main, &m[i]) == 0);
	}
	for (unsigned i = 0; i < MAKERS; i++) {
		pthread_join(thread[i], NULL);
		wrong += m[i].wrong;
	}
	for (unsigned n = 0; n < NAMES; n++) {
		unsigned made = 0, dropped = 0;

		for (unsigned i = 0; i < MAKERS; i++) {
			made += m[i].n_made[n];
			dropped += m[i].n_dropped[n];
		}
		differs += made != dropped + 1;
	}
	ok(wrong == 0, "of threads that make one name one does, of those that "
		       "drop it, too");
	ok(differs == 0, "each name was made once more than it was dropped");
	ok(catalogue_count(store_catalogue(t)) == NAMES, "and is there once");
	sk_is_sound(t);
	store_close(t);
	t = sk_open(dir, &cfg);
	ok(catalogue_count(store_catalogue(t)) == NAMES, "also after a restart");
	store_close(t);
}

int main(void)
{
	char dir[160];

	plan(38 + 5);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	s = sk_open(dir, &(struct store_config){.durability = STORE_FSYNC});
	test_collections();
	test_move();
	test_links();
	test_root();
	test_many();
	test_restart(dir);
	store_close(s);
	test_makers(scratch_path("makers"));
	return done();
}
