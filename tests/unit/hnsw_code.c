/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_code: walks by codes answer as walks by rows do. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "index/flat.h"
#include "tests/graphkit.h"
#include "tests/tap.h"

/* ---- the scale ---- */

static float uniform(void)
{
	return (float)(rand() % 200001 - 100000) / 100000;
}

static bool codes_to(const struct quant *q, const float *vec, uint32_t dim,
	const char *want)
{
	uint8_t code[16];

	return quant_code(q, vec, 1, dim, code) && memcmp(code, want, dim) == 0;
}

static void test_quant(void)
{
	static const struct quant whole = {0, 1, true},
				  half = {-1, 0.5f, false};
	uint8_t code[4];

	ok(codes_to(&whole, (float[]){0, 1, 254, 255}, 4, "\x00\x01\xfe\xff"),
		"whole numbers are their codes");
	ok(codes_to(&half, (float[]){-1, -0.8f, -0.7f, 126.5f}, 4,
		   "\x00\x00\x01\xff"),
		"others go to the nearest step");
	ok(!quant_code(&whole, (float[]){0.5f}, 1, 1, code) &&
			!quant_code(&whole, (float[]){256}, 1, 1, code) &&
			!quant_code(&whole, (float[]){-1}, 1, 1, code),
		"among whole numbers others have no code");
	ok(!quant_code(&half, (float[]){-1.3f}, 1, 1, code) &&
			!quant_code(&half, (float[]){127}, 1, 1, code) &&
			!quant_code(&half, (float[]){FLT_MAX}, 1, 1, code) &&
			!quant_code(&half, (float[]){NAN}, 1, 1, code) &&
			!quant_code(&half, (float[]){INFINITY}, 1, 1, code),
		"what is out of range has none");
	ok(quant_code(&half, (float[]){3}, 0.5f, 1, code) && code[0] == 5,
		"elements are scaled before");
	ok(quant_is_valid(&whole) && quant_is_valid(&half) &&
			!quant_is_valid(&(struct quant){0, 0, false}) &&
			!quant_is_valid(&(struct quant){0, -1, false}) &&
			!quant_is_valid(&(struct quant){0, NAN, false}) &&
			!quant_is_valid(&(struct quant){INFINITY, 1, false}) &&
			!quant_is_valid(&(struct quant){1, 1, true}),
		"a scale is told from what is none");
}

#define SAMPLE 512u
#define SAMPLE_DIM 8u

/* What is chosen for a sample of such elements; NULL: nothing. */
static const struct quant *choose(float (*draw)(void), uint32_t n)
{
	static float rows[SAMPLE][SAMPLE_DIM];
	static struct quant q;
	const void *at[SAMPLE];
	float scale[SAMPLE];
	struct quant_sample sample = {
		.dtype = VG_F32,
		.rows = at, .scale = scale, .n = n, .dim = SAMPLE_DIM};

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 0; j < SAMPLE_DIM; j++)
			rows[i][j] = draw();
		at[i] = rows[i];
		scale[i] = 1;
	}
	return quant_choose(&sample, &q) ? &q : NULL;
}

static float draw_byte(void)
{
	return (float)(rand() % 256);
}

/* Most are as near to one another as a far one makes steps wide. */
static float draw_outlier(void)
{
	static uint32_t n;

	return ++n % 1000 == 0 ? 1e6f : uniform();
}

static float draw_same(void)
{
	return 0.25f;
}

static void test_choose(void)
{
	const struct quant *q = choose(draw_byte, SAMPLE);

	ok(q && q->is_whole, "bytes are coded as they are");
	q = choose(uniform, SAMPLE);
	ok(q && !q->is_whole && q->lo < -1 && q->lo + 255 * q->step > 1 &&
			q->step < 0.01f,
		"a range has some room at its ends");
	ok(!choose(draw_outlier, SAMPLE), "steps that are too wide are not taken");
	ok(!choose(draw_same, SAMPLE) && !choose(uniform, 1),
		"where all are equal, or one, nothing tells what is near");
}

/* ---- graphs ---- */

static void fill(struct gk_ground *g, uint32_t from, uint32_t to,
	float (*draw)(void))
{
	uint32_t dim = g->config.dim;

	for (size_t i = (size_t)from * dim; i < (size_t)to * dim; i++)
		g->data.vecs[i] = draw();
}

static struct hnsw_stat stat_of(const struct hnsw *h)
{
	struct hnsw_stat st;

