/* SPDX-License-Identifier: Apache-2.0 */
/* format_store.c: makes a checkpointed data directory and prints its records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

#define IDS 700
#define DIM 5

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
			printf(meta.json[i] == '"' ? "\\%c" : "%c",
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

/* The first two generations are only snapshots' in the end. */
static void fill(struct store *s, struct collection *c)
{
	char id[300], meta[40];

	must(sk_snap(s, c, "empty") == 0);
	for (unsigned i = 0; i < 3 * IDS; i++) {
		unsigned n = i * 7919u % IDS;

		snprintf(id, sizeof(id), "%u%.*s", n, (int)(n % 200),
			"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
		snprintf(meta, sizeof(meta), "{\"n\":%u}", i);
		must(sk_put(s, c, (struct sk_put){id, i, DIM, 0}) == 0);
		if (n % 3)
			must(sk_meta(s, c, id, CHANGE_META_MERGE, meta) == 0);
		if (n % 11 == 0)
			must(sk_del(s, c, id) == 0);
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
	struct collection *c;
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
	collection_unref(c);
	store_close(s);
	return 0;
}
