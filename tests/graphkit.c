/* SPDX-License-Identifier: Apache-2.0 */
/* graphkit.c: see graphkit.h. */
#include "tests/graphkit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

void gk_save(struct hnsw *h, struct stream *s)
{
	s->len = s->at = 0;
	must(hnsw_save_base(h, gk_sink(s)) == 0);
	must(hnsw_save_rest(h, gk_sink(s)) == 0);
}

const struct hnsw_config gk_plain = {.dim = 6,
	.metric = VG_L2,
	.m = 8,
	.ef_construction = 40,
	.seed = 11,
	.codes = HNSW_CODES_AUTO};

void gk_ground_init(struct gk_ground *g, const struct hnsw_config *config,
	uint32_t n)
{
	memset(g, 0, sizeof(*g));
	g->config = *config;
	data_init(&g->data, n, config->dim, false);
	for (size_t i = 0; i < (size_t)n * config->dim; i++)
		g->data.vecs[i] = (float)(rand() % 2001 - 1000) / 1000;
	must(hnsw_new(config, &g->data.rows, &g->h) == 0);
	must(hnsw_scratch_new(&g->scratch) == 0);
}

void gk_ground_fini(struct gk_ground *g)
{
	hnsw_free(g->h);
	hnsw_scratch_free(g->scratch);
	free(g->base.bytes);
	data_fini(&g->data);
}

void gk_put_range(struct gk_ground *g, struct hnsw *h, uint32_t from,
	uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		must(hnsw_put(h, i, g->scratch) == 0);
}

struct hnsw *gk_load(struct gk_ground *g, struct stream *s)
{
	struct hnsw *h = NULL;

	s->at = 0;
	g->why = "";
	if (hnsw_load_base(&g->config, &g->data.rows, g->data.n, gk_source(s),
		    &g->why, &h) < 0)
		return NULL;
	return h;
}

bool gk_load_delta(struct gk_ground *g, struct hnsw *h, struct stream *s)
{
	s->at = 0;
	g->why = "";
	return hnsw_load_delta(h, g->data.n, gk_source(s), &g->why) == 0 &&
	       s->at == s->len;
}

bool gk_is_valid(const struct hnsw *h)
{
	const char *why = "";

	if (h && hnsw_check(h, &why) == 0)
		return true;
	diag("not valid: %s", why);
	return false;
}

static bool is_same_node(const struct hnsw *a, const struct hnsw *b,
	uint32_t slot)
{
	if (hnsw_is_linked(a, slot) != hnsw_is_linked(b, slot))
		return false;
	if (!hnsw_is_linked(a, slot))
		return true;
	for (uint32_t l = 0; l <= hnsw_level(a, slot); l++)
		if (memcmp((void *)hnsw_links(a, slot, l),
			    (void *)hnsw_links(b, slot, l),
			    hnsw_list_cap(a, l) * sizeof(hnsw_link)) != 0)
			return false;
	if (a->code_len > 0 && hnsw_has_code(a, slot) != hnsw_has_code(b, slot))
		return false;
	if (a->code_len > 0 && hnsw_has_code(a, slot) &&
		memcmp(hnsw_code(a, slot), hnsw_code(b, slot), a->code_len) != 0)
		return false;
	if (hnsw_has_near(a) &&
		memcmp(hnsw_node(a, slot) + a->chosen_at,
			hnsw_node(b, slot) + b->chosen_at,
			a->record_len - a->chosen_at) != 0)
		return false;
	return a->config.metric != VG_COSINE ||
	       *hnsw_term(a, slot) == *hnsw_term(b, slot);
}

bool gk_is_same(const struct hnsw *a, const struct hnsw *b, uint32_t n)
{
	struct hnsw_stat x, y;

	if (!b)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!is_same_node(a, b, i)) {
			diag("node %u differs", i);
			return false;
		}
	hnsw_stat(a, &x);
	hnsw_stat(b, &y);
	return x.linked == y.linked && x.levels == y.levels &&
	       x.n_links == y.n_links && x.bytes == y.bytes &&
	       hnsw_count(a) == x.linked && a->entry == b->entry &&
	       a->longest == b->longest && a->is_wild == b->is_wild &&
	       a->quant_state == b->quant_state && x.coded == y.coded &&
	       a->quant.lo == b->quant.lo && a->quant.step == b->quant.step &&
	       a->quant.is_whole == b->quant.is_whole;
}

bool gk_is_alike(struct gk_ground *g, const struct hnsw *other)
{
	struct hit a[200], b[200];
	uint32_t n, m;

	for (uint32_t i = 0; i < g->data.n; i += 7) {
		struct hnsw_query q = {.vec = g->data.vecs +
					      (size_t)i * g->config.dim,
			.k = 5,
			.ef = 50};

		must(hnsw_search(g->h, &q, g->scratch, a, &n) == 0);
		must(hnsw_search(other, &q, g->scratch, b, &m) == 0);
		if (n != m || memcmp(a, b, n * sizeof(*a)) != 0)
			return false;
	}
	return true;
}
