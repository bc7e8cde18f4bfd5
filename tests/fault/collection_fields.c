/* SPDX-License-Identifier: Apache-2.0 */
/* collection_fields: no memory, while indexes are loaded, shared and saved. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/log.h"
#include "src/match.h"
#include "src/store_int.h"
#include "tests/logkit.h"
#include "tests/memkit.h"
#include "tests/storekit.h"
#include "tests/tap.h"

/* ---- lives ---- */

static struct sk_model model;

/* On a disk whose syncs cost nothing. */
static struct store *open_store(const char *dir)
{
	static struct kit_disk disk;
	struct store_config config = {.durability = STORE_FSYNC,
		.no_compaction = true,
		.has_grace = true,
		.no_uring = true,
		.indexers = 1,
		.io = &disk.io};

	kit_disk_init(&disk);
	disk.no_sync = true;
	return sk_open(dir, &config);
}

static void make_base(const char *dir)
{
	struct store *s = open_store(dir);
	struct collection *c = sk_make(s, "c");

	model.random = seed() * 2 + 1;
	for (unsigned i = 0; i < 300; i++)
		must(sk_step(&model, s, c));
	sk_index(s, c);
	collection_unref(c);
	store_close(s);
}

/* As sk_index has them. */
static struct filter *filters[60];

static void make_filters(void)
{
	for (unsigned i = 0; i < VG_ARRAY_LEN(filters); i++) {
		struct filter_why why;
		char text[32] = "y.gte=100";

		if (i > 0)
			snprintf(text, sizeof(text), "f%u.exists=1", i - 1);
		must(filter_parse_where(text, strlen(text), &why,
			     &filters[i]) == 0);
	}
}

/* Each is answered, or refused for memory. */
static bool ask(struct store *s, struct collection *c)
{
	bool is_right = true;
	struct look look;

	look_init(&look, c, store_moments(s));
	for (size_t i = 0; i < VG_ARRAY_LEN(filters); i++) {
		struct match *m = NULL;
		int rc = match_new(&look, filters[i], &m);

		is_right = is_right && (rc == 0 || rc == -ENOMEM);
		if (rc == 0)
			match_free(m);
	}
	look_fini(&look);
	return is_right;
}

static bool live(const char *dir, long at, bool ever)
{
	struct store *s = open_store(dir);
	struct collection *c = sk_get(s, "c");
	struct sk_model m = model;
	bool is_right;
	int rc;

	for (unsigned i = 0; i < 250; i++)
		must(sk_step(&m, s, c));
	mem_arm(at, ever);
	is_right = ask(s, c);
	rc = store_checkpoint(s, true);
	is_right = is_right && (rc == 0 || rc == -ENOMEM);
	rc = store_compact(s, c);
	is_right = is_right && (rc == 0 || rc == -ENOMEM);
	is_right = ask(s, c) && is_right;
	mem_disarm();
	is_right = is_right && sk_is_filtered(s, c) && sk_is_model(&m, s, c);
	must(store_checkpoint(s, true) == 0);
	collection_unref(c);
	store_close(s);

	s = open_store(dir);
	c = sk_get(s, "c");
	is_right = is_right && sk_is_filtered(s, c) && sk_is_model(&m, s, c);
	collection_unref(c);
	store_close(s);
	return is_right;
}

static void test_memory(const char *base, const char *dir, bool ever)
{
	long n = 0;
	bool is_right = true;

	do {
		n += ever ? 89 : 31; /* the next is much the same */
		sk_copy(base, dir);
		is_right = live(dir, n, ever);
		if (!is_right)
			diag("at allocation %ld", n);
	} while (mem_failed() > 0 && is_right && n < 20000);
	ok(is_right && n > 300, "allocations fail %s, one of %ld in turn",
		ever ? "from one on" : "once", n);
}

int main(void)
{
	char base[200], dir[200];

	plan(2);
	log_level_set((enum log_level)-1);
	snprintf(base, sizeof(base), "%s/base", scratch());
	snprintf(dir, sizeof(dir), "%s/dir", scratch());
	make_base(base);
	make_filters();
	test_memory(base, dir, false);
	test_memory(base, dir, true);
	for (size_t i = 0; i < VG_ARRAY_LEN(filters); i++)
		filter_free(filters[i]);
	return done();
}
