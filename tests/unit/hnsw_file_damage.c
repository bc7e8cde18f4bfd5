/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_file_damage.c: what is no saved graph is refused, or does no harm. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/graphkit.h"
#include "tests/tap.h"

/* ---- what is refused ---- */

static void test_config(void)
{
	struct hnsw_config other[] = {gk_plain, gk_plain, gk_plain, gk_plain};
	struct gk_ground g;
	struct hnsw *h = NULL;
	bool is_refused = true;

	gk_ground_init(&g, &gk_plain, 128);
	gk_put_range(&g, g.h, 0, 100);
	gk_save(g.h, &g.base);
	other[0].metric = VG_IP;
	other[1].m++;
	other[2].ef_construction++;
	other[3].seed++;
	for (size_t i = 0; i < VG_ARRAY_LEN(other); i++) {
		g.config = other[i];
		is_refused = is_refused && !gk_load(&g, &g.base) &&
			     strstr(g.why, "other settings");
	}
	g.config = gk_plain;
	g.config.dim = 3;
	g.data.rows.stride = 3 * sizeof(float);
	is_refused = is_refused && !gk_load(&g, &g.base);
	g.data.rows.stride = gk_plain.dim * sizeof(float);
	ok(is_refused, "a graph of other settings is refused");
	g.config = gk_plain;
	g.config.m = 1;
	g.base.at = 0;
	ok(hnsw_load_base(&g.config, &g.data.rows, 100, gk_source(&g.base),
		   &g.why, &h) == -EINVAL,
		"settings out of range are refused");
	g.config = gk_plain;
	g.base.at = 0;
	ok(hnsw_load_base(&g.config, &g.data.rows, 99, gk_source(&g.base),
		   &g.why, &h) == -VG_ECORRUPT &&
			strstr(g.why, "rows that are not there"),
		"a graph of more rows than there are is refused");
	g.base.bytes[8] = 1;
	ok(!gk_load(&g, &g.base) && strstr(g.why, "version"),
		"so is one of another version");
	g.base.bytes[8] = 2;
	g.base.bytes[56] = 1; /* of words 0 and 1 */
	ok(!gk_load(&g, &g.base) && strstr(g.why, "no order"),
		"one that names slots twice");
	g.base.bytes[60] = 0;
	ok(!gk_load(&g, &g.base) && strstr(g.why, "no order"), "or out of order");
	gk_ground_fini(&g);
}

/* Saves what was damaged by hand; whether it is refused for that. */
static bool is_refused(struct gk_ground *g, const char *why)
{
	struct hnsw *h;

	gk_save(g->h, &g->base);
	h = gk_load(g, &g->base);
	if (!h && strncmp(g->why, why, strlen(why)) == 0)
		return true;
	diag("want %s, got %s", why, h ? "a graph" : g->why);
	hnsw_free(h);
	return false;
}

static bool refuses_link(struct gk_ground *g, hnsw_link *link, uint32_t value,
	const char *why)
{
	uint32_t was = *link;
	bool refused;

	*link = value;
	refused = is_refused(g, why);
	*link = was;
	return refused;
}

static uint32_t slot_on(const struct gk_ground *g, uint32_t level)
{
	uint32_t slot = 0;

	while (hnsw_level(g->h, slot) != level)
		slot++;
	must(slot < g->data.n);
	return slot;
}

