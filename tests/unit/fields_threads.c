/* SPDX-License-Identifier: Apache-2.0 */
/* fields_threads.c: many ask, while fields come, are extended and dropped. */
#include <errno.h>
#include <pthread.h>
#include <roaring/roaring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fieldkit.h"
#include "tests/tap.h"

#define N_THREADS 4
#define N_FILTERS 24

/* Everything is made before the threads start; what versions they know grows
 * with what they have done together. */
static struct fk_records records;
static struct filter *filters[N_FILTERS];
static uint8_t *want[N_FILTERS]; /* by version */
static struct fields *fields;
static _Atomic uint32_t n_done;
static uint32_t n_rounds;

struct worker {
	pthread_t thread;
	uint64_t rng;
	uint32_t n_wrong, n_saved;
};

static bool is_right(uint32_t no, uint32_t n)
{
	struct fields_rows rows = records.rows;
	roaring_bitmap_t *set;
	bool holds = true;

	rows.n = n;
	if (fields_match(fields, filters[no], &rows, &set) < 0)
		return false;
	for (uint32_t i = 0; i < n; i++)
		holds = holds && roaring_bitmap_contains(set, i) == want[no][i];
	if (roaring_bitmap_get_cardinality(set) > 0)
		holds = holds && roaring_bitmap_maximum(set) < n;
	roaring_bitmap_free(set);
	return holds;
}

static int add_up(void *ctx, struct meta json, uint32_t n)
{
	uint32_t *sum = ctx;

	*sum += n + (json.len == 0);
	return 0;
}

static int swallow(void *ctx, const void *bytes, size_t len)
{
	uint64_t *sum = ctx;

	*sum += len + *(const uint8_t *)bytes;
	return 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < n_rounds; i++) {
		uint32_t done = atomic_fetch_add(&n_done, 1);
		uint32_t most = 1 + (uint32_t)((uint64_t)(records.n - 1) *
			VG_MIN(done, N_THREADS * n_rounds - 1) /
			(N_THREADS * n_rounds));
		uint32_t n = fk_below(&w->rng, 4) ? most :
			fk_below(&w->rng, most + 1);
		w->n_wrong += !is_right(fk_below(&w->rng, N_FILTERS), n);
		if (i % 16 == 0) {
			struct fields_rows rows = records.rows;
			struct vg_id a = {"a", 1};
			struct fields_sink sink = {swallow, &(uint64_t){0}};
			uint32_t sum = 0;
			rows.n = n;
			w->n_wrong += fields_facet(fields, a, &rows, NULL,
				add_up, &sum) != 0;
			w->n_wrong += fields_save(fields, &sink) != 0;
			w->n_saved += fields_bytes(fields) > 0 &&
				fields_count(fields) > 0;
		}
	}
	return NULL;
}

/* All threads through all rounds; wrong answers. */
static uint32_t run(uint64_t *rng, size_t bytes_max, uint32_t n_max)
{
	struct worker workers[N_THREADS];
	uint32_t n_wrong = 0;
	const char *why;

	must(fields_new(bytes_max, n_max, &fields) == 0);
	atomic_store(&n_done, 0);
	for (uint32_t i = 0; i < N_THREADS; i++) {
		workers[i] = (struct worker){.rng = *rng + 977 * i + 1};
		must(pthread_create(&workers[i].thread, NULL, work,
			&workers[i]) == 0);
	}
	for (uint32_t i = 0; i < N_THREADS; i++) {
		must(pthread_join(workers[i].thread, NULL) == 0);
		n_wrong += workers[i].n_wrong;
	}
	n_wrong += fields_check(fields, &why) != 0;
	fields_free(fields);
	return n_wrong;
}

int main(void)
{
	uint64_t rng = (uint64_t)seed() * 2 + 1;
	char where[8192];

	plan(3);
	n_rounds = env_long("VG_SOAK", 0) ? 4000 : 300;
	fk_add_random(&records, &rng, 600);
	for (uint32_t i = 0; i < N_FILTERS; i++) {
		fk_random_where(&rng, 1 + i % 6, where, sizeof(where));
		filters[i] = fk_where(where);
		want[i] = malloc(records.n);
		must(want[i]);
		for (uint32_t v = 0; v < records.n; v++)
			want[i][v] = filter_matches(filters[i],
				records.at[v]) == 1;
	}
	ok(run(&rng, SIZE_MAX, 64) == 0,
		"%d threads get right answers while fields are extended",
		N_THREADS);
	ok(run(&rng, SIZE_MAX, 2) == 0,
		"and while all but two fields are dropped");
	ok(run(&rng, 20000, 64) == 0, "and while memory is short");
	for (uint32_t i = 0; i < N_FILTERS; i++) {
		filter_free(filters[i]);
		free(want[i]);
	}
	fk_fini(&records);
	return done();
}