	hnsw_stat(h, &st);
	return st;
}

/* Of the 10 nearest of n queries, the share that is found, all distances being
 * exact; -1: some is not. */
static double recall(struct gk_ground *g, uint32_t n_rows, const float *queries,
	uint32_t n)
{
	uint32_t right = 0;

	for (uint32_t i = 0; i < n; i++) {
		const float *vec = queries + (size_t)i * g->config.dim;
		struct hnsw_query q = {.vec = vec, .k = 10, .ef = 100};
		struct hit hits[128], want[10];
		struct dist_query exact;
		struct topk top;
		uint32_t n_hits;

		must(hnsw_search(g->h, &q, g->scratch, hits, &n_hits) == 0);
		dist_query_init(&exact, g->config.metric, g->config.dim, vec);
		topk_init(&top, want, 10, NULL, NULL);
		for (uint32_t slot = 0; slot < n_rows; slot++) {
			struct hit hit = {dist_query_exact(&exact,
						  hnsw_row(g->h, slot)),
				slot};

			if (topk_wants(&top, hit))
				topk_put(&top, hit);
		}
		topk_sort(&top);
		for (uint32_t j = 0; j < VG_MIN(n_hits, 10u); j++) {
			if (hits[j].dist != dist_query_exact(&exact,
						    hnsw_row(g->h,
							    hits[j].slot)))
				return -1;
			right += hits[j].dist <= want[9].dist;
		}
	}
	return right / (10.0 * n);
}

#define QUERIES 100u
#define ROWS 6000u

static void test_recall(void)
{
	static const struct {
		const char *name;
		enum vg_metric metric;
		float (*draw)(void);
		bool is_whole;
	} kinds[] = {
		{"whole numbers", VG_L2, draw_byte, true},
		{"numbers under l2", VG_L2, uniform, false},
		{"numbers under cosine", VG_COSINE, uniform, false},
		{"whole numbers under cosine", VG_COSINE, draw_byte, false},
	};

	for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++) {
		struct hnsw_config config = gk_plain;
		float *queries;
		struct hnsw_stat st;
		struct gk_ground g;
		double share;

		config.dim = 33; /* no multiple of anything */
		config.m = 16;
		config.ef_construction = 100;
		config.metric = kinds[i].metric;
		gk_ground_init(&g, &config, ROWS + QUERIES);
		fill(&g, 0, ROWS + QUERIES, kinds[i].draw);
		queries = g.data.vecs + (size_t)ROWS * config.dim;
		gk_put_range(&g, g.h, 0, HNSW_TRAIN - 1);
		st = stat_of(g.h);
		must(!st.has_quant && st.coded == 0);
		gk_put_range(&g, g.h, HNSW_TRAIN - 1, ROWS);
		st = stat_of(g.h);
		share = recall(&g, ROWS, queries, QUERIES);
		ok(st.has_quant && st.quant.is_whole == kinds[i].is_whole &&
				st.coded > ROWS * 9 / 10,
			"%s: %u of %u have codes", kinds[i].name, st.coded,
			ROWS);
		ok(share > .97, "%s: recall %.3f, all distances exact",
			kinds[i].name, share);
		ok(gk_is_valid(g.h), "%s: a valid graph", kinds[i].name);
		gk_ground_fini(&g);
	}
}

/* Rows and queries that no code stands for. */
static void test_out_of_range(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct hnsw_stat st;

	config.dim = 16;
	config.m = 16;
	gk_ground_init(&g, &config, 3000);
	fill(&g, 0, 3000, uniform);
	for (uint32_t i = 1500; i < 3000; i += 3)
		g.data.vecs[i * 16 + i % 16] *= 40;
	gk_put_range(&g, g.h, 0, 3000);
	st = stat_of(g.h);
	ok(st.has_quant && st.coded > 2400 && st.coded < 2900,
		"rows that are out of range have no code (%u of 3000 have)",
		st.coded);
	ok(recall(&g, 3000, g.data.vecs + 1500 * 16, 300) > .95,
		"they are found, and asked by, as others");
	ok(gk_is_valid(g.h), "in a valid graph");
	gk_ground_fini(&g);
}