static void test_damage(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	hnsw_link *links, *upper;
	uint32_t up, was[16];

	config.metric = VG_COSINE;
	gk_ground_init(&g, &config, 500);
	gk_put_range(&g, g.h, 0, 498); /* 498 is never linked */
	gk_put_range(&g, g.h, 499, 500);
	links = hnsw_links(g.h, 3, 0);
	up = slot_on(&g, 1);
	upper = hnsw_links(g.h, up, 1);
	ok(refuses_link(&g, &links[1], 3, "I1") &&
			refuses_link(&g, upper, up, "I1"),
		"a link to itself is refused");
	ok(refuses_link(&g, &links[0], LINK_END, "I1") &&
			refuses_link(&g, &upper[0], LINK_END, "I1"),
		"so is a hole in a list");
	ok(refuses_link(&g, &links[1], 498, "I2") &&
			refuses_link(&g, upper, 498, "I2"),
		"a link to a slot that is not linked");
	ok(refuses_link(&g, &links[1], 500, "I2") &&
			refuses_link(&g, &links[1], LINK_END - 1, "I2") &&
			refuses_link(&g, upper, LINK_SLOT - 1, "I2"),
		"a link to nowhere");
	ok(refuses_link(&g, upper, slot_on(&g, 0), "I2"),
		"an upper link to a lower node");
	ok(refuses_link(&g, upper, upper[0] | LINK_TREE, "I4"),
		"an upper link with a mark");
	memcpy(was, (void *)links, sizeof(was));
	for (int i = 0; i < 16 && links[i] != LINK_END; i++)
		links[i] |= LINK_TREE;
	ok(is_refused(&g, "I4"), "too many marks");
	memcpy((void *)links, was, sizeof(was));
	float term = *hnsw_term(g.h, 7);

	*hnsw_term(g.h, 7) = -term;
	ok(is_refused(&g, "I6"), "a term below 0");
	*hnsw_term(g.h, 7) = NAN;
	ok(is_refused(&g, "I6"), "a term that is no number");
	*hnsw_term(g.h, 7) = term;
	uint64_t entry = g.h->entry;

	g.h->entry = slot_on(&g, 0);
	ok(is_refused(&g, "I3"), "an entry below other nodes");
	g.h->entry = entry + (1ull << 32);
	ok(is_refused(&g, "I3"), "one above itself");
	g.h->entry = 498;
	ok(is_refused(&g, "I3"), "one that is not linked");
	g.h->entry = ENTRY_NONE;
	ok(is_refused(&g, "I3"), "none");
	g.h->entry = entry;
	g.h->linked++;
	ok(is_refused(&g, "I7"), "a wrong count");
	g.h->linked--;
	g.h->longest = 0x7f800000;
	ok(is_refused(&g, "the measures"), "a row of infinite length");
	g.h->longest = 0;
	struct hnsw *h;

	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	ok(gk_is_same(g.h, h, 500), "set right again, it is taken");
	hnsw_free(h);
	gk_ground_fini(&g);
}

static bool has_link(const hnsw_link *links, uint32_t n, uint32_t slot)
{
	for (uint32_t i = 0; i < n; i++)
		if (links[i] == slot)
			return true;
	return false;
}

/* Marks as many links of a node as it may have marks, and adds the links that
 * it lacks for that: what it was linked to depends on the rows. */
static void fill_marks(struct gk_ground *g, uint32_t slot, uint32_t n_slots)
{
	hnsw_link *links = hnsw_links(g->h, slot, 0);
	uint32_t n = 0, next = 0;

	for (; n < 2 * g->config.m && links[n] != LINK_END; n++)
		links[n] &= LINK_SLOT;
	for (; n < g->h->tree_max; n++) {
		while (next == slot || has_link(links, n, next))
			next++;
		must(next < n_slots);
		links[n] = next;
	}
	for (uint32_t i = 0; i < g->h->tree_max; i++)
		links[i] |= LINK_TREE;
}

/* Each node has all the marks that it may: no leaf has room for one more. */
static void test_full_tree(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct hnsw *h;
	const char *why = "";

	config.m = 4;
	gk_ground_init(&g, &config, 40);
	gk_put_range(&g, g.h, 0, 30);
	for (uint32_t i = 0; i < 30; i++)
		fill_marks(&g, i, 30);
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	must(h);
	gk_put_range(&g, h, 30, 40);
	ok(hnsw_count(h) == 40 && hnsw_check(h, &why) == -VG_ECORRUPT,
		"a put into marks that are no tree, and full, ends");
	hnsw_free(h);
	gk_ground_fini(&g);
}

/* ---- cuts and flips ---- */

/* Uses a graph, whatever it is: no walk may leave it. */
static void use(struct gk_ground *g, struct hnsw *h)
{
	struct hit hits[64];
	const char *why;
	uint32_t n;

	for (uint32_t i = 0; i < g->data.n; i++) {
		struct hnsw_query q = {.vec = g->data.vecs +
					      (size_t)i * g->config.dim,
			.k = 3,
			.ef = 10};

		must(hnsw_search(h, &q, g->scratch, hits, &n) == 0);
		for (uint32_t j = 0; j < n; j++)
			must(hnsw_is_linked(h, hits[j].slot));
		if (i % 2 == 0) {
			int rc = hnsw_put(h, i, g->scratch);

			must(rc == 0 || rc == -EEXIST);
		}
	}
	(void)hnsw_check(h, &why);
}

