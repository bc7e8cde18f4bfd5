/* SPDX-License-Identifier: Apache-2.0 */
/* format_store.c: makes a checkpointed data directory and prints its records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/match.h"
#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define IDS 700
#define DIM 5
#define TEN "0123456789"
#define LONG TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

/* Records of c in the order of their versions, as manifest_reader.py says. */
static void print_records(struct store *s, struct collection *c)
{
	struct look look;
	char name[CATALOGUE_NAME_CAP];

	must(catalogue_name(store_catalogue(s), c, name) == 0);
	look_init(&look, c, store_moments(s));
	for (uint32_t no = generation_next(look.gen, 0, look.moment);
		no != VERSION_NONE;
		no = generation_next(look.gen, no + 1, look.moment)) {
		const struct version *v = generation_version(look.gen, no);
		const uint8_t *vec = (const uint8_t *)version_vec(v);
		struct meta meta = version_meta(v);
		struct vg_id id = version_id(v);

		printf("{\"in\": \"%s\", \"id\": \"%.*s\", \"vec\": \"", name,
			(int)id.len, id.bytes);
		for (size_t i = 0; i < v->cell->dim * sizeof(float); i++)
			printf("%02x", vec[i]);
		printf("\", \"meta\": \"");
		for (uint32_t i = 0; i < meta.len; i++)
			printf(strchr("\"\\", meta.json[i]) ? "\\%c" : "%c",
				meta.json[i]);
		printf("\"}\n");
	}
	look_fini(&look);
}

/* Those of c's snapshots, the oldest first. */
static void print_snaps(struct store *s, struct collection *c)
{
	struct collection *snap;

	for (uint32_t i = 0; (snap = collection_get_snap(c, i)); i++) {
		print_records(s, snap);
		collection_unref(snap);
	}
}

/* Filters index these fields of a generation, and how many of its versions have
 * each is printed, as manifest_reader.py says. */
static void index_fields(struct store *s, struct collection *c)
{
	static const char *const fields[] = {"n", "s", "deep.in", "list",
		"yes", "none", "nil", "no.no"};
	struct look look;

	look_init(&look, c, store_moments(s));
	for (size_t i = 0; i < VG_ARRAY_LEN(fields); i++) {
		struct filter_why why;
		struct filter *f;
		struct match *m;
		char text[32];

		snprintf(text, sizeof(text), "%s.exists=1", fields[i]);
		must(filter_parse_where(text, (uint32_t)strlen(text), &why,
			     &f) == 0);
		must(match_new(&look, f, &m) == 0);
		printf("{\"generation\": %u, \"field\": \"%s\", \"has\": "
		       "%u}\n",
			look.gen->no, fields[i], match_size(m));
		match_free(m);
		filter_free(f);
	}
	look_fini(&look);
}

/* Metadata of each kind of value that an index tells apart. */
static void put_meta(struct store *s, struct collection *c, const char *id,
	unsigned i)
{
	static const char *const kinds[] = {
		"\"s\":\"it is \\u00e9\",\"yes\":true",
		"\"s\":\"" LONG "\",\"yes\":false",
		"\"s\":\"" LONG "!\",\"list\":[1,\"1\",true,1.50]",
		"\"deep\":{\"in\":-12.5e3},\"nil\":null",
		"\"deep\":{\"in\":1e-300},\"s\":\"\"",
		"\"s\":12345678901234567890,\"deep\":{\"in\":0}",
	};
	char meta[400];

	snprintf(meta, sizeof(meta), "{\"n\":%u%s,%s}", i,
		i % 5 ? "" : ".25", kinds[i % VG_ARRAY_LEN(kinds)]);
	must(sk_meta(s, c, id, CHANGE_META_MERGE, meta) == 0);
}

/* The first two generations are only snapshots' in the end. */
static void fill(struct store *s, struct collection *c)
{
	char id[300];

	must(sk_snap(s, c, "empty") == 0);
	for (unsigned i = 0; i < 3 * IDS; i++) {
		unsigned n = i * 7919u % IDS;

		snprintf(id, sizeof(id), "%u%.*s", n, (int)(n % 200),
			"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
		if (n % 3)
			put_meta(s, c, id, i);
		if (n % 11 == 0)
			must(sk_del(s, c, id) == 0);
		if (i == IDS)
			must(sk_config(s, c, "target_recall", ".95") == 0);
		if (i == IDS)
			must(store_checkpoint(s, true) == 0);
		if (i == IDS / 2 || i == IDS + IDS / 3)
			must(sk_snap(s, c, i < IDS ? "half" : "a third more") ==
				0);
		if (i == 2 * IDS)
			must(store_compact(s, c) == 0);
		if (i == 2 * IDS + IDS / 2)
			must(sk_snap(s, c, "present") == 0);
	}
}

int main(int argc, char **argv)
{
	const struct store_config cfg = {
		.durability = STORE_FSYNC, .no_compaction = true};
	struct collection *c, *half;
	struct store *s;

	must(argc == 2);
	s = sk_open(argv[1], &cfg);
	c = sk_make(s, "docs");
	collection_unref(sk_make(s, "none"));
	must(sk_run(s, &(struct change){.type = OP_ALIAS,
				.name = sk_id("link"),
				.target = sk_id("docs")}) == 0);
	fill(s, c);
	print_records(s, c);
	print_snaps(s, c);
	printf("{\"link\": \"link\", \"to\": \"docs\"}\n");
	index_fields(s, c);
	half = collection_find_snap(c, sk_id("half"));
	must(half);
	index_fields(s, half);
	collection_unref(half);
	collection_unref(c);
	store_close(s);
	return 0;
}
