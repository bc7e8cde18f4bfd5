/* SPDX-License-Identifier: Apache-2.0 */
/* view: the files that nobody stored: names, modes, and what they say. */
#include "fs/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/config.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define DIM 4

static struct fs fs;

static const char *text_of(enum view view, struct collection *c, uint32_t uid)
{
	static char text[8192];
	char *bytes;
	size_t len;

	must(view_render(&fs, view, c, uid, &bytes, &len) == 0);
	snprintf(text, sizeof(text), "%.*s", (int)len, bytes);
	free(bytes);
	return text;
}

static bool says(enum view view, struct collection *c, const char *wanted)
{
	const char *text = text_of(view, c, 0);

	if (strcmp(text, wanted) == 0)
		return true;
	diag("%s says: %s", view_get(view)->name, text);
	return false;
}

static void test_table(void)
{
	unsigned lost = 0, orphans = 0, twice = 0, writable = 0;

	for (int v = VIEW_README; v < VIEWS; v++) {
		const struct view_info *info = view_get((enum view)v);

		if (v == VIEW_COLL)
			continue;
		lost += view_find(info->parent, info->name,
				strlen(info->name)) != (enum view)v;
		orphans += !S_ISDIR(view_get(info->parent)->mode);
		for (int w = v + 1; w < VIEWS; w++)
			twice += w != VIEW_COLL &&
				 view_get((enum view)w)->parent ==
					 info->parent &&
				 strcmp(view_get((enum view)w)->name,
					 info->name) == 0;
		writable += (info->mode & 0222) && !S_ISDIR(info->mode) &&
			    info->parent == VIEW_STATS;
	}
	ok(lost == 0, "each name is found in its directory");
	ok(orphans == 0, "which is a directory");
	ok(twice == 0, "and no name stands for two");
	ok(writable == 0, "no figure can be written");
	ok(view_find(VIEW_COLL, ".nosuch", 7) == VIEW_NONE &&
			view_find(VIEW_COLL, ".confi", 6) == VIEW_NONE &&
			view_find(VIEW_ROOT, ".config", 7) == VIEW_NONE &&
			view_find(VIEW_CONFIG, "", 0) == VIEW_NONE,
		"other names are not");
}

static void test_kinds(void)
{
	ok(view_is_text(VIEW_README) && view_is_text(VIEW_HEALTH) &&
			view_is_text(VIEW_STATS_COUNT) &&
			view_is_text(VIEW_CONFIG_DIM),
		"what is read is text");
	ok(!view_is_text(VIEW_CONFIG) && !view_is_text(VIEW_EXPORT_NPY) &&
			!view_is_text(VIEW_IMPORT_NPY) &&
			!view_is_text(VIEW_DELETE_WHERE),
		"a directory, an export and what is only written are not");
	ok(view_form(VIEW_AS_RAW) == RECORD_RAW &&
			view_form(VIEW_AS_NPY) == RECORD_NPY &&
			view_form(VIEW_AS_JSON) == RECORD_JSON &&
			view_form(VIEW_AS_TXT) == RECORD_TEXT &&
			view_form(VIEW_COLL) == RECORD_ANY,
		"each directory below .as has its form");
}

static void test_config(struct collection *c)
{
	ok(says(VIEW_CONFIG_DIM + CONFIG_DIM, c, ""),
		"dim is empty while it is not known");
	ok(says(VIEW_CONFIG_DIM + CONFIG_METRIC, c, "cosine\n"),
		"a setting is one line");
	must(sk_put(fs.store, c, (struct sk_put){"a", 1, DIM, 0}) == 0);
	ok(says(VIEW_CONFIG_DIM + CONFIG_DIM, c, "4\n"),
		"dim, once a vector is in");
	ok(says(VIEW_CONFIG_DIM + CONFIG_DIM_SOURCE, c, "raw, 16 bytes\n"),
		"and from what it is known");
}

static void test_stats(struct collection *c)
{
	must(sk_put(fs.store, c, (struct sk_put){"b", 2, DIM, 0}) == 0);
	must(sk_put(fs.store, c, (struct sk_put){"b", 3, DIM, 0}) == 0);
	must(sk_meta(fs.store, c, "a", CHANGE_META_REPLACE, "{\"k\":1}") == 0);
	sk_wait_linked(fs.store);
	ok(says(VIEW_STATS_COUNT, c, "2\n"), "records are counted");
	ok(says(VIEW_STATS_DELETED, c, "1\n"), "and rows of none");
	ok(says(VIEW_STATS_DEAD_RATIO, c, "0.333\n"), "as a part, too");
	ok(says(VIEW_STATS_BYTES, c, "39\n"), "bytes of vectors and metadata");
	ok(says(VIEW_STATS_INDEXING, c, "0\n"), "nothing is to be linked");
	ok(says(VIEW_STATS_SEARCHES, c, "0\n"), "nobody searched");
	sk_nearest(fs.store, c, 1, DIM, false);
	ok(says(VIEW_STATS_SEARCHES, c, "1\n"), "now somebody did");
}

static void test_errors(struct collection *c)
{
	struct store_error e = {.time_ns = 1500000000123000000, .pid = 42,
		.uid = 1000, .rc = -EINVAL};
	char first[64];

	ok(says(VIEW_ERRORS, NULL, ""), "no errors at first");
	snprintf(e.path, sizeof(e.path), "c/odd \"name\"\n");
	snprintf(e.why, sizeof(e.why), "it is wrong");
	store_error_add(fs.store, c, &e);
	ok(says(VIEW_ERRORS, NULL,
		   "{\"time\":1500000000.123,\"pid\":42,\"uid\":1000,"
		   "\"path\":\"c/odd \\\"name\\\"\\n\",\"errno\":\"EINVAL\","
		   "\"error\":\"it is wrong\"}\n"),
		"an error is one line of JSON, whatever the name");
	ok(*text_of(VIEW_ERRORS, NULL, 1000) == '{', "its user sees it");
	ok(*text_of(VIEW_ERRORS, NULL, 1001) == '\0', "another does not");
	ok(strstr(text_of(VIEW_STATS_LAST_ERROR, c, 0), "it is wrong") != NULL,
		"the collection has it as its last");
	for (unsigned i = 0; i < 1200; i++) {
		e.pid = i;
		store_error_add(fs.store, NULL, &e);
	}
	snprintf(first, sizeof(first), "%.60s", text_of(VIEW_ERRORS, NULL, 0));
	ok(strstr(first, "\"pid\":200,") != NULL,
		"of 1,200 the last 1,000 are kept, the oldest first");
}

static void test_texts(struct collection *c)
{
	char *bytes;
	size_t len;

	ok(says(VIEW_HEALTH, NULL, "ok\n"), "a store that goes on is ok");
	ok(strstr(text_of(VIEW_HELP, c, 0), "query/") != NULL,
		"a collection explains how to ask");
	ok(strstr(text_of(VIEW_README, NULL, 0), "mkdir") != NULL,
		"the root how to begin");
	must(view_version(&bytes, &len) == 0);
	ok(strncmp(bytes, "vecgridfs ", 10) == 0 && strstr(bytes, "kernels"),
		"the version names its kernels");
	ok(says(VIEW_VERSION, NULL, bytes), "in the tree as well");
	free(bytes);
}

int main(void)
{
	struct collection *c;
	char dir[160];

	plan(30);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	fs.store = sk_open(dir, NULL);
	c = sk_make(fs.store, "c");
	test_table();
	test_kinds();
	test_config(c);
	test_stats(c);
	test_errors(c);
	test_texts(c);
	collection_unref(c);
	store_close(fs.store);
	return done();
}