/* Rows that come closer and closer, until steps do not tell them apart. */
static void test_left(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct hnsw_stat st;

	config.dim = 4;
	config.m = 16;
	gk_ground_init(&g, &config, 17000);
	fill(&g, 0, 17000, uniform);
	for (uint32_t i = 2000 * 4; i < 17000 * 4; i++)
		g.data.vecs[i] /= 200;
	gk_put_range(&g, g.h, 0, 2000);
	st = stat_of(g.h);
	must(st.has_quant && st.coded > 1900);
	gk_put_range(&g, g.h, 2000, 17000);
	st = stat_of(g.h);
	ok(!st.has_quant, "codes are left where rows come too close for them");
	ok(recall(&g, 17000, g.data.vecs + 16000 * 4, 200) > .95,
		"walks go by rows again");
	ok(gk_is_valid(g.h), "in a valid graph");
	must(hnsw_save_base(g.h, gk_sink(&g.base)) == 0);
	must(hnsw_save_rest(g.h, gk_sink(&g.base)) == 0);
	struct hnsw *h = gk_load(&g, &g.base);

	ok(gk_is_same(g.h, h, 17000), "which is known after a load");
	hnsw_free(h);
	gk_ground_fini(&g);
}

/* Equal rows, by the thousand, do not hide the others. */
/* Values grow: the first rows do not tell of the last. */
static void test_trained(void)
{
	struct gk_ground g;
	struct hnsw_coding by;
	struct hnsw *h;

	gk_ground_init(&g, &gk_plain, 4000);
	for (uint32_t i = 0; i < 4000 * gk_plain.dim; i++)
		g.data.vecs[i] = uniform() * (i / gk_plain.dim < 2000 ? 1 : 3);
	gk_put_range(&g, g.h, 0, 4000);
	hnsw_coding(g.h, &by);
	ok(by.is_chosen && by.coded >= 2000 && by.coded < 2400,
		"the first rows' codes stand for %u of 4,000", by.coded);
	must(hnsw_new(&gk_plain, &g.data.rows, &h) == 0);
	hnsw_train_on(h, HNSW_TRAIN - 1);
	hnsw_coding(h, &by);
	ok(!by.is_chosen, "too few rows choose nothing");
	hnsw_train_on(h, 4000);
	gk_put_range(&g, h, 0, 4000);
	hnsw_coding(h, &by);
	ok(by.is_chosen && by.coded > 3900 && gk_is_valid(h),
		"those that are chosen from all for %u", by.coded);
	hnsw_free(h);
	gk_ground_fini(&g);
}

static void test_equal(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	double share;

	config.dim = 24;
	config.m = 16;
	gk_ground_init(&g, &config, 6000);
	fill(&g, 0, 6000, uniform);
	for (uint32_t i = 0; i < 6000; i += 2)
		memcpy(g.data.vecs + i * 24, g.data.vecs + (i % 3 ? 0 : 24) + 24,
			24 * sizeof(float));
	gk_put_range(&g, g.h, 0, 6000);
	share = recall(&g, 6000, g.data.vecs + 2000 * 24, 200);
	ok(share > .95 && gk_is_valid(g.h),
		"beside thousands of equal rows others are found: %.3f", share);
	gk_ground_fini(&g);
}

/* ---- saved and loaded ---- */

/* Codes are chosen between a base and its delta, and within one. */
static void test_saved(void)
{
	for (uint32_t at = 900; at < 1100; at += 100) {
		struct stream delta = {0};
		struct gk_ground g;
		struct hnsw *h;

		gk_ground_init(&g, &gk_plain, 1300);
		gk_put_range(&g, g.h, 0, at);
		must(hnsw_save_base(g.h, gk_sink(&g.base)) == 0);
		gk_put_range(&g, g.h, at, at + 50);
		must(hnsw_save_rest(g.h, gk_sink(&g.base)) == 0);
		h = gk_load(&g, &g.base);
		ok(gk_is_same(g.h, h, 1300) && gk_is_valid(h),
			"a base of %u nodes is loaded with its codes", at + 50);
		gk_put_range(&g, g.h, at + 50, 1300);
		must(hnsw_save_delta(g.h, gk_sink(&delta)) == 0);
		ok(gk_load_delta(&g, h, &delta) && gk_is_same(g.h, h, 1300) &&
				gk_is_valid(h),
			"and a delta with those that came since");
		hnsw_free(h);
		free(delta.bytes);
		gk_ground_fini(&g);
	}
}

/* Whether what was damaged is refused for that. */
static bool refuses(struct gk_ground *g, const char *why)
{
	struct hnsw *h;

	gk_save(g->h, &g->base);
	h = gk_load(g, &g->base);
	if (!h && strcmp(g->why, why) == 0)
		return true;
	diag("want %s, got %s", why, h ? "a graph" : g->why);
	hnsw_free(h);
	return false;
}