struct small {
	struct gk_ground g;
	struct stream delta;
};

/* A base of 8 nodes and a delta that changes them and adds 4, of 16 rows. */
static void small_init(struct small *s, enum vg_metric metric)
{
	struct hnsw_config config = gk_plain;

	config.dim = 2;
	config.m = 3;
	config.metric = metric;
	gk_ground_init(&s->g, &config, 16);
	s->delta = (struct stream){0};
	gk_put_range(&s->g, s->g.h, 2, 10);
	gk_save(s->g.h, &s->g.base);
	gk_put_range(&s->g, s->g.h, 10, 14);
	must(hnsw_save_delta(s->g.h, gk_sink(&s->delta)) == 0);
}

static void small_fini(struct small *s)
{
	free(s->delta.bytes);
	gk_ground_fini(&s->g);
}

static void test_cuts(void)
{
	struct small s;
	struct hnsw *h;
	size_t whole;
	int n = 0, n_refused = 0;

	small_init(&s, VG_L2);
	whole = s.g.base.len;
	for (s.g.base.len = 0; s.g.base.len < whole; s.g.base.len++) {
		n_refused += !gk_load(&s.g, &s.g.base);
		n++;
	}
	ok(n_refused == n, "each of %d beginnings of a base is refused", n);
	whole = s.delta.len;
	n = n_refused = 0;
	for (s.delta.len = 0; s.delta.len < whole; s.delta.len++) {
		h = gk_load(&s.g, &s.g.base);
		must(h);
		n_refused += !gk_load_delta(&s.g, h, &s.delta);
		hnsw_free(h);
		n++;
	}
	ok(n_refused == n, "each of %d beginnings of a delta is refused", n);
	small_fini(&s);
}

static void test_flips(enum vg_metric metric, const char *name)
{
	struct small s;
	int n_refused = 0, n_taken = 0;

	small_init(&s, metric);
	for (size_t i = 0; i < 8 * (s.g.base.len + s.delta.len); i++) {
		bool in_base = i / 8 < s.g.base.len;
		struct stream *t = in_base ? &s.g.base : &s.delta;
		uint8_t *byte = &t->bytes[i / 8 - (in_base ? 0 : s.g.base.len)];
		bool is_taken = true;
		struct hnsw *h;

		*byte ^= (uint8_t)(1u << i % 8);
		h = gk_load(&s.g, &s.g.base);
		if (h && !in_base)
			is_taken = gk_load_delta(&s.g, h, &s.delta);
		if (h && is_taken) {
			use(&s.g, h);
			n_taken++;
		} else {
			n_refused++;
		}
		hnsw_free(h);
		*byte ^= (uint8_t)(1u << i % 8);
	}
	ok(n_refused > n_taken,
		"%s: of all flipped bits %d are refused, %d do no harm", name,
		n_refused, n_taken);
	small_fini(&s);
}

/* Noise in all places: counts, words, links, the moment. */
static void test_noise(void)
{
	struct small s;
	long n = env_long("VG_NOISE", 20000), n_taken = 0;
	char was[4];

	small_init(&s, VG_COSINE);
	for (long i = 0; i < n; i++) {
		struct stream *t = rand() % 2 ? &s.g.base : &s.delta;
		size_t at = (size_t)rand() % (t->len - 3);
		uint32_t noise = rand() % 2 ? (uint32_t)rand() % 20 :
					      (uint32_t)rand() * 2;
		struct hnsw *h;

		memcpy(was, t->bytes + at, 4);
		memcpy(t->bytes + at, &noise, 4);
		h = gk_load(&s.g, &s.g.base);
		if (h && gk_load_delta(&s.g, h, &s.delta)) {
			use(&s.g, h);
			n_taken++;
		}
		hnsw_free(h);
		memcpy(t->bytes + at, was, 4);
	}
	ok(n_taken < n, "%ld words of noise: %ld taken, and harmless", n,
		n_taken);
	small_fini(&s);
}

int main(void)
{
	plan(6 + 16 + 1 + 2 + 2 + 1);
	srand((unsigned)seed());
	test_config();
	test_damage();
	test_full_tree();
	test_cuts();
	test_flips(VG_L2, "l2");
	test_flips(VG_COSINE, "cosine");
	test_noise();
	return done();
}