static void test_damage(void)
{
	struct hnsw_config plain = gk_plain;
	struct stream delta = {0};
	struct quant was;
	struct gk_ground g;
	struct hnsw *h;
	const char *why;

	gk_ground_init(&g, &gk_plain, 1300);
	gk_put_range(&g, g.h, 0, 1200);
	must(g.h->quant_state == QUANT_ON);
	was = g.h->quant;
	g.h->quant.step = 0;
	ok(refuses(&g, "the scale of its codes is none"), "a step of 0");
	g.h->quant.step = NAN;
	ok(refuses(&g, "the scale of its codes is none"), "one that is no number");
	g.h->quant = was;
	g.h->quant_state = QUANT_NONE;
	g.h->quant = (struct quant){0};
	ok(refuses(&g, "its codes have no scale"), "codes without a scale");
	g.h->quant = was;
	g.h->quant_state = QUANT_ON;
	gk_save(g.h, &g.base);
	plain.codes = HNSW_CODES_NONE;
	g.config = plain;
	ok(!gk_load(&g, &g.base), "codes where none belong");
	g.config = gk_plain;
	h = gk_load(&g, &g.base);
	must(h);
	g.h->quant.lo += 1;
	gk_put_range(&g, g.h, 1200, 1300);
	must(hnsw_save_delta(g.h, gk_sink(&delta)) == 0);
	ok(!gk_load_delta(&g, h, &delta) &&
			strcmp(g.why, "the scale of its codes is none") == 0,
		"a delta of another scale");
	hnsw_free(h);
	g.h->quant = was;
	gk_save(g.h, &g.base);
	h = gk_load(&g, &g.base);
	must(h);
	atomic_fetch_and(hnsw_coded(g.h, 71), ~(1ull << 71 % 64));
	atomic_fetch_or(hnsw_dirty(g.h, 71), 1ull << 71 % 64);
	delta.len = delta.at = 0;
	must(hnsw_save_delta(g.h, gk_sink(&delta)) == 0);
	ok(!gk_load_delta(&g, h, &delta) &&
			strcmp(g.why, "a node has lost its code") == 0,
		"a node that has lost its code");
	hnsw_free(h);
	hnsw_code(g.h, 5)[2] ^= 1;
	ok(hnsw_check(g.h, &why) == -VG_ECORRUPT && strncmp(why, "I6", 2) == 0,
		"a check tells a code that is not its row's");
	free(delta.bytes);
	gk_ground_fini(&g);
}

/* ---- beside each other ---- */

struct crowd {
	struct gk_ground g;
	_Atomic uint32_t next;
	_Atomic uint32_t wrong;
	_Atomic bool is_over;
};

static void *put_rows(void *arg)
{
	struct crowd *c = arg;
	struct hnsw_scratch *s;
	uint32_t i;

	must(hnsw_scratch_new(&s) == 0);
	while ((i = atomic_fetch_add(&c->next, 1)) < c->g.data.n)
		must(hnsw_put(c->g.h, i, s) == 0);
	hnsw_scratch_free(s);
	return NULL;
}

/* A row that is linked is its own nearest, whatever is coded by then. */
static void *search_rows(void *arg)
{
	struct crowd *c = arg;
	struct hnsw_scratch *s;
	struct hit hits[64];
	uint32_t n;

	must(hnsw_scratch_new(&s) == 0);
	for (uint32_t i = 0; !atomic_load(&c->is_over);
		i = (i + 7) % c->g.data.n) {
		struct hnsw_query q = {
			.vec = hnsw_row(c->g.h, i), .k = 1, .ef = 50};
		bool was_linked = hnsw_is_linked(c->g.h, i);

		must(hnsw_search(c->g.h, &q, s, hits, &n) == 0);
		c->wrong += was_linked && (n == 0 || hits[0].dist != 0);
	}
	hnsw_scratch_free(s);
	return NULL;
}

static void test_beside(void)
{
	pthread_t thread[4];

	for (unsigned round = 0; round < 3; round++) {
		static struct crowd c;

		memset(&c, 0, sizeof(c));
		gk_ground_init(&c.g, &gk_plain, 4000);
		for (unsigned i = 0; i < 4; i++)
			must(pthread_create(&thread[i], NULL,
				     i < 2 ? put_rows : search_rows, &c) == 0);
		for (unsigned i = 0; i < 4; i++) {
			if (i == 2)
				atomic_store(&c.is_over, true);
			pthread_join(thread[i], NULL);
		}
		ok(c.wrong < 20 && gk_is_valid(c.g.h) &&
				stat_of(c.g.h).coded == 4000,
			"codes are chosen beside puts and searches: %u not "
			"found",
			c.wrong);
		gk_ground_fini(&c.g);
	}
}

/* What is compared at the end: what it was told of, and what it does not have. */
struct disk {
	uint32_t lost; /* each slot that it divides; 0: none */
	uint32_t n_calls, n_slots, slots[200];
	bool by_row;
};

static uint32_t fetch(void *ctx, struct hit *hits, uint32_t n, bool by_row)
{
	struct disk *d = ctx;
	uint32_t kept = 0;

	must(d->n_slots + n <= VG_ARRAY_LEN(d->slots));
	d->n_calls++;
	d->by_row = by_row;
	for (uint32_t i = 0; i < n; i++) {
		d->slots[d->n_slots++] = hits[i].slot;
		if (!d->lost || hits[i].slot % d->lost)
			hits[kept++] = hits[i];
	}
	return kept;
}

static bool is_had(void *ctx, uint32_t slot)
{
	const struct disk *d = ctx;

	return !d->lost || slot % d->lost;
}

static bool is_told(const struct disk *d, uint32_t slot)
{
	for (uint32_t i = 0; i < d->n_slots; i++)
		if (d->slots[i] == slot)
			return true;
	return false;
}

struct fetched {
	uint32_t untold, many, lost, wrong, by_row;
};

/* 100 queries near rows; of `lost` rows each as a walk that hides them. */
static struct fetched ask(struct gk_ground *g, uint32_t lost)
{
	struct hit hits[64], want[64];
	struct disk disk = {.lost = lost};
	struct hnsw_query q = {.k = 10, .ef = 60, .fetch = fetch, .ctx = &disk},
			  hide = {.k = 10, .ef = 60, .is_visible = is_had,
				  .ctx = &disk, .hidden = 1.f};
	struct fetched f = {0};

	for (uint32_t i = 0; i < 100; i++) {
		uint32_t n, n_want;

		q.vec = hide.vec = g->data.vecs + (size_t)i * g->data.dim;
		disk.n_calls = disk.n_slots = 0;
		must(hnsw_search(g->h, &q, g->scratch, hits, &n) == 0);
		must(hnsw_search(g->h, &hide, g->scratch, want, &n_want) == 0);
		f.many += disk.n_calls > 1;
		f.by_row += disk.by_row;
		for (uint32_t j = 0; j < n; j++) {
			f.untold += !is_told(&disk, hits[j].slot);
			f.lost += lost && hits[j].slot % lost == 0;
		}
		for (uint32_t j = 0; j < 10; j++)
			f.wrong += n < 10 || n_want < 10 ||
				   hits[j].dist > want[j].dist;
	}
	return f;
}

static void test_fetched(void)
{
	struct hnsw_config config = gk_plain;
	struct gk_ground g;
	struct fetched f;

	gk_ground_init(&g, &config, 3000);
	fill(&g, 0, 3000, uniform);
	gk_put_range(&g, g.h, 0, 3000);
	must(stat_of(g.h).coded == 3000);
	f = ask(&g, 0);
	ok(f.many == 0, "what is to be compared is told at once");
	ok(f.untold == 0 && f.by_row == 100, "all of it, since rows are read");
	f = ask(&g, 3);
	ok(f.many > 50 && f.untold == 0,
		"in place of what is not to be had, others are told of");
	ok(f.lost == 0 && f.wrong <= 10,
		"they fill the answer (%u not as near)", f.wrong);
	gk_ground_fini(&g);

	gk_ground_init(&g, &config, 3000);
	fill(&g, 0, 3000, draw_byte);
	gk_put_range(&g, g.h, 0, 3000);
	must(stat_of(g.h).coded == 3000);
	f = ask(&g, 3);
	ok(f.by_row == 0 && f.untold == 0 && f.lost == 0 && f.wrong <= 10,
		"where codes say the distances no row is read, and it is told");
	gk_ground_fini(&g);
}

int main(void)
{
	plan(52);
	srand((unsigned)seed());
	test_quant();
	test_choose();
	test_recall();
	test_out_of_range();
	test_left();
	test_trained();
	test_equal();
	test_saved();
	test_damage();
	test_fetched();
	test_beside();
	return done();
}
